//! The log of a single server: a SQLite file.

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openagents_protocol::Sequence;
use openagents_protocol::record::Record;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, TransactionBehavior};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::rows::{self, COLUMNS, LOG, decode};
use super::{Durability, Entry, EventLog, Gap, Lineage, LogFuture};
use crate::Error;
use crate::database::{self, Execution, Journal, Pool, to_integer, to_limit};
use crate::directory::Lock;
use crate::salvage;
use crate::view::Direction;

/// How long records that were acknowledged from memory may wait for others to be stored with.
const WRITE_BEHIND: std::time::Duration = std::time::Duration::from_millis(5);

/// Most records that wait for the disk with [`Durability::Memory`]. A second or so of a busy disk: long enough to
/// bridge a checkpoint, short enough to bound what a crash loses. An append that finds no space waits.
const QUEUE_RECORDS: usize = 65_536;

/// About as many bytes are read at a time: a batch of large records takes no more memory than one of small ones.
const READ_BYTES: usize = 8 * 1024 * 1024;

/// Records that the background writer stores in a transaction, so that followers need not wait for the whole queue.
const DRAIN_RECORDS: usize = 4_096;

/// At most so many pages of the write-ahead log are copied into the file while an append waits.
const PAGES_AT_ONCE: u32 = 256;

/// The log of a single server, in `log.db`.
///
/// Appends go through one connection, a batch in a transaction; reads have their own connections and never wait for
/// an append. With [`Durability::Memory`] an append resolves at once and a writer in the background, started when
/// there is something to store, empties a bounded queue; when the disk is full, appends are refused until the queue
/// could be stored.
///
/// The write-ahead log is copied into the file in the background, by a connection of its own, beside further appends. Only
/// the last pages, so few that nobody notices, are copied between two appends: so the write-ahead log comes to an end.
///
/// Dropping a log loses nothing, but only [`SqliteLog::close`] waits until everything is on the disk.
pub struct SqliteLog {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    lineage: Lineage,
    durability: Durability,
    execution: Execution,
    /// Guards the one connection that writes. Taken before `queue` where both are.
    writer: Mutex<Writer>,
    /// Guards what was acknowledged and waits for the disk. Held for moments, never while the disk is used.
    queue: Mutex<Queue>,
    /// Guards the writers in the background: one, and sometimes another that is about to end.
    background: Mutex<JoinSet<()>>,
    /// Told whenever the queue became shorter, or stopped becoming shorter.
    drained: Notify,
    head: AtomicU64,
    stored: watch::Sender<Sequence>,
    readers: Arc<Pool>,
    /// Guards the connection that copies the write-ahead log into the file, while it does. Taken after `writer` where both
    /// are.
    copier: Mutex<Option<Connection>>,
    /// Whether copying failed the last time, which is told once.
    copying_fails: AtomicBool,
    /// Guards the right to use the directory. Given back by closing, or after the connections are closed: fields are
    /// dropped in order.
    lock: Mutex<Option<Lock>>,
}

struct Writer {
    connection: Connection,
    /// The last stored sequence.
    last: Sequence,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closed,
}

/// Batches stay whole, so that a crash never leaves a part of one.
type Batch = Vec<(Sequence, Entry)>;

struct Queue {
    batches: VecDeque<Batch>,
    /// Records in `batches`.
    records: usize,
    /// The last sequence that was given out.
    last: Sequence,
    flow: Flow,
}

/// What the background writer is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Idle,
    Draining,
    /// The disk was full: appends first try to store what waits.
    Stalled,
    Closed,
}

/// What became of a batch that knocked at the queue.
enum Admission {
    Accepted(Vec<Sequence>),
    Wait,
    Stalled,
    Closed,
}

impl SqliteLog {
    /// Opens the log of a directory, which is made when missing and belongs to this log until it is dropped.
    ///
    /// What it costs does not depend on the length of the log.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] while another server has it open, [`Error::Damaged`] and [`Error::NewerFormat`] when it is not
    /// what this version can read.
    pub fn open(directory: &Path, durability: Durability, execution: Execution) -> Result<Self, Error> {
        Self::open_locked(directory, Lock::take(directory)?, durability, execution)
    }

