//! Python: environments of our own with the packages that tests need, and the checks of the package `openagents`.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX, EXE_SUFFIX};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::place::Place;
use crate::print;
use crate::program::Program;

/// An environment with packages, each at one version.
#[derive(Debug)]
pub(crate) struct Environment {
    /// List the packages.
    requirements: &'static [&'static str],
    /// Folder below the target directory.
    folder: &'static str,
    /// Tells the tests which interpreter has them.
    pub(crate) variable: &'static str,
}

/// What the end-to-end tests and the Python package need.
const TESTS: Environment = Environment {
    requirements: &[
        "crates/e2e/python/requirements.txt",
        "crates/python/tests/requirements.txt",
    ],
    folder: "venv",
    variable: "OPENAGENTS_TEST_PYTHON",
};

/// The official client has one of its own: it owns the import name of our package, and wants old versions of some.
pub(crate) const OFFICIAL: Environment = Environment {
    requirements: &["crates/e2e/python/official/requirements.txt"],
    folder: "venv-official",
    variable: "OPENAGENTS_TEST_OFFICIAL_PYTHON",
};

/// What is measured beside us carries its server in a package.
pub(crate) const NATS: Environment = Environment {
    requirements: &["benches/python/requirements.txt"],
    folder: "venv-nats",
    variable: "OPENAGENTS_BENCH_PYTHON",
};

/// Every environment of the tests.
pub(crate) const ENVIRONMENTS: [Environment; 2] = [TESTS, OFFICIAL];

/// The folder of the Python package.
const PACKAGE: &str = "crates/python";

/// Makes an environment below the target directory, or finds it as the requirements want it; gives its interpreter.
pub(crate) fn prepare(place: &Place, environment: &Environment) -> Result<PathBuf> {
    let mut wanted = String::new();
    for requirements in environment.requirements {
        let text = fs::read_to_string(place.root.join(requirements));
        wanted += &text.with_context(|| format!("reading {requirements}"))?;
    }
    let folder = place.target.join(environment.folder);
    let python = folder.join("bin/python");
    // Written last, so that it tells of a complete installation.
    let installed = folder.join("installed.txt");
    if python.exists() && fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    print::note(&format!("installing {}", environment.requirements.join(", ")));
    make_environment(place, &folder)?;
    let requirements = environment
        .requirements
        .iter()
        .flat_map(|file| ["--requirement", *file]);
    pip(place, &python, "install").args(requirements).run()?;
    fs::write(&installed, wanted).context("noting what was installed")?;
    Ok(python)
}

/// Tells the tests which folder has our package, for an interpreter with what it needs.
pub(crate) const PACKAGE_VARIABLE: &str = "OPENAGENTS_TEST_PACKAGE";

/// Builds the package and puts it together as an installation would; gives the folder to import it from.
pub(crate) fn build(place: &Place) -> Result<PathBuf> {
    place
        .cargo()
        .args(["build", "--package", "openagents-python"])
        .args(["--package", "openagents-cli", "--bin", "openagents", "--lib"])
        .run()?;
    stage(place, &place.target.join("debug"))
}

/// Checks the types of the package, and runs its tests against the server of this source.
pub(crate) fn check(place: &Place) -> Result<()> {
    run_tests(place, &[])
}

/// The same, with the tests that take long.
pub(crate) fn check_fully(place: &Place) -> Result<()> {
    run_tests(place, &["-m", "full or not full"])
}

fn run_tests(place: &Place, selection: &[&str]) -> Result<()> {
    let python = prepare(place, &TESTS)?;
    let site = build(place)?;
    let built = place.target.join("debug");
    let with_package = |program: Program| {
        program
            .env("PYTHONPATH", &site)
            .env("PYTHONDONTWRITEBYTECODE", "1")
    };
    let settings = place.root.join(PACKAGE).join("pyproject.toml");
    let types = Program::new(&python, &site).args(["-m", "mypy", "--cache-dir"]);
    with_package(types.args([place.target.join("mypy"), "--config-file".into(), settings])).run()?;
    with_package(Program::new(&python, &place.root.join(PACKAGE)))
        .args([
            "-m",
            "mypy.stubtest",
            "openagents._native",
            "--ignore-disjoint-bases",
        ])
        .run()?;
    with_package(Program::new(&python, &place.root.join(PACKAGE)))
        .env(
            "OPENAGENTS_TEST_SERVER",
            built.join(format!("openagents{EXE_SUFFIX}")),
        )
        .args(["-m", "pytest", "-p", "no:cacheprovider"])
        .args(selection)
        .run()
}

