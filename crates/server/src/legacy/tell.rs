//! What happened in the workspace, in the words of this interface.

use std::sync::Arc;

use openagents_protocol::record::{Act, Record};
use openagents_protocol::{Address, EventId, Pattern, Source, is_given_out};
use openagents_workspace::Caller;
use serde_json::{Map, Value, json};

use super::event::{Aside, Event, entries};
use super::system::KICKED_BY;
use super::thread::{files, levels, reactions};
use super::{discovery, plain};
use crate::host::Host;

pub(super) const POSTED: &str = "thread.channel_message.notification";
pub(super) const REPLIED: &str = "thread.reply.notification";
pub(super) const SENT: &str = "thread.direct_message.notification";
pub(super) const REACTED: &str = "thread.reaction.notification";
pub(super) const UPLOADED: &str = "thread.file.upload_response";

/// The names under which this interface tells what the workspace has other names for.
pub(super) const THEIR_NAMES: [&str; 5] = [POSTED, REPLIED, SENT, REACTED, UPLOADED];

/// What the workspace calls that.
pub(super) fn native_patterns(their: &str) -> Vec<Pattern> {
    let names: &[&str] = match their {
        POSTED => &["channel.message.posted"],
        REPLIED => &["channel.message.replied", "direct.message.received"],
        SENT => &["direct.message.received"],
        REACTED => &["workspace.reaction.added", "workspace.reaction.removed"],
        _ => &["workspace.file.uploaded"],
    };
    let parsed = names.iter().map(|name| name.parse());
    parsed.filter_map(Result::ok).collect()
}

/// Tells a record to an agent; none where this interface has no words for it, or the agent wants it not.
///
/// Files are told with their content as long as there is room for it.
pub(super) async fn tell(
    host: &Arc<Host>,
    reader: &Caller,
    record: &Record,
    room: &mut u64,
) -> Option<Event> {
    let told = translate(host, reader, record, room).await;
    let workspace = host.workspace();
    let subscriptions = workspace.subscriptions(&reader.agent_id);
    let mut event = match told {
        Some(told) if subscriptions.is_empty() || wants(&subscriptions, &told.event_name) => told,
        // Who asks for it by the name that the workspace has for it gets it as the workspace tells it.
        Some(_) | None if wants(&subscriptions, record.header.name.as_str()) => {
            Event::of(record, record.header.name.as_str(), entries(&record.payload()))
        }
        _ => return None,
    };
    // What the server says about an agent is not from it.
    if let Some(agent_id) = record
        .header
        .source
        .agent()
        .filter(|id| id.as_str() == event.source_id)
    {
        event.source_agent_group = Some(workspace.group_name(agent_id));
    }
    Some(event)
}

fn wants(subscriptions: &[(EventId, Vec<Pattern>)], name: &str) -> bool {
    let mut patterns = subscriptions.iter().flat_map(|(_, patterns)| patterns);
    patterns.any(|pattern| pattern.matches(name))
}

async fn translate(host: &Arc<Host>, reader: &Caller, record: &Record, room: &mut u64) -> Option<Event> {
    let mods = &host.desk.settings.mods;
    match &record.header.act {
        Act::Message { .. } => Some(message(host, reader, record).await),
        Act::ReactionAdded { message_id, reaction } => {
            Some(reactions::told(host, reader, record, message_id, reaction, "added").await)
        }
        Act::ReactionRemoved { message_id, reaction } => {
            Some(reactions::told(host, reader, record, message_id, reaction, "removed").await)
        }
        Act::FileShared { .. } => shared_file(host, reader, record, room).await,
        // What the workspace says of itself has no words here.
        Act::Event {} if is_given_out(record.header.name.as_str()) => None,
        Act::Event {} => Some(as_it_is(record)),
        Act::AgentLeft { reason } if reason.starts_with(KICKED_BY) => Some(kicked(host, record, reason)),
        Act::AgentJoined { metadata, .. } if mods.discovery && mods.broadcast_connection => {
            let capabilities = metadata.get("capabilities").cloned();
            let payload = json!({
                "agent_id": record.header.source.as_str(),
                "agent_group": group(host, &record.header.source),
                "capabilities": capabilities.unwrap_or_else(|| json!({})),
                "connected_at": plain::now(host),
            });
            Some(discovered(
                record,
                "discovery.notification.agent_connected",
                &payload,
            ))
        }
        Act::AgentLeft { .. } if mods.discovery && mods.broadcast_disconnection => {
            let payload = json!({"agent_id": record.header.source.as_str(), "reason": "disconnected"});
            Some(discovered(
                record,
                "discovery.notification.agent_disconnected",
                &payload,
            ))
        }
        _ => None,
    }
}

/// An event that agents send each other, as it was written.
fn as_it_is(record: &Record) -> Event {
    let aside = Aside::of(record);
    let mut event = Event::of(record, record.header.name.as_str(), entries(&record.payload()));
    if let Some(to) = aside.to {
        event.destination_id = Some(to);
    }
    if let Some(source) = aside.source {
        event.source_id = source;
    }
    event
}

