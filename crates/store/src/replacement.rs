//! New files for a directory: made beside the old ones, and put in their place all at once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::{Error, directory};

/// Files that are to take the place of those in a directory.
///
/// ```text
///   incoming.partial/new    being made; left behind by a crash it means nothing and is removed
///   incoming/new            complete: from here on the new files count
///   incoming/old            what was there before, on its way out
///   incoming/ready          the same as `new`, once nothing old is left
///   replaced-1              what was there before; nothing is ever deleted
/// ```
///
/// A crash in the midst of it is made good by whoever opens the directory next. The files of the store are replaced, and
/// whatever else the new ones bring; all else stays.
#[derive(Debug)]
pub struct Replacement {
    directory: PathBuf,
    /// Held until the new files are in their place.
    _lock: directory::Lock,
}

const PARTIAL: &str = "incoming.partial";
const INCOMING: &str = "incoming";
const NEW: &str = "new";
const OLD: &str = "old";
const READY: &str = "ready";

impl Replacement {
    /// Begins to replace the files of a directory, which is made when it is missing.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] while a server uses the directory.
    pub fn begin(directory: &Path) -> Result<Self, Error> {
        let lock = directory::Lock::take(directory)?;
        finish_interrupted(directory)?;
        remove(&directory.join(PARTIAL))?;
        let replacement = Self {
            directory: directory.to_owned(),
            _lock: lock,
        };
        let folder = replacement.folder();
        directory::make(&folder).map_err(|source| Error::from_io(&folder, source))?;
        Ok(replacement)
    }

    /// Where the new files are made. They have to be on the disk before [`Replacement::finish`].
    pub fn folder(&self) -> PathBuf {
        self.directory.join(PARTIAL).join(NEW)
    }

    /// Puts the new files in their place, and tells where the old ones are; none: there were none.
    pub fn finish(self) -> Result<Option<PathBuf>, Error> {
        let partial = self.directory.join(PARTIAL);
        // A workspace that was opened there to be looked at left its lock.
        remove(&partial.join(NEW).join(directory::LOCK))?;
        sync(&partial.join(NEW))?;
        sync(&partial)?;
        rename(&partial, &self.directory.join(INCOMING))?;
        finish_interrupted(&self.directory)
    }

    /// Removes what was made; everything is as before.
    pub fn give_up(self) -> Result<(), Error> {
        remove(&self.directory.join(PARTIAL))
    }
}

/// Puts files in their place that were complete when somebody was stopped. The lock of the directory is held.
pub(crate) fn finish_interrupted(directory: &Path) -> Result<Option<PathBuf>, Error> {
    let incoming = directory.join(INCOMING);
    if !incoming.is_dir() {
        return Ok(None);
    }
    let (new, old, ready) = (incoming.join(NEW), incoming.join(OLD), incoming.join(READY));
    if new.is_dir() {
        directory::make(&old).map_err(|source| Error::from_io(&old, source))?;
        let brought = names(&new)?;
        for name in names(directory)? {
            if is_of_the_store(&name) || brought.contains(&name) {
                rename(&directory.join(&name), &old.join(&name))?;
            }
        }
        sync(&old)?;
        rename(&new, &ready)?;
    }
    if ready.is_dir() {
        for name in names(&ready)? {
            rename(&ready.join(&name), &directory.join(&name))?;
        }
        fs::remove_dir(&ready).map_err(|source| Error::from_io(&ready, source))?;
    }
    let replaced = put_away(directory, &old)?;
    remove(&incoming)?;
    sync(directory)?;
    Ok(replaced)
}

/// Moves what was there before out of the way, under the first name that is free.
fn put_away(directory: &Path, old: &Path) -> Result<Option<PathBuf>, Error> {
    if !old.is_dir() || names(old)?.is_empty() {
        return Ok(None);
    }
    let free = (1..=u32::MAX)
        .map(|number| directory.join(format!("replaced-{number}")))
        .find(|path| !path.exists())
        .expect("there are more numbers than folders");
    rename(old, &free)?;
    Ok(Some(free))
}

/// Whether a file is a database of the store, or belongs to one.
fn is_of_the_store(name: &str) -> bool {
    [".db", ".db-wal", ".db-shm"]
        .iter()
        .any(|ending| name.ends_with(ending))
}

fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let list = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            // Names that are no text are none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    };
    list().map_err(|source| Error::from_io(folder, source))
}

fn sync(folder: &Path) -> Result<(), Error> {
    directory::sync(folder).map_err(|source| Error::from_io(folder, source))
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(|source| Error::from_io(from, source))
}

