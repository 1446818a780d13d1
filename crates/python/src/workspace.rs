//! `Workspace`, underneath.

use std::path::PathBuf;

use openagents_client::{UploadFile, Workspace as Core};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::{awaitable, error, json, reply};

/// The workspace of a client.
#[pyclass(frozen, module = "openagents._native")]
pub(crate) struct Workspace(Core);

impl Workspace {
    pub(crate) fn new(core: Core) -> Self {
        Self(core)
    }
}

#[pymethods]
impl Workspace {
    fn channels<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let workspace = self.0.clone();
        awaitable::start(py, async move { workspace.channels().await }, reply::called)
    }

    fn list_channels<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let workspace = self.0.clone();
        let asking = async move { workspace.list_channels().await };
        awaitable::start(py, asking, reply::called)
    }

    fn agents<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let workspace = self.0.clone();
        awaitable::start(py, async move { workspace.agents().await }, reply::called)
    }

    fn create_channel<'py>(
        &self,
        py: Python<'py>,
        name: String,
        description: String,
    ) -> PyResult<Bound<'py, PyAny>> {
        let workspace = self.0.clone();
        let making = async move {
            let made = workspace.create_channel(&name, &description).await?;
            Ok(made.name().to_owned())
        };
        awaitable::start(py, making, reply::called)
    }

    fn get_network_info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let workspace = self.0.clone();
        let asking = async move { workspace.get_network_info().await };
        awaitable::start(py, asking, reply::called)
    }

    fn conversations<'py>(&self, py: Python<'py>, limit: u32) -> PyResult<Bound<'py, PyAny>> {
        let workspace = self.0.clone();
        let asking = async move { workspace.conversations(limit).await };
        awaitable::start(py, asking, reply::called)
    }

    fn get_message<'py>(&self, py: Python<'py>, message_id: String) -> PyResult<Bound<'py, PyAny>> {
        let workspace = self.0.clone();
        let asking = async move { workspace.get_message(&message_id).await };
        awaitable::start(py, asking, |py, outcome| match outcome {
            Ok(message) => reply::maybe_message(py, Some(message)),
            Err(problem) => Err(error::call(py, &problem)),
        })
    }

    /// Searches, as a dictionary with the fields of the call says.
    fn search<'py>(&self, py: Python<'py>, wanted: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let search = self.0.search_for(json::parsed("search", wanted)?);
        awaitable::start(py, async move { search.page().await }, reply::found)
    }

    fn list_files<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let workspace = self.0.clone();
        awaitable::start(py, async move { workspace.list_files().await }, reply::called)
    }

    fn get_file<'py>(&self, py: Python<'py>, file_id: String) -> PyResult<Bound<'py, PyAny>> {
        let workspace = self.0.clone();
        let asking = async move { workspace.get_file(&file_id).await };
        awaitable::start(py, asking, reply::called)
    }

    #[pyo3(signature = (path, description, tags, filename=None, mime_type=None))]
    fn upload_file<'py>(
        &self,
        py: Python<'py>,
        path: PathBuf,
        description: String,
        tags: Vec<String>,
        filename: Option<String>,
        mime_type: Option<String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let upload = described(self.0.upload_file(path), description, &tags, filename, mime_type);
        awaitable::start(py, async move { upload.await }, reply::transferred)
    }

    fn download_file<'py>(
        &self,
        py: Python<'py>,
        file_id: String,
        path: PathBuf,
    ) -> PyResult<Bound<'py, PyAny>> {
        let workspace = self.0.clone();
        let fetching = async move { workspace.download_file(&file_id, path).await };
        awaitable::start(py, fetching, reply::transferred)
    }

    fn read_file<'py>(&self, py: Python<'py>, file_id: String) -> PyResult<Bound<'py, PyAny>> {
        let workspace = self.0.clone();
        let fetching = async move { workspace.read_file(&file_id).await };
        awaitable::start(py, fetching, |py, outcome| match outcome {
            Ok(content) => Ok(PyBytes::new(py, &content).into_any().unbind()),
            Err(problem) => Err(error::file(py, &problem)),
        })
    }

    fn delete_file<'py>(&self, py: Python<'py>, file_id: String) -> PyResult<Bound<'py, PyAny>> {
        let workspace = self.0.clone();
        let deleting = async move { workspace.delete_file(&file_id).await };
        awaitable::start(py, deleting, reply::response("workspace.file.deleted"))
    }
}

/// A file on its way with what is said of it.
pub(crate) fn described(
    mut upload: UploadFile,
    description: String,
    tags: &[String],
    filename: Option<String>,
    mime_type: Option<String>,
) -> UploadFile {
    if !description.is_empty() {
        upload = upload.description(description);
    }
    if !tags.is_empty() {
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        upload = upload.tags(&tags);
    }
    if let Some(filename) = filename {
        upload = upload.filename(filename);
    }
    if let Some(mime_type) = mime_type {
        upload = upload.mime_type(mime_type);
    }
    upload
}
