//! The workspace without a transport.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod delivery;
mod history;
mod presence;
mod room;
mod schedule;
