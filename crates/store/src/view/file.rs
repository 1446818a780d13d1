//! The file of a view: opened when it fits the log, started over when it does not.

use std::fs;
use std::io;
use std::path::Path;

use openagents_protocol::{AgentId, ChannelName, Sequence};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use uuid::Uuid;

use super::{ChannelRow, Loaded, Seen, Stream, index, state};
use crate::Error;
use crate::condemned;
use crate::database::{self, Kind, to_integer, to_sequence};

/// Tables whose rows are found by their key alone have no second tree. Entries of a stream that follow each other share a
/// row; its position makes counting a subtraction, but for streams with holes: those of which entries were removed that
/// others come before.
const VIEW: Kind = Kind {
    name: "the view of a workspace",
    application_id: 0x4f41_5677,
    format: 6,
    schema: "CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
             CREATE TABLE state (kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
                                 PRIMARY KEY (kind, key)) WITHOUT ROWID;
             CREATE TABLE events (event_id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, source TEXT NOT NULL,
                                  digest BLOB NOT NULL, destination TEXT NOT NULL, thread TEXT,
                                  kind INTEGER NOT NULL, titled INTEGER NOT NULL, audience TEXT, root TEXT,
                                  hops INTEGER NOT NULL, time_ms INTEGER NOT NULL) WITHOUT ROWID;
             CREATE TABLE superseded (event_id TEXT NOT NULL, sequence INTEGER NOT NULL,
                                      PRIMARY KEY (event_id, sequence)) WITHOUT ROWID;
             CREATE TABLE edits (message TEXT NOT NULL, sequence INTEGER NOT NULL,
                                 PRIMARY KEY (message, sequence)) WITHOUT ROWID;
             CREATE TABLE deletions (event_id TEXT PRIMARY KEY, erased INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
             CREATE INDEX unerased ON deletions (event_id) WHERE erased = 0;
             CREATE TABLE deleted_replies (root TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
             CREATE TABLE reactions (message TEXT NOT NULL, reaction TEXT NOT NULL, agent TEXT NOT NULL,
                                     sequence INTEGER NOT NULL, PRIMARY KEY (message, reaction, agent)) WITHOUT ROWID;
             CREATE TABLE conversations (agent TEXT NOT NULL, other TEXT NOT NULL, sequence INTEGER NOT NULL,
                                         PRIMARY KEY (agent, other)) WITHOUT ROWID;
             CREATE INDEX newest_conversations ON conversations (agent, sequence);
             CREATE TABLE streams (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
                                   holes INTEGER NOT NULL DEFAULT 0);
             CREATE TABLE blocks (stream INTEGER NOT NULL, first INTEGER NOT NULL, rest BLOB NOT NULL,
                                  PRIMARY KEY (stream, first)) WITHOUT ROWID;
             CREATE TABLE tallies (channel TEXT PRIMARY KEY, posts INTEGER NOT NULL, replies INTEGER NOT NULL,
                                   threads INTEGER NOT NULL) WITHOUT ROWID;
             CREATE TABLE removals (sequence INTEGER PRIMARY KEY);
             CREATE TABLE cursors (agent TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;",
    // It is started over instead.
    upgrades: &[],
};

/// Page cache of the writer: 8 MB, enough to keep the busy ends of some thousand streams at hand.
const CACHE_KIBIBYTES: i32 = -8_000;

/// The log that a view is to follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log {
    pub(super) id: Uuid,
    pub(super) head: Sequence,
}

/// Opens a view that fits the log; whatever else is found is replaced by an empty one.
pub(super) fn open(path: &Path, log: Log) -> Result<(Connection, Loaded), Error> {
    if condemned::is_condemned(path) {
        let detail = "it was found damaged".to_owned();
        let path = path.to_owned();
        return replace(&path.clone(), log, &Error::Damaged { path, detail });
    }
    let misfit = match try_open(path, log) {
        Ok(Ok(fitting)) => return Ok(fitting),
        Ok(Err(misfit)) => misfit,
        Err(error) if error.is_damage() => return replace(path, log, &error),
        Err(Error::NewerFormat { .. }) => "it has a newer format",
        Err(error) => return Err(error),
    };
    tracing::warn!(path = %path.display(), reason = misfit, "starting the view over");
    match start_over(path, Some(log)) {
        Err(error) if error.is_damage() => replace(path, log, &error),
        Err(error) => Err(error),
        Ok(()) => try_open(path, log)?.map_err(|misfit| not_fitting(path, misfit)),
    }
}

/// Empties a view, so that the next one to open it builds it anew. Cursors stay, since the log does not have them.
pub(super) fn discard(path: &Path) -> Result<(), Error> {
    if crate::directory::is_empty(path) {
        return Ok(());
    }
    match start_over(path, None) {
        Err(error) if error.is_damage() => set_aside(path),
        outcome => outcome,
    }
}

/// What a view tells of its log, as far as it can be read.
pub(super) fn look(path: &Path) -> Option<Seen> {
    let connection = VIEW.open_to_read(path).ok()?.connection;
    let log = database::log_id(&connection).ok().flatten()?;
    let applied = to_sequence(database::number(&connection, "applied").ok()?);
    let cursors = cursors(&connection, Sequence::MAX).ok()?;
    let end = cursors
        .into_iter()
        .map(|(_, cursor)| cursor)
        .fold(applied, Sequence::max);
    Some(Seen { log, end })
}

/// Makes a view with the cursors of another one, as far as they can be read.
pub(super) fn copy_cursors(from: &Path, from_log: Log, into: &Path, into_log: Log) -> Result<(), Error> {
    let cursors = if crate::directory::is_empty(from) {
        Vec::new()
    } else {
        salvage(from, from_log, OpenFlags::SQLITE_OPEN_READ_ONLY)
    };
    let made = VIEW.create(into)?;
    start(&made, Some(into_log.id), &cursors).map_err(|error| Error::from_sqlite(into, "make", error))?;
    crate::copy::close(made, into)
}

type Fitting = (Connection, Loaded);

fn try_open(path: &Path, log: Log) -> Result<Result<Fitting, &'static str>, Error> {
    let opened = VIEW.open(path)?;
    if opened.format != VIEW.format {
        return Ok(Err("it has an older format"));
    }
    let connection = opened.connection;
    let read = || {
        connection.pragma_update(None, "synchronous", "normal")?;
        connection.pragma_update(None, "cache_size", CACHE_KIBIBYTES)?;
        database::checkpoint_rarely(&connection)?;
        let id = match database::log_id(&connection)? {
            Some(id) => id,
            None if is_unused(&connection)? => {
                start(&connection, Some(log.id), &[])?;
                log.id
            }
            None => return Ok(Err("it does not say to which log it belongs")),
        };
        if id != log.id {
            return Ok(Err("it belongs to another log"));
        }
        let loaded = load(&connection)?;
        if log.head < loaded.applied {
            return Ok(Err("it is ahead of its log, which lost its end"));
        }
        Ok(Ok(loaded))
    };
    let loaded = read().map_err(|error| Error::from_sqlite(path, "read", error))?;
    Ok(loaded.map(|loaded| (connection, loaded)))
}

fn not_fitting(path: &Path, misfit: &str) -> Error {
    Error::Damaged {
        path: path.to_owned(),
        detail: format!("started over, and still {misfit}"),
    }
}

/// Moves a damaged view aside and makes a new one with the cursors that can still be read.
fn replace(path: &Path, log: Log, damage: &Error) -> Result<Fitting, Error> {
    tracing::warn!(path = %path.display(), error = %damage, "moving the damaged view aside and starting over");
    let cursors = salvage(path, log, OpenFlags::SQLITE_OPEN_READ_WRITE);
    set_aside(path)?;
    let made = VIEW.open(path)?.connection;
    start(&made, Some(log.id), &cursors).map_err(|error| Error::from_sqlite(path, "make", error))?;
    drop(made);
    try_open(path, log)?.map_err(|misfit| not_fitting(path, misfit))
}

fn set_aside(path: &Path) -> Result<(), Error> {
    let aside = database::files(&database::with_suffix(path, ".damaged"));
    for (from, to) in database::files(path).into_iter().zip(aside) {
        match fs::rename(&from, to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::from_io(&from, error));
            }
            _ => {}
        }
    }
    condemned::absolve(path)
}

