//! `cargo xtask bench`: the system beside its peers, in one run.

use std::env::consts::EXE_SUFFIX;

use anyhow::Result;
use clap::Args;

use crate::place::Place;
use crate::print;
use crate::program::Program;
use crate::python;

/// The page that the numbers are written into.
const PAGE: &str = "docs/performance.md";

/// What is measured.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Measure this section alone; may be given several times
    #[arg(long, value_name = "SECTION")]
    only: Vec<String>,
    /// Three short runs in place of five, and smaller sizes: to see that all of it works
    #[arg(long)]
    quick: bool,
    /// Print JSON for programs in place of tables
    #[arg(long)]
    json: bool,
    /// Bring the tables and plots of docs/performance.md up to date
    #[arg(long)]
    page: bool,
}

/// Prepares the peers below the target directory, builds what is measured, and measures.
pub(crate) fn run(place: &Place, bench: &Bench) -> Result<()> {
    let nats = python::prepare(place, &python::NATS)?;
    let official = python::prepare(place, &python::OFFICIAL)?;
    print::note("building for release");
    place
        .cargo()
        .args(["build", "--release", "--quiet", "--package", "openagents-cli"])
        .args([
            "--package",
            "openagents-benches",
            "--package",
            "openagents-python",
        ])
        .args(["--bins", "--lib"])
        .run()?;
    let built = place.target.join("release");
    let package = python::stage(place, &built)?;
    // As an installation does.
    Program::new(&nats, &place.root)
        .args(["-m", "compileall", "-q"])
        .args([&package])
        .run()?;
    let mut program = Program::new(built.join(format!("bench{EXE_SUFFIX}")), &place.root)
        .env(python::OFFICIAL.variable, official)
        .env(python::NATS.variable, nats)
        .args(["measure"])
        .args(["--python-package".into(), package])
        .args(["--python-programs".into(), place.root.join("benches/python")]);
    for section in &bench.only {
        program = program.args(["--only", section]);
    }
    let flags = [("--quick", bench.quick), ("--json", bench.json)];
    program = program.args(flags.iter().filter(|(_, given)| *given).map(|(flag, _)| flag));
    if bench.page {
        program = program.args(["--page".into(), place.root.join(PAGE)]);
    }
    program.run()
}
