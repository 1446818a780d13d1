//! The one connection that changes a view.

use openagents_protocol::{EventId, Sequence};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::ends::Ends;
use super::tally::Additions;
use super::{Indexed, StateChange, Stream, Unlisted, Update, by_id, notes, removal};
use crate::database::{self, to_integer};

#[derive(Debug)]
pub(super) struct Writer {
    connection: Connection,
    applied: Sequence,
    ends: Ends,
}

impl Writer {
    pub(super) fn new(connection: Connection, applied: Sequence) -> Self {
        Self {
            connection,
            applied,
            ends: Ends::default(),
        }
    }

    /// Makes an update in one transaction, and says what is applied after it.
    pub(super) fn commit(&mut self, update: &Update) -> rusqlite::Result<Sequence> {
        let outcome = self.try_commit(update);
        match outcome {
            Ok(()) => self.applied = self.applied.max(update.applied),
            // What was rolled back may be in there.
            Err(_) => self.ends.clear(),
        }
        outcome.map(|()| self.applied)
    }

    /// Waits until the disk has what was committed.
    pub(super) fn sync(&mut self) -> rusqlite::Result<()> {
        // A commit syncs everything before it in the write-ahead log as well. One that changes nothing syncs nothing.
        self.connection.pragma_update(None, "synchronous", "full")?;
        let synced = self.put_synced();
        self.connection.pragma_update(None, "synchronous", "normal")?;
        synced
    }

    fn put_synced(&mut self) -> rusqlite::Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let syncs = database::number(&transaction, "syncs")?;
        database::put_number(&transaction, "syncs", syncs.wrapping_add(1))?;
        transaction.commit()
    }

    /// Notes down that the content of deleted events is erased.
    pub(super) fn mark_erased(&mut self, events: &[EventId]) -> rusqlite::Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for event in events {
            transaction
                .prepare_cached("UPDATE deletions SET erased = 1 WHERE event_id = ?1")?
                .execute([event.as_str()])?;
        }
        transaction.commit()
    }

    /// Takes entries out in one transaction.
    pub(super) fn unlist(&mut self, listed: &[Unlisted]) -> rusqlite::Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for unlisted in listed {
            for stream in &unlisted.event.streams {
                self.ends.forget(stream);
            }
        }
        removal::unlist(&transaction, listed)?;
        transaction.commit()
    }

    /// Notes down that the log has records no more that were taken out.
    pub(super) fn mark_removed(&mut self, sequences: &[Sequence]) -> rusqlite::Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for sequence in sequences {
            transaction
                .prepare_cached("DELETE FROM removals WHERE sequence = ?1")?
                .execute([to_integer(*sequence)])?;
        }
        transaction.commit()
    }

    fn try_commit(&mut self, update: &Update) -> rusqlite::Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        // An update from before the last one is in there already, and its rows may be older than those that are.
        if self.applied <= update.applied {
            index_events(&transaction, &mut self.ends, self.applied, &update.events)?;
            for change in &update.changes {
                change.write(&transaction)?;
                if let StateChange::RemoveAgent(agent) = change {
                    transaction
                        .prepare_cached("DELETE FROM cursors WHERE agent = ?1 AND sequence <= ?2")?
                        .execute((agent.as_str(), to_integer(update.applied)))?;
                }
            }
            database::put_number(&transaction, "applied", to_integer(update.applied))?;
            database::put_number(&transaction, "id_watermark", update.id_watermark.cast_signed())?;
        }
        for (agent, sequence) in &update.cursors {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO cursors (agent, sequence) VALUES (?1, ?2)")?
                .execute((agent.as_str(), to_integer(*sequence)))?;
        }
        transaction.commit()
    }
}

/// Lists the events after those that were applied before.
fn index_events(
    transaction: &Transaction<'_>,
    ends: &mut Ends,
    applied: Sequence,
    events: &[Indexed],
) -> rusqlite::Result<()> {
    let events: Vec<&Indexed> = events.iter().filter(|event| applied < event.sequence).collect();
    let mut additions = Additions::default();
    // What an event notes of others depends on what is listed before it, and on nothing after it.
    for run in events.chunk_by(|event, next| event.note.is_none() && next.note.is_none()) {
        by_id::list(transaction, run)?;
        for event in run {
            if let Some(note) = &event.note {
                additions.take_note(transaction, note)?;
                notes::write(transaction, event.sequence, note, event.thread.as_ref())?;
            }
            let mut begins = false;
            for stream in &event.streams {
                // A stream that is named twice has the event once.
                let position = ends.append(transaction, stream, to_integer(event.sequence))?;
                begins |= matches!(stream, Stream::Thread(_)) && position == Some(1);
            }
            additions.take(event, begins);
        }
    }
    ends.write(transaction)?;
    additions.write(transaction)
}
