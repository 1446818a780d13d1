//! Files: sent to channels and agents, listed, fetched.

use std::fmt;
use std::future::IntoFuture;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, StreamBody};
use hyper::Request;
use hyper::body::Frame;
use hyper::header::CONTENT_LENGTH;
use openagents_protocol::call::{DeleteFile, FileInfo, GetFile, ListFiles};
use openagents_protocol::{EventResponse, frame};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;

use crate::AgentClient;
use crate::connector::http::{Content, whole};
use crate::error::{CallError, FileError, not_connected, respond};
use crate::workspace::{AgentConnection, Channel, DownloadFile, Workspace, parsed_id};

/// Bytes read from a file at once.
const PIECE: usize = 128 * 1024;

/// The largest file that is fetched into memory, in bytes.
const MAX_IN_MEMORY: u64 = 100 * 1024 * 1024;

/// A file on its way; awaiting it sends it and resolves with what the workspace knows of it.
///
/// It is streamed, so its size does not matter. Its name is the last part of the path.
#[must_use = "a file is not sent until it is awaited"]
pub struct UploadFile {
    client: AgentClient,
    path: PathBuf,
    query: Vec<(&'static str, String)>,
    progress: Option<Progress>,
}

/// Is told how many bytes of how many went.
pub(super) type Progress = Box<dyn Fn(u64, u64) + Send + Sync>;

impl UploadFile {
    fn new(client: &AgentClient, path: &Path) -> Self {
        Self {
            client: client.clone(),
            path: path.to_owned(),
            query: Vec::new(),
            progress: None,
        }
    }

    fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.retain(|(known, _)| *known != key);
        self.query.push((key, value.into()));
        self
    }

    /// Says what it is; at most 1,000 bytes.
    pub fn description(self, description: impl Into<String>) -> Self {
        self.with("description", description)
    }

    /// Shows it under another name than that of the path.
    pub fn filename(self, filename: impl Into<String>) -> Self {
        self.with("filename", filename)
    }

    /// Words to find it by; at most 20, without commas.
    pub fn tags(self, tags: &[&str]) -> Self {
        self.with("tags", tags.join(","))
    }

    /// Sets the media type; by default it is made of the name.
    pub fn mime_type(self, mime_type: impl Into<String>) -> Self {
        self.with("mime_type", mime_type)
    }

    /// Is told, with every piece, how many bytes went and how many there are.
    pub fn progress(mut self, told: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        self.progress = Some(Box::new(told));
        self
    }

    async fn send(mut self) -> Result<FileInfo, FileError> {
        if !self.query.iter().any(|(key, _)| *key == "filename") {
            let name = self
                .path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            self = self.with("filename", name.unwrap_or_default());
        }
        let local = |source| FileError::Local {
            path: self.path.clone(),
            source,
        };
        let file = File::open(&self.path).await.map_err(local)?;
        let size = file.metadata().await.map_err(local)?.len();
        let (content, checksum) = streamed(file, size, self.progress.take());
        let query: Vec<String> = self
            .query
            .iter()
            .map(|(key, value)| format!("{key}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
            .collect();
        let request = Request::post(format!("/rest/v1/files?{}", query.join("&")))
            .header(CONTENT_LENGTH, size)
            .body(content)
            .map_err(|error| FileError::Broken(error.to_string()))?;
        let link = self
            .client
            .core()
            .link()
            .ok_or_else(|| FileError::NotConnected(not_connected()))?;
        let response = link.transfer().send(&self.client.agent_id(), request).await?;
        let answer = whole(response).await?;
        let answer = std::str::from_utf8(&answer).map_err(|error| FileError::Broken(error.to_string()))?;
        let info: FileInfo = frame::read(answer).map_err(|error| FileError::Broken(error.to_string()))?;
        if checksum.await.is_ok_and(|checksum| checksum != info.checksum) {
            self.client.workspace().delete_file(&info.file_id).await;
            return Err(FileError::Altered);
        }
        Ok(info)
    }
}

impl fmt::Debug for UploadFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("UploadFile");
        shown.field("path", &self.path).field("query", &self.query);
        shown.finish_non_exhaustive()
    }
}

