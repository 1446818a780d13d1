//! `openagents.models.event.Event`.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use openagents_client::{Event as CoreEvent, Json};
use openagents_protocol::{Address, ErrorBody, ErrorCode, EventId, EventName};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PySet, PyString, PyType};

use crate::{error, json};

/// Something that happened in the workspace, or that an agent wants to happen.
///
/// An event that is sent needs a name and a destination; who sends it is known by the connection.
///
/// Example:
///
/// ```python
/// event = Event(
///     event_name="custom.task.completed",
///     destination_id="channel:general",
///     payload={"task": "data processing", "result": "success"},
/// )
/// assert event.matches_pattern("custom.*")
/// ```
#[pyclass(frozen, subclass, module = "openagents.models.event")]
pub(crate) struct Event {
    /// Guards the fields; never held while Python runs.
    state: Mutex<State>,
}

struct State {
    /// The fields, except for the two below where they are given.
    core: Arc<CoreEvent>,
    /// As Python sees it, once it looked.
    payload: Option<Py<PyAny>>,
    metadata: Option<Py<PyAny>>,
    source_type: Option<String>,
}

/// A source or destination in its parts; `openagents.models.event.EventSource` and `EventDestination`.
#[pyclass(frozen, module = "openagents.models.event")]
pub(crate) struct EventAddress {
    role: &'static str,
    id: Option<String>,
}

