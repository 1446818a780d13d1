//! Every chore of the project, as `cargo xtask …`.
//!
//! - `check` runs everything that must hold before a change is merged; the CI runs exactly this.
//! - `python` runs the part of it that is about the Python package.
//! - `faults` plays rounds of the simulation and the suites of killed and starved processes, for as long as asked.
//! - `soak` has mixed traffic for as long as asked, and tells whether memory, descriptors and latency stay flat.
//! - `bench` measures the system beside its peers and its floors, and writes `docs/performance.md`.
//! - `fix` does what a machine can do about it: lint suggestions and formatting.
//! - `map` holds the source against the rules of `ARCHITECTURE.md`.
//!
//! No chore needs anything but a Rust toolchain to start: what else is wanted is installed below the
//! target directory, at a pinned version.

mod bench;
mod check;
mod duration;
mod faults;
mod fix;
mod map;
mod place;
mod print;
mod program;
mod python;
mod soak;
mod step;
mod stopwatch;
mod tools;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use place::Place;

/// The chores of OpenAgents for Rust.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Check everything that must hold before a change is merged
    Check {
        /// Add what takes long: fuzzing and the soak tests
        #[arg(long)]
        full: bool,
    },
    /// Check the Python package alone: types, tests, and with --wheel the wheel
    Python {
        /// Build the release binary and the wheel around it, and the source archive, and use them
        #[arg(long)]
        wheel: bool,
    },
    /// Let what may go wrong go wrong, and check what was promised
    Faults(faults::Faults),
    /// Let agents do everything for a long time, and check that the server takes no more and more
    Soak(soak::Soak),
    /// Measure the system beside its peers and its floors
    Bench(bench::Bench),
    /// Apply lint suggestions and format the source
    Fix,
    /// Hold the source against the rules of ARCHITECTURE.md
    Map,
}

fn main() -> ExitCode {
    match run(&Arguments::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::failure(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(chore: &Chore) -> Result<()> {
    let place = Place::find()?;
    match chore {
        Chore::Check { full: false } => check::run(&place, check::Depth::Usual),
        Chore::Check { full: true } => check::run(&place, check::Depth::Full),
        Chore::Python { wheel } => check::python(&place, *wheel),
        Chore::Faults(faults) => faults::run(&place, faults),
        Chore::Soak(soak) => soak::run(&place, soak),
        Chore::Bench(bench) => bench::run(&place, bench),
        Chore::Fix => fix::run(&place),
        Chore::Map => map::run(&place),
    }
}
