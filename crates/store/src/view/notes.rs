//! What later events say of earlier ones: edits, deletions, reactions. And who writes to whom.

use openagents_protocol::{AgentId, EventId, Sequence};
use rusqlite::{Connection, OptionalExtension, Transaction};

use super::{EventKind, Stream, index};
use crate::database::{self, to_integer, to_limit, to_sequence};

/// Something that an event says of an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// It has another content.
    Edited(EventId),
    /// It is deleted, and its content is to be erased.
    Deleted(EventId),
    /// An agent reacted to it, or took that back.
    Reacted(ReactionKey, Reacted),
}

/// Whether a reaction was added or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reacted {
    /// It is there from here on.
    Added,
    /// It is gone from here on.
    Removed,
}

/// One reaction of one agent to one message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReactionKey {
    /// The message.
    pub message: EventId,
    /// The emoji or short name.
    pub reaction: String,
    /// Who reacted.
    pub agent: AgentId,
}

/// What was said of a message later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// Its last edit.
    pub edited: Option<Sequence>,
    /// Whether it is deleted.
    pub deleted: bool,
    /// The reactions, each with who reacted and when, in the order of the log.
    pub reactions: Vec<(Sequence, String, AgentId)>,
    /// Number of replies in the thread that it begins, without those that are deleted.
    pub replies: u64,
}

/// A deleted event with all the places where the log has its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasable {
    /// The event.
    pub event_id: EventId,
    /// What it was.
    pub kind: EventKind,
    /// Its own record, those of its edits, and the one it had while it was held.
    pub sequences: Vec<Sequence>,
}

/// Notes down what an event says of an earlier one, which may belong to a thread.
pub(super) fn write(
    transaction: &Transaction<'_>,
    sequence: Sequence,
    note: &Note,
    thread: Option<&EventId>,
) -> rusqlite::Result<()> {
    let sequence = to_integer(sequence);
    match note {
        Note::Edited(message) => transaction
            .prepare_cached("INSERT OR IGNORE INTO edits (message, sequence) VALUES (?1, ?2)")?
            .execute((message.as_str(), sequence))?,
        Note::Deleted(event) => {
            // One that was removed does not count in its thread any more.
            let is_listed: bool = transaction
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM events WHERE event_id = ?1)")?
                .query_one([event.as_str()], |row| row.get(0))?;
            let deleted = transaction
                .prepare_cached("INSERT OR IGNORE INTO deletions (event_id) VALUES (?1)")?
                .execute([event.as_str()])?;
            match thread.filter(|_| deleted != 0 && is_listed) {
                Some(root) => transaction
                    .prepare_cached(
                        "INSERT INTO deleted_replies (root, count) VALUES (?1, 1)
                         ON CONFLICT (root) DO UPDATE SET count = count + 1",
                    )?
                    .execute([root.as_str()])?,
                None => deleted,
            }
        }
        Note::Reacted(key, Reacted::Added) => transaction
            .prepare_cached(
                "INSERT OR IGNORE INTO reactions (message, reaction, agent, sequence) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute((key.message.as_str(), key.reaction.as_str(), key.agent.as_str(), sequence))?,
        Note::Reacted(key, Reacted::Removed) => transaction
            .prepare_cached("DELETE FROM reactions WHERE message = ?1 AND reaction = ?2 AND agent = ?3")?
            .execute((key.message.as_str(), key.reaction.as_str(), key.agent.as_str()))?,
    };
    Ok(())
}

/// Notes down that two agents have a new message between them.
pub(super) fn converse(
    transaction: &Transaction<'_>,
    one: &AgentId,
    other: &AgentId,
    sequence: i64,
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT OR REPLACE INTO conversations (agent, other, sequence) VALUES (?1, ?2, ?3)",
    )?;
    statement.execute((one.as_str(), other.as_str(), sequence))?;
    if one != other {
        statement.execute((other.as_str(), one.as_str(), sequence))?;
    }
    Ok(())
}

/// Notes down which of the messages between two agents is the newest now that one was removed.
pub(super) fn converse_less(
    transaction: &Transaction<'_>,
    one: &AgentId,
    other: &AgentId,
    stream: &Stream,
) -> rusqlite::Result<()> {
    let newest = match index::stream_id(transaction, stream)? {
        Some(id) => index::last_entry(transaction, id, i64::MAX)?,
        None => None,
    };
    if let Some((sequence, _)) = newest {
        return converse(transaction, one, other, sequence);
    }
    let mut statement =
        transaction.prepare_cached("DELETE FROM conversations WHERE agent = ?1 AND other = ?2")?;
    statement.execute((one.as_str(), other.as_str()))?;
    statement.execute((other.as_str(), one.as_str()))?;
    Ok(())
}

