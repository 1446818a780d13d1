//! Steps one after the other: a title and the time of each, a stop at the first failure, a summary.

use anyhow::{Context, Result};

use crate::place::Place;
use crate::print::{self, Look};
use crate::stopwatch::Stopwatch;

/// One thing to do.
#[derive(Debug)]
pub(crate) struct Step {
    /// What it is about, in a few words.
    pub(crate) title: &'static str,
    /// Does it; an error ends the chore.
    pub(crate) run: fn(&Place) -> Result<()>,
}

/// Runs the steps up to the first that fails.
pub(crate) fn run_all(place: &Place, steps: &[Step]) -> Result<()> {
    let total = Stopwatch::start();
    let mut summary = Vec::with_capacity(steps.len());
    let mut outcome = Ok(());
    for step in steps {
        print::title(step.title);
        let stopwatch = Stopwatch::start();
        outcome = (step.run)(place).with_context(|| format!("step \"{}\"", step.title));
        let mark = match outcome {
            Ok(()) => print::paint(Look::Green, "ok    "),
            Err(_) => print::paint(Look::Red, "FAILED"),
        };
        print::note(&format!("{mark} after {}", stopwatch.read()));
        summary.push(format!("{mark} {:>13}  {}", stopwatch.read(), step.title));
        if outcome.is_err() {
            break;
        }
    }
    print::title("Summary");
    for line in &summary {
        print::note(line);
    }
    let left = steps.len() - summary.len();
    let not_run = if left == 0 {
        String::new()
    } else {
        format!(", {left} not run")
    };
    print::note(&format!(
        "{} of {} steps in {}{not_run}",
        summary.len(),
        steps.len(),
        total.read()
    ));
    outcome
}
