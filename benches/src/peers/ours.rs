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

    pub(crate) fn memory_kib(&self) -> Result<u64> {
        self.process.memory_kib()
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

/// A direct message.
pub(crate) fn direct(to: &str) -> Event {
    Event::new("direct.message.received")
        .to(format!("agent:{to}"))
        .payload(text::json_payload())
}

/// A message in the channel where everybody is.
pub(crate) fn post() -> Event {
    Event::new("channel.message.posted")
        .to("channel:general")
        .payload(text::json_payload())
}

/// Two agents, one of which writes to the other.
pub(crate) struct Messages {
    sender: AgentClient,
    receiver: AgentClient,
    to: String,
    arrivals: mpsc::Receiver<Instant>,
}

impl Messages {
    pub(crate) async fn begin(server: &Ours, to: &str) -> Result<Self> {
        let (sender, receiver) = (server.join(&format!("to-{to}")).await?, server.join(to).await?);
        // One message is under way at a time.
        let (arrived, arrivals) = mpsc::channel(1);
        receiver.register_event_handler("direct.*", move |_: Event| {
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
        let event = direct(&self.to);
        let begun = Instant::now();
        let pending = self.sender.publish(event)?;
        let arrived = self.arrivals.recv().await.context("the receiver is gone")?;
        ensure!(pending.await.success, "a message was refused");
        Ok(arrived - begun)
    }
}

/// An agent that publishes to another or to everybody.
pub(crate) struct Publisher {
    client: AgentClient,
    to: Option<String>,
}

impl Publisher {
    /// Writes to an agent.
    pub(crate) async fn to(server: &Ours, name: &str, to: &str) -> Result<Self> {
        let (client, to) = (server.join(name).await?, Some(to.to_owned()));
        Ok(Self { client, to })
    }

    /// Writes in the channel where everybody is.
    pub(crate) async fn to_all(server: &Ours) -> Result<Self> {
        let client = server.join("poster").await?;
        Ok(Self { client, to: None })
    }
}

impl Publishes for Publisher {
    async fn publish(&self) -> Result<impl Future<Output = Result<()>> + Send + 'static> {
        let event = self.to.as_deref().map_or_else(post, direct);
        let pending = self.client.publish(event)?;
        Ok(async move {
            ensure!(pending.await.success, "a message was refused");
            Ok(())
        })
    }
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
        let arrived = self.0.arrived.fetch_add(1, Ordering::AcqRel) + 1;
        if arrived == self.0.awaited.load(Ordering::Acquire) {
            self.0.enough.notify_one();
        }
    }

    /// Waits until so many have arrived since the counter was made.
    pub(crate) async fn wait_for(&self, number: u64) -> Result<()> {
        self.0.awaited.store(number, Ordering::Release);
        if number <= self.0.arrived.load(Ordering::Acquire) {
            return Ok(());
        }
        within(self.0.enough.notified()).await
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
