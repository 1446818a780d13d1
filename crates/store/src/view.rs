//! The view: what follows from the log, kept so that nobody reads the whole log for it.
//!
//! What a stream lists is kept in blocks; why is told in `docs/decisions/0008-streams-in-blocks.md`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use openagents_protocol::record::Digest;
use openagents_protocol::{Address, AgentId, ChannelName, EventId, Sequence, Source};
use rusqlite::{OptionalExtension, Row};
use uuid::Uuid;

use crate::Error;
use crate::condemned;
use crate::database::{self, Execution, Pool, to_sequence};

mod block;
mod by_id;
mod ends;
mod file;
mod index;
mod notes;
mod removal;
mod state;
mod stream;
mod tally;
mod writer;

pub use notes::{Annotations, Erasable, Note, Reacted, ReactionKey};
pub use removal::{Fate, Unlisted};
pub use state::{AgentRow, ChannelRow, MembershipRow, Span, StateChange, SubscriptionRow, TokenRow};
pub use stream::Stream;
pub use tally::Tally;

/// State, indexes and cursors of a workspace, in `view.db`. Cloning is cheap.
///
/// Everything in it but the cursors follows from the log, so it is committed without waiting for the disk and may lag:
/// whoever opens it applies the log after [`Loaded::applied`]. One that does not fit its log is started over, and so is one
/// that was found damaged in use. For the sake of the cursors there is [`View::sync`].
///
/// ```text
///   log        1   2   3   4   5   6   7         sequences
///   #general   1       2       3   4             positions in the stream #general
///   to bob         1               2   3         positions in the inbox of bob
///                              ▲
///                              └─ unread of #general after sequence 4: position 4 − position 2 = 2
/// ```
#[derive(Clone)]
pub struct View {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    execution: Execution,
    /// Guards the one connection that writes.
    writer: Mutex<writer::Writer>,
    applied: AtomicU64,
    readers: Arc<Pool>,
}

/// What a view knows when it is opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// The log is applied through here.
    pub applied: Sequence,
    /// The number that was given with the last update.
    pub id_watermark: u64,
    /// The agents.
    pub agents: Vec<AgentRow>,
    /// The channels.
    pub channels: Vec<ChannelRow>,
    /// Who is a member of what.
    pub memberships: Vec<MembershipRow>,
    /// The subscriptions.
    pub subscriptions: Vec<SubscriptionRow>,
    /// The tokens.
    pub tokens: Vec<TokenRow>,
    /// How many bytes all files have.
    pub file_bytes: u64,
    /// Through where what was sent to a place is removed.
    pub horizons: Vec<(Address, Sequence)>,
    /// How far agents have read.
    pub cursors: Vec<(AgentId, Sequence)>,
    /// How many events channels have, and the last of them.
    pub channel_lengths: Vec<(ChannelName, u64, Sequence)>,
}

/// What a part of the log changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Update {
    /// The log is applied through here when this is committed.
    pub applied: Sequence,
    /// Records to find again, in the order of the log.
    pub events: Vec<Indexed>,
    /// Changes of the state, in order.
    pub changes: Vec<StateChange>,
    /// How far agents have read.
    pub cursors: Vec<(AgentId, Sequence)>,
    /// A number that is kept and given back, whatever it means.
    pub id_watermark: u64,
}

/// A record to be found again.
#[derive(Clone, Debug, PartialEq)]
pub struct Indexed {
    /// Where it is.
    pub sequence: Sequence,
    /// Its id.
    pub event_id: EventId,
    /// Who made it.
    pub source: Source,
    /// Tells a repetition from another event with the same id.
    pub digest: Digest,
    /// Where it goes.
    pub destination: Address,
    /// Root of the thread it belongs to.
    pub thread: Option<EventId>,
    /// What it is.
    pub kind: EventKind,
    /// Whether it begins a thread by its title.
    pub titled: bool,
    /// The only agents that may see it; none: whoever its destination reaches.
    pub audience: Option<Vec<AgentId>>,
    /// Its place in the chain of causes.
    pub chain: Chain,
    /// Where it is listed.
    pub streams: Vec<Stream>,
    /// What it says of an earlier event.
    pub note: Option<Note>,
}

/// What an event is, for those that refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Neither a message nor a file.
    Other,
    /// A message in a channel or to an agent.
    Message,
    /// A file that was shared.
    File,
    /// A message that is kept from its readers, until an event of the same id takes its place.
    Held,
}

/// The place of an event in a chain of events in which each was caused by the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// The first event of the chain; none for an event without a cause.
    pub root: Option<EventId>,
    /// How many events were before it.
    pub hops: u32,
    /// When it was taken, in milliseconds since 1970.
    pub time_ms: u64,
}

