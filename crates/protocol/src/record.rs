//! What is stored: a record of the log is a [`Header`] that decisions are made by, and a [`Body`] that can be
//! erased on its own.

use std::borrow::Cow;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::call::{ChannelPermissions, ChannelSettings};
use crate::json::RawObject;
use crate::name::read;
use crate::{
    Address, AgentId, ChannelName, EventId, EventName, InvalidName, Json, Pattern, Sequence, Source,
    Visibility,
};

/// Version of the stored format that this code writes. Older ones stay readable.
pub const FORMAT_VERSION: u16 = 1;

/// What holds the messages of a moderated channel.
pub const MODERATION: &str = "moderation";

/// A committed record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its position in the log.
    pub sequence: Sequence,
    /// What decisions and routing are made by.
    pub header: Header,
    /// The content; none once it is erased.
    pub body: Option<Body>,
}

/// The part of a record that the workspace reads: state is built from headers alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT_VERSION`] of the writer.
    pub version: u16,
    /// Id of the event; for a message, the message id.
    pub event_id: EventId,
    /// Name under which it is delivered.
    pub name: EventName,
    /// Who made it.
    pub source: Source,
    /// Where it goes.
    pub destination: Address,
    /// When it was taken, in milliseconds since 1970. State changes use this time and no other.
    pub time_ms: u64,
    /// What it is and does.
    pub act: Act,
    /// Digest of name, destination and body; tells a repetition from another event with the same id.
    pub digest: Digest,
    /// Agents mentioned in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<AgentId>,
    /// Root of the thread it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<EventId>,
    /// The event it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_to: Option<EventId>,
    /// Authors of the events it answers or replies to: they get it whatever they subscribed to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<AgentId>,
    /// Who may see it, as the sender said.
    #[serde(default)]
    pub visibility: Visibility,
    /// The agents that may see it where `visibility` is restricted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_agents: Option<Vec<AgentId>>,
    /// Whether the sender waits for an answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub requires_response: bool,
    /// Whether it has a title, and thereby begins a thread.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub titled: bool,
    /// The extension it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relevant_mod: Option<String>,
    /// The first event of the chain of events in which each was caused by the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<EventId>,
    /// How many events were before it in that chain.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hops: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What a record is, with the facts that state changes are made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Act {
    /// A message in a channel or to an agent.
    Message {
        /// The message it replies to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<EventId>,
    },
    /// A message, or another event of an agent, that the loop guard or the moderation of its channel keeps from its
    /// readers.
    Held {
        /// The message it replies to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<EventId>,
        /// The limit it ran into, or [`MODERATION`].
        limit: String,
    },
    /// The author replaced the content of a message; the body has the new one.
    MessageEdited {
        /// The message.
        message_id: EventId,
    },
    /// A message was deleted; its content is erased.
    MessageDeleted {
        /// The message.
        message_id: EventId,
    },
    /// The source reacted to a message.
    ReactionAdded {
        /// The message.
        message_id: EventId,
        /// An emoji or a short name.
        reaction: String,
    },
    /// The source took a reaction back.
    ReactionRemoved {
        /// The message.
        message_id: EventId,
        /// An emoji or a short name.
        reaction: String,
    },
    /// A file was shared; its id is that of the event, and the body tells what it is: a [`SharedFile`].
    FileShared {
        /// Bytes.
        size: u64,
    },
    /// A file was deleted, content and all.
    FileDeleted {
        /// The file.
        file_id: EventId,
        /// Bytes that are free again.
        size: u64,
    },
    /// What was sent to a place is removed, because it was older or more than is to be kept.
    HistoryRemoved {
        /// A channel, an agent or everyone.
        place: Address,
        /// Everything that was sent there up to here is gone.
        through: Sequence,
        /// How many records that were, since the last time.
        records: u64,
    },
    /// Any other event of an agent.
    Event {},
    /// An agent became known without being connected, by publishing over REST or from a watching session.
    AgentRegistered {},
    /// An agent came, or changed what it says of itself while coming back.
    AgentJoined {
        /// What it says of itself, a JSON object.
        metadata: Json,
        /// Whether the workspace made its id, which then ends with the lease.
        #[serde(default)]
        generated: bool,
    },
    /// An agent went.
    AgentLeft {
        /// `disconnected`, `lease_expired`, or what the agent said.
        reason: String,
    },
    /// A channel was made; its maker is the source.
    ChannelCreated {
        /// The channel.
        channel: ChannelName,
        /// What it is for.
        #[serde(default)]
        description: String,
    },
    /// The source became a member of a channel.
    ChannelJoined {
        /// The channel.
        channel: ChannelName,
    },
    /// The source is a member of a channel no more.
    ChannelLeft {
        /// The channel.
        channel: ChannelName,
    },
    /// A channel is about something else now.
    ChannelTopicChanged {
        /// The channel.
        channel: ChannelName,
        /// What it is about.
        topic: String,
    },
    /// A channel has other rules; all of them.
    ChannelConfigured {
        /// The channel.
        channel: ChannelName,
        /// The rules.
        settings: ChannelSettings,
    },
    /// Others may do things in a channel; all of it.
    ChannelPermissionsChanged {
        /// The channel.
        channel: ChannelName,
        /// Who may do what.
        permissions: ChannelPermissions,
    },
    /// A channel was archived, or opened again.
    ChannelArchived {
        /// The channel.
        channel: ChannelName,
        /// Whether it is archived from here on.
        archived: bool,
    },
    /// A channel was deleted.
    ChannelDeleted {
        /// The channel.
        channel: ChannelName,
    },
    /// The source does something else now.
    AgentStatusChanged {
        /// What it does.
        status: String,
    },
    /// The source says something else of itself.
    AgentMetadataUpdated {
        /// A JSON object.
        metadata: Json,
    },
    /// The agent to which this goes is in another group.
    AgentGroupChanged {
        /// The group.
        group: String,
    },
    /// The source proves itself by another key from here on, or by none.
    AgentKeyed {
        /// The key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<AgentKey>,
    },
    /// The source wants these events and, with its other subscriptions, no others.
    Subscribed {
        /// Id of the subscription.
        id: EventId,
        /// Names of events.
        patterns: Vec<Pattern>,
        /// Only events of these channels; none: wherever they are sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channels: Option<Vec<ChannelName>>,
    },
    /// A subscription of the source ended.
    Unsubscribed {
        /// Id of the subscription.
        id: EventId,
    },
    /// A token admits from here on.
    TokenCreated(TokenGrant),
    /// A token admits no more.
    TokenRevoked {
        /// Id of the token.
        id: EventId,
    },
}

