//! The workspace without a transport.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod backups;
mod channels;
mod delivery;
mod files;
mod guard;
mod history;
mod large_pages;
mod messages;
mod operator;
mod presence;
mod repairs;
mod retention;
mod room;
mod schedule;
mod search;
mod system;