impl EventKind {
    fn stored(self) -> i64 {
        match self {
            Self::Other => 0,
            Self::Message => 1,
            Self::File => 2,
            Self::Held => 3,
        }
    }

    fn from_stored(stored: i64) -> Self {
        match stored {
            1 => Self::Message,
            2 => Self::File,
            3 => Self::Held,
            _ => Self::Other,
        }
    }
}

/// What is known of an event by its id.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its id.
    pub event_id: EventId,
    /// Where it is.
    pub sequence: Sequence,
    /// Who made it.
    pub source: Source,
    /// Tells a repetition from another event with the same id.
    pub digest: Digest,
    /// Where it went.
    pub destination: Address,
    /// Root of the thread it belongs to.
    pub thread: Option<EventId>,
    /// What it is.
    pub kind: EventKind,
    /// Whether it began a thread, by its title or because somebody replied to it.
    pub threaded: bool,
    /// The only agents that may see it; none: whoever its destination reaches.
    pub audience: Option<Vec<AgentId>>,
    /// Its place in the chain of causes.
    pub chain: Chain,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// A range of the log, without its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Begins after this one.
    pub after: Sequence,
    /// Ends before this one.
    pub before: Sequence,
}

impl Default for Bounds {
    /// Everything.
    fn default() -> Self {
        Self {
            after: Sequence::ZERO,
            before: Sequence::MAX,
        }
    }
}

/// From where a page is counted, and the order it comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Oldest first.
    Forward,
    /// Newest first.
    Backward,
}

impl Direction {
    /// Brings sequences into this order, each once.
    pub(crate) fn sort(self, sequences: &mut Vec<Sequence>) {
        sequences.sort_unstable();
        sequences.dedup();
        if self == Self::Backward {
            sequences.reverse();
        }
    }
}

/// What a view tells of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The name of the log.
    pub(crate) log: Uuid,
    /// It had a record with this sequence, and maybe later ones.
    pub(crate) end: Sequence,
}

impl View {
    /// Name of the file in its directory.
    pub const FILE: &str = "view.db";

    /// Opens the view of a log in a directory of which the log holds the lock.
    ///
    /// Where there is none, or one that does not fit (of another format, of another log, ahead of a log that lost its
    /// end, damaged), the answer is an empty one. Cursors are kept when they can be read and belong to this log; those
    /// beyond its head are set back to it. A damaged file is moved aside.
    ///
    /// # Errors
    ///
    /// Only where the directory cannot be used.
    pub fn open(
        directory: &Path,
        log_id: Uuid,
        log_head: Sequence,
        execution: Execution,
    ) -> Result<(Self, Loaded), Error> {
        let path = directory.join(Self::FILE);
        let (connection, loaded) = file::open(
            &path,
            file::Log {
                id: log_id,
                head: log_head,
            },
        )?;
        let shared = Shared {
            execution,
            writer: Mutex::new(writer::Writer::new(connection, loaded.applied)),
            applied: AtomicU64::new(loaded.applied.get()),
            readers: Pool::new(&path, execution),
            path,
        };
        Ok((
            Self {
                shared: Arc::new(shared),
            },
            loaded,
        ))
    }

    /// Empties the view in a directory that nobody uses; only the cursors stay, since the log does not have them.
    pub fn discard(directory: &Path) -> Result<(), Error> {
        file::discard(&directory.join(Self::FILE))
    }

    /// What the view in a directory tells of its log, for when that is damaged; none where it is damaged itself.
    pub(crate) fn look(directory: &Path) -> Option<Seen> {
        file::look(&directory.join(Self::FILE))
    }

    /// Makes a view in a directory that has nothing but the cursors of another one, none of them after `through`.
    ///
    /// The other view may be in use. One that cannot be read, or belongs to another log, has no cursors to give.
    pub(crate) fn copy_cursors(
        from: &Path,
        into: &Path,
        from_log: Uuid,
        into_log: Uuid,
        through: Sequence,
    ) -> Result<(), Error> {
        let from = from.join(Self::FILE);
        let log = |id| file::Log { id, head: through };
        file::copy_cursors(&from, log(from_log), &into.join(Self::FILE), log(into_log))
    }

    /// The log is applied through here.
    pub fn applied(&self) -> Sequence {
        Sequence::new(self.shared.applied.load(Ordering::Acquire))
    }

