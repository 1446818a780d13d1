//! A disk that is watched or slow: a small library that is loaded into a server before everything else.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::preload;

/// The library, built with the C compiler that the project needs anyhow.
#[derive(Debug)]
pub struct Disk {
    library: PathBuf,
    counter: PathBuf,
    broken: PathBuf,
}

impl Disk {
    /// Builds the library in a directory.
    pub async fn build(directory: &Path) -> anyhow::Result<Self> {
        let (counter, broken) = (directory.join("syncs"), directory.join("broken"));
        let library = preload::build("disk.c", directory).await?;
        std::fs::write(&counter, [0; 8])?;
        Ok(Self {
            library,
            counter,
            broken,
        })
    }

    /// How many syncs have completed.
    pub fn syncs(&self) -> anyhow::Result<u64> {
        let bytes = std::fs::read(&self.counter)?;
        Ok(u64::from_ne_bytes(bytes[..8].try_into()?))
    }

    /// The environment of a server whose syncs are counted.
    pub fn watched(&self) -> anyhow::Result<Vec<(&str, &str)>> {
        Ok(vec![
            ("LD_PRELOAD", text(&self.library)?),
            ("SYNC_COUNTER", text(&self.counter)?),
        ])
    }

    /// The environment of a server whose syncs fail between [`Disk::fail`] and [`Disk::mend`].
    pub fn failing(&self) -> anyhow::Result<Vec<(&str, &str)>> {
        Ok(vec![
            ("LD_PRELOAD", text(&self.library)?),
            ("FAIL_SYNCS", text(&self.broken)?),
        ])
    }

    /// From now on every sync fails.
    pub fn fail(&self) -> anyhow::Result<()> {
        Ok(std::fs::write(&self.broken, [])?)
    }

    /// From now on syncs work again.
    pub fn mend(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(&self.broken)?)
    }

    /// The environment of a server whose log takes 20 ms for every write.
    pub fn slow(&self) -> anyhow::Result<Vec<(&str, &str)>> {
        Ok(vec![("LD_PRELOAD", text(&self.library)?), ("SLOW_LOG_MS", "20")])
    }
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a temporary directory has a plain name")
}
