//! A file that somebody shared.

use std::fmt;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::context::EventContext;
use super::handle::Worker;
use crate::error::FileError;

/// Longest extension that a fetched file keeps, in bytes.
const MAX_EXTENSION: usize = 16;

/// A file that somebody shared. Cheap to clone.
#[derive(Clone)]
pub struct FileContext {
    context: EventContext,
    worker: Worker,
    fetched: Arc<OnceCell<Fetched>>,
}

/// A copy of the file on this machine, which goes when this is dropped.
struct Fetched {
    path: Box<Path>,
    _directory: TempDir,
}

impl FileContext {
    pub(crate) fn new(context: EventContext, worker: &Worker) -> Self {
        Self {
            context,
            worker: worker.clone(),
            fetched: Arc::default(),
        }
    }

    /// Names the file in the workspace.
    pub fn file_id(&self) -> &str {
        self.text_of("file_id")
    }

    /// Its name as the uploader gave it: for showing, never a path.
    pub fn file_name(&self) -> &str {
        self.text_of("filename")
    }

    /// The same as [`FileContext::file_name`], under its older name.
    pub fn filename(&self) -> &str {
        self.file_name()
    }

    /// Bytes.
    pub fn file_size(&self) -> u64 {
        let size = self.context.payload().get("size");
        size.and_then(Value::as_u64).unwrap_or_default()
    }

    /// Media type, such as `text/csv`.
    pub fn file_type(&self) -> &str {
        self.text_of("mime_type")
    }

    /// The same as [`FileContext::file_type`], under its older name.
    pub fn mime_type(&self) -> &str {
        self.file_type()
    }

    /// SHA-256 of the content, 64 lower-case hex digits.
    pub fn checksum(&self) -> &str {
        self.text_of("checksum")
    }

    /// What the uploader says of it.
    pub fn description(&self) -> &str {
        self.text_of("description")
    }

    /// The channel that it was shared in; none for everyone, or for one agent.
    pub fn channel(&self) -> Option<&str> {
        self.context.channel_name()
    }

    /// A readable copy on this machine.
    ///
    /// It is fetched at the first call, so a file that nobody looks at costs nothing, and its checksum is compared.
    /// It lies in a directory of its own that only this user can read, with the extension of the file, and is
    /// removed with the last clone of this context: keep one as long as the path is used.
    ///
    /// # Errors
    ///
    /// [`FileError::TooLarge`] beyond [`crate::WorkerSettings::max_file_bytes`]; a later call tries again.
    pub async fn file_path(&self) -> Result<&Path, FileError> {
        let fetched = self.fetched.get_or_try_init(|| self.fetch()).await?;
        Ok(&fetched.path)
    }

    /// The content, fetched into memory.
    ///
    /// # Errors
    ///
    /// As for [`FileContext::file_path`].
    pub async fn content_bytes(&self) -> Result<Vec<u8>, FileError> {
        self.check_size()?;
        self.worker.workspace().read_file(self.file_id()).await
    }

    async fn fetch(&self) -> Result<Fetched, FileError> {
        self.check_size()?;
        // Making a directory is quick, and nothing else of it blocks.
        let directory = tempfile::Builder::new()
            .prefix("openagents-")
            .tempdir()
            .map_err(|source| FileError::Local {
                path: std::env::temp_dir(),
                source,
            })?;
        let path = directory.path().join(local_name(self.file_name()));
        let workspace = self.worker.workspace();
        let path = workspace.download_file(self.file_id(), path).await?;
        Ok(Fetched {
            path: path.into(),
            _directory: directory,
        })
    }

    fn check_size(&self) -> Result<(), FileError> {
        let (size, limit) = (self.file_size(), self.worker.max_file_bytes());
        if limit < size {
            return Err(FileError::TooLarge { size, limit });
        }
        Ok(())
    }

    fn text_of(&self, key: &str) -> &str {
        self.context.field(key).unwrap_or_default()
    }
}

impl Deref for FileContext {
    type Target = EventContext;

    fn deref(&self) -> &EventContext {
        &self.context
    }
}

impl fmt::Debug for FileContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FileContext")
            .field("context", &self.context)
            .field("path", &self.fetched.get().map(|fetched| &fetched.path))
            .finish_non_exhaustive()
    }
}

/// A name for the copy: nothing of the given name but an extension that is surely harmless.
fn local_name(given: &str) -> String {
    let harmless = |extension: &&str| {
        (1..=MAX_EXTENSION).contains(&extension.len())
            && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    match given
        .rsplit_once('.')
        .map(|(_, extension)| extension)
        .filter(harmless)
    {
        Some(extension) => format!("file.{extension}"),
        None => "file".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_harmless_extension_remains_of_a_name() {
        let check = |given: &str, expected: &str| assert_eq!(local_name(given), expected, "{given}");
        check("numbers.csv", "file.csv");
        check("../../etc/passwd", "file");
        check("archive.tar.gz", "file.gz");
        check("trick./../../x", "file");
        check("trick.c\0v", "file");
        check(".bashrc", "file.bashrc");
        check("no extension.", "file");
        check("long.abcdefghijklmnopq", "file");
        check("", "file");
    }
}
