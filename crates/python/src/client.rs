//! `AgentClient`, underneath.

use std::path::PathBuf;
use std::sync::Arc;

use openagents_client::{
    AgentClient, Backlog, Connect, ConnectError, Deliveries, HookKind, IntoPatterns, Pattern, Sequence,
};
use pyo3::prelude::*;
use serde::Deserialize;

use crate::agent::Agent;
use crate::channel::Channel;
use crate::event::Event;
use crate::event_loop::EventLoop;
use crate::feed::{Feed, Listeners, Wanted};
use crate::reader::Reader;
use crate::runtime::Runtime;
use crate::seconds::deadline_after;
use crate::workspace::Workspace;
use crate::{awaitable, error, json, reply};

/// A client of the Rust library. It belongs to the process that made it.
#[pyclass(frozen, module = "openagents._native")]
pub(crate) struct Client {
    inner: AgentClient,
    process: u32,
    listeners: Arc<Listeners>,
}

impl Client {
    /// The client, for a call; an error in a process that was forked off.
    pub(crate) fn here(&self, py: Python<'_>) -> PyResult<AgentClient> {
        if self.process == std::process::id() {
            Ok(self.inner.clone())
        } else {
            Err(error::forked(py))
        }
    }

    fn reader(&self, py: Python<'_>, deliveries: Deliveries, patterns: Vec<Pattern>) -> Reader {
        self.listeners.forget_closed(py);
        Reader::new(deliveries, patterns, Arc::clone(&self.listeners))
    }
}

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (agent_id=None))]
    fn new(agent_id: Option<String>) -> Self {
        Self {
            inner: agent_id.map_or_else(AgentClient::anonymous, AgentClient::new),
            process: std::process::id(),
            listeners: Arc::default(),
        }
    }

    #[getter]
    fn agent_id(&self) -> String {
        self.inner.agent_id()
    }

    #[getter]
    fn is_connected(&self) -> bool {
        self.process == std::process::id() && self.inner.is_connected()
    }

    /// The name of the workspace, once connected.
    #[getter]
    fn workspace_name(&self) -> Option<String> {
        self.inner.welcome().map(|welcome| welcome.workspace.clone())
    }

    /// The end of the log as far as it is known.
    #[getter]
    fn head(&self) -> Option<u64> {
        self.inner.head().map(Sequence::get)
    }

    /// Waits until the session is over; the exception that says why, where the workspace ended it.
    fn closed<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let client = self.here(py)?;
        let waiting = async move { client.closed().await };
        awaitable::start(py, waiting, |py, reason| {
            let reason = reason.map(|reason| error::dismissal(py, &reason).into_value(py));
            reply::plain(py, reason)
        })
    }

    /// Connects; `options` are the keywords of `connect_to_server` that have an effect.
    fn connect<'py>(
        &self,
        py: Python<'py>,
        host: String,
        port: u16,
        options: Options<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let client = self.here(py)?;
        let connect = options.apply(client.connect_to_server(host, port))?;
        let runtime = Runtime::get()?;
        let connecting = async move {
            connect.await?;
            runtime.remember(&client);
            Ok(())
        };
        awaitable::start(
            py,
            connecting,
            |py, outcome: Result<(), ConnectError>| match outcome {
                Ok(()) => Ok(py.None()),
                Err(problem) => Err(error::connect(py, &problem)),
            },
        )
    }

    fn disconnect<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let client = self.here(py)?;
        let leaving = async move { client.disconnect().await };
        awaitable::start(py, leaving, reply::plain)
    }

    fn workspace(&self, py: Python<'_>) -> PyResult<Workspace> {
        Ok(Workspace::new(self.here(py)?.workspace()))
    }

    fn channel(&self, py: Python<'_>, name: &str) -> PyResult<Channel> {
        Ok(Channel::new(self.here(py)?.workspace().channel(name)))
    }

    fn agent(&self, py: Python<'_>, agent_id: &str) -> PyResult<Agent> {
        Ok(Agent::new(self.here(py)?.workspace().agent(agent_id)))
    }

    /// Begins to hand events to the handlers of the running loop; `begin` is called with each lane, and `ended` when
    /// nothing comes any more.
    fn feed(
        &self,
        py: Python<'_>,
        handlers: Vec<(u64, Vec<String>)>,
        begin: Py<PyAny>,
        ended: Py<PyAny>,
    ) -> PyResult<Feed> {
        let client = self.here(py)?;
        let handlers = Wanted::parse(py, handlers)?;
        let event_loop = EventLoop::running(py)?;
        self.listeners.forget_closed(py);
        Ok(Feed::start(
            client.deliveries(),
            &event_loop,
            &self.listeners,
            handlers,
            begin,
            ended,
        ))
    }

    /// Every event from now on whose name matches one of the patterns; without patterns every event.
    fn events(&self, py: Python<'_>, patterns: Vec<String>) -> PyResult<Reader> {
        let patterns = parsed_patterns(py, &patterns)?;
        Ok(self.reader(py, self.here(py)?.deliveries(), patterns))
    }

    /// What a wait looks at.
    fn look_out(&self, py: Python<'_>) -> PyResult<Reader> {
        let deliveries = self.here(py)?.deliveries_looking_back();
        Ok(self.reader(py, deliveries, Vec::new()))
    }

    #[pyo3(signature = (event, timeout=30.0))]
    fn send_event<'py>(
        &self,
        py: Python<'py>,
        event: &Bound<'py, Event>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (client, timeout) = (self.here(py)?, deadline_after(timeout)?);
        let event = event.get().to_send(py)?;
        let name = event.event_name.clone();
        let sending = async move { client.send_event(event).timeout(timeout).await };
        awaitable::start(py, sending, reply::response(name))
    }

    #[pyo3(signature = (events, timeout=30.0))]
    fn send_events<'py>(
        &self,
        py: Python<'py>,
        events: Vec<Bound<'py, Event>>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (client, timeout) = (self.here(py)?, deadline_after(timeout)?);
        let events: PyResult<Vec<_>> = events.iter().map(|event| event.get().to_send(py)).collect();
        let events = events?;
        let names: Vec<String> = events.iter().map(|event| event.event_name.clone()).collect();
        let sending = async move { client.send_events(events, timeout).await };
        awaitable::start(py, sending, |py, responses| {
            let shown = names.into_iter().zip(responses);
            let shown: PyResult<Vec<_>> = shown
                .map(|(name, response)| reply::response(name)(py, response))
                .collect();
            reply::plain(py, shown?)
        })
    }

    fn send_agent_message<'py>(
        &self,
        py: Python<'py>,
        agent_id: String,
        payload: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let client = self.here(py)?;
        let payload = json::write_object("payload", payload)?;
        let sending = async move { client.send_agent_message(&agent_id, payload).await };
        awaitable::start(py, sending, reply::response("agent.message"))
    }

    #[pyo3(signature = (capability=None))]
    fn list_agents<'py>(&self, py: Python<'py>, capability: Option<String>) -> PyResult<Bound<'py, PyAny>> {
        let client = self.here(py)?;
        let asking = async move {
            match capability {
                Some(capability) => client.find_agents(&capability).await,
                None => client.list_agents().await,
            }
        };
        awaitable::start(py, asking, reply::called)
    }

    fn list_mods<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let client = self.here(py)?;
        awaitable::start(py, async move { client.list_mods().await }, reply::called)
    }

    fn set_status<'py>(&self, py: Python<'py>, status: String) -> PyResult<Bound<'py, PyAny>> {
        let client = self.here(py)?;
        awaitable::start(py, async move { client.set_status(&status).await }, reply::called)
    }

    fn set_metadata<'py>(
        &self,
        py: Python<'py>,
        metadata: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let client = self.here(py)?;
        let metadata = json::write_object("metadata", metadata)?;
        awaitable::start(
            py,
            async move { client.set_metadata(metadata).await },
            reply::called,
        )
    }

    fn permissions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let client = self.here(py)?;
        awaitable::start(py, async move { client.permissions().await }, reply::called)
    }

    fn has_permission<'py>(&self, py: Python<'py>, name: String) -> PyResult<Bound<'py, PyAny>> {
        let client = self.here(py)?;
        let asking = async move { client.has_permission(&name).await };
        awaitable::start(py, asking, reply::plain)
    }

    #[pyo3(signature = (patterns, channels=None))]
    fn subscribe_events<'py>(
        &self,
        py: Python<'py>,
        patterns: Vec<String>,
        channels: Option<Vec<String>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let client = self.here(py)?;
        let asking = async move {
            let channels: Option<Vec<&str>> = channels
                .as_ref()
                .map(|channels| channels.iter().map(String::as_str).collect());
            client.subscribe_events(patterns, channels.as_deref()).await
        };
        awaitable::start(py, asking, reply::called)
    }

    fn unsubscribe_events<'py>(
        &self,
        py: Python<'py>,
        subscription_id: String,
    ) -> PyResult<Bound<'py, PyAny>> {
        let client = self.here(py)?;
        let asking = async move { client.unsubscribe_events(&subscription_id).await };
        awaitable::start(py, asking, reply::called)
    }
}

