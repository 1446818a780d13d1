//! Where the project lies and where what is built for it goes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::program::Program;

/// The folders every chore needs.
#[derive(Debug)]
pub(crate) struct Place {
    /// The folder of the workspace manifest.
    pub(crate) root: PathBuf,
    /// Cargo's target directory, wherever the user has put it.
    pub(crate) target: PathBuf,
    /// What `cargo metadata` says of the workspace.
    pub(crate) metadata: serde_json::Value,
}

impl Place {
    /// Asks cargo, so that a moved target directory is respected.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("the folder of xtask has no parent")?
            .to_owned();
        let text = Program::cargo(&root)
            .args(["metadata", "--format-version", "1"])
            .read()?;
        let metadata: serde_json::Value =
            serde_json::from_str(&text).context("reading the answer of cargo metadata")?;
        let target = metadata["target_directory"]
            .as_str()
            .context("cargo metadata names no target directory")?;
        Ok(Self {
            root,
            target: target.into(),
            metadata,
        })
    }

    /// Where tools are installed that the machine does not have.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// Cargo in the root of the project, which finds the installed tools as subcommands.
    pub(crate) fn cargo(&self) -> Program {
        Program::cargo(&self.root).path_first(&self.tools().join("bin"))
    }
}
