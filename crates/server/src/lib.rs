//! The OpenAgents workspace server: one port that speaks the native protocol over WebSocket, and REST.
//!
//! [`Server::bind`] opens the workspace of a [`Config`] and returns once connections are taken. Requests are
//! turned into calls of `openagents-workspace`, nothing else is decided here: `connection` speaks frames, `rest`
//! speaks HTTP, `host` knows whom to admit, `tls` proves who we are, `listener` takes connections, `socket` minds the
//! connection below them.

mod config;
mod connection;
mod error;
mod health;
mod host;
mod listener;
mod rest;
mod server;
mod socket;
mod tls;

pub use config::{Addresses, Config, Limits, Open, Tls};
pub use error::Error;
pub use ipnet::IpNet;
pub use listener::{AcceptFuture, ByteStream, Listener};
pub use openagents_protocol::Secret;
pub use openagents_workspace::{
    Caller, Clock, ConfiguredChannel, ContentRules, DefaultMembership, Durability, FirstPost, Group,
    LoopGuard, Principal, Settings, StoreError, Workspace,
};
pub use server::Server;
