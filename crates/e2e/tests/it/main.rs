//! End-to-end suites.

mod backup;
mod examples;
mod kill;
mod meeting;
mod messages;
mod secure;
mod small_client;
mod stopped;
mod tokens;
mod unix;
mod worker;
