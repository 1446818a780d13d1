//! End-to-end suites.

mod agents;
mod examples;
mod kill;
mod secure;
mod small_client;
mod stopped;
mod unix;
mod worker;
