//! Calls about messages: reading them with everything that was said of them later, and changing them.

use std::collections::HashMap;

use openagents_protocol::call::{
    Conversation, Conversations, DEFAULT_MESSAGES, DeleteMessage, EditMessage, GetMessage, ListConversations,
    ListMessages, Message, Messages, React, Reaction,
};
use openagents_protocol::record::{Act, Record};
use openagents_protocol::{
    Address, AgentId, ErrorBody, ErrorCode, EventId, Receipt, Sequence, message_content,
};
use openagents_store::Error as StoreError;
use openagents_store::view::{Annotations, Bounds, Direction, Note, Reacted, Stream};

use super::page::{PAGE_BYTES, Room, bytes_of};
use super::{agent_id, channel_name, page_limit, seconds, unreadable};
use crate::commit;
use crate::decide::{Wish, no_channel};
use crate::entitlement::{is_visible, may_read_history, may_read_message};
use crate::follower::note;
use crate::rights::permission::READ_CHANNELS;
use crate::workspace::{Caller, Inner, Workspace};

/// Records read at once while looking for messages: about as many as are wanted, within these bounds.
const HISTORY_CHUNK: usize = 256;
const SMALLEST_CHUNK: usize = 16;

/// Agents named with a reaction.
const NAMED_REACTORS: usize = 100;

/// Unread messages counted one by one.
const MOST_UNREAD: usize = 10_000;

/// How many of the messages that were to be told were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// All that are not deleted.
    All,
    /// The first ones: the others, edited to more than they were, do not fit in the same answer.
    Some,
}

/// Messages that belong together, and where they begin.
pub(super) struct History {
    pub(super) stream: Stream,
    /// Everything at or before it belongs to a channel that was deleted.
    pub(super) since: Sequence,
}

impl Workspace {
    /// Reads the messages of a channel, of a conversation of the caller or of a thread. A page of large messages ends
    /// early, and tells that there are more.
    ///
    /// # Errors
    ///
    /// `invalid_field`, `invalid_name`, `channel_not_found`, `not_a_member`, `agent_not_found`, `message_not_found`,
    /// `forbidden`.
    pub async fn list_messages(&self, caller: &Caller, params: ListMessages) -> Result<Messages, ErrorBody> {
        let removed_through = self.removed_of(caller, &params);
        let total_count = match params.count {
            Some(true) => Some(self.count_messages(caller, &params).await?),
            _ => None,
        };
        let from_the_end = params.before.is_none() && params.after.is_none();
        let offset = params.offset.unwrap_or(0);
        let (records, has_more) = self.read_messages(caller, params).await?;
        let (messages, told) = self.tell_messages(records).await?;
        let has_more = has_more || told == Told::Some;
        // At the end of the history it is known for certain.
        let read_to_the_end = from_the_end && !has_more && !messages.is_empty();
        let total_count = total_count.map(|counted| {
            if read_to_the_end {
                offset.saturating_add(messages.len() as u64)
            } else {
                counted
            }
        });
        Ok(Messages {
            messages,
            has_more,
            removed_through,
            total_count,
        })
    }

    /// Through where the messages of a channel or a conversation are removed; none where nothing is.
    fn removed_of(&self, caller: &Caller, params: &ListMessages) -> Option<Sequence> {
        let snapshot = self.snapshot();
        let horizon = |place: Address| snapshot.state.horizons.of(&place);
        let through = match (&params.channel, &params.agent_id) {
            (Some(channel), _) => {
                let name = channel_name("channel", channel).ok()?;
                let since = snapshot.state.channels.get(&name)?.created_at;
                Some(horizon(Address::Channel(name))).filter(|through| since < *through)?
            }
            (None, Some(agent)) => {
                let other = horizon(Address::Agent(agent_id("agent_id", agent).ok()?));
                other.max(horizon(Address::Agent(caller.agent_id.clone())))
            }
            (None, None) => return None,
        };
        (through != Sequence::ZERO).then_some(through)
    }

    /// How many messages a history has, as far as that is known without reading it.
    async fn count_messages(&self, caller: &Caller, params: &ListMessages) -> Result<u64, ErrorBody> {
        match self.history_of(caller, params).await?.stream {
            Stream::Channel(channel) => {
                let tally = self.tally(&channel).await?;
                Ok(tally.posts + tally.replies)
            }
            Stream::Conversation(_, other) => self.count_conversation(caller, &other).await,
            Stream::Thread(root) => {
                let annotations = self.inner().annotations(vec![root]).await;
                let annotations = annotations.map_err(|error| unreadable(&error))?;
                Ok(annotations.first().map_or(0, |root| root.replies))
            }
            _ => Ok(0),
        }
    }