impl Event {
    /// An event that arrived.
    pub(crate) fn arrived(core: Arc<CoreEvent>) -> Self {
        Self {
            state: Mutex::new(State {
                core,
                payload: None,
                metadata: None,
                source_type: None,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("poisoned")
    }

    /// The event without what Python made of its payload: for linking and matching.
    pub(crate) fn core(&self) -> Arc<CoreEvent> {
        Arc::clone(&self.state().core)
    }

    /// The event as it is to be sent.
    pub(crate) fn to_send(&self, py: Python<'_>) -> PyResult<CoreEvent> {
        let (core, payload, metadata) = {
            let state = self.state();
            let cloned = |value: &Option<Py<PyAny>>| value.as_ref().map(|value| value.clone_ref(py));
            (
                Arc::clone(&state.core),
                cloned(&state.payload),
                cloned(&state.metadata),
            )
        };
        let mut event = CoreEvent::clone(&core);
        if let Some(payload) = payload {
            event.payload = json::write_object("payload", payload.bind(py))?;
        }
        if let Some(metadata) = metadata {
            let metadata = metadata.bind(py);
            event.metadata = if metadata.is_empty()? {
                None
            } else {
                Some(json::write_object("metadata", metadata)?)
            };
        }
        Ok(event)
    }

    fn change(&self, change: impl FnOnce(&mut CoreEvent)) {
        change(Arc::make_mut(&mut self.state().core));
    }
}

#[pymethods]
impl Event {
    #[new]
    #[pyo3(signature = (
        event_name, source_id=None, *, destination_id=None, payload=None, metadata=None, visibility=None,
        event_id=None, timestamp=None, requires_response=false, response_to=None, relevant_mod=None,
        text_representation=None, thread_name=None, source_type=None, allowed_agents=None, target_id=None,
        content=None, sender_id=None, reply_to_id=None, ephemeral=false
    ))]
    #[allow(clippy::too_many_arguments, reason = "they are the documented keywords")]
    #[allow(
        clippy::fn_params_excessive_bools,
        reason = "they are the documented keywords"
    )]
    fn new(
        py: Python<'_>,
        event_name: &str,
        source_id: Option<String>,
        destination_id: Option<String>,
        payload: Option<Bound<'_, PyAny>>,
        metadata: Option<Bound<'_, PyAny>>,
        visibility: Option<&str>,
        event_id: Option<String>,
        timestamp: Option<f64>,
        requires_response: bool,
        response_to: Option<String>,
        relevant_mod: Option<String>,
        text_representation: Option<String>,
        thread_name: Option<String>,
        source_type: Option<String>,
        allowed_agents: Option<Bound<'_, PyAny>>,
        target_id: Option<String>,
        content: Option<Bound<'_, PyAny>>,
        sender_id: Option<String>,
        reply_to_id: Option<String>,
        ephemeral: bool,
    ) -> PyResult<Self> {
        let mut core = CoreEvent::new(checked_name(py, event_name)?);
        core.source_id = source_id.or(sender_id).unwrap_or_default();
        core.destination_id = destination_id.or(target_id);
        core.event_id = event_id.unwrap_or_else(|| EventId::new().into());
        core.timestamp_ms = timestamp.map_or_else(now_ms, milliseconds);
        core.requires_response = requires_response;
        core.response_to = response_to;
        core.reply_to_id = reply_to_id;
        core.relevant_mod = relevant_mod;
        core.text_representation = text_representation;
        core.thread_name = thread_name;
        core.ephemeral = ephemeral;
        core.allowed_agents = allowed_agents.as_ref().map(names).transpose()?;
        if let Some(visibility) = visibility {
            core.visibility = parsed_visibility(py, visibility)?;
        }
        let dictionary = |field: &str, given: Option<Bound<'_, PyAny>>| {
            given.map(|given| checked_dictionary(field, given)).transpose()
        };
        Ok(Self {
            state: Mutex::new(State {
                core: Arc::new(core),
                payload: dictionary("payload", payload.or(content))?,
                metadata: dictionary("metadata", metadata)?,
                source_type,
            }),
        })
    }

    /// Lower-case, hierarchical, dot-separated, such as `channel.message.posted`.
    #[getter]
    fn event_name(&self) -> String {
        self.state().core.event_name.clone()
    }

    #[setter]
    fn set_event_name(&self, py: Python<'_>, value: &str) -> PyResult<()> {
        let name = checked_name(py, value)?;
        self.change(|event| event.event_name = name);
        Ok(())
    }

    /// Who made it: on an event that arrived the id of the agent, or `system`.
    #[getter]
    fn source_id(&self) -> String {
        self.state().core.source_id.clone()
    }

    #[setter]
    fn set_source_id(&self, value: Option<String>) {
        self.change(|event| event.source_id = value.unwrap_or_default());
    }

    /// The same as `source_id`.
    #[getter]
    fn sender_id(&self) -> String {
        self.source_id()
    }

    /// Where it goes: `channel:general`, `agent:bob`, `agent:broadcast`.
    #[getter]
    fn destination_id(&self) -> Option<String> {
        self.state().core.destination_id.clone()
    }

    #[setter]
    fn set_destination_id(&self, value: Option<String>) {
        self.change(|event| event.destination_id = value);
    }

    /// The same as `destination_id`.
    #[getter]
    fn target_id(&self) -> Option<String> {
        self.destination_id()
    }

    #[setter]
    fn set_target_id(&self, value: Option<String>) {
        self.set_destination_id(value);
    }

    /// The free part, a dictionary; for the documented events it has the documented keys.
    #[getter]
    fn payload(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let raw = {
            let state = self.state();
            if let Some(payload) = &state.payload {
                return Ok(payload.clone_ref(py));
            }
            state.core.payload.clone()
        };
        let read = json::read(py, raw.as_str())?.unbind();
        Ok(self.state().payload.get_or_insert(read).clone_ref(py))
    }

    #[setter]
    fn set_payload(&self, value: Bound<'_, PyAny>) -> PyResult<()> {
        let value = checked_dictionary("payload", value)?;
        let before = self.state().payload.replace(value);
        drop(before);
        Ok(())
    }

    /// The same as `payload`.
    #[getter]
    fn content(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.payload(py)
    }

    /// Free notes beside the payload, a dictionary.
    #[getter]
    fn metadata(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let raw = {
            let state = self.state();
            if let Some(metadata) = &state.metadata {
                return Ok(metadata.clone_ref(py));
            }
            state.core.metadata.clone()
        };
        let read = json::read(py, raw.as_ref().map_or("{}", Json::as_str))?.unbind();
        Ok(self.state().metadata.get_or_insert(read).clone_ref(py))
    }

    #[setter]
    fn set_metadata(&self, value: Bound<'_, PyAny>) -> PyResult<()> {
        let value = checked_dictionary("metadata", value)?;
        let before = self.state().metadata.replace(value);
        drop(before);
        Ok(())
    }

    /// Who may see it: `network`, `public`, `channel`, `direct`, `restricted`, `mod_only`.
    #[getter]
    fn visibility(&self) -> &'static str {
        self.state().core.visibility.as_str()
    }

    #[setter]
    fn set_visibility(&self, py: Python<'_>, value: &str) -> PyResult<()> {
        let visibility = parsed_visibility(py, value)?;
        self.change(|event| event.visibility = visibility);
        Ok(())
    }

    /// The agents that may see it where `visibility` is `restricted`.
    #[getter]
    fn allowed_agents<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PySet>>> {
        let allowed = self.state().core.allowed_agents.clone();
        allowed.map(|allowed| PySet::new(py, allowed)).transpose()
    }

    #[setter]
    fn set_allowed_agents(&self, value: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        let allowed = value.as_ref().map(names).transpose()?;
        self.change(|event| event.allowed_agents = allowed);
        Ok(())
    }

    /// Unique id; for a message this is the id of the message.
    #[getter]
    fn event_id(&self) -> String {
        self.state().core.event_id.clone()
    }

    #[setter]
    fn set_event_id(&self, value: String) {
        self.change(|event| event.event_id = value);
    }

    /// The same as `event_id`.
    #[getter]
    fn id(&self) -> String {
        self.event_id()
    }

    /// The same as `event_id`.
    #[getter]
    fn message_id(&self) -> String {
        self.event_id()
    }

    /// When it was made, and on an event that arrived when the workspace took it, in seconds since 1970.
    #[getter]
    fn timestamp(&self) -> f64 {
        self.state().core.timestamp()
    }

    #[setter]
    fn set_timestamp(&self, value: f64) {
        self.change(|event| event.timestamp_ms = milliseconds(value));
    }

    /// Whether its sender waits for an answer.
    #[getter]
    fn requires_response(&self) -> bool {
        self.state().core.requires_response
    }

    #[setter]
    fn set_requires_response(&self, value: bool) {
        self.change(|event| event.requires_response = value);
    }

    /// Id of the event that it answers.
    #[getter]
    fn response_to(&self) -> Option<String> {
        self.state().core.response_to.clone()
    }

    #[setter]
    fn set_response_to(&self, value: Option<String>) {
        self.change(|event| event.response_to = value);
    }

    /// Id of the message that it replies to.
    #[getter]
    fn reply_to_id(&self) -> Option<String> {
        self.state().core.reply_to_id.clone()
    }

    #[setter]
    fn set_reply_to_id(&self, value: Option<String>) {
        self.change(|event| event.reply_to_id = value);
    }

    /// The extension that it concerns.
    #[getter]
    fn relevant_mod(&self) -> Option<String> {
        self.state().core.relevant_mod.clone()
    }

    #[setter]
    fn set_relevant_mod(&self, value: Option<String>) {
        self.change(|event| event.relevant_mod = value);
    }

    /// The event in words.
    #[getter]
    fn text_representation(&self) -> Option<String> {
        self.state().core.text_representation.clone()
    }

    #[setter]
    fn set_text_representation(&self, value: Option<String>) {
        self.change(|event| event.text_representation = value);
    }

    /// Free name of a thread.
    #[getter]
    fn thread_name(&self) -> Option<String> {
        self.state().core.thread_name.clone()
    }

    #[setter]
    fn set_thread_name(&self, value: Option<String>) {
        self.change(|event| event.thread_name = value);
    }

    /// What made it: `agent`, or `system` for the workspace itself.
    #[getter]
    fn source_type(&self) -> String {
        let state = self.state();
        let made = || match state.core.source_id.as_str() {
            "system" => "system",
            source if source.starts_with("mod:") => "mod",
            _ => "agent",
        };
        state.source_type.clone().unwrap_or_else(|| made().to_owned())
    }

    #[setter]
    fn set_source_type(&self, value: Option<String>) {
        self.state().source_type = value;
    }

    /// Position in the log of the workspace; `None` before it is sent, and for ephemeral events.
    #[getter]
    fn sequence(&self) -> Option<u64> {
        self.state().core.sequence.map(openagents_client::Sequence::get)
    }

    /// Further names under which it matches, such as `channel.message.mentioned`.
    #[getter]
    fn also(&self) -> Vec<String> {
        self.state().core.also.clone()
    }

    /// Whether it is not stored, and dropped for readers that lag.
    #[getter]
    fn ephemeral(&self) -> bool {
        self.state().core.ephemeral
    }

    #[setter]
    fn set_ephemeral(&self, value: bool) {
        self.change(|event| event.ephemeral = value);
    }

    /// The text of a message: `payload["content"]["text"]`, or the `text` of a free payload; else empty.
    #[getter]
    fn text(&self, py: Python<'_>) -> PyResult<String> {
        let payload = self.payload(py)?;
        let payload = payload.bind(py);
        let content = member(payload, "content")?;
        let inner = content
            .map(|content| member(&content, "text"))
            .transpose()?
            .flatten();
        let text = match inner {
            Some(text) => Some(text),
            None => member(payload, "text")?,
        };
        Ok(text.and_then(|text| text.extract().ok()).unwrap_or_default())
    }

    /// Whether its name, or one of its further names, matches a pattern; `*` stands for any run of characters.
    fn matches_pattern(&self, pattern: &str) -> bool {
        self.core().matches_pattern(pattern)
    }

    /// Who made it, in parts: `role` and `source_id`.
    fn parse_source(&self) -> EventAddress {
        EventAddress::of(&self.source_id())
    }

    /// Where it goes, in parts: `role` and `destination_id`.
    fn parse_destination(&self) -> EventAddress {
        EventAddress::of(self.destination_id().as_deref().unwrap_or("system"))
    }

    /// Whether it goes to one agent.
    fn is_direct_message(&self) -> bool {
        matches!(self.address(), Some(Address::Agent(_)))
    }

    /// Whether it goes to everybody.
    fn is_broadcast_message(&self) -> bool {
        matches!(self.address(), Some(Address::Everyone))
    }

    /// Whether it goes to a channel.
    fn is_channel_message(&self) -> bool {
        matches!(self.address(), Some(Address::Channel(_)))
    }

    /// Whether it goes to the workspace itself.
    fn is_system_message(&self) -> bool {
        matches!(self.address(), Some(Address::System))
    }

    /// Every field in a dictionary; `from_dict` reads it.
    fn to_dict<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        let fields = PyDict::new(slf.py());
        for name in FIELDS {
            fields.set_item(name, slf.getattr(name)?)?;
        }
        Ok(fields)
    }

    /// An event from a dictionary of its fields; others are passed over.
    #[classmethod]
    fn from_dict<'py>(class: &Bound<'py, PyType>, data: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
        let known = PyDict::new(class.py());
        for (key, value) in data {
            let name: String = key.extract()?;
            if FIELDS.contains(&name.as_str()) || ALIASES.contains(&name.as_str()) {
                known.set_item(key, value)?;
            }
        }
        class.call((), Some(&known))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (py, event) = (slf.py(), slf.get());
        let payload = event.payload(py)?.bind(py).repr()?.to_string();
        let payload = shortened(&payload, 200);
        let core = event.core();
        let mut fields = vec![format!("{:?}", core.event_name)];
        if !core.source_id.is_empty() {
            fields.push(format!("source_id={:?}", core.source_id));
        }
        if let Some(destination) = &core.destination_id {
            fields.push(format!("destination_id={destination:?}"));
        }
        fields.push(format!("event_id={:?}", core.event_id));
        fields.push(format!("payload={payload}"));
        Ok(format!("{}({})", slf.get_type().name()?, fields.join(", ")))
    }

    fn __eq__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        match other.cast::<Self>() {
            Ok(other) => Self::to_dict(slf)?.eq(Self::to_dict(other)?),
            Err(_) => Ok(false),
        }
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyDict>,))> {
        let make = slf.get_type().getattr(intern!(slf.py(), "from_dict"))?;
        Ok((make, (Self::to_dict(slf)?,)))
    }
}

