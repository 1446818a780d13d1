//! Calls about agents: what they are, what they may do, and why they did or did not get an event.

use serde::{Deserialize, Serialize};

use super::Message;
use crate::record::Role;
use crate::{EventId, Json, Sequence};

/// Tells about one agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GetAgent {
    /// The agent.
    pub agent_id: String,
}

/// Changes what the asker says of itself. What is left out stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateAgent {
    /// What it does now, such as `busy`: 1 to 100 bytes, shown while it is online. `online` goes back to the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// All of its metadata, a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub metadata: Option<Json>,
}

/// Tells what the asker may do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GetPermissions {}

/// What somebody may do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Permissions {
    /// Its role.
    pub role: Role,
    /// The group it is in.
    pub group: String,
    /// Names of permissions; `*` stands for all.
    pub permissions: Vec<String>,
}

impl Permissions {
    /// Whether this is among them.
    pub fn allows(&self, name: &str) -> bool {
        self.permissions
            .iter()
            .any(|permission| permission == name || permission == "*" || permission == "all")
    }
}

/// Lets the asker's session get the events of the workspace itself (`system.network.*`, `system.mod.*`,
/// `system.heartbeat`) until it ends. Those that hold now come at once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FollowSystem {}

/// Lists the conversations of the asker with other agents, the one with the newest message first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
pub struct ListConversations {
    /// At most this many, 1 to 1,000; default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only those whose newest message is before this sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
}

/// A page of conversations.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Conversations {
    /// The one with the newest message first.
    pub conversations: Vec<Conversation>,
    /// Whether there are older ones.
    pub has_more: bool,
}

/// What the asker and another agent write each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Conversation {
    /// The other agent.
    pub agent_id: String,
    /// Messages of the other agent that the asker has not handled yet; 10,000 stands for more.
    pub unread: u64,
    /// The newest message that is not deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_message: Option<Message>,
}

/// Tells why an agent got an event, or did not; for the agent, the author of the event, and moderators.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
pub struct Explain {
    /// The event.
    #[cfg_attr(feature = "openapi", param(value_type = String))]
    pub event_id: EventId,
    /// The agent.
    pub agent_id: String,
}

/// Why an agent got an event, or did not.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Explanation {
    /// One sentence that says it all.
    pub verdict: String,
    /// What was looked at, in this order, up to the first that says no and beyond.
    pub checks: Vec<Check>,
}

/// One of the reasons.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Check {
    /// `stored`, `agent`, `destination`, `visibility`, `membership`, `entitlement`, `subscription`, `session`, `cursor`.
    pub name: String,
    /// Whether it speaks for the agent having got the event.
    pub passed: bool,
    /// In words.
    pub detail: String,
}

/// Lists the messages that are held, by the loop guard or because their channel is moderated, oldest first; for
/// moderators.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ListHeld {}

/// Messages that are not delivered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HeldMessages {
    /// Oldest first, at most 1,000.
    pub held: Vec<HeldMessage>,
}

/// A message that is not delivered, because it looks like a part of a loop or its channel is moderated.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HeldMessage {
    /// Id of the message.
    pub message_id: String,
    /// Position in the log.
    pub sequence: Sequence,
    /// Who wrote it.
    pub sender_id: String,
    /// Where it goes.
    pub destination_id: String,
    /// The limit of the loop guard that it ran into: `hops`, `pair`, `thread`, `agent`; or `moderation`, where its
    /// channel is moderated.
    pub limit: String,
    /// What it says: of messages to a channel that the asker may read, or that is moderated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub content: Option<Json>,
    /// When the workspace took it, in seconds since 1970.
    pub timestamp: f64,
}

/// Delivers messages that are held; for moderators.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Unblock {
    /// Only this message; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub message_id: Option<EventId>,
}

/// What was delivered.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Unblocked {
    /// Number of messages.
    pub released: u64,
}