/// Tells which pattern breaks which rule.
#[pyfunction]
pub(crate) fn check_patterns(py: Python<'_>, patterns: Vec<String>) -> PyResult<()> {
    parsed_patterns(py, &patterns).map(drop)
}

/// The hook of a worker that an event is for, if there is one; without `mentions`, a mention is a post or a reply like
/// any other.
#[pyfunction]
pub(crate) fn hook_of(event: &Bound<'_, Event>, agent_id: &str, mentions: bool) -> Option<&'static str> {
    let event = event.get().core();
    let kind = if mentions {
        HookKind::of(&event, agent_id)
    } else {
        HookKind::passing_over_mentions(&event, agent_id)
    };
    kind.map(HookKind::name)
}

/// What is asked of the session.
#[derive(Deserialize)]
struct Standing {
    backlog: Option<Backlog>,
    after: Option<u64>,
    watching: bool,
}

/// The keywords of `connect_to_server` that have an effect; what is not given stays as it is.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Options<'py> {
    token: Option<String>,
    password_hash: Option<String>,
    metadata: Option<Bound<'py, PyAny>>,
    use_tls: bool,
    ssl_ca_cert: Option<PathBuf>,
    ssl_client_cert: Option<PathBuf>,
    ssl_client_key: Option<PathBuf>,
    ssl_verify: bool,
    timeout: Option<f64>,
    session: Bound<'py, PyAny>,
}

