//! What can go wrong with a worker.

use std::io;

use openagents_protocol::{ErrorBody, InvalidName};

use crate::error::ConnectError;

/// Why a hook failed: any error.
pub type HookError = Box<dyn std::error::Error + Send + Sync>;

/// What a hook returns. An error is logged and stops nothing.
pub type HookResult = Result<(), HookError>;

/// Why a worker did not start, or why it ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// A pattern of a handler breaks the rules of patterns.
    #[error("a handler cannot be registered")]
    InvalidPattern(#[from] InvalidName),
    /// It could not join the workspace.
    #[error("could not join the workspace")]
    Connect(#[from] ConnectError),
    /// The workspace ended the session for good.
    #[error("the workspace ended the session")]
    Dismissed(#[source] ErrorBody),
    /// The process cannot listen for signals.
    #[error("could not listen for signals")]
    Signals(#[source] io::Error),
}

impl WorkerError {
    /// The stable word for it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidPattern(_) => "invalid_name",
            Self::Connect(error) => error.code(),
            Self::Dismissed(error) => error.code.as_str(),
            Self::Signals(_) => "signals",
        }
    }
}
