//! `AgentConnection`, underneath.

use std::path::PathBuf;

use openagents_client::AgentConnection as Core;
use pyo3::prelude::*;

use crate::seconds::deadline_after;
use crate::workspace::described;
use crate::{awaitable, error, json, reply};

/// Another agent of the workspace.
#[pyclass(frozen, module = "openagents._native")]
pub(crate) struct Agent(Core);

impl Agent {
    pub(crate) fn new(core: Core) -> Self {
        Self(core)
    }
}

#[pymethods]
impl Agent {
    #[getter]
    fn agent_id(&self) -> &str {
        self.0.id()
    }

    #[pyo3(signature = (content, metadata=None, event_id=None))]
    fn send<'py>(
        &self,
        py: Python<'py>,
        content: &Bound<'py, PyAny>,
        metadata: Option<&Bound<'py, PyAny>>,
        event_id: Option<String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut message = self.0.send(json::content(content)?);
        if let Some(metadata) = metadata {
            message = message.metadata(json::write_object("metadata", metadata)?);
        }
        if let Some(event_id) = event_id {
            message = message.event_id(event_id);
        }
        awaitable::start(
            py,
            async move { message.await },
            reply::response("direct.message.received"),
        )
    }

    #[pyo3(signature = (content, timeout=None))]
    fn send_and_wait<'py>(
        &self,
        py: Python<'py>,
        content: &Bound<'py, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (agent, content) = (self.0.clone(), json::content(content)?);
        let timeout = deadline_after(timeout)?;
        let asking = async move { agent.send_and_wait(content, timeout).await };
        awaitable::start(py, asking, reply::maybe_answer)
    }

    #[pyo3(signature = (content, timeout=None))]
    fn ask<'py>(
        &self,
        py: Python<'py>,
        content: &Bound<'py, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (agent, content) = (self.0.clone(), json::content(content)?);
        let timeout = deadline_after(timeout)?;
        let asking = async move { agent.ask(content, timeout).await };
        awaitable::start(py, asking, |py, outcome| match outcome {
            Ok(answer) => reply::maybe_answer(py, Some(answer)),
            Err(problem) => Err(error::ask(py, &problem)),
        })
    }

    #[pyo3(signature = (timeout=None))]
    fn wait_for_message<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let (agent, timeout) = (self.0.clone(), deadline_after(timeout)?);
        let waiting = async move { agent.wait_for_message(timeout).await };
        awaitable::start(py, waiting, reply::maybe_answer)
    }

    fn get_agent_info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let agent = self.0.clone();
        awaitable::start(py, async move { agent.get_agent_info().await }, reply::called)
    }

    fn get_messages<'py>(&self, py: Python<'py>, page: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        reply::start_page(py, self.0.get_messages(1), page)
    }

    #[pyo3(signature = (path, description, filename=None, mime_type=None))]
    fn send_file<'py>(
        &self,
        py: Python<'py>,
        path: PathBuf,
        description: String,
        filename: Option<String>,
        mime_type: Option<String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let upload = described(self.0.send_file(path), description, &[], filename, mime_type);
        awaitable::start(py, async move { upload.await }, reply::transferred)
    }
}
