//! Copies of a log, made while somebody else writes to it.

use std::fs::File;
use std::path::{Path, PathBuf};

use openagents_protocol::Sequence;
use openagents_protocol::record::Record;
use rusqlite::{Connection, Transaction};

use crate::database::{to_integer, to_sequence};
use crate::log::rows::{self, Insert, LOG, Written};
use crate::log::{Gap, Lineage, SqliteLog};
use crate::view::View;
use crate::{Error, directory};

/// Most records, and about the most bytes, that are copied in one transaction.
const STEP_RECORDS: usize = 1_000;
const STEP_BYTES: usize = 4 * 1024 * 1024;

/// Copies a log into another directory, a step at a time, from the first record on.
///
/// The log may be in use by another process. Each step reads in a transaction of its own, so that no checkpoint of the
/// writer waits for longer than a step, and its write-ahead log does not grow because of the copy. Records only come at
/// the end and what is removed is noted down, so steps that saw different moments make one log all the same: the
/// beginning of the other one.
///
/// The copy has a name of its own in its [`Lineage`]. Whatever is damaged in the original is an error.
#[derive(Debug)]
pub struct LogCopy {
    from: Original,
    /// The directory of the copy.
    into: PathBuf,
    path: PathBuf,
    to: Connection,
    copied: Sequence,
    /// The copy goes this far, also where there are no records any more.
    through: Sequence,
    records: u64,
}

/// What was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The last record; zero in an empty log.
    pub head: Sequence,
    /// How many records there are.
    pub records: u64,
}

/// A log that is read beside whoever writes it.
#[derive(Debug)]
struct Original {
    directory: PathBuf,
    path: PathBuf,
    connection: Connection,
    lineage: Lineage,
    format: u32,
}

impl LogCopy {
    /// Begins a copy into a directory that has no log.
    ///
    /// # Errors
    ///
    /// What is wrong with the log; [`Error::Io`] where there is none.
    pub fn begin(from: &Path, into: &Path) -> Result<Self, Error> {
        let from = Original::open(from)?;
        let path = into.join(SqliteLog::FILE);
        let to = LOG.create(&path)?;
        Ok(Self {
            from,
            into: into.to_owned(),
            path,
            to,
            copied: Sequence::ZERO,
            through: Sequence::ZERO,
            records: 0,
        })
    }

    /// The end of the original as of now.
    pub fn original_head(&self) -> Result<Sequence, Error> {
        self.from.head()
    }

    /// Everything up to here is copied.
    pub fn copied(&self) -> Sequence {
        self.copied
    }

    /// Copies the next records, none after `through`, and returns them. An empty answer means: there are no more.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] at the first record that is not what was written.
    pub fn step(&mut self, through: Sequence) -> Result<Vec<Record>, Error> {
        let rows = self.from.read(self.copied, through)?;
        let Some((last, _)) = rows.last() else {
            self.through = self.through.max(through).min(self.original_head()?);
            return Ok(Vec::new());
        };
        let last = last.sequence;
        let mut write = || {
            let transaction = self.to.transaction()?;
            let mut insert = Insert::into(&transaction)?;
            for (written, _) in &rows {
                insert.written(written)?;
            }
            drop(insert);
            transaction.commit()
        };
        write().map_err(|error| Error::from_sqlite(&self.path, "write", error))?;
        self.copied = last;
        self.through = self.through.max(last);
        self.records += rows.len() as u64;
        Ok(rows.into_iter().map(|(_, record)| record).collect())
    }

    /// The next records of the original after a sequence, which are only looked at; none at its end.
    ///
    /// # Errors
    ///
    /// As for [`LogCopy::step`].
    pub fn look_beyond(&self, after: Sequence) -> Result<Vec<Record>, Error> {
        let rows = self.from.read(after, Sequence::MAX)?;
        Ok(rows.into_iter().map(|(_, record)| record).collect())
    }