impl Options<'_> {
    fn apply(self, mut connect: Connect) -> PyResult<Connect> {
        connect = connect
            .use_tls(self.use_tls)
            .timeout(deadline_after(self.timeout)?);
        let session: Standing = json::parsed("session", &self.session)?;
        if let Some(backlog) = session.backlog {
            connect = connect.backlog(backlog);
        }
        if let Some(after) = session.after {
            connect = connect.after(Sequence::new(after));
        }
        if session.watching {
            connect = connect.watching();
        }
        if let Some(token) = self.token {
            connect = connect.token(token);
        }
        if let Some(hash) = self.password_hash {
            connect = connect.password_hash(hash);
        }
        if let Some(metadata) = self.metadata {
            connect = connect.metadata(json::write_object("metadata", &metadata)?);
        }
        if let Some(authority) = self.ssl_ca_cert {
            connect = connect.ca_certificate(authority);
        }
        if let Some(certificate) = self.ssl_client_cert {
            let key = self.ssl_client_key.unwrap_or_else(|| certificate.clone());
            connect = connect.client_certificate(certificate, key);
        }
        if !self.ssl_verify {
            connect = connect.trust_anybody();
        }
        Ok(connect)
    }
}

/// Patterns as they were written; an error names the first that breaks a rule.
pub(crate) fn parsed_patterns(py: Python<'_>, patterns: &[String]) -> PyResult<Vec<Pattern>> {
    patterns
        .into_patterns()
        .map_err(|error| error::invalid_name(py, "patterns", &error))
}
