//! Sequences without a record.

use std::fmt;

use openagents_protocol::Sequence;
use rusqlite::Connection;

use crate::database::{self, to_integer, to_sequence};

/// Sequences next to each other whose records are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    /// The first one.
    pub first: Sequence,
    /// The last one, not before the first.
    pub last: Sequence,
}

impl Gap {
    /// How many they are.
    pub fn count(&self) -> u64 {
        self.last.get() - self.first.get() + 1
    }

    /// The part of it through a sequence; none where it begins later.
    pub(crate) fn through(self, through: Sequence) -> Option<Self> {
        (self.first <= through).then(|| Self {
            last: self.last.min(through),
            ..self
        })
    }

    /// Of the numbers of a row; none where they are not what was written.
    pub(crate) fn of_row(first: i64, last: i64, stored: i64) -> Option<Self> {
        let is_sound = 0 < first && first <= last && checksum(first, last) == stored;
        is_sound.then(|| Self {
            first: to_sequence(first),
            last: to_sequence(last),
        })
    }

    /// Those of a log, in order.
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Vec<Self>> {
        let mut statement = connection.prepare("SELECT first, last, checksum FROM lost ORDER BY first")?;
        let rows = statement.query_map([], |row| {
            let (first, last, stored) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Self::of_row(first, last, stored)
                .ok_or_else(|| database::unreadable(0, format!("lost {first}: it is not what was written")))
        })?;
        rows.collect()
    }

    pub(crate) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let (first, last) = (to_integer(self.first), to_integer(self.last));
        connection
            .prepare_cached("INSERT INTO lost (first, last, checksum) VALUES (?1, ?2, ?3)")?
            .execute((first, last, checksum(first, last)))?;
        Ok(())
    }
}

fn checksum(first: i64, last: i64) -> i64 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&first.to_le_bytes());
    hasher.update(&last.to_le_bytes());
    i64::from(hasher.finalize())
}

impl fmt::Display for Gap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(formatter, "{}", self.first)
        } else {
            write!(formatter, "{} to {}", self.first, self.last)
        }
    }
}
