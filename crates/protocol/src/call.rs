//! The calls of the workspace, the same over the native protocol and REST: each is a struct of parameters that
//! knows its method and its result.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::record::{Record, Role};
use crate::{Address, AgentId, ChannelName, ErrorBody, Event, EventId, Json, Pattern, Receipt, Sequence};

mod agents;
mod channels;
mod files;
mod messages;
mod retention;
mod search;

pub use agents::{
    Check, Conversation, Conversations, Explain, Explanation, FollowSystem, GetAgent, GetPermissions,
    HeldMessage, HeldMessages, ListConversations, ListHeld, Permissions, Unblock, Unblocked, UpdateAgent,
};
pub use channels::{
    ArchiveChannel, ChannelPermissions, ChannelSettings, ConfigureChannel, DeleteChannel, Grantee,
    ListMembers, Members, SetPermissions, SetTopic,
};
pub use files::{DeleteFile, FileInfo, Files, GetFile, ListFiles};
pub use messages::{DeleteMessage, EditMessage, GetMessage, React, ReactAction, Reaction};
pub use retention::{GetRetention, HoldUp, Kept, RetainedPlace, RetentionInfo, RetentionLimits};
pub use search::{FoundMessage, FoundMessages, SearchMessages, SnippetPart};

/// Parameters of a method.
pub trait Call: Serialize + DeserializeOwned {
    /// Name of the method in a request frame.
    const METHOD: &'static str;
    /// What the method answers.
    type Reply: Serialize + DeserializeOwned;
}

macro_rules! call {
    ($($params:ty => $method:literal -> $reply:ty;)*) => {
        $(impl Call for $params {
            const METHOD: &'static str = $method;
            type Reply = $reply;
        })*

        /// Every method of this version.
        pub const METHODS: &[&str] = &[$($method),*];
    };
}

call! {
    GetWorkspace => "get_workspace" -> WorkspaceInfo;
    ListAgents => "list_agents" -> Agents;
    GetAgent => "get_agent" -> AgentInfo;
    UpdateAgent => "update_agent" -> AgentInfo;
    GetPermissions => "get_permissions" -> Permissions;
    FollowSystem => "follow_system" -> Done;
    ListMods => "list_mods" -> Mods;
    ListChannels => "list_channels" -> Channels;
    CreateChannel => "create_channel" -> ChannelInfo;
    JoinChannel => "join_channel" -> ChannelInfo;
    LeaveChannel => "leave_channel" -> ChannelInfo;
    ListMembers => "list_members" -> Members;
    SetTopic => "set_topic" -> Receipt;
    ConfigureChannel => "configure_channel" -> Receipt;
    SetPermissions => "set_permissions" -> Receipt;
    ArchiveChannel => "archive_channel" -> Receipt;
    DeleteChannel => "delete_channel" -> Receipt;
    ListMessages => "list_messages" -> Messages;
    GetMessage => "get_message" -> Message;
    EditMessage => "edit_message" -> Receipt;
    DeleteMessage => "delete_message" -> Receipt;
    React => "react" -> Receipt;
    ListConversations => "list_conversations" -> Conversations;
    SearchMessages => "search_messages" -> FoundMessages;
    ListFiles => "list_files" -> Files;
    GetFile => "get_file" -> FileInfo;
    DeleteFile => "delete_file" -> Receipt;
    Explain => "explain" -> Explanation;
    ListHeld => "list_held" -> HeldMessages;
    Unblock => "unblock" -> Unblocked;
    ReadEvents => "read_events" -> Events;
    Subscribe => "subscribe" -> Subscription;
    Unsubscribe => "unsubscribe" -> Done;
    CreateToken => "create_token" -> CreatedToken;
    ListTokens => "list_tokens" -> Tokens;
    RevokeToken => "revoke_token" -> Done;
    GetRetention => "get_retention" -> RetentionInfo;
}

/// Tells about the workspace.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GetWorkspace {}

/// What the workspace is and how far its log goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkspaceInfo {
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// Version of the server.
    pub server: String,
    /// The end of the log as of now.
    pub head: Sequence,
    /// How far the view (history, backlog) follows.
    pub applied: Sequence,
    /// What an acknowledgement promises: `fsync`, `os` or `memory`.
    pub durability: String,
    /// Agents connected now.
    pub agents_online: u64,
    /// Agents known.
    pub agents_known: u64,
    /// Channels.
    pub channels: u64,
}

