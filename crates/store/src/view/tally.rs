//! How much was said in each channel.

use std::collections::HashMap;

use openagents_protocol::{Address, ChannelName, EventId};
use rusqlite::{Connection, OptionalExtension, Transaction};

use super::{EventKind, Indexed, Note};

/// How much was said in a channel, without what was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that reply to none.
    pub posts: u64,
    /// Messages that do.
    pub replies: u64,
    /// Messages that have replies.
    pub threads: u64,
}

/// What a transaction adds to the tallies.
#[derive(Debug, Default)]
pub(super) struct Additions(HashMap<String, [i64; 3]>);

impl Additions {
    /// Takes an event into account; `begins` says that it is the first reply to a message.
    pub(super) fn take(&mut self, event: &Indexed, begins: bool) {
        let (EventKind::Message, Address::Channel(channel)) = (event.kind, &event.destination) else {
            return;
        };
        let added = self.0.entry(channel.to_string()).or_default();
        added[usize::from(event.thread.is_some())] += 1;
        added[2] += i64::from(begins);
    }

    /// Takes the deletion of a message into account that is not deleted yet.
    pub(super) fn take_note(&mut self, transaction: &Transaction<'_>, note: &Note) -> rusqlite::Result<()> {
        let Note::Deleted(message) = note else {
            return Ok(());
        };
        if let Some((channel, reply)) = standing(transaction, message)? {
            self.0.entry(channel).or_default()[usize::from(reply)] -= 1;
        }
        Ok(())
    }

    /// Takes into account that a message is removed, which does not count any more where it was deleted before.
    pub(super) fn take_removal(
        &mut self,
        transaction: &Transaction<'_>,
        event: &Indexed,
    ) -> rusqlite::Result<()> {
        if event.kind == EventKind::Message
            && let Some((channel, reply)) = standing(transaction, &event.event_id)?
        {
            self.0.entry(channel).or_default()[usize::from(reply)] -= 1;
        }
        Ok(())
    }

    /// Takes into account that the last reply in a thread was removed.
    pub(super) fn take_end(&mut self, event: &Indexed) {
        if let Address::Channel(channel) = &event.destination {
            self.0.entry(channel.to_string()).or_default()[2] -= 1;
        }
    }

    pub(super) fn write(self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut statement = transaction.prepare_cached(
            "INSERT INTO tallies (channel, posts, replies, threads) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (channel) DO UPDATE SET posts = posts + excluded.posts,
                 replies = replies + excluded.replies, threads = threads + excluded.threads",
        )?;
        for (channel, [posts, replies, threads]) in self.0 {
            statement.execute((channel, posts, replies, threads))?;
        }
        Ok(())
    }
}

/// The channel of a message that is not deleted, and whether it is a reply.
fn standing(transaction: &Transaction<'_>, message: &EventId) -> rusqlite::Result<Option<(String, bool)>> {
    transaction
        .prepare_cached(
            "SELECT substr(destination, 9), thread IS NOT NULL FROM events
             WHERE event_id = ?1 AND kind = 1 AND destination LIKE 'channel:%'
                 AND NOT EXISTS (SELECT 1 FROM deletions WHERE event_id = ?1)",
        )?
        .query_one([message.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// A channel begins anew.
pub(super) fn forget(connection: &Connection, channel: &ChannelName) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM tallies WHERE channel = ?1")?
        .execute([channel.as_str()])?;
    Ok(())
}

/// The tallies of these channels.
pub(super) fn of_channels(connection: &Connection, channels: &[ChannelName]) -> rusqlite::Result<Vec<Tally>> {
    let mut statement =
        connection.prepare_cached("SELECT posts, replies, threads FROM tallies WHERE channel = ?1")?;
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    let mut one = |channel: &ChannelName| {
        let found = statement.query_one([channel.as_str()], |row| {
            Ok(Tally {
                posts: number(row.get(0)?),
                replies: number(row.get(1)?),
                threads: number(row.get(2)?),
            })
        });
        Ok(found.optional()?.unwrap_or_default())
    };
    channels.iter().map(&mut one).collect()
}
