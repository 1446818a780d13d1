//! What an event is answered with.

use openagents_protocol::ErrorBody;
use serde_json::{Map, Value, json};

/// The answer to an event.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) success: bool,
    pub(super) message: String,
    pub(super) data: Option<Value>,
}

/// What every refusal for want of a valid secret says.
pub(super) const UNPROVED: &str = "Authentication failed: Invalid or missing secret";

impl Answer {
    pub(super) fn done(message: impl Into<String>, data: Value) -> Self {
        Self {
            success: true,
            message: message.into(),
            data: Some(data),
        }
    }

    /// Accepted, and nothing to tell of it.
    pub(super) fn accepted(message: impl Into<String>) -> Self {
        Self {
            success: true,
            message: message.into(),
            data: None,
        }
    }

    pub(super) fn refused(message: impl Into<String>) -> Self {
        Self {
            success: false,
            message: message.into(),
            data: None,
        }
    }

    pub(super) fn refused_with(message: impl Into<String>, data: Value) -> Self {
        Self {
            data: Some(data),
            ..Self::refused(message)
        }
    }

    /// Understood, and not possible: a success on the outside, as clients of this wire expect.
    pub(super) fn failed(error: &str, request_id: &str) -> Self {
        Self::done(
            error,
            json!({"success": false, "error": error, "request_id": request_id}),
        )
    }

    /// A request that breaks a rule of its kind.
    pub(super) fn invalid(event_name: &str, reason: &str) -> Self {
        Self::refused_with(
            format!("Error processing {event_name}: {reason}"),
            json!({"error": reason}),
        )
    }

    /// The answer to a command of the system.
    pub(super) fn system(command: &str, message: impl Into<String>, more: Value) -> Self {
        Self::done(message, command_data(command, more))
    }

    pub(super) fn system_refused(command: &str, message: impl Into<String>, more: Value) -> Self {
        Self::refused_with(message, command_data(command, more))
    }
}

impl From<ErrorBody> for Answer {
    fn from(error: ErrorBody) -> Self {
        Self::refused(error.message)
    }
}

fn command_data(command: &str, more: Value) -> Value {
    let mut data = Map::new();
    data.insert("type".to_owned(), "system_response".into());
    data.insert("command".to_owned(), command.into());
    if let Value::Object(more) = more {
        data.extend(more);
    }
    Value::Object(data)
}
