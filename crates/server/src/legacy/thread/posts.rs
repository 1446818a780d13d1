//! Messages: posts, replies, and what agents write to each other directly.

use std::sync::Arc;

use openagents_protocol::record::Record;
use openagents_protocol::{
    Address, AgentId, ChannelName, Draft, Event, EventId, Intent, Json, is_set_by_workspace,
};
use openagents_workspace::Caller;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

use super::levels;
use super::unusable;
use crate::host::Host;
use crate::legacy::answer::Answer;
use crate::legacy::event::Aside;
use crate::legacy::plain::{accepted, now};
use crate::legacy::request::{Request, integer};

/// Longest part of a message that is quoted, in characters.
const QUOTED: usize = 100;

/// Posts to a channel, which is made if there is none.
pub(super) async fn post(host: &Arc<Host>, caller: &Caller, request: &mut Request) -> Answer {
    let checked = check(request).and_then(|()| channel_of(request));
    let channel = match checked {
        Ok(Some(channel)) => channel,
        Ok(None) => return unusable(request, "channel: it is missing"),
        Err(reason) => return unusable(request, &reason),
    };
    let payload = with_quote(host, caller, request).await;
    let event = Event::new("channel.message.posted").to(format!("channel:{channel}"));
    let message = Outgoing {
        event,
        payload,
        aside: Aside::default(),
        default_target: format!("channel:{channel}"),
    };
    match publish(host, caller, request, message).await {
        Ok(()) => said(host, request, "channel message", Some(&channel)),
        Err(answer) => answer,
    }
}

/// Replies to a message, in its channel or privately.
pub(super) async fn reply(host: &Arc<Host>, caller: &Caller, request: &mut Request) -> Answer {
    let checked = check(request)
        .and_then(|()| check_level(request))
        .and_then(|()| channel_of(request));
    let channel = match checked {
        Ok(channel) => channel,
        Err(reason) => return unusable(request, &reason),
    };
    let Some(parent_id) = request.text("reply_to_id").map(str::to_owned) else {
        return unusable(request, "reply_to_id: it is missing");
    };
    if parent_id == request.event_id.as_str() {
        return unusable(request, "reply_to_id: a message cannot reply to itself");
    }
    let parent = find(host, caller, &parent_id).await;
    let mut payload = with_quote(host, caller, request).await;
    payload.remove("thread_level");
    let message = match (channel.clone(), parent) {
        (Some(channel), Some(parent)) if parent.header.destination == Address::Channel(channel.clone()) => {
            let event = Event::new("channel.message.replied").to(format!("channel:{channel}"));
            attached(
                host,
                caller,
                event,
                payload,
                &parent,
                format!("channel:{channel}"),
            )
            .await
        }
        // Nobody knows the message that it replies to: it stands for itself.
        (Some(channel), _) => Outgoing {
            event: Event::new("channel.message.posted").to(format!("channel:{channel}")),
            payload,
            aside: Aside::default(),
            default_target: format!("channel:{channel}"),
        },
        (None, Some(parent)) => match private(host, caller, payload, &parent).await {
            Some(message) => message,
            None => return said(host, request, "reply", None),
        },
        (None, None) => return unusable(request, &format!("reply_to_id: there is no message {parent_id}")),
    };
    match publish(host, caller, request, message).await {
        Ok(()) => said(host, request, "reply", channel.as_ref()),
        Err(answer) => answer,
    }
}

/// A private reply: to the other side of a conversation, or to the author of a message in a channel.
async fn private(
    host: &Arc<Host>,
    caller: &Caller,
    payload: Map<String, Value>,
    parent: &Record,
) -> Option<Outgoing> {
    let author = parent.header.source.agent()?;
    let other = match &parent.header.destination {
        Address::Agent(addressee) if author == &caller.agent_id => addressee,
        _ => author,
    };
    let event = Event::new("direct.message.received").to(format!("agent:{other}"));
    if let Address::Agent(_) = parent.header.destination {
        return Some(attached(host, caller, event, payload, parent, other.to_string()).await);
    }
    if other == &caller.agent_id {
        return None;
    }
    Some(Outgoing {
        event,
        payload,
        aside: Aside {
            about: Some((parent.header.event_id.to_string(), author.to_string())),
            ..Aside::default()
        },
        default_target: other.to_string(),
    })
}

