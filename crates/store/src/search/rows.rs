//! Blocks as rows of the database.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension, Row};

use super::block::{Facts, Sealed};
use crate::bytes::{Column, Damage, put, take};

/// Room for the pages of a block, and for its columns, among the ids of all.
const PAGES: i64 = 1 << 20;
const COLUMNS: i64 = 4;

/// A block, and where it is.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// It has the messages from here.
    pub(super) first: u64,
    /// To here.
    pub(super) last: u64,
    pub(super) number: i64,
    pub(super) facts: Facts,
}

/// The columns of a block's row, in the order in which [`Block::decode`] takes them.
pub(super) const FIELDS: &str =
    "first, last, number, earliest_ms, latest_ms, sections, directory, places, senders";

impl Block {
    pub(super) fn decode(row: &Row<'_>) -> rusqlite::Result<Self> {
        let number = |column: usize| -> rusqlite::Result<u64> {
            u64::try_from(row.get::<_, i64>(column)?).map_err(|_| Damage.into())
        };
        Ok(Self {
            first: number(0)?,
            last: number(1)?,
            number: row.get(2)?,
            facts: Facts {
                earliest_ms: number(3)?,
                latest_ms: number(4)?,
                sections: row.get(5)?,
                directory: row.get(6)?,
                places: unlist(row.get_ref(7)?.as_blob()?)?,
                senders: unlist(row.get_ref(8)?.as_blob()?)?,
            },
        })
    }

    /// The block that has the messages around a sequence, of those up to a last one.
    pub(super) fn around(connection: &Connection, sequence: u64) -> rusqlite::Result<Option<Self>> {
        connection
            .prepare_cached(&format!(
                "SELECT {FIELDS} FROM blocks WHERE first <= ?1 ORDER BY first DESC LIMIT 1"
            ))?
            .query_one([sequence.cast_signed()], Self::decode)
            .optional()
    }

    /// Puts a block there, in the place of an earlier one of the same number.
    pub(super) fn put(
        connection: &Connection,
        first: u64,
        last: u64,
        number: i64,
        sealed: &Sealed,
    ) -> rusqlite::Result<()> {
        let facts = &sealed.facts;
        connection
            .prepare_cached(&format!(
                "INSERT OR REPLACE INTO blocks ({FIELDS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
            ))?
            .execute((
                first.cast_signed(),
                last.cast_signed(),
                number,
                facts.earliest_ms.cast_signed(),
                facts.latest_ms.cast_signed(),
                facts.sections,
                facts.directory,
                list(&facts.places),
                list(&facts.senders),
            ))?;
        let mut column =
            connection.prepare_cached("INSERT OR REPLACE INTO columns (id, data) VALUES (?1, ?2)")?;
        for (id, data) in (number * COLUMNS..).zip(&sealed.columns) {
            column.execute((id, data))?;
        }
        let mut page =
            connection.prepare_cached("INSERT OR REPLACE INTO pages (id, data) VALUES (?1, ?2)")?;
        let mut next = number * PAGES;
        for data in &sealed.pages {
            page.execute((next, data))?;
            next += 1;
        }
        connection
            .prepare_cached("DELETE FROM pages WHERE ?1 <= id AND id < ?2")?
            .execute((next, (number + 1) * PAGES))?;
        Ok(())
    }

    /// Reads one of its columns.
    pub(super) fn column(&self, connection: &Connection, column: u32) -> rusqlite::Result<Column> {
        Ok(Column::read(self.column_bytes(connection, column)?)?)
    }

    fn column_bytes(&self, connection: &Connection, column: u32) -> rusqlite::Result<Vec<u8>> {
        connection
            .prepare_cached("SELECT data FROM columns WHERE id = ?1")?
            .query_one([self.number * COLUMNS + i64::from(column)], |row| row.get(0))
    }

    /// Reads all of them.
    pub(super) fn columns(&self, connection: &Connection) -> rusqlite::Result<[Vec<u8>; Facts::COLUMNS]> {
        Ok([
            self.column_bytes(connection, Facts::SEQUENCE)?,
            self.column_bytes(connection, Facts::PLACE)?,
            self.column_bytes(connection, Facts::SENDER)?,
            self.column_bytes(connection, Facts::TIME)?,
        ])
    }

    /// Reads some of its pages, joined.
    pub(super) fn pages(&self, connection: &Connection, pages: Range<u32>) -> rusqlite::Result<Vec<u8>> {
        let mut statement =
            connection.prepare_cached("SELECT data FROM pages WHERE ?1 <= id AND id < ?2 ORDER BY id")?;
        let base = self.number * PAGES;
        let mut rows = statement.query((base + i64::from(pages.start), base + i64::from(pages.end)))?;
        let mut bytes = Vec::new();
        while let Some(row) = rows.next()? {
            bytes.extend_from_slice(row.get_ref(0)?.as_blob()?);
        }
        Ok(bytes)
    }
}

/// Ascending numbers as bytes.
fn list(numbers: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut last = 0;
    for number in numbers {
        put(&mut bytes, number - last);
        last = *number;
    }
    bytes
}

fn unlist(mut bytes: &[u8]) -> Result<Vec<u64>, Damage> {
    let mut numbers = Vec::new();
    let mut last: u64 = 0;
    while !bytes.is_empty() {
        last = last.checked_add(take(&mut bytes)?).ok_or(Damage)?;
        numbers.push(last);
    }
    Ok(numbers)
}
