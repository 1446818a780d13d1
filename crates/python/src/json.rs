//! JSON between the wire and Python.
//!
//! Python's own reader and writer do it, in C: so integers of any size, floats to the last bit and every text come
//! out as they went in.

use openagents_client::Json;
use openagents_protocol::{ErrorBody, ErrorCode};
use pyo3::exceptions::{PyRecursionError, PyTypeError, PyUnicodeEncodeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error;

/// Reads a text that is known to be JSON.
pub(crate) fn read<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    static READER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let reader = READER.get_or_try_init(py, || {
        let decoder = py.import("json")?.getattr("JSONDecoder")?.call0()?;
        PyResult::Ok(decoder.getattr("scan_once")?.unbind())
    })?;
    let read = reader.bind(py).call1((text, 0))?;
    read.cast::<PyTuple>()?.get_item(0)
}

/// What the Rust side says, as dictionaries and lists.
pub(crate) fn show<'py, T: Serialize>(py: Python<'py>, value: &T) -> PyResult<Bound<'py, PyAny>> {
    let text = serde_json::to_string(value).map_err(|error| PyValueError::new_err(error.to_string()))?;
    read(py, &text)
}

/// Writes anything that JSON can say. `field` is named where it cannot.
pub(crate) fn write(field: &str, value: &Bound<'_, PyAny>) -> PyResult<Json> {
    let py = value.py();
    let invalid = |error: PyErr| {
        let ours = error.is_instance_of::<PyTypeError>(py)
            || error.is_instance_of::<PyValueError>(py)
            || error.is_instance_of::<PyRecursionError>(py)
            || error.is_instance_of::<PyUnicodeEncodeError>(py);
        if ours {
            let message = format!("{field} cannot be written as JSON: {}", error.value(py));
            error::invalid(py, &ErrorBody::field(ErrorCode::InvalidJson, field, message))
        } else {
            error
        }
    };
    let text = encode(value).map_err(invalid)?;
    let text = text.to_str().map_err(invalid)?;
    text.parse()
        .map_err(|error| error::invalid(py, &ErrorBody::json(field, &error)))
}

/// Writes with the encoder in C, as `json.JSONEncoder.encode` does without its preparations in Python for every call.
fn encode<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    static PARTS: PyOnceLock<[Py<PyAny>; 3]> = PyOnceLock::new();
    let py = value.py();
    let [make, default, escape] = PARTS.get_or_try_init(py, || {
        let module = py.import("json.encoder")?;
        let default = module.getattr("JSONEncoder")?.call0()?.getattr("default")?;
        let [make, escape] = ["c_make_encoder", "encode_basestring"].map(|name| module.getattr(name));
        PyResult::Ok([make?.unbind(), default.unbind(), escape?.unbind()])
    })?;
    // The dictionary finds out loops. No indentation, no sorting, no keys left out, and nothing that is no number.
    let (loops, indent, colon, comma) = (PyDict::new(py), py.None(), intern!(py, ":"), intern!(py, ","));
    let options = (loops, default, escape, indent, colon, comma, false, false, false);
    let pieces = make.bind(py).call1(options)?.call1((value, 0))?;
    let joined = intern!(py, "").call_method1(intern!(py, "join"), (pieces,))?;
    Ok(joined.cast_into()?)
}

/// Writes a dictionary; anything else is refused with the name of the field.
pub(crate) fn write_object(field: &str, value: &Bound<'_, PyAny>) -> PyResult<Json> {
    let json = write(field, value)?;
    if json.is_object() {
        return Ok(json);
    }
    let kind = value.get_type().name()?;
    let message = format!("{field} must be a dictionary, not {kind}");
    let error = ErrorBody::field(ErrorCode::InvalidField, field, message);
    Err(error::invalid(value.py(), &error))
}

/// Reads a dictionary as a type of the protocol; an error names what breaks a rule.
pub(crate) fn parsed<T: DeserializeOwned>(field: &str, given: &Bound<'_, PyAny>) -> PyResult<T> {
    let written = write_object(field, given)?;
    openagents_protocol::frame::read(written.as_str()).map_err(|problem| error::invalid(given.py(), &problem))
}

/// The content of a message: text, or a dictionary.
pub(crate) fn content(value: &Bound<'_, PyAny>) -> PyResult<Json> {
    if value.is_instance_of::<PyString>() {
        let object = PyDict::new(value.py());
        object.set_item(intern!(value.py(), "text"), value)?;
        return write("content", object.as_any());
    }
    write_object("content", value)
}