/// Replaces all tables by empty ones in one transaction, keeping the cursors into the same log.
fn start_over(path: &Path, log: Option<Log>) -> Result<(), Error> {
    let work = || {
        let mut connection = database::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let id = database::log_id(&transaction).unwrap_or_default();
        let cursors = match log {
            Some(log) if id != Some(log.id) => Vec::new(),
            log => cursors(&transaction, log.map_or(Sequence::MAX, |log| log.head)).unwrap_or_default(),
        };
        drop_tables(&transaction)?;
        VIEW.make(&transaction)?;
        start(&transaction, log.map(|log| log.id).or(id), &cursors)?;
        transaction.commit()
    };
    work().map_err(|error| Error::from_sqlite(path, "start over", error))
}

fn drop_tables(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    let tables: Vec<String> = statement
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for table in tables {
        transaction.execute_batch(&format!("DROP TABLE \"{}\"", table.replace('"', "\"\"")))?;
    }
    Ok(())
}

/// The cursors of a damaged view, as far as they can be read.
fn salvage(path: &Path, log: Log, flags: OpenFlags) -> Vec<(AgentId, Sequence)> {
    let read = || {
        let connection = database::connect(path, flags)?;
        if database::log_id(&connection)? == Some(log.id) {
            cursors(&connection, log.head)
        } else {
            Ok(Vec::new())
        }
    };
    read().unwrap_or_default()
}

