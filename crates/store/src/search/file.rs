//! The file of a search index: opened when it fits the log, made anew when it does not.

use std::path::Path;

use openagents_protocol::Sequence;
use uuid::Uuid;

use super::writer::{Limits, Writer};
use crate::Error;
use crate::condemned;
use crate::database::{self, Kind};

/// Pages and columns of a block are found by its number. Names of places and senders are written once.
const INDEX: Kind = Kind {
    name: "the search index of a workspace",
    application_id: 0x4f41_5365,
    format: 1,
    schema: "CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
             CREATE TABLE places (id INTEGER PRIMARY KEY, channel TEXT NOT NULL, one TEXT NOT NULL,
                                  other TEXT NOT NULL, UNIQUE (channel, one, other));
             CREATE TABLE senders (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
             CREATE TABLE tail (sequence INTEGER PRIMARY KEY, place INTEGER NOT NULL, sender INTEGER NOT NULL,
                                time_ms INTEGER NOT NULL, words TEXT NOT NULL);
             CREATE TABLE blocks (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, number INTEGER NOT NULL,
                                  earliest_ms INTEGER NOT NULL, latest_ms INTEGER NOT NULL,
                                  sections INTEGER NOT NULL, directory INTEGER NOT NULL,
                                  places BLOB NOT NULL, senders BLOB NOT NULL);
             CREATE TABLE columns (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
             CREATE TABLE pages (id INTEGER PRIMARY KEY, data BLOB NOT NULL);",
    // It is started over instead.
    upgrades: &[],
};

/// Page cache of the writer: it writes page after page and seldom comes back to one.
const CACHE_KIBIBYTES: i32 = -1_000;

/// The log that an index is to follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log {
    pub(super) id: Uuid,
    pub(super) head: Sequence,
}

/// Opens an index that fits the log; whatever else is found is replaced by an empty one.
///
/// Nothing is moved aside: an index has nothing that the log does not have, and a copy would keep what is erased later.
pub(super) fn open(path: &Path, log: Log, limits: Limits) -> Result<Writer, Error> {
    let misfit = if condemned::is_condemned(path) {
        "it was found damaged".to_owned()
    } else {
        match try_open(path, log, limits) {
            Ok(Ok(fitting)) => return Ok(fitting),
            Ok(Err(misfit)) => misfit.to_owned(),
            Err(error) if error.is_damage() => error.to_string(),
            Err(error @ Error::NewerFormat { .. }) => error.to_string(),
            Err(error) => return Err(error),
        }
    };
    tracing::warn!(path = %path.display(), reason = misfit, "making the search index anew");
    remove(path)?;
    try_open(path, log, limits)?.map_err(|misfit| Error::Damaged {
        path: path.to_owned(),
        detail: format!("made anew, and still {misfit}"),
    })
}

/// Removes an index, so that the next one to open it makes it anew.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    for file in database::files(path) {
        condemned::remove_if_there(&file)?;
    }
    condemned::absolve(path)
}

fn try_open(path: &Path, log: Log, limits: Limits) -> Result<Result<Writer, &'static str>, Error> {
    let opened = INDEX.open(path)?;
    if opened.format != INDEX.format {
        return Ok(Err("it has an older format"));
    }
    let connection = opened.connection;
    let read = || {
        connection.pragma_update(None, "synchronous", "normal")?;
        connection.pragma_update(None, "cache_size", CACHE_KIBIBYTES)?;
        database::checkpoint_rarely(&connection)?;
        match database::log_id(&connection)? {
            Some(id) if id != log.id => return Ok(Err("it belongs to another log")),
            Some(_) => {}
            None => database::put_log_id(&connection, log.id)?,
        }
        let writer = Writer::new(connection, limits)?;
        if log.head < writer.indexed() {
            return Ok(Err("it is ahead of its log, which lost its end"));
        }
        Ok(Ok(writer))
    };
    read().map_err(|error| Error::from_sqlite(path, "read", error))
}
