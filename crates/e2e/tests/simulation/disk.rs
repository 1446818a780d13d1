//! What is left of the files of a workspace when its server ends without warning.
//!
//! Ending the tasks of a simulated server closes its database in good order, which a process that is killed does not. So
//! the files are copied before, and put back after.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The process: what was written is there.
    Kill,
    /// The machine: what was synced is there.
    PowerCut,
}

/// Copies of the files as they are to be found after a crash.
#[derive(Debug)]
pub(crate) struct Left {
    data: PathBuf,
    kept: tempfile::TempDir,
}

impl Left {
    /// Looks at the files at the moment of the crash.
    pub(crate) fn by(ending: Ending, data: &Path) -> anyhow::Result<Self> {
        let kept = tempfile::tempdir()?;
        match ending {
            Ending::Kill => copy(data, kept.path())?,
            Ending::PowerCut => copy(&synced_beside(data), kept.path())?,
        }
        Ok(Self {
            data: data.to_owned(),
            kept,
        })
    }

    /// Puts the files back, once nobody uses them any more. From here on the disk has them.
    pub(crate) fn put_back(self) -> anyhow::Result<()> {
        copy(self.kept.path(), &self.data)?;
        copy(self.kept.path(), &synced_beside(&self.data))
    }
}

/// Where `preload/simulated.c` keeps what was synced.
pub(crate) fn synced_beside(data: &Path) -> PathBuf {
    data.with_added_extension("synced")
}

/// Makes a folder hold the files of another one and nothing else.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir_all(to)?;
    let entries = fs::read_dir(from).with_context(|| format!("reading {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
