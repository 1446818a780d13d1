//! How a record stands in the file of a log.

use std::fmt;
use std::sync::LazyLock;

use openagents_protocol::Sequence;
use openagents_protocol::record::Record;
use rusqlite::{CachedStatement, Connection, Row, Statement};

use super::{Entry, Gap};
use crate::database::{self, Kind, to_integer, to_sequence};

/// One table that only grows at its end, so an append writes few pages whatever the size of the log. Header and body
/// are JSON text: `sqlite3 log.db 'select * from log'` is enough to look inside.
///
/// A record that a repair could not save, or that was removed, is noted as lost: no other one gets its sequence.
///
/// The checksum is over sequence and header in its upper half and over the body in its lower one, so that it holds when
/// the body is erased. Records of format 1 have none.
pub(crate) const LOG: Kind = Kind {
    name: "the log of a workspace",
    application_id: 0x4f41_4c67,
    format: 3,
    schema: "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
             CREATE TABLE log (sequence INTEGER PRIMARY KEY, header TEXT NOT NULL, body TEXT, checksum INTEGER);
             CREATE TABLE lost (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, checksum INTEGER NOT NULL);",
    upgrades: &[
        (1, "ALTER TABLE log ADD COLUMN checksum INTEGER"),
        (
            2,
            "CREATE TABLE lost (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, checksum INTEGER NOT NULL)",
        ),
    ],
};

/// The columns that [`decode`] reads, in their order.
pub(crate) const COLUMNS: &str = "sequence, header, body, checksum";

/// A record as text, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) sequence: Sequence,
    pub(crate) header: String,
    pub(crate) body: Option<String>,
}

/// Rows of one statement: the engine finds the end of the log once for all of them.
const TOGETHER: usize = 16;

/// The columns of a row.
const WIDTH: usize = 4;

static INSERT_ONE: LazyLock<String> = LazyLock::new(|| insertion(1));
static INSERT_TOGETHER: LazyLock<String> = LazyLock::new(|| insertion(TOGETHER));

fn insertion(rows: usize) -> String {
    let rows = vec!["(?, ?, ?, ?)"; rows].join(", ");
    format!("INSERT INTO log (sequence, header, body, checksum) VALUES {rows}")
}

/// Writes entries as the records with these sequences, which ascend.
pub(crate) fn insert(connection: &Connection, entries: &[&(Sequence, Entry)]) -> rusqlite::Result<()> {
    let mut parts = entries.chunks_exact(TOGETHER);
    let (mut header, mut body) = (Vec::new(), Vec::new());
    let mut write = |insertion: &str, part: &[&(Sequence, Entry)]| {
        let mut statement = connection.prepare_cached(insertion)?;
        for (row, (sequence, entry)) in part.iter().enumerate() {
            let header = encode(&mut header, &entry.header)?;
            let body = encode(&mut body, &entry.body)?;
            bind(&mut statement, row * WIDTH, *sequence, header, Some(body))?;
        }
        statement.raw_execute()
    };
    for part in &mut parts {
        write(&INSERT_TOGETHER, part)?;
    }
    for entry in parts.remainder() {
        write(&INSERT_ONE, std::slice::from_ref(entry))?;
    }
    Ok(())
}

/// Writes records as they were written before, one after the other.
pub(crate) struct Insert<'connection>(CachedStatement<'connection>);

impl<'connection> Insert<'connection> {
    pub(crate) fn into(connection: &'connection Connection) -> rusqlite::Result<Self> {
        connection.prepare_cached(&INSERT_ONE).map(Self)
    }

    pub(crate) fn written(&mut self, written: &Written) -> rusqlite::Result<()> {
        let Written {
            sequence,
            header,
            body,
        } = written;
        bind(&mut self.0, 0, *sequence, header, body.as_deref())?;
        self.0.raw_execute()?;
        Ok(())
    }
}

/// Puts a record into the parameters after so many others.
fn bind(
    statement: &mut Statement<'_>,
    before: usize,
    sequence: Sequence,
    header: &str,
    body: Option<&str>,
) -> rusqlite::Result<()> {
    statement.raw_bind_parameter(before + 1, to_integer(sequence))?;
    statement.raw_bind_parameter(before + 2, header)?;
    statement.raw_bind_parameter(before + 3, body)?;
    statement.raw_bind_parameter(before + 4, checksum(sequence, header, body))
}

