//! The frames of the native protocol: JSON objects with a `type`, one per WebSocket text message.
//!
//! A client says [`Hello`], the server answers [`Welcome`] or [`ServerFrame::Goodbye`]. From then on both talk
//! freely: publishes are pipelined and answered in order of commit, calls by id, events arrive in log order and
//! are acknowledged by the highest sequence below which everything is handled. `docs/protocol.md` tells it all.
//!
//! Unknown fields are ignored; an unknown `type` is an error.

use std::borrow::Cow;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::record::{Payload, Record};
use crate::{ErrorBody, ErrorCode, Event, EventResponse, Json, Secret, Sequence, Visibility};

/// The version of the protocol that this code speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// The most events that may be sent and not yet acknowledged.
pub const WINDOW: usize = 1024;

/// A frame from a client.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientFrame {
    /// The first frame of a connection.
    Hello(Box<Hello>),
    /// An event to append; answered by [`ServerFrame::Published`] with the same id.
    Publish(Box<Publish>),
    /// A call; answered by [`ServerFrame::Response`] with the same id.
    Request(Request),
    /// Everything up to here is handled.
    Ack(Ack),
    /// Answered by [`ServerFrame::Pong`].
    Ping,
    /// Answers a [`ServerFrame::Ping`].
    Pong,
    /// The client leaves; the server closes.
    Goodbye(Leave),
}

/// Who wants in, and from where to go on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`] of the client.
    pub protocol: u32,
    /// The agent; without one the server makes an id that ends with the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// A workspace token or an agent token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// Lower-case hex SHA-256 of a token, which counts as that token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<Secret>,
    /// What the agent says of itself, a JSON object; documented keys are `name`, `capabilities`, `role`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Json>,
    /// Whether this session owns the agent's cursor.
    #[serde(default)]
    pub session: SessionKind,
    /// The key of an earlier [`Welcome`]: proves that this is the same client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<Secret>,
    /// The highest sequence the client has handled; the session goes on after the larger of this and the cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Sequence>,
    /// The log in which `after` counts, as the [`Welcome`] named it. In a log that was restored from an earlier moment
    /// the same sequence means something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// How much of what was missed is wanted; none: what the operator decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<Backlog>,
    /// Whether this session wants the events of the workspace itself, as the call `follow_system` does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub follow_system: bool,
    /// The program, for the server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

/// What a session does with the agent's cursor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionKind {
    /// Owns it: one session per agent, whose acknowledgements move the cursor. The agent is online.
    #[default]
    Consuming,
    /// Leaves it alone: any number of sessions, such as browser tabs. The agent is not online by it.
    Watching,
}

/// How much of what was missed is delivered. Direct messages, direct events and mentions always are, except
/// with `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Backlog {
    /// Of the channels the newest ones; the rest is summed up in one `system.backlog.skipped` event.
    Limited {
        /// At most this many events.
        #[serde(default = "Backlog::default_max_events")]
        max_events: u32,
        /// At most this old, in seconds.
        #[serde(default = "Backlog::default_max_age_seconds")]
        max_age_seconds: u64,
    },
    /// Everything.
    All,
    /// Nothing: the session starts at the head.
    None,
}

impl Backlog {
    const fn default_max_events() -> u32 {
        1000
    }

    const fn default_max_age_seconds() -> u64 {
        24 * 60 * 60
    }
}

impl Default for Backlog {
    fn default() -> Self {
        Self::Limited {
            max_events: Self::default_max_events(),
            max_age_seconds: Self::default_max_age_seconds(),
        }
    }
}

/// An event to append.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Publish {
    /// Chosen by the client; comes back in the answer.
    pub id: u64,
    /// The event.
    pub event: Event,
}

/// A call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the client; comes back in the answer.
    pub id: u64,
    /// One of [`crate::call`].
    pub method: String,
    /// The parameters of the method, an object.
    #[serde(default = "Json::empty_object")]
    pub params: Json,
}

/// A cumulative acknowledgement.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Ack {
    /// Everything up to and including this sequence is handled.
    pub through: Sequence,
}

