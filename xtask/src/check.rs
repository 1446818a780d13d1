//! `cargo xtask check`: everything that must hold before a change is merged.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::place::Place;
use crate::print;
use crate::program::Program;
use crate::step::{self, Step};
use crate::{map, python, tools};

/// The release binary stays below this, in bytes: it is carried to small machines and into containers.
const MAX_BINARY_BYTES: u64 = 25_000_000;

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// What every change must pass, within 15 minutes on two warm cores.
    Usual,
    /// The usual, plus fuzzing and the soak tests.
    Full,
}

/// Runs the check.
pub(crate) fn run(place: &Place, depth: Depth) -> Result<()> {
    step::run_all(place, &steps(depth))
}

/// Runs the part of the check that is about the Python package.
pub(crate) fn python(place: &Place, wheel: bool) -> Result<()> {
    let mut steps = vec![PYTHON];
    if wheel {
        steps.extend([BINARY, WHEEL, SOURCE_ARCHIVE]);
    }
    step::run_all(place, &steps)
}

const PYTHON: Step = Step {
    title: "python: types and tests",
    run: python::check,
};

const BINARY: Step = Step {
    title: "binary: release build and its size",
    run: measure_binary,
};

const WHEEL: Step = Step {
    title: "wheel: the Python package and the server in it",
    run: python::check_wheel,
};

const SOURCE_ARCHIVE: Step = Step {
    title: "source archive: the Python package from nothing but it",
    run: python::check_source_archive,
};

/// Cheap answers come first, so that a slip is found within seconds.
fn steps(depth: Depth) -> Vec<Step> {
    let mut steps = vec![
        Step {
            title: "map: the rules of ARCHITECTURE.md",
            run: map::run,
        },
        Step {
            title: "format: rustfmt",
            run: format,
        },
        Step {
            title: "tools: compilers, cargo-nextest, cargo-deny, Python",
            run: prepare,
        },
        Step {
            title: "deny: licences, bans, sources",
            run: deny,
        },
        Step {
            title: "lint: clippy over libraries, binaries, tests, benches and examples",
            run: lint,
        },
        Step {
            title: "docs: rustdoc without a warning",
            run: document,
        },
    ];
    steps.push(match depth {
        Depth::Usual => Step {
            title: "tests: unit to end to end",
            run: test,
        },
        Depth::Full => Step {
            title: "tests: unit to end to end, and soak",
            run: test_with_soak,
        },
    });
    steps.push(match depth {
        Depth::Usual => PYTHON,
        Depth::Full => Step {
            title: "python: types and tests, and soak",
            run: python::check_fully,
        },
    });
    steps.push(Step {
        title: "doc tests",
        run: test_docs,
    });
    steps.push(Step {
        title: "fuzz: the targets compile",
        run: compile_fuzz_targets,
    });
    if depth == Depth::Full {
        steps.push(Step {
            title: "fuzz: the frame decoders for a minute",
            run: fuzz_frames,
        });
    }
    steps.push(BINARY);
    if depth == Depth::Full {
        steps.extend([WHEEL, SOURCE_ARCHIVE]);
    }
    steps
}

fn format(place: &Place) -> Result<()> {
    // Left alone, rustfmt colours its findings wherever they go.
    let colours = ["--", "--color", if print::colours() { "always" } else { "never" }];
    place
        .cargo()
        .args(["fmt", "--all", "--check"])
        .args(colours)
        .run()?;
    place
        .cargo()
        .args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"])
        .args(colours)
        .run()
}

fn prepare(place: &Place) -> Result<()> {
    tools::need_system_programs(place)?;
    tools::install(place, &tools::NEXTEST)?;
    tools::install(place, &tools::DENY)?;
    for environment in &python::ENVIRONMENTS {
        python::prepare(place, environment)?;
    }
    Ok(())
}

/// Advisories are left out on purpose: they need a database from the network that changes by the hour, and
/// then the same commit would be green today and red tomorrow.
fn deny(place: &Place) -> Result<()> {
    place
        .cargo()
        .args(["deny", "--workspace", "check", "licenses", "bans", "sources"])
        .run()
}

fn lint(place: &Place) -> Result<()> {
    place
        .cargo()
        .args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
        .run()
}

fn document(place: &Place) -> Result<()> {
    place
        .cargo()
        .args(["doc", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()
}

fn test(place: &Place) -> Result<()> {
    let program = place.cargo().args(["nextest", "run", "--workspace"]);
    with_python(program, place)?.run()
}

fn test_with_soak(place: &Place) -> Result<()> {
    let arguments = [
        "nextest",
        "run",
        "--workspace",
        "--profile",
        "full",
        "--run-ignored",
        "all",
    ];
    let program = place.cargo().args(arguments).env("OPENAGENTS_FULL", "1");
    with_python(program, place)?.run()
}

/// Tells the tests which Pythons have their packages, and where ours is.
fn with_python(mut program: Program, place: &Place) -> Result<Program> {
    program = program.env(python::PACKAGE_VARIABLE, python::build(place)?);
    for environment in &python::ENVIRONMENTS {
        program = program.env(environment.variable, python::prepare(place, environment)?);
    }
    Ok(program)
}

fn test_docs(place: &Place) -> Result<()> {
    place.cargo().args(["test", "--doc", "--workspace"]).run()
}

fn compile_fuzz_targets(place: &Place) -> Result<()> {
    place
        .cargo()
        .args(["build", "--manifest-path", "fuzz/Cargo.toml"])
        .run()
}

/// Without a sanitizer, so that the stable toolchain will do: the decoders have no unsafe code to watch.
///
/// Starts from one frame of each type. What the fuzzer learns on top stays in the first folder, which is not
/// under version control.
fn fuzz_frames(place: &Place) -> Result<()> {
    tools::install(place, &tools::FUZZ)?;
    let [learned, seeds] = ["fuzz/corpus/frames", "fuzz/seeds/frames"];
    fs::create_dir_all(place.root.join(learned)).context("making the folder for what the fuzzer learns")?;
    place
        .cargo()
        .args([
            "fuzz",
            "run",
            "frames",
            learned,
            seeds,
            "-s",
            "none",
            "--",
            "-max_total_time=60",
        ])
        .run()
}

fn measure_binary(place: &Place) -> Result<()> {
    place
        .cargo()
        .args([
            "build",
            "--release",
            "--package",
            "openagents-cli",
            "--bin",
            "openagents",
        ])
        .run()?;
    let name = format!("openagents{}", std::env::consts::EXE_SUFFIX);
    let binary = place.target.join("release").join(name);
    let size = fs::metadata(&binary)
        .context("looking for the release binary")?
        .len();
    let (kilobytes, limit) = (size / 1000, MAX_BINARY_BYTES / 1000);
    ensure!(
        size < MAX_BINARY_BYTES,
        "the binary has {kilobytes} kB, which is over the limit of {limit} kB"
    );
    print::note(&format!("openagents has {kilobytes} kB; the limit is {limit} kB"));
    Ok(())
}
