//! The nouns of an OpenAgents workspace and their bytes.
//!
//! Everything that crosses a wire or reaches a disk is named here and nowhere else: names with rules
//! ([`AgentId`], [`ChannelName`], [`EventName`]), [`Address`]es, events as a client writes them
//! ([`Draft`]) and as everybody reads them ([`Event`]), the stored [`Header`], the [`frame`]s of the
//! native protocol, the [`call`]s with their answers, and the stable [`ErrorCode`]s.
//!
//! The crate does no I/O and knows no async. Decoding never panics, whatever the bytes.
//!
//! ```
//! use openagents_protocol::{Address, ChannelName, Pattern};
//!
//! let general: ChannelName = "general".parse()?;
//! assert_eq!(Address::Channel(general).to_string(), "channel:general");
//! assert!("channel.message.*".parse::<Pattern>()?.matches("channel.message.posted"));
//! # Ok::<(), openagents_protocol::InvalidName>(())
//! ```

pub mod call;
pub mod frame;
#[cfg(feature = "legacy")]
pub mod legacy;
pub mod record;

mod address;
mod draft;
mod error;
mod event;
mod json;
mod name;
mod pattern;
mod receipt;
mod secret;
mod sequence;
mod text;

pub use address::{Address, Source};
pub use draft::{Draft, Intent, MessageTarget, is_given_out, is_set_by_workspace, mentions, message_content};
pub use error::{ErrorBody, ErrorCode};
pub use event::{Event, EventResponse, Visibility};
pub use json::{InvalidJson, Json};
pub use name::{AgentId, ChannelName, EventId, EventName, InvalidName, ModName};
pub use pattern::Pattern;
pub use receipt::{Counts, Receipt, Recipient, RecipientState};
pub use record::Header;
pub use secret::Secret;
pub use sequence::Sequence;
pub use text::text_of;
