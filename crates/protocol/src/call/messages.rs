//! Calls about single messages.

use serde::{Deserialize, Serialize};

use crate::{EventId, Json};

/// Tells one message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GetMessage {
    /// The message.
    pub message_id: EventId,
}

/// Replaces the content of a message; for its author.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EditMessage {
    /// The message.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub message_id: EventId,
    /// Text, or an object, usually with `text`.
    #[cfg_attr(feature = "openapi", schema(value_type = serde_json::Value))]
    pub content: Json,
}

/// Deletes a message: its content is erased for good; for its author and for moderators.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeleteMessage {
    /// The message.
    pub message_id: EventId,
}

/// Reacts to a message, or takes the reaction back. What is so already changes nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct React {
    /// The message.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub message_id: EventId,
    /// An emoji or a short name such as `thumbsup`: 1 to 64 bytes without blanks; colons around it are taken off.
    pub reaction: String,
    /// Default `add`.
    #[serde(default)]
    pub action: ReactAction,
}

/// What to do with a reaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ReactAction {
    /// Reacts.
    #[default]
    Add,
    /// Takes it back.
    Remove,
}

/// How often a message got a reaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reaction {
    /// The emoji or short name.
    pub reaction: String,
    /// Number of agents.
    pub count: u64,
    /// Who, the first 100 of them in the order they reacted.
    pub agents: Vec<String>,
}
