//! What the files of a store share: how a file is opened, who runs the statements, and the pool of readers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openagents_protocol::Sequence;
use rusqlite::types::Type;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::Error;

/// Where the statements of a store run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Execution {
    /// On the runtime's threads for blocking work, so that a disk never holds up the tasks of a server.
    #[default]
    Blocking,
    /// In place: one thread, one order. For simulations that must run alike every time.
    Inline,
}

impl Execution {
    /// Runs work that waits for a disk.
    ///
    /// # Cancel safety
    ///
    /// Work that has begun is finished, whether or not anybody still waits for it.
    pub(crate) async fn run<T, F>(self, work: F) -> Result<T, Error>
    where
        F: FnOnce() -> Result<T, Error> + Send + 'static,
        T: Send + 'static,
    {
        match self {
            Self::Inline => work(),
            Self::Blocking => match tokio::task::spawn_blocking(work).await {
                Ok(result) => result,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The runtime is shutting down and has not begun the work.
                Err(_) => Err(Error::Closed),
            },
        }
    }
}

/// A kind of file, and how it is told from others.
#[derive(Debug)]
pub(crate) struct Kind {
    /// What a file of this kind is, with its article.
    pub(crate) name: &'static str,
    /// Marks the files of this kind.
    pub(crate) application_id: i32,
    /// The format that is written, and the newest that is read.
    pub(crate) format: u32,
    /// The tables of that format.
    pub(crate) schema: &'static str,
    /// What makes the next format of an older one, by the older one. Formats that are not here stay as they are.
    pub(crate) upgrades: &'static [(u32, &'static str)],
}

/// A file opened for writing.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    /// The format it has.
    pub(crate) format: u32,
}

impl Kind {
    /// Opens a file for writing, and makes it where there is none.
    pub(crate) fn open(&self, path: &Path) -> Result<Opened, Error> {
        let failed = |error| Error::from_sqlite(path, "open", error);
        let mut opened = self.try_open(path).map_err(failed)?.check(self, path)?;
        // Only now is it known to be a file that we may change.
        self.upgrade(&mut opened).map_err(failed)?;
        opened
            .connection
            .pragma_update(None, "journal_mode", "wal")
            .map_err(failed)?;
        opened
            .connection
            .pragma_update(None, "secure_delete", true)
            .map_err(failed)?;
        Ok(opened)
    }

    /// Opens a file beside whoever writes it, and changes nothing about it.
    pub(crate) fn open_to_read(&self, path: &Path) -> Result<Opened, Error> {
        let found = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY).and_then(Found::look);
        found
            .map_err(|error| Error::from_sqlite(path, "open", error))?
            .check(self, path)
    }

    /// Makes a file that nobody reads before it is complete: without a journal, and on the disk only when it is synced.
    pub(crate) fn create(&self, path: &Path) -> Result<Connection, Error> {
        let make = || {
            let mut connection = connect(
                path,
                OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
            )?;
            connection.pragma_update(None, "synchronous", "off")?;
            connection.pragma_update(None, "journal_mode", "off")?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            self.make(&transaction)?;
            transaction.commit()?;
            Ok(connection)
        };
        make().map_err(|error| Error::from_sqlite(path, "make", error))
    }

    fn try_open(&self, path: &Path) -> rusqlite::Result<Found> {
        let mut connection = connect(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        )?;
        let tables: i64 = connection.query_one("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        let application_id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        if tables == 0 && application_id == 0 {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            self.make(&transaction)?;
            transaction.commit()?;
        }
        Found::look(connection)
    }

    /// Brings an older file up to the format that is written, one format after the other.
    fn upgrade(&self, opened: &mut Opened) -> rusqlite::Result<()> {
        while let Some((_, statements)) = self.upgrades.iter().find(|(from, _)| *from == opened.format) {
            let transaction = opened
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(statements)?;
            transaction.pragma_update(None, "user_version", opened.format + 1)?;
            transaction.commit()?;
            opened.format += 1;
        }
        Ok(())
    }

    /// Makes the tables, and marks the file as one of this kind.
    pub(crate) fn make(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        transaction.execute_batch(self.schema)?;
        transaction.pragma_update(None, "application_id", self.application_id)?;
        transaction.pragma_update(None, "user_version", self.format)
    }
}

struct Found {
    connection: Connection,
    application_id: i32,
    format: u32,
}

impl Found {
    fn look(connection: Connection) -> rusqlite::Result<Self> {
        let application_id = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let format = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok(Self {
            connection,
            application_id,
            format,
        })
    }

    fn check(self, kind: &Kind, path: &Path) -> Result<Opened, Error> {
        if self.application_id != kind.application_id {
            return Err(Error::Damaged {
                path: path.to_owned(),
                detail: format!("it is not {}", kind.name),
            });
        }
        if kind.format < self.format {
            return Err(Error::NewerFormat {
                path: path.to_owned(),
                found: self.format,
                supported: kind.format,
            });
        }
        Ok(Opened {
            connection: self.connection,
            format: self.format,
        })
    }
}

/// How long a statement waits for another connection: only checkpoints and recovery ever make it wait.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    // Every connection has a mutex of ours around it, so it needs none of its own.
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// After so many pages (16 MB) the write-ahead log is copied into the file. Rarer than by default, since pages that many
/// commits rewrite are copied once; not rarer still, since opening after a crash reads the write-ahead log once.
const CHECKPOINT_PAGES: u32 = 4_000;