/// What is known of a file besides its content. It is erased with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedFile {
    /// Name as the uploader gave it; never a path.
    pub filename: String,
    /// Bytes.
    pub size: u64,
    /// Media type.
    pub mime_type: String,
    /// SHA-256 of the content, in lower-case hex.
    pub checksum: String,
    /// What the uploader says of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

impl SharedFile {
    /// The body of the event that shares it.
    pub fn body(&self) -> Body {
        Body {
            payload: Json::of(self),
            ..Body::empty()
        }
    }
}

/// What a token allows; the token itself is stored as a hash only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenGrant {
    /// Names the token without giving it away.
    pub id: EventId,
    /// BLAKE3, in hex, of the lower-case hex SHA-256 of the token.
    pub hash: String,
    /// What its bearer may do.
    pub role: Role,
    /// The only agent it admits; none: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// When it ends, in milliseconds since 1970; none: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
}

/// What proves an agent that comes by without a connection of its own; the key itself is stored as a hash only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentKey {
    /// BLAKE3, in hex, of the key.
    pub hash: String,
    /// What the agent may do.
    pub role: Role,
    /// The token that admitted it, so that revoking the token ends the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<EventId>,
    /// When it ends, in milliseconds since 1970; none: when the agent leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
}

/// What somebody may do in the workspace; each role may do what the ones after it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Role {
    /// Everything, tokens included.
    Admin,
    /// Moderate what others posted.
    Moderator,
    /// Take part.
    #[default]
    Member,
    /// Read only.
    Observer,
}

