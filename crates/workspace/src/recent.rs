//! The newest records, in memory: what the view does not have yet, and a little more, so that a reader that
//! keeps up never touches the disk.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use openagents_protocol::record::{Act, Record};
use openagents_protocol::{AgentId, EventId, Sequence};
use openagents_store::view::{Bounds, StateChange, Stream};

use crate::commit::Commit;

/// Records kept although the view has them.
const KEPT_RECORDS: usize = 2048;

/// Bytes kept although the view has them.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// The newest committed records, oldest first.
#[derive(Debug)]
pub(crate) struct Recent(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    records: VecDeque<Kept>,
    bytes: usize,
    /// Bytes of the records that the view lacks.
    lacking: usize,
    /// Every record after this sequence is here.
    floor: Sequence,
    /// The view has everything up to here.
    indexed: Sequence,
}

/// A record with what the view has to learn from it.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) commit: Arc<Commit>,
    pub(crate) streams: Arc<[Stream]>,
    pub(crate) changes: Arc<[StateChange]>,
    /// About how much memory it takes.
    pub(crate) bytes: usize,
}

impl Kept {
    pub(crate) fn new(commit: Arc<Commit>, streams: Vec<Stream>, changes: Vec<StateChange>) -> Self {
        Self {
            bytes: commit.bytes(),
            commit,
            streams: streams.into(),
            changes: changes.into(),
        }
    }
}

impl Recent {
    pub(crate) fn new(floor: Sequence) -> Self {
        Self(Mutex::new(Inner {
            records: VecDeque::new(),
            bytes: 0,
            lacking: 0,
            floor,
            indexed: floor,
        }))
    }

    pub(crate) fn push(&self, batch: &[Kept]) {
        let mut inner = self.lock();
        for kept in batch {
            inner.bytes += kept.bytes;
            inner.lacking += kept.bytes;
            inner.records.push_back(kept.clone());
        }
    }

    /// Records after a sequence that the view lacks, at most `limit`, none after `through`.
    pub(crate) fn unindexed(&self, through: Sequence, limit: usize) -> Vec<Kept> {
        let inner = self.lock();
        let start = inner.after(inner.indexed);
        let rest = inner.records.range(start..);
        rest.take_while(|kept| kept.commit.sequence() <= through)
            .take(limit)
            .cloned()
            .collect()
    }

    /// How many records the view lacks, and how many bytes they have.
    pub(crate) fn lag(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.records.len() - inner.after(inner.indexed), inner.lacking)
    }

    /// The view has everything up to here: what is over the bounds may go.
    pub(crate) fn indexed(&self, through: Sequence) {
        let mut inner = self.lock();
        let (from, to) = (inner.after(inner.indexed), inner.after(through));
        let told: usize = inner.records.range(from..to).map(|kept| kept.bytes).sum();
        inner.lacking -= told;
        inner.indexed = through;
        while let Some(oldest) = inner.records.front() {
            let needed = through < oldest.commit.sequence();
            if needed || (inner.records.len() <= KEPT_RECORDS && inner.bytes <= KEPT_BYTES) {
                break;
            }
            if let Some(gone) = inner.records.pop_front() {
                inner.bytes -= gone.bytes;
                inner.floor = gone.commit.sequence();
            }
        }
    }

    /// Every record after the floor is here; the view has everything up to it.
    pub(crate) fn floor(&self) -> Sequence {
        self.lock().floor
    }

    /// Records after a sequence, at most `limit`; `None` where older ones than are here would be needed.
    pub(crate) fn after(&self, after: Sequence, limit: usize) -> Option<Vec<Kept>> {
        let inner = self.lock();
        if after < inner.floor {
            return None;
        }
        let start = inner.after(after);
        Some(inner.records.range(start..).take(limit).cloned().collect())
    }

    /// What the records that are here tell, oldest first; what is not here is in the view.
    pub(crate) fn select<T>(&self, tell: impl Fn(&Kept) -> Option<T>) -> Vec<T> {
        self.lock().records.iter().filter_map(tell).collect()
    }

    /// What the records after a sequence tell, oldest first; `None` where some of them are not here any more.
    pub(crate) fn select_after<T>(
        &self,
        after: Sequence,
        tell: impl Fn(&Kept) -> Option<T>,
    ) -> Option<Vec<T>> {
        let inner = self.lock();
        if after < inner.floor {
            return None;
        }
        let start = inner.after(after);
        Some(inner.records.range(start..).filter_map(tell).collect())
    }

    /// The records of a stream between two sequences that are here, oldest first, and the floor that was true then.
    pub(crate) fn of_stream(&self, stream: &Stream, bounds: Bounds) -> (Sequence, Vec<Arc<Commit>>) {
        let inner = self.lock();
        let start = inner.after(bounds.after);
        let here = inner
            .records
            .range(start..)
            .take_while(|kept| kept.commit.sequence() < bounds.before);
        let found = here
            .filter(|kept| kept.streams.contains(stream))
            .map(|kept| Arc::clone(&kept.commit));
        (inner.floor, found.collect())
    }

    /// Takes the content of a deleted event, and of its edits, out of memory.
    pub(crate) fn erase(&self, event: &EventId) {
        let mut inner = self.lock();
        for kept in &mut inner.records {
            let header = kept.commit.header();
            let edits = matches!(&header.act, Act::MessageEdited { message_id } if message_id == event);
            if edits || header.event_id == *event {
                kept.commit = Arc::new(Commit::new(Record {
                    body: None,
                    ..kept.commit.record.clone()
                }));
            }
        }
    }

    /// Takes records out of memory that the view listed and lists no more; the sequences are in ascending order.
    pub(crate) fn remove(&self, sequences: &[Sequence]) {
        let mut inner = self.lock();
        let mut bytes = 0;
        inner.records.retain(|kept| {
            let gone = sequences.binary_search(&kept.commit.sequence()).is_ok();
            bytes += if gone { kept.bytes } else { 0 };
            !gone
        });
        inner.bytes -= bytes;
    }

    /// How many records after a sequence are in this agent's inbox; those that are not here do not count.
    pub(crate) fn inbox_after(&self, agent_id: &AgentId, after: Sequence) -> u64 {
        let inner = self.lock();
        let start = inner.after(after);
        let inbox = Stream::Inbox(agent_id.clone());
        inner
            .records
            .range(start..)
            .filter(|kept| kept.streams.contains(&inbox))
            .count() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("poisoned")
    }
}

impl Inner {
    /// The place of the first record after a sequence.
    fn after(&self, sequence: Sequence) -> usize {
        let is_after = |kept: &Kept| sequence < kept.commit.sequence();
        // Sequences have few gaps, so how far it is from the newest one mostly tells the place.
        let newest = self
            .records
            .back()
            .map_or(sequence, |kept| kept.commit.sequence());
        let distance = newest.get().saturating_sub(sequence.get());
        let place = self
            .records
            .len()
            .saturating_sub(usize::try_from(distance).unwrap_or(usize::MAX));
        let before = place.checked_sub(1).and_then(|before| self.records.get(before));
        let fits = !before.is_some_and(is_after) && self.records.get(place).is_none_or(is_after);
        if fits {
            return place;
        }
        self.records.partition_point(|kept| !is_after(kept))
    }
}
