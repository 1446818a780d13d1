//! An event as everybody reads it, and the answer to sending one.

use std::fmt;
use std::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{ErrorBody, InvalidName, Json, Pattern, Receipt, Sequence};

/// Something that happened in the workspace, or that a client wants to happen.
///
/// The fields carry the documented names. A client that sends one needs `event_name`, `destination_id` and
/// usually `payload`; the rest is filled in. On a received event `source_id` is the bare id of the agent.
///
/// ```
/// use openagents_protocol::Event;
///
/// let event = Event::new("custom.task.completed")
///     .to("channel:general")
///     .payload(serde_json::json!({"task": "data processing", "result": "success"}));
/// assert!(event.matches_pattern("custom.*"));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Event {
    /// Lower-case, hierarchical, dot-separated.
    pub event_name: String,
    /// Unique id; made when the event is sent without one. For a message this is the message id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub event_id: String,
    /// Who made it: the bare agent id, or `system`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source_id: String,
    /// Where it goes: `channel:general`, `agent:bob`, `agent:broadcast`.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "target_id")]
    pub destination_id: Option<String>,
    /// Free JSON object; for the documented events, the documented keys.
    #[serde(default = "Json::empty_object")]
    #[cfg_attr(feature = "openapi", schema(value_type = Object, required = false))]
    pub payload: Json,
    /// Free JSON object beside the payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub metadata: Option<Json>,
    /// When the workspace took it, in milliseconds since 1970; 0 before that.
    #[serde(default)]
    pub timestamp_ms: u64,
    /// Position in the log; none for ephemeral events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Sequence>,
    /// Further names under which it matches, such as `channel.message.mentioned`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// Who may see it.
    #[serde(default)]
    pub visibility: Visibility,
    /// The agents that may see it where `visibility` is `restricted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_agents: Option<Vec<String>>,
    /// Whether the sender waits for an answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub requires_response: bool,
    /// Id of the event this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_to: Option<String>,
    /// Id of the message this one replies to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to_id: Option<String>,
    /// Id of the event whose handling made the sender send this one. It tells loops from conversations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caused_by: Option<String>,
    /// Free name of a thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_name: Option<String>,
    /// The extension it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relevant_mod: Option<String>,
    /// The event in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_representation: Option<String>,
    /// Not stored, and dropped for readers that lag.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ephemeral: bool,
}

impl Event {
    /// An event of this name, with an empty payload and nowhere to go yet.
    pub fn new(event_name: impl Into<String>) -> Self {
        Self {
            event_name: event_name.into(),
            event_id: String::new(),
            source_id: String::new(),
            destination_id: None,
            payload: Json::empty_object(),
            metadata: None,
            timestamp_ms: 0,
            sequence: None,
            also: Vec::new(),
            visibility: Visibility::default(),
            allowed_agents: None,
            requires_response: false,
            response_to: None,
            reply_to_id: None,
            caused_by: None,
            thread_name: None,
            relevant_mod: None,
            text_representation: None,
            ephemeral: false,
        }
    }

    /// Sets where it goes: `channel:general`, `agent:bob`, `agent:broadcast`.
    pub fn to(mut self, destination_id: impl Into<String>) -> Self {
        self.destination_id = Some(destination_id.into());
        self
    }

    /// Sets the payload, a JSON object.
    pub fn payload(mut self, payload: impl Into<Json>) -> Self {
        self.payload = payload.into();
        self
    }

    /// Sets the metadata, a JSON object.
    pub fn metadata(mut self, metadata: impl Into<Json>) -> Self {
        self.metadata = Some(metadata.into());
        self
    }

    /// Marks it as the answer to an event.
    pub fn in_response_to(mut self, event_id: impl Into<String>) -> Self {
        self.response_to = Some(event_id.into());
        self
    }

    /// Whether its name, or one of its further names, matches the pattern. An invalid pattern matches nothing.
    pub fn matches_pattern(&self, pattern: &str) -> bool {
        pattern.parse().is_ok_and(|pattern| self.matches(&pattern))
    }

    /// Whether its name, or one of its further names, matches the pattern.
    pub fn matches(&self, pattern: &Pattern) -> bool {
        pattern.matches(&self.event_name) || self.also.iter().any(|name| pattern.matches(name))
    }

    /// When the workspace took it, in seconds since 1970.
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds since 1970 fit a double for 280,000 years"
    )]
    pub fn timestamp(&self) -> f64 {
        self.timestamp_ms as f64 / 1000.0
    }

    /// The text of a message: `payload.content.text`, or `payload.text` of a free payload.
    pub fn text(&self) -> Option<&str> {
        let content = self
            .payload
            .get("content")
            .and_then(|content| content.get("text"));
        content
            .or_else(|| self.payload.get("text"))
            .and_then(serde_json::Value::as_str)
    }
}

/// Who may see an event. Written in small letters; capitals are read too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(rename_all = "snake_case"))]
pub enum Visibility {
    /// Also outside the workspace.
    Public,
    /// All agents.
    #[default]
    Network,
    /// The subscribers of the channel.
    Channel,
    /// The target.
    Direct,
    /// The agents of `allowed_agents`.
    Restricted,
    /// Extensions only.
    ModOnly,
}

impl Visibility {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Network => "network",
            Self::Channel => "channel",
            Self::Direct => "direct",
            Self::Restricted => "restricted",
            Self::ModOnly => "mod_only",
        }
    }
}

impl FromStr for Visibility {
    type Err = InvalidName;

    fn from_str(input: &str) -> Result<Self, InvalidName> {
        let all = [
            Self::Public,
            Self::Network,
            Self::Channel,
            Self::Direct,
            Self::Restricted,
            Self::ModOnly,
        ];
        all.into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(input))
            .ok_or_else(|| {
                InvalidName::new(
                    "visibility",
                    input,
                    "it is none of public, network, channel, direct, restricted, mod_only",
                )
            })
    }
}

impl Serialize for Visibility {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Written by hand since every event has one: a derived one would make a string of it first.
impl<'de> Deserialize<'de> for Visibility {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;

        impl Visitor<'_> for Word {
            type Value = Visibility;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Visibility, E> {
                word.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Word)
    }
}

impl fmt::Display for Visibility {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The answer to sending something: whether it was accepted, and what happened to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventResponse {
    /// Whether it was accepted and is durable as the workspace promises.
    pub success: bool,
    /// What happened, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What happened to it; none when it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Receipt>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}

impl EventResponse {
    /// The id of the message, when it was accepted.
    pub fn message_id(&self) -> Option<&str> {
        self.data.as_ref().map(|receipt| receipt.message_id.as_str())
    }
}

impl From<Result<Receipt, ErrorBody>> for EventResponse {
    fn from(outcome: Result<Receipt, ErrorBody>) -> Self {
        match outcome {
            Ok(receipt) => Self {
                success: true,
                message: None,
                data: Some(receipt),
                error: None,
            },
            Err(error) => Self {
                success: false,
                message: Some(error.message.clone()),
                data: None,
                error: Some(error),
            },
        }
    }
}
