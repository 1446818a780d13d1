//! Reading what was said.

use std::sync::Arc;

use openagents_protocol::call::{ListConversations, ListMessages, Message};
use openagents_protocol::record::Record;
use openagents_protocol::{Address, AgentId, ChannelName, ErrorBody, ErrorCode};
use openagents_workspace::{Caller, Told};
use serde_json::{Map, Value, json};

use super::reactions::counted;
use super::tree::Threads;
use crate::host::Host;
use crate::legacy::answer::Answer;
use crate::legacy::event::{Aside, Event};
use crate::legacy::request::{Request, integer};
use crate::legacy::tell::written_payload;

/// Messages of a page, where nothing is said.
const DEFAULT_LIMIT: u32 = 200;

/// Most messages of a page.
const MAX_LIMIT: u32 = 500;

/// Longest text that a list of conversations shows, in characters.
const SHOWN: usize = 200;

/// Most conversations in a list.
const MAX_CONVERSATIONS: u32 = 1000;

/// How a message of a page is told.
type Telling = fn(&Host, &Record, &Message, Map<String, Value>) -> Map<String, Value>;

/// Which messages are wanted.
struct Page {
    limit: u32,
    offset: u32,
    threads: bool,
}

impl Page {
    fn of(request: &Request) -> Result<Self, &'static str> {
        let number = |key: &str| match request.payload.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value @ Value::Number(_)) => Ok(integer(value)),
            Some(_) => Err(()),
        };
        let limit = match number("limit") {
            Ok(limit) => limit.unwrap_or_else(|| DEFAULT_LIMIT.into()),
            Err(()) => 0,
        };
        let limit = u32::try_from(limit)
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit));
        let offset = match number("offset") {
            Ok(offset) => offset.unwrap_or_default(),
            Err(()) => -1,
        };
        Ok(Self {
            limit: limit.ok_or("limit must be between 1 and 500")?,
            offset: u32::try_from(offset).map_err(|_| "offset must be >= 0")?,
            threads: request.payload.get("include_threads") != Some(&Value::Bool(false)),
        })
    }
}

/// The messages of a channel, newest first.
pub(super) async fn of_channel(host: &Arc<Host>, caller: &Caller, request: &Request) -> Answer {
    let page = match Page::of(request) {
        Ok(page) => page,
        Err(reason) => return Answer::invalid(request.event_name.as_str(), reason),
    };
    let request_id = request.request_id();
    let Some(written) = request.text("channel") else {
        return Answer::failed("Channel name is required", request_id);
    };
    let workspace = host.workspace();
    let channel = ChannelName::from_written(written).ok();
    let Some(channel) = channel.filter(|channel| workspace.has_channel(channel)) else {
        return Answer::failed(&format!("Channel '{written}' not found"), request_id);
    };
    let params = ListMessages {
        channel: Some(channel.to_string()),
        limit: Some(page.limit),
        offset: Some(page.offset.into()),
        ..ListMessages::default()
    };
    let read = async {
        let (records, has_more) = workspace.read_messages(caller, params).await?;
        make_room(request, &records)?;
        let tally = workspace.tally(&channel).await?;
        let (told, cut) = tell(host, caller, &records, page.threads, channel_message).await?;
        Ok((told, has_more || cut, tally.posts + tally.replies))
    };
    let (messages, has_more, total) = match read.await {
        Ok(read) => read,
        Err(error) => return refused(error, request_id),
    };
    let message = match request.event_name.as_str() {
        "thread.messages.retrieve" => "Message retrieval completed successfully",
        _ => "Channel message retrieval completed successfully",
    };
    Answer::done(
        message,
        json!({
            "success": true,
            "channel": written,
            "messages": messages,
            "total_count": total,
            "offset": page.offset,
            "limit": page.limit,
            "has_more": has_more,
            "request_id": request_id,
        }),
    )
}

