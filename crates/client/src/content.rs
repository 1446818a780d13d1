//! What messages say.

use openagents_protocol::{Event, Json, mentions};
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