impl std::str::FromStr for Role {
    type Err = InvalidName;

    fn from_str(input: &str) -> Result<Self, Self::Err> {
        match input {
            "admin" => Ok(Self::Admin),
            "moderator" => Ok(Self::Moderator),
            "member" => Ok(Self::Member),
            "observer" => Ok(Self::Observer),
            _ => Err(InvalidName::new(
                "role",
                input,
                "it is none of admin, moderator, member, observer",
            )),
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Admin => "admin",
            Self::Moderator => "moderator",
            Self::Member => "member",
            Self::Observer => "observer",
        })
    }
}

/// The part of a record that can be erased: passed through, never read by the workspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// What the sender wrote, a JSON object.
    #[serde(default = "Json::empty_object")]
    pub payload: Json,
    /// Free JSON object beside the payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Json>,
    /// The event in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_representation: Option<String>,
    /// Title of a thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_name: Option<String>,
    /// What the interface that took it has to remember to tell it again as it was written; told to nobody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aside: Option<Json>,
}

impl Body {
    /// A body with nothing in it.
    pub fn empty() -> Self {
        Self {
            payload: Json::empty_object(),
            metadata: None,
            text_representation: None,
            thread_name: None,
            aside: None,
        }
    }
}

/// Digest of an event, 16 bytes, written in hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest([u8; 16]);

impl Digest {
    /// The digest of an event with this name, destination and body, and the events it is linked to.
    pub fn of(name: &EventName, destination: &Address, body: &Body, links: &[Option<&EventId>]) -> Self {
        let mut hasher = blake3::Hasher::new();
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(name.as_str().as_bytes());
        part(destination.written().as_bytes());
        part(body.payload.as_str().as_bytes());
        part(body.metadata.as_ref().map_or("", Json::as_str).as_bytes());
        part(body.text_representation.as_deref().unwrap_or_default().as_bytes());
        for link in links {
            part(link.map_or("", EventId::as_str).as_bytes());
        }
        Self::from_bytes(
            hasher.finalize().as_bytes()[..16]
                .try_into()
                .expect("a slice of 16 bytes"),
        )
    }

    /// The digest with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = InvalidName;

    fn from_str(input: &str) -> Result<Self, InvalidName> {
        let invalid = |_| InvalidName::new("digest", input, "it is not 32 hex digits");
        let number = u128::from_str_radix(input, 16).map_err(invalid)?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", u128::from_be_bytes(self.0)))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer)
    }
}

impl Header {
    /// The header of a record with a new id and nothing else to say.
    pub fn new(
        name: EventName,
        source: Source,
        destination: Address,
        time_ms: u64,
        act: Act,
        body: &Body,
    ) -> Self {
        Self {
            version: FORMAT_VERSION,
            event_id: EventId::new(),
            digest: Digest::of(&name, &destination, body, &[]),
            name,
            source,
            destination,
            time_ms,
            act,
            mentions: Vec::new(),
            thread: None,
            response_to: None,
            answers: Vec::new(),
            visibility: Visibility::Network,
            allowed_agents: None,
            requires_response: false,
            titled: false,
            relevant_mod: None,
            root: None,
            hops: 0,
        }
    }

    /// Whether it has one of the names of messages, which no other event has.
    pub fn is_named_as_message(&self) -> bool {
        let names = [
            "channel.message.posted",
            "channel.message.replied",
            "direct.message.received",
        ];
        names.contains(&self.name.as_str())
    }

