//! What can go wrong, each with its stable word.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use openagents_protocol::{ErrorBody, ErrorCode, EventResponse, InvalidName, Receipt};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why `connect_to_server` did not join the workspace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The id of the client breaks the rules of agent ids.
    #[error("the agent id cannot be used")]
    InvalidAgentId(#[from] InvalidName),
    /// The host is no host name, address or URL of a known scheme.
    #[error("{host:?} is not a host: {reason}")]
    InvalidHost {
        /// What was given.
        host: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// The metadata is not a JSON object.
    #[error("metadata is not a JSON object")]
    InvalidMetadata,
    /// The file given as certificate authority has no readable certificate.
    #[error("could not read a certificate from {}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: Cause,
    },
    /// The TLS handshake failed, or TLS cannot be used on this machine.
    #[error("could not establish TLS with {address}")]
    Tls {
        /// Host and port.
        address: String,
        /// What happened.
        source: Cause,
    },
    /// Nothing answers at this address.
    #[error("could not reach {address}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What happened.
        source: io::Error,
    },
    /// Something answers, but it is no workspace server.
    #[error("{address} does not speak the workspace protocol")]
    Handshake {
        /// Host and port.
        address: String,
        /// What happened.
        source: Cause,
    },
    /// The server broke the protocol before the session began.
    #[error("the server sent something unexpected")]
    Protocol(#[source] ErrorBody),
    /// The server closed the connection before the session began.
    #[error("the server closed the connection")]
    Closed,
    /// The workspace said no.
    #[error("the workspace refused the connection")]
    Refused(#[source] ErrorBody),
    /// The session did not begin in time.
    #[error("no session within {0:?}")]
    TimedOut(Duration),
}

impl ConnectError {
    /// The stable word for it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidAgentId(_) => "invalid_name",
            Self::InvalidHost { .. } => "invalid_host",
            Self::InvalidMetadata => "invalid_field",
            Self::Certificate { .. } => "invalid_certificate",
            Self::Tls { .. } => "tls_failed",
            Self::Unreachable { .. } => "unreachable",
            Self::Handshake { .. } => "handshake_failed",
            Self::Protocol(error) | Self::Refused(error) => error.code.as_str(),
            Self::Closed => "closed",
            Self::TimedOut(_) => "timed_out",
        }
    }

    /// Whether the same call may succeed later, unchanged.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::InvalidAgentId(_)
            | Self::InvalidHost { .. }
            | Self::InvalidMetadata
            | Self::Certificate { .. }
            | Self::Tls { .. } => false,
            Self::Refused(error) => error.is_retryable(),
            Self::Unreachable { .. }
            | Self::Handshake { .. }
            | Self::Protocol(_)
            | Self::Closed
            | Self::TimedOut(_) => true,
        }
    }
}

/// Why a call was not answered with a result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The client is not connected and does not try to be, or the session ended for good.
    #[error("not connected")]
    NotConnected(#[source] ErrorBody),
    /// The connection broke after the call was sent, and repeating it could do it twice: it happened or not.
    #[error("the connection was lost before the answer came")]
    ConnectionLost,
    /// No answer in time; the call happened or not.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The workspace said no.
    #[error("the workspace refused the call")]
    Refused(#[from] ErrorBody),
    /// The answer is not of the expected form.
    #[error("the answer could not be read")]
    InvalidReply(#[source] ErrorBody),
}

impl CallError {
    /// The stable word for it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotConnected(_) => "not_connected",
            Self::ConnectionLost => "connection_lost",
            Self::TimedOut(_) => "timed_out",
            Self::Refused(error) | Self::InvalidReply(error) => error.code.as_str(),
        }
    }

    /// Whether the same call may succeed later, unchanged.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotConnected(error) | Self::Refused(error) => error.is_retryable(),
            Self::ConnectionLost | Self::TimedOut(_) => true,
            Self::InvalidReply(_) => false,
        }
    }
}

