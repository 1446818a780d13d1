//! Brings the search index up to the view: in large batches, in the background, in nobody's way.

use std::collections::HashMap;
use std::sync::Arc;

use openagents_protocol::record::{Act, Record};
use openagents_protocol::{Address, EventId, Header, Sequence, Source, Visibility};
use openagents_store::Error as StoreError;
use openagents_store::search::{Batch, Place, Text};
use openagents_store::view::{EventKind, Found};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};

use crate::commit::Commit;
use crate::recent::Kept;
use crate::workspace::Inner;

/// Batches of the view that wait for the index. What finds no room is read from the log later, so the view never waits.
pub(crate) const HANDED: usize = 4;

/// The most that one of them may take in memory.
const HANDED_BYTES: usize = 2 * 1024 * 1024;

/// Messages in one transaction, as many as the index puts into a block.
const BATCH: usize = 4_096;

/// And their bytes.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Records read from the log at once.
const LOG_BATCH: usize = 2_048;

/// How long messages wait for others to be indexed with. Memory answers for them meanwhile.
const LINGER: Duration = Duration::from_millis(200);

/// How long the index rests after a failure, such as a full disk.
const REST: Duration = Duration::from_secs(5);

/// What the view took, on its way to the index.
#[derive(Debug)]
pub(crate) struct Handed {
    /// Everything after this one that the view took is here.
    pub(crate) after: Sequence,
    pub(crate) commits: Vec<Arc<Commit>>,
}

impl Handed {
    /// Whether a batch may wait in memory.
    pub(crate) fn is_small(batch: &[Kept]) -> bool {
        batch.iter().map(|kept| kept.bytes).sum::<usize>() <= HANDED_BYTES
    }
}

/// Why the indexer stops before everything is done; the next start goes on.
enum Stop {
    /// The workspace is closing.
    Closing,
    /// The index cannot be used.
    Damaged,
}

/// Follows the view until it ends.
pub(crate) async fn index(inner: Arc<Inner>, mut handed: mpsc::Receiver<Handed>) {
    let through = inner.search.indexed();
    let mut indexer = Indexer {
        inner: Arc::clone(&inner),
        pending: Pending::after(through),
    };
    if let Err(Stop::Damaged) = indexer.follow(&mut handed).await {
        inner.unsearchable.cancel();
    }
}

struct Indexer {
    inner: Arc<Inner>,
    pending: Pending,
}

/// What is taken and not indexed yet.
#[derive(Debug)]
struct Pending {
    /// Messages, and what changes them.
    commits: Vec<Arc<Commit>>,
    bytes: usize,
    /// Everything up to here is indexed or among these.
    through: Sequence,
    /// When they have waited for long enough.
    due: Instant,
}

impl Pending {
    fn after(through: Sequence) -> Self {
        Self {
            commits: Vec::new(),
            bytes: 0,
            through,
            due: Instant::now(),
        }
    }

    fn is_full(&self) -> bool {
        BATCH <= self.commits.len() || BATCH_BYTES <= self.bytes
    }

    fn take(&mut self, commit: Arc<Commit>) {
        self.through = commit.sequence();
        if is_of_interest(commit.header()) {
            if self.commits.is_empty() {
                self.due = Instant::now() + LINGER;
            }
            self.bytes += bytes_of(&commit);
            self.commits.push(commit);
        }
    }

    /// Gives what is to be indexed, and through where that is everything: where there are many, only as many as a block
    /// has room for, so that it is written once; the rest waits for the next one.
    fn give(&mut self, room: usize) -> (Vec<Arc<Commit>>, Sequence) {
        let mut commits = std::mem::take(&mut self.commits);
        let mut rest = Vec::new();
        if BATCH <= commits.len() && room != 0 {
            rest = commits.split_off(room.min(commits.len()));
        }
        let through = match commits.last() {
            Some(last) if !rest.is_empty() => last.sequence(),
            _ => self.through,
        };
        *self = Self {
            bytes: rest.iter().map(|commit| bytes_of(commit)).sum(),
            commits: rest,
            through: self.through,
            due: Instant::now() + LINGER,
        };
        (commits, through)
    }
}

