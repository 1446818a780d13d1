//! One connection: whether it is still there, for those that outlive it, and who waits for an answer over it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use openagents_workspace::Way;
use tokio_util::sync::CancellationToken;

/// The most requests at once over one connection of HTTP/2.
///
/// The gRPC library of the official client sends what all agents of a process ask over one connection.
pub(crate) const MAX_STREAMS: u32 = 256;

/// The most of them that wait for something to come: the others find a place at once.
const MAX_WAITING: usize = 192;

/// A connection as it was last seen. Shared by whatever was sent over it.
#[derive(Debug, Default)]
pub(crate) struct Line {
    state: AtomicU8,
    waiting: Mutex<Waiting>,
}

/// The requests that wait, by the order in which they came.
#[derive(Debug, Default)]
struct Waiting {
    came: u64,
    ends: BTreeMap<u64, CancellationToken>,
}

/// The place of a request that waits; given up when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    line: Arc<Line>,
    number: u64,
    end: CancellationToken,
}

const OPEN: u8 = 0;
const CLOSED: u8 = 1;
const BROKEN: u8 = 2;

impl Line {
    /// The peer has said all it will.
    pub(crate) fn close(&self) {
        // A line that is broken stays so.
        self.state
            .compare_exchange(OPEN, CLOSED, Ordering::AcqRel, Ordering::Acquire)
            .ok();
    }

    /// The connection ended otherwise.
    pub(crate) fn break_off(&self) {
        self.state.store(BROKEN, Ordering::Release);
    }

    /// A place for a request that waits. Where all are taken, the one that waits longest has to give up its own.
    pub(crate) fn place(self: &Arc<Self>) -> Place {
        let end = CancellationToken::new();
        let mut waiting = self.waiting();
        waiting.came += 1;
        let number = waiting.came;
        waiting.ends.insert(number, end.clone());
        if MAX_WAITING < waiting.ends.len()
            && let Some((_, longest)) = waiting.ends.pop_first()
        {
            longest.cancel();
        }
        drop(waiting);
        Place {
            line: Arc::clone(self),
            number,
            end,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("poisoned")
    }
}

impl Place {
    /// Resolves when somebody else needs the place.
    pub(crate) async fn is_needed(&self) {
        self.end.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.line.waiting().ends.remove(&self.number);
    }
}

impl Way for Line {
    fn is_open(&self) -> bool {
        self.state.load(Ordering::Acquire) == OPEN
    }

    fn is_broken(&self) -> bool {
        self.state.load(Ordering::Acquire) == BROKEN
    }
}
