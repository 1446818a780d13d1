//! What can be saved of a damaged log, without the help of SQLite.
//!
//! SQLite finds a record by the tree of pages above it, so that one damaged page hides all those below. Here every page is
//! looked at by itself: one that has records tells them, whatever became of the others, and the checksum of each record
//! tells whether it is what was written.

mod cells;
mod pages;
mod wal;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use openagents_protocol::Sequence;
use openagents_protocol::record::Record;
use uuid::Uuid;

use self::cells::{Row, Value};
use self::pages::Pages;
use self::wal::Frames;
use crate::copy::{self, Copied};
use crate::database::{to_integer, to_sequence};
use crate::log::rows::{self, Insert, LOG, Written};
use crate::log::{Gap, Lineage, SqliteLog};
use crate::view::View;
use crate::{Error, directory};

/// Most complaints that are told.
const COMPLAINTS: usize = 10;

/// A log that was looked at, page by page.
#[derive(Debug)]
pub struct Salvage {
    directory: PathBuf,
    path: PathBuf,
    pages: Pages,
    /// Where each record is that can be saved.
    places: BTreeMap<Sequence, Place>,
    /// Sequences that were lost before.
    known: Vec<Gap>,
    lineage: Option<Lineage>,
    /// The name of the log as its view knows it.
    view_log: Option<Uuid>,
    findings: Findings,
}

/// What was found in a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Findings {
    /// How many records are sound.
    pub records: u64,
    /// The last of them; zero where there is none.
    pub head: Sequence,
    /// Sequences of which the record is lost, in order. What was lost before and is known to be is not among them.
    pub lost: Vec<Gap>,
    /// What is wrong, in words, at most some of it; nothing with a sound log.
    pub damage: Vec<String>,
}

impl Findings {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.lost.is_empty() && self.damage.is_empty()
    }

    /// How many records are lost.
    pub fn lost_records(&self) -> u64 {
        self.lost.iter().map(Gap::count).sum()
    }
}

/// Where a record is.
#[derive(Clone, Copy, Debug)]
struct Place {
    page: u32,
    cell: u16,
    body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Present,
    Erased,
}

/// What the pages tell, one after the other.
#[derive(Debug, Default)]
struct Found {
    places: BTreeMap<Sequence, Place>,
    meta: Vec<(String, String)>,
    gaps: Vec<Gap>,
    damage: Vec<String>,
}

impl Salvage {
    /// Looks at the log of a directory that nobody uses: whoever calls holds its lock, by a [`crate::Replacement`].
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where there is none, or where the disk does not give it.
    pub fn look(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(SqliteLog::FILE);
        let failed = |source| Error::from_io(&path, source);
        let mut pages = Pages::open(&path, &wal_path(directory)).map_err(failed)?;
        let found = Found::of(&mut pages).map_err(failed)?;
        let Found {
            mut places,
            meta,
            gaps,
            mut damage,
        } = found;
        if let Some(first) = pages.frames.damaged.first() {
            let more = pages.frames.damaged.len() - 1;
            damage.push(format!(
                "frame {first} of log.db-wal is not what was written, and {more} more"
            ));
        }
        // A page that is free by now may still have what was removed, and an earlier note of a gap that grew.
        let gaps = Gap::union(gaps);
        for gap in &gaps {
            let removed: Vec<Sequence> = places.range(gap.first..=gap.last).map(|(at, _)| *at).collect();
            for sequence in removed {
                places.remove(&sequence);
            }
        }
        let head = places.keys().next_back().copied().unwrap_or_default();
        let lineage = Lineage::of_rows(&meta);
        // A view that is known to belong to another log tells nothing of this one.
        let view = View::look(directory).filter(|view| {
            let own = lineage.as_ref().map(Lineage::id);
            own.is_none_or(|own| own == view.log)
        });
        damage.extend(disagreement(&path, head, places.len() as u64));
        let ends = gaps.iter().map(|gap| gap.last).chain(view.map(|view| view.end));
        let lost = missing(&places, &gaps, ends.fold(head, Sequence::max));
        damage.truncate(COMPLAINTS);
        Ok(Self {
            directory: directory.to_owned(),
            findings: Findings {
                records: places.len() as u64,
                head,
                lost,
                damage,
            },
            path,
            pages,
            places,
            known: gaps,
            lineage,
            view_log: view.map(|view| view.log),
        })
    }