    /// [`Workspace::list_messages`], as the records that the messages are told from, and whether there are more.
    ///
    /// # Errors
    ///
    /// The same.
    pub async fn read_messages(
        &self,
        caller: &Caller,
        params: ListMessages,
    ) -> Result<(Vec<Record>, bool), ErrorBody> {
        let limit = page_limit(params.limit, DEFAULT_MESSAGES)?;
        let history = self.history_of(caller, &params).await?;
        let (from, direction) = match (params.before, params.after) {
            (Some(_), Some(_)) => {
                return Err(ErrorBody::field(
                    ErrorCode::InvalidField,
                    "before",
                    "either before or after, not both",
                ));
            }
            (None, Some(after)) => (
                Sequence::new(after.min(Sequence::MAX.get())).max(history.since),
                Direction::Forward,
            ),
            (before, None) => {
                let before = before.map_or(Sequence::MAX, |before| {
                    Sequence::new(before.min(Sequence::MAX.get()))
                });
                (before, Direction::Backward)
            }
        };
        let skip = params.offset.unwrap_or(0);
        self.collect_messages(caller, &history, from, direction, skip, limit)
            .await
            .map_err(|error| unreadable(&error))
    }

    /// One message that the caller may read.
    ///
    /// # Errors
    ///
    /// `message_not_found`, `forbidden`.
    pub async fn get_message(&self, caller: &Caller, params: GetMessage) -> Result<Message, ErrorBody> {
        let record = self.readable_message(caller, &params.message_id).await?;
        if !record.is_message() || record.body.is_none() {
            return Err(no_message(&params.message_id));
        }
        let told = self.tell_messages(vec![record]).await?.0.pop();
        told.ok_or_else(|| no_message(&params.message_id))
    }

    /// Replaces the content of a message of the caller.
    ///
    /// # Errors
    ///
    /// `invalid_field`, `message_not_found`, `forbidden`, `channel_archived`.
    pub async fn edit_message(&self, caller: &Caller, params: EditMessage) -> Result<Receipt, ErrorBody> {
        let content = message_content(&params.content)?;
        let message_id = params.message_id;
        self.wish_for(caller, Wish::EditMessage { message_id, content })
            .await
    }

    /// Deletes a message. Its content is erased from the log moments later, also if the server is killed meanwhile.
    ///
    /// # Errors
    ///
    /// `message_not_found`, `forbidden`.
    pub async fn delete_message(&self, caller: &Caller, params: DeleteMessage) -> Result<Receipt, ErrorBody> {
        let message_id = params.message_id;
        self.wish_for(caller, Wish::DeleteMessage { message_id }).await
    }

    /// Reacts to a message, or takes the reaction back.
    ///
    /// # Errors
    ///
    /// `invalid_field`, `message_not_found`, `forbidden`, `channel_archived`.
    pub async fn react(&self, caller: &Caller, params: React) -> Result<Receipt, ErrorBody> {
        let React {
            message_id,
            reaction,
            action,
        } = params;
        let wish = Wish::React {
            message_id,
            reaction,
            action,
        };
        self.wish_for(caller, wish).await
    }

    /// The conversations of the caller, the one with the newest message first.
    ///
    /// # Errors
    ///
    /// `invalid_field`.
    pub async fn list_conversations(
        &self,
        caller: &Caller,
        params: ListConversations,
    ) -> Result<Conversations, ErrorBody> {
        let limit = page_limit(params.limit, DEFAULT_MESSAGES)?;
        let before = params.before.map_or(Sequence::MAX, |before| {
            Sequence::new(before.min(Sequence::MAX.get()))
        });
        let others = self
            .others(&caller.agent_id, before, limit)
            .await
            .map_err(|error| unreadable(&error))?;
        let mut has_more = limit < others.len();
        let mut conversations = Vec::with_capacity(limit.min(others.len()));
        let mut room = Room::default();
        for other in others.into_iter().take(limit) {
            let history = History {
                stream: Stream::Conversation(caller.agent_id.clone(), other.clone()),
                since: Sequence::ZERO,
            };
            let read = async {
                let last = self.collect_messages(caller, &history, Sequence::MAX, Direction::Backward, 0, 1);
                Ok((last.await?.0, self.unread_of(&caller.agent_id, &other).await?))
            };
            let (last, unread) = read.await.map_err(|error: StoreError| unreadable(&error))?;
            let last_message = self.tell_messages(last).await?.0.pop();
            if !room.take(last_message.as_ref().map_or(0, bytes_of)) {
                has_more = true;
                break;
            }
            conversations.push(Conversation {
                agent_id: other.to_string(),
                unread,
                last_message,
            });
        }
        Ok(Conversations {
            conversations,
            has_more,
        })
    }

