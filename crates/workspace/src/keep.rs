//! What keeps the data: copies of a workspace, and what is made of them.
//!
//! None of it needs the workspace to be open. A backup reads beside the server that writes; everything else wants the
//! directory for itself.

mod backup;
mod files;
mod repair;
mod restore;

use std::path::{Path, PathBuf};

use openagents_protocol::{EventId, Sequence};
use openagents_store::{Error as StoreError, LogCopy, SqliteLog};

pub use self::backup::Backup;
pub use self::repair::{Repair, Repaired};
pub use self::restore::{Occupied, Restore, Restored};
use crate::files::BlobError;

/// How far a backup, a restoration or a repair is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The log is copied up to `done` of `all`.
    Log {
        /// The last record that was copied.
        done: Sequence,
        /// The last one that will be.
        all: Sequence,
    },
    /// So many of the files are copied.
    Files {
        /// Files that were copied.
        done: usize,
        /// All files.
        all: usize,
    },
    /// The view follows the log up to `done` of `all`.
    View {
        /// The last record that was applied.
        done: Sequence,
        /// The last one that will be.
        all: Sequence,
    },
}

/// Why a workspace was not backed up, restored or repaired. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeepError {
    /// There is no log.
    #[error("there is no workspace in {path}: it has no log.db", path = .path.display())]
    NoWorkspace {
        /// The directory.
        path: PathBuf,
    },
    /// What was to be made is there.
    #[error("{path} exists; a backup makes a new directory: choose another name", path = .path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// A workspace is where another one was to be restored.
    #[error("there is a workspace in {path}; --replace puts the restored one in its place and keeps it aside", path = .path.display())]
    Occupied {
        /// The directory.
        path: PathBuf,
    },
    /// Nothing of the log is sound.
    #[error("nothing of the log in {path} can be saved; `openagents restore` brings back a backup", path = .path.display())]
    NothingToSave {
        /// The directory.
        path: PathBuf,
    },
    /// A sequence that the backup does not have.
    #[error("the backup has sequences 1 to {head}, and not {through}")]
    BeyondEnd {
        /// What was asked for.
        through: Sequence,
        /// What there is.
        head: Sequence,
    },
    /// The log or the view.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The content of a file.
    #[error("cannot copy the content of file {file_id}")]
    File {
        /// The file.
        file_id: EventId,
        /// What the store of contents says.
        source: Box<BlobError>,
    },
}

fn check_workspace(directory: &Path) -> Result<(), KeepError> {
    if directory.join(SqliteLog::FILE).is_file() {
        return Ok(());
    }
    Err(KeepError::NoWorkspace {
        path: directory.to_owned(),
    })
}

/// Runs work that waits for a disk.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Does something with a copy in the making, and gives it back.
async fn with_copy<T: Send + 'static>(
    mut copy: LogCopy,
    work: impl FnOnce(&mut LogCopy) -> Result<T, StoreError> + Send + 'static,
) -> Result<(LogCopy, T), StoreError> {
    on_disk(move || {
        let outcome = work(&mut copy)?;
        Ok((copy, outcome))
    })
    .await
}