    /// What was found.
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// Reads every record that can be saved, in order.
    pub fn each(&mut self, mut visit: impl FnMut(&Record)) -> Result<(), Error> {
        self.read(|_, record| {
            visit(record);
            Ok(())
        })
        .map(drop)
    }

    fn read(&mut self, mut take: impl FnMut(&Written, &Record) -> Result<(), Error>) -> Result<u64, Error> {
        let unreadable = |source| Error::from_io(&self.path, source);
        let mut current = (0, Vec::new());
        for (sequence, place) in &self.places {
            if current.0 != place.page {
                let page = self.pages.read(place.page).map_err(unreadable)?;
                current = (place.page, page.unwrap_or_default());
            }
            let row = cells::row(&mut self.pages, &current.1, place.cell).map_err(unreadable)?;
            let Some((written, record)) = row.and_then(record) else {
                let detail = format!("record {sequence} reads differently now: the disk is failing");
                let path = self.path.clone();
                return Err(Error::Damaged { path, detail });
            };
            take(&written, &record)?;
        }
        Ok(self.places.len() as u64)
    }

    /// Writes what can be saved into another directory: the records, a note of those that are lost, and the cursors.
    ///
    /// Further records get sequences after those that are lost. The log has another name
    /// then, so that clients which have what is lost know it.
    pub fn write(mut self, into: &Path) -> Result<Copied, Error> {
        let path = into.join(SqliteLog::FILE);
        let connection = LOG.create(&path)?;
        let failed = |error| Error::from_sqlite(&path, "write", error);
        connection.execute_batch("BEGIN").map_err(failed)?;
        let mut insert = Insert::into(&connection).map_err(failed)?;
        let records = self.read(|written, _| insert.written(written).map_err(failed))?;
        drop(insert);
        for gap in self.known.iter().chain(&self.findings.lost) {
            gap.write(&connection).map_err(failed)?;
        }
        let head = self.findings.head;
        let before = self.lineage.unwrap_or_default();
        let lineage = before.fork(head);
        lineage.write(&connection).map_err(failed)?;
        connection.execute_batch("COMMIT").map_err(failed)?;
        copy::close(connection, &path)?;
        let cursors_of = self.view_log.unwrap_or(before.id());
        View::copy_cursors(&self.directory, into, cursors_of, lineage.id(), head)?;
        directory::sync(into).map_err(|source| Error::from_io(into, source))?;
        let expected = Copied { head, records };
        copy::verify(&path, &expected)?;
        Ok(expected)
    }
}

/// Makes sure that SQLite will not drop transactions from the write-ahead log in a directory that were completed, because
/// one before them is damaged.
///
/// Only where every transaction was on the disk before the next one began, this tells damage from a power cut.
pub(crate) fn check_wal(directory: &Path) -> Result<(), Error> {
    let path = wal_path(directory);
    let frames = Frames::read(&path).map_err(|source| Error::from_io(&path, source))?;
    if !frames.lost_commits {
        return Ok(());
    }
    let first = frames.damaged.first().copied().unwrap_or(0);
    let detail = format!("frame {first} is not what was written, and transactions after it were completed");
    Err(Error::Damaged { path, detail })
}

fn wal_path(directory: &Path) -> PathBuf {
    directory.join(format!("{}-wal", SqliteLog::FILE))
}

impl Found {
    fn of(pages: &mut Pages) -> std::io::Result<Self> {
        let mut found = Self::default();
        for number in 2..=pages.last() {
            let Some(page) = pages.read(number)? else {
                continue;
            };
            for cell in 0..cells::count(&page).unwrap_or(0) {
                let row = cells::row(pages, &page, cell)?;
                if !row.is_some_and(|row| found.take(row, number, cell)) {
                    found.damage.push(format!(
                        "page {number} of log.db has a row that is not what was written"
                    ));
                    if COMPLAINTS < found.damage.len() {
                        found.damage.pop();
                    }
                }
            }
        }
        Ok(found)
    }