fn start(
    connection: &Connection,
    log_id: Option<Uuid>,
    cursors: &[(AgentId, Sequence)],
) -> rusqlite::Result<()> {
    for (agent, sequence) in cursors {
        connection
            .prepare_cached("INSERT OR REPLACE INTO cursors (agent, sequence) VALUES (?1, ?2)")?
            .execute((agent.as_str(), to_integer(*sequence)))?;
    }
    if let Some(id) = log_id {
        database::put_log_id(connection, id)?;
    }
    Ok(())
}

fn load(connection: &Connection) -> rusqlite::Result<Loaded> {
    let mut loaded = Loaded {
        applied: to_sequence(database::number(connection, "applied")?),
        id_watermark: database::number(connection, "id_watermark")?.cast_unsigned(),
        cursors: cursors(connection, Sequence::MAX)?,
        ..Loaded::default()
    };
    state::load(connection, &mut loaded)?;
    loaded.channel_lengths = channel_lengths(connection, &loaded.channels)?;
    Ok(loaded)
}

/// Nothing was ever committed to it: it was made just now, or by somebody who then was stopped.
fn is_unused(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_one("SELECT NOT EXISTS (SELECT 1 FROM meta)", [], |row| row.get(0))
}

/// The cursors, none of them after the head of the log: what it lost will be written again with other content.
fn cursors(connection: &Connection, head: Sequence) -> rusqlite::Result<Vec<(AgentId, Sequence)>> {
    let mut statement = connection.prepare("SELECT agent, sequence FROM cursors")?;
    statement
        .query_map([], |row| {
            Ok((database::name(row, 0)?, to_sequence(row.get(1)?).min(head)))
        })?
        .collect()
}

/// How many events channels have since they were made: those of a deleted one of the same name do not count.
fn channel_lengths(
    connection: &Connection,
    channels: &[ChannelRow],
) -> rusqlite::Result<Vec<(ChannelName, u64, Sequence)>> {
    let mut lengths = Vec::with_capacity(channels.len());
    for row in channels {
        let stream = Stream::Channel(row.channel.clone());
        if let Some(id) = index::stream_id(connection, &stream)?
            && let Some((sequence, _)) = index::last_entry(connection, id, i64::MAX)?
        {
            let length = index::count_one(connection, id, to_integer(row.created_at), i64::MAX)?;
            lengths.push((row.channel.clone(), length, to_sequence(sequence)));
        }
    }
    Ok(lengths)
}
