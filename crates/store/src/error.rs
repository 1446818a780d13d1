//! What can go wrong with a store.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Somebody else has the directory open.
    #[error("{path} is in use; stop the other server that uses this directory, or choose another one", path = .path.display())]
    Locked {
        /// The lock that is taken.
        path: PathBuf,
    },
    /// A file is not what was written.
    #[error("{path} is damaged ({detail}); `openagents repair` saves what can be saved, `openagents restore` brings back a backup", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// A file was written by a later version of this program.
    #[error("{path} has format {found} and this version reads up to {supported}; use a newer version", path = .path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that can be read.
        supported: u32,
    },
    /// The disk is full. What was asked is undone, and can be asked again once there is space.
    #[error("no space left for {path}; free some and try again", path = .path.display())]
    Full {
        /// The file that could not grow.
        path: PathBuf,
    },
    /// The log takes no more appends: it was closed, or a commit failed and its outcome is unknown.
    #[error("the log is closed; open it again to see what it holds")]
    Closed,
    /// A file could not be read or written.
    #[error("cannot use {path}; check that it exists, belongs to this user, and that its disk is sound", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A row could not be written in its format.
    #[error("a row for {path} could not be written", path = .path.display())]
    Encoding {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database refused a statement.
    #[error("the database could not {doing} {path}", path = .path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What was tried, such as `append to`.
        doing: &'static str,
        /// What the database said.
        source: rusqlite::Error,
    },
}

impl Error {
    /// Whether the disk is full: nothing was changed, and the same call may succeed later.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// Sorts an error of the database by what its reader can do about it.
    pub fn from_sqlite(path: &Path, doing: &'static str, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        let source = match source {
            rusqlite::Error::FromSqlConversionFailure(_, _, source) => {
                let detail = source.to_string();
                return Self::Damaged { path, detail };
            }
            rusqlite::Error::ToSqlConversionFailure(source) => return Self::Encoding { path, source },
            source => source,
        };
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::Damaged {
                path,
                detail: "it is not a database".to_owned(),
            },
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged {
                path,
                detail: source.to_string(),
            },
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::Io {
                path,
                source: io::Error::new(io::ErrorKind::PermissionDenied, source),
            },
            Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure) => Self::Io {
                path,
                source: io::Error::other(source),
            },
            _ => Self::Sqlite { path, doing, source },
        }
    }

    /// A failure of the file system at a path.
    pub fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::StorageFull {
            return Self::Full { path };
        }
        Self::Io { path, source }
    }

    /// Whether the file itself is at fault, so that a view is better built anew.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. } | Self::Encoding { .. } | Self::Sqlite { .. }
        )
    }
}
