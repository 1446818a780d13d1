//! Full-text search.

use serde::{Deserialize, Serialize};

use super::Message;
use crate::Sequence;

/// Searches the messages that the asker may read, newest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
pub struct SearchMessages {
    /// Words that all occur, at most 32 and 1,000 bytes. `"two words"` is a phrase, `deploy*` a beginning; every other
    /// sign only separates words. Case and accents do not count.
    pub query: String,
    /// Only messages of this channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Only messages that the asker and this agent sent each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Only messages by this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// Only messages before this sequence: the cursor to go on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Only messages after this sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Only messages taken at or after this time, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<f64>,
    /// Only messages taken before this time, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<f64>,
    /// At most this many, 1 to 100; default 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl SearchMessages {
    /// The default of [`SearchMessages::limit`].
    pub const DEFAULT_LIMIT: u32 = 20;
    /// The largest [`SearchMessages::limit`].
    pub const MAX_LIMIT: u32 = 100;
}

/// What a search found.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FoundMessages {
    /// Newest first.
    pub results: Vec<FoundMessage>,
    /// Whether there may be older ones.
    pub has_more: bool,
    /// The `before` to go on with, where there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Sequence>,
    /// Everything that was said up to here was looked through.
    pub indexed: Sequence,
}

/// A message that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FoundMessage {
    /// The message.
    pub message: Message,
    /// The part of its text around the first match, in pieces.
    pub snippet: Vec<SnippetPart>,
}

/// A piece of text that matched, or did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SnippetPart {
    /// The text.
    pub text: String,
    /// Whether it is one of the words searched for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub matched: bool,
}
