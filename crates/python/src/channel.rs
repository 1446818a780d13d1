//! `Channel`, underneath.

use std::path::PathBuf;

use openagents_client::{Channel as Core, IntoContent, Json, ReactAction};
use openagents_protocol::{ErrorBody, ErrorCode};
use pyo3::prelude::*;

use crate::seconds::deadline_after;
use crate::workspace::described;
use crate::{awaitable, error, json, reply};

/// A channel of the workspace.
#[pyclass(frozen, module = "openagents._native")]
pub(crate) struct Channel(Core);

impl Channel {
    pub(crate) fn new(core: Core) -> Self {
        Self(core)
    }
}

/// JSON that is sent as it is.
struct Written(Json);

impl IntoContent for Written {
    fn into_content(self) -> Json {
        self.0
    }
}

#[pymethods]
impl Channel {
    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    #[pyo3(signature = (content, metadata=None, reply_to=None, mention=None, event_id=None))]
    fn post<'py>(
        &self,
        py: Python<'py>,
        content: &Bound<'py, PyAny>,
        metadata: Option<&Bound<'py, PyAny>>,
        reply_to: Option<&str>,
        mention: Option<&str>,
        event_id: Option<String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let content = Written(json::content(content)?);
        let (mut post, name) = match reply_to {
            Some(message_id) => (self.0.reply(message_id, content), "channel.message.replied"),
            None => (self.0.post(content), "channel.message.posted"),
        };
        if let Some(metadata) = metadata {
            post = post.metadata(json::write_object("metadata", metadata)?);
        }
        if let Some(agent_id) = mention {
            post = post.mention(agent_id);
        }
        if let Some(event_id) = event_id {
            post = post.event_id(event_id);
        }
        awaitable::start(py, async move { post.await }, reply::response(name))
    }

    #[pyo3(signature = (content, timeout=None))]
    fn post_and_wait<'py>(
        &self,
        py: Python<'py>,
        content: &Bound<'py, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (channel, content) = (self.0.clone(), json::content(content)?);
        let timeout = deadline_after(timeout)?;
        let waiting = async move { channel.post_and_wait(content, timeout).await };
        awaitable::start(py, waiting, reply::maybe_message)
    }

    #[pyo3(signature = (from_agent=None, timeout=None))]
    fn wait_for_post<'py>(
        &self,
        py: Python<'py>,
        from_agent: Option<String>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (channel, timeout) = (self.0.clone(), deadline_after(timeout)?);
        let waiting = async move { channel.wait_for_post(from_agent.as_deref(), timeout).await };
        awaitable::start(py, waiting, reply::maybe_message)
    }

    #[pyo3(signature = (message_id=None, timeout=None))]
    fn wait_for_reply<'py>(
        &self,
        py: Python<'py>,
        message_id: Option<String>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (channel, timeout) = (self.0.clone(), deadline_after(timeout)?);
        let waiting = async move {
            match message_id {
                Some(message_id) => channel.wait_for_reply(&message_id, timeout).await,
                None => channel.wait_for_any_reply(timeout).await,
            }
        };
        awaitable::start(py, waiting, reply::maybe_message)
    }

    #[pyo3(signature = (message_id, timeout=None))]
    fn wait_for_reaction<'py>(
        &self,
        py: Python<'py>,
        message_id: String,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (channel, timeout) = (self.0.clone(), deadline_after(timeout)?);
        let waiting = async move { channel.wait_for_reaction(&message_id, timeout).await };
        awaitable::start(py, waiting, |py, event| match event {
            Some(event) => Ok(json::read(py, event.payload.as_str())?.unbind()),
            None => Ok(py.None()),
        })
    }

    fn get_messages<'py>(&self, py: Python<'py>, page: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        reply::start_page(py, self.0.get_messages(1), page)
    }

    fn get_thread<'py>(
        &self,
        py: Python<'py>,
        thread_id: &str,
        page: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let reading = self.0.get_thread(thread_id, 1);
        reply::start_page(py, reading.map_err(|problem| error::call(py, &problem))?, page)
    }

    fn react<'py>(
        &self,
        py: Python<'py>,
        message_id: String,
        reaction: String,
        action: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (action, name) = match action {
            "add" => (ReactAction::Add, "workspace.reaction.added"),
            "remove" => (ReactAction::Remove, "workspace.reaction.removed"),
            other => {
                let message = format!("action must be \"add\" or \"remove\", not {other:?}");
                let problem = ErrorBody::field(ErrorCode::InvalidField, "action", message);
                return Err(error::invalid(py, &problem));
            }
        };
        let channel = self.0.clone();
        let reacting = async move { channel.react_to_message(&message_id, &reaction, action).await };
        awaitable::start(py, reacting, reply::response(name))
    }

    fn edit<'py>(
        &self,
        py: Python<'py>,
        message_id: String,
        content: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (channel, content) = (self.0.clone(), json::content(content)?);
        let editing = async move { channel.edit(&message_id, content).await };
        awaitable::start(py, editing, reply::response("channel.message.edited"))
    }

    fn delete_message<'py>(&self, py: Python<'py>, message_id: String) -> PyResult<Bound<'py, PyAny>> {
        let channel = self.0.clone();
        let deleting = async move { channel.delete_message(&message_id).await };
        awaitable::start(py, deleting, reply::response("channel.message.deleted"))
    }

    fn set_topic<'py>(&self, py: Python<'py>, topic: String) -> PyResult<Bound<'py, PyAny>> {
        let channel = self.0.clone();
        let setting = async move { channel.set_topic(&topic).await };
        awaitable::start(py, setting, reply::response("channel.topic.changed"))
    }

    fn configure<'py>(&self, py: Python<'py>, settings: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let (channel, settings) = (self.0.clone(), json::parsed("settings", settings)?);
        let setting = async move { channel.configure(settings).await };
        awaitable::start(py, setting, reply::response("channel.configured"))
    }

    fn set_permissions<'py>(
        &self,
        py: Python<'py>,
        permissions: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (channel, permissions) = (self.0.clone(), json::parsed("permissions", permissions)?);
        let setting = async move { channel.set_permissions(permissions).await };
        awaitable::start(py, setting, reply::response("channel.permissions.changed"))
    }

    /// The id and title of the thread.
    fn start_thread<'py>(
        &self,
        py: Python<'py>,
        title: String,
        content: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (channel, content) = (self.0.clone(), json::content(content)?);
        let starting = async move {
            let thread = channel.start_thread(&title, content).await?;
            Ok((thread.id().to_owned(), thread.title().to_owned()))
        };
        awaitable::start(py, starting, reply::called)
    }

    fn join<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let channel = self.0.clone();
        awaitable::start(py, async move { channel.join().await }, reply::called)
    }

    fn leave<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let channel = self.0.clone();
        awaitable::start(py, async move { channel.leave().await }, reply::called)
    }

    fn members<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let channel = self.0.clone();
        awaitable::start(py, async move { channel.members().await }, reply::called)
    }

    fn archive<'py>(&self, py: Python<'py>, archived: bool) -> PyResult<Bound<'py, PyAny>> {
        let channel = self.0.clone();
        let archiving = async move { channel.archive(archived).await };
        awaitable::start(py, archiving, reply::response("channel.archived"))
    }

    fn delete<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let channel = self.0.clone();
        let deleting = async move { channel.delete().await };
        awaitable::start(py, deleting, reply::response("channel.deleted"))
    }

    #[pyo3(signature = (path, description, filename=None, mime_type=None))]
    fn upload_file<'py>(
        &self,
        py: Python<'py>,
        path: PathBuf,
        description: String,
        filename: Option<String>,
        mime_type: Option<String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let upload = described(self.0.upload_file(path), description, &[], filename, mime_type);
        awaitable::start(py, async move { upload.await }, reply::transferred)
    }
}
