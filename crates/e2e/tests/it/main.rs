//! End-to-end suites.

mod agents;
mod bad_input;
mod channels;
mod direct;
mod explain;
mod files;
mod groups;
mod guard;
mod kill;
mod meeting;
mod messages;
mod reactions;
mod secure;
mod small_client;
mod stopped;
mod system_events;
mod threads;
mod tokens;
mod unix;
mod waiting;
