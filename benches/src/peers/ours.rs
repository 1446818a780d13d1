//! Our server, as a process of the real binary, and our client in this process.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use openagents_client::{AgentClient, Event};
use openagents_e2e::Peer;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::{OneWay, Publishes, text, within};
use crate::bench::{self, Bench};
use crate::processor;

/// A running server.
pub(crate) struct Ours {
    process: Peer,
    pub(crate) port: u16,
    pub(crate) data: PathBuf,
}

impl Ours {
    /// Serves a new workspace.
    pub(crate) async fn serve(bench: &Bench, durability: &str) -> Result<Self> {
        Self::serve_again(bench, durability, bench.data("ours")).await
    }

    /// Serves the workspace in a directory.
    pub(crate) async fn serve_again(bench: &Bench, durability: &str, data: PathBuf) -> Result<Self> {
        let directory = data.to_str().context("a plain path")?;
        let arguments = [
            "serve",
            "--port",
            "0",
            "--data",
            directory,
            "--durability",
            durability,
            "--log-level",
            "error",
        ];
        let (process, ready) = Peer::start(&bench.openagents, &arguments).await?;
        let port = ready
            .rsplit(':')
            .next()
            .context("the ready line ends with the port")?;
        Ok(Self {
            process,
            port: port.parse()?,
            data,
        })
    }

    pub(crate) async fn join(&self, agent_id: &str) -> Result<AgentClient> {
        let client = AgentClient::new(agent_id);
        client.connect_to_server("127.0.0.1", self.port).await?;
        Ok(client)
    }

    /// The time of processors that the server has taken.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        processor::time_of(&self.process.id().context("it runs")?.to_string())
    }

    pub(crate) fn memory_kib(&self) -> Result<u64> {
        self.process.memory_kib()
    }

    /// The most that was ever resident of it.
    pub(crate) fn peak_memory_kib(&self) -> Result<u64> {
        self.process.peak_memory_kib()
    }

    /// Ends the server in order and keeps its data.
    pub(crate) async fn stop(self) -> Result<PathBuf> {
        self.process.signal("TERM").await?;
        within(self.process.ended()).await??;
        Ok(self.data)
    }

    /// Ends the server at once and removes its data.
    pub(crate) async fn kill(self) -> Result<()> {
        self.process.kill().await?;
        Ok(bench::remove(&self.data)?)
    }
}

/// A message to `agent:…` or in `channel:…`.
pub(crate) fn message(to: &str) -> Event {
    let name = if to.starts_with("channel:") {
        "channel.message.posted"
    } else {
        "direct.message.received"
    };
    Event::new(name).to(to).payload(text::json_payload())
}

/// Two agents, one of which writes what the other gets.
pub(crate) struct Messages {
    sender: AgentClient,
    receiver: AgentClient,
    to: String,
    arrivals: mpsc::Receiver<Instant>,
}

impl Messages {
    /// Direct messages to an agent of this name.
    pub(crate) async fn begin(server: &Ours, receiver: &str) -> Result<Self> {
        Self::begin_at(server, receiver, &format!("agent:{receiver}")).await
    }

    /// Messages to an address where this agent gets them.
    pub(crate) async fn begin_at(server: &Ours, receiver: &str, to: &str) -> Result<Self> {
        let sender = server.join(&format!("to-{receiver}")).await?;
        let receiver = server.join(receiver).await?;
        // One message is under way at a time.
        let (arrived, arrivals) = mpsc::channel(1);
        let patterns = ["direct.*", "channel.message.posted"];
        receiver.register_event_handler(patterns, move |_: Event| {
            let (arrived, now) = (arrived.clone(), Instant::now());
            async move { arrived.send(now).await.map_err(|_| "the measurement ended") }
        })?;
        Ok(Self {
            sender,
            receiver,
            to: to.to_owned(),
            arrivals,
        })
    }

    pub(crate) async fn end(self) {
        self.sender.disconnect().await;
        self.receiver.disconnect().await;
    }
}

impl OneWay for Messages {
    async fn send(&mut self) -> Result<Duration> {
        let event = message(&self.to);
        let begun = Instant::now();
        let pending = self.sender.publish(event)?;
        let arrived = self.arrivals.recv().await.context("the receiver is gone")?;
        ensure!(pending.await.success, "a message was refused");
        Ok(arrived - begun)
    }
}

/// An agent that publishes to an address.
pub(crate) struct Publisher {
    client: AgentClient,
    to: String,
}

impl Publisher {
    /// Joins as `name`, and writes to `agent:…` or in `channel:…`.
    pub(crate) async fn to(server: &Ours, name: &str, to: &str) -> Result<Self> {
        Ok(Self {
            client: server.join(name).await?,
            to: to.to_owned(),
        })
    }
}

impl Publishes for Publisher {
    async fn publish(&self) -> Result<impl Future<Output = Result<()>> + Send + 'static> {
        accepted(&self.client, message(&self.to))
    }
}

/// Publishes an event; what is returned ends with the acknowledgement.
pub(crate) fn accepted(
    client: &AgentClient,
    event: Event,
) -> Result<impl Future<Output = Result<()>> + Send + 'static> {
    let pending = client.publish(event)?;
    Ok(async move {
        ensure!(pending.await.success, "a message was refused");
        Ok(())
    })
}

/// Counts what arrives, at one agent or at many.
#[derive(Clone, Default)]
pub(crate) struct Counter(Arc<Count>);

#[derive(Default)]
struct Count {
    arrived: AtomicU64,
    awaited: AtomicU64,
    enough: Notify,
}

impl Counter {
    pub(crate) fn count(&self) {
        let arrived = self.0.arrived.fetch_add(1, Ordering::SeqCst) + 1;
        if arrived == self.0.awaited.load(Ordering::SeqCst) {
            self.0.enough.notify_one();
        }
    }

    /// Waits until so many have arrived since the counter was made.
    pub(crate) async fn wait_for(&self, number: u64) -> Result<()> {
        self.0.awaited.store(number, Ordering::SeqCst);
        // Somebody may have been told before that there was enough, and not have waited.
        while self.0.arrived.load(Ordering::SeqCst) < number {
            within(self.0.enough.notified()).await?;
        }
        Ok(())
    }

    /// Counts what an agent gets of this pattern.
    pub(crate) fn at(&self, client: &AgentClient, pattern: &str) -> Result<()> {
        let counter = self.clone();
        client.register_event_handler(pattern, move |_: Event| {
            counter.count();
            std::future::ready(())
        })?;
        Ok(())
    }
}