/// Removes a file or a folder with everything in it; nothing to do where there is none.
fn remove(path: &Path) -> Result<(), Error> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::from_io(path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn write(directory: &Path, files: &[(&str, &str)]) {
        for (name, content) in files {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    /// Every file below a directory but its lock.
    fn files(directory: &Path) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let mut folders = vec![directory.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
                if path.is_dir() {
                    folders.push(path);
                } else if name != directory::LOCK {
                    found.insert(name, fs::read_to_string(&path).unwrap());
                }
            }
        }
        found
    }

    fn map(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(name, content): &(&str, &str)| ((*name).to_owned(), (*content).to_owned());
        files.iter().map(owned).collect()
    }

    const BEFORE: [(&str, &str); 6] = [
        ("log.db", "old log"),
        ("log.db-wal", "its end"),
        ("search.db", "old"),
        ("files/a", "old file"),
        ("tls/key.pem", "key"),
        ("replaced-1/log.db", "oldest"),
    ];
    const NEW_FILES: [(&str, &str); 3] = [
        ("log.db", "new log"),
        ("view.db", "new view"),
        ("files/b", "new file"),
    ];
    const AFTER: [(&str, &str); 9] = [
        ("log.db", "new log"),
        ("view.db", "new view"),
        ("files/b", "new file"),
        ("tls/key.pem", "key"),
        ("replaced-1/log.db", "oldest"),
        ("replaced-2/log.db", "old log"),
        ("replaced-2/log.db-wal", "its end"),
        ("replaced-2/search.db", "old"),
        ("replaced-2/files/a", "old file"),
    ];

    #[test]
    fn new_files_take_the_place_of_the_old_ones_which_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &BEFORE);
        let replacement = Replacement::begin(directory.path()).unwrap();
        assert!(matches!(
            Replacement::begin(directory.path()),
            Err(Error::Locked { .. })
        ));
        write(&replacement.folder(), &NEW_FILES);
        write(&replacement.folder(), &[(directory::LOCK, "")]);
        let old = replacement.finish().unwrap();
        assert_eq!(old, Some(directory.path().join("replaced-2")));
        assert_eq!(files(directory.path()), map(&AFTER));
    }

    #[test]
    fn where_nothing_was_nothing_is_kept() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("new").join("data");
        let replacement = Replacement::begin(&directory).unwrap();
        write(&replacement.folder(), &NEW_FILES);
        assert_eq!(replacement.finish().unwrap(), None);
        assert_eq!(files(&directory), map(&NEW_FILES));
    }

    #[test]
    fn what_was_not_complete_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &BEFORE);
        let replacement = Replacement::begin(directory.path()).unwrap();
        write(&replacement.folder(), &NEW_FILES);
        drop(replacement);
        assert_eq!(finish_interrupted(directory.path()).unwrap(), None);
        let replacement = Replacement::begin(directory.path()).unwrap();
        assert!(names(&replacement.folder()).unwrap().is_empty(), "it starts over");
        replacement.give_up().unwrap();
        assert_eq!(files(directory.path()), map(&BEFORE));
    }

    /// Does what `finish` does, but only its first `steps` renames.
    fn stop_after(steps: usize, directory: &Path) {
        let incoming = directory.join(INCOMING);
        let (new, old, ready) = (incoming.join(NEW), incoming.join(OLD), incoming.join(READY));
        fs::rename(directory.join(PARTIAL), &incoming).unwrap();
        fs::create_dir_all(&old).unwrap();
        let mut moves: Vec<(PathBuf, PathBuf)> = ["files", "log.db", "log.db-wal", "search.db"]
            .iter()
            .map(|name| (directory.join(name), old.join(name)))
            .collect();
        moves.push((new, ready.clone()));
        moves.extend(["view.db", "files", "log.db"].map(|name| (ready.join(name), directory.join(name))));
        moves.push((old, directory.join("replaced-2")));
        for (from, to) in moves.into_iter().take(steps) {
            fs::rename(from, to).unwrap();
        }
    }

    #[test]
    fn wherever_it_is_stopped_it_is_finished_by_the_next_one() {
        for steps in 0..=9 {
            let directory = tempfile::tempdir().unwrap();
            write(directory.path(), &BEFORE);
            let replacement = Replacement::begin(directory.path()).unwrap();
            write(&replacement.folder(), &NEW_FILES);
            drop(replacement);
            stop_after(steps, directory.path());
            finish_interrupted(directory.path()).unwrap();
            assert_eq!(files(directory.path()), map(&AFTER), "after {steps} steps");
        }
    }
}
