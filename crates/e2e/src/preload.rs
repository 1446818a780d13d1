//! Small libraries in C that are loaded into a process before everything else, and stand between it and the system.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tokio::process::Command;

/// Builds a library of the folder `preload` in a directory, with the C compiler that the project needs anyhow.
pub async fn build(source: &str, directory: &Path) -> anyhow::Result<PathBuf> {
    let library = directory.join(source).with_extension("so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("preload").join(source);
    let mut compiler = Command::new("cc");
    compiler
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl");
    if !compiler.status().await.context("running cc")?.success() {
        bail!("cc could not build {}", source.display());
    }
    Ok(library)
}
