//! Whether a connection is still there, for those that outlive it.

use std::sync::atomic::{AtomicU8, Ordering};

use openagents_workspace::Way;

/// A connection as it was last seen. Shared by whatever was sent over it.
#[derive(Debug, Default)]
pub(crate) struct Line(AtomicU8);

const OPEN: u8 = 0;
const CLOSED: u8 = 1;
const BROKEN: u8 = 2;

impl Line {
    /// The peer has said all it will.
    pub(crate) fn close(&self) {
        // A line that is broken stays so.
        self.0
            .compare_exchange(OPEN, CLOSED, Ordering::AcqRel, Ordering::Acquire)
            .ok();
    }

    /// The connection ended otherwise.
    pub(crate) fn break_off(&self) {
        self.0.store(BROKEN, Ordering::Release);
    }
}

impl Way for Line {
    fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire) == OPEN
    }

    fn is_broken(&self) -> bool {
        self.0.load(Ordering::Acquire) == BROKEN
    }
}
