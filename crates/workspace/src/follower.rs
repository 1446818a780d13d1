//! Brings the view up to the log: a batch at a time, off the commit path, and the cursors with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use openagents_protocol::record::Act;
use openagents_protocol::{AgentId, EventId, Header, Sequence};
use openagents_store::view::{Chain, Erasable, EventKind, Indexed, Note, Reacted, ReactionKey, Update};
use openagents_store::{Durability, Error as StoreError};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Duration, Instant, sleep_until};

use crate::indexer::Handed;
use crate::known::made_at;
use crate::recent::Kept;
use crate::workspace::Inner;

/// Records indexed in one transaction.
const BATCH: usize = 2048;

/// Deleted events erased from the log at once.
const ERASE_BATCH: usize = 256;

/// How long the view waits for more records once it has caught up.
const LINGER: Duration = Duration::from_millis(5);

/// How long an acknowledgement may wait for a transaction to go with.
const CURSOR_DELAY: Duration = Duration::from_secs(1);

/// How long a cursor that moved may wait for the disk to have it. The view waits for the disk at no other time.
const SYNC_DELAY: Duration = Duration::from_secs(5);

/// How long the view rests when the disk is full, before it tries again.
const FULL_REST: Duration = Duration::from_secs(1);

/// What came of a commit to the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// The disk is full, so nothing was done. Memory answers for what the view lacks.
    Full,
    Failed,
}

/// How far each agent has handled what it got; the largest acknowledgement wins.
#[derive(Debug)]
pub(crate) struct Cursors {
    inner: Mutex<CursorsInner>,
    pub(crate) dirtied: Notify,
}

#[derive(Debug, Default)]
struct CursorsInner {
    all: HashMap<AgentId, Sequence>,
    dirty: HashMap<AgentId, Sequence>,
}

impl Cursors {
    pub(crate) fn load(cursors: Vec<(AgentId, Sequence)>) -> Self {
        let inner = CursorsInner {
            all: cursors.into_iter().collect(),
            dirty: HashMap::new(),
        };
        Self {
            inner: Mutex::new(inner),
            dirtied: Notify::new(),
        }
    }

    pub(crate) fn get(&self, agent_id: &AgentId) -> Option<Sequence> {
        self.inner.lock().expect("poisoned").all.get(agent_id).copied()
    }

    /// Moves a cursor forward; an earlier position changes nothing.
    pub(crate) fn advance(&self, agent_id: &AgentId, through: Sequence) {
        let mut inner = self.inner.lock().expect("poisoned");
        if inner.all.get(agent_id).is_some_and(|cursor| through <= *cursor) {
            return;
        }
        inner.all.insert(agent_id.clone(), through);
        let first = inner.dirty.is_empty();
        inner.dirty.insert(agent_id.clone(), through);
        drop(inner);
        if first {
            self.dirtied.notify_one();
        }
    }

    /// What was taken could not be stored.
    fn dirty_again(&self) {
        let inner = &mut *self.inner.lock().expect("poisoned");
        inner.dirty.clone_from(&inner.all);
    }

    fn take_dirty(&self) -> Vec<(AgentId, Sequence)> {
        std::mem::take(&mut self.inner.lock().expect("poisoned").dirty)
            .into_iter()
            .collect()
    }
}

/// What the view learns from one record.
pub(crate) fn indexed(kept: &Kept) -> Indexed {
    let header = kept.commit.header();
    Indexed {
        sequence: kept.commit.sequence(),
        event_id: header.event_id.clone(),
        source: header.source.clone(),
        digest: header.digest,
        destination: header.destination.clone(),
        thread: header.thread.clone(),
        kind: kind(&header.act),
        titled: header.titled,
        audience: header.audience(),
        chain: chain(header),
        streams: kept.streams.to_vec(),
        note: note(header),
    }
}

/// The place of an event in its chain of causes.
pub(crate) fn chain(header: &Header) -> Chain {
    Chain {
        root: header.root.clone(),
        hops: header.hops,
        time_ms: header.time_ms,
    }
}

