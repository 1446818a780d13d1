//! An event as agents of this interface get it.

use openagents_protocol::record::{Body, Record};
use openagents_protocol::{Address, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Every field of an event, in the order of the official server. The secret is always null.
#[derive(Clone, Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "so the keys are written")]
pub(super) struct Event {
    pub(super) event_name: String,
    pub(super) source_id: String,
    pub(super) event_id: String,
    /// Seconds since 1970.
    pub(super) timestamp: u64,
    source_type: &'static str,
    pub(super) destination_id: Option<String>,
    relevant_mod: Option<String>,
    requires_response: bool,
    response_to: Option<String>,
    thread_name: Option<String>,
    pub(super) payload: Map<String, Value>,
    pub(super) metadata: Map<String, Value>,
    pub(super) text_representation: Option<String>,
    visibility: &'static str,
    allowed_agents: Option<Vec<String>>,
    secret: Option<String>,
    pub(super) source_agent_group: Option<String>,
}

/// What is remembered of an event that came over this interface, to tell it again as it was written. It stays here: no
/// other interface sees it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Aside {
    /// The destination, where it was written in another way than it is told by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<String>,
    /// Who it is told to be from, for what the server itself says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<String>,
    /// The name it came under, where that does not follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// The payload, where it does not follow from what the workspace keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) payload: Option<Map<String, Value>>,
    /// The payload named its sender.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) signed: bool,
    /// A reply that is in no thread, since those before it are too many.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) detached: bool,
    /// What a private reply to a message of a channel was about: the message and its author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) about: Option<(String, String)>,
}

impl Aside {
    pub(super) fn of(record: &Record) -> Self {
        let written = record.body.as_ref().and_then(|body| body.aside.as_ref());
        written
            .and_then(|written| serde_json::from_str(written.as_str()).ok())
            .unwrap_or_default()
    }

    /// As it is stored; none where there is nothing to remember.
    pub(super) fn stored(&self) -> Option<Json> {
        let json = Json::encode(self).ok()?;
        (json.as_str() != "{}").then_some(json)
    }
}

impl Event {
    /// An event about a record, under this name and with this payload.
    pub(super) fn of(record: &Record, name: &str, payload: Map<String, Value>) -> Self {
        let header = &record.header;
        let body = record.body.as_ref();
        Self {
            event_name: name.to_owned(),
            source_id: header.source.to_string(),
            event_id: header.event_id.to_string(),
            timestamp: header.time_ms / 1000,
            source_type: "agent",
            destination_id: Some(written(&header.destination)),
            relevant_mod: header.relevant_mod.clone(),
            requires_response: header.requires_response,
            response_to: header.response_to.as_ref().map(ToString::to_string),
            thread_name: record.thread_name().map(str::to_owned),
            payload,
            metadata: metadata(body),
            text_representation: body.and_then(|body| body.text_representation.clone()),
            visibility: header.visibility.as_str(),
            allowed_agents: None,
            secret: None,
            source_agent_group: None,
        }
    }
}

/// An address as this interface writes it.
pub(super) fn written(address: &Address) -> String {
    address.to_string()
}

fn metadata(body: Option<&Body>) -> Map<String, Value> {
    body.and_then(|body| body.metadata.as_ref())
        .map(entries)
        .unwrap_or_default()
}

/// The entries of an object.
pub(super) fn entries(json: &Json) -> Map<String, Value> {
    json.value().as_object().cloned().unwrap_or_default()
}
