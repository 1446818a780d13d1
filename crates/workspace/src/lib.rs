//! The heart of OpenAgents: who is there, which channels exist, what was said, and who is told.
//!
//! A [`Workspace`] is opened on a directory. Whatever happens in it is decided by one writer, appended to the
//! log, and only when it is committed applied, handed to the [`Session`]s concerned and acknowledged. The crate
//! knows no transport: a server turns frames into calls of this crate and back.
//!
//! - [`Workspace`]: open, close, publish, and the calls of the protocol ([`Workspace::call`]);
//! - [`Session`] and [`Deliveries`]: one connection of an agent, in and out;
//! - [`Workspace::backup`], [`Workspace::restore`], [`Workspace::repair`], [`Workspace::rebuild`]: what keeps the data;
//! - [`Standing`]: the session of an agent that comes by without a connection of its own;
//! - [`Settings`]: what an operator decides; [`Principal`]: what a token proves.
//!
//! Inside, a wish goes from `writer` (the only one that changes anything) through `decide`, the log, `state` and
//! `live` to a `reader`; `retention` removes what is too old; `follower` brings the view up to the log, and `indexer` the search index up to the view;
//! `entitlement` alone knows who may read what.

mod archive;
mod calls;
mod commit;
mod content;
mod decide;
mod entitlement;
mod explain;
mod files;
mod follower;
mod groups;
mod guard;
mod indexer;
mod keep;
mod known;
mod live;
mod load;
mod notes;
mod presence;
mod rates;
mod reader;
mod recent;
mod retention;
mod rights;
mod session;
mod settings;
mod standing;
mod state;
mod system;
mod token;
mod workspace;
mod writer;

pub use calls::{Member, Roster, Told};
pub use content::ContentRules;
pub use files::{FileContent, FileUpload, NewFile};
pub use groups::Groups;
pub use guard::LoopGuard;
pub use keep::{Backup, KeepError, Occupied, Progress, Repair, Repaired, Restore, Restored};
pub use openagents_store::view::Tally;
pub use openagents_store::{Durability, Error as StoreError, Execution, Gap};
pub use retention::{Keep, Retention, Unread};
pub use rights::{Group, permission};
pub use session::{Attach, Delivered, Deliveries, Outgoing, Session};
pub use settings::{Clock, ConfiguredChannel, DefaultMembership, FirstPost, Settings};
pub use standing::{Enrol, Handout, Slip, Standing, Takeover, Way};
pub use token::{Principal, password_hash, stored_hash};
pub use workspace::{Caller, Derived, Workspace};
