//! An event as a client wants it, with every string parsed.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::json::RawObject;
use crate::record::{Body, Digest};
use crate::{
    Address, AgentId, ChannelName, ErrorBody, ErrorCode, Event, EventId, EventName, InvalidName, Json,
    Visibility,
};

/// An event that is well-formed; whether it is allowed is decided by the workspace.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Chosen by the author, or made here.
    pub event_id: EventId,
    /// What is to happen.
    pub intent: Intent,
    /// Name under which it is delivered.
    pub name: EventName,
    /// What is stored and passed through.
    pub body: Body,
    /// Digest of name, destination and body.
    pub digest: Digest,
    /// The event it answers.
    pub response_to: Option<EventId>,
    /// The event whose handling made the sender send this one.
    pub caused_by: Option<EventId>,
    /// Who may see it.
    pub visibility: Visibility,
    /// The agents that may see it where `visibility` is restricted.
    pub allowed_agents: Option<Vec<AgentId>>,
    /// Whether the sender waits for an answer.
    pub requires_response: bool,
    /// The extension it concerns.
    pub relevant_mod: Option<String>,
    /// Not stored, and dropped for readers that lag.
    pub ephemeral: bool,
    /// Whether its author need not be a member of the channel that it goes to.
    pub from_outside: bool,
}

/// What a client wants to happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Intent {
    /// A message in a channel or to an agent.
    Message {
        /// Where it goes.
        target: MessageTarget,
        /// The message it replies to.
        reply_to: Option<EventId>,
        /// Words after `@` that may be agents, and the agent named by the sender.
        mentioned: Vec<AgentId>,
    },
    /// Any other event, as it stands.
    Event {
        /// Where it goes.
        destination: Address,
    },
}

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageTarget {
    /// A channel.
    Channel(ChannelName),
    /// One agent.
    Agent(AgentId),
}

impl Intent {
    /// Where the event goes.
    pub fn destination(&self) -> Address {
        match self {
            Self::Message {
                target: MessageTarget::Channel(channel),
                ..
            } => Address::Channel(channel.clone()),
            Self::Message {
                target: MessageTarget::Agent(agent),
                ..
            } => Address::Agent(agent.clone()),
            Self::Event { destination } => destination.clone(),
        }
    }

    /// The message it replies to.
    pub fn reply_to(&self) -> Option<&EventId> {
        match self {
            Self::Message { reply_to, .. } => reply_to.as_ref(),
            Self::Event { .. } => None,
        }
    }
}

/// Keys of a message payload that the workspace sets itself.
const SET_BY_WORKSPACE: [&str; 9] = [
    "channel",
    "sender_id",
    "message_id",
    "reply_to_id",
    "parent_id",
    "thread_id",
    "text",
    "erased",
    "target_id",
];

/// Longest free text beside the payload (`thread_name`, `relevant_mod`), in bytes.
const MAX_LABEL: usize = 256;

/// Most agents named in one event.
const MAX_NAMED: usize = 100;

impl Draft {
    /// Parses what a client wrote.
    ///
    /// Messages are known by their names: `channel.message.posted` and `channel.message.replied` to a channel,
    /// `direct.message.received` and `direct.message.sent` to an agent. Their `content` is an object; plain text
    /// becomes `{"text": …}`. Every other name is the sender's own, except the ones the workspace itself makes.
    ///
    /// # Errors
    ///
    /// Names the field and the rule it breaks.
    pub fn parse(event: Event) -> Result<Self, ErrorBody> {
        Self::read(event, is_reserved)
    }

    /// Parses what was translated from another interface, whose agents know nothing of these rules: they need be no member
    /// of the channel that they write to, and may use any name but those that the workspace gives out.
    ///
    /// # Errors
    ///
    /// Names the field and the rule it breaks.
    pub fn parse_from_outside(event: Event) -> Result<Self, ErrorBody> {
        let draft = Self::read(event, is_given_out)?;
        Ok(Self {
            from_outside: true,
            ..draft
        })
    }

