//! A Python of our own with the packages that the end-to-end tests import.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::place::Place;
use crate::print;
use crate::program::Program;

/// The packages, each at one version. While the file does not exist no test needs Python.
const REQUIREMENTS: &str = "crates/e2e/python/requirements.txt";

/// Makes the environment below the target directory, or finds it as the requirements want it; gives its
/// interpreter.
pub(crate) fn prepare(place: &Place) -> Result<Option<PathBuf>> {
    let requirements = place.root.join(REQUIREMENTS);
    if !requirements.exists() {
        return Ok(None);
    }
    let wanted = fs::read_to_string(&requirements).with_context(|| format!("reading {REQUIREMENTS}"))?;
    let folder = place.target.join("venv");
    let python = folder.join("bin/python");
    // Written last, so that it tells of a complete installation.
    let installed = folder.join("installed.txt");
    if python.exists() && fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(Some(python));
    }
    print::note(&format!("installing {REQUIREMENTS}"));
    Program::new("python3", &place.root)
        .args(["-m", "venv", "--clear"])
        .args([&folder])
        .run()?;
    Program::new(&python, &place.root)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--requirement",
            REQUIREMENTS,
        ])
        .run()?;
    fs::write(&installed, wanted).context("noting what was installed")?;
    Ok(Some(python))
}