    /// The only agents that may see it and what is said of it later; none: whoever its destination reaches.
    pub fn audience(&self) -> Option<Vec<AgentId>> {
        match self.visibility {
            Visibility::Restricted => {
                let allowed = self.allowed_agents.iter().flatten();
                let mut audience: Vec<AgentId> = allowed.chain(self.source.agent()).cloned().collect();
                audience.sort_unstable();
                audience.dedup();
                Some(audience)
            }
            Visibility::ModOnly => Some(Vec::new()),
            Visibility::Public | Visibility::Network | Visibility::Channel | Visibility::Direct => None,
        }
    }
}

impl Record {
    /// Whether it is a message and not another event.
    pub fn is_message(&self) -> bool {
        matches!(self.header.act, Act::Message { .. })
    }

    /// The message it replies to.
    pub fn reply_to(&self) -> Option<&EventId> {
        match &self.header.act {
            Act::Message { reply_to } | Act::Held { reply_to, .. } => reply_to.as_ref(),
            _ => None,
        }
    }

    /// The payload as readers get it: the documented keys set by the workspace, the rest as it was written.
    ///
    /// An erased body leaves the keys of the header and `"erased": true`.
    pub fn payload(&self) -> Json {
        let header = &self.header;
        match &header.act {
            Act::Held { .. } if header.is_named_as_message() => object(&self.message_fields()),
            Act::Event {} | Act::Held { .. } => self
                .body
                .as_ref()
                .map_or_else(erased, |body| body.payload.clone()),
            Act::Message { .. } => object(&self.message_fields()),
            Act::MessageEdited { message_id } => {
                let content = self.content();
                let mut fields = vec![
                    ("message_id", Field::Text(message_id.as_str())),
                    ("sender_id", Field::Text(header.source.as_str())),
                    ("content", Field::Json(content.as_raw())),
                ];
                if self.body.is_none() {
                    fields.push(("erased", Field::Flag(true)));
                }
                self.in_channel(fields)
            }
            Act::MessageDeleted { message_id } => self.in_channel(vec![
                ("message_id", Field::Text(message_id.as_str())),
                ("agent_id", Field::Text(header.source.as_str())),
            ]),
            Act::ReactionAdded { message_id, reaction } | Act::ReactionRemoved { message_id, reaction } => {
                self.in_channel(vec![
                    ("message_id", Field::Text(message_id.as_str())),
                    ("reaction", Field::Text(reaction)),
                    ("agent_id", Field::Text(header.source.as_str())),
                ])
            }
            Act::FileShared { size } => self.shared_file_payload(*size),
            Act::FileDeleted { file_id, .. } => self.in_channel(vec![
                ("file_id", Field::Text(file_id.as_str())),
                ("agent_id", Field::Text(header.source.as_str())),
            ]),
            Act::ChannelTopicChanged { channel, topic } => object(&[
                ("channel", Field::Text(channel.as_str())),
                ("topic", Field::Text(topic)),
                ("agent_id", Field::Text(header.source.as_str())),
            ]),
            Act::ChannelConfigured { channel, settings } => object(&[
                ("channel", Field::Text(channel.as_str())),
                ("settings", Field::Settings(settings)),
            ]),
            Act::ChannelPermissionsChanged { channel, permissions } => object(&[
                ("channel", Field::Text(channel.as_str())),
                ("permissions", Field::Permissions(permissions)),
            ]),
            Act::ChannelArchived { channel, archived } => object(&[
                ("channel", Field::Text(channel.as_str())),
                ("archived", Field::Flag(*archived)),
            ]),
            Act::ChannelDeleted { channel } => object(&[("channel", Field::Text(channel.as_str()))]),
            Act::AgentStatusChanged { status } => object(&[
                ("agent_id", Field::Text(header.source.as_str())),
                ("status", Field::Text(status)),
            ]),
            Act::AgentGroupChanged { group } => object(&[("new_group", Field::Text(group))]),
            Act::AgentJoined { metadata, .. } | Act::AgentMetadataUpdated { metadata } => object(&[
                ("agent_id", Field::Text(header.source.as_str())),
                ("metadata", Field::Json(metadata.as_raw())),
            ]),
            Act::AgentLeft { reason } => object(&[
                ("agent_id", Field::Text(header.source.as_str())),
                ("reason", Field::Text(reason)),
            ]),
            Act::ChannelCreated { channel, description } => object(&[
                ("channel", Field::Text(channel.as_str())),
                ("description", Field::Text(description)),
                ("creator_id", Field::Text(header.source.as_str())),
            ]),
            Act::ChannelJoined { channel } | Act::ChannelLeft { channel } => object(&[
                ("channel", Field::Text(channel.as_str())),
                ("agent_id", Field::Text(header.source.as_str())),
            ]),
            Act::HistoryRemoved {
                place,
                through,
                records,
            } => object(&[
                ("place", Field::Text(&place.to_string())),
                ("through", Field::Number(through.get())),
                ("records", Field::Number(*records)),
            ]),
            Act::AgentRegistered {}
            | Act::AgentKeyed { .. }
            | Act::Subscribed { .. }
            | Act::Unsubscribed { .. }
            | Act::TokenCreated(_)
            | Act::TokenRevoked { .. } => Json::empty_object(),
        }
    }

