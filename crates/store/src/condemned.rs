//! Files that follow from the log and were found damaged: a mark beside one has it built anew when it is opened next.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::{Error, database};

/// Notes down that a file is damaged.
pub(crate) fn condemn(path: &Path) -> Result<(), Error> {
    let mark = mark(path);
    File::create(&mark)
        .map(drop)
        .map_err(|error| Error::from_io(&mark, error))
}

/// Whether a file was found damaged.
pub(crate) fn is_condemned(path: &Path) -> bool {
    mark(path).exists()
}

/// Strikes the note out, if there is one.
pub(crate) fn absolve(path: &Path) -> Result<(), Error> {
    remove_if_there(&mark(path))
}

/// Removes a file that may be missing.
pub(crate) fn remove_if_there(file: &Path) -> Result<(), Error> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::from_io(file, error)),
        _ => Ok(()),
    }
}

fn mark(path: &Path) -> PathBuf {
    database::with_suffix(path, ".condemned")
}