/// What an event is, for those that refer to it.
pub(crate) fn kind(act: &Act) -> EventKind {
    match act {
        Act::Message { .. } => EventKind::Message,
        Act::FileShared { .. } => EventKind::File,
        Act::Held { .. } => EventKind::Held,
        _ => EventKind::Other,
    }
}

/// What an event says of an earlier one.
pub(crate) fn note(header: &Header) -> Option<Note> {
    let reacted = |message: &EventId, reaction: &str, reacted| {
        let key = ReactionKey {
            message: message.clone(),
            reaction: reaction.to_owned(),
            agent: header.source.agent()?.clone(),
        };
        Some(Note::Reacted(key, reacted))
    };
    match &header.act {
        Act::MessageEdited { message_id } => Some(Note::Edited(message_id.clone())),
        Act::MessageDeleted { message_id } => Some(Note::Deleted(message_id.clone())),
        Act::FileDeleted { file_id, .. } => Some(Note::Deleted(file_id.clone())),
        Act::ReactionAdded { message_id, reaction } => reacted(message_id, reaction, Reacted::Added),
        Act::ReactionRemoved { message_id, reaction } => reacted(message_id, reaction, Reacted::Removed),
        _ => None,
    }
}

/// Follows the log until the workspace closes; then brings the view up to date a last time.
///
/// The view never gets ahead of what the log has stored, so that losing the end of the log cannot leave the
/// view with events that no log knows.
///
/// What it took is handed to the search index; where that has no room for it, it reads the log later.
pub(crate) async fn follow(inner: Arc<Inner>, mut watermark: u64, index: mpsc::Sender<Handed>) {
    let mut stored = inner.log.stored();
    let mut head = inner.head_changed.subscribe();
    erase_deleted(&inner).await;
    // When the disk is to have the cursors that moved; none: it has them.
    let mut sync_at = None;
    loop {
        sync_if_due(&inner, &mut sync_at).await;
        // Both are looked at first and waited for then: with `memory` a record is here before it is stored, otherwise it
        // is stored before it is here.
        head.mark_unchanged();
        let through = *stored.borrow_and_update();
        let batch = inner.recent.unindexed(through, BATCH);
        let closing = inner.drained.is_cancelled();
        if batch.is_empty() {
            if closing {
                let cursors = inner.cursors.take_dirty();
                if !cursors.is_empty() {
                    commit(&inner, &[], cursors, watermark, &mut sync_at).await;
                }
                return;
            }
            tokio::select! {
                () = inner.drained.cancelled() => {}
                changed = async { tokio::select! { changed = stored.changed() => changed, changed = head.changed() => changed } } => {
                    if changed.is_err() {
                        return;
                    }
                    // Memory answers for what the view lacks, so the view takes what comes in the next moments with it,
                    // and leaves the processor to those who wait for the event itself.
                    tokio::select! {
                        () = inner.drained.cancelled() => {}
                        () = tokio::time::sleep(LINGER) => {}
                    }
                }
                () = late_cursors(&inner.cursors) => {
                    // A full disk has them wait like new ones.
                    commit(&inner, &[], inner.cursors.take_dirty(), watermark, &mut sync_at).await;
                }
                () = until(sync_at) => {}
            }
            continue;
        }
        watermark = batch
            .iter()
            .filter_map(|kept| made_at(&kept.commit.header().event_id))
            .fold(watermark, u64::max);
        let after = inner.view.applied();
        let cursors = inner.cursors.take_dirty();
        match commit(&inner, &batch, cursors, watermark, &mut sync_at).await {
            Outcome::Done => {}
            Outcome::Full if closing => return,
            Outcome::Full => {
                tokio::select! {
                    () = inner.drained.cancelled() => {}
                    () = tokio::time::sleep(FULL_REST) => {}
                }
                continue;
            }
            Outcome::Failed => return,
        }
        if let (true, Ok(room)) = (Handed::is_small(&batch), index.try_reserve()) {
            let commits = batch.iter().map(|kept| Arc::clone(&kept.commit)).collect();
            room.send(Handed { after, commits });
        }
        let deletes = |kept: &Kept| matches!(note(kept.commit.header()), Some(Note::Deleted(_)));
        if batch.iter().any(deletes) {
            erase_deleted(&inner).await;
        }
    }
}

