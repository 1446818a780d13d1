//! End-to-end suites.

mod agents;
mod backup;
mod bad_input;
mod channels;
mod direct;
mod examples;
mod explain;
mod files;
mod groups;
mod guard;
mod kill;
mod meeting;
mod messages;
mod official;
mod one_world;
mod reactions;
mod search;
mod secure;
mod small_client;
mod stopped;
mod system_events;
mod threads;
mod tokens;
mod unix;
mod waiting;
mod worker;