/// Why a client leaves.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Leave {
    /// Shown to others as the reason of `agent.left`; without one, `disconnected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A frame from the server, as a client reads it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ServerFrame {
    /// The session begins.
    Welcome(Box<Welcome>),
    /// Something happened. Shared, since a client hands it to many.
    Event(Arc<Event>),
    /// The answer to a publish.
    Published(Box<Published>),
    /// The answer to a call.
    Response(Response),
    /// A frame could not be understood; the connection goes on unless a goodbye follows.
    Error(ErrorBody),
    /// Asks whether the client is there, and tells how far it was served.
    Ping(ServedThrough),
    /// Answers a [`ClientFrame::Ping`].
    Pong(ServedThrough),
    /// The server ends the session.
    Goodbye(Dismissal),
}

/// The session begins.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// The version spoken from here on.
    pub protocol: u32,
    /// Version of the server, for logs.
    pub server: String,
    /// The workspace.
    pub workspace: String,
    /// The agent, as it is known from here on.
    pub agent_id: String,
    /// Proves later that this is the same client. Keep it secret.
    pub session_key: Secret,
    /// Names the log in which sequences count. It is another one after the workspace was restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// The end of the log as of now.
    pub head: Sequence,
    /// Where this session goes on; everything up to here counts as handled.
    pub cursor: Sequence,
    /// How long the agent stays online without a connection, in milliseconds.
    pub lease_ms: u64,
    /// The most events sent and not yet acknowledged.
    pub window: u32,
    /// The largest frame the server takes, in bytes.
    pub max_frame_bytes: u64,
}

/// The answer to a publish.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Published {
    /// The id of the publish.
    pub id: u64,
    /// Whether it was accepted, and what happened to it.
    #[serde(flatten)]
    pub response: EventResponse,
}

/// The answer to a call: a result or an error.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Response {
    /// The id of the request.
    pub id: u64,
    /// The result of the method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Json>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}

/// How far a client was served.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ServedThrough {
    /// Everything for this client up to here was sent.
    pub through: Sequence,
}

/// Why the server ends a session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dismissal {
    /// The stable word; one that is not retryable is final, and the client does not come back by itself.
    pub code: ErrorCode,
    /// The reason for people.
    pub message: String,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

impl ClientFrame {
    /// Reads a frame.
    ///
    /// # Errors
    ///
    /// `invalid_frame` for what is no frame at all, `unknown_frame_type`, or `invalid_field` with its path.
    pub fn decode(text: &str) -> Result<Self, ErrorBody> {
        // The body comes with the check that all of it is JSON.
        let kind = leading_kind(text).map_or_else(|| kind_of(text), |kind| Ok(Cow::Borrowed(kind)))?;
        Ok(match kind.as_ref() {
            "hello" => Self::Hello(body(text)?),
            "publish" => Self::Publish(body(text)?),
            "request" => Self::Request(body(text)?),
            "ack" => Self::Ack(body(text)?),
            "goodbye" => Self::Goodbye(body(text)?),
            _ => match kind_of(text)?.as_ref() {
                "ping" => Self::Ping,
                "pong" => Self::Pong,
                other => return Err(unknown(other)),
            },
        })
    }

    /// Writes a frame.
    pub fn encode(&self) -> String {
        match self {
            Self::Hello(frame) => tagged("hello", frame),
            Self::Publish(frame) => tagged("publish", frame),
            Self::Request(frame) => tagged("request", frame),
            Self::Ack(frame) => tagged("ack", frame),
            Self::Ping => r#"{"type":"ping"}"#.to_owned(),
            Self::Pong => r#"{"type":"pong"}"#.to_owned(),
            Self::Goodbye(frame) => tagged("goodbye", frame),
        }
    }
}