/// The messages that the agent and another one sent each other, oldest first.
pub(super) async fn of_conversation(host: &Arc<Host>, caller: &Caller, request: &Request) -> Answer {
    let page = match Page::of(request) {
        Ok(page) => page,
        Err(reason) => return Answer::invalid(request.event_name.as_str(), reason),
    };
    let request_id = request.request_id();
    let Some(written) = request.text("target_agent_id") else {
        return Answer::failed("Target agent ID is required", request_id);
    };
    let workspace = host.workspace();
    let other = match AgentId::from_written(written) {
        Ok(other) => other,
        Err(error) => return Answer::failed(&error.to_string(), request_id),
    };
    let params = ListMessages {
        agent_id: Some(other.to_string()),
        limit: Some(page.limit),
        offset: Some(page.offset.into()),
        after: Some(0),
        ..ListMessages::default()
    };
    let read = async {
        if !workspace.is_known(&other) {
            return Ok((Vec::new(), false, 0));
        }
        let (records, has_more) = workspace.read_messages(caller, params).await?;
        make_room(request, &records)?;
        let total = workspace.count_conversation(caller, &other).await?;
        let (told, cut) = tell(host, caller, &records, page.threads, direct_message).await?;
        Ok((told, has_more || cut, total))
    };
    let (messages, has_more, total) = match read.await {
        Ok(read) => read,
        Err(error) => return refused(error, request_id),
    };
    Answer::done(
        "Direct message retrieval completed successfully",
        json!({
            "success": true,
            "target_agent_id": written,
            "messages": messages,
            "total_count": total,
            "offset": page.offset,
            "limit": page.limit,
            "has_more": has_more,
            "request_id": request_id,
        }),
    )
}

/// With whom the agent has messages, the newest first.
pub(super) async fn conversations(host: &Arc<Host>, caller: &Caller, request: &Request) -> Answer {
    let workspace = host.workspace();
    let listed = match all_conversations(host, caller).await {
        Ok(listed) => listed,
        Err(error) => return Answer::refused(format!("Error listing conversations: {}", error.message)),
    };
    let mut told = Vec::with_capacity(listed.len());
    for Shown {
        agent_id: other,
        last,
    } in listed
    {
        let count = match workspace.count_conversation(caller, &other).await {
            Ok(count) => count,
            Err(error) => return refused(error, request.request_id()),
        };
        let mut agents = [caller.agent_id.as_str(), other.as_str()];
        agents.sort_unstable();
        told.push(json!({"agents": agents, "last_message": last, "message_count": count}));
    }
    Answer::done(
        "Conversations listed successfully",
        json!({"conversations": told}),
    )
}

/// What a list of conversations shows of one.
struct Shown {
    agent_id: AgentId,
    last: Option<Value>,
}

/// The newest conversations, from as many pages as it takes.
async fn all_conversations(host: &Arc<Host>, caller: &Caller) -> Result<Vec<Shown>, ErrorBody> {
    let mut shown = Vec::new();
    let mut before = None;
    loop {
        let left = MAX_CONVERSATIONS - u32::try_from(shown.len()).unwrap_or(MAX_CONVERSATIONS);
        if left == 0 {
            return Ok(shown);
        }
        let params = ListConversations {
            limit: Some(left),
            before,
        };
        let page = host.workspace().list_conversations(caller, params).await?;
        let last = page
            .conversations
            .iter()
            .filter_map(|it| it.last_message.as_ref());
        before = last.map(|last| last.sequence.get()).min();
        for conversation in page.conversations {
            let Ok(agent_id) = conversation.agent_id.parse() else {
                continue;
            };
            let last = conversation.last_message.map(|last| {
                let text: String = last.text().unwrap_or_default().chars().take(SHOWN).collect();
                json!({"content": text, "sender": last.sender_id, "timestamp": whole(last.timestamp)})
            });
            shown.push(Shown { agent_id, last });
        }
        if !page.has_more || before.is_none() {
            return Ok(shown);
        }
    }
}

/// Makes sure that there is room for telling these.
fn make_room(request: &Request, records: &[Record]) -> Result<(), ErrorBody> {
    let bodies = records.iter().filter_map(|record| record.body.as_ref());
    let bytes: usize = bodies.map(|body| body.payload.as_str().len()).sum();
    let room = request.make_room(2 * bytes as u64);
    room.map_err(|crowded| ErrorBody::new(ErrorCode::LimitReached, crowded.to_string()))
}

fn refused(error: ErrorBody, request_id: &str) -> Answer {
    match error.code {
        ErrorCode::NotAMember | ErrorCode::AgentNotFound => Answer::failed(&error.message, request_id),
        _ => error.into(),
    }
}

