//! Sequences without a record any more: lost by damage and noted by a repair, or removed because they were old.

use std::fmt;

use openagents_protocol::Sequence;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::database::{self, to_integer, to_sequence};

/// Sequences next to each other whose records are gone.
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
        statement.query_map([], Self::decode)?.collect()
    }

    /// The last of a log.
    pub(crate) fn last(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        connection
            .prepare("SELECT first, last, checksum FROM lost ORDER BY first DESC LIMIT 1")?
            .query_one([], Self::decode)
            .optional()
    }

    fn decode(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (first, last, stored) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Self::of_row(first, last, stored)
            .ok_or_else(|| database::unreadable(0, format!("lost {first}: it is not what was written")))
    }

    /// As few gaps as say the same as these, in order.
    pub(crate) fn union(mut gaps: Vec<Self>) -> Vec<Self> {
        gaps.sort_unstable();
        let mut joined: Vec<Self> = Vec::with_capacity(gaps.len());
        for gap in gaps {
            match joined.last_mut() {
                Some(before) if gap.first <= before.last.next() => before.last = before.last.max(gap.last),
                _ => joined.push(gap),
            }
        }
        joined
    }

    /// The gaps that sequences make, which are in ascending order.
    pub(crate) fn of_sequences(sequences: impl IntoIterator<Item = Sequence>) -> Vec<Self> {
        let single = |sequence| Self {
            first: sequence,
            last: sequence,
        };
        Self::union(sequences.into_iter().map(single).collect())
    }

    /// Notes a gap down, as one with those that it touches.
    pub(crate) fn join(self, connection: &Connection) -> rusqlite::Result<()> {
        let before = connection
            .prepare_cached(
                "SELECT first, last, checksum FROM lost WHERE first <= ?1 ORDER BY first DESC LIMIT 1",
            )?
            .query_one([to_integer(self.first)], Self::decode)
            .optional()?;
        let mut touched: Vec<Self> = before.into_iter().collect();
        let mut after = connection.prepare_cached(
            "SELECT first, last, checksum FROM lost WHERE ?1 < first AND first <= ?2 ORDER BY first",
        )?;
        let range = (to_integer(self.first), to_integer(self.last.next()));
        let rows = after.query_map(range, Self::decode)?;
        touched.extend(rows.collect::<rusqlite::Result<Vec<Self>>>()?);
        touched.retain(|gap| self.first <= gap.last.next());
        let mut remove = connection.prepare_cached("DELETE FROM lost WHERE first = ?1")?;
        for gap in &touched {
            remove.execute([to_integer(gap.first)])?;
        }
        touched.push(self);
        Self::union(touched)
            .iter()
            .try_for_each(|gap| gap.write(connection))
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
