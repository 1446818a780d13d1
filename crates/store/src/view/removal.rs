//! What is taken out of a view because it is too old to be kept.

use std::collections::HashMap;

use openagents_protocol::Sequence;
use rusqlite::{Connection, Transaction};

use super::index::{self, Left};
use super::notes::{self, Note, Reacted};
use super::tally::Additions;
use super::{Indexed, Stream};
use crate::database::{to_integer, to_limit, to_sequence};

/// An event that is listed nowhere any more.
#[derive(Clone, Debug, PartialEq)]
pub struct Unlisted {
    /// The event, as it was told when it was listed.
    pub event: Indexed,
    /// What becomes of its record.
    pub fate: Fate,
    /// Whether it counts in what was said in its channel: not where the channel was deleted since.
    pub counted: bool,
}

/// What becomes of the record of an event that is listed no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The state is built from it: it stays, and is found by its id.
    Kept,
    /// It is to be removed from the log.
    Removed,
}

/// Takes events, which are in the order of the log, out of all lists, so that the view is the one that is built of a log
/// without them.
pub(super) fn unlist(transaction: &Transaction<'_>, listed: &[Unlisted]) -> rusqlite::Result<()> {
    let mut additions = Additions::default();
    for unlisted in listed {
        if unlisted.fate == Fate::Removed && unlisted.counted {
            additions.take_removal(transaction, &unlisted.event)?;
        }
    }
    for (stream, left) in by_stream(listed) {
        leave(transaction, stream, &left, &mut additions)?;
    }
    for unlisted in listed {
        if unlisted.fate == Fate::Removed {
            forget(transaction, &unlisted.event)?;
        }
    }
    additions.write(transaction)
}

/// What each stream loses.
fn by_stream(listed: &[Unlisted]) -> HashMap<&Stream, Vec<&Unlisted>> {
    let mut streams: HashMap<&Stream, Vec<&Unlisted>> = HashMap::new();
    for unlisted in listed {
        for stream in &unlisted.event.streams {
            streams.entry(stream).or_default().push(unlisted);
        }
    }
    streams
}

/// Takes events out of a stream, and with them what is noted down of it.
fn leave(
    transaction: &Transaction<'_>,
    stream: &Stream,
    events: &[&Unlisted],
    additions: &mut Additions,
) -> rusqlite::Result<()> {
    let entries: Vec<i64> = events
        .iter()
        .map(|unlisted| to_integer(unlisted.event.sequence))
        .collect();
    let left = index::remove(transaction, stream, &entries)?;
    match stream {
        Stream::Thread(root) if left == Left::Nothing => {
            if let Some(last) = events.last().filter(|last| last.counted) {
                additions.take_end(&last.event);
            }
            transaction
                .prepare_cached("DELETE FROM deleted_replies WHERE root = ?1")?
                .execute([root.as_str()])?;
        }
        Stream::Thread(root) => {
            let mut deleted = 0;
            for unlisted in events {
                deleted += i64::from(notes::is_deleted(transaction, &unlisted.event.event_id)?);
            }
            transaction
                .prepare_cached("UPDATE deleted_replies SET count = count - ?2 WHERE root = ?1")?
                .execute((root.as_str(), deleted))?;
        }
        Stream::Conversation(one, other) => notes::converse_less(transaction, one, other, stream)?,
        _ => {}
    }
    Ok(())
}

/// Forgets what the view knows of an event, and notes down that the log is to forget it.
fn forget(transaction: &Transaction<'_>, event: &Indexed) -> rusqlite::Result<()> {
    let (id, sequence) = (event.event_id.as_str(), to_integer(event.sequence));
    transaction
        .prepare_cached("INSERT OR IGNORE INTO removals (sequence) VALUES (?1)")?
        .execute([sequence])?;
    transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO removals (sequence) SELECT sequence FROM superseded WHERE event_id = ?1",
        )?
        .execute([id])?;
    transaction
        .prepare_cached("DELETE FROM superseded WHERE event_id = ?1")?
        .execute([id])?;
    transaction
        .prepare_cached("DELETE FROM events WHERE event_id = ?1 AND sequence = ?2")?
        .execute((id, sequence))?;
    match &event.note {
        Some(Note::Edited(message)) => transaction
            .prepare_cached("DELETE FROM edits WHERE message = ?1 AND sequence = ?2")?
            .execute((message.as_str(), sequence))?,
        Some(Note::Deleted(deleted)) => transaction
            .prepare_cached("DELETE FROM deletions WHERE event_id = ?1")?
            .execute([deleted.as_str()])?,
        Some(Note::Reacted(key, Reacted::Added)) => transaction
            .prepare_cached(
                "DELETE FROM reactions WHERE message = ?1 AND reaction = ?2 AND agent = ?3 AND sequence = ?4",
            )?
            .execute((
                key.message.as_str(),
                key.reaction.as_str(),
                key.agent.as_str(),
                sequence,
            ))?,
        Some(Note::Reacted(_, Reacted::Removed)) | None => 0,
    };
    Ok(())
}

/// Records that the log still has and is to forget.
pub(super) fn due(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<Sequence>> {
    let mut statement =
        connection.prepare_cached("SELECT sequence FROM removals ORDER BY sequence LIMIT ?1")?;
    statement
        .query_map([to_limit(limit)], |row| row.get(0).map(to_sequence))?
        .collect()
}

/// The places to which something was sent that is listed.
pub(super) fn places(connection: &Connection) -> rusqlite::Result<Vec<Stream>> {
    let mut statement = connection.prepare(
        "SELECT name FROM streams WHERE name = 'everyone' OR 'channel:' <= name AND name < 'channel;'
             OR 'inbox:' <= name AND name < 'inbox;' ORDER BY id",
    )?;
    let names = statement.query_map([], |row| row.get(0))?;
    let names: Vec<String> = names.collect::<Result<_, _>>()?;
    Ok(names.iter().filter_map(|name| Stream::of_place(name)).collect())
}
