//! Counts what happens in a workspace, and reports it at regular times.
//!
//! Start a server, then `cargo run -p openagents-examples --bin monitor -- [HOST [PORT [SECONDS]]]`. Ctrl-C ends it.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openagents_client::{AgentClient, Event};

/// What is counted, and the pattern of the events that count.
const COUNTED: [(&str, &str); 4] = [
    ("channel", "workspace.channel.*"),
    ("direct", "workspace.direct.*"),
    ("file", "workspace.file.*"),
    ("reaction", "workspace.reaction.*"),
];

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let host = env::args().nth(1).unwrap_or_else(|| "localhost".to_owned());
    let port = env::args().nth(2).map_or(Ok(8700), |port| port.parse())?;
    let seconds = env::args().nth(3).map_or(Ok(10.0), |seconds| seconds.parse())?;

    let client = AgentClient::new("monitor");
    let workspace = client.workspace();
    let counters: [Arc<AtomicU64>; 4] = Default::default();
    for (counter, (_, pattern)) in counters.iter().zip(COUNTED) {
        let counter = Arc::clone(counter);
        workspace.subscribe_to_events(pattern, move |_: Event| {
            counter.fetch_add(1, Ordering::Relaxed);
            async {}
        })?;
    }
    client.connect_to_server(host, port).await?;

    let mut times = tokio::time::interval(Duration::try_from_secs_f64(seconds)?);
    let reporting = async {
        loop {
            times.tick().await;
            let (channels, agents) = (workspace.channels().await?, workspace.agents().await?);
            let counts: Vec<String> = counters
                .iter()
                .zip(COUNTED)
                .map(|(counter, (name, _))| format!("{} {name}", counter.load(Ordering::Relaxed)))
                .collect();
            let (channels, agents) = (channels.len(), agents.len());
            println!("{channels} channels, {agents} agents: {}", counts.join(", "));
        }
    };
    tokio::select! {
        ended = reporting => return ended,
        _ = tokio::signal::ctrl_c() => {}
    }
    client.disconnect().await;
    Ok(())
}