    fn read(event: Event, is_reserved: fn(&str) -> bool) -> Result<Self, ErrorBody> {
        let name: EventName = parse("event_name", &event.event_name)?;
        let event_id = match event.event_id.as_str() {
            "" => EventId::new(),
            written => parse("event_id", written)?,
        };
        let Some(destination) = &event.destination_id else {
            return Err(ErrorBody::field(
                ErrorCode::InvalidDestination,
                "destination_id",
                "it is missing: name an agent (`agent:bob`), a channel (`channel:general`) or everyone (`agent:broadcast`)",
            ));
        };
        let destination: Address = parse("destination_id", destination)?;
        event
            .payload
            .check()
            .map_err(|error| ErrorBody::json("payload", &error))?;
        require_object("payload", &event.payload)?;
        if let Some(metadata) = &event.metadata {
            metadata
                .check()
                .map_err(|error| ErrorBody::json("metadata", &error))?;
            require_object("metadata", metadata)?;
        }
        label("thread_name", event.thread_name.as_deref())?;
        label("relevant_mod", event.relevant_mod.as_deref())?;
        let reply_to = event
            .reply_to_id
            .as_deref()
            .map(|id| parse("reply_to_id", id))
            .transpose()?;
        let response_to = event
            .response_to
            .as_deref()
            .map(|id| parse("response_to", id))
            .transpose()?;

        let caused_by = event
            .caused_by
            .as_deref()
            .map(|id| parse("caused_by", id))
            .transpose()?;

        let (name, intent, payload) = understand(name, destination, event.payload, reply_to, is_reserved)?;
        let body = Body {
            payload,
            metadata: event.metadata,
            text_representation: event.text_representation,
            thread_name: event.thread_name,
            aside: None,
        };
        if event.ephemeral && matches!(intent, Intent::Message { .. }) {
            return Err(ErrorBody::field(
                ErrorCode::InvalidField,
                "ephemeral",
                "a message is always stored",
            ));
        }
        Ok(Self {
            digest: Digest::of(
                &name,
                &intent.destination(),
                &body,
                &[intent.reply_to(), response_to.as_ref()],
            ),
            event_id,
            intent,
            name,
            body,
            response_to,
            caused_by,
            visibility: event.visibility,
            allowed_agents: event
                .allowed_agents
                .map(|agents| named("allowed_agents", &agents))
                .transpose()?,
            requires_response: event.requires_response,
            relevant_mod: event.relevant_mod,
            ephemeral: event.ephemeral,
            from_outside: false,
        })
    }
}

fn understand(
    name: EventName,
    destination: Address,
    payload: Json,
    reply_to: Option<EventId>,
    is_reserved: fn(&str) -> bool,
) -> Result<(EventName, Intent, Json), ErrorBody> {
    let wrong = |message: &str| {
        Err(ErrorBody::field(
            ErrorCode::InvalidDestination,
            "destination_id",
            message,
        ))
    };
    let target = match (name.as_str(), destination) {
        ("channel.message.posted" | "channel.message.replied", Address::Channel(channel)) => {
            MessageTarget::Channel(channel)
        }
        ("direct.message.received" | "direct.message.sent", Address::Agent(agent)) => {
            MessageTarget::Agent(agent)
        }
        ("channel.message.posted" | "channel.message.replied", _) => {
            return wrong("a channel message goes to a channel, such as `channel:general`");
        }
        ("direct.message.received" | "direct.message.sent", _) => {
            return wrong("a direct message goes to an agent, such as `agent:bob`");
        }
        (_, Address::System) => return wrong("the workspace itself takes no events"),
        (_, Address::Mod(extension)) => return wrong(&format!("there is no extension {extension:?} here")),
        (other, destination) if is_reserved(other) => {
            let _ = destination;
            let message = format!("events named {other:?} are made by the workspace only");
            return Err(ErrorBody::field(
                ErrorCode::ReservedEventName,
                "event_name",
                message,
            ));
        }
        (_, destination) => return Ok((name, Intent::Event { destination }, payload)),
    };

    let entries = RawObject::parse(payload.as_str()).map_err(|error| ErrorBody::json("payload", &error))?;
    let reply_to = match (
        reply_to,
        entries.get("reply_to_id").or_else(|| entries.get("parent_id")),
    ) {
        (None, Some(raw)) if raw.get() != "null" => {
            let id: String = serde_json::from_str(raw.get()).map_err(|_| {
                ErrorBody::field(
                    ErrorCode::InvalidField,
                    "payload.reply_to_id",
                    "it is not a string",
                )
            })?;
            Some(parse("payload.reply_to_id", &id)?)
        }
        (given, _) => given,
    };
    if name == "channel.message.replied" && reply_to.is_none() {
        return Err(ErrorBody::field(
            ErrorCode::InvalidField,
            "reply_to_id",
            "a reply names the message it replies to",
        ));
    }
    let content = content(&entries)?;
    let mut mentioned = match content_text(&content) {
        Some(text) => mentions(&text),
        None => Vec::new(),
    };
    if let Some(named) = entries
        .get("mentioned_agent_id")
        .filter(|raw| raw.get() != "null")
    {
        let id: String = serde_json::from_str(named.get()).map_err(|_| {
            ErrorBody::field(
                ErrorCode::InvalidField,
                "payload.mentioned_agent_id",
                "it is not a string",
            )
        })?;
        let named = AgentId::from_written(&id)
            .map_err(|error| ErrorBody::name("payload.mentioned_agent_id", &error))?;
        if !mentioned.contains(&named) {
            mentioned.push(named);
        }
    }
    let right = match (&target, &reply_to) {
        (MessageTarget::Agent(_), _) => "direct.message.received",
        (MessageTarget::Channel(_), None) => "channel.message.posted",
        (MessageTarget::Channel(_), Some(_)) => "channel.message.replied",
    };
    let name = if name == right {
        name
    } else {
        EventName::constant(right)
    };
    let payload = message_payload(&entries, &content, &payload);
    Ok((
        name,
        Intent::Message {
            target,
            reply_to,
            mentioned,
        },
        payload,
    ))
}

