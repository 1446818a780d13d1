//! Times as Python gives them.

use std::time::Duration;

use openagents_protocol::{ErrorBody, ErrorCode};
use pyo3::prelude::*;

use crate::error;

/// A timeout in seconds; `None` waits for ever, and what is over already has no time left.
pub(crate) fn deadline_after(timeout: Option<f64>) -> PyResult<Duration> {
    match timeout {
        None => Ok(Duration::MAX),
        Some(seconds) if seconds.is_nan() => {
            let problem = ErrorBody::field(ErrorCode::InvalidField, "timeout", "timeout is not a number");
            Err(Python::attach(|py| error::invalid(py, &problem)))
        }
        Some(seconds) => Ok(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)),
    }
}