    /// Opens the log of a directory whose lock is held.
    pub(crate) fn open_locked(
        directory: &Path,
        lock: Lock,
        durability: Durability,
        execution: Execution,
    ) -> Result<Self, Error> {
        if durability == Durability::Fsync {
            // Elsewhere a power cut may leave the same behind, and takes no more than it may.
            salvage::check_wal(directory)?;
        }
        let path = directory.join(Self::FILE);
        let connection = LOG.open(&path)?.connection;
        let start = || {
            match execution {
                Execution::Inline => database::checkpoint_rarely(&connection)?,
                Execution::Blocking => database::never_checkpoint(&connection)?,
            }
            synchronise(&connection, durability)?;
            Ok((lineage(&connection)?, rows::last_sequence(&connection)?))
        };
        let (lineage, last) = start().map_err(|error| Error::from_sqlite(&path, "open", error))?;
        let shared = Shared {
            lineage,
            durability,
            execution,
            writer: Mutex::new(Writer {
                connection,
                last,
                state: State::Open,
            }),
            queue: Mutex::new(Queue {
                batches: VecDeque::new(),
                records: 0,
                last,
                flow: Flow::Idle,
            }),
            background: Mutex::default(),
            drained: Notify::new(),
            head: AtomicU64::new(last.get()),
            stored: watch::Sender::new(last),
            readers: Pool::new(&path, execution),
            copier: Mutex::default(),
            copying_fails: AtomicBool::new(false),
            path,
            lock: Mutex::new(Some(lock)),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Name of the file in its directory.
    pub const FILE: &str = "log.db";

    /// Names this log: made with it, the same ever after. A view belongs to the log that it names.
    pub fn id(&self) -> Uuid {
        self.shared.lineage.id()
    }

    /// Which logs have the same beginning.
    pub fn lineage(&self) -> &Lineage {
        &self.shared.lineage
    }

    /// What an acknowledgement waits for.
    pub fn durability(&self) -> Durability {
        self.shared.durability
    }

    /// Stores what was acknowledged from memory.
    pub async fn flush(&self) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        self.shared.execution.run(move || shared.drain()).await
    }

    /// Puts everything on the disk, takes no more appends and gives the directory back. Reads still work.
    ///
    /// After it, dropping the log gives the directory back at once; without it, a writer in the background may keep it
    /// for a moment longer.
    pub async fn close(&self) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let outcome = self.shared.execution.run(move || shared.close_now()).await;
        let mut background = std::mem::take(&mut *self.shared.background());
        while background.join_next().await.is_some() {}
        outcome
    }
}

impl EventLog for SqliteLog {
    fn append(&self, batch: Vec<Entry>) -> LogFuture<'_, Vec<Sequence>> {
        Box::pin(async move {
            if batch.is_empty() {
                return Ok(Vec::new());
            }
            let shared = Arc::clone(&self.shared);
            match self.shared.durability {
                Durability::Memory => shared.enqueue(batch).await,
                Durability::Fsync | Durability::Os => {
                    self.shared.execution.run(move || shared.append_now(batch)).await
                }
            }
        })
    }

    fn read(&self, after: Sequence, limit: usize) -> LogFuture<'_, Vec<Record>> {
        Box::pin(async move {
            let through = *self.shared.stored.borrow();
            if through <= after {
                return Ok(Vec::new());
            }
            // A commit is visible here moments before it is announced; nobody is to see it earlier.
            let range = (to_integer(after), to_integer(through), to_limit(limit));
            let read = move |transaction: &rusqlite::Transaction<'_>| {
                let mut statement = transaction.prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM log WHERE ?1 < sequence AND sequence <= ?2 ORDER BY sequence LIMIT ?3"
                ))?;
                let mut rows = statement.query(range)?;
                let (mut records, mut bytes) = (Vec::new(), 0);
                while bytes < READ_BYTES
                    && let Some(row) = rows.next()?
                {
                    bytes += length(row)?;
                    records.push(decode(row)?);
                }
                Ok(records)
            };
            self.shared.readers.read(read).await
        })
    }

    fn read_at(&self, sequences: Vec<Sequence>) -> LogFuture<'_, Vec<Record>> {
        self.read_some(sequences, Direction::Forward, usize::MAX)
    }

    fn read_some(
        &self,
        mut sequences: Vec<Sequence>,
        direction: Direction,
        bytes: usize,
    ) -> LogFuture<'_, Vec<Record>> {
        Box::pin(async move {
            let through = *self.shared.stored.borrow();
            sequences.retain(|sequence| *sequence <= through);
            if sequences.is_empty() {
                return Ok(Vec::new());
            }
            direction.sort(&mut sequences);
            let read = move |transaction: &rusqlite::Transaction<'_>| {
                let mut statement =
                    transaction.prepare_cached(&format!("SELECT {COLUMNS} FROM log WHERE sequence = ?1"))?;
                let (mut records, mut read) = (Vec::new(), 0);
                for sequence in sequences {
                    let record =
                        statement.query_row([to_integer(sequence)], |row| Ok((decode(row)?, length(row)?)));
                    if let Some((record, length)) = record.optional()? {
                        records.push(record);
                        read += length;
                    }
                    if bytes <= read {
                        break;
                    }
                }
                Ok(records)
            };
            self.shared.readers.read(read).await
        })
    }

    fn erase(&self, sequences: Vec<Sequence>) -> LogFuture<'_, ()> {
        Box::pin(async move {
            let shared = Arc::clone(&self.shared);
            self.shared
                .execution
                .run(move || shared.erase_now(&sequences))
                .await
        })
    }

    fn remove(&self, sequences: Vec<Sequence>) -> LogFuture<'_, ()> {
        Box::pin(async move {
            let shared = Arc::clone(&self.shared);
            self.shared
                .execution
                .run(move || shared.remove_now(sequences))
                .await
        })
    }

    fn size(&self) -> LogFuture<'_, u64> {
        Box::pin(async move {
            let read = |transaction: &rusqlite::Transaction<'_>| {
                let pragma = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
                let used = pragma("page_count")? - pragma("freelist_count")?;
                Ok((used * pragma("page_size")?).cast_unsigned())
            };
            self.shared.readers.read(read).await
        })
    }

    fn head(&self) -> Sequence {
        Sequence::new(self.shared.head.load(Ordering::Acquire))
    }

    fn stored(&self) -> watch::Receiver<Sequence> {
        self.shared.stored.subscribe()
    }
}