    /// The content of a message: an object, usually with `text`.
    pub fn content(&self) -> Json {
        let content = self.body.as_ref().and_then(|body| {
            let entries = RawObject::parse(body.payload.as_str()).ok()?;
            entries.get("content").map(|raw| Json::from_raw(raw.to_owned()))
        });
        content.unwrap_or_else(Json::empty_object)
    }

    /// Title of the thread that it begins.
    pub fn thread_name(&self) -> Option<&str> {
        self.body.as_ref()?.thread_name.as_deref()
    }

    /// What is known of the file that it shares; none where it shares none, or where that is erased.
    pub fn shared_file(&self) -> Option<SharedFile> {
        let (Act::FileShared { .. }, Some(body)) = (&self.header.act, &self.body) else {
            return None;
        };
        serde_json::from_str(body.payload.as_str()).ok()
    }

    /// A payload, with the channel in front where it goes to one.
    fn in_channel<'a>(&'a self, mut fields: Vec<(&'a str, Field<'a>)>) -> Json {
        if let Address::Channel(channel) = &self.header.destination {
            fields.insert(0, ("channel", Field::Text(channel.as_str())));
        }
        object(&fields)
    }

    fn shared_file_payload(&self, size: u64) -> Json {
        let header = &self.header;
        let mut fields = vec![
            ("file_id", Field::Text(header.event_id.as_str())),
            ("size", Field::Number(size)),
            ("uploader", Field::Text(header.source.as_str())),
        ];
        let file;
        match self.shared_file() {
            Some(shared) => {
                file = shared;
                fields.insert(1, ("filename", Field::Text(&file.filename)));
                fields.extend([
                    ("mime_type", Field::Text(&file.mime_type)),
                    ("checksum", Field::Text(&file.checksum)),
                    ("description", Field::Text(&file.description)),
                    ("tags", Field::Texts(&file.tags)),
                ]);
            }
            None => fields.push(("erased", Field::Flag(true))),
        }
        if let Address::Agent(agent) = &header.destination {
            fields.push(("target_id", Field::Text(agent.as_str())));
        }
        self.in_channel(fields)
    }

    fn message_fields(&self) -> Vec<(Cow<'_, str>, Field<'_>)> {
        let header = &self.header;
        let mut fields: Vec<(Cow<'_, str>, Field<'_>)> = Vec::with_capacity(8);
        let mut put = |key: &'static str, field| fields.push((key.into(), field));
        if let Address::Channel(channel) = &header.destination {
            put("channel", Field::Text(channel.as_str()));
        }
        put("sender_id", Field::Text(header.source.as_str()));
        put("message_id", Field::Text(header.event_id.as_str()));
        if let Some(parent) = self.reply_to() {
            put("reply_to_id", Field::Text(parent.as_str()));
            put("parent_id", Field::Text(parent.as_str()));
        }
        if let Some(thread) = &header.thread {
            put("thread_id", Field::Text(thread.as_str()));
        }
        let Some(body) = &self.body else {
            put("content", Field::Nothing {});
            put("erased", Field::Flag(true));
            return fields;
        };
        let entries = RawObject::parse(body.payload.as_str()).unwrap_or(RawObject(Vec::new()));
        if let (Address::Agent(_), Some(content)) = (&header.destination, entries.get("content"))
            && let Ok(content) = RawObject::parse(content.get())
            && let Some(text) = content.get("text")
            && entries.get("text").is_none()
        {
            put("text", Field::Json(text));
        }
        fields.extend(
            entries
                .0
                .into_iter()
                .map(|(key, value)| (key, Field::Json(value))),
        );
        fields
    }
}

