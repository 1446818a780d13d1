//! Starts rounds in processes of their own, in which chance, the wall clock and the disk are simulated as well.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use openagents_e2e::preload;
use tokio::process::Command;

use crate::plan::{Flaw, Plan, Removing};
use crate::round::{Verdict, play};

/// Marks the line with the verdict in the output of a process.
const MARK: &str = "VERDICT ";

/// The test of this program that plays the round a process was started for.
pub(crate) const TEST: &str = "a_round_holds";

/// Starts rounds.
pub(crate) struct Player {
    library: PathBuf,
    directory: tempfile::TempDir,
}

impl Player {
    pub(crate) async fn new() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let library = preload::build("simulated.c", directory.path()).await?;
        Ok(Self { library, directory })
    }

    /// Plays the round of a seed, on a build with this flaw if there is one.
    pub(crate) async fn play(&self, seed: u64, flaw: Option<&str>) -> anyhow::Result<Verdict> {
        let round = tempfile::tempdir_in(self.directory.path())?;
        let clock = round.path().join("clock");
        std::fs::write(&clock, [0; 8])?;
        let data = round.path().join("data");
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["--exact", TEST, "--nocapture", "--test-threads", "1"])
            .env("LD_PRELOAD", &self.library)
            .env("SIMULATED_SEED", seed.to_string())
            .env("SIMULATED_CLOCK", &clock)
            .env("SIMULATED_DISK", &data)
            .env("SIMULATED_FLAW", flaw.unwrap_or_default())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = command.output().await?;
        let (told, complaints) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        let Some((_, verdict)) = told.split_once(MARK) else {
            bail!("seed {seed} came to no verdict: {told}{complaints}");
        };
        let verdict = verdict.lines().next().unwrap_or_default();
        serde_json::from_str(verdict).with_context(|| format!("reading {verdict}"))
    }
}

/// Plays the round that this process was started for, and tells the verdict to the one who started it; none where
/// nobody did.
pub(crate) fn play_ours() -> anyhow::Result<Option<Verdict>> {
    let Ok(seed) = std::env::var("SIMULATED_SEED") else {
        return Ok(None);
    };
    let data = std::env::var("SIMULATED_DISK")?;
    let flaw = std::env::var("SIMULATED_FLAW")?;
    let plan = Plan::new(seed.parse()?, Flaw::named(&flaw), Removing::as_told()?);
    let verdict = play(plan, Path::new(&data))?;
    tell(&serde_json::to_string(&verdict)?);
    Ok(Some(verdict))
}

#[expect(
    clippy::print_stdout,
    reason = "the line is read by whoever started this process"
)]
fn tell(verdict: &str) {
    println!("\n{MARK}{verdict}");
}