    /// How many messages the caller and another agent sent each other.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn count_conversation(&self, caller: &Caller, other: &AgentId) -> Result<u64, ErrorBody> {
        let inner = self.inner();
        let head = self.head();
        inner.indexed_or_stalled(head).await;
        let stream = Stream::Conversation(caller.agent_id.clone(), other.clone());
        let counted = inner.view.count(&[stream], Sequence::ZERO, head).await;
        counted.map_err(|error| unreadable(&error))
    }

    pub(super) async fn history_of(
        &self,
        caller: &Caller,
        params: &ListMessages,
    ) -> Result<History, ErrorBody> {
        let snapshot = self.snapshot();
        match (&params.channel, &params.agent_id, &params.thread_id) {
            (Some(channel), None, None) => {
                let name = channel_name("channel", channel)?;
                caller.rights().require(READ_CHANNELS)?;
                let channel = snapshot
                    .state
                    .channels
                    .get(&name)
                    .ok_or_else(|| no_channel(&name))?;
                if !may_read_history(&snapshot.state, &caller.agent_id, &name) {
                    let message = format!("join channel {name} first");
                    return Err(ErrorBody::field(ErrorCode::NotAMember, "channel", message));
                }
                Ok(History {
                    stream: Stream::Channel(name),
                    since: channel.created_at,
                })
            }
            (None, Some(agent), None) => {
                let agent = agent_id("agent_id", agent)?;
                if !snapshot.state.agents.contains_key(&agent) {
                    let message = format!("no agent {agent} was ever here");
                    return Err(ErrorBody::field(ErrorCode::AgentNotFound, "agent_id", message));
                }
                Ok(History {
                    stream: Stream::Conversation(caller.agent_id.clone(), agent),
                    since: Sequence::ZERO,
                })
            }
            (None, None, Some(root)) => {
                let record = self.readable_message(caller, root).await;
                let record = record.map_err(|error| ErrorBody {
                    field: error.field.map(|_| "thread_id".to_owned()),
                    ..error
                })?;
                Ok(History {
                    stream: Stream::Thread(root.clone()),
                    since: record.sequence,
                })
            }
            _ => Err(ErrorBody::field(
                ErrorCode::InvalidField,
                "channel",
                "name either a channel, an agent_id or a thread_id",
            )),
        }
    }

    /// The record of a message or shared file that the caller may read; a deleted one has no body.
    ///
    /// # Errors
    ///
    /// `message_not_found`.
    pub async fn readable_message(&self, caller: &Caller, id: &EventId) -> Result<Record, ErrorBody> {
        let found = self
            .inner()
            .find_event(id)
            .await
            .map_err(|error| unreadable(&error))?;
        let snapshot = self.snapshot();
        found
            .filter(|record| may_read_message(&snapshot.state, caller, record))
            .ok_or_else(|| no_message(id))
    }

    /// Messages of a history that the caller may read and that are not erased, and whether there are more.
    async fn collect_messages(
        &self,
        caller: &Caller,
        history: &History,
        mut from: Sequence,
        direction: Direction,
        mut skip: u64,
        limit: usize,
    ) -> Result<(Vec<Record>, bool), StoreError> {
        let mut found: Vec<Record> = Vec::new();
        let mut room = Room::default();
        let wanted = usize::try_from(skip)
            .unwrap_or(usize::MAX)
            .saturating_add(limit + 1);
        let chunk = wanted.clamp(SMALLEST_CHUNK, HISTORY_CHUNK);
        // What is before a horizon is gone, also in the moments in which it is still listed.
        let snapshot = self.snapshot();
        let horizons = &snapshot.state.horizons;
        loop {
            let (records, next) = self
                .history_chunk(&history.stream, from, direction, chunk)
                .await?;
            for record in records {
                let readable = record.is_message()
                    && record.body.is_some()
                    && history.since.max(horizons.of(&record.header.destination)) < record.sequence
                    && is_visible(&caller.agent_id, &record.header);
                if !readable {
                    continue;
                }
                if 0 < skip {
                    skip -= 1;
                } else if found.len() == limit || !room.take(commit::bytes_of(&record)) {
                    return Ok((found, true));
                } else {
                    found.push(record);
                }
            }
            match next {
                Some(next) if history.since < next => from = next,
                _ => return Ok((found, false)),
            }
        }
    }

    /// The next records of a stream in one direction, from memory and the index, and where to go on.
    async fn history_chunk(
        &self,
        stream: &Stream,
        from: Sequence,
        direction: Direction,
        chunk: usize,
    ) -> Result<(Vec<Record>, Option<Sequence>), StoreError> {
        let inner = self.inner();
        // What the index may lack is in memory: everything after the floor. One look gives both, so that what moves
        // to the index meanwhile is in the one or in the other.
        let bounds = match direction {
            Direction::Backward => Bounds {
                after: Sequence::ZERO,
                before: from,
            },
            Direction::Forward => Bounds {
                after: from,
                before: Sequence::MAX,
            },
        };
        let (floor, newest) = inner.recent.of_stream(stream, bounds);
        let newest = newest.into_iter().map(|commit| commit.record.clone());
        match direction {
            Direction::Backward if floor.next() < from => {
                let newer = newest.filter(|record| floor < record.sequence).rev();
                return Ok((newer.collect(), Some(floor.next())));
            }
            Direction::Forward if floor <= from => return Ok((newest.collect(), None)),
            _ => {}
        }
        let bounds = Bounds {
            before: bounds.before.min(floor.next()),
            ..bounds
        };
        let sequences = inner
            .view
            .page(stream.clone(), bounds, direction, 0, chunk)
            .await?;
        let next = match (sequences.len() == chunk, direction) {
            (true, _) => sequences.last().copied(),
            (false, Direction::Forward) => Some(floor),
            (false, Direction::Backward) => None,
        };
        let (records, stopped) = inner.read_some(sequences, direction, PAGE_BYTES).await?;
        Ok((records, stopped.or(next)))
    }

    /// Messages as they are now: edited, with their reactions and the number of replies. Deleted ones are left out, and
    /// so is what no answer has room for.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn tell_messages(&self, records: Vec<Record>) -> Result<(Vec<Message>, Told), ErrorBody> {
        let told = async {
            let inner = self.inner();
            let mut messages = Vec::with_capacity(records.len());
            let mut room = Room::default();
            for records in records.chunks(HISTORY_CHUNK) {
                let ids = records.iter().map(|record| record.header.event_id.clone());
                let annotations = inner.annotations(ids.collect()).await?;
                for (record, annotations) in records.iter().zip(annotations) {
                    if annotations.deleted {
                        continue;
                    }
                    let message = inner.tell_message(record, annotations).await?;
                    if !room.take(bytes_of(&message)) {
                        return Ok((messages, Told::Some));
                    }
                    messages.push(message);
                }
            }
            Ok((messages, Told::All))
        };
        told.await.map_err(|error: StoreError| unreadable(&error))
    }

    /// The agents that an agent has messages with, the newest first; one more than the limit where there are more.
    async fn others(
        &self,
        agent: &AgentId,
        before: Sequence,
        limit: usize,
    ) -> Result<Vec<AgentId>, StoreError> {
        let inner = self.inner();
        // Memory first: what moves to the view meanwhile is in both.
        let newer = inner.recent.select(|kept| match &kept.streams[..] {
            streams if !kept.commit.record.is_message() || streams.is_empty() => None,
            streams => streams.iter().find_map(|stream| match stream {
                Stream::Conversation(one, other) if one == agent => {
                    Some((other.clone(), kept.commit.sequence()))
                }
                Stream::Conversation(one, other) if other == agent => {
                    Some((one.clone(), kept.commit.sequence()))
                }
                _ => None,
            }),
        });
        let mut newest: HashMap<AgentId, Sequence> = newer.into_iter().collect();
        let wanted = limit + 1 + newest.len();
        for (other, sequence) in inner.view.conversations(agent.clone(), before, wanted).await? {
            newest.entry(other).or_insert(sequence);
        }
        let mut others: Vec<(AgentId, Sequence)> = newest
            .into_iter()
            .filter(|(_, sequence)| *sequence < before)
            .collect();
        others.sort_unstable_by_key(|(_, sequence)| std::cmp::Reverse(*sequence));
        others.truncate(limit + 1);
        Ok(others.into_iter().map(|(other, _)| other).collect())
    }

    /// How many messages of another agent an agent has not handled yet.
    async fn unread_of(&self, agent: &AgentId, other: &AgentId) -> Result<u64, StoreError> {
        let inner = self.inner();
        let cursor = inner.cursor(agent).unwrap_or(Sequence::ZERO);
        let applied = inner.view.applied();
        let newer = inner.recent.select(|kept| {
            let header = kept.commit.header();
            let unread = applied.max(cursor) < kept.commit.sequence()
                && kept.commit.record.is_message()
                && header.source.agent() == Some(other)
                && header.destination == Address::Agent(agent.clone());
            unread.then_some(())
        });
        let streams = [
            Stream::Conversation(agent.clone(), other.clone()),
            Stream::Inbox(agent.clone()),
        ];
        let older = inner
            .view
            .count_in_both(streams, cursor, applied, MOST_UNREAD)
            .await?;
        Ok((older + newer.len() as u64).min(MOST_UNREAD as u64))
    }
}

