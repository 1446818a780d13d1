//! What messages say.

use openagents_protocol::{Event, Json, Sequence, call, mentions};
use serde_json::{Value, json};

/// The content of a message: text, which becomes `{"text": …}`, or a JSON object, which is sent as it is.
pub trait IntoContent {
    /// The content as JSON.
    fn into_content(self) -> Json;
}

impl IntoContent for &str {
    fn into_content(self) -> Json {
        json!({ "text": self }).into()
    }
}

impl IntoContent for String {
    fn into_content(self) -> Json {
        self.as_str().into_content()
    }
}

impl IntoContent for &String {
    fn into_content(self) -> Json {
        self.as_str().into_content()
    }
}

impl IntoContent for Value {
    fn into_content(self) -> Json {
        match self {
            Value::String(text) => text.into_content(),
            other => other.into(),
        }
    }
}

impl IntoContent for Json {
    fn into_content(self) -> Json {
        self
    }
}

/// A message event with this content.
pub(crate) fn message(event_name: &str, destination: String, content: &Json) -> Event {
    let payload = format!("{{\"content\":{content}}}");
    let payload: Json = payload.parse().expect("an object around JSON is JSON");
    Event::new(event_name).to(destination).payload(payload)
}

/// The ids that a text mentions, each once, in their order; without marks of punctuation that follow.
pub(crate) fn extract_mentions(text: &str) -> Vec<String> {
    let whole = |id: &openagents_protocol::AgentId| !id.as_str().ends_with(['.', ':', '-', '+']);
    let ids = mentions(text).into_iter().filter(whole);
    ids.map(|id| id.as_str().to_owned()).collect()
}

/// Whether it is a message to one agent.
pub(crate) fn is_direct(event: &Event) -> bool {
    event.sequence.is_some()
        && ["direct.message.received", "agent.message"].contains(&event.event_name.as_str())
}

/// An event as the history would tell it.
pub(crate) fn as_message(event: &Event) -> call::Message {
    let destination = event.destination_id.as_deref().unwrap_or_default();
    let text = |key: &str| event.payload.get(key).and_then(Value::as_str).map(str::to_owned);
    call::Message {
        message_id: event.event_id.clone(),
        id: event.event_id.clone(),
        sequence: event.sequence.unwrap_or(Sequence::ZERO),
        event_name: event.event_name.clone(),
        channel: destination.strip_prefix("channel:").map(str::to_owned),
        target_id: destination.strip_prefix("agent:").map(str::to_owned),
        sender_id: event.source_id.clone(),
        content: event
            .payload
            .get("content")
            .cloned()
            .map_or_else(Json::empty_object, Json::from),
        metadata: event.metadata.clone(),
        timestamp: event.timestamp(),
        reply_to_id: event.reply_to_id.clone(),
        response_to: event.response_to.clone(),
        thread_id: text("thread_id"),
        thread_name: event.thread_name.clone(),
        reply_count: 0,
        mentions: Vec::new(),
        reactions: Vec::new(),
        edited_at: None,
    }
}