impl IntoFuture for UploadFile {
    type Output = Result<FileInfo, FileError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl Workspace {
    /// Shares a file with everyone.
    ///
    /// ```no_run
    /// # async fn example(client: openagents_client::AgentClient) -> Result<(), Box<dyn std::error::Error>> {
    /// let workspace = client.workspace();
    /// let report = workspace.upload_file("report.md").description("What we found").await?;
    /// workspace.download_file(&report.file_id, "copy.md").await?;
    /// # Ok(()) }
    /// ```
    pub fn upload_file(&self, path: impl AsRef<Path>) -> UploadFile {
        UploadFile::new(self.client(), path.as_ref())
    }

    /// The files that this agent may read, newest first, at most 1,000.
    pub async fn list_files(&self) -> Result<Vec<FileInfo>, CallError> {
        let params = ListFiles {
            limit: Some(openagents_protocol::call::MAX_PAGE),
            ..Default::default()
        };
        Ok(self.client().call(params).await?.files)
    }

    /// What the workspace knows of a file.
    pub async fn get_file(&self, file_id: &str) -> Result<FileInfo, CallError> {
        let file_id = parsed_id("file_id", file_id)?;
        self.client().call(GetFile { file_id }).await
    }

    /// Fetches a file to a path.
    pub fn download_file(&self, file_id: &str, path: impl AsRef<Path>) -> DownloadFile {
        DownloadFile::new(self, file_id, path.as_ref())
    }

    /// Fetches the content of a file into memory; at most 100 MiB.
    pub async fn read_file(&self, file_id: &str) -> Result<Vec<u8>, FileError> {
        let mut content = self.open_file(file_id).await?;
        let size = content.info().size;
        if MAX_IN_MEMORY < size {
            return Err(FileError::TooLarge {
                size,
                limit: MAX_IN_MEMORY,
            });
        }
        let mut whole = Vec::new();
        while let Some(piece) = content.next().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }

    /// Deletes a file, content and all. For who uploaded it and for moderators.
    pub async fn delete_file(&self, file_id: &str) -> EventResponse {
        match parsed_id("file_id", file_id) {
            Ok(file_id) => respond(self.client().call(DeleteFile { file_id }).await),
            Err(error) => respond(Err(error)),
        }
    }
}

impl Channel {
    /// Shares a file in the channel.
    pub fn upload_file(&self, path: impl AsRef<Path>) -> UploadFile {
        UploadFile::new(self.client(), path.as_ref()).with("channel", self.name())
    }
}

impl AgentConnection {
    /// Sends a file to the agent.
    pub fn send_file(&self, path: impl AsRef<Path>) -> UploadFile {
        UploadFile::new(self.client(), path.as_ref()).with("agent_id", self.id())
    }
}

/// The content of a file in pieces, and the checksum of what was sent once all was.
fn streamed(file: File, size: u64, progress: Option<Progress>) -> (Content, oneshot::Receiver<String>) {
    let (sender, checksum) = oneshot::channel();
    let start = (
        Reading {
            file,
            size,
            sent: 0,
            progress,
        },
        Sha256::new(),
        Some(sender),
    );
    let pieces = futures_util::stream::try_unfold(start, |(mut reading, mut hasher, sender)| async move {
        let mut piece = vec![0; PIECE];
        let length = reading.read(&mut piece).await?;
        if length == 0 {
            if let Some(sender) = sender {
                // Whoever sent the file may have given up.
                sender.send(hex(&hasher.finalize())).ok();
            }
            return Ok::<_, std::io::Error>(None);
        }
        piece.truncate(length);
        hasher.update(&piece);
        Ok(Some((Frame::data(Bytes::from(piece)), (reading, hasher, sender))))
    });
    (StreamBody::new(pieces).boxed_unsync(), checksum)
}

/// A local file that is being read.
struct Reading {
    file: File,
    size: u64,
    sent: u64,
    progress: Option<Progress>,
}

impl Reading {
    async fn read(&mut self, piece: &mut [u8]) -> std::io::Result<usize> {
        let length = self.file.read(piece).await?;
        self.sent += length as u64;
        if let Some(progress) = &self.progress {
            progress(self.sent, self.size);
        }
        Ok(length)
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;

    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}