impl fmt::Debug for SqliteLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SqliteLog")
            .field("path", &self.shared.path)
            .field("durability", &self.shared.durability)
            .field("head", &self.head())
            .finish_non_exhaustive()
    }
}

impl Shared {
    // A panic between the statements of a transaction rolls it back, so a poisoned lock guards nothing broken.
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn background(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.background.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn copier(&self) -> MutexGuard<'_, Option<Connection>> {
        self.copier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append_now(self: &Arc<Self>, entries: Vec<Entry>) -> Result<Vec<Sequence>, Error> {
        let mut writer = self.writer();
        let batch = number(writer.last, entries);
        let sequences: Vec<Sequence> = batch.iter().map(|(sequence, _)| *sequence).collect();
        writer.store(&self.path, &[batch])?;
        self.head.store(writer.last.get(), Ordering::Release);
        self.stored.send_replace(writer.last);
        self.mind_journal(&writer);
        Ok(sequences)
    }

    /// Has the write-ahead log copied when it is long.
    fn mind_journal(self: &Arc<Self>, writer: &Writer) {
        if self.execution == Execution::Inline {
            return;
        }
        let journal = match Journal::of(&writer.connection) {
            Ok(journal) if !journal.is_long() => return,
            Ok(journal) => journal,
            Err(error) => return self.tell_of_copying(&Err(error)),
        };
        let Ok(copier) = self.copier.try_lock() else {
            // It is being copied.
            return;
        };
        if journal.left() <= PAGES_AT_ONCE || journal.is_far_too_long() {
            self.tell_of_copying(&Journal::copy(&writer.connection).map(drop));
        } else {
            drop(copier);
            self.start_copying();
        }
    }

    /// Copies the write-ahead log in the background.
    fn start_copying(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        let mut background = self.background();
        while background.try_join_next().is_some() {}
        background.spawn_blocking(move || {
            let Ok(mut copier) = shared.copier.try_lock() else {
                return;
            };
            let outcome = copy_journal(&shared.path, &mut copier);
            drop(copier);
            shared.tell_of_copying(&outcome);
        });
    }

    /// Nothing is lost where it fails: what is not copied is read from the write-ahead log, and the next append tries
    /// again.
    fn tell_of_copying(&self, outcome: &rusqlite::Result<()>) {
        let failed_before = self.copying_fails.swap(outcome.is_err(), Ordering::AcqRel);
        if let (Err(error), false) = (outcome, failed_before) {
            tracing::warn!(path = %self.path.display(), %error, "the write-ahead log could not be copied into the log");
        }
    }

    /// Takes a batch into the queue, and waits while there is no space.
    async fn enqueue(self: Arc<Self>, mut batch: Vec<Entry>) -> Result<Vec<Sequence>, Error> {
        loop {
            // Listens before it looks, so that space made in between is not missed.
            let drained = self.drained.notified();
            match self.admit(&mut batch) {
                Admission::Accepted(sequences) => return Ok(sequences),
                Admission::Closed => return Err(Error::Closed),
                Admission::Wait => drained.await,
                Admission::Stalled => {
                    let shared = Arc::clone(&self);
                    self.execution.run(move || shared.drain()).await?;
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, batch: &mut Vec<Entry>) -> Admission {
        let mut queue = self.queue();
        match queue.flow {
            Flow::Closed => return Admission::Closed,
            Flow::Stalled => return Admission::Stalled,
            Flow::Idle | Flow::Draining => {}
        }
        // A batch larger than the queue is taken when nothing else waits.
        if queue.records != 0 && QUEUE_RECORDS < queue.records + batch.len() {
            return Admission::Wait;
        }
        let batch = number(queue.last, std::mem::take(batch));
        let sequences: Vec<Sequence> = batch.iter().map(|(sequence, _)| *sequence).collect();
        queue.last = sequences.last().copied().unwrap_or(queue.last);
        queue.records += batch.len();
        queue.batches.push_back(batch);
        self.head.store(queue.last.get(), Ordering::Release);
        if queue.flow == Flow::Idle {
            queue.flow = Flow::Draining;
            drop(queue);
            self.start_draining();
        }
        Admission::Accepted(sequences)
    }

    fn start_draining(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        let drain = move || {
            // Nobody waits for the answer: the next append gets the error if it lasts.
            if let Err(error) = shared.drain() {
                tracing::error!(path = %shared.path.display(), %error, "acknowledged records are not stored yet");
            }
        };
        match self.execution {
            Execution::Inline => drain(),
            Execution::Blocking => {
                let mut background = self.background();
                while background.try_join_next().is_some() {}
                background.spawn(async move {
                    // What comes in the next moments goes with it: one transaction instead of one for each record.
                    tokio::time::sleep(WRITE_BEHIND).await;
                    if let Err(error) = tokio::task::spawn_blocking(drain).await {
                        tracing::error!(%error, "storing acknowledged records panicked");
                    }
                });
            }
        }
    }

    /// Stores what waits in the queue, until nothing does.
    fn drain(self: &Arc<Self>) -> Result<(), Error> {
        let mut writer = self.writer();
        loop {
            let Some(batches) = self.queue().take() else {
                return Ok(());
            };
            let outcome = writer.store(&self.path, &batches);
            let mut queue = self.queue();
            match &outcome {
                Ok(()) => {}
                Err(error) if error.is_full() => queue.put_back(batches),
                Err(_) => queue.flow = Flow::Closed,
            }
            drop(queue);
            if outcome.is_ok() {
                self.stored
                    .send_if_modified(|stored| std::mem::replace(stored, writer.last) < writer.last);
                self.head.fetch_max(writer.last.get(), Ordering::AcqRel);
                self.mind_journal(&writer);
            }
            self.drained.notify_waiters();
            outcome?;
        }
    }

    fn erase_now(self: &Arc<Self>, sequences: &[Sequence]) -> Result<(), Error> {
        // What is still in the queue is erased like everything else: after it was stored.
        self.drain()?;
        let mut writer = self.writer();
        writer.guarded(&self.path, "erase from", |connection| {
            erase(connection, sequences)
        })?;
        let durability = self.durability;
        // Waits for who copies: two cannot.
        let _copier = self.copier();
        let finish = || {
            checkpoint(&writer.connection)?;
            synchronise(&writer.connection, durability)
        };
        finish().map_err(|error| Error::from_sqlite(&self.path, "erase from", error))
    }

    fn remove_now(self: &Arc<Self>, mut sequences: Vec<Sequence>) -> Result<(), Error> {
        self.drain()?;
        let mut writer = self.writer();
        // The end of the log says which sequence is the next one.
        sequences.retain(|sequence| *sequence < writer.last);
        sequences.sort_unstable();
        writer.guarded(&self.path, "remove from", |connection| {
            remove(connection, &sequences)
        })?;
        synchronise(&writer.connection, self.durability)
            .map_err(|error| Error::from_sqlite(&self.path, "remove from", error))
    }

    fn close_now(self: &Arc<Self>) -> Result<(), Error> {
        // Refuses further batches before it stores the last ones, so that none slips in between.
        self.queue().flow = Flow::Closed;
        let drained = self.drain();
        let mut writer = self.writer();
        writer.state = State::Closed;
        let _copier = self.copier();
        let finish = || {
            synchronise(&writer.connection, Durability::Fsync)?;
            checkpoint(&writer.connection)
        };
        let finished = finish().map_err(|error| Error::from_sqlite(&self.path, "close", error));
        // Nothing writes from here on, so the directory is free for the next one, also after a failure.
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
        drained.and(finished)
    }
}

impl Writer {
    /// Stores batches in one transaction.
    fn store(&mut self, path: &Path, batches: &[Batch]) -> Result<(), Error> {
        self.guarded(path, "append to", |connection| insert(connection, batches))?;
        if let Some((sequence, _)) = batches.last().and_then(|batch| batch.last()) {
            self.last = *sequence;
        }
        Ok(())
    }

    /// Runs a transaction. A failure leaves nothing of it, but whether a commit that failed is on the disk is known for
    /// a full disk only; after any other one, going on could acknowledge records behind a hole.
    fn guarded(
        &mut self,
        path: &Path,
        doing: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<()>,
    ) -> Result<(), Error> {
        if self.state == State::Closed {
            return Err(Error::Closed);
        }
        let outcome = work(&mut self.connection).map_err(|error| Error::from_sqlite(path, doing, error));
        if outcome.as_ref().is_err_and(|error| !error.is_full()) {
            self.state = State::Closed;
        }
        outcome
    }
}

impl Queue {
    /// Takes the oldest batches, about as many as a transaction should hold; none: the queue is empty.
    fn take(&mut self) -> Option<Vec<Batch>> {
        let mut taken = Vec::new();
        let mut records = 0;
        while records < DRAIN_RECORDS {
            let Some(batch) = self.batches.pop_front() else {
                break;
            };
            records += batch.len();
            taken.push(batch);
        }
        self.records -= records;
        if !taken.is_empty() {
            return Some(taken);
        }
        if self.flow != Flow::Closed {
            self.flow = Flow::Idle;
        }
        None
    }

    fn put_back(&mut self, batches: Vec<Batch>) {
        self.flow = Flow::Stalled;
        for batch in batches.into_iter().rev() {
            self.records += batch.len();
            self.batches.push_front(batch);
        }
    }
}

/// Gives entries the sequences after the last one.
fn number(mut last: Sequence, entries: Vec<Entry>) -> Batch {
    let numbered = entries.into_iter().map(|entry| {
        last = last.next();
        (last, entry)
    });
    numbered.collect()
}

fn insert(connection: &mut Connection, batches: &[Batch]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let entries: Vec<&(Sequence, Entry)> = batches.iter().flatten().collect();
    rows::insert(&transaction, &entries)?;
    transaction.commit()
}

/// Copies the write-ahead log into the file, with a connection that is opened at the first time.
fn copy_journal(path: &Path, copier: &mut Option<Connection>) -> rusqlite::Result<()> {
    let connection = if let Some(connection) = copier {
        connection
    } else {
        let connection = database::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // What is copied is on the disk before the write-ahead log is begun anew.
        synchronise(&connection, Durability::Os)?;
        copier.insert(connection)
    };
    Journal::copy(connection).map(drop)
}

fn erase(connection: &mut Connection, sequences: &[Sequence]) -> rusqlite::Result<()> {
    // Erasing is a promise about the disk, whatever appends promise.
    synchronise(connection, Durability::Fsync)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut statement = transaction.prepare_cached("UPDATE log SET body = NULL WHERE sequence = ?1")?;
        for sequence in sequences {
            statement.execute([to_integer(*sequence)])?;
        }
    }
    transaction.commit()
}

fn remove(connection: &mut Connection, sequences: &[Sequence]) -> rusqlite::Result<()> {
    // The view forgets what is removed, so the log must not bring it back.
    synchronise(connection, Durability::Fsync)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut removed = Vec::with_capacity(sequences.len());
    {
        let mut statement = transaction.prepare_cached("DELETE FROM log WHERE sequence = ?1")?;
        for sequence in sequences {
            if statement.execute([to_integer(*sequence)])? != 0 {
                removed.push(*sequence);
            }
        }
    }
    for gap in Gap::of_sequences(removed) {
        gap.join(&transaction)?;
    }
    transaction.commit()
}

fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    if !database::empty_journal(connection)? {
        tracing::warn!("another program reads the log; erased text may stay in log.db-wal until it stops");
    }
    Ok(())
}

/// Sets what a commit waits for. Without `FULL` a commit waits for the operating system only; `NORMAL` then still orders
/// the writes of a checkpoint (twice in thousands of pages), so that a power cut takes the end of the log and does not
/// damage it.
fn synchronise(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    let level = match durability {
        Durability::Fsync => "full",
        Durability::Os | Durability::Memory => "normal",
    };
    connection.pragma_update(None, "synchronous", level)
}

/// The names of a log, which it gets when it is made.
fn lineage(connection: &Connection) -> rusqlite::Result<Lineage> {
    if let Some(lineage) = Lineage::read(connection)? {
        return Ok(lineage);
    }
    let new = Lineage::new();
    new.write(connection)?;
    Ok(new)
}

/// Bytes of header and body in a row.
fn length(row: &Row<'_>) -> rusqlite::Result<usize> {
    let text = |column| -> rusqlite::Result<usize> {
        let text = row.get_ref(column)?.as_str_or_null()?;
        Ok(text.map_or(0, str::len))
    };
    Ok(text(1)? + text(2)?)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use openagents_protocol::record::Body;
    use tempfile::TempDir;

    use super::*;
    use crate::contract::{self, Factory, SharedLog, entry};

    fn open(directory: &Path, durability: Durability) -> SqliteLog {
        SqliteLog::open(directory, durability, Execution::Blocking).unwrap()
    }

    fn entries(count: u64) -> Vec<Entry> {
        (0..count).map(entry).collect()
    }

    /// Stands for a disk that has no more space than the file uses now.
    fn fill_disk(log: &SqliteLog) {
        let writer = log.shared.writer();
        let pages: u32 = writer
            .connection
            .pragma_query_value(None, "page_count", |row| row.get(0))
            .unwrap();
        let ignored = writer.connection.pragma_update(None, "max_page_count", pages);
        assert!(ignored.is_ok());
    }

    fn free_disk(log: &SqliteLog) {
        log.shared
            .writer()
            .connection
            .pragma_update(None, "max_page_count", 1_000_000)
            .unwrap();
    }

    struct Sqlite {
        durability: Durability,
        execution: Execution,
        directories: Vec<TempDir>,
        current: Option<Arc<SqliteLog>>,
    }

    impl Sqlite {
        fn open(&mut self) -> Result<SharedLog, Error> {
            let directory = self.directories.last().expect("made by create").path();
            let log = Arc::new(SqliteLog::open(directory, self.durability, self.execution)?);
            self.current = Some(Arc::clone(&log));
            Ok(log)
        }
    }

    impl Factory for Sqlite {
        fn create(&mut self) -> LogFuture<'_, SharedLog> {
            Box::pin(async {
                self.directories.push(tempfile::tempdir().unwrap());
                self.open()
            })
        }

        fn reopen(&mut self, log: SharedLog) -> LogFuture<'_, Option<SharedLog>> {
            Box::pin(async {
                drop(log);
                self.current.take().expect("made by create").close().await?;
                self.open().map(Some)
            })
        }
    }

