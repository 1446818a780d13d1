//! `cargo xtask soak`: mixed traffic for as long as wanted, and whether what the server takes stays where it is.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::duration;
use crate::place::Place;
use crate::python;

/// How long, and by which seed.
#[derive(Debug, Args)]
pub(crate) struct Soak {
    /// How long, such as 15m or 1h
    #[arg(long = "for", default_value = "15m", value_parser = duration::parse)]
    time: Duration,
    /// How often the server is measured
    #[arg(long, default_value = "1m", value_parser = duration::parse)]
    sample: Duration,
    /// What the agents do follows from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Builds server and agents as they are released, and lets them run.
pub(crate) fn run(place: &Place, soak: &Soak) -> Result<()> {
    let build = [
        "build",
        "--release",
        "--package",
        "openagents-e2e",
        "--package",
        "openagents-cli",
        "--bins",
    ];
    place.cargo().args(build).run()?;
    let run = [
        "run",
        "--release",
        "--package",
        "openagents-e2e",
        "--bin",
        "soak",
        "--",
    ];
    let mut program = place
        .cargo()
        .args(run)
        .args(["--seconds", &soak.time.as_secs().to_string()])
        .args(["--sample", &soak.sample.as_secs().to_string()])
        .args(["--seed", &soak.seed.to_string()]);
    for environment in &python::ENVIRONMENTS {
        program = program.env(environment.variable, python::prepare(place, environment)?);
    }
    program.run()
}