/// Lists agents, oneself included, sorted by id.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
pub struct ListAgents {
    /// Also those that are known and away; default: only those online.
    #[serde(default)]
    pub all: bool,
    /// Only those that have this among their capabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
}

/// A list of agents.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Agents {
    /// Sorted by id.
    pub agents: Vec<AgentInfo>,
}

/// An agent as others see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentInfo {
    /// Its id.
    pub id: String,
    /// The same, under the older name.
    pub agent_id: String,
    /// `metadata.name`, if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `offline`, or what it says it does, else `online`.
    pub status: String,
    /// When it was last connected, in seconds since 1970; for those online the time of joining.
    pub last_seen: f64,
    /// `metadata.capabilities`, if it gave any.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// What it says of itself.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub metadata: Json,
}

/// Lists the extensions of the workspace.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ListMods {}

/// A list of extensions.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Mods {
    /// In the order they see events.
    pub mods: Vec<ModInfo>,
}

/// An extension.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it does.
    pub description: String,
    /// Whether a client needs an adapter to use it; never here.
    pub requires_adapter: bool,
}

/// Lists the channels the asker may see, sorted by name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ListChannels {}

/// A list of channels.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Channels {
    /// Sorted by name.
    pub channels: Vec<ChannelInfo>,
}

/// A channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChannelInfo {
    /// Its name, without `#`.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What it is about now.
    #[serde(default)]
    pub topic: String,
    /// Whether it can be read and not written.
    #[serde(default)]
    pub archived: bool,
    /// Its rules.
    #[serde(default)]
    pub settings: ChannelSettings,
    /// Who may do what in it.
    #[serde(default)]
    pub permissions: ChannelPermissions,
    /// Who made it; `system` for those of the configuration.
    pub creator_id: String,
    /// When, in seconds since 1970.
    pub created_at: f64,
    /// Whether the asker is a member.
    pub joined: bool,
    /// Number of members.
    pub members: u64,
    /// Number of events in it.
    pub events: u64,
}

/// Makes a channel; the maker is a member.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateChannel {
    /// Its name; one `#` in front is taken off.
    pub name: String,
    /// What it is for; at most 1,000 bytes.
    #[serde(default)]
    pub description: String,
}

/// Becomes a member of a channel; nothing changes for who is one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JoinChannel {
    /// The channel.
    pub channel: String,
}

/// Stops being a member of a channel; nothing changes for who is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeaveChannel {
    /// The channel.
    pub channel: String,
}

/// Reads the messages of a channel, of the conversation with an agent, or of a thread. Exactly one of the three is
/// named. Deleted messages are left out.
///
/// Newest first, unless `after` is given, which reads forward from there.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ListMessages {
    /// The channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The other side of the conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// First message of the thread, which is not one of its replies and not listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<EventId>,
    /// At most this many, 1 to 1,000; default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only messages before this sequence, newest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Only messages after this sequence, oldest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Passes over this many first; default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Whether to tell how many there are altogether; default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<bool>,
}

/// Which messages of a channel or conversation a REST request wants; see [`ListMessages`].
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
pub struct Page {
    /// At most this many, 1 to 1,000; default 50.
    pub limit: Option<u32>,
    /// Only messages before this sequence, newest first.
    pub before: Option<u64>,
    /// Only messages after this sequence, oldest first.
    pub after: Option<u64>,
    /// Passes over this many first; default 0.
    pub offset: Option<u64>,
    /// Whether to tell how many there are altogether; default false.
    pub count: Option<bool>,
}

impl Page {
    /// Of the messages of a channel.
    pub fn of_channel(self, channel: String) -> ListMessages {
        ListMessages {
            channel: Some(channel),
            ..self.of_nobody()
        }
    }

    /// Of the conversation with an agent.
    pub fn of_conversation(self, agent_id: String) -> ListMessages {
        ListMessages {
            agent_id: Some(agent_id),
            ..self.of_nobody()
        }
    }

    /// Of a thread.
    pub fn of_thread(self, thread_id: EventId) -> ListMessages {
        ListMessages {
            thread_id: Some(thread_id),
            ..self.of_nobody()
        }
    }

    fn of_nobody(self) -> ListMessages {
        ListMessages {
            channel: None,
            agent_id: None,
            thread_id: None,
            limit: self.limit,
            before: self.before,
            after: self.after,
            offset: self.offset,
            count: self.count,
        }
    }
}

