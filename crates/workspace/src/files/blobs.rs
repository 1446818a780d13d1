//! The content of files, in a store of objects named by file id.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use openagents_protocol::EventId;
use sha2::{Digest, Sha256};

pub(crate) use object_store::Error;

/// Bytes written to the store at once.
const PART: usize = 1024 * 1024;

/// Where the content of files is kept.
#[derive(Clone, Debug)]
pub(crate) struct Blobs(Arc<dyn ObjectStore>);

impl Blobs {
    /// Name of the folder in the directory of a workspace.
    const FOLDER: &str = "files";

    /// Opens the folder of a workspace whose lock is held, making it if there is none. Parts of uploads that a crash
    /// left are removed.
    pub(crate) fn open(directory: &Path) -> std::io::Result<Self> {
        let folder = directory.join(Self::FOLDER);
        std::fs::create_dir_all(&folder)?;
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            // The store keeps what is not complete under the key, `#` and a number. No key has that sign; the path
            // to the folder may.
            let incomplete = |name: &OsStr| name.as_encoded_bytes().contains(&b'#');
            if path.file_name().is_some_and(incomplete) {
                std::fs::remove_file(path)?;
            }
        }
        let store = LocalFileSystem::new_with_prefix(folder).map_err(std::io::Error::other)?;
        Ok(Self(Arc::new(store.with_fsync(true))))
    }

    /// Opens the folder of a workspace that somebody else may use, only to read; none where there is no folder.
    pub(crate) fn beside(directory: &Path) -> std::io::Result<Option<Self>> {
        let folder = directory.join(Self::FOLDER);
        if !folder.is_dir() {
            return Ok(None);
        }
        let store = LocalFileSystem::new_with_prefix(folder).map_err(std::io::Error::other)?;
        Ok(Some(Self(Arc::new(store))))
    }

    /// Copies a blob, durably, and returns the SHA-256 of what was copied; none where there is no such blob.
    pub(crate) async fn copy_from(&self, other: &Self, id: &EventId) -> Result<Option<String>, Error> {
        let mut content = match other.0.get(&key(id)).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            found => found?.into_stream(),
        };
        let mut writer = self.begin(id).await?;
        while let Some(piece) = content.try_next().await? {
            writer.write(piece).await?;
        }
        writer.finish().await.map(Some)
    }

    /// The SHA-256 of a blob; none where there is no such blob.
    pub(crate) async fn checksum(&self, id: &EventId) -> Result<Option<String>, Error> {
        let mut content = match self.0.get(&key(id)).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            found => found?.into_stream(),
        };
        let mut hasher = Sha256::new();
        while let Some(piece) = content.try_next().await? {
            hasher.update(&piece);
        }
        Ok(Some(crate::token::hex(&hasher.finalize())))
    }

    /// Begins to write a blob. Dropped before it is complete, nothing remains.
    pub(super) async fn begin(&self, id: &EventId) -> Result<BlobWriter, Error> {
        Ok(BlobWriter {
            upload: self.0.put_multipart(&key(id)).await?,
            buffered: Vec::new(),
            buffered_bytes: 0,
            hasher: Sha256::new(),
            size: 0,
        })
    }

    /// The content from one position up to another, in pieces.
    pub(super) async fn read(
        &self,
        id: &EventId,
        range: std::ops::Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        if range.is_empty() {
            return Ok(futures_util::stream::empty().boxed());
        }
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        Ok(self.0.get_opts(&key(id), options).await?.into_stream())
    }

    /// Removes a blob; nothing to do where there is none.
    pub(crate) async fn delete(&self, id: &EventId) -> Result<(), Error> {
        match self.0.delete(&key(id)).await {
            Err(Error::NotFound { .. }) => Ok(()),
            outcome => outcome,
        }
    }

    /// The blobs that were complete at a time.
    pub(super) async fn older_than(&self, time: SystemTime) -> Result<Vec<EventId>, Error> {
        let listed = self.0.list(None).try_filter_map(|meta| async move {
            let old = SystemTime::from(meta.last_modified) < time;
            let id = old.then(|| meta.location.filename()?.parse().ok());
            Ok(id.flatten())
        });
        listed.try_collect().await
    }
}

/// A blob that is being written.
#[derive(Debug)]
pub(super) struct BlobWriter {
    upload: Box<dyn MultipartUpload>,
    buffered: Vec<Bytes>,
    buffered_bytes: usize,
    hasher: Sha256,
    size: u64,
}

impl BlobWriter {
    /// Bytes written so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.hasher.update(&chunk);
        self.size += chunk.len() as u64;
        self.buffered_bytes += chunk.len();
        self.buffered.push(chunk);
        if PART <= self.buffered_bytes {
            self.flush().await?;
        }
        Ok(())
    }

    /// Makes it complete and durable; returns its SHA-256 in lower-case hex.
    pub(super) async fn finish(mut self) -> Result<String, Error> {
        self.flush().await?;
        self.upload.complete().await?;
        Ok(crate::token::hex(&self.hasher.finalize()))
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.buffered_bytes = 0;
        let payload = PutPayload::from_iter(std::mem::take(&mut self.buffered));
        self.upload.put_part(payload).await
    }
}

/// Whatever an id could mean in a path is escaped.
fn key(id: &EventId) -> Key {
    Key::from(id.as_str())
}
