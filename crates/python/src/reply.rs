//! What calls answer, as Python sees it.

use openagents_client::{
    CallError, Event as CoreEvent, EventResponse, FileError, FoundMessages, GetMessages, Message, Messages,
    Sequence,
};
use openagents_protocol::call::Page;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde::Serialize;

use crate::{awaitable, error, json};

/// Something that Python knows as it is.
pub(crate) fn plain<T: for<'py> IntoPyObject<'py>>(py: Python<'_>, value: T) -> PyResult<Py<PyAny>> {
    value.into_py_any(py)
}

/// The result of a call as dictionaries and lists, or its exception.
pub(crate) fn called<T: Serialize>(py: Python<'_>, outcome: Result<T, CallError>) -> PyResult<Py<PyAny>> {
    match outcome {
        Ok(value) => Ok(json::show(py, &value)?.unbind()),
        Err(problem) => Err(error::call(py, &problem)),
    }
}

/// The same for files.
pub(crate) fn transferred<T: Serialize>(
    py: Python<'_>,
    outcome: Result<T, FileError>,
) -> PyResult<Py<PyAny>> {
    match outcome {
        Ok(value) => Ok(json::show(py, &value)?.unbind()),
        Err(problem) => Err(error::file(py, &problem)),
    }
}

/// What happened to an event, which becomes a dictionary when somebody looks at it.
#[pyclass(frozen, module = "openagents._native")]
pub(crate) struct Receipt(openagents_client::Receipt);

#[pymethods]
impl Receipt {
    fn read<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        json::show(py, &self.0)
    }
}

/// The fields of an `EventResponse`, in their order.
pub(crate) fn response(
    event_name: impl Into<String>,
) -> impl FnOnce(Python<'_>, EventResponse) -> PyResult<Py<PyAny>> + Send {
    let event_name = event_name.into();
    move |py, response| {
        let EventResponse {
            success,
            message,
            data,
            error,
        } = response;
        let error = error.map(|error| json::show(py, &error)).transpose()?;
        (success, message, data.map(Receipt), event_name, error).into_py_any(py)
    }
}

/// A message as a dictionary that has all of its keys, or `None`.
pub(crate) fn maybe_message(py: Python<'_>, message: Option<Message>) -> PyResult<Py<PyAny>> {
    match message {
        Some(message) => Ok(show_message(py, &message)?.into_any().unbind()),
        None => Ok(py.None()),
    }
}

/// An event that answers something, as the same dictionary.
pub(crate) fn maybe_answer(py: Python<'_>, event: Option<CoreEvent>) -> PyResult<Py<PyAny>> {
    let Some(event) = event else {
        return Ok(py.None());
    };
    let shown = show_message(py, &Message::of_event(&event))?;
    shown.set_item("payload", json::read(py, event.payload.as_str())?)?;
    Ok(shown.into_any().unbind())
}

/// Starts reading a page of messages, as a dictionary says: `limit`, `offset`, `before`, `after`, `count`.
pub(crate) fn start_page<'py>(
    py: Python<'py>,
    mut reading: GetMessages,
    page: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let wanted: Page = json::parsed("page", page)?;
    if let Some(limit) = wanted.limit {
        reading = reading.limit(limit);
    }
    if let Some(offset) = wanted.offset {
        reading = reading.offset(offset);
    }
    if let Some(before) = wanted.before {
        reading = reading.before(Sequence::new(before));
    }
    if let Some(after) = wanted.after {
        reading = reading.after(Sequence::new(after));
    }
    if wanted.count == Some(true) {
        reading = reading.counted();
    }
    awaitable::start(py, async move { reading.page().await }, show_page)
}

/// A page of messages: `messages`, `has_more`, `total_count`.
fn show_page(py: Python<'_>, outcome: Result<Messages, CallError>) -> PyResult<Py<PyAny>> {
    let page = outcome.map_err(|problem| error::call(py, &problem))?;
    let shown = PyDict::new(py);
    let messages: PyResult<Vec<_>> = page
        .messages
        .iter()
        .map(|message| show_message(py, message))
        .collect();
    shown.set_item("messages", messages?)?;
    shown.set_item("has_more", page.has_more)?;
    shown.set_item("total_count", page.total_count)?;
    Ok(shown.into_any().unbind())
}

/// What a search found: `results`, each with `message` and `snippet`; `has_more`, `before`, `indexed`.
pub(crate) fn found(py: Python<'_>, outcome: Result<FoundMessages, CallError>) -> PyResult<Py<PyAny>> {
    let found = outcome.map_err(|problem| error::call(py, &problem))?;
    let results: PyResult<Vec<_>> = found
        .results
        .iter()
        .map(|result| {
            let shown = PyDict::new(py);
            shown.set_item("message", show_message(py, &result.message)?)?;
            let pieces: PyResult<Vec<_>> = result
                .snippet
                .iter()
                .map(|piece| {
                    let shown = PyDict::new(py);
                    shown.set_item("text", &piece.text)?;
                    shown.set_item("matched", piece.matched)?;
                    Ok(shown)
                })
                .collect();
            shown.set_item("snippet", pieces?)?;
            Ok(shown)
        })
        .collect();
    let shown = PyDict::new(py);
    shown.set_item("results", results?)?;
    shown.set_item("has_more", found.has_more)?;
    shown.set_item("before", found.before.map(Sequence::get))?;
    shown.set_item("indexed", found.indexed.get())?;
    Ok(shown.into_any().unbind())
}

fn show_message<'py>(py: Python<'py>, message: &Message) -> PyResult<Bound<'py, PyDict>> {
    const OPTIONAL: [&str; 8] = [
        "channel",
        "target_id",
        "metadata",
        "reply_to_id",
        "response_to",
        "thread_id",
        "thread_name",
        "edited_at",
    ];
    let shown = json::show(py, message)?.cast_into::<PyDict>()?;
    for key in OPTIONAL {
        if !shown.contains(key)? {
            shown.set_item(key, py.None())?;
        }
    }
    if !shown.contains("mentions")? {
        shown.set_item("mentions", Vec::<String>::new())?;
    }
    shown.set_item("text", message.text().unwrap_or_default())?;
    Ok(shown)
}