impl ServerFrame {
    /// Reads a frame.
    ///
    /// # Errors
    ///
    /// `invalid_frame` for what is no frame at all, `unknown_frame_type`, or `invalid_field` with its path.
    pub fn decode(text: &str) -> Result<Self, ErrorBody> {
        // The body comes with the check that all of it is JSON.
        let kind = leading_kind(text).map_or_else(|| kind_of(text), |kind| Ok(Cow::Borrowed(kind)))?;
        Ok(match kind.as_ref() {
            "welcome" => Self::Welcome(body(text)?),
            "event" => Self::Event(Arc::new(body(text)?)),
            "published" => Self::Published(body(text)?),
            "response" => Self::Response(body(text)?),
            "error" => Self::Error(body(text)?),
            "ping" => Self::Ping(body(text)?),
            "pong" => Self::Pong(body(text)?),
            "goodbye" => Self::Goodbye(body(text)?),
            _ => return Err(kind_of(text).map_or_else(|broken| broken, |other| unknown(&other))),
        })
    }

    /// Writes a frame.
    pub fn encode(&self) -> String {
        match self {
            Self::Welcome(frame) => tagged("welcome", frame),
            Self::Event(frame) => tagged("event", frame.as_ref()),
            Self::Published(frame) => tagged("published", frame),
            Self::Response(frame) => tagged("response", frame),
            Self::Error(frame) => tagged("error", frame),
            Self::Ping(frame) => tagged("ping", frame),
            Self::Pong(frame) => tagged("pong", frame),
            Self::Goodbye(frame) => tagged("goodbye", frame),
        }
    }
}

/// Whether the agent that reads an event is mentioned in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mentioned {
    /// It is: the event also goes by the name `channel.message.mentioned`.
    Yes,
    /// It is not.
    No,
}

/// The name under which a mention matches besides its own.
pub const MENTIONED: &str = "channel.message.mentioned";

/// Writes the event frame of a record; the same text for every reader with the same [`Mentioned`].
///
/// A record at [`Sequence::ZERO`] is in no log: it is written as an ephemeral event, without a sequence.
pub fn encode_event(record: &Record, mentioned: Mentioned) -> String {
    #[derive(Serialize)]
    struct Stored<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        sequence: Option<Sequence>,
        event_name: &'a str,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        also: &'a [&'a str],
        event_id: &'a str,
        source_id: &'a str,
        destination_id: String,
        timestamp_ms: u64,
        payload: Payload<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        metadata: Option<&'a Json>,
        visibility: Visibility,
        #[serde(skip_serializing_if = "Option::is_none")]
        allowed_agents: Option<&'a Vec<crate::AgentId>>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        requires_response: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        response_to: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reply_to_id: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        thread_name: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        relevant_mod: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        text_representation: Option<&'a str>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        ephemeral: bool,
    }

    /// What a frame has beside its payload, usually.
    const USUAL: usize = 512;

    let ephemeral = record.sequence == Sequence::ZERO;
    let header = &record.header;
    let body = record.body.as_ref();
    // The text of a direct message stands in it twice.
    let length = USUAL + 2 * body.map_or(0, |body| body.payload.as_str().len());
    tagged_within(
        length,
        "event",
        &Stored {
            sequence: (!ephemeral).then_some(record.sequence),
            event_name: header.name.as_str(),
            also: if mentioned == Mentioned::Yes {
                &[MENTIONED]
            } else {
                &[]
            },
            event_id: header.event_id.as_str(),
            source_id: header.source.as_str(),
            destination_id: header.destination.written(),
            timestamp_ms: header.time_ms,
            payload: Payload::of(record),
            metadata: record.body.as_ref().and_then(|body| body.metadata.as_ref()),
            visibility: header.visibility,
            allowed_agents: header.allowed_agents.as_ref(),
            requires_response: header.requires_response,
            response_to: header.response_to.as_ref().map(crate::EventId::as_str),
            reply_to_id: record.reply_to().map(crate::EventId::as_str),
            thread_name: record.thread_name(),
            relevant_mod: header.relevant_mod.as_deref(),
            text_representation: record
                .body
                .as_ref()
                .and_then(|body| body.text_representation.as_deref()),
            ephemeral,
        },
    )
}