/// Erases the content of deleted events from the log. The view remembers what is still to be done, so a server that is
/// killed meanwhile goes on with it when it starts again.
async fn erase_deleted(inner: &Inner) {
    let erase = async {
        loop {
            let due = inner.view.unerased(ERASE_BATCH).await?;
            if due.is_empty() {
                return Ok(());
            }
            let sequences = due.iter().flat_map(|due| due.sequences.iter().copied());
            inner.log.erase(sequences.collect()).await?;
            for Erasable { event_id, .. } in due.iter().filter(|due| due.kind == EventKind::File) {
                if let Err(error) = inner.blobs.delete(event_id).await {
                    tracing::warn!(%error, file_id = %event_id, "a blob stays until it is collected");
                }
            }
            let erased = due.into_iter().map(|due| due.event_id);
            inner.view.mark_erased(erased.collect()).await?;
        }
    };
    let outcome: Result<(), StoreError> = erase.await;
    if let Err(error) = outcome {
        tracing::error!(%error, "the content of deleted events could not be erased; the next start tries again");
    }
}

async fn late_cursors(cursors: &Cursors) {
    // A notification may have been spent on a wait that something else ended, so the cursors themselves decide.
    while cursors.inner.lock().expect("poisoned").dirty.is_empty() {
        cursors.dirtied.notified().await;
    }
    tokio::time::sleep(CURSOR_DELAY).await;
}

/// Waits for a moment; none: for ever.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Has the disk take the cursors, once that is due: the log does not have them.
async fn sync_if_due(inner: &Inner, sync_at: &mut Option<Instant>) {
    if sync_at.take_if(|due| *due <= Instant::now()).is_none() {
        return;
    }
    match inner.view.sync().await {
        Ok(()) => {}
        Err(error) if error.is_full() => *sync_at = Some(Instant::now() + SYNC_DELAY),
        Err(error) => fail(inner, &error),
    }
}

async fn commit(
    inner: &Inner,
    batch: &[Kept],
    cursors: Vec<(AgentId, Sequence)>,
    id_watermark: u64,
    sync_at: &mut Option<Instant>,
) -> Outcome {
    if !cursors.is_empty() && inner.settings.durability == Durability::Fsync {
        sync_at.get_or_insert(Instant::now() + SYNC_DELAY);
    }
    let applied = batch
        .last()
        .map_or_else(|| inner.view.applied(), |kept| kept.commit.sequence());
    let update = Update {
        applied,
        events: batch.iter().map(indexed).collect(),
        changes: batch
            .iter()
            .flat_map(|kept| kept.changes.iter().cloned())
            .collect(),
        cursors,
        id_watermark,
    };
    match inner.view.commit(update).await {
        Ok(()) => {
            inner.stalled.send_if_modified(std::mem::take);
            if !batch.is_empty() {
                inner.recent.indexed(applied);
                inner.indexed.send_replace(applied);
            }
            Outcome::Done
        }
        Err(error) if error.is_full() => {
            inner.cursors.dirty_again();
            if !inner.stalled.send_replace(true) {
                tracing::error!(%error, "the disk is full; the view lags until there is space");
            }
            Outcome::Full
        }
        Err(error) => {
            fail(inner, &error);
            Outcome::Failed
        }
    }
}

/// The log is unharmed: opened again, the workspace applies it to the view from where the view stands.
fn fail(inner: &Inner, error: &StoreError) {
    tracing::error!(%error, "the view failed; the workspace takes nothing until it is opened again");
    inner.fail();
}