impl Inner {
    /// What was said of messages up to now, in the order of the ids.
    async fn annotations(&self, ids: Vec<EventId>) -> Result<Vec<Annotations>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let positions: HashMap<&EventId, usize> = ids.iter().zip(0..).collect();
        loop {
            let (through, mut annotations) = self.view.annotations(ids.clone()).await?;
            let newer = self.recent.select_after(through, |kept| {
                let header = kept.commit.header();
                let replies = match &header.act {
                    Act::Message { .. } => Some(1),
                    Act::MessageDeleted { .. } => Some(-1),
                    _ => None,
                };
                let news = (note(header), header.thread.clone().zip(replies));
                (news != (None, None)).then(|| (kept.commit.sequence(), news))
            });
            // What memory let go of is in the view by now: look again.
            let Some(newer) = newer else { continue };
            for (at, (note, replies)) in newer {
                if let Some((root, more)) = replies
                    && let Some(index) = positions.get(&root)
                {
                    let replies = &mut annotations[*index].replies;
                    *replies = replies.saturating_add_signed(more);
                }
                if let Some(note) = note
                    && let Some(index) = positions.get(about(&note))
                {
                    annotate(&mut annotations[*index], at, note);
                }
            }
            return Ok(annotations);
        }
    }

    async fn tell_message(&self, record: &Record, annotations: Annotations) -> Result<Message, StoreError> {
        let mut message = Message::of(record);
        message.reply_count = annotations.replies;
        message.reactions = reactions(annotations.reactions);
        if let Some(edited) = annotations.edited
            && let Some(edit) = self.find_record(edited).await?
        {
            message.content = edit.content();
            message.edited_at = Some(seconds(edit.header.time_ms));
        }
        Ok(message)
    }

    /// The record of an event, from memory or by the view; one that was deleted has no body.
    pub(crate) async fn find_event(&self, id: &EventId) -> Result<Option<Record>, StoreError> {
        // Memory first: what moves to the view meanwhile is in both.
        let mut deleted = false;
        let here = self.recent.select(|kept| match note(kept.commit.header()) {
            Some(Note::Deleted(event)) if event == *id => Some(None),
            _ if kept.commit.header().event_id == *id => Some(Some(kept.commit.record.clone())),
            _ => None,
        });
        let mut record = None;
        for found in here {
            match found {
                Some(found) => record = Some(found),
                None => deleted = true,
            }
        }
        if record.is_none()
            && let Some(found) = self.view.find(vec![id.clone()]).await?.pop()
        {
            deleted |= found.deleted;
            record = self.find_record(found.sequence).await?;
        }
        if deleted && let Some(record) = &mut record {
            record.body = None;
        }
        Ok(record)
    }
}

