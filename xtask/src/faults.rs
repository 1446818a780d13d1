//! `cargo xtask faults`: what may go wrong goes wrong, and what was promised is checked.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::duration;
use crate::place::Place;
use crate::print::{self, Look};
use crate::stopwatch::Stopwatch;
use crate::tools;

/// Rounds of one start of the simulation, where it is to go on for a time.
const ROUNDS_AT_ONCE: u64 = 20;

/// How much is tried.
#[derive(Debug, Args)]
pub(crate) struct Faults {
    /// The seed of the first round of the simulation; the next rounds have the next seeds
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Rounds of the simulation
    #[arg(long, default_value_t = ROUNDS_AT_ONCE)]
    rounds: u64,
    /// Goes on with further rounds for this long, such as 90s, 30m or 1h
    #[arg(long = "for", value_parser = duration::parse)]
    time: Option<Duration>,
    /// Leaves out the real processes
    #[arg(long)]
    simulation_only: bool,
}

/// Plays rounds of the simulation, then the suites of real processes; all of it, whatever fails, and fails then.
pub(crate) fn run(place: &Place, faults: &Faults) -> Result<()> {
    let stopwatch = Stopwatch::start();
    let mut verdicts = Vec::new();
    let mut seed = faults.seed;
    loop {
        let rounds = match faults.time {
            Some(_) => ROUNDS_AT_ONCE,
            None => faults.rounds,
        };
        print::title(&format!(
            "simulation: seeds {seed} to {}",
            seed + rounds.saturating_sub(1)
        ));
        verdicts.push((
            format!("simulation from seed {seed}, {rounds} rounds"),
            simulate(place, seed, rounds),
        ));
        seed += rounds;
        if faults.time.is_none_or(|time| time <= stopwatch.elapsed()) {
            break;
        }
    }
    if !faults.simulation_only {
        print::title("real processes: killed, stopped, out of space, descriptors and memory");
        verdicts.push(("real processes".to_owned(), processes(place)));
    }
    print::title("Verdicts");
    for (what, verdict) in &verdicts {
        match verdict {
            Ok(()) => print::note(&format!("{} {what}", print::paint(Look::Green, "holds "))),
            Err(error) => print::note(&format!(
                "{} {what}: {error:#}",
                print::paint(Look::Red, "BROKEN")
            )),
        }
    }
    if verdicts.iter().any(|(_, verdict)| verdict.is_err()) {
        bail!("a promise was broken; `--seed N --rounds 1` plays a round of the simulation again");
    }
    Ok(())
}

/// Each round prints its line: seed, counts, faults, verdict.
fn simulate(place: &Place, seed: u64, rounds: u64) -> Result<()> {
    let arguments = [
        "test",
        "--quiet",
        "--package",
        "openagents-e2e",
        "--test",
        "simulation",
    ];
    let test = ["rounds_of_many_seeds_hold", "--", "--exact", "--nocapture"];
    place
        .cargo()
        .args(arguments)
        .args(test)
        .env("SIMULATION_SEED", seed.to_string())
        .env("SIMULATION_ROUNDS", rounds.to_string())
        .run()
}

fn processes(place: &Place) -> Result<()> {
    tools::install(place, &tools::NEXTEST)?;
    let suites = "test(/^(kill|stopped|limits|backup|soak)::/)";
    place
        .cargo()
        .args(["nextest", "run", "--package", "openagents-e2e", "-E", suites])
        .run()
}