/// A reply in the thread of the message that it replies to, as deep as threads go here.
async fn attached(
    host: &Arc<Host>,
    caller: &Caller,
    mut event: Event,
    mut payload: Map<String, Value>,
    parent: &Record,
    default_target: String,
) -> Outgoing {
    event.reply_to_id = Some(parent.header.event_id.to_string());
    let mut aside = Aside::default();
    let level = levels::level(host, caller, parent).await;
    if level < levels::DEEPEST {
        payload.insert("thread_level".to_owned(), (level + 1).into());
    } else {
        aside.detached = true;
    }
    Outgoing {
        event,
        payload,
        aside,
        default_target,
    }
}

/// Sends a message to an agent.
pub(super) async fn send(host: &Arc<Host>, caller: &Caller, request: &mut Request) -> Answer {
    if let Err(reason) = check(request) {
        return unusable(request, &reason);
    }
    let in_payload = match request.payload.get("target_agent_id") {
        None | Some(Value::Null) => None,
        Some(Value::String(target)) => Some(target.as_str()).filter(|target| !target.is_empty()),
        Some(_) => return unusable(request, "target_agent_id: it is not a string"),
    };
    let addressed = request
        .target
        .as_deref()
        .filter(|_| request.addressed_mod().is_none());
    let Some(written) = addressed.or(in_payload) else {
        return unusable(request, "target_agent_id: it is missing");
    };
    let target = match AgentId::from_written(written) {
        Ok(target) => target,
        Err(error) => return unusable(request, &error.to_string()),
    };
    let payload = with_quote(host, caller, request).await;
    let message = Outgoing {
        event: Event::new("direct.message.received").to(format!("agent:{target}")),
        payload,
        aside: Aside::default(),
        default_target: target.to_string(),
    };
    match publish(host, caller, request, message).await {
        Ok(()) => said(host, request, "direct message", None),
        Err(answer) => answer,
    }
}

/// A message for everybody that names a channel is a post there; every other one is delivered as it is.
pub(super) async fn agent_message(
    host: &Arc<Host>,
    caller: &Caller,
    request: &mut Request,
) -> Option<Answer> {
    if request.target.as_deref() != Some("agent:broadcast") {
        return None;
    }
    request.text("channel")?;
    let channel = match check(request).and_then(|()| channel_of(request)) {
        Ok(channel) => channel?,
        Err(reason) => return Some(unusable(request, &reason)),
    };
    let message = Outgoing {
        event: Event::new("channel.message.posted").to(format!("channel:{channel}")),
        payload: std::mem::take(&mut request.payload),
        aside: Aside::default(),
        default_target: format!("channel:{channel}"),
    };
    Some(match publish(host, caller, request, message).await {
        Ok(()) => Answer::done(
            format!("Channel message processed and distributed to channel {channel}"),
            json!({"channel": channel.as_str(), "message_id": request.event_id.as_str()}),
        ),
        Err(answer) => answer,
    })
}

/// A message on its way to the workspace.
struct Outgoing {
    event: Event,
    payload: Map<String, Value>,
    aside: Aside,
    /// The destination that is told where none is remembered.
    default_target: String,
}

/// Publishes a message, and remembers how it was written.
async fn publish(
    host: &Arc<Host>,
    caller: &Caller,
    request: &mut Request,
    message: Outgoing,
) -> Result<(), Answer> {
    let Outgoing {
        mut event,
        payload,
        mut aside,
        default_target,
    } = message;
    event.event_id = request.event_id.to_string();
    event.visibility = request.visibility;
    if !request.metadata.is_empty() {
        event.metadata = Some(Value::Object(std::mem::take(&mut request.metadata)).into());
    }
    event.payload = Json::encode(&Kept(&payload)).map_err(|error| Answer::refused(error.to_string()))?;
    let mut draft = Draft::parse_from_outside(event).map_err(Answer::from)?;
    aside.name = Some(request.event_name.to_string());
    if request.target.as_deref() != Some(default_target.as_str()) {
        aside.to = request.target.take();
    }
    aside.signed = payload.get("sender_id").and_then(Value::as_str) == Some(caller.agent_id.as_str());
    if !follows(&draft.intent, caller, &payload) {
        aside.payload = Some(payload);
    }
    draft.body.aside = aside.stored();
    accepted(host.workspace().publish(caller, draft).await).map(drop)
}

/// What the workspace is given of a payload. What it replies to is said by the event, or nowhere: a message that nobody
/// knows has no replies.
struct Kept<'a>(&'a Map<String, Value>);

impl Serialize for Kept<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.0.iter().filter(|(key, _)| *key != "reply_to_id") {
            map.serialize_entry(key, value)?;
        }
        if !self.0.contains_key("content") {
            map.serialize_entry("content", &Map::new())?;
        }
        map.end()
    }
}

