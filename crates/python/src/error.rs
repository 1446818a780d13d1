//! From errors of the Rust side to the exceptions of `openagents.errors`: the one table.

use std::error::Error;

use openagents_client::{AskError, CallError, ConnectError, FileError};
use openagents_protocol::{ErrorBody, InvalidName};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// The classes of `openagents.errors`, by name.
#[derive(Clone, Copy)]
enum Class {
    InvalidInput,
    NotConnected,
    TimedOut,
    Refused,
    File,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Self::InvalidInput => "InvalidInputError",
            Self::NotConnected => "NotConnectedError",
            Self::TimedOut => "TimedOutError",
            Self::Refused => "RefusedError",
            Self::File => "FileError",
        }
    }
}

/// Input that breaks a rule.
pub(crate) fn invalid(py: Python<'_>, error: &ErrorBody) -> PyErr {
    from_body(py, Class::InvalidInput, error)
}

/// A name that breaks its rules.
pub(crate) fn invalid_name(py: Python<'_>, field: &str, error: &InvalidName) -> PyErr {
    invalid(py, &ErrorBody::name(field, error))
}

/// A client that was made before a fork.
pub(crate) fn forked(py: Python<'_>) -> PyErr {
    let message = "this client belongs to the parent process: make another one after a fork";
    make(py, Class::NotConnected, message, "forked", None, false)
}

/// Why there is no connection.
pub(crate) fn connect(py: Python<'_>, error: &ConnectError) -> PyErr {
    let class = match error {
        ConnectError::InvalidAgentId(_)
        | ConnectError::InvalidHost { .. }
        | ConnectError::InvalidMetadata
        | ConnectError::Certificate { .. } => Class::InvalidInput,
        ConnectError::Refused(_) => Class::Refused,
        ConnectError::TimedOut(_) => Class::TimedOut,
        _ => Class::NotConnected,
    };
    let field = match error {
        ConnectError::InvalidAgentId(_) => Some("agent_id"),
        ConnectError::InvalidHost { .. } => Some("host"),
        ConnectError::InvalidMetadata => Some("metadata"),
        _ => None,
    };
    make(
        py,
        class,
        &chain(error),
        error.code(),
        field,
        error.is_retryable(),
    )
}

/// Why a call has no result.
pub(crate) fn call(py: Python<'_>, error: &CallError) -> PyErr {
    match error {
        CallError::Refused(body) => from_body(py, Class::Refused, body),
        other => {
            let class = match other {
                CallError::TimedOut(_) => Class::TimedOut,
                CallError::NotConnected(_) | CallError::ConnectionLost => Class::NotConnected,
                _ => Class::Refused,
            };
            make(py, class, &chain(other), other.code(), None, other.is_retryable())
        }
    }
}

/// Why a question has no answer.
pub(crate) fn ask(py: Python<'_>, error: &AskError) -> PyErr {
    let class = match error {
        AskError::Refused(body) => return from_body(py, Class::Refused, body),
        AskError::TimedOut(_) => Class::TimedOut,
        AskError::Disconnected => Class::NotConnected,
        _ => Class::Refused,
    };
    let retryable = matches!(error, AskError::TimedOut(_));
    make(py, class, &chain(error), error.code(), None, retryable)
}

/// Why the workspace ended a session.
pub(crate) fn dismissal(py: Python<'_>, error: &ErrorBody) -> PyErr {
    from_body(py, Class::Refused, error)
}

/// Why a file was not sent or fetched.
pub(crate) fn file(py: Python<'_>, error: &FileError) -> PyErr {
    match error {
        FileError::Refused(body) => from_body(py, Class::Refused, body),
        FileError::Call(error) => call(py, error),
        FileError::Connect(error) => connect(py, error),
        FileError::NotConnected(_) => make(
            py,
            Class::NotConnected,
            &chain(error),
            "not_connected",
            None,
            true,
        ),
        FileError::Local { .. } => make(py, Class::File, &chain(error), "local_file", None, false),
        FileError::TooLarge { .. } => make(py, Class::File, &chain(error), "too_large", None, false),
        other => make(py, Class::File, &chain(other), "transfer_failed", None, true),
    }
}

fn from_body(py: Python<'_>, class: Class, error: &ErrorBody) -> PyErr {
    let field = error.field.as_deref();
    make(
        py,
        class,
        &error.message,
        error.code.as_str(),
        field,
        error.is_retryable(),
    )
}

fn make(
    py: Python<'_>,
    class: Class,
    message: &str,
    code: &str,
    field: Option<&str>,
    retryable: bool,
) -> PyErr {
    static ERRORS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let made = ERRORS
        .get_or_try_init(py, || PyResult::Ok(py.import("openagents.errors")?.unbind()))
        .and_then(|module| {
            let options = pyo3::types::PyDict::new(py);
            options.set_item(intern!(py, "code"), code)?;
            options.set_item(intern!(py, "field"), field)?;
            options.set_item(intern!(py, "retryable"), retryable)?;
            let class = module.bind(py).getattr(class.name())?;
            class.call((message,), Some(&options))
        });
    made.map_or_else(|error| error, PyErr::from_value)
}

/// The error and what caused it, as one sentence.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