/// Puts the package together as an installation would, below the target directory.
pub(crate) fn stage(place: &Place, built: &Path) -> Result<PathBuf> {
    let site = place.target.join("python");
    let package = site.join("openagents");
    if package.exists() {
        fs::remove_dir_all(&package).context("removing what was staged before")?;
    }
    copy_folder(&place.root.join(PACKAGE).join("python/openagents"), &package)?;
    let library = built.join(format!("{DLL_PREFIX}openagents_python{DLL_SUFFIX}"));
    let module = if cfg!(windows) {
        "_native.pyd"
    } else {
        "_native.abi3.so"
    };
    fs::copy(&library, package.join(module)).with_context(|| format!("copying {}", library.display()))?;
    Ok(site)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| format!("copying {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Builds the wheel around the release binary, installs it into an environment of its own, and uses both there.
pub(crate) fn check_wheel(place: &Place) -> Result<()> {
    let python = prepare(place, &TESTS)?;
    let wheels = fresh_folder(&place.target.join("wheels"))?;
    let server = place
        .target
        .join("release")
        .join(format!("openagents{EXE_SUFFIX}"));
    pip(place, &python, "wheel")
        .env("OPENAGENTS_SERVER_BINARY", server)
        .env("PATH", path_with(&python)?)
        .args(["--no-deps", "--no-build-isolation", "--wheel-dir"])
        .args([&wheels])
        .args([format!("./{PACKAGE}")])
        .run()?;
    use_wheel(place, &wheels)
}

/// Builds the source archive, a wheel from nothing but it, and uses that.
pub(crate) fn check_source_archive(place: &Place) -> Result<()> {
    let python = prepare(place, &TESTS)?;
    let archives = fresh_folder(&place.target.join("archives"))?;
    Program::new(&python, &place.root.join(PACKAGE))
        .args(["-c", "import sys; sys.path.insert(0, 'backend'); import openagents_build as b; b.build_sdist(sys.argv[1])"])
        .args([&archives])
        .env("PATH", path_with(&python)?)
        .run()?;
    let archive = only_file(&archives)?;
    let wheels = fresh_folder(&place.target.join("wheels"))?;
    pip(place, &python, "wheel")
        .env("PATH", path_with(&python)?)
        .env("CARGO_TARGET_DIR", &place.target)
        .args(["--no-deps", "--no-build-isolation", "--wheel-dir"])
        .args([&wheels, &archive])
        .run()?;
    use_wheel(place, &wheels)
}

/// Installs the only wheel there is and asks it for its version, as a library and as a program.
fn use_wheel(place: &Place, wheels: &Path) -> Result<()> {
    let wheel = only_file(wheels)?;
    let folder = place.target.join("venv-wheel");
    make_environment(place, &folder)?;
    let python = folder.join("bin/python");
    pip(place, &python, "install").args([&wheel]).run()?;
    let version = Program::new(&python, &place.target)
        .args([
            "-c",
            "import openagents.sdk.client, openagents; print(openagents.__version__)",
        ])
        .read()?;
    let server = Program::new(folder.join("bin/openagents"), &place.target)
        .args(["--version"])
        .read()?;
    ensure!(
        server.trim().ends_with(version.trim()),
        "the library is {version}, the program {server}"
    );
    print::note(&format!(
        "{} works",
        wheel.file_name().unwrap_or_default().display()
    ));
    Ok(())
}

fn make_environment(place: &Place, folder: &Path) -> Result<()> {
    Program::new("python3", &place.root)
        .args(["-m", "venv", "--clear"])
        .args([folder])
        .run()
}

fn pip(place: &Place, python: &Path, command: &str) -> Program {
    Program::new(python, &place.root).args(["-m", "pip", command, "--quiet", "--disable-pip-version-check"])
}

/// The search path with the programs of an environment first.
fn path_with(python: &Path) -> Result<std::ffi::OsString> {
    let programs = python.parent().context("the interpreter has no folder")?;
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(programs.to_owned()).chain(std::env::split_paths(&rest));
    std::env::join_paths(folders).context("a folder of the search path has a separator in its name")
}

fn fresh_folder(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder.to_owned())
}

fn only_file(folder: &Path) -> Result<PathBuf> {
    let entries: std::io::Result<Vec<_>> = fs::read_dir(folder)?.collect();
    match entries?.as_slice() {
        [entry] => Ok(entry.path()),
        several => bail!("{} holds {} files, not one", folder.display(), several.len()),
    }
}