    /// Completes the copy: gives it its name and the cursors of the original, puts it on the disk, and reads it again
    /// to see that everything is there.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] where the copy is not what was written.
    pub fn finish(self) -> Result<Copied, Error> {
        let Self {
            from,
            into,
            path,
            to,
            through,
            records,
            ..
        } = self;
        let lineage = from.lineage.fork(through);
        let complete = || {
            let mut removed = 0;
            for gap in from.gaps()? {
                if let Some(gap) = gap.through(through) {
                    gap.write(&to)?;
                    // It may have been copied before it was removed.
                    removed += to
                        .prepare_cached("DELETE FROM log WHERE ?1 <= sequence AND sequence <= ?2")?
                        .execute((to_integer(gap.first), to_integer(gap.last)))?;
                }
            }
            lineage.write(&to)?;
            let last = "SELECT ifnull(max(sequence), 0) FROM log";
            let last = to.query_one(last, [], |row| row.get(0).map(to_sequence))?;
            Ok((removed as u64, last))
        };
        let (removed, copied) = complete().map_err(|error| Error::from_sqlite(&path, "write", error))?;
        close(to, &path)?;
        View::copy_cursors(&from.directory, &into, from.lineage.id(), lineage.id(), through)?;
        directory::sync(&into).map_err(|source| Error::from_io(&into, source))?;
        let expected = Copied {
            head: copied,
            records: records - removed,
        };
        verify(&path, &expected)?;
        Ok(expected)
    }
}

impl Original {
    fn open(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(SqliteLog::FILE);
        let opened = LOG.open_to_read(&path)?;
        let lineage = Lineage::read(&opened.connection);
        let lineage = lineage.map_err(|error| Error::from_sqlite(&path, "read", error))?;
        let Some(lineage) = lineage else {
            let detail = "it was not made whole".to_owned();
            return Err(Error::Damaged { path, detail });
        };
        Ok(Self {
            directory: directory.to_owned(),
            path,
            connection: opened.connection,
            lineage,
            format: opened.format,
        })
    }

    fn head(&self) -> Result<Sequence, Error> {
        let read = || {
            let gap = if self.format < 3 {
                None
            } else {
                Gap::last(&self.connection)?
            };
            let last = "SELECT ifnull(max(sequence), 0) FROM log";
            let last = self
                .connection
                .query_one(last, [], |row| row.get(0).map(to_sequence))?;
            Ok(gap.map_or(last, |gap| gap.last.max(last)))
        };
        read().map_err(|error| Error::from_sqlite(&self.path, "read", error))
    }

    fn gaps(&self) -> rusqlite::Result<Vec<Gap>> {
        if self.format < 3 {
            Ok(Vec::new())
        } else {
            Gap::read(&self.connection)
        }
    }

    /// The next records, as they are written and as they read.
    fn read(&self, after: Sequence, through: Sequence) -> Result<Vec<(Written, Record)>, Error> {
        let read = || {
            let checksum = if self.format < 2 { "NULL" } else { "checksum" };
            let mut statement = self.connection.prepare_cached(&format!(
                "SELECT sequence, header, body, {checksum} FROM log WHERE ?1 < sequence AND sequence <= ?2
                 ORDER BY sequence LIMIT {STEP_RECORDS}"
            ))?;
            let mut rows = statement.query((to_integer(after), to_integer(through)))?;
            let mut found = Vec::new();
            let mut bytes = 0;
            while bytes < STEP_BYTES
                && let Some(row) = rows.next()?
            {
                let written = Written {
                    sequence: to_sequence(row.get(0)?),
                    header: row.get(1)?,
                    body: row.get(2)?,
                };
                let record = rows::parse(
                    written.sequence,
                    &written.header,
                    written.body.as_deref(),
                    row.get(3)?,
                )?;
                bytes += written.header.len() + written.body.as_ref().map_or(0, String::len);
                found.push((written, record));
            }
            Ok(found)
        };
        read().map_err(|error| Error::from_sqlite(&self.path, "read", error))
    }
}

/// Closes a file that was made, and puts it on the disk.
pub(crate) fn close(connection: Connection, path: &Path) -> Result<(), Error> {
    connection
        .close()
        .map_err(|(_, error)| Error::from_sqlite(path, "close", error))?;
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|source| Error::from_io(path, source))
}

/// Reads a log that was made, and holds it against what it should be.
pub(crate) fn verify(path: &Path, expected: &Copied) -> Result<(), Error> {
    let mut connection = LOG.open_to_read(path)?.connection;
    let mut look = || {
        let transaction = connection.transaction()?;
        Ok((complaints(&transaction)?, found(&transaction)?))
    };
    let (complaints, found) = look().map_err(|error| Error::from_sqlite(path, "verify", error))?;
    let detail = match complaints.first() {
        Some(complaint) => complaint.clone(),
        None if found == *expected => return Ok(()),
        None => format!(
            "{} records up to {} were written, and {} up to {} are there",
            expected.records, expected.head, found.records, found.head
        ),
    };
    Err(Error::Damaged {
        path: path.to_owned(),
        detail,
    })
}

/// What SQLite says of the structure of a file; nothing about a sound one.
pub(crate) fn complaints(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("PRAGMA integrity_check(10)")?;
    let said = statement.query_map([], |row| row.get(0))?;
    let said: Vec<String> = said.collect::<Result<_, _>>()?;
    Ok(if said == ["ok"] { Vec::new() } else { said })
}