impl Indexer {
    async fn follow(&mut self, handed: &mut mpsc::Receiver<Handed>) -> Result<(), Stop> {
        self.read_log(self.inner.view.applied()).await?;
        loop {
            let waits = !self.pending.commits.is_empty();
            tokio::select! {
                received = handed.recv() => match received {
                    Some(handed) => self.take(handed).await?,
                    None => return self.flush().await,
                },
                () = tokio::time::sleep_until(self.pending.due), if waits => self.flush().await?,
            }
        }
    }

    async fn take(&mut self, handed: Handed) -> Result<(), Stop> {
        // Batches that found no room are between.
        self.read_log(handed.after).await?;
        for commit in handed.commits {
            if self.pending.through < commit.sequence() {
                self.pending.take(commit);
            }
        }
        self.settle().await
    }

    /// Takes what is in the log up to a sequence and was not handed over.
    async fn read_log(&mut self, through: Sequence) -> Result<(), Stop> {
        while self.pending.through < through {
            if self.inner.closing.is_cancelled() {
                return Err(Stop::Closing);
            }
            let after = self.pending.through;
            let records = match self.inner.log.read(after, LOG_BATCH).await {
                Ok(records) => records,
                Err(error) => {
                    self.rest(&error).await?;
                    continue;
                }
            };
            let read_all = records.last().is_none_or(|last| through <= last.sequence);
            for record in records {
                if record.sequence <= through {
                    self.pending.take(Arc::new(Commit::new(record)));
                }
            }
            if read_all {
                self.pending.through = through;
            }
            self.settle().await?;
        }
        Ok(())
    }