/// What `to_dict` writes.
const FIELDS: [&str; 16] = [
    "event_name",
    "source_id",
    "destination_id",
    "payload",
    "metadata",
    "visibility",
    "event_id",
    "timestamp",
    "requires_response",
    "response_to",
    "relevant_mod",
    "text_representation",
    "thread_name",
    "source_type",
    "allowed_agents",
    "reply_to_id",
];

/// Other names under which `from_dict` reads a field.
const ALIASES: [&str; 4] = ["target_id", "content", "sender_id", "ephemeral"];

impl Event {
    fn address(&self) -> Option<Address> {
        self.destination_id()?.parse().ok()
    }
}

#[pymethods]
impl EventAddress {
    /// `agent`, `channel`, `mod` or `system`.
    #[getter]
    fn role(&self) -> &'static str {
        self.role
    }

    /// The id without its role.
    #[getter]
    fn source_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The id without its role.
    #[getter]
    fn destination_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The id without its role, under the name that older programs read.
    #[getter]
    fn desitnation_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn __repr__(&self) -> String {
        format!("{}:{}", self.role, self.id.as_deref().unwrap_or_default())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other
            .cast::<Self>()
            .is_ok_and(|other| self.role == other.get().role && self.id == other.get().id)
    }
}

impl EventAddress {
    fn of(written: &str) -> Self {
        let (role, id) = match written.parse() {
            Ok(Address::Agent(id)) => ("agent", Some(id.to_string())),
            Ok(Address::Channel(name)) => ("channel", Some(name.to_string())),
            Ok(Address::Everyone) => ("agent", Some("broadcast".to_owned())),
            Ok(Address::System) => ("system", Some("system".to_owned())),
            Ok(Address::Mod(name)) => ("mod", Some(name.to_string())),
            Err(_) => ("unknown", None),
        };
        Self { role, id }
    }
}