fn found(transaction: &Transaction<'_>) -> rusqlite::Result<Copied> {
    let mut statement =
        transaction.prepare(&format!("SELECT {} FROM log ORDER BY sequence", rows::COLUMNS))?;
    let mut rows = statement.query([])?;
    let mut found = Copied {
        head: Sequence::ZERO,
        records: 0,
    };
    while let Some(row) = rows.next()? {
        found.head = rows::decode(row)?.sequence;
        found.records += 1;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::contract::entry;
    use crate::log::{Durability, Entry, EventLog};
    use crate::{Execution, Options, Store, Update};

    fn open(directory: &Path) -> SqliteLog {
        SqliteLog::open(directory, Durability::Os, Execution::Blocking).unwrap()
    }

    fn entries(numbers: std::ops::Range<u64>) -> Vec<Entry> {
        numbers.map(entry).collect()
    }

    fn copy(from: &Path, through: Option<u64>) -> (TempDir, Copied) {
        let into = tempfile::tempdir().unwrap();
        let mut making = LogCopy::begin(from, into.path()).unwrap();
        let through = through.map_or_else(|| making.original_head().unwrap(), Sequence::new);
        while !making.step(through).unwrap().is_empty() {}
        let copied = making.finish().unwrap();
        (into, copied)
    }

    async fn records(directory: &Path) -> Vec<Record> {
        open(directory).read(Sequence::ZERO, usize::MAX).await.unwrap()
    }

    #[tokio::test]
    async fn a_copy_of_a_log_in_use_is_its_beginning_and_opens_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path());
        log.append(entries(0..2_500)).await.unwrap();
        log.erase(vec![Sequence::new(7)]).await.unwrap();

        let into = tempfile::tempdir().unwrap();
        let mut making = LogCopy::begin(directory.path(), into.path()).unwrap();
        let through = making.original_head().unwrap();
        assert_eq!(through, Sequence::new(2_500));
        let mut steps = 0;
        while !making.step(through).unwrap().is_empty() {
            // What comes meanwhile is not in it.
            log.append(entries(3_000 + steps..3_001 + steps)).await.unwrap();
            steps += 1;
        }
        assert!(2 < steps, "in steps");
        let copied = making.finish().unwrap();
        assert_eq!((copied.head, copied.records), (through, 2_500));
        let all = log.read(Sequence::ZERO, usize::MAX).await.unwrap();
        assert_eq!(records(into.path()).await, all[..2_500]);
        let lineage = open(into.path()).lineage().clone();
        assert_ne!(lineage.id(), log.id());
        assert_eq!(lineage.shared_with(log.id()), Some(through));
    }

    #[tokio::test]
    async fn the_write_ahead_log_starts_over_while_a_copy_is_made() {
        let large = |number| {
            let mut large = entry(number);
            large.body.text_representation = Some("x".repeat(100_000));
            large
        };
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path());
        log.append((0..400).map(large).collect()).await.unwrap();
        let into = tempfile::tempdir().unwrap();
        let mut making = LogCopy::begin(directory.path(), into.path()).unwrap();
        let through = making.original_head().unwrap();
        let mut appended = 0_u64;
        while !making.step(through).unwrap().is_empty() {
            for _ in 0..4 {
                log.append((0..40).map(large).collect()).await.unwrap();
                appended += 40 * 100_000;
            }
        }
        let length = fs::metadata(directory.path().join("log.db-wal")).unwrap().len();
        assert!(
            3 * length < appended,
            "{length} bytes of {appended} written meanwhile"
        );
    }

    #[tokio::test]
    async fn a_copy_can_go_on_and_can_end_earlier() {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path());
        log.append(entries(0..100)).await.unwrap();
        let (first, copied) = copy(directory.path(), Some(60));
        assert_eq!((copied.head.get(), copied.records), (60, 60));

        let into = tempfile::tempdir().unwrap();
        let mut making = LogCopy::begin(first.path(), into.path()).unwrap();
        while !making.step(Sequence::new(20)).unwrap().is_empty() {}
        assert_eq!(making.copied(), Sequence::new(20));
        while !making.step(Sequence::new(40)).unwrap().is_empty() {}
        making.finish().unwrap();
        let second = open(into.path());
        assert_eq!(second.head(), Sequence::new(40));
        assert_eq!(second.lineage().shared_with(log.id()), Some(Sequence::new(40)));
        assert_eq!(second.append(entries(7..8)).await.unwrap(), [Sequence::new(41)]);
    }

    #[tokio::test]
    async fn what_is_removed_before_or_while_a_log_is_copied_is_not_in_the_copy() {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path());
        log.append(entries(0..2_500)).await.unwrap();
        let range = |numbers: std::ops::Range<u64>| numbers.map(Sequence::new).collect::<Vec<_>>();
        log.remove(range(2_000..2_400)).await.unwrap();

        let into = tempfile::tempdir().unwrap();
        let mut making = LogCopy::begin(directory.path(), into.path()).unwrap();
        let through = making.original_head().unwrap();
        assert!(!making.step(through).unwrap().is_empty());
        log.remove(range(500..1_500)).await.unwrap();
        while !making.step(through).unwrap().is_empty() {}
        let copied = making.finish().unwrap();
        assert_eq!((copied.head, copied.records), (through, 1_100));
        let there = records(into.path()).await;
        let there: Vec<u64> = there.iter().map(|record| record.sequence.get()).collect();
        let expected: Vec<u64> = (1..500).chain(1_500..2_000).chain(2_400..2_501).collect();
        assert_eq!(there, expected);

        // Up to a record that is gone, the next one has the sequence after it.
        let (shorter, copied) = copy(into.path(), Some(1_200));
        assert_eq!((copied.head.get(), copied.records), (499, 499));
        let next = open(shorter.path()).append(entries(9..10)).await.unwrap();
        assert_eq!(next, [Sequence::new(1_201)]);
    }

    #[tokio::test]
    async fn an_empty_log_and_one_that_nobody_has_open_are_copied() {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path());
        log.close().await.unwrap();
        drop(log);
        let (into, copied) = copy(directory.path(), None);
        assert_eq!((copied.head.get(), copied.records), (0, 0));
        assert_eq!(open(into.path()).head(), Sequence::ZERO);
    }

    #[tokio::test]
    async fn what_a_killed_server_left_is_copied_whole() {
        let directory = tempfile::tempdir().unwrap();
        let left = tempfile::tempdir().unwrap();
        let log = open(directory.path());
        log.append(entries(0..10)).await.unwrap();
        for file in ["log.db", "log.db-wal"] {
            fs::copy(directory.path().join(file), left.path().join(file)).unwrap();
        }
        assert_eq!(copy(left.path(), None).1.records, 10);
    }

    #[tokio::test]
    async fn cursors_go_along_as_far_as_the_copy_goes() {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
        store.log.append(entries(0..10)).await.unwrap();
        let cursor = |agent: &str, at| (agent.parse().unwrap(), Sequence::new(at));
        let update = Update {
            cursors: vec![cursor("ana", 3), cursor("bob", 9)],
            ..Update::default()
        };
        store.view.commit(update).await.unwrap();
        let (into, _) = copy(directory.path(), Some(5));
        let (_, mut loaded) = Store::open(into.path(), Options::default()).unwrap();
        loaded.cursors.sort();
        assert_eq!(loaded.cursors, [cursor("ana", 3), cursor("bob", 5)]);
        assert_eq!(loaded.applied, Sequence::ZERO, "the view is built from the log");
    }

    #[tokio::test]
    async fn a_damaged_log_is_not_copied() {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path());
        log.append(entries(0..100)).await.unwrap();
        log.close().await.unwrap();
        drop(log);
        let path = directory.path().join(SqliteLog::FILE);
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes
            .windows(10)
            .rposition(|window| window == b"message 42")
            .unwrap();
        bytes[at + 8] ^= 1;
        fs::write(&path, bytes).unwrap();
        let into = tempfile::tempdir().unwrap();
        let mut making = LogCopy::begin(directory.path(), into.path()).unwrap();
        let error = making.step(Sequence::MAX).unwrap_err();
        let Error::Damaged { detail, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(detail, "record 43: it is not what was written");
    }

    #[test]
    fn where_there_is_no_log_nothing_is_copied() {
        let (from, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert!(matches!(
            LogCopy::begin(from.path(), into.path()),
            Err(Error::Io { .. })
        ));
    }

    #[tokio::test]
    async fn a_copy_that_is_not_complete_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path());
        log.append(entries(0..10)).await.unwrap();
        let (into, copied) = copy(directory.path(), None);
        let path = into.path().join(SqliteLog::FILE);
        assert!(verify(&path, &copied).is_ok());
        Connection::open(&path)
            .unwrap()
            .execute_batch("DELETE FROM log WHERE sequence = 4")
            .unwrap();
        let error = verify(&path, &copied).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("10 records up to 10 were written, and 9"),
            "{error}"
        );
    }
}
