//! The one connection that changes an index.

use std::collections::HashMap;

use openagents_protocol::{Sequence, Source};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::block::{Entry, Facts, seal, unseal};
use super::rows::Block;
use super::{Batch, Place, Text, words};
use crate::database::{self, to_sequence};

/// Most names whose ids are kept in memory. Beyond it all are forgotten and read again when needed.
const KNOWN_NAMES: usize = 10_000;

/// When a block is full.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// It has so many messages.
    pub(super) messages: usize,
    /// Or their words so many bytes.
    pub(super) bytes: usize,
}

impl Default for Limits {
    /// Few enough messages that the newest, which are looked through one by one, cost a few milliseconds; enough that a
    /// rare word costs few looks.
    fn default() -> Self {
        Self {
            messages: 4_096,
            bytes: 2 * 1024 * 1024,
        }
    }
}

#[derive(Debug)]
pub(super) struct Writer {
    connection: Connection,
    limits: Limits,
    position: Position,
    known: Known,
}

/// How far an index is; as the last commit left it.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    /// The log is indexed through here.
    indexed: Sequence,
    /// Messages through here are in blocks, later ones in the tail.
    sealed: u64,
    blocks: i64,
    /// What is in the tail.
    messages: usize,
    bytes: usize,
}

/// What becomes of messages: their new words, or nothing. In the order of the messages, each once.
type Changes = Vec<(u64, Option<Entry>)>;

/// Whether words were taken out of the index, so that nothing may be left of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Erased {
    Nothing,
    Something,
}

impl Writer {
    pub(super) fn new(connection: Connection, limits: Limits) -> rusqlite::Result<Self> {
        let (messages, bytes): (i64, i64) = connection.query_one(
            "SELECT count(*), coalesce(sum(length(words)), 0) FROM tail",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let position = Position {
            indexed: to_sequence(database::number(&connection, "indexed")?),
            sealed: database::number(&connection, "sealed")?.cast_unsigned(),
            blocks: database::number(&connection, "blocks")?,
            messages: usize::try_from(messages).unwrap_or_default(),
            bytes: usize::try_from(bytes).unwrap_or_default(),
        };
        Ok(Self {
            connection,
            limits,
            position,
            known: Known::default(),
        })
    }

    pub(super) fn indexed(&self) -> Sequence {
        self.position.indexed
    }

    /// How many messages the next block has room for.
    pub(super) fn room(&self) -> usize {
        self.limits.messages.saturating_sub(self.position.messages)
    }

    /// Takes a batch in one transaction. One that ends before the last one is in there already.
    pub(super) fn commit(&mut self, batch: Batch) -> rusqlite::Result<()> {
        if batch.through <= self.position.indexed {
            return Ok(());
        }
        self.take(batch)
    }

    /// Takes messages out.
    pub(super) fn remove(&mut self, removed: Vec<Sequence>) -> rusqlite::Result<()> {
        self.take(Batch {
            through: self.position.indexed,
            texts: Vec::new(),
            removed,
        })
    }

    fn take(&mut self, batch: Batch) -> rusqlite::Result<()> {
        match self.try_commit(batch) {
            Ok((position, erased)) => {
                self.position = position;
                if erased == Erased::Something && !database::empty_journal(&self.connection)? {
                    tracing::warn!(
                        "another program reads the search index; erased words may stay in search.db-wal until it stops"
                    );
                }
                Ok(())
            }
            // What was rolled back may be in there.
            Err(error) => {
                self.known = Known::default();
                Err(error)
            }
        }
    }

    fn try_commit(&mut self, batch: Batch) -> rusqlite::Result<(Position, Erased)> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut changes = Changes::with_capacity(batch.texts.len() + batch.removed.len());
        for text in batch.texts {
            let entry = self.known.entry(&transaction, &text)?;
            changes.push((text.sequence.get(), entry));
        }
        changes.extend(batch.removed.iter().map(|sequence| (sequence.get(), None)));
        // The last word on a message counts.
        changes.reverse();
        changes.sort_by_key(|(sequence, _)| *sequence);
        changes.dedup_by_key(|(sequence, _)| *sequence);
        let mut work = Work {
            transaction: &transaction,
            limits: self.limits,
            position: Position {
                indexed: batch.through,
                ..self.position
            },
            erased: Erased::Nothing,
        };
        work.apply(changes)?;
        let Work { position, erased, .. } = work;
        database::put_number(&transaction, "indexed", position.indexed.get().cast_signed())?;
        database::put_number(&transaction, "sealed", position.sealed.cast_signed())?;
        database::put_number(&transaction, "blocks", position.blocks)?;
        transaction.commit()?;
        Ok((position, erased))
    }
}