/// Reads a part of a frame or request, with the path of the field that is to blame.
///
/// # Errors
///
/// `invalid_field` with the path and the rule.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, ErrorBody> {
    // The fast way first; only what fails is read again, to find out where.
    serde_json::from_str(text).or_else(|_| {
        let mut reader = serde_json::Deserializer::from_str(text);
        serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let path = error.path().to_string();
            let inner = error.into_inner();
            if inner.is_syntax() || inner.is_eof() {
                return ErrorBody::new(ErrorCode::InvalidFrame, format!("not JSON: {inner}"));
            }
            let message = inner.to_string();
            ErrorBody {
                code: ErrorCode::InvalidField,
                field: to_blame(&path, &message),
                message,
            }
        })
    })
}

/// The field that is to blame where reading failed at a path, for this reason. One that is missing is not on the path.
pub fn to_blame(path: &str, reason: &str) -> Option<String> {
    let missing = reason
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split_once('`'))
        .map(|(name, _)| name);
    match (path, missing) {
        (".", missing) => missing.map(str::to_owned),
        (path, Some(missing)) => Some(format!("{path}.{missing}")),
        (path, None) => Some(path.to_owned()),
    }
}

/// What a frame that cannot be read was meant to be, when that much can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressed {
    /// A publish with this id.
    Publish(u64),
    /// A request with this id.
    Request(u64),
}

/// Finds out which publish or request a frame was meant to be, so that its sender can be told.
pub fn addressed(text: &str) -> Option<Addressed> {
    #[derive(Deserialize)]
    struct Address<'a> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'a, str>,
        id: u64,
    }

    let address: Address<'_> = serde_json::from_str(text).ok()?;
    match address.kind.as_ref() {
        "publish" => Some(Addressed::Publish(address.id)),
        "request" => Some(Addressed::Request(address.id)),
        _ => None,
    }
}

/// The type of a frame that begins with it, as ours do: the rest need not be looked through for it.
fn leading_kind(text: &str) -> Option<&str> {
    let (kind, _) = text.strip_prefix("{\"type\":\"")?.split_once('"')?;
    (!kind.contains('\\')).then_some(kind)
}

fn kind_of(text: &str) -> Result<Cow<'_, str>, ErrorBody> {
    match serde_json::from_str::<Kind<'_>>(text) {
        Ok(frame) => Ok(frame.kind),
        Err(error) if error.is_data() => Err(ErrorBody::field(
            ErrorCode::InvalidFrame,
            "type",
            "a frame is an object with a `type`",
        )),
        Err(error) => Err(ErrorBody::new(
            ErrorCode::InvalidFrame,
            format!("not JSON: {error}"),
        )),
    }
}

fn body<T: DeserializeOwned>(text: &str) -> Result<T, ErrorBody> {
    read(text)
}

fn unknown(kind: &str) -> ErrorBody {
    let shown: String = kind.chars().take(64).collect();
    ErrorBody::field(
        ErrorCode::UnknownFrameType,
        "type",
        format!("there is no frame type {shown:?}"),
    )
}

fn tagged<T: Serialize>(kind: &str, frame: &T) -> String {
    tagged_within(256, kind, frame)
}