    /// Makes an update, all of it or nothing.
    ///
    /// Events at or before [`View::applied`] are passed over, and of an update that ends before it only the cursors
    /// are taken, so that a part of the log can be applied twice.
    pub async fn commit(&self, update: Update) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let applied = writer
                .commit(&update)
                .map_err(|error| shared.failed("commit to", error))?;
            shared.applied.store(applied.get(), Ordering::Release);
            Ok(())
        };
        self.shared.execution.run(work).await
    }

    /// Waits until the disk has what was committed: a power cut takes nothing of it from here on.
    pub async fn sync(&self) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer.sync().map_err(|error| shared.failed("sync", error))
        };
        self.shared.execution.run(work).await
    }

    /// Looks events up by their ids; those that are not known are passed over.
    pub async fn find(&self, ids: Vec<EventId>) -> Result<Vec<Found>, Error> {
        let find = move |transaction: &rusqlite::Transaction<'_>| {
            let mut statement = transaction.prepare_cached(
                "SELECT event_id, sequence, source, digest, destination, thread, kind, root, hops, time_ms,
                        EXISTS (SELECT 1 FROM deletions WHERE deletions.event_id = ?1),
                        titled OR EXISTS (SELECT 1 FROM streams WHERE streams.name = ?2), audience
                 FROM events WHERE event_id = ?1",
            )?;
            let mut found = Vec::with_capacity(ids.len());
            for id in &ids {
                let replies = Stream::Thread(id.clone()).stored_name();
                let row = statement.query_one((id.as_str(), replies), decode_found);
                found.extend(row.optional()?);
            }
            Ok(found)
        };
        self.shared.read(find).await
    }

    /// All reactions of an agent to a message, for several of both.
    pub async fn reactions(&self, by: Vec<(EventId, AgentId)>) -> Result<Vec<ReactionKey>, Error> {
        let read = move |transaction: &rusqlite::Transaction<'_>| {
            let mut found = Vec::new();
            for (message, agent) in &by {
                found.extend(notes::reactions_of(transaction, message, agent)?);
            }
            Ok(found)
        };
        self.shared.read(read).await
    }

    /// What was said of messages later, in the order of the ids, and how far the view followed the log just then.
    pub async fn annotations(&self, messages: Vec<EventId>) -> Result<(Sequence, Vec<Annotations>), Error> {
        let read = move |transaction: &rusqlite::Transaction<'_>| {
            let applied = database::number(transaction, "applied")?;
            let found = messages
                .iter()
                .map(|message| notes::of_message(transaction, message));
            Ok((to_sequence(applied), found.collect::<rusqlite::Result<_>>()?))
        };
        self.shared.read(read).await
    }

    /// Deleted events whose content is still to be erased.
    pub async fn unerased(&self, limit: usize) -> Result<Vec<Erasable>, Error> {
        self.shared
            .read(move |transaction| notes::unerased(transaction, limit))
            .await
    }

    /// Notes down that the content of deleted events is erased.
    pub async fn mark_erased(&self, events: Vec<EventId>) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer
                .mark_erased(&events)
                .map_err(|error| shared.failed("commit to", error))
        };
        self.shared.execution.run(work).await
    }

    /// Takes events, in the order of the log, out of every list, all of them or none: the view is the one that a log
    /// without them has. It remembers which records the log is to forget.
    pub async fn unlist(&self, listed: Vec<Unlisted>) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer
                .unlist(&listed)
                .map_err(|error| shared.failed("commit to", error))
        };
        self.shared.execution.run(work).await
    }

    /// Records that were taken out and that the log is still to forget.
    pub async fn removals(&self, limit: usize) -> Result<Vec<Sequence>, Error> {
        self.shared
            .read(move |transaction| removal::due(transaction, limit))
            .await
    }

    /// Notes down that the log has forgotten records.
    pub async fn mark_removed(&self, sequences: Vec<Sequence>) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer
                .mark_removed(&sequences)
                .map_err(|error| shared.failed("commit to", error))
        };
        self.shared.execution.run(work).await
    }

    /// The channels, the inboxes and [`Stream::Everyone`], those of them to which something was sent that is listed.
    pub async fn places(&self) -> Result<Vec<Stream>, Error> {
        self.shared.read(|transaction| removal::places(transaction)).await
    }

    /// The agents that an agent has messages with, each with the newest one's sequence: newest first, only those
    /// before a sequence.
    pub async fn conversations(
        &self,
        agent: AgentId,
        before: Sequence,
        limit: usize,
    ) -> Result<Vec<(AgentId, Sequence)>, Error> {
        self.shared
            .read(move |transaction| notes::conversations(transaction, &agent, before, limit))
            .await
    }

    /// How many events after a sequence and through another are in both of two streams, counting no further than
    /// `limit`.
    pub async fn count_in_both(
        &self,
        streams: [Stream; 2],
        after: Sequence,
        through: Sequence,
        limit: usize,
    ) -> Result<u64, Error> {
        self.shared
            .read(move |transaction| {
                let [one, other] = &streams;
                index::count_in_both(transaction, [one, other], after, through, limit)
            })
            .await
    }

    /// How much was said in these channels.
    pub async fn tallies(&self, channels: Vec<ChannelName>) -> Result<Vec<Tally>, Error> {
        self.shared
            .read(move |transaction| tally::of_channels(transaction, &channels))
            .await
    }

    /// Reads a page of a stream, in the order of the direction, after passing over `offset` entries.
    pub async fn page(
        &self,
        stream: Stream,
        bounds: Bounds,
        direction: Direction,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<Sequence>, Error> {
        self.shared
            .read(move |transaction| index::page(transaction, &stream, bounds, direction, offset, limit))
            .await
    }

    /// Merges the oldest entries of several streams: those after a sequence and through another, ascending, each once,
    /// at most `limit`.
    pub async fn merge(
        &self,
        streams: Vec<Stream>,
        after: Sequence,
        through: Sequence,
        limit: usize,
    ) -> Result<Vec<Sequence>, Error> {
        self.shared
            .read(move |transaction| {
                index::merge(transaction, &streams, after, through, Direction::Forward, limit)
            })
            .await
    }

    /// Merges the newest entries of several streams: those after a sequence and through another, ascending, each once,
    /// at most `limit`.
    pub async fn newest(
        &self,
        streams: Vec<Stream>,
        after: Sequence,
        through: Sequence,
        limit: usize,
    ) -> Result<Vec<Sequence>, Error> {
        let read = move |transaction: &rusqlite::Transaction<'_>| {
            let mut newest = index::merge(transaction, &streams, after, through, Direction::Backward, limit)?;
            newest.reverse();
            Ok(newest)
        };
        self.shared.read(read).await
    }

    /// Counts the entries of several streams after a sequence and through another, without reading them.
    ///
    /// One that is in two of the streams counts twice.
    pub async fn count(&self, streams: &[Stream], after: Sequence, through: Sequence) -> Result<u64, Error> {
        let streams = streams.to_vec();
        self.shared
            .read(move |transaction| index::count(transaction, &streams, after, through))
            .await
    }
}