/// The names that the workspace gives out, beside those that begin with one of [`ALL_OURS`].
const GIVEN_OUT: [&str; 32] = [
    "agent.group.changed",
    "agent.joined",
    "agent.keyed",
    "agent.left",
    "agent.metadata.updated",
    "agent.registered",
    "agent.status.changed",
    "agent.subscribed",
    "agent.unsubscribed",
    "channel.archived",
    "channel.configured",
    "channel.created",
    "channel.deleted",
    "channel.joined",
    "channel.left",
    "channel.message.deleted",
    "channel.message.edited",
    "channel.message.mentioned",
    "channel.message.posted",
    "channel.message.replied",
    "channel.permissions.changed",
    "channel.topic.changed",
    "channel.unarchived",
    "direct.message.deleted",
    "direct.message.edited",
    "direct.message.received",
    "direct.message.sent",
    "workspace.file.deleted",
    "workspace.file.downloaded",
    "workspace.file.uploaded",
    "workspace.reaction.added",
    "workspace.reaction.removed",
];

/// What only names of the workspace begin with; `workspace.channel.*` is another spelling of `channel.*`.
const ALL_OURS: [&str; 3] = ["system.", "workspace.channel.", "workspace.direct."];

/// Whether the workspace gives out this name.
pub fn is_given_out(name: &str) -> bool {
    ALL_OURS.iter().any(|prefix| name.starts_with(prefix)) || GIVEN_OUT.contains(&name)
}

/// Whether the workspace sets this key of a message itself, whatever the author writes there.
pub fn is_set_by_workspace(key: &str) -> bool {
    SET_BY_WORKSPACE.contains(&key)
}

/// Whether only the workspace gives out such names, now or one day.
fn is_reserved(name: &str) -> bool {
    let own = ["system.", "channel.", "direct.", "workspace."]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    own || (name.starts_with("agent.") && name != "agent.message")
}

fn content<'a>(entries: &RawObject<'a>) -> Result<Cow<'a, RawValue>, ErrorBody> {
    let Some(raw) = entries.get("content").or_else(|| entries.get("text")) else {
        let message = "a message has content: an object such as {\"text\": \"hello\"}, or plain text";
        return Err(ErrorBody::field(
            ErrorCode::InvalidField,
            "payload.content",
            message,
        ));
    };
    match raw.get().as_bytes().first() {
        Some(b'{') => Ok(Cow::Borrowed(raw)),
        Some(b'"') => RawValue::from_string(format!("{{\"text\":{}}}", raw.get()))
            .map(Cow::Owned)
            .map_err(|error| ErrorBody::json("payload.content", &error.into())),
        _ => Err(ErrorBody::field(
            ErrorCode::InvalidField,
            "payload.content",
            "it is neither an object nor text",
        )),
    }
}

/// The content of a message as a client wrote it: an object, or text, which becomes `{"text": …}`.
///
/// # Errors
///
/// `invalid_field` or `invalid_json`, for the field `content`.
pub fn message_content(written: &Json) -> Result<Json, ErrorBody> {
    written
        .check()
        .map_err(|error| ErrorBody::json("content", &error))?;
    let entries = RawObject(vec![("content".into(), written.as_raw())]);
    let content = content(&entries).map_err(|error| ErrorBody {
        field: Some("content".to_owned()),
        ..error
    })?;
    Ok(Json::from_raw(content.into_owned()))
}

