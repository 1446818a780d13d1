//! A log that forgets.

use std::sync::{Mutex, MutexGuard, PoisonError};

use openagents_protocol::Sequence;
use openagents_protocol::record::Record;
use tokio::sync::watch;

use super::{Entry, EventLog, LogFuture};
use crate::view::Direction;

/// About what a header takes.
const HEADER_BYTES: usize = 400;

/// A log in memory, for tests and simulations: it ends with the process.
#[derive(Debug)]
pub struct MemoryLog {
    records: Mutex<Vec<Record>>,
    stored: watch::Sender<Sequence>,
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self {
            records: Mutex::default(),
            stored: watch::Sender::new(Sequence::ZERO),
        }
    }

    fn records(&self) -> MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new()
    }
}

impl EventLog for MemoryLog {
    fn append(&self, batch: Vec<Entry>) -> LogFuture<'_, Vec<Sequence>> {
        Box::pin(async move {
            if batch.is_empty() {
                return Ok(Vec::new());
            }
            let mut records = self.records();
            let mut last = records.last().map_or(Sequence::ZERO, |record| record.sequence);
            let mut sequences = Vec::with_capacity(batch.len());
            for Entry { header, body } in batch {
                last = last.next();
                sequences.push(last);
                records.push(Record {
                    sequence: last,
                    header,
                    body: Some(body),
                });
            }
            drop(records);
            self.stored.send_replace(last);
            Ok(sequences)
        })
    }

    fn read(&self, after: Sequence, limit: usize) -> LogFuture<'_, Vec<Record>> {
        Box::pin(async move {
            let records = self.records();
            let start = records.partition_point(|record| record.sequence <= after);
            Ok(records[start..].iter().take(limit).cloned().collect())
        })
    }

    fn read_some(
        &self,
        sequences: Vec<Sequence>,
        direction: Direction,
        bytes: usize,
    ) -> LogFuture<'_, Vec<Record>> {
        Box::pin(async move {
            let mut records = self.read_at(sequences).await?;
            if direction == Direction::Backward {
                records.reverse();
            }
            let mut read = 0;
            let whole = records.iter().take_while(|record| {
                let full = bytes <= read;
                read += record.body.as_ref().map_or(0, |body| body.payload.as_str().len());
                !full
            });
            let count = whole.count();
            records.truncate(count);
            Ok(records)
        })
    }

    fn read_at(&self, mut sequences: Vec<Sequence>) -> LogFuture<'_, Vec<Record>> {
        Box::pin(async move {
            sequences.sort_unstable();
            sequences.dedup();
            let records = self.records();
            let position =
                |sequence: &Sequence| records.binary_search_by_key(sequence, |record| record.sequence);
            Ok(sequences
                .iter()
                .filter_map(|sequence| position(sequence).ok())
                .map(|at| records[at].clone())
                .collect())
        })
    }

    fn erase(&self, sequences: Vec<Sequence>) -> LogFuture<'_, ()> {
        Box::pin(async move {
            let mut records = self.records();
            for sequence in sequences {
                if let Ok(at) = records.binary_search_by_key(&sequence, |record| record.sequence) {
                    records[at].body = None;
                }
            }
            Ok(())
        })
    }

    fn remove(&self, sequences: Vec<Sequence>) -> LogFuture<'_, ()> {
        Box::pin(async move {
            let mut records = self.records();
            let last = records.last().map(|record| record.sequence);
            records.retain(|record| Some(record.sequence) == last || !sequences.contains(&record.sequence));
            Ok(())
        })
    }

    fn size(&self) -> LogFuture<'_, u64> {
        Box::pin(async move {
            let records = self.records();
            let bodies = records.iter().filter_map(|record| record.body.as_ref());
            let bytes: usize = bodies.map(|body| body.payload.as_str().len()).sum();
            Ok((bytes + records.len() * HEADER_BYTES) as u64)
        })
    }

    fn head(&self) -> Sequence {
        *self.stored.borrow()
    }

    fn stored(&self) -> watch::Receiver<Sequence> {
        self.stored.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::contract::{self, Factory, SharedLog};

    struct Forgetful;

    impl Factory for Forgetful {
        fn create(&mut self) -> LogFuture<'_, SharedLog> {
            Box::pin(async { Ok(Arc::new(MemoryLog::new()) as SharedLog) })
        }

        fn reopen(&mut self, _log: SharedLog) -> LogFuture<'_, Option<SharedLog>> {
            Box::pin(async { Ok(None) })
        }
    }

    #[tokio::test]
    async fn the_memory_log_keeps_the_contract() {
        contract::run(&mut Forgetful).await;
    }
}
