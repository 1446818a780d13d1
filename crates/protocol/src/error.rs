//! The stable words for what went wrong.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{InvalidJson, InvalidName};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $retryable:literal;)*) => {
        /// Why something was refused or failed: a stable word that programs may branch on.
        ///
        /// A word is never reused once retired. Codes that a newer server sends and this library does not
        /// know read as [`ErrorCode::Unknown`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)*
            /// A code that this library does not know.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl ErrorCode {
            /// Every code of this version.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Unknown => "unknown",
                }
            }

            /// Whether the same request may succeed later, unchanged.
            pub const fn is_retryable(self) -> bool {
                match self {
                    $(Self::$variant => $retryable,)*
                    Self::Unknown => false,
                }
            }
        }
    };
}

codes! {
    /// A frame is not JSON, not an object, or has no `type`.
    InvalidFrame = "invalid_frame", false;
    /// The type of a frame is not one of the protocol.
    UnknownFrameType = "unknown_frame_type", false;
    /// The protocol version of the hello is not spoken here.
    UnsupportedProtocol = "unsupported_protocol", false;
    /// Another frame came before the hello, or none within the time allowed.
    HelloExpected = "hello_expected", false;
    /// A second hello, or one after the session began.
    UnexpectedFrame = "unexpected_frame", false;
    /// A call names a method that does not exist.
    UnknownMethod = "unknown_method", false;
    /// A field is missing, of the wrong type, or breaks its rule.
    InvalidField = "invalid_field", false;
    /// A name breaks the rules of names.
    InvalidName = "invalid_name", false;
    /// A payload is not JSON that everybody can read.
    InvalidJson = "invalid_json", false;
    /// A frame, request or payload is over its limit of bytes.
    TooLarge = "too_large", false;
    /// Neither a valid token nor an open workspace.
    Unauthenticated = "unauthenticated", false;
    /// The token is past its end.
    TokenExpired = "token_expired", false;
    /// Authenticated, but not allowed to do this.
    Forbidden = "forbidden", false;
    /// Another open session uses this agent id.
    AgentIdInUse = "agent_id_in_use", true;
    /// A newer session of the same agent took over; final for this one.
    SessionReplaced = "session_replaced", false;
    /// The agent was never seen in this workspace.
    AgentNotFound = "agent_not_found", false;
    /// The channel does not exist.
    ChannelNotFound = "channel_not_found", false;
    /// A channel of this name exists already.
    ChannelExists = "channel_exists", false;
    /// The agent is not a member of the channel.
    NotAMember = "not_a_member", false;
    /// The channel is archived: it can be read and not written.
    ChannelArchived = "channel_archived", false;
    /// The file does not exist, or is not for the asker.
    FileNotFound = "file_not_found", false;
    /// The content is not the one that was announced; nothing was stored.
    ChecksumMismatch = "checksum_mismatch", true;
    /// The message does not exist, is deleted, or is not for the asker.
    MessageNotFound = "message_not_found", false;
    /// Events of this name are made by the workspace only.
    ReservedEventName = "reserved_event_name", false;
    /// The event says nowhere to go, or somewhere that takes no events.
    InvalidDestination = "invalid_destination", false;
    /// This author used the event id before, for another event.
    EventIdReused = "event_id_reused", false;
    /// Another author owns this event id.
    EventIdConflict = "event_id_conflict", false;
    /// The subscription does not exist.
    SubscriptionNotFound = "subscription_not_found", false;
    /// The token does not exist.
    TokenNotFound = "token_not_found", false;
    /// The path does not exist.
    NotFound = "not_found", false;
    /// A limit of the workspace is reached.
    LimitReached = "limit_reached", true;
    /// Too many requests at once or in a short time.
    RateLimited = "rate_limited", true;
    /// Nothing came from the peer for too long.
    TimedOut = "timed_out", true;
    /// The log cannot take the event now; nothing was acknowledged.
    StorageUnavailable = "storage_unavailable", true;
    /// The disk is full; nothing was acknowledged.
    StorageFull = "storage_full", true;
    /// The server is going down.
    ShuttingDown = "shutting_down", true;
    /// A fault of the server; its log says more.
    Internal = "internal", true;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// An error as it crosses the wire: code, a sentence for people, and the field where one is to blame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorBody {
    /// The stable word.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "invalid_name"))]
    pub code: ErrorCode,
    /// What happened and which rule was broken, for people.
    pub message: String,
    /// The field that is to blame, such as `event.destination_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl ErrorBody {
    /// An error without a field.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            field: None,
        }
    }

    /// An error about one field.
    pub fn field(code: ErrorCode, field: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            field: Some(field.to_owned()),
        }
    }

    /// A name that breaks its rules, found in this field.
    pub fn name(field: &str, error: &InvalidName) -> Self {
        Self::field(ErrorCode::InvalidName, field, error.to_string())
    }

    /// JSON that not everybody could read, found in this field.
    pub fn json(field: &str, error: &InvalidJson) -> Self {
        Self::field(ErrorCode::InvalidJson, field, error.to_string())
    }

    /// Whether the same request may succeed later, unchanged.
    pub fn is_retryable(&self) -> bool {
        self.code.is_retryable()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_wire_and_new_ones_are_tolerated() {
        for code in ErrorCode::ALL {
            let text = serde_json::to_string(code).unwrap();
            assert_eq!(text, format!("\"{code}\""));
            assert_eq!(serde_json::from_str::<ErrorCode>(&text).unwrap(), *code);
        }
        assert_eq!(
            serde_json::from_str::<ErrorCode>("\"from_the_future\"").unwrap(),
            ErrorCode::Unknown
        );
    }
}