/// The text of a message, where it may name somebody.
fn content_text(content: &RawValue) -> Option<String> {
    if !content.get().contains('@') && !content.get().contains("\\u") {
        return None;
    }
    let entries = RawObject::parse(content.get()).ok()?;
    serde_json::from_str(entries.get("text")?.get()).ok()
}

fn message_payload(entries: &RawObject<'_>, content: &RawValue, written: &Json) -> Json {
    // A text beside the content is the sender's own.
    let own_text = entries.get("content").is_some();
    let is_kept = |key: &str| {
        let set = SET_BY_WORKSPACE.contains(&key) && !(own_text && key == "text");
        key != "content" && !set
    };
    let all = || {
        let kept = entries.0.iter().filter(|(key, _)| is_kept(key));
        std::iter::once((Cow::Borrowed("content"), content)).chain(kept.cloned())
    };
    // Two quotes, a colon and a comma or brace for each entry: where its length is that, nothing else stands in it.
    let length = 1 + entries
        .0
        .iter()
        .map(|(key, value)| 4 + key.len() + value.get().len())
        .sum::<usize>();
    let here = entries.0.iter().map(|(key, value)| (key.clone(), value.get()));
    if length == written.as_str().len() && all().map(|(key, value)| (key, value.get())).eq(here) {
        return written.clone();
    }
    Json::of(&RawObject(all().collect()))
}

/// The ids after `@` in a text, each once, at most 100; the workspace keeps those that are agents. An `@` inside a
/// word, as in an e-mail address, starts no mention.
///
/// A mark of punctuation may end the sentence or the id: `@carol-2.` gives `carol-2.` and `carol-2`.
pub fn mentions(text: &str) -> Vec<AgentId> {
    let in_word = |character: char| character.is_alphanumeric() || "_-.:+".contains(character);
    let mut found: Vec<AgentId> = Vec::new();
    for (at, _) in text.match_indices('@') {
        if text[..at].chars().next_back().is_some_and(in_word) || found.len() == MAX_NAMED {
            continue;
        }
        let rest = &text[at + 1..];
        let length = rest.find(|character| !in_word(character)).unwrap_or(rest.len());
        let word = rest[..length].trim_end_matches(['.', ':', '-', '+']);
        for written in [&rest[..length], word] {
            if let Ok(id) = written.parse()
                && !found.contains(&id)
            {
                found.push(id);
            }
        }
    }
    found
}

fn parse<T: std::str::FromStr<Err = InvalidName>>(field: &str, written: &str) -> Result<T, ErrorBody> {
    written.parse().map_err(|error| ErrorBody::name(field, &error))
}

fn named(field: &str, agents: &[String]) -> Result<Vec<AgentId>, ErrorBody> {
    if MAX_NAMED < agents.len() {
        return Err(ErrorBody::field(
            ErrorCode::InvalidField,
            field,
            format!("it names more than {MAX_NAMED} agents"),
        ));
    }
    let parsed = agents.iter().map(|id| AgentId::from_written(id));
    parsed
        .collect::<Result<_, _>>()
        .map_err(|error| ErrorBody::name(field, &error))
}

fn require_object(field: &str, json: &Json) -> Result<(), ErrorBody> {
    if json.is_object() {
        return Ok(());
    }
    Err(ErrorBody::field(
        ErrorCode::InvalidField,
        field,
        "it is not a JSON object",
    ))
}

