//! End-to-end suites.

mod agents;
mod kill;