/// Whether a payload can be told from what the workspace keeps of it, which is everything but the keys that it sets itself.
fn follows(intent: &Intent, caller: &Caller, payload: &Map<String, Value>) -> bool {
    let destination = intent.destination();
    let (to, name) = match &destination {
        Address::Channel(channel) => ("channel", channel.as_str()),
        Address::Agent(agent) => ("target_agent_id", agent.as_str()),
        _ => return false,
    };
    let reply_to = intent.reply_to().map(EventId::as_str);
    let is = |key: &str, value: &str| payload.get(key).is_some_and(|written| written == value);
    let told = |(key, value): (&String, &Value)| match key.as_str() {
        "content" => value.is_object(),
        // A text beside the content is the sender's own.
        "text" => true,
        "channel" => to == "channel",
        "reply_to_id" => reply_to.is_some_and(|id| value == id),
        "sender_id" => value == caller.agent_id.as_str(),
        key => !is_set_by_workspace(key),
    };
    is(to, name)
        && payload.contains_key("content")
        && reply_to.is_none_or(|id| is("reply_to_id", id))
        && payload.iter().all(told)
}

fn said(host: &Host, request: &Request, kind: &str, channel: Option<&ChannelName>) -> Answer {
    let mut data = json!({
        "event_name": request.event_name.as_str(),
        "event_id": request.event_id.as_str(),
        "message_id": request.event_id.as_str(),
        "timestamp": whole_seconds(host),
    });
    if let Some(channel) = channel {
        data["channel"] = channel.as_str().into();
    }
    let message = format!(
        "Thread {kind} event {} processed successfully",
        request.event_name
    );
    Answer::done(message, data)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the time is after 1970 and before the end of the world"
)]
fn whole_seconds(host: &Host) -> u64 {
    now(host) as u64
}

/// Makes sure of what holds for every message.
fn check(request: &Request) -> Result<(), String> {
    for key in ["mentioned_agent_id", "reply_to_id", "quoted_message_id"] {
        if !matches!(
            request.payload.get(key),
            None | Some(Value::Null | Value::String(_))
        ) {
            return Err(format!("{key}: it is not a string"));
        }
    }
    match request.payload.get("content") {
        None | Some(Value::Object(_) | Value::String(_)) => Ok(()),
        Some(_) => Err("content: it is neither an object nor text".to_owned()),
    }
}

fn check_level(request: &Request) -> Result<(), String> {
    let Some(written) = request
        .payload
        .get("thread_level")
        .filter(|level| !level.is_null())
    else {
        return Ok(());
    };
    match integer(written) {
        Some(1..=5) if written.as_f64().is_some_and(|level| level.fract() == 0.0) => Ok(()),
        _ => Err("thread_level: a whole number from 1 to 5".to_owned()),
    }
}

/// The channel that a payload names.
fn channel_of(request: &Request) -> Result<Option<ChannelName>, String> {
    match request.payload.get("channel") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(written)) => ChannelName::from_written(written)
            .map(Some)
            .map_err(|error| error.to_string()),
        Some(_) => Err("channel: it is not a string".to_owned()),
    }
}

/// The payload as it is sent on, taken from the request: with the words that it quotes, where it does not bring them.
async fn with_quote(host: &Arc<Host>, caller: &Caller, request: &mut Request) -> Map<String, Value> {
    let mut payload = std::mem::take(&mut request.payload);
    if payload.get("message_type").is_some_and(|kind| !kind.is_string()) {
        payload.remove("message_type");
    }
    // What others say of a message is not the author's to write.
    payload.remove("reactions");
    if payload.contains_key("quoted_text") {
        return payload;
    }
    let quoted = payload.get("quoted_message_id").and_then(Value::as_str);
    if let Some(quoted) = quoted.filter(|quoted| !quoted.is_empty()) {
        let text = match find(host, caller, quoted).await {
            Some(record) => quote(&record),
            None => format!("[Quoted message {quoted} not found]"),
        };
        payload.insert("quoted_text".to_owned(), text.into());
    }
    payload
}

fn quote(record: &Record) -> String {
    let content = record.content();
    let text = content.get("text").and_then(Value::as_str).unwrap_or_default();
    let mut cut: String = text.chars().take(QUOTED).collect();
    if cut.len() < text.len() {
        cut.push_str("...");
    }
    format!("{}: {cut}", record.header.source)
}

/// A message that the agent may read.
async fn find(host: &Arc<Host>, caller: &Caller, written: &str) -> Option<Record> {
    let id: EventId = written.parse().ok()?;
    host.workspace().readable_message(caller, &id).await.ok()
}
