//! The processes that the suites kill: a server, a sender and a receiver. Each prints one line when it is ready.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use openagents_client::{
    AgentClient, ErrorCode, Event, HookResult, PendingPublish, Worker, WorkerAgent, WorkerSettings,
};
use openagents_e2e::ledger::Ledger;
use openagents_e2e::memory_kib;
use openagents_server::{Config, Server};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

/// Events in flight at once.
const IN_FLIGHT: usize = 300;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", directory, durability, port] => serve(directory, durability, port).await,
        ["send", port, agent_id, to, ledger] => send(port, agent_id, to, Path::new(ledger)).await,
        ["transfer", port, file] => transfer(port, Path::new(file)).await,
        ["join", host, port, token] => join(host, port, token).await,
        ["receive", port, agent_id, ledger] => receive(port, agent_id, PathBuf::from(ledger)).await,
        ["work", port] => Ok(Laborer { stubborn: false }
            .run("127.0.0.1", port.parse()?)
            .await?),
        ["work", port, "stubborn"] => Ok(Laborer { stubborn: true }.run("127.0.0.1", port.parse()?).await?),
        _ => bail!(
            "serve DIRECTORY DURABILITY PORT | send PORT AGENT TO LEDGER | receive PORT AGENT LEDGER | work PORT"
        ),
    }
}

async fn serve(directory: &str, durability: &str, port: &str) -> anyhow::Result<()> {
    let mut config = Config::new(directory);
    config.listen = format!("127.0.0.1:{port}").parse()?;
    config.workspace.durability = durability.parse()?;
    let server = Server::bind(config).await?;
    announce(&server.local_addr().port().to_string());
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    terminate.recv().await;
    server.shutdown().await;
    Ok(())
}

/// Sends a file, fetches it again and compares; tells the memory this took at most, before and after.
async fn transfer(port: &str, path: &Path) -> anyhow::Result<()> {
    let client = AgentClient::new("sender");
    client.connect_to_server("127.0.0.1", port.parse()?).await?;
    let workspace = client.workspace();
    announce(&memory_kib("self", "VmHWM")?.to_string());
    let shared = workspace.channel("general").upload_file(path).await?;
    let copy = path.with_extension("copy");
    workspace.download_file(&shared.id, &copy).await?;
    announce(&memory_kib("self", "VmHWM")?.to_string());
    let (one, other) = (std::fs::metadata(path)?.len(), std::fs::metadata(&copy)?.len());
    anyhow::ensure!(one == other, "the copy has {other} bytes instead of {one}");
    client.disconnect().await;
    Ok(())
}

/// Joins, posts and leaves.
async fn join(host: &str, port: &str, token: &str) -> anyhow::Result<()> {
    let client = AgentClient::new("joiner");
    client.connect_to_server(host, port.parse()?).token(token).await?;
    let posted = client.workspace().channel("general").post("over TLS").await;
    announce(if posted.success { "posted" } else { "refused" });
    client.disconnect().await;
    Ok(())
}

/// Sends direct messages, many in flight, and writes down what was sent and what was acknowledged.
async fn send(port: &str, agent_id: &str, to: &str, path: &Path) -> anyhow::Result<()> {
    let client = AgentClient::new(agent_id);
    client.connect_to_server("127.0.0.1", port.parse()?).await?;
    announce("sending");
    let ledger = Arc::new(Ledger::open(path)?);
    let (in_flight, settling) = mpsc::channel(IN_FLIGHT);
    let tasks = TaskTracker::new();
    let settled = tasks.spawn(settle(Arc::clone(&ledger), settling));
    for number in 0_u64.. {
        // Room first: whatever is sent is in flight then.
        let Ok(room) = in_flight.reserve().await else {
            break;
        };
        let mut event = Event::new("direct.message.received").to(format!("agent:{to}"));
        event.event_id = format!("{agent_id}-{number}");
        event.payload = json!({"content": {"text": "x".repeat(200)}}).into();
        let id = event.event_id.clone();
        ledger.write(&format!("sent {id}"))?;
        room.send((id, client.publish(event)?));
    }
    settled.await?
}

/// Writes down each acknowledgement as it comes.
async fn settle(
    ledger: Arc<Ledger>,
    mut settling: mpsc::Receiver<(String, PendingPublish)>,
) -> anyhow::Result<()> {
    while let Some((id, pending)) = settling.recv().await {
        let response = pending.await;
        let receipt = match (response.data, response.error) {
            (Some(receipt), _) => receipt,
            // Of what a frozen server did not answer nobody knows whether it is in the log.
            (None, Some(error)) if error.code == ErrorCode::TimedOut => continue,
            (None, error) => bail!("{id} was refused: {error:?}"),
        };
        let sequence = receipt.sequence.context("a message has a sequence")?;
        ledger.write(&format!("acked {id} {sequence}"))?;
    }
    Ok(())
}

/// Handles direct messages, and writes down each.
async fn receive(port: &str, agent_id: &str, path: PathBuf) -> anyhow::Result<()> {
    let client = AgentClient::new(agent_id);
    let ledger = Arc::new(Ledger::open(&path)?);
    client.register_event_handler(["direct.message.received"], move |event: Event| {
        let ledger = Arc::clone(&ledger);
        async move {
            let sequence = event.sequence.expect("a message has a sequence");
            ledger
                .write(&format!("handled {} {sequence}", event.event_id))
                .expect("the ledger can be written");
        }
    })?;
    client.connect_to_server("127.0.0.1", port.parse()?).await?;
    announce("receiving");
    std::future::pending().await
}

/// An agent that has a last word, and may not want to go after it.
struct Laborer {
    stubborn: bool,
}

impl WorkerAgent for Laborer {
    fn settings(&self) -> WorkerSettings {
        WorkerSettings::new().grace(Duration::from_hours(1))
    }

    async fn on_startup(&self, _: &Worker) -> HookResult {
        announce("working");
        Ok(())
    }

    async fn on_shutdown(&self, worker: &Worker) -> HookResult {
        worker.post_to_channel("general", "That is all.").await;
        if self.stubborn {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the line tells the suite that this process is ready"
)]
fn announce(line: &str) {
    println!("{line}");
}