/// A page of messages.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Messages {
    /// The messages, in the order that was asked for.
    pub messages: Vec<Message>,
    /// Whether there are more in this direction.
    pub has_more: bool,
    /// What was said up to this sequence is removed, because it was older or more than is kept; none: nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_through: Option<Sequence>,
    /// How many there are altogether, wherever the page begins; only where it was asked for. Restricted messages of others,
    /// and deleted direct ones, may count until the page that ends the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_count: Option<u64>,
}

/// A message as the history tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Message {
    /// Id of the message.
    pub message_id: String,
    /// The same, under the older name.
    pub id: String,
    /// Position in the log: the cursor to go on from.
    pub sequence: Sequence,
    /// Name of the event it came with.
    pub event_name: String,
    /// The channel; none for direct messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The addressee; none for channel messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_id: Option<String>,
    /// Who wrote it.
    pub sender_id: String,
    /// An object, usually with `text`.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub content: Json,
    /// Free JSON object beside the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub metadata: Option<Json>,
    /// When the workspace took it, in seconds since 1970.
    pub timestamp: f64,
    /// The message it replies to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to_id: Option<String>,
    /// The event it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_to: Option<String>,
    /// First message of its thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    /// Title of the thread that it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_name: Option<String>,
    /// Number of replies in the thread that it begins.
    #[serde(default)]
    pub reply_count: u64,
    /// Agents mentioned in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<String>,
    /// The reactions to it, in the order of the first of each.
    #[serde(default)]
    pub reactions: Vec<Reaction>,
    /// When its content was last replaced, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<f64>,
}

impl Message {
    /// The text of the message.
    pub fn text(&self) -> Option<&str> {
        self.content.get("text").and_then(serde_json::Value::as_str)
    }

    /// The message that an event brought. A payload without `content` counts as the content.
    pub fn of_event(event: &Event) -> Self {
        let destination = event.destination_id.as_deref().unwrap_or_default();
        let text = |key: &str| event.payload.get(key).and_then(Value::as_str).map(str::to_owned);
        let content = event.payload.member("content");
        Self {
            message_id: event.event_id.clone(),
            id: event.event_id.clone(),
            sequence: event.sequence.unwrap_or(Sequence::ZERO),
            event_name: event.event_name.clone(),
            channel: destination.strip_prefix("channel:").map(str::to_owned),
            target_id: destination.strip_prefix("agent:").map(str::to_owned),
            sender_id: event.source_id.clone(),
            content: content.unwrap_or_else(|| event.payload.clone()),
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

    /// The message of a record, as it was written.
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds since 1970 fit a double for 280,000 years"
    )]
    pub fn of(record: &Record) -> Self {
        let header = &record.header;
        let (channel, target_id) = match &header.destination {
            Address::Channel(channel) => (Some(channel.to_string()), None),
            Address::Agent(agent) => (None, Some(agent.to_string())),
            _ => (None, None),
        };
        let text = |id: &EventId| id.to_string();
        Self {
            message_id: header.event_id.to_string(),
            id: header.event_id.to_string(),
            sequence: record.sequence,
            event_name: header.name.to_string(),
            channel,
            target_id,
            sender_id: header.source.to_string(),
            content: record.content(),
            metadata: record.body.as_ref().and_then(|body| body.metadata.clone()),
            timestamp: header.time_ms as f64 / 1000.0,
            reply_to_id: record.reply_to().map(text),
            response_to: header.response_to.as_ref().map(text),
            thread_id: header.thread.as_ref().map(text),
            thread_name: record.thread_name().map(str::to_owned),
            reply_count: 0,
            mentions: header.mentions.iter().map(ToString::to_string).collect(),
            reactions: Vec::new(),
            edited_at: None,
        }
    }
}

/// Reads the events that an agent is entitled to, oldest first, without a session and without moving its cursor.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
pub struct ReadEvents {
    /// Only events after this sequence; default: the agent's cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// At most this many, 1 to 1,000; default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Waits this many seconds for the first event, 0 to 30; default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<u32>,
}

/// A page of events.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Events {
    /// The events, oldest first.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<crate::Event>))]
    pub events: Vec<Json>,
    /// Everything for the asker up to here was in this page or before it: the `after` to go on with.
    pub through: Sequence,
}

