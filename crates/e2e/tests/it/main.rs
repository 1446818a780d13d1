//! End-to-end suites.

mod agents;
mod kill;
mod small_client;
mod stopped;
