//! An event as an agent sends it over this interface.

use std::fmt;
use std::sync::Arc;

use openagents_protocol::legacy::prost::Message;
use openagents_protocol::legacy::prost_types::value::Kind;
use openagents_protocol::legacy::prost_types::{Any, Struct, Value as ProtoValue};
use openagents_protocol::legacy::{self};
use openagents_protocol::{AgentId, EventId, EventName, Secret, Visibility};
use serde_json::{Map, Number, Value};

use super::room::{Crowded, Share};

/// An event that is well-formed.
#[derive(Debug)]
pub(super) struct Request {
    /// Chosen by the agent, or made here.
    pub(super) event_id: EventId,
    pub(super) event_name: EventName,
    /// The agent, without the role in front.
    pub(super) source: String,
    /// As it was written; none: nowhere.
    pub(super) target: Option<String>,
    pub(super) payload: Map<String, Value>,
    pub(super) metadata: Map<String, Value>,
    pub(super) visibility: Visibility,
    pub(super) secret: Option<Secret>,
    /// What the server holds for it.
    share: Option<Arc<Share>>,
}

/// Why an event is none.
#[derive(Debug)]
pub(super) enum Malformed {
    /// Who sends what is not said.
    Nameless,
    /// A field breaks a rule.
    Field(String),
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nameless => formatter.write_str("event_name and source_id are required"),
            Self::Field(message) => formatter.write_str(message),
        }
    }
}

impl Request {
    /// Reads the body of `POST /api/send_event`.
    pub(super) fn from_json(body: Value) -> Result<Self, Malformed> {
        let Value::Object(mut fields) = body else {
            return Err(Malformed::Field("the body is not a JSON object".to_owned()));
        };
        let mut text = |key: &str| match fields.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
            Some(_) => Err(Malformed::Field(format!("{key}: it is not a string"))),
        };
        let event_name = text("event_name")?;
        let source_id = text("source_id")?;
        let event_id = text("event_id")?;
        let target = text("target_agent_id")?;
        let visibility = text("visibility")?;
        let secret = text("secret")?;
        let mut object = |key: &str| match fields.remove(key) {
            None => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object),
            Some(_) => Err(Malformed::Field(format!("{key}: it is not an object"))),
        };
        let (payload, metadata) = (object("payload")?, object("metadata")?);
        Self::read(Written {
            event_id,
            event_name,
            source_id,
            target,
            payload,
            metadata,
            visibility,
            secret,
        })
    }

    /// Reads what `SendEvent` is called with.
    pub(super) fn from_proto(event: legacy::Event) -> Result<Self, Malformed> {
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let metadata = event.metadata.into_iter();
        Self::read(Written {
            event_id: some(event.event_id),
            event_name: some(event.event_name),
            source_id: some(event.source_id),
            target: some(event.target_agent_id),
            payload: event
                .payload
                .as_ref()
                .map(unpack)
                .transpose()?
                .unwrap_or_default(),
            metadata: metadata.map(|(key, value)| (key, value.into())).collect(),
            visibility: some(event.visibility),
            secret: some(event.secret),
        })
    }

    fn read(written: Written) -> Result<Self, Malformed> {
        let (Some(event_name), Some(source)) = (written.event_name, written.source_id) else {
            return Err(Malformed::Nameless);
        };
        let field = |key: &str, reason: &dyn fmt::Display| {
            Malformed::Field(format!("1 validation error for Event\n{key}\n  {reason}"))
        };
        let event_name: EventName = event_name.parse().map_err(|error| field("event_name", &error))?;
        let event_id = match written.event_id {
            Some(written) => written.parse().map_err(|error| field("event_id", &error))?,
            None => EventId::new(),
        };
        let visibility = match written.visibility {
            Some(written) => written.parse().map_err(|error| field("visibility", &error))?,
            None => Visibility::Network,
        };
        if let Some("agent" | "channel") = written.target.as_deref() {
            return Err(field("destination_id", &"a role alone is no address"));
        }
        Ok(Self {
            event_id,
            event_name,
            source: source.strip_prefix("agent:").unwrap_or(&source).to_owned(),
            target: written.target,
            payload: unwrap(written.payload),
            metadata: written.metadata,
            visibility,
            secret: written.secret.map(Secret::new),
            share: None,
        })
    }

    /// The same, with what is counted for it.
    pub(super) fn counted_by(self, share: Arc<Share>) -> Self {
        Self {
            share: Some(share),
            ..self
        }
    }

    /// Makes sure that there is room for an answer of so many bytes.
    pub(super) fn make_room(&self, bytes: u64) -> Result<(), Crowded> {
        self.share.as_ref().map_or(Ok(()), |share| share.take(bytes))
    }

    /// The agent, if its id can be one.
    pub(super) fn agent_id(&self) -> Option<AgentId> {
        self.source.parse().ok()
    }

    /// A text of the payload; none where it is empty or no text.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        let text = self.payload.get(key).and_then(Value::as_str);
        text.filter(|text| !text.is_empty())
    }

    /// What the answer refers to.
    pub(super) fn request_id(&self) -> &str {
        self.text("request_id").unwrap_or(self.event_id.as_str())
    }

    /// The extension that it is addressed to.
    pub(super) fn addressed_mod(&self) -> Option<&str> {
        self.target
            .as_deref()
            .and_then(|target| target.strip_prefix("mod:"))
    }
}