/// Narrows what the agent gets: with subscriptions, only what one of them selects, and always the answers to
/// its own messages. Without any, everything it is entitled to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Subscribe {
    /// Names of events, 1 to 100; `*` stands for any run of characters.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub patterns: Vec<Pattern>,
    /// Only events of these channels, at most 100; none: wherever they are sent.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "written_channels"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>))]
    pub channels: Option<Vec<ChannelName>>,
}

/// Reads channel names as people write them, with `#` or `channel:` in front or without.
fn written_channels<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<ChannelName>>, D::Error> {
    let written = Option::<Vec<String>>::deserialize(deserializer)?;
    let parse = |names: Vec<String>| names.iter().map(|name| ChannelName::from_written(name)).collect();
    written.map(parse).transpose().map_err(serde::de::Error::custom)
}

/// A subscription, kept with the agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Subscription {
    /// Ends it.
    pub subscription_id: String,
}

/// Ends a subscription.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unsubscribe {
    /// From [`Subscription`].
    pub subscription_id: EventId,
}

/// It is done; there is nothing to tell.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Done {}

/// Makes a token; only for admins.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateToken {
    /// What its bearer may do.
    #[serde(default)]
    pub role: Role,
    /// The only agent it admits; none: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub agent_id: Option<AgentId>,
    /// It ends this many seconds from now; none: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<u64>,
}

/// A new token. This is the only time it shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatedToken {
    /// The token: 256 random bits.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub token: crate::Secret,
    /// What it allows.
    #[serde(flatten)]
    pub info: TokenInfo,
}

/// A token without the token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenInfo {
    /// Names the token; revokes it.
    pub token_id: String,
    /// What its bearer may do.
    pub role: Role,
    /// The only agent it admits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub agent_id: Option<AgentId>,
    /// When it ends, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<f64>,
}

/// Lists tokens; only for admins.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ListTokens {}

/// A list of tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Tokens {
    /// In the order they were made.
    pub tokens: Vec<TokenInfo>,
}

/// Revokes a token at once: its sessions end. Only for admins.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RevokeToken {
    /// From [`TokenInfo`].
    pub token_id: EventId,
}

/// What `GET /api/health` and `/healthz` answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    /// `ok`, or `unavailable` while the log takes nothing.
    pub status: String,
    /// Version of the server.
    pub version: String,
    /// Name of the workspace.
    pub network: String,
}

/// What a REST request is answered with when it is refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Failure {
    /// Why.
    pub error: ErrorBody,
}

/// A message as a REST request writes it; where it goes is in the path.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PostMessage {
    /// Text, or an object, usually with `text`.
    #[cfg_attr(feature = "openapi", schema(value_type = serde_json::Value))]
    pub content: Json,
    /// Free JSON object beside the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub metadata: Option<Json>,
    /// The message it replies to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to_id: Option<String>,
    /// Id of the message: a repetition with the same one is stored once. Made when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
}

impl PostMessage {
    /// The event that posts it in a channel.
    pub fn in_channel(self, channel: &ChannelName) -> Event {
        let name = match self.reply_to_id {
            None => "channel.message.posted",
            Some(_) => "channel.message.replied",
        };
        self.event(name, &Address::Channel(channel.clone()))
    }

    /// The event that sends it to an agent.
    pub fn to_agent(self, agent_id: &AgentId) -> Event {
        self.event("direct.message.received", &Address::Agent(agent_id.clone()))
    }

    fn event(self, name: &str, destination: &Address) -> Event {
        let payload = format!("{{\"content\":{}}}", self.content.as_str());
        let mut event = Event::new(name).to(destination.to_string());
        event.payload = payload.parse().expect("made of JSON");
        event.event_id = self.event_id.unwrap_or_default();
        event.metadata = self.metadata;
        event.reply_to_id = self.reply_to_id;
        event
    }

    /// Names the field of an error as this request calls it: `payload.content` of the event is `content` here, and
    /// the destination is `addressee`, a part of the path.
    pub fn blame(mut error: ErrorBody, addressee: &str) -> ErrorBody {
        error.field = error.field.map(|field| match field.as_str() {
            "destination_id" => addressee.to_owned(),
            other => other.strip_prefix("payload.").unwrap_or(other).to_owned(),
        });
        error
    }
}

/// The default of [`ListMessages::limit`].
pub const DEFAULT_MESSAGES: u32 = 50;
/// The largest [`ListMessages::limit`] and [`ReadEvents::limit`].
pub const MAX_PAGE: u32 = 1000;