/// Writes a frame that has about so many bytes.
fn tagged_within<T: Serialize>(length: usize, kind: &str, frame: &T) -> String {
    let mut text = Vec::with_capacity(length);
    text.extend_from_slice(b"{\"type\":\"");
    text.extend_from_slice(kind.as_bytes());
    text.push(b'"');
    let start = text.len();
    serde_json::to_writer(&mut text, frame).expect("frames always serialise");
    // The brace that opens the inner object becomes the comma after the type.
    text[start] = b',';
    if text[start..] == *b",}" {
        text.remove(start);
    }
    String::from_utf8(text).expect("JSON is UTF-8")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> (ErrorCode, Option<String>) {
        let error = ClientFrame::decode(text).unwrap_err();
        (error.code, error.field)
    }

    #[test]
    fn a_hello_reads_with_defaults_and_ignores_what_it_does_not_know() {
        let text = r#"{"type":"hello","protocol":1,"agent_id":"demo","from_the_future":[1]}"#;
        let ClientFrame::Hello(hello) = ClientFrame::decode(text).unwrap() else {
            panic!("not a hello")
        };
        assert_eq!((hello.backlog, hello.after), (None, None));
        let text = r#"{"type":"hello","protocol":1,"backlog":{"mode":"limited","max_events":7}}"#;
        let ClientFrame::Hello(limited) = ClientFrame::decode(text).unwrap() else {
            panic!("not a hello")
        };
        assert_eq!(
            limited.backlog,
            Some(Backlog::Limited {
                max_events: 7,
                max_age_seconds: 86400
            })
        );
        assert_eq!(hello.session, SessionKind::Consuming);
    }

    #[test]
    fn errors_tell_the_kind_and_the_path() {
        assert_eq!(refused("{"), (ErrorCode::InvalidFrame, None));
        assert_eq!(refused("[1]"), (ErrorCode::InvalidFrame, Some("type".into())));
        assert_eq!(
            refused(r#"{"type":"dance"}"#),
            (ErrorCode::UnknownFrameType, Some("type".into()))
        );
        assert_eq!(
            refused(r#"{"type":"ack","through":-1}"#),
            (ErrorCode::InvalidField, Some("through".into()))
        );
        let wrong = r#"{"type":"publish","id":1,"event":{"event_name":"a.b","visibility":"loud"}}"#;
        assert_eq!(
            refused(wrong),
            (ErrorCode::InvalidField, Some("event.visibility".into()))
        );
    }

    #[test]
    fn a_frame_reads_the_same_wherever_its_type_stands() {
        let check = |text: &str, expected: Result<u64, ErrorCode>| {
            let through = match ServerFrame::decode(text) {
                Ok(ServerFrame::Ping(served)) => Ok(served.through.get()),
                Ok(other) => panic!("{other:?}"),
                Err(error) => Err(error.code),
            };
            assert_eq!(through, expected, "{text}");
        };
        check(r#"{"type":"ping","through":3}"#, Ok(3));
        check(r#"{"through":3,"type":"ping"}"#, Ok(3));
        check(r#" { "type" : "ping" , "through" : 3 } "#, Ok(3));
        check(r#"{"type":"p\u0069ng","through":3}"#, Ok(3));
        check(r#"{"type":"ping","through":3"#, Err(ErrorCode::InvalidFrame));
        check(r#"{"type":"ping"}"#, Err(ErrorCode::InvalidField));
        check(r#"{"type":"dance"}"#, Err(ErrorCode::UnknownFrameType));
        check(r#"{"type":"dance"#, Err(ErrorCode::InvalidFrame));
    }

    #[test]
    fn frames_are_tagged_objects() {
        insta::assert_snapshot!(ClientFrame::Ack(Ack { through: Sequence::new(3) }).encode(), @r#"{"type":"ack","through":3}"#);
        insta::assert_snapshot!(ClientFrame::Goodbye(Leave::default()).encode(), @r#"{"type":"goodbye"}"#);
        insta::assert_snapshot!(ClientFrame::Ping.encode(), @r#"{"type":"ping"}"#);
    }

    proptest! {
        #[test]
        fn decoding_never_panics(text in r#"(\{"type":"(hello|publish|ack|request|event)",)?.{0,120}"#) {
            drop(ClientFrame::decode(&text));
            drop(ServerFrame::decode(&text));
        }

        #[test]
        fn what_is_written_reads_the_same(id in any::<u64>(), method in "[a-z_]{1,20}", through in 0..u64::MAX / 4) {
            let request = Request { id, method: method.clone(), params: Json::empty_object() };
            let ClientFrame::Request(read) = ClientFrame::decode(&ClientFrame::Request(request).encode()).unwrap() else {
                panic!("not a request")
            };
            prop_assert_eq!((read.id, read.method), (id, method));
            let ping = ServerFrame::Ping(ServedThrough { through: Sequence::new(through) });
            let ServerFrame::Ping(read) = ServerFrame::decode(&ping.encode()).unwrap() else { panic!("not a ping") };
            prop_assert_eq!(read.through.get(), through);
        }
    }
}
