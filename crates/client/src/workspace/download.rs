//! Files on their way here.

use std::fmt;
use std::future::IntoFuture;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::Request;
use hyper::body::Incoming;
use openagents_protocol::call::FileInfo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::files::{Progress, hex};
use crate::connector::http::{empty, piece};
use crate::error::{FileError, not_connected};
use crate::workspace::Workspace;

/// A file that is fetched to a path; awaiting it fetches it and resolves with the path.
///
/// It is there under its name when all of it is and its checksum was compared; a file that was there is replaced.
#[must_use = "a file is not fetched until it is awaited"]
pub struct DownloadFile {
    workspace: Workspace,
    file_id: String,
    path: PathBuf,
    progress: Option<Progress>,
}

impl DownloadFile {
    pub(super) fn new(workspace: &Workspace, file_id: &str, path: &Path) -> Self {
        Self {
            workspace: workspace.clone(),
            file_id: file_id.to_owned(),
            path: path.to_owned(),
            progress: None,
        }
    }

    /// Is told, with every piece, how many bytes have come and how many there are.
    pub fn progress(mut self, told: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        self.progress = Some(Box::new(told));
        self
    }

    async fn fetch(self) -> Result<PathBuf, FileError> {
        let path = &self.path;
        let local = |source| FileError::Local {
            path: path.clone(),
            source,
        };
        let mut content = self.workspace.open_file(&self.file_id).await?;
        let partial = Partial::beside(path);
        let mut file = File::create_new(&partial.0).await.map_err(local)?;
        let size = content.info.size;
        while let Some(piece) = content.next().await? {
            file.write_all(&piece).await.map_err(local)?;
            if let Some(progress) = &self.progress {
                progress(size - content.left, size);
            }
        }
        file.sync_all().await.map_err(local)?;
        tokio::fs::rename(&partial.0, path).await.map_err(local)?;
        Ok(path.clone())
    }
}

impl IntoFuture for DownloadFile {
    type Output = Result<PathBuf, FileError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.fetch())
    }
}

impl fmt::Debug for DownloadFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("DownloadFile");
        shown.field("file_id", &self.file_id).field("path", &self.path);
        shown.finish_non_exhaustive()
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

/// The content of a file as it comes; from [`Workspace::open_file`].
#[derive(Debug)]
pub struct FileContent {
    pub(super) info: FileInfo,
    response: hyper::Response<Incoming>,
    hasher: Sha256,
    left: u64,
}

impl FileContent {
    /// What the workspace knows of the file.
    pub fn info(&self) -> &FileInfo {
        &self.info
    }

    /// The next piece; none at the end, once length and checksum were compared.
    ///
    /// # Errors
    ///
    /// [`FileError::Altered`] where the content is not the one that was shared; what came before it is not, either.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FileError> {
        let Some(piece) = piece(&mut self.response).await? else {
            let whole = self.left == 0 && hex(&self.hasher.clone().finalize()) == self.info.checksum;
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

impl Workspace {
    /// Begins to fetch a file, to be read piece by piece.
    pub async fn open_file(&self, file_id: &str) -> Result<FileContent, FileError> {
        let info = self.get_file(file_id).await?;
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
        Ok(FileContent {
            left: info.size,
            info,
            response,
            hasher: Sha256::new(),
        })
    }
}