/// Writes a value as text, in the place of another one.
fn encode<'a, T: serde::Serialize>(text: &'a mut Vec<u8>, value: &T) -> rusqlite::Result<&'a str> {
    let refused = |error| rusqlite::Error::ToSqlConversionFailure(error);
    text.clear();
    serde_json::to_writer(&mut *text, value).map_err(|error| refused(error.into()))?;
    std::str::from_utf8(text).map_err(|error| refused(error.into()))
}

/// The checksum of a record.
pub(crate) fn checksum(sequence: Sequence, header: &str, body: Option<&str>) -> i64 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&sequence.get().to_le_bytes());
    hasher.update(header.as_bytes());
    let body = body.map_or(0, |body| crc32fast::hash(body.as_bytes()));
    (i64::from(hasher.finalize()) << 32) | i64::from(body)
}

/// Whether a record is what was written. Of one without a body only the rest can be told.
pub(crate) fn is_intact(stored: i64, sequence: Sequence, header: &str, body: Option<&str>) -> bool {
    let difference = stored ^ checksum(sequence, header, body);
    if body.is_some() {
        difference == 0
    } else {
        difference >> 32 == 0
    }
}

/// Reads a record, and makes sure that it is the one that was written.
pub(crate) fn decode(row: &Row<'_>) -> rusqlite::Result<Record> {
    let sequence = to_sequence(row.get(0)?);
    let header = row.get_ref(1)?.as_str()?;
    let body = row.get_ref(2)?.as_str_or_null()?;
    let stored: Option<i64> = row.get(3)?;
    parse(sequence, header, body, stored)
}

/// Reads a record of its texts.
pub(crate) fn parse(
    sequence: Sequence,
    header: &str,
    body: Option<&str>,
    stored: Option<i64>,
) -> rusqlite::Result<Record> {
    let unreadable = |column, error: &dyn fmt::Display| {
        database::unreadable(column, format!("record {sequence}: {error}"))
    };
    if stored.is_some_and(|stored| !is_intact(stored, sequence, header, body)) {
        return Err(unreadable(3, &"it is not what was written"));
    }
    Ok(Record {
        sequence,
        header: serde_json::from_str(header).map_err(|error| unreadable(1, &error))?,
        body: body
            .map(serde_json::from_str)
            .transpose()
            .map_err(|error| unreadable(2, &error))?,
    })
}

/// The last sequence that was given out. Reads the last record and not only its sequence: the end is where damage is likeliest.
pub(crate) fn last_sequence(connection: &Connection) -> rusqlite::Result<Sequence> {
    let mut statement = connection.prepare(&format!(
        "SELECT {COLUMNS} FROM log ORDER BY sequence DESC LIMIT 1"
    ))?;
    let record = statement.query_map([], decode)?.next().transpose()?;
    let there = record.map_or(Sequence::ZERO, |record| record.sequence);
    let gap = Gap::last(connection)?;
    Ok(gap.map_or(there, |gap| gap.last.max(there)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_finds_every_flipped_bit_and_holds_when_the_body_is_erased() {
        let sequence = Sequence::new(7);
        let (header, body) = ("{\"a\":1}", "{\"b\":2}");
        let stored = checksum(sequence, header, Some(body));
        assert!(is_intact(stored, sequence, header, Some(body)));
        assert!(is_intact(stored, sequence, header, None));
        assert!(!is_intact(stored, Sequence::new(8), header, None));
        for bit in 0..header.len() * 8 {
            let mut bytes = header.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(flipped) = String::from_utf8(bytes) {
                assert!(!is_intact(stored, sequence, &flipped, None), "bit {bit}");
            }
        }
        assert!(!is_intact(stored, sequence, header, Some("{\"b\":3}")));
        for bit in 0..64 {
            assert!(
                !is_intact(stored ^ (1 << bit), sequence, header, Some(body)),
                "bit {bit}"
            );
        }
    }
}