/// A change of the index on its way.
struct Work<'a> {
    transaction: &'a Transaction<'a>,
    limits: Limits,
    position: Position,
    erased: Erased,
}

impl Work<'_> {
    fn apply(&mut self, mut changes: Changes) -> rusqlite::Result<()> {
        let newer = after(&mut changes, self.position.sealed);
        self.amend_blocks(changes)?;
        self.amend_tail(newer)
    }

    /// Changes messages of blocks. Each block is turned back into its messages and made anew.
    fn amend_blocks(&mut self, mut changes: Changes) -> rusqlite::Result<()> {
        while let Some((sequence, _)) = changes.first() {
            let Some(block) = Block::around(self.transaction, *sequence)? else {
                return Ok(());
            };
            let end = block.last.max(*sequence);
            let later = after(&mut changes, end);
            let these = std::mem::replace(&mut changes, later);
            let adds = these.iter().any(|(_, change)| change.is_some());
            if adds || has_any(&block, self.transaction, &these)? {
                let columns = block.columns(self.transaction)?;
                let read = |pages| block.pages(self.transaction, pages);
                let entries = unseal(block.first, &block.facts, columns, read)?;
                let entries = self.merge(entries, these);
                let sealed = seal(block.first, &entries);
                Block::put(self.transaction, block.first, block.last, block.number, &sealed)?;
            }
        }
        Ok(())
    }

    /// Changes messages of the tail, and makes blocks of it when there are enough.
    fn amend_tail(&mut self, changes: Changes) -> rusqlite::Result<()> {
        let removes = self.removes_from_tail(&changes)?;
        let added = changes.iter().filter_map(|(_, change)| change.as_ref());
        let (messages, bytes) = added.clone().fold((0, 0), |(messages, bytes), entry| {
            (messages + 1, bytes + entry.words.len())
        });
        self.position.messages += messages;
        self.position.bytes += bytes;
        if !removes && !self.is_full(self.position.messages, self.position.bytes) {
            return self.append(added);
        }
        let tail = self.tail()?;
        let mut entries = self.merge(tail, changes);
        while let Some(length) = self.full(&entries) {
            let rest = entries.split_off(length);
            self.seal(&entries)?;
            entries = rest;
        }
        // All rows go and with them their pages, which the database fills with zeros: nothing is left of what was
        // there, wherever it had been moved meanwhile.
        self.transaction.execute("DELETE FROM tail", [])?;
        self.position.messages = entries.len();
        self.position.bytes = entries.iter().map(|entry| entry.words.len()).sum();
        self.append(&entries)
    }

    fn is_full(&self, messages: usize, bytes: usize) -> bool {
        self.limits.messages <= messages || self.limits.bytes <= bytes
    }

    /// How many of these messages make a full block; none while they do not.
    fn full(&self, entries: &[Entry]) -> Option<usize> {
        let mut bytes = 0;
        let index = entries.iter().enumerate().position(|(index, entry)| {
            bytes += entry.words.len();
            self.is_full(index + 1, bytes)
        });
        index.map(|index| index + 1)
    }

    fn seal(&mut self, entries: &[Entry]) -> rusqlite::Result<()> {
        let Some(last) = entries.last() else { return Ok(()) };
        // Blocks join, so that every sequence before the tail belongs to one.
        let first = match self.position.blocks {
            0 => 0,
            _ => self.position.sealed + 1,
        };
        Block::put(
            self.transaction,
            first,
            last.sequence,
            self.position.blocks,
            &seal(first, entries),
        )?;
        self.position.sealed = last.sequence;
        self.position.blocks += 1;
        Ok(())
    }

    /// Messages with their changes, in order.
    fn merge(&mut self, entries: Vec<Entry>, changes: Changes) -> Vec<Entry> {
        let mut all = Vec::with_capacity(entries.len() + changes.len());
        let mut entries = entries.into_iter().peekable();
        for (sequence, change) in changes {
            while let Some(before) = entries.next_if(|entry| entry.sequence < sequence) {
                all.push(before);
            }
            let replaced = entries.next_if(|entry| entry.sequence == sequence);
            if replaced.is_some() && change.is_none() {
                self.erased = Erased::Something;
            }
            all.extend(change);
        }
        all.extend(entries);
        all
    }

    fn removes_from_tail(&self, changes: &Changes) -> rusqlite::Result<bool> {
        let mut there = self
            .transaction
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM tail WHERE sequence = ?1)")?;
        for (sequence, change) in changes {
            if change.is_none() && there.query_one([sequence.cast_signed()], |row| row.get(0))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn tail(&self) -> rusqlite::Result<Vec<Entry>> {
        let mut statement = self
            .transaction
            .prepare_cached("SELECT sequence, place, sender, time_ms, words FROM tail ORDER BY sequence")?;
        let rows = statement.query_map([], |row| {
            let number = |column| row.get(column).map(i64::cast_unsigned);
            Ok(Entry {
                sequence: number(0)?,
                place: number(1)?,
                sender: number(2)?,
                time_ms: number(3)?,
                words: row.get(4)?,
            })
        })?;
        rows.collect()
    }

    fn append<'a>(&self, entries: impl IntoIterator<Item = &'a Entry>) -> rusqlite::Result<()> {
        let mut statement = self.transaction.prepare_cached(
            "INSERT OR REPLACE INTO tail (sequence, place, sender, time_ms, words) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for entry in entries {
            let numbers = [entry.sequence, entry.place, entry.sender, entry.time_ms].map(u64::cast_signed);
            let [sequence, place, sender, time_ms] = numbers;
            statement.execute((sequence, place, sender, time_ms, &entry.words))?;
        }
        Ok(())
    }
}