/// What stays of a write-ahead log that a slow reader once let grow.
const JOURNAL_BYTES: u32 = 32 * 1024 * 1024;

/// The write-ahead log of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Journal {
    /// Pages in it.
    pub(crate) pages: u32,
    /// How many of them are copied into the file.
    pub(crate) copied: u32,
}

impl Journal {
    /// Whether so much is in it that it should be copied.
    pub(crate) fn is_long(self) -> bool {
        CHECKPOINT_PAGES <= self.pages
    }

    /// Whether it grew although it was copied all the time.
    pub(crate) fn is_far_too_long(self) -> bool {
        4 * CHECKPOINT_PAGES <= self.pages
    }

    pub(crate) fn left(self) -> u32 {
        self.pages.saturating_sub(self.copied)
    }

    /// How it is now.
    pub(crate) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        Self::ask(connection, "PRAGMA wal_checkpoint(NOOP)")
    }

    /// Copies what is in it into the file, beside who writes and reads. Once all is copied, the next commit begins it
    /// anew.
    pub(crate) fn copy(connection: &Connection) -> rusqlite::Result<Self> {
        Self::ask(connection, "PRAGMA wal_checkpoint(PASSIVE)")
    }

    fn ask(connection: &Connection, statement: &str) -> rusqlite::Result<Self> {
        connection.prepare_cached(statement)?.query_one([], |row| {
            let (pages, copied): (i64, i64) = (row.get(1)?, row.get(2)?);
            // A file without a write-ahead log has -1 pages in it.
            Ok(Self {
                pages: u32::try_from(pages).unwrap_or(0),
                copied: u32::try_from(copied).unwrap_or(0),
            })
        })
    }
}

/// Nobody copies the write-ahead log but who does so by [`Journal::copy`].
pub(crate) fn never_checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", JOURNAL_BYTES)
}

pub(crate) fn checkpoint_rarely(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", JOURNAL_BYTES)
}

/// Copies the write-ahead log into the file and empties it, so that no earlier version of a page stays behind. Whether
/// that was done: another program that reads the file can keep it from being done.
pub(crate) fn empty_journal(connection: &Connection) -> rusqlite::Result<bool> {
    let busy: bool = connection.query_one("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    Ok(!busy)
}

/// Connections that read one file, opened when needed.
#[derive(Debug)]
pub(crate) struct Pool {
    path: PathBuf,
    execution: Execution,
    permits: Arc<Semaphore>,
    /// Connections that nobody uses at the moment.
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    /// Most reads at a time. Reads are short, so more would wait for the same disk and each keep a page cache.
    const CONNECTIONS: usize = 4;

    pub(crate) fn new(path: &Path, execution: Execution) -> Arc<Self> {
        Arc::new(Self {
            path: path.to_owned(),
            execution,
            permits: Arc::new(Semaphore::new(Self::CONNECTIONS)),
            idle: Mutex::default(),
        })
    }

    /// Reads in one transaction, so that all statements see the same commit.
    ///
    /// The transaction ends with the work and never lives across an await: a reader that lingers would keep the
    /// write-ahead log from starting over, and it would grow for as long.
    pub(crate) async fn read<T, F>(self: &Arc<Self>, work: F) -> Result<T, Error>
    where
        F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let pool = Arc::clone(self);
        let work = move || {
            // Given back when the work is done, not when whoever asked stops waiting.
            let _permit = permit;
            pool.read_now(work)
                .map_err(|error| Error::from_sqlite(&pool.path, "read", error))
        };
        self.execution.run(work).await
    }

    fn read_now<T>(&self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        };
        let transaction = connection.transaction()?;
        let answer = work(&transaction)?;
        transaction.finish()?;
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
        Ok(answer)
    }
}

/// The log that a file beside it follows, as noted down in its table `meta`.
pub(crate) fn log_id(connection: &Connection) -> rusqlite::Result<Option<Uuid>> {
    let text: Option<String> = connection
        .query_one("SELECT value FROM meta WHERE name = 'log_id'", [], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(text.and_then(|text| text.parse().ok()))
}

/// Notes down which log a file follows.
pub(crate) fn put_log_id(connection: &Connection, id: Uuid) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT OR REPLACE INTO meta (name, value) VALUES ('log_id', ?1)",
        [id.to_string()],
    )?;
    Ok(())
}

/// A number of the table `meta`; 0 where it was never noted down.
pub(crate) fn number(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    let number = connection
        .query_one("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))
        .optional()?;
    Ok(number.unwrap_or_default())
}

/// Notes a number down.
pub(crate) fn put_number(connection: &Connection, name: &str, number: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")?
        .execute((name, number))?;
    Ok(())
}

/// The files of a database: itself and, where they are, those beside it.
pub(crate) fn files(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| with_suffix(path, suffix))
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A sequence as the database keeps numbers; those beyond its range become its largest.
pub(crate) fn to_integer(sequence: Sequence) -> i64 {
    i64::try_from(sequence.get()).unwrap_or(i64::MAX)
}

/// A stored number as a sequence.
pub(crate) fn to_sequence(integer: i64) -> Sequence {
    Sequence::new(u64::try_from(integer).unwrap_or_default())
}

/// A limit as the database keeps numbers.
pub(crate) fn to_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Reads a name with rules.
pub(crate) fn name<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: TryFrom<String>,
    T::Error: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    T::try_from(text).map_err(|error| unreadable(column, error))
}

/// The error for a value that is not in its format.
pub(crate) fn unreadable(
    column: usize,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
}