/// The payload of a record as [`Record::payload`] tells it, to be written somewhere: that of a message, of which there are
/// most, goes there at once.
pub(crate) enum Payload<'a> {
    Message(Vec<(Cow<'a, str>, Field<'a>)>),
    Other(Json),
}

impl<'a> Payload<'a> {
    pub(crate) fn of(record: &'a Record) -> Self {
        match &record.header.act {
            Act::Message { .. } => Self::Message(record.message_fields()),
            _ => Self::Other(record.payload()),
        }
    }
}

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Message(fields) => Fields(fields).serialize(serializer),
            Self::Other(json) => json.serialize(serializer),
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Field<'a> {
    Nothing {},
    Text(&'a str),
    Texts(&'a [String]),
    Number(u64),
    Flag(bool),
    Settings(&'a ChannelSettings),
    Permissions(&'a ChannelPermissions),
    Json(&'a RawValue),
}

fn erased() -> Json {
    object(&[("erased", Field::Flag(true))])
}

/// The entries of an object, to be written as one.
struct Fields<'a, K>(&'a [(K, Field<'a>)]);

impl<K: Serialize> Serialize for Fields<'_, K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

fn object<K: Serialize>(fields: &[(K, Field<'_>)]) -> Json {
    Json::of(&Fields(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(destination: &str, act: Act, payload: &str) -> Record {
        let name = EventName::constant("channel.message.posted");
        let destination: Address = destination.parse().unwrap();
        let body = Body {
            payload: payload.parse().unwrap(),
            ..Body::empty()
        };
        Record {
            sequence: Sequence::new(7),
            header: Header {
                event_id: "m2".parse().unwrap(),
                ..Header::new(
                    name,
                    Source::Agent("alice".parse().unwrap()),
                    destination,
                    1_700_000_000_000,
                    act,
                    &body,
                )
            },
            body: Some(body),
        }
    }

    #[test]
    fn a_message_carries_the_documented_keys_beside_what_was_written() {
        let reply = Act::Message {
            reply_to: Some("m1".parse().unwrap()),
        };
        let record = record(
            "channel:general",
            reply,
            r#"{"content":{"text":"hi"},"mood":"good"}"#,
        );
        insta::assert_snapshot!(record.payload(), @r#"{"channel":"general","sender_id":"alice","message_id":"m2","reply_to_id":"m1","parent_id":"m1","content":{"text":"hi"},"mood":"good"}"#);
    }

    #[test]
    fn a_direct_message_has_its_text_at_both_levels() {
        let record = record(
            "agent:bob",
            Act::Message { reply_to: None },
            r#"{"content":{"text":"hi"}}"#,
        );
        insta::assert_snapshot!(record.payload(), @r#"{"sender_id":"alice","message_id":"m2","text":"hi","content":{"text":"hi"}}"#);
    }

    #[test]
    fn an_erased_message_leaves_a_tombstone() {
        let mut record = record(
            "channel:general",
            Act::Message { reply_to: None },
            r#"{"content":{"text":"secret"}}"#,
        );
        record.body = None;
        insta::assert_snapshot!(record.payload(), @r#"{"channel":"general","sender_id":"alice","message_id":"m2","content":{},"erased":true}"#);
    }

    #[test]
    fn a_header_survives_storage() {
        let joined = Act::AgentJoined {
            metadata: r#"{"name":"A","n":1.50}"#.parse().unwrap(),
            generated: false,
        };
        let header = record("agent:broadcast", joined, "{}").header;
        let text = serde_json::to_string(&header).unwrap();
        assert_eq!(serde_json::from_str::<Header>(&text).unwrap(), header);
        insta::assert_snapshot!(text, @r#"{"version":1,"event_id":"m2","name":"channel.message.posted","source":"alice","destination":"agent:broadcast","time_ms":1700000000000,"act":{"agent_joined":{"metadata":{"name":"A","n":1.50},"generated":false}},"digest":"3ef145c2246afca72adb2c5a6a0b2c70","visibility":"network"}"#);
    }

    #[test]
    fn events_about_messages_files_channels_and_agents_have_the_documented_keys() {
        let keys_of = |payload: &Json| {
            let entries = RawObject::parse(payload.as_str()).unwrap();
            let keys: Vec<&str> = entries.0.iter().map(|(key, _)| key.as_ref()).collect();
            keys.join(" ")
        };
        let keys = |destination: &str, act: Act| {
            keys_of(&record(destination, act, r#"{"content":{"text":"new"}}"#).payload())
        };
        let message_id: EventId = "m1".parse().unwrap();
        let channel: ChannelName = "general".parse().unwrap();
        let reaction = "thumbsup".to_owned();
        let edited = Act::MessageEdited {
            message_id: message_id.clone(),
        };
        assert_eq!(
            keys("channel:general", edited),
            "channel message_id sender_id content"
        );
        let deleted = Act::MessageDeleted {
            message_id: message_id.clone(),
        };
        assert_eq!(keys("channel:general", deleted), "channel message_id agent_id");
        let added = Act::ReactionAdded { message_id, reaction };
        assert_eq!(
            keys("channel:general", added.clone()),
            "channel message_id reaction agent_id"
        );
        assert_eq!(keys("agent:bob", added), "message_id reaction agent_id");
        let file = SharedFile {
            filename: "a.csv".to_owned(),
            size: 3,
            mime_type: "text/csv".to_owned(),
            checksum: "00".to_owned(),
            description: String::new(),
            tags: vec![],
        };
        let file_keys = "file_id filename size uploader mime_type checksum description tags";
        let shared = |destination: &str, body: Option<Body>| {
            let share = record(destination, Act::FileShared { size: 3 }, "{}");
            keys_of(&Record { body, ..share }.payload())
        };
        assert_eq!(
            shared("channel:general", Some(file.body())),
            format!("channel {file_keys}")
        );
        assert_eq!(
            shared("agent:bob", Some(file.body())),
            format!("{file_keys} target_id")
        );
        assert_eq!(
            shared("channel:general", None),
            "channel file_id size uploader erased"
        );
        let topic = Act::ChannelTopicChanged {
            channel: channel.clone(),
            topic: "plans".to_owned(),
        };
        assert_eq!(keys("channel:general", topic), "channel topic agent_id");
        assert_eq!(
            keys("agent:broadcast", Act::ChannelDeleted { channel }),
            "channel"
        );
        let status = Act::AgentStatusChanged {
            status: "busy".to_owned(),
        };
        assert_eq!(keys("agent:broadcast", status), "agent_id status");
        let group = Act::AgentGroupChanged {
            group: "users".to_owned(),
        };
        assert_eq!(keys("agent:bob", group), "new_group");
    }
}
