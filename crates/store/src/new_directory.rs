//! A directory that appears with everything in it, or not at all.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::{Error, directory};

/// A directory that is made under another name, its own with `.partial` behind, and gets its own once it is complete.
///
/// What an earlier attempt left behind when it was stopped is removed.
#[derive(Debug)]
pub struct NewDirectory {
    path: PathBuf,
    partial: PathBuf,
    _lock: directory::Lock,
}

impl NewDirectory {
    /// Begins to make a directory, for its owner only.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where there is something of that name, [`Error::Locked`] while somebody else makes it.
    pub fn begin(path: &Path) -> Result<Self, Error> {
        let name = path.file_name().map(OsString::from);
        let (Some(mut name), false) = (name, path.exists()) else {
            return Err(Error::from_io(path, io::ErrorKind::AlreadyExists.into()));
        };
        name.push(".partial");
        let partial = path.with_file_name(name);
        let lock = directory::Lock::take(&partial)?;
        directory::empty(&partial).map_err(|source| Error::from_io(&partial, source))?;
        Ok(Self {
            path: path.to_owned(),
            partial,
            _lock: lock,
        })
    }

    /// Where its content is made, and put on the disk before [`NewDirectory::finish`].
    pub fn folder(&self) -> &Path {
        &self.partial
    }

    /// Gives the directory its name.
    pub fn finish(self) -> Result<(), Error> {
        let finish = || {
            fs::remove_file(self.partial.join(directory::LOCK))?;
            directory::sync(&self.partial)?;
            fs::rename(&self.partial, &self.path)?;
            directory::sync_parent(&self.path)
        };
        finish().map_err(|source| Error::from_io(&self.path, source))
    }

    /// Removes what was made.
    pub fn give_up(self) -> Result<(), Error> {
        fs::remove_dir_all(&self.partial).map_err(|source| Error::from_io(&self.partial, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_appears_with_everything_in_it() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("deep").join("backup");
        let interrupted = NewDirectory::begin(&path).unwrap();
        assert!(matches!(NewDirectory::begin(&path), Err(Error::Locked { .. })));
        fs::create_dir(interrupted.folder().join("files")).unwrap();
        drop(interrupted);

        let made = NewDirectory::begin(&path).unwrap();
        assert_eq!(fs::read_dir(made.folder()).unwrap().count(), 1, "the lock alone");
        fs::write(made.folder().join("log.db"), "log").unwrap();
        assert!(!path.exists());
        made.finish().unwrap();
        let names: Vec<_> = fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["log.db"]);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert!(NewDirectory::begin(&path).is_err(), "it is there already");
    }

    #[test]
    fn what_is_given_up_leaves_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let made = NewDirectory::begin(&parent.path().join("backup")).unwrap();
        made.give_up().unwrap();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