    async fn keeps_the_contract(durability: Durability) {
        for execution in [Execution::Blocking, Execution::Inline] {
            let mut factory = Sqlite {
                durability,
                execution,
                directories: Vec::new(),
                current: None,
            };
            contract::run(&mut factory).await;
        }
    }

    #[tokio::test]
    async fn the_log_keeps_the_contract_with_fsync() {
        keeps_the_contract(Durability::Fsync).await;
    }

    #[tokio::test]
    async fn the_log_keeps_the_contract_with_os() {
        keeps_the_contract(Durability::Os).await;
    }

    #[tokio::test]
    async fn the_log_keeps_the_contract_with_memory() {
        keeps_the_contract(Durability::Memory).await;
    }

    #[tokio::test]
    async fn a_write_ahead_log_is_copied_beside_appends_and_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path(), Durability::Os);
        let large = Entry {
            body: Body {
                payload: serde_json::json!({"text": "x".repeat(256 * 1024)}).into(),
                ..Body::empty()
            },
            ..entry(1)
        };
        let journal = || Journal::of(&log.shared.writer().connection).unwrap();
        let (mut appended, mut longest) = (0, journal());
        while longest.pages <= journal().pages {
            longest = journal();
            log.append(vec![large.clone()]).await.unwrap();
            appended += 1;
        }
        assert!(longest.is_long());
        assert_eq!(log.head(), Sequence::new(appended));
        log.close().await.unwrap();
        drop(log);
        let log = open(directory.path(), Durability::Os);
        for sequence in [1, appended / 2, appended].map(Sequence::new) {
            let record = log.read_at(vec![sequence]).await.unwrap().pop().unwrap();
            assert_eq!(record.body.as_ref(), Some(&large.body));
        }
    }

    #[test]
    fn a_directory_has_one_log_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path(), Durability::Fsync);
        let second = SqliteLog::open(directory.path(), Durability::Fsync, Execution::Blocking);
        assert!(matches!(second, Err(Error::Locked { .. })));
        drop(log);
        open(directory.path(), Durability::Fsync);
    }

    #[test]
    fn a_newer_format_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path(), Durability::Fsync);
        log.shared
            .writer()
            .connection
            .pragma_update(None, "user_version", 7)
            .unwrap();
        drop(log);
        let error = SqliteLog::open(directory.path(), Durability::Fsync, Execution::Blocking).unwrap_err();
        assert!(
            matches!(
                error,
                Error::NewerFormat {
                    found: 7,
                    supported,
                    ..
                } if supported == LOG.format
            ),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_log_of_the_first_format_is_read_and_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(SqliteLog::FILE);
        let first = Connection::open(&path).unwrap();
        first
            .execute_batch(
                "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
                 CREATE TABLE log (sequence INTEGER PRIMARY KEY, header TEXT NOT NULL, body TEXT);
                 PRAGMA application_id = 0x4f414c67; PRAGMA user_version = 1;",
            )
            .unwrap();
        let Entry { header, body } = entry(1);
        first
            .execute(
                "INSERT INTO log VALUES (1, ?1, ?2)",
                (
                    serde_json::to_string(&header).unwrap(),
                    serde_json::to_string(&body).unwrap(),
                ),
            )
            .unwrap();
        drop(first);

        for count in 2..4 {
            let log = open(directory.path(), Durability::Fsync);
            log.append(vec![entry(count)]).await.unwrap();
            let records = log.read(Sequence::ZERO, 10).await.unwrap();
            let headers: Vec<_> = records.into_iter().map(|record| record.header).collect();
            let expected: Vec<_> = (1..=count).map(|number| entry(number).header).collect();
            assert_eq!(headers, expected);
            log.close().await.unwrap();
        }
    }

    #[tokio::test]
    async fn the_space_of_removed_records_is_used_again() {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path(), Durability::Os);
        let file = directory.path().join(SqliteLog::FILE);
        let mut lengths = Vec::new();
        for round in 0..4 {
            let added = (round * 2_000..(round + 1) * 2_000).map(entry).collect();
            let sequences = log.append(added).await.unwrap();
            let full = log.size().await.unwrap();
            log.remove(sequences).await.unwrap();
            let rest = log.size().await.unwrap();
            assert!(rest < full / 4, "{rest} bytes of {full} are left");
            // It empties the write-ahead log.
            log.erase(Vec::new()).await.unwrap();
            lengths.push(std::fs::metadata(&file).unwrap().len());
        }
        assert!(lengths[3] < lengths[0] + lengths[0] / 10, "{lengths:?}");
        assert_eq!(
            log.read(Sequence::ZERO, 10).await.unwrap().len(),
            4,
            "the last of each round"
        );
        log.close().await.unwrap();
        drop(log);
        let log = open(directory.path(), Durability::Os);
        assert_eq!(log.head(), Sequence::new(8_000));
    }

    #[tokio::test]
    async fn a_record_that_is_not_what_was_written_is_not_handed_out() {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path(), Durability::Fsync);
        log.append(entries(3)).await.unwrap();
        let text = "UPDATE log SET body = replace(body, 'message 1', 'message 7') WHERE sequence = 2";
        log.shared.writer().connection.execute_batch(text).unwrap();
        let error = log.read(Sequence::ZERO, 10).await.unwrap_err();
        let Error::Damaged { detail, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(detail, "record 2: it is not what was written");
        assert_eq!(log.read(Sequence::new(2), 10).await.unwrap().len(), 1);
    }

    #[test]
    fn something_else_is_not_taken_for_a_log() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(SqliteLog::FILE);
        std::fs::write(&path, "not a database".repeat(100)).unwrap();
        let error = SqliteLog::open(directory.path(), Durability::Fsync, Execution::Blocking).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");

        std::fs::remove_file(&path).unwrap();
        Connection::open(&path)
            .unwrap()
            .execute_batch("CREATE TABLE theirs (id)")
            .unwrap();
        let error = SqliteLog::open(directory.path(), Durability::Fsync, Execution::Blocking).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_truncated_file_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path(), Durability::Fsync);
        log.append(entries(1_000)).await.unwrap();
        log.close().await.unwrap();
        drop(log);
        let file = OpenOptions::new()
            .write(true)
            .open(directory.path().join(SqliteLog::FILE))
            .unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        let error = SqliteLog::open(directory.path(), Durability::Fsync, Execution::Blocking).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_log_that_was_not_closed_has_everything_acknowledged() {
        for durability in [Durability::Fsync, Durability::Os] {
            let directory = tempfile::tempdir().unwrap();
            let log = open(directory.path(), durability);
            let sequences = log.append(entries(10)).await.unwrap();
            drop(log);
            let log = open(directory.path(), durability);
            assert_eq!(log.head(), sequences[9]);
            assert_eq!(log.read(Sequence::ZERO, 100).await.unwrap().len(), 10);
        }
    }

    #[tokio::test]
    async fn a_crash_keeps_what_the_operating_system_had() {
        for durability in [Durability::Fsync, Durability::Os] {
            let directory = tempfile::tempdir().unwrap();
            let copy = tempfile::tempdir().unwrap();
            let log = open(directory.path(), durability);
            log.append(entries(10)).await.unwrap();
            // What a killed process leaves behind: no connection was closed.
            for file in ["log.db", "log.db-wal"] {
                std::fs::copy(directory.path().join(file), copy.path().join(file)).unwrap();
            }
            let survivor = open(copy.path(), durability);
            assert_eq!(survivor.id(), log.id());
            assert_eq!(survivor.read(Sequence::ZERO, 100).await.unwrap().len(), 10);
        }
    }

    #[tokio::test]
    async fn a_damaged_write_ahead_log_is_not_taken_for_a_shorter_one() {
        let directory = tempfile::tempdir().unwrap();
        let copy = tempfile::tempdir().unwrap();
        let log = open(directory.path(), Durability::Fsync);
        for number in 0..10 {
            log.append(vec![entry(number)]).await.unwrap();
        }
        for file in ["log.db", "log.db-wal"] {
            std::fs::copy(directory.path().join(file), copy.path().join(file)).unwrap();
        }
        let wal = copy.path().join("log.db-wal");
        let mut bytes = std::fs::read(&wal).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&wal, bytes).unwrap();
        let error = SqliteLog::open(copy.path(), Durability::Fsync, Execution::Blocking).unwrap_err();
        assert!(
            matches!(&error, Error::Damaged { path, .. } if *path == wal),
            "{error}"
        );
        // With less durability a power cut may leave the same, and what is lost is the end.
        assert!(open(copy.path(), Durability::Os).head() < log.head());
    }

    #[tokio::test]
    async fn a_full_disk_refuses_whole_batches_and_recovers() {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path(), Durability::Fsync);
        let first = log.append(entries(3)).await.unwrap();
        fill_disk(&log);
        let error = log.append(entries(1_000)).await.unwrap_err();
        assert!(error.is_full(), "{error}");
        assert_eq!(log.head(), first[2]);
        assert_eq!(log.read(Sequence::ZERO, 2_000).await.unwrap().len(), 3);

        free_disk(&log);
        let second = log.append(entries(1_000)).await.unwrap();
        assert!(first[2] < second[0]);
        assert_eq!(log.read(Sequence::ZERO, 2_000).await.unwrap().len(), 1_003);
    }

    #[tokio::test]
    async fn a_full_disk_stalls_acknowledging_from_memory_until_it_has_space() {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path(), Durability::Memory);
        log.append(entries(3)).await.unwrap();
        log.flush().await.unwrap();
        fill_disk(&log);
        let acknowledged = log.append(entries(1_000)).await.unwrap();
        assert!(log.flush().await.unwrap_err().is_full());
        assert!(log.append(entries(1)).await.unwrap_err().is_full());

        free_disk(&log);
        let later = log.append(entries(1)).await.unwrap();
        assert!(acknowledged[999] < later[0]);
        log.flush().await.unwrap();
        assert_eq!(log.read(Sequence::ZERO, 2_000).await.unwrap().len(), 1_004);
    }

    #[tokio::test]
    async fn after_a_failed_commit_nothing_is_acknowledged() {
        for durability in [Durability::Fsync, Durability::Memory] {
            let directory = tempfile::tempdir().unwrap();
            let log = open(directory.path(), durability);
            log.append(entries(1)).await.unwrap();
            log.flush().await.unwrap();
            log.shared
                .writer()
                .connection
                .execute_batch("ALTER TABLE log RENAME TO elsewhere")
                .unwrap();
            let failed = async {
                log.append(entries(1)).await?;
                log.flush().await?;
                log.append(entries(1)).await
            };
            assert!(failed.await.is_err());
            assert!(matches!(log.append(entries(1)).await, Err(Error::Closed)));
            log.shared
                .writer()
                .connection
                .execute_batch("ALTER TABLE elsewhere RENAME TO log")
                .unwrap();
            assert!(matches!(log.append(entries(1)).await, Err(Error::Closed)));
            log.close().await.unwrap();
            drop(log);
            open(directory.path(), durability)
                .append(entries(1))
                .await
                .unwrap();
        }
    }

    #[tokio::test]
    async fn a_queue_without_space_makes_appends_wait() {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path(), Durability::Memory);
        let half = u64::try_from(QUEUE_RECORDS / 2).unwrap();
        for _ in 0..3 {
            log.append(entries(half)).await.unwrap();
            assert!(log.shared.queue().records <= QUEUE_RECORDS);
        }
        log.flush().await.unwrap();
        assert_eq!(*log.stored().borrow(), Sequence::new(3 * half));
    }

    #[tokio::test]
    async fn a_closed_log_can_be_read_only() {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path(), Durability::Memory);
        log.append(entries(5)).await.unwrap();
        log.close().await.unwrap();
        assert!(matches!(log.append(entries(1)).await, Err(Error::Closed)));
        assert_eq!(log.read(Sequence::ZERO, 10).await.unwrap().len(), 5);
    }

    #[tokio::test]
    async fn large_records_are_read_a_few_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path(), Durability::Os);
        let mut large = entry(1);
        large.body.text_representation = Some("x".repeat(READ_BYTES / 4));
        let sequences = log.append(vec![large; 10]).await.unwrap();
        let first = log.read(Sequence::ZERO, 100).await.unwrap();
        assert_eq!(first.len(), 4);
        let rest = log.read(sequences[3], 100).await.unwrap();
        assert_eq!(rest[0].sequence, sequences[4]);
        let mut huge = entry(2);
        huge.body.text_representation = Some("x".repeat(READ_BYTES * 2));
        let sequences = log.append(vec![huge]).await.unwrap();
        assert_eq!(log.read(sequences[0].previous(), 100).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn erased_text_leaves_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path(), Durability::Os);
        let mut secret = entry(1);
        secret.body.text_representation = Some("correct horse battery staple ".repeat(1_000));
        let sequences = log.append(vec![entry(0), secret, entry(2)]).await.unwrap();
        log.erase(vec![sequences[1]]).await.unwrap();
        for file in ["log.db", "log.db-wal"] {
            let bytes = std::fs::read(directory.path().join(file)).unwrap();
            assert!(
                !bytes.windows(13).any(|window| window == b"correct horse"),
                "{file}"
            );
        }
        assert_eq!(log.append(entries(1)).await.unwrap().len(), 1);
    }
}
