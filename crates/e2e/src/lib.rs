//! The harness of the end-to-end suites: real servers, real sockets, real processes.
//!
//! [`Workspace`] serves in this process on a port of its own; [`Stage`] has agents in it and writes down what each of
//! them hears; [`Request`] and [`Wire`] say what no client of ours would; [`Peer`] is a process that can be killed. Suites
//! wait for the thing itself inside [`within`], never for time to pass.

mod dice;
mod disk;
mod hash;
pub mod ledger;
mod peer;
pub mod preload;
mod program;
mod prose;
mod rest;
mod stage;
mod wire;
mod workspace;

use std::time::Duration;

pub use dice::Dice;
pub use disk::Disk;
pub use hash::sha256;
pub use peer::{Ended, Peer, memory_kib};
pub use program::{Official, Ours, Package, Program, TRANSPORTS};
pub use prose::Prose;
pub use rest::{Reply, Request};
pub use stage::{Heard, Stage, check_event, keys, payload_keys};
pub use wire::Wire;
pub use workspace::Workspace;

/// Waits for a future, and fails the test when it takes longer than it ever should.
///
/// # Panics
///
/// After the limit.
pub async fn within<F: Future>(limit: Duration, future: F) -> F::Output {
    match tokio::time::timeout(limit, future).await {
        Ok(output) => output,
        Err(elapsed) => panic!("it took longer than {limit:?}: {elapsed}"),
    }
}

/// The limit for what takes moments.
pub const SOON: Duration = Duration::from_secs(20);