/// Tells the messages of a page, and whether some found no room in it.
async fn tell(
    host: &Arc<Host>,
    caller: &Caller,
    records: &[Record],
    with_threads: bool,
    one: Telling,
) -> Result<(Vec<Value>, bool), ErrorBody> {
    let mut told = Vec::with_capacity(records.len());
    let (messages, whole) = host.workspace().tell_messages(records.to_vec()).await?;
    // What was deleted meanwhile, or has no room, is left out.
    let records: Vec<&Record> = records
        .iter()
        .filter(|record| {
            messages
                .iter()
                .any(|message| record.header.event_id == *message.message_id.as_str())
        })
        .collect();
    let pages: Vec<(&Record, u64)> = records
        .iter()
        .zip(&messages)
        .map(|(record, message)| (*record, message.reply_count))
        .collect();
    let (threads, covered) = Threads::of(host, caller, &pages).await?;
    for (record, message) in records.iter().zip(&messages).take(covered) {
        let payload = written_payload(record, &Aside::of(record));
        let mut entry = one(host, record, message, payload);
        let id = &record.header.event_id;
        let info = if with_threads {
            threads.info(host, id)
        } else {
            Value::Null
        };
        if entry.contains_key("thread_level")
            && let Some(level) = threads.level(id)
        {
            entry.insert("thread_level".to_owned(), level.max(1).into());
        }
        entry.insert("thread_info".to_owned(), info);
        entry.insert("reactions".to_owned(), counted(&message.reactions));
        told.push(Value::Object(entry));
    }
    Ok((told, whole == Told::Some || covered < records.len()))
}

fn channel_message(
    _: &Host,
    record: &Record,
    message: &Message,
    mut payload: Map<String, Value>,
) -> Map<String, Value> {
    let header = &record.header;
    let text = message.text().unwrap_or_default();
    let mut content = json!({"text": text});
    if let Some(files) = message
        .content
        .get("files")
        .filter(|files| files.as_array().is_some_and(|files| !files.is_empty()))
    {
        content["files"] = files.clone();
    }
    let mut take = |key: &str| payload.remove(key).unwrap_or(Value::Null);
    let kind = match take("message_type") {
        Value::String(kind) => kind,
        _ => "channel_message".to_owned(),
    };
    let mut entry = json!({
        "message_id": header.event_id.as_str(),
        "sender_id": header.source.as_str(),
        "timestamp": header.time_ms / 1000,
        "content": content,
        "channel": message.channel,
        "message_type": kind,
        "reply_to_id": take("reply_to_id"),
        "thread_level": 1,
        "quoted_message_id": take("quoted_message_id"),
        "quoted_text": take("quoted_text"),
    });
    for key in ["mentioned_agent_id", "attachments"] {
        let value = take(key);
        if !value.is_null() {
            entry[key] = value;
        }
    }
    if let Some(metadata) = &message.metadata {
        entry["metadata"] = metadata.value().clone();
    }
    entry.as_object().cloned().unwrap_or_default()
}

fn direct_message(
    host: &Host,
    record: &Record,
    message: &Message,
    payload: Map<String, Value>,
) -> Map<String, Value> {
    drop(payload);
    let Value::Object(mut entry) = stored_event(host, record) else {
        return Map::new();
    };
    if message.edited_at.is_some()
        && let Some(Value::Object(payload)) = entry.get_mut("payload")
    {
        payload.insert("content".to_owned(), message.content.value().clone());
    }
    entry
}

/// A message as the event that it came as.
pub(super) fn stored_event(host: &Host, record: &Record) -> Value {
    let aside = Aside::of(record);
    let reply = record.reply_to().is_some() || aside.about.is_some();
    let (name, to) = match &record.header.destination {
        _ if reply => ("thread.reply.post", None),
        Address::Agent(_) => ("thread.direct_message.send", None),
        Address::Channel(channel) => ("thread.channel_message.post", Some(format!("channel:{channel}"))),
        _ => (record.header.name.as_str(), None),
    };
    let name = aside.name.clone().unwrap_or_else(|| name.to_owned());
    let payload = written_payload(record, &aside);
    let quoted = ["quoted_message_id", "quoted_text"].map(|key| (key, payload.get(key).cloned()));
    let mut event = Event::of(record, &name, payload);
    event.destination_id = match (&record.header.destination, aside.to, to) {
        (_, Some(to), _) | (_, None, Some(to)) => Some(to),
        (Address::Agent(agent), ..) => Some(agent.to_string()),
        _ => event.destination_id,
    };
    if let Some(agent_id) = record.header.source.agent() {
        event.source_agent_group = Some(host.workspace().group_name(agent_id));
    }
    let mut stored = serde_json::to_value(event).unwrap_or_default();
    if matches!(record.header.destination, Address::Agent(_)) && !reply {
        for (key, value) in quoted {
            stored[key] = value.unwrap_or_default();
        }
    }
    stored
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the time is after 1970 and before the end of the world"
)]
fn whole(seconds: f64) -> u64 {
    seconds as u64
}
