//! The log: what is true.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use openagents_protocol::record::{Body, Record};
use openagents_protocol::{Header, Sequence};
use tokio::sync::watch;

use crate::Error;
use crate::view::Direction;

mod durability;
mod gap;
mod lineage;
mod memory;
pub(crate) mod rows;
mod sqlite;

pub use durability::Durability;
pub use gap::Gap;
pub use lineage::Lineage;
pub use memory::MemoryLog;
pub use sqlite::SqliteLog;

/// A future that a log answers with.
pub type LogFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A record before it has a sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What decisions and routing are made by.
    pub header: Header,
    /// The content.
    pub body: Body,
}

/// The ordered log of one workspace: append-only, except that bodies can be erased and old records removed.
///
/// ```text
///   1   2   3   5   6   8 │ 9  10 │ 11
///   ●   ●   ●   ●   ●   ● │ ○   ○ │          sequences increase and may have gaps
///                         │       └─ head    the last one that was acknowledged to an append
///                         └─ stored          the last one that `read` finds; equal to head
///                                            unless durability is `memory`
/// ```
///
/// Every implementation passes the suite of the module `contract`.
pub trait EventLog: Debug + Send + Sync + 'static {
    /// Appends entries in order, all of them or none, and resolves once they are as durable as the log promises.
    ///
    /// Calls are made one after the other; the group commit is in the size of the batch.
    ///
    /// # Errors
    ///
    /// Nothing of the batch is acknowledged. After an error other than [`Error::Full`] it is unknown whether the
    /// batch is in the log, and the log refuses further appends until it is opened again.
    fn append(&self, batch: Vec<Entry>) -> LogFuture<'_, Vec<Sequence>>;

    /// Reads records in order, those after a sequence: at most `limit`, and fewer where they are large. An empty answer
    /// means: none yet.
    fn read(&self, after: Sequence, limit: usize) -> LogFuture<'_, Vec<Record>>;

    /// Reads the records at these sequences, in ascending order; those that do not exist are passed over.
    fn read_at(&self, sequences: Vec<Sequence>) -> LogFuture<'_, Vec<Record>>;

    /// [`EventLog::read_at`] in this direction, that stops after the record with which there are this many bytes of
    /// headers and bodies.
    fn read_some(
        &self,
        sequences: Vec<Sequence>,
        direction: Direction,
        bytes: usize,
    ) -> LogFuture<'_, Vec<Record>>;

    /// Erases the bodies at these sequences for good; headers stay. Durable when it resolves.
    fn erase(&self, sequences: Vec<Sequence>) -> LogFuture<'_, ()>;

    /// Removes the records at these sequences, which nobody gets any more and no other record ever has; it is noted down
    /// that they are gone. Those that do not exist are passed over, and so is the last record. As durable as an append
    /// with fsync when it resolves; the space is used again by later records.
    fn remove(&self, sequences: Vec<Sequence>) -> LogFuture<'_, ()>;

    /// About how many bytes the records take, without space that is free to be used again.
    fn size(&self) -> LogFuture<'_, u64>;

    /// The last acknowledged sequence.
    fn head(&self) -> Sequence;

    /// The tail of the log: changes whenever further records can be read. A follower reads what it lacks and
    /// waits for the next change, so nothing polls.
    fn stored(&self) -> watch::Receiver<Sequence>;
}
