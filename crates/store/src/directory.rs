//! The directory of a workspace: made when missing, used by one server at a time.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use crate::Error;

/// Name of the file that is locked.
pub(crate) const LOCK: &str = "lock";

/// The right to use a directory, given back when dropped. The operating system takes it back from a process that
/// died, so there is never a stale one to remove.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a directory, which is made when it is missing, readable by its owner only.
    pub(crate) fn take(directory: &Path) -> Result<Self, Error> {
        make(directory).map_err(|source| Error::from_io(directory, source))?;
        let path = directory.join(LOCK);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let file = file.map_err(|source| Error::from_io(&path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { path }),
            Err(TryLockError::Error(source)) => Err(Error::from_io(&path, source)),
        }
    }
}

pub(crate) fn make(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)?;
    // What is in the directory outlives a power cut only if the directory itself does.
    #[cfg(unix)]
    if let Some(parent) = fs::canonicalize(directory)?.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Puts on the disk which files a directory has.
pub(crate) fn sync(directory: &Path) -> Result<(), Error> {
    // Elsewhere the file system does it by itself, and a directory cannot be opened.
    #[cfg(unix)]
    File::open(directory)
        .and_then(|opened| opened.sync_all())
        .map_err(|source| Error::from_io(directory, source))?;
    #[cfg(not(unix))]
    drop(directory);
    Ok(())
}

/// Whether a file is missing or has nothing in it.
pub(crate) fn is_empty(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |metadata| metadata.len() == 0)
}