/// The event that a note is about.
fn about(note: &Note) -> &EventId {
    match note {
        Note::Edited(message) | Note::Deleted(message) => message,
        Note::Reacted(key, _) => &key.message,
    }
}

fn annotate(annotations: &mut Annotations, at: Sequence, note: Note) {
    match note {
        Note::Edited(_) => annotations.edited = Some(at),
        Note::Deleted(_) => annotations.deleted = true,
        Note::Reacted(key, Reacted::Added) => annotations.reactions.push((at, key.reaction, key.agent)),
        Note::Reacted(key, Reacted::Removed) => annotations
            .reactions
            .retain(|(_, reaction, agent)| *reaction != key.reaction || *agent != key.agent),
    }
}

/// Reactions in the order of the first of each.
fn reactions(all: Vec<(Sequence, String, AgentId)>) -> Vec<Reaction> {
    let mut counted: Vec<Reaction> = Vec::new();
    for (_, reaction, agent) in all {
        let index = counted.iter().position(|known| known.reaction == reaction);
        let index = index.unwrap_or_else(|| {
            counted.push(Reaction {
                reaction,
                count: 0,
                agents: Vec::new(),
            });
            counted.len() - 1
        });
        let entry = &mut counted[index];
        entry.count += 1;
        if entry.agents.len() < NAMED_REACTORS {
            entry.agents.push(agent.to_string());
        }
    }
    counted
}

fn no_message(id: &EventId) -> ErrorBody {
    let message = format!("there is no message {id} for this agent");
    ErrorBody::field(ErrorCode::MessageNotFound, "message_id", message)
}