fn label(field: &str, written: Option<&str>) -> Result<(), ErrorBody> {
    match written {
        Some(text) if MAX_LABEL < text.len() => Err(ErrorBody::field(
            ErrorCode::InvalidField,
            field,
            format!("it is longer than {MAX_LABEL} bytes"),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(event: Event) -> (ErrorCode, String) {
        let error = Draft::parse(event).unwrap_err();
        (error.code, error.field.unwrap())
    }

    fn post(payload: serde_json::Value) -> Event {
        Event::new("channel.message.posted")
            .to("channel:general")
            .payload(payload)
    }

    #[test]
    fn text_becomes_content_and_forged_keys_are_dropped() {
        let draft = Draft::parse(post(
            json!({"content": "hello", "sender_id": "mallory", "mood": 1}),
        ))
        .unwrap();
        assert_eq!(
            draft.body.payload.as_str(),
            r#"{"content":{"text":"hello"},"mood":1}"#
        );
    }

    #[test]
    fn a_message_is_stored_without_blanks_and_with_each_key_as_it_is_read() {
        let check = |written: &str, stored: &str| {
            let event = Event::new("channel.message.posted").to("channel:general");
            let payload = written.parse().unwrap();
            let draft = Draft::parse(Event { payload, ..event }).unwrap();
            assert_eq!(draft.body.payload.as_str(), stored);
        };
        let plain = r#"{"content":{"text":"a b"},"mood":[1, 2]}"#;
        check(plain, plain);
        check(r#"{"content":{"text":"a b"}, "mood":[1, 2]}"#, plain);
        check(r#"{"mood":[1, 2],"content":{"text":"a b"}}"#, plain);
        check(r#"{"content":{"text":"a b"},"m\u006fod":[1, 2]}"#, plain);
        check(
            r#"{"content":{"text":"a b"},"mood":[1, 2],"sender_id":"mallory"}"#,
            plain,
        );
        check(r#"{"content":"a b","mood":[1, 2]}"#, plain);
    }

    #[test]
    fn agents_of_another_interface_may_use_every_name_that_the_workspace_does_not_give_out() {
        let sent = |name: &str| Event::new(name).to("agent:bob");
        for name in [
            "agent.broadcast_message.sent",
            "workspace.task.created",
            "channel.custom.thing",
        ] {
            assert!(Draft::parse_from_outside(sent(name)).unwrap().from_outside);
            assert_eq!(refused(sent(name)).0, ErrorCode::ReservedEventName, "{name}");
        }
        for name in [
            "agent.joined",
            "channel.deleted",
            "system.network.stopped",
            "workspace.channel.custom",
        ] {
            let error = Draft::parse_from_outside(sent(name)).unwrap_err();
            assert_eq!(error.code, ErrorCode::ReservedEventName, "{name}");
        }
    }

    #[test]
    fn every_documented_name_of_the_workspace_is_known_to_be_its_own() {
        let page = include_str!("../../../docs/events.md");
        let rows = page.lines().filter(|line| line.starts_with("| `"));
        let told = rows.filter_map(|row| row.split('|').nth(1));
        let mut names = 0;
        for name in told.flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
            if is_reserved(name) && !name.contains('(') {
                assert!(is_given_out(name), "{name}");
                names += 1;
            }
        }
        assert!(15 < names, "{names}");
    }

    #[test]
    fn a_post_with_a_parent_is_a_reply() {
        let draft = Draft::parse(post(json!({"content": {"text": "yes"}, "parent_id": "m1"}))).unwrap();
        assert_eq!(draft.name, "channel.message.replied");
    }

    #[test]
    fn errors_name_the_field() {
        assert_eq!(
            refused(Event::new("Bad")),
            (ErrorCode::InvalidName, "event_name".into())
        );
        assert_eq!(
            refused(Event::new("my.event")),
            (ErrorCode::InvalidDestination, "destination_id".into())
        );
        assert_eq!(
            refused(Event::new("agent.joined").to("bob")),
            (ErrorCode::ReservedEventName, "event_name".into())
        );
        assert_eq!(
            refused(post(json!({}))),
            (ErrorCode::InvalidField, "payload.content".into())
        );
        assert_eq!(
            refused(post(json!([]))),
            (ErrorCode::InvalidField, "payload".into())
        );
        assert_eq!(
            refused(Event::new("direct.message.received").to("channel:general")),
            (ErrorCode::InvalidDestination, "destination_id".into())
        );
        assert_eq!(
            refused(Event::new("my.event").to("system:system")),
            (ErrorCode::InvalidDestination, "destination_id".into())
        );
    }

    #[test]
    fn mentions_are_words_after_an_at_and_no_e_mail_addresses() {
        let check = |text: &str, expected: &[&str]| {
            let found = mentions(text);
            assert_eq!(
                found.iter().map(AgentId::as_str).collect::<Vec<_>>(),
                expected,
                "{text}"
            );
        };
        check("hi @bob, ask @carol-2.", &["bob", "carol-2.", "carol-2"]);
        check("mail bob@example.org", &[]);
        check("@bob @bob", &["bob"]);
        check("@ alone", &[]);
    }
}
