//! The OpenAgents workspace server: one port that speaks the native protocol over WebSocket, and REST.
//!
//! [`Server::bind`] opens the workspace of a [`Config`] and returns once connections are taken. Requests are
//! turned into calls of `openagents-workspace`, nothing else is decided here: `connection` speaks frames, `rest`
//! speaks HTTP, `legacy` the interface of OpenAgents 0.9, `host` knows whom to admit, `tls` proves who we are,
//! `listener` takes connections, `socket` minds the connection below them, and `line` tells what becomes of it.

mod config;
mod connection;
mod descriptors;
mod error;
mod health;
mod host;
mod legacy;
mod line;
mod listener;
mod rest;
mod server;
mod socket;
mod tls;

pub use config::{Addresses, Config, Limits, Open, Tls};
pub use error::Error;
pub use ipnet::IpNet;
pub use legacy::{Legacy, Mods};
pub use listener::{AcceptFuture, ByteStream, Listener};
pub use openagents_protocol::Secret;
pub use openagents_workspace::{
    Backup, Caller, Clock, ConfiguredChannel, ContentRules, DefaultMembership, Derived, Durability,
    FirstPost, Gap, Group, Keep, KeepError, LoopGuard, Occupied, Principal, Progress, Repair, Repaired,
    Restore, Restored, Retention, Settings, StoreError, Unread, Workspace,
};
pub use server::Server;
