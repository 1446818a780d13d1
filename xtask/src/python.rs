//! Pythons of our own with the packages that the end-to-end tests import.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::place::Place;
use crate::print;
use crate::program::Program;

/// An environment with packages, each at one version. While its file does not exist no test needs it.
#[derive(Debug)]
pub(crate) struct Environment {
    /// Lists the packages.
    requirements: &'static str,
    /// Folder below the target directory.
    folder: &'static str,
    /// Tells the tests which interpreter has them.
    pub(crate) variable: &'static str,
}

/// Every environment of the tests. The official client has one of its own: it wants old versions of some packages.
pub(crate) const ENVIRONMENTS: [Environment; 2] = [
    Environment {
        requirements: "crates/e2e/python/requirements.txt",
        folder: "venv",
        variable: "OPENAGENTS_TEST_PYTHON",
    },
    Environment {
        requirements: "crates/e2e/python/official/requirements.txt",
        folder: "venv-official",
        variable: "OPENAGENTS_TEST_OFFICIAL_PYTHON",
    },
];

/// Makes an environment below the target directory, or finds it as the requirements want it; gives its interpreter.
pub(crate) fn prepare(place: &Place, environment: &Environment) -> Result<Option<PathBuf>> {
    let requirements = place.root.join(environment.requirements);
    if !requirements.exists() {
        return Ok(None);
    }
    let wanted =
        fs::read_to_string(&requirements).with_context(|| format!("reading {}", environment.requirements))?;
    let folder = place.target.join(environment.folder);
    let python = folder.join("bin/python");
    // Written last, so that it tells of a complete installation.
    let installed = folder.join("installed.txt");
    if python.exists() && fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(Some(python));
    }
    print::note(&format!("installing {}", environment.requirements));
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
            environment.requirements,
        ])
        .run()?;
    fs::write(&installed, wanted).context("noting what was installed")?;
    Ok(Some(python))
}
