//! The durable event log of a workspace and the view that is built from it.
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod database;
mod directory;
mod error;
pub mod log;
pub use database::Execution;
pub use error::Error;
