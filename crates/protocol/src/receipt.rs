//! What the sender learns about its event.

use serde::{Deserialize, Serialize};

use crate::{AgentId, EventId, Sequence};

/// What happened to an event that was accepted: the truth as of the moment of the commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Receipt {
    /// Id of the message; the same as `event_id`, in the notification and in the history too.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub message_id: EventId,
    /// Id of the event.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub event_id: EventId,
    /// Position in the log; none for ephemeral events, which are not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Sequence>,
    /// The addressee of a direct message or event, and everybody mentioned.
    #[serde(default)]
    pub recipients: Vec<Recipient>,
    /// How many a channel or broadcast event concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// Whether this repeats the answer to an earlier publish of the same event.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
    /// Whether it is held, by the loop guard or because the channel is moderated: it is stored, and not delivered until a
    /// moderator releases it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
}

/// One agent that an event is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Recipient {
    /// The agent.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub agent_id: AgentId,
    /// Whether it is connected.
    pub state: RecipientState,
    /// When it was last connected, in seconds since 1970; only for those away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<f64>,
    /// How many direct messages and events wait for it, this one included; only for those away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<u64>,
}

/// Whether an agent that an event is for is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RecipientState {
    /// Connected now: the event was handed over.
    Live,
    /// Known, not connected: the event waits for it.
    Away,
    /// Never seen in this workspace.
    Unknown,
}

/// How many agents a channel or broadcast event concerns, the sender not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Counts {
    /// Agents entitled to it.
    pub members: u64,
    /// Those connected now.
    pub live: u64,
    /// Those that find it when they return.
    pub away: u64,
}