    /// Takes a row into account; false where it is not what was written.
    fn take(&mut self, row: Row, page: u32, cell: u16) -> bool {
        match (row.key, row.values.as_slice()) {
            (Some(_), [Value::Null, Value::Text(_), ..]) => {
                let Some((written, _)) = record(row) else {
                    return false;
                };
                let body = if written.body.is_some() {
                    Body::Present
                } else {
                    Body::Erased
                };
                let place = Place { page, cell, body };
                // Of two images of a record, the one without its body is the later one.
                let before = self.places.get(&written.sequence);
                if before.is_none_or(|before| before.body == Body::Present) {
                    self.places.insert(written.sequence, place);
                }
            }
            (Some(first), [Value::Null, Value::Integer(last), Value::Integer(stored)]) => {
                let Some(gap) = Gap::of_row(first, *last, *stored) else {
                    return false;
                };
                self.gaps.push(gap);
            }
            (None, [Value::Text(name), Value::Text(value)]) => self.meta.push((name.clone(), value.clone())),
            _ => return false,
        }
        true
    }
}

/// The record of a row; none where it is not what was written.
fn record(row: Row) -> Option<(Written, Record)> {
    let sequence = row.key.filter(|key| 0 < *key).map(to_sequence)?;
    let mut values = row.values.into_iter();
    let (Some(Value::Null), Some(Value::Text(header))) = (values.next(), values.next()) else {
        return None;
    };
    let body = match values.next()? {
        Value::Null => None,
        Value::Text(body) => Some(body),
        Value::Integer(_) | Value::Other => return None,
    };
    // Records of the first format end here, or with nothing.
    let checksum = match (values.next(), values.next()) {
        (None | Some(Value::Null), None) => None,
        (Some(Value::Integer(checksum)), None) => Some(checksum),
        _ => return None,
    };
    let read = rows::parse(sequence, &header, body.as_deref(), checksum).ok()?;
    let written = Written {
        sequence,
        header,
        body,
    };
    Some((written, read))
}

/// What SQLite says against a log, and where it finds other records than were found here.
fn disagreement(path: &Path, head: Sequence, records: u64) -> Vec<String> {
    let read = || {
        let connection = LOG.open_to_read(path)?.connection;
        let look = || {
            let complaints = copy::complaints(&connection)?;
            let seen =
                connection.query_one("SELECT count(*), ifnull(max(sequence), 0) FROM log", [], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
                })?;
            Ok((complaints, seen))
        };
        look().map_err(|error| Error::from_sqlite(path, "check", error))
    };
    match read() {
        Err(error) => vec![error.to_string()],
        Ok((complaints, _)) if !complaints.is_empty() => complaints,
        Ok((_, (count, last))) if count.cast_unsigned() != records || last != to_integer(head) => {
            vec![format!(
                "SQLite reads {count} records up to {last}, and {records} up to {head} are sound"
            )]
        }
        Ok(_) => Vec::new(),
    }
}

/// The sequences through an end that have no record and are not known to have none, as few gaps as there are.
fn missing(places: &BTreeMap<Sequence, Place>, known: &[Gap], end: Sequence) -> Vec<Gap> {
    let mut missing = Vec::new();
    let mut next = Sequence::new(1);
    let mut pass = |first: Sequence, last: Sequence| {
        if next < first {
            missing.push(Gap {
                first: next,
                last: first.previous(),
            });
        }
        next = next.max(last.next());
    };
    let mut known = known.iter().peekable();
    for sequence in places.keys() {
        while let Some(gap) = known.next_if(|gap| gap.first < *sequence) {
            pass(gap.first, gap.last);
        }
        pass(*sequence, *sequence);
    }
    for gap in known {
        pass(gap.first, gap.last);
    }
    pass(end.next(), end.next());
    missing
}

#[cfg(test)]
mod tests;