/// What was said of one message.
pub(super) fn of_message(connection: &Connection, message: &EventId) -> rusqlite::Result<Annotations> {
    let edited: Option<i64> = connection
        .prepare_cached("SELECT max(sequence) FROM edits WHERE message = ?1")?
        .query_one([message.as_str()], |row| row.get(0))?;
    let mut statement = connection.prepare_cached(
        "SELECT sequence, reaction, agent FROM reactions WHERE message = ?1 ORDER BY sequence",
    )?;
    let reactions = statement.query_map([message.as_str()], |row| {
        Ok((to_sequence(row.get(0)?), row.get(1)?, database::name(row, 2)?))
    })?;
    let reactions = reactions.collect::<Result<_, _>>()?;
    let thread = index::stream_id(connection, &Stream::Thread(message.clone()))?;
    let replies = match thread {
        Some(thread) => index::count_one(connection, thread, 0, i64::MAX)?.cast_signed(),
        None => 0,
    };
    let deleted_replies: Option<i64> = connection
        .prepare_cached("SELECT count FROM deleted_replies WHERE root = ?1")?
        .query_one([message.as_str()], |row| row.get(0))
        .optional()?;
    let replies = replies.saturating_sub(deleted_replies.unwrap_or_default()).max(0);
    Ok(Annotations {
        edited: edited.map(to_sequence),
        deleted: is_deleted(connection, message)?,
        reactions,
        replies: replies.cast_unsigned(),
    })
}

pub(super) fn is_deleted(connection: &Connection, event: &EventId) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM deletions WHERE event_id = ?1)")?
        .query_one([event.as_str()], |row| row.get(0))
}

/// The reactions of one agent to one message.
pub(super) fn reactions_of(
    connection: &Connection,
    message: &EventId,
    agent: &AgentId,
) -> rusqlite::Result<Vec<ReactionKey>> {
    let mut statement =
        connection.prepare_cached("SELECT reaction FROM reactions WHERE message = ?1 AND agent = ?2")?;
    let rows = statement.query_map([message.as_str(), agent.as_str()], |row| {
        Ok(ReactionKey {
            message: message.clone(),
            reaction: row.get(0)?,
            agent: agent.clone(),
        })
    })?;
    rows.collect()
}

/// Deleted events whose content was not erased yet.
pub(super) fn unerased(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<Erasable>> {
    let mut statement =
        connection.prepare_cached("SELECT event_id FROM deletions WHERE erased = 0 LIMIT ?1")?;
    let ids: Vec<EventId> = statement
        .query_map([to_limit(limit)], |row| database::name(row, 0))?
        .collect::<Result<_, _>>()?;
    let mut own = connection.prepare_cached("SELECT sequence, kind FROM events WHERE event_id = ?1")?;
    let mut others = connection.prepare_cached(
        "SELECT sequence FROM edits WHERE message = ?1
         UNION SELECT sequence FROM superseded WHERE event_id = ?1",
    )?;
    let mut found = Vec::with_capacity(ids.len());
    for event_id in ids {
        let mut sequences: Vec<Sequence> = others
            .query_map([event_id.as_str()], |row| row.get(0).map(to_sequence))?
            .collect::<Result<_, _>>()?;
        let own = own.query_one([event_id.as_str()], |row| {
            Ok((to_sequence(row.get(0)?), EventKind::from_stored(row.get(1)?)))
        });
        let own = own.optional()?;
        sequences.extend(own.map(|(sequence, _)| sequence));
        found.push(Erasable {
            event_id,
            kind: own.map_or(EventKind::Other, |(_, kind)| kind),
            sequences,
        });
    }
    Ok(found)
}

/// The other sides of an agent's conversations, the one with the newest message first.
pub(super) fn conversations(
    connection: &Connection,
    agent: &AgentId,
    before: Sequence,
    limit: usize,
) -> rusqlite::Result<Vec<(AgentId, Sequence)>> {
    let mut statement = connection.prepare_cached(
        "SELECT other, sequence FROM conversations WHERE agent = ?1 AND sequence < ?2
         ORDER BY sequence DESC LIMIT ?3",
    )?;
    let rows = statement.query_map((agent.as_str(), to_integer(before), to_limit(limit)), |row| {
        Ok((database::name(row, 0)?, to_sequence(row.get(1)?)))
    })?;
    rows.collect()
}