async fn message(host: &Arc<Host>, reader: &Caller, record: &Record) -> Event {
    let aside = Aside::of(record);
    let mut payload = written_payload(record, &aside);
    let header = &record.header;
    let id = header.event_id.as_str();
    let is_channel = matches!(header.destination, Address::Channel(_));
    let parent = record.reply_to().map(ToString::to_string);
    let about = parent
        .map(|parent| {
            let author = header.answers.first().map(ToString::to_string);
            (parent, author.unwrap_or_default())
        })
        .or_else(|| aside.about.clone());
    let name = match &about {
        Some((parent, author)) => {
            if !aside.detached && !payload.contains_key("thread_level") {
                let level = levels::level(host, reader, record).await;
                payload.insert("thread_level".to_owned(), level.into());
            }
            payload.insert("original_message_id".to_owned(), parent.as_str().into());
            payload.insert("original_sender".to_owned(), author.as_str().into());
            payload.insert("reply_event_id".to_owned(), id.into());
            REPLIED
        }
        None if is_channel => {
            payload.insert("original_event_id".to_owned(), id.into());
            POSTED
        }
        None => SENT,
    };
    let more = [
        ("message_id", Value::from(id)),
        ("sender_id", header.source.as_str().into()),
        ("timestamp", (header.time_ms / 1000).into()),
    ];
    for (key, value) in more {
        payload.entry(key).or_insert(value);
    }
    let mut event = Event::of(record, name, payload);
    // In a channel each reader is told by itself; to an agent as its sender wrote it.
    event.destination_id = Some(match (is_channel, aside.to) {
        (false, Some(to)) if about.is_none() => to,
        _ => reader.agent_id.to_string(),
    });
    event
}

/// The payload of a message as agents of this interface write it.
pub(super) fn written_payload(record: &Record, aside: &Aside) -> Map<String, Value> {
    let mut payload = match (&aside.payload, &record.body) {
        (Some(payload), _) => payload.clone(),
        (None, Some(body)) => entries(&body.payload),
        (None, None) => Map::new(),
    };
    let header = &record.header;
    let mut put = |key: &str, value: &str| {
        payload.entry(key).or_insert_with(|| value.into());
    };
    match &header.destination {
        Address::Channel(channel) => {
            put("channel", channel.as_str());
            if let Some(parent) = record.reply_to() {
                put("reply_to_id", parent.as_str());
            }
        }
        Address::Agent(agent) => {
            put("target_agent_id", agent.as_str());
            if let Some(parent) = record.reply_to() {
                put("reply_to_id", parent.as_str());
            }
        }
        _ => {}
    }
    if aside.signed {
        put("sender_id", header.source.as_str());
    }
    // Programs of this interface do nothing with a message of no type; what came over it has the one it came with.
    if aside.name.is_none() {
        let kind = match (&header.destination, record.reply_to()) {
            (_, Some(_)) => "reply_message",
            (Address::Agent(_), None) => "direct_message",
            _ => "channel_message",
        };
        put("message_type", kind);
    }
    payload
}

async fn shared_file(host: &Arc<Host>, reader: &Caller, record: &Record, room: &mut u64) -> Option<Event> {
    let file = record.shared_file()?;
    // What is there for everybody is found by who looks for it.
    if record.header.destination == Address::Everyone {
        return None;
    }
    let content = files::content_to_tell(host, reader, &record.header.event_id, file.size, room).await;
    let mut payload = json!({
        "file": {
            "file_id": record.header.event_id.as_str(),
            "filename": file.filename,
            "file_content": content.unwrap_or_default(),
            "mime_type": file.mime_type,
            "file_size": file.size,
        },
        "file_id": record.header.event_id.as_str(),
        "filename": file.filename,
        "sender_id": record.header.source.as_str(),
    });
    if let Address::Channel(channel) = &record.header.destination {
        payload["channel"] = channel.as_str().into();
    }
    let Value::Object(payload) = payload else {
        return None;
    };
    let mut event = Event::of(record, UPLOADED, payload);
    event.destination_id = Some(reader.agent_id.to_string());
    Some(event)
}

fn kicked(host: &Host, record: &Record, reason: &str) -> Event {
    let target = record.header.source.as_str();
    let by = reason.trim_start_matches(KICKED_BY);
    let mut payload = Map::new();
    payload.insert("target_agent_id".to_owned(), target.into());
    payload.insert("kicked_by".to_owned(), by.into());
    payload.insert(
        "target_group".to_owned(),
        group(host, &record.header.source).into(),
    );
    payload.insert("reason".to_owned(), "Kicked by admin".into());
    payload.insert("timestamp".to_owned(), (record.header.time_ms / 1000).into());
    let mut event = Event::of(record, "system.agent_kicked", payload);
    "system".clone_into(&mut event.source_id);
    event.text_representation = Some(format!("Agent {target} was kicked by admin {by}"));
    event
}

fn discovered(record: &Record, name: &str, payload: &Value) -> Event {
    let payload = payload.as_object().cloned().unwrap_or_default();
    let mut event = Event::of(record, name, payload);
    event.source_id = format!("mod:{}", discovery::MOD);
    event.destination_id = Some("broadcast".to_owned());
    event
}

fn group(host: &Host, source: &Source) -> String {
    let workspace = host.workspace();
    match source.agent() {
        Some(agent_id) => workspace.group_name(agent_id),
        None => workspace.settings().default_group.clone(),
    }
}
