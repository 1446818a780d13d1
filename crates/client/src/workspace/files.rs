//! Files: sent to channels and agents, listed, fetched.

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
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use crate::AgentClient;
use crate::connector::http::{Content, empty, piece, whole};
use crate::error::{CallError, FileError, not_connected, respond};
use crate::workspace::{AgentConnection, Channel, Workspace, parsed_id};

/// Bytes read from a file at once.
const PIECE: usize = 128 * 1024;

/// The largest file that is fetched into memory, in bytes.
const MAX_IN_MEMORY: u64 = 100 * 1024 * 1024;

/// A file on its way; awaiting it sends it and resolves with what the workspace knows of it.
///
/// It is streamed, so its size does not matter. Its name is the last part of the path.
#[derive(Debug)]
#[must_use = "a file is not sent until it is awaited"]
pub struct UploadFile {
    client: AgentClient,
    path: PathBuf,
    query: Vec<(&'static str, String)>,
}

impl UploadFile {
    fn new(client: &AgentClient, path: &Path) -> Self {
        Self {
            client: client.clone(),
            path: path.to_owned(),
            query: Vec::new(),
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
        let (content, checksum) = streamed(file);
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

    /// Fetches a file to a path. It is there under its name when all of it is and its checksum was compared; a file
    /// that was there is replaced.
    pub async fn download_file(&self, file_id: &str, path: impl AsRef<Path>) -> Result<PathBuf, FileError> {
        let path = path.as_ref();
        let info = self.get_file(file_id).await?;
        let local = |source| FileError::Local {
            path: path.to_owned(),
            source,
        };
        let partial = Partial::beside(path);
        let mut file = File::create_new(&partial.0).await.map_err(local)?;
        let mut content = self.content(&info).await?;
        while let Some(piece) = content.next().await? {
            file.write_all(&piece).await.map_err(local)?;
        }
        file.sync_all().await.map_err(local)?;
        tokio::fs::rename(&partial.0, path).await.map_err(local)?;
        Ok(path.to_owned())
    }

    /// Fetches the content of a file into memory; at most 100 MiB.
    pub async fn read_file(&self, file_id: &str) -> Result<Vec<u8>, FileError> {
        let info = self.get_file(file_id).await?;
        if MAX_IN_MEMORY < info.size {
            return Err(FileError::TooLarge {
                size: info.size,
                limit: MAX_IN_MEMORY,
            });
        }
        let mut content = self.content(&info).await?;
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

    async fn content(&self, info: &FileInfo) -> Result<Checked, FileError> {
        let id = utf8_percent_encode(&info.file_id, NON_ALPHANUMERIC);
        let request = Request::get(format!("/rest/v1/files/{id}/content"))
            .body(empty())
            .map_err(|error| FileError::Broken(error.to_string()))?;
        let link = self
            .client()
            .core()
            .link()
            .ok_or_else(|| FileError::NotConnected(not_connected()))?;
        let response = link.transfer().send(&self.client().agent_id(), request).await?;
        Ok(Checked {
            response,
            hasher: Sha256::new(),
            left: info.size,
            checksum: info.checksum.clone(),
        })
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

/// Where a file grows. What of it is there when this is dropped is of no use and goes.
struct Partial(PathBuf);

impl Partial {
    fn beside(path: &Path) -> Self {
        let mut partial = path.as_os_str().to_owned();
        partial.push(format!(".{}.part", crate::send::new_event_id()));
        Self(partial.into())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // A complete one has its own name by now; that one stays which cannot be removed is no further harm.
        std::fs::remove_file(&self.0).ok();
    }
}

/// The content of a file that is compared with its checksum at the end.
struct Checked {
    response: hyper::Response<hyper::body::Incoming>,
    hasher: Sha256,
    left: u64,
    checksum: String,
}

impl Checked {
    async fn next(&mut self) -> Result<Option<Bytes>, FileError> {
        let Some(piece) = piece(&mut self.response).await? else {
            let whole = self.left == 0 && hex(&self.hasher.clone().finalize()) == self.checksum;
            return if whole { Ok(None) } else { Err(FileError::Altered) };
        };
        self.hasher.update(&piece);
        self.left = self
            .left
            .checked_sub(piece.len() as u64)
            .ok_or(FileError::Altered)?;
        Ok(Some(piece))
    }
}

/// The content of a file in pieces, and the checksum of what was sent once all was.
fn streamed(file: File) -> (Content, oneshot::Receiver<String>) {
    let (sender, checksum) = oneshot::channel();
    let start = (file, Sha256::new(), Some(sender));
    let pieces = futures_util::stream::try_unfold(start, |(mut file, mut hasher, sender)| async move {
        let mut piece = vec![0; PIECE];
        let length = file.read(&mut piece).await?;
        if length == 0 {
            if let Some(sender) = sender {
                // Whoever sent the file may have given up.
                sender.send(hex(&hasher.finalize())).ok();
            }
            return Ok::<_, std::io::Error>(None);
        }
        piece.truncate(length);
        hasher.update(&piece);
        Ok(Some((Frame::data(Bytes::from(piece)), (file, hasher, sender))))
    });
    (StreamBody::new(pieces).boxed_unsync(), checksum)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;

    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}
