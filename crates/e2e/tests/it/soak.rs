//! The short form of the soak: everything that agents do, at once, for moments.

use std::time::Duration;

use anyhow::{Context, ensure};
use openagents_e2e::within;
use tokio::process::Command;

/// Traffic and what it takes to settle.
const LIMIT: Duration = Duration::from_mins(4);

#[tokio::test]
async fn mixed_traffic_goes_through_and_is_handled_once() -> anyhow::Result<()> {
    let soak = Command::new(env!("CARGO_BIN_EXE_soak"))
        .args(["--seed", "7", "--seconds", "16", "--sample", "4"])
        .kill_on_drop(true)
        .output();
    let output = within(LIMIT, soak).await.context("starting the soak")?;
    let (said, complaints) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(output.status.success(), "{said}{complaints}");
    ensure!(said.contains("bytes an event"), "{said}");
    Ok(())
}
