//! How far the search index is behind the log.

use std::time::Duration;

use anyhow::{Result, ensure};
use openagents_client::AgentClient;
use tokio::time::Instant;

/// How long the index may take for anything that is measured here.
const PATIENCE: Duration = Duration::from_mins(5);

/// By how many events the index is behind now, and after how long since then it is not any more.
pub(super) async fn catch_up(asker: &AgentClient, begun: Instant) -> Result<(u64, Duration)> {
    let mut first = None;
    loop {
        let head = asker.workspace().get_network_info().await?.head;
        let indexed = asker.workspace().search("needle").page().await?.indexed;
        let lag = head.get().saturating_sub(indexed.get());
        let first = *first.get_or_insert(lag);
        if lag == 0 {
            return Ok((first, begun.elapsed()));
        }
        ensure!(
            begun.elapsed() < PATIENCE,
            "the index is still {lag} events behind"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
