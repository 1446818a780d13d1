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

/// Makes a directory where there is none, readable by its owner only.
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
    sync_parent(directory)
}

/// Puts on the disk which files a directory has.
pub(crate) fn sync(directory: &Path) -> io::Result<()> {
    // Elsewhere the file system does it by itself, and a directory cannot be opened.
    if cfg!(unix) {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// Puts on the disk that a directory is there, under its name.
pub(crate) fn sync_parent(directory: &Path) -> io::Result<()> {
    fs::canonicalize(directory)?.parent().map_or(Ok(()), sync)
}

/// Removes everything in a directory but its lock.
pub(crate) fn empty(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            fs::remove_dir_all(path)?;
        } else if path.file_name() != Some(LOCK.as_ref()) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Whether a file is missing or has nothing in it.
pub(crate) fn is_empty(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |metadata| metadata.len() == 0)
}