impl Shared {
    async fn read<T, F>(&self, work: F) -> Result<T, Error>
    where
        F: FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let outcome = self.readers.read(work).await;
        if let Err(error) = &outcome {
            self.note_damage(error);
        }
        outcome
    }

    fn failed(&self, doing: &'static str, error: rusqlite::Error) -> Error {
        let error = Error::from_sqlite(&self.path, doing, error);
        self.note_damage(&error);
        error
    }

    /// Damage that shows only in use is remembered, so that the next one to open the view builds it anew.
    fn note_damage(&self, error: &Error) {
        if !matches!(error, Error::Damaged { .. }) {
            return;
        }
        tracing::error!(path = %self.path.display(), %error, "the view is damaged; it is built anew when it is opened again");
        if let Err(error) = condemned::condemn(&self.path) {
            tracing::error!(%error, "and that could not be noted down: stop the server and run `openagents rebuild`");
        }
    }
}

impl fmt::Debug for View {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("View")
            .field("path", &self.shared.path)
            .field("applied", &self.applied())
            .finish_non_exhaustive()
    }
}

fn decode_found(row: &Row<'_>) -> rusqlite::Result<Found> {
    let optional = |column: usize| -> rusqlite::Result<Option<EventId>> {
        let written: Option<String> = row.get(column)?;
        written
            .map(|id| id.parse().map_err(|error| database::unreadable(column, error)))
            .transpose()
    };
    let time_ms: i64 = row.get(9)?;
    let audience: Option<String> = row.get(12)?;
    let audience = audience.map(|text| serde_json::from_str(&text));
    Ok(Found {
        event_id: database::name(row, 0)?,
        sequence: to_sequence(row.get(1)?),
        source: database::name(row, 2)?,
        digest: Digest::from_bytes(row.get(3)?),
        destination: database::name(row, 4)?,
        thread: optional(5)?,
        kind: EventKind::from_stored(row.get(6)?),
        threaded: row.get(11)?,
        audience: audience
            .transpose()
            .map_err(|error| database::unreadable(12, error))?,
        chain: Chain {
            root: optional(7)?,
            hops: row.get(8)?,
            time_ms: time_ms.cast_unsigned(),
        },
        deleted: row.get(10)?,
    })
}

#[cfg(test)]
mod tests;