fn checked_name(py: Python<'_>, written: &str) -> PyResult<String> {
    let name: Result<EventName, _> = written.parse();
    name.map(|name| name.to_string())
        .map_err(|error| error::invalid_name(py, "event_name", &error))
}

fn parsed_visibility(py: Python<'_>, written: &str) -> PyResult<openagents_client::Visibility> {
    written
        .parse()
        .map_err(|error| error::invalid_name(py, "visibility", &error))
}

fn checked_dictionary(field: &str, value: Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    if value.is_none() {
        return Ok(PyDict::new(value.py()).into_any().unbind());
    }
    if value.is_instance_of::<PyDict>() {
        return Ok(value.unbind());
    }
    let message = format!("{field} must be a dictionary, not {}", value.get_type().name()?);
    let error = ErrorBody::field(ErrorCode::InvalidField, field, message);
    Err(error::invalid(value.py(), &error))
}

/// A member of a dictionary; none where there is none or this is no dictionary.
fn member<'py>(object: &Bound<'py, PyAny>, key: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    match object.cast::<PyDict>() {
        Ok(object) => object.get_item(key),
        Err(_) => Ok(None),
    }
}

/// Names in any order; a text alone would be taken letter by letter.
fn names(given: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    if given.is_instance_of::<PyString>() {
        return Ok(vec![given.extract()?]);
    }
    given.try_iter()?.map(|name| name?.extract()).collect()
}

fn shortened(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit).chain("…".chars()).collect()
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is no time since 1970 becomes the nearest that is"
)]
fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}