/// Why an event was not taken into the queue; see [`crate::AgentClient::publish`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The client is not connected and does not try to be, or the session ended for good.
    #[error("not connected")]
    NotConnected(#[source] ErrorBody),
    /// As many events as may wait for their acknowledgement do so already.
    #[error("{limit} events wait for their acknowledgement already")]
    QueueFull {
        /// The most that may wait.
        limit: usize,
    },
}

impl PublishError {
    /// The stable word for it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotConnected(_) => "not_connected",
            Self::QueueFull { .. } => "queue_full",
        }
    }
}

/// Why [`crate::AgentConnection::ask`] has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// No agent of this id was ever in the workspace.
    #[error("no agent of this id was ever in the workspace")]
    Unknown,
    /// No answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The workspace did not take the question.
    #[error("the workspace refused the question")]
    Refused(#[source] ErrorBody),
    /// The client is not connected, or was disconnected for good while it waited.
    #[error("not connected")]
    Disconnected,
}

impl AskError {
    /// The stable word for it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "agent_not_found",
            Self::TimedOut(_) => "timed_out",
            Self::Refused(error) => error.code.as_str(),
            Self::Disconnected => "not_connected",
        }
    }
}

/// What a call gets that is made without a connection: the word the server has for it.
pub(crate) fn not_connected() -> ErrorBody {
    ErrorBody::new(
        ErrorCode::HelloExpected,
        "not connected: call connect_to_server first",
    )
}

/// Why a file was not sent or fetched. Nothing of it remains on either side then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The local file cannot be read or written.
    #[error("cannot use {}", path.display())]
    Local {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The client is not connected and does not try to be.
    #[error("not connected")]
    NotConnected(#[source] ErrorBody),
    /// A connection for the content could not be made.
    #[error("no connection for the content")]
    Connect(#[from] ConnectError),
    /// A call about the file failed.
    #[error("a call about the file failed")]
    Call(#[from] CallError),
    /// The workspace said no.
    #[error("the workspace refused the file")]
    Refused(#[source] ErrorBody),
    /// The connection broke, or the answer makes no sense.
    #[error("the transfer broke off: {0}")]
    Broken(String),
    /// Nothing came from the server for a minute.
    #[error("nothing came from the server for too long")]
    Silent,
    /// The content is not the one that was sent: its length or checksum differs.
    #[error("the content was altered on its way")]
    Altered,
    /// The file is too large to be read into memory, or to be fetched for a hook.
    #[error("the file has {size} bytes, and at most {limit} are fetched")]
    TooLarge {
        /// Bytes of the file.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
}

impl FileError {
    /// The stable word for it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Local { .. } => "local_file",
            Self::NotConnected(_) => "not_connected",
            Self::Connect(error) => error.code(),
            Self::Call(error) => error.code(),
            Self::Refused(error) => error.code.as_str(),
            Self::Broken(_) => "connection_lost",
            Self::Silent => "timed_out",
            Self::Altered => "checksum_mismatch",
            Self::TooLarge { .. } => "too_large",
        }
    }

    /// Whether the same transfer may succeed later, unchanged.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Local { .. } | Self::TooLarge { .. } => false,
            Self::NotConnected(error) | Self::Refused(error) => error.is_retryable(),
            Self::Connect(error) => error.is_retryable(),
            Self::Call(error) => error.is_retryable(),
            Self::Broken(_) | Self::Silent | Self::Altered => true,
        }
    }
}

/// The outcome of a call that changes something, as the documentation shows it.
pub(crate) fn respond(outcome: Result<Receipt, CallError>) -> EventResponse {
    EventResponse::from(outcome.map_err(|error| match error {
        CallError::Refused(error) | CallError::NotConnected(error) | CallError::InvalidReply(error) => error,
        error @ (CallError::TimedOut(_) | CallError::ConnectionLost) => {
            ErrorBody::new(ErrorCode::TimedOut, error.to_string())
        }
    }))
}