/// An event as it was written.
struct Written {
    event_id: Option<String>,
    event_name: Option<String>,
    source_id: Option<String>,
    target: Option<String>,
    payload: Map<String, Value>,
    metadata: Map<String, Value>,
    visibility: Option<String>,
    secret: Option<String>,
}

/// The adapters of the official client put a whole event into the payload of another one; what counts is its payload.
fn unwrap(mut payload: Map<String, Value>) -> Map<String, Value> {
    let is_event = payload.contains_key("event_name");
    match payload.get_mut("payload") {
        Some(Value::Object(inner)) if is_event => std::mem::take(inner),
        _ => payload,
    }
}

/// A payload as gRPC carries it; of another type nothing is understood.
fn unpack(any: &Any) -> Result<Map<String, Value>, Malformed> {
    if !any.type_url.ends_with("google.protobuf.Struct") {
        return Ok(Map::new());
    }
    Struct::decode(any.value.as_slice())
        .map(object)
        .map_err(|error| Malformed::Field(format!("payload: it is no google.protobuf.Struct: {error}")))
}

fn object(read: Struct) -> Map<String, Value> {
    let entries = read.fields.into_iter();
    entries.map(|(key, value)| (key, json(value))).collect()
}

fn json(value: ProtoValue) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => value.into(),
        Some(Kind::StringValue(text)) => text.into(),
        Some(Kind::NumberValue(number)) => whole(number),
        Some(Kind::StructValue(read)) => Value::Object(object(read)),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(json).collect(),
    }
}

/// Every number comes as a double here; those without a fraction were most likely written without one.
#[expect(
    clippy::cast_possible_truncation,
    reason = "whole numbers below 2^53 stay as they are"
)]
fn whole(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// A whole number of a payload, as JSON or gRPC wrote it.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a fraction is cut off, as this wire does"
)]
pub(super) fn integer(value: &Value) -> Option<i64> {
    value
        .as_i64()
        .or_else(|| value.as_f64().map(|number| number as i64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(body: Value) -> String {
        Request::from_json(body).unwrap_err().to_string()
    }

    #[test]
    fn what_is_missing_is_made_and_what_is_wrong_is_named() {
        let request = Request::from_json(json!({"event_name": "demo.task", "source_id": "agent:a"})).unwrap();
        assert_eq!((request.source.as_str(), request.target), ("a", None));
        assert_eq!(
            refused(json!({"source_id": "a"})),
            "event_name and source_id are required"
        );
        assert!(refused(json!({"event_name": "Demo", "source_id": "a"})).contains("event_name"));
        let nulled = json!({"event_name": "demo.task", "source_id": "a", "payload": null});
        assert_eq!(refused(nulled), "payload: it is not an object");
        assert_eq!(refused(json!([])), "the body is not a JSON object");
    }

    #[test]
    fn only_a_payload_that_looks_like_an_event_is_unwrapped() {
        let check = |payload: Value, expected: Value| {
            let Value::Object(payload) = payload else { panic!() };
            assert_eq!(Value::Object(unwrap(payload)), expected);
        };
        check(json!({"event_name": "a.b", "payload": {"x": 1}}), json!({"x": 1}));
        check(
            json!({"payload": {"text": "x"}}),
            json!({"payload": {"text": "x"}}),
        );
    }

    #[test]
    fn whole_numbers_stay_whole() {
        assert_eq!(whole(3.0), json!(3));
        assert_eq!(whole(-2.5), json!(-2.5));
        assert_eq!(whole(f64::NAN), Value::Null);
    }
}