/// Takes what becomes of messages after one out.
fn after(changes: &mut Changes, last: u64) -> Changes {
    changes.split_off(changes.partition_point(|(sequence, _)| *sequence <= last))
}

/// Whether a block has any of these messages.
fn has_any(block: &Block, connection: &Connection, changes: &Changes) -> rusqlite::Result<bool> {
    let sequences = block.column(connection, Facts::SEQUENCE)?;
    for sequence in sequences.iter() {
        let sequence = block.first.saturating_add(sequence?);
        if changes
            .binary_search_by_key(&sequence, |(sequence, _)| *sequence)
            .is_ok()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The ids of names.
#[derive(Debug, Default)]
struct Known {
    places: HashMap<Place, u64>,
    senders: HashMap<Source, u64>,
}

impl Known {
    /// A message as it is kept; none where it has no words.
    fn entry(&mut self, connection: &Connection, text: &Text) -> rusqlite::Result<Option<Entry>> {
        let words = words::fold(&text.text);
        if words.is_empty() {
            return Ok(None);
        }
        Ok(Some(Entry {
            sequence: text.sequence.get(),
            place: self.place(connection, &text.place)?,
            sender: self.sender(connection, &text.sender)?,
            time_ms: text.time_ms,
            words,
        }))
    }

    fn place(&mut self, connection: &Connection, place: &Place) -> rusqlite::Result<u64> {
        if let Some(id) = self.places.get(place) {
            return Ok(*id);
        }
        let id = if let Some(id) = place_id(connection, place)? {
            id
        } else {
            connection
                .prepare_cached("INSERT INTO places (channel, one, other) VALUES (?1, ?2, ?3)")?
                .execute(place.parts())?;
            connection.last_insert_rowid().cast_unsigned()
        };
        remember(&mut self.places, place, id);
        Ok(id)
    }

    fn sender(&mut self, connection: &Connection, sender: &Source) -> rusqlite::Result<u64> {
        if let Some(id) = self.senders.get(sender) {
            return Ok(*id);
        }
        let id = if let Some(id) = sender_id(connection, sender)? {
            id
        } else {
            connection
                .prepare_cached("INSERT INTO senders (name) VALUES (?1)")?
                .execute([sender.as_str()])?;
            connection.last_insert_rowid().cast_unsigned()
        };
        remember(&mut self.senders, sender, id);
        Ok(id)
    }
}

fn remember<K: Clone + Eq + std::hash::Hash>(known: &mut HashMap<K, u64>, name: &K, id: u64) {
    if KNOWN_NAMES <= known.len() {
        known.clear();
    }
    known.insert(name.clone(), id);
}

/// The id of a place; none while there was never a message.
pub(super) fn place_id(connection: &Connection, place: &Place) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("SELECT id FROM places WHERE channel = ?1 AND one = ?2 AND other = ?3")?
        .query_one(place.parts(), |row| row.get(0).map(i64::cast_unsigned))
        .optional()
}

/// The id of a sender; none while there was never a message.
pub(super) fn sender_id(connection: &Connection, sender: &Source) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("SELECT id FROM senders WHERE name = ?1")?
        .query_one([sender.as_str()], |row| row.get(0).map(i64::cast_unsigned))
        .optional()
}