    /// Indexes what is pending when there is enough of it, or nothing that takes any work.
    async fn settle(&mut self) -> Result<(), Stop> {
        while self.pending.is_full() {
            self.flush().await?;
        }
        if self.pending.commits.is_empty() {
            self.inner.searchable.send_replace(self.pending.through);
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Stop> {
        let (commits, through) = self.pending.give(self.inner.search.room());
        match self.commit(commits, through).await {
            Ok(()) => {
                self.inner.searchable.send_replace(through);
                Ok(())
            }
            Err(error) => {
                self.pending = Pending::after(self.inner.search.indexed());
                self.rest(&error).await
            }
        }
    }

    async fn commit(&self, commits: Vec<Arc<Commit>>, through: Sequence) -> Result<(), StoreError> {
        let changed = commits.iter().filter_map(|commit| changes(&commit.record.header));
        let found = self.inner.view.find(changed.cloned().collect()).await?;
        self.inner
            .search
            .commit(move || batch(&commits, found, through))
            .await
    }

    /// Waits after a failure; nobody but who searches notices.
    async fn rest(&self, error: &StoreError) -> Result<(), Stop> {
        if let StoreError::Damaged { .. } | StoreError::Encoding { .. } = error {
            return Err(Stop::Damaged);
        }
        tracing::warn!(%error, "the search index lags behind; trying again");
        tokio::select! {
            () = tokio::time::sleep(REST) => Ok(()),
            () = self.inner.closing.cancelled() => Err(Stop::Closing),
        }
    }
}

/// Bytes of what a record says.
fn bytes_of(commit: &Commit) -> usize {
    let body = commit.record.body.as_ref();
    body.map_or(0, |body| body.payload.as_str().len())
}

/// Whether a record says something, or changes what one says.
fn is_of_interest(header: &Header) -> bool {
    match header.act {
        // What is held is for nobody; released, it is a message of its own.
        Act::Message { .. } => place(header).is_some() && header.visibility != Visibility::ModOnly,
        _ => changes(header).is_some(),
    }
}

/// The message that a record changes.
fn changes(header: &Header) -> Option<&EventId> {
    match &header.act {
        Act::MessageEdited { message_id } | Act::MessageDeleted { message_id } => Some(message_id),
        _ => None,
    }
}

/// Where a message is said.
pub(crate) fn place(header: &Header) -> Option<Place> {
    said_at(&header.source, &header.destination)
}

fn said_at(source: &Source, destination: &Address) -> Option<Place> {
    match (destination, source) {
        (Address::Channel(channel), _) => Some(Place::Channel(channel.clone())),
        (Address::Agent(addressee), Source::Agent(author)) => {
            Some(Place::Conversation(author.clone(), addressee.clone()))
        }
        _ => None,
    }
}

/// What records say about messages.
fn batch(commits: &[Arc<Commit>], found: Vec<Found>, through: Sequence) -> Batch {
    let found: HashMap<EventId, Found> = found
        .into_iter()
        .map(|found| (found.event_id.clone(), found))
        .collect();
    let mut words: Vec<(Sequence, Option<Text>)> = Vec::with_capacity(commits.len());
    for commit in commits {
        let record = &commit.record;
        match changes(&record.header).map(|id| found.get(id)) {
            None => words.push((record.sequence, said(record))),
            Some(Some(message)) if message.kind == EventKind::Message => {
                words.push((message.sequence, said_anew(record, message)));
            }
            Some(_) => {}
        }
    }
    // The last word on a message counts.
    words.reverse();
    words.sort_by_key(|(sequence, _)| *sequence);
    words.dedup_by_key(|(sequence, _)| *sequence);
    let mut batch = Batch {
        through,
        ..Batch::default()
    };
    for (sequence, text) in words {
        match text {
            Some(text) => batch.texts.push(text),
            None => batch.removed.push(sequence),
        }
    }
    batch
}

/// What a message says; nothing when it is erased.
fn said(record: &Record) -> Option<Text> {
    let header = &record.header;
    Some(Text {
        sequence: record.sequence,
        place: place(header)?,
        sender: header.source.clone(),
        time_ms: header.time_ms,
        text: record.text()?,
    })
}

/// What a message says after it was edited; nothing after it was deleted.
fn said_anew(change: &Record, message: &Found) -> Option<Text> {
    if message.deleted {
        return None;
    }
    Some(Text {
        sequence: message.sequence,
        place: said_at(&message.source, &message.destination)?,
        sender: message.source.clone(),
        time_ms: message.chain.time_ms,
        text: change.text()?,
    })
}

#[cfg(test)]
mod tests {
    use openagents_protocol::record::Body;

    use super::*;

    fn message(sequence: u64) -> Arc<Commit> {
        let body = Body {
            payload: r#"{"content":{"text":"a word"}}"#.parse().unwrap(),
            ..Body::empty()
        };
        let header = Header::new(
            "channel.message.posted".parse().unwrap(),
            Source::Agent("alice".parse().unwrap()),
            "channel:general".parse().unwrap(),
            0,
            Act::Message { reply_to: None },
            &body,
        );
        Arc::new(Commit::new(Record {
            sequence: Sequence::new(sequence),
            header,
            body: Some(body),
        }))
    }

    #[tokio::test]
    async fn what_a_block_has_no_room_for_waits_for_the_next_one() {
        let mut pending = Pending::after(Sequence::ZERO);
        let many = BATCH as u64 + 1_000;
        for sequence in 1..=many {
            pending.take(message(sequence));
        }
        let bytes = pending.bytes / pending.commits.len();
        let (first, through) = pending.give(500);
        assert_eq!((first.len(), through), (500, Sequence::new(500)));
        assert_eq!(pending.through, Sequence::new(many), "none is taken again");
        assert!(pending.is_full());
        let (second, through) = pending.give(BATCH);
        assert_eq!(
            (second.len(), through),
            (BATCH, Sequence::new(500 + BATCH as u64))
        );
        assert_eq!((pending.commits.len(), pending.bytes), (500, 500 * bytes));
        // There are few: the newest are to be found soon.
        let (rest, through) = pending.give(100);
        assert_eq!((rest.len(), through), (500, Sequence::new(many)));
        assert_eq!(pending.bytes, 0);
    }
}
