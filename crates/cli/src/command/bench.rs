//! `openagents bench`.

mod fanout;
mod latency;
mod throughput;

use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use openagents_client::{AgentClient, Event};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::connect::Endpoint;
use crate::output::Output;

/// How long anything may stay away before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);

const EXAMPLES: &str = "\
Runs against any server; the agents are made for it and leave afterwards. With server and
client on one machine the numbers are those of both.

Examples:
  openagents bench latency --count 10000
  openagents bench throughput --duration 10s --size 256
  openagents bench fanout --agents 500 --json";

/// Measure a running server
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One message after the other between two agents: from the call to the handler
    Latency(latency::Arguments),
    /// Messages one behind the other, up to a window of unacknowledged ones, to another agent
    Throughput(throughput::Arguments),
    /// Posts to a channel with many agents, until all of them have all
    Fanout(fanout::Arguments),
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    match arguments.command {
        Command::Latency(arguments) => in_a_task(latency::run(arguments, output)).await,
        Command::Throughput(arguments) => in_a_task(throughput::run(arguments, output)).await,
        Command::Fanout(arguments) => Box::pin(fanout::run(arguments, output)).await,
    }
}

/// Measures where agents usually are: to wake the main thread costs more.
async fn in_a_task(
    measuring: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) -> anyhow::Result<()> {
    AbortOnDropHandle::new(TaskTracker::new().spawn(measuring)).await?
}

/// When a measurement ends: after so many messages or after so long, whichever comes first.
#[derive(Clone, Debug, Args)]
struct Extent {
    /// End after so many messages
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after so long [default: 5s, unless --count is given]
    #[arg(long, value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
}

impl Extent {
    const DEFAULT: Duration = Duration::from_secs(5);

    fn count(&self) -> u64 {
        self.count.unwrap_or(u64::MAX)
    }

    fn duration(&self) -> Duration {
        match (self.duration, self.count) {
            (Some(duration), _) => duration,
            (None, Some(_)) => Duration::MAX,
            (None, None) => Self::DEFAULT,
        }
    }
}

/// A message to an agent whose text has this many bytes.
fn message_to(agent_id: &str, size: usize) -> Event {
    Event::new("direct.message.received")
        .to(format!("agent:{agent_id}"))
        .payload(json!({"content": {"text": "x".repeat(size)}}))
}

/// An agent that counts what arrives from one source.
struct Counter {
    client: AgentClient,
    arrived: watch::Receiver<u64>,
}

impl Counter {
    async fn join(endpoint: &Endpoint, pattern: &str, source: String) -> anyhow::Result<Self> {
        let client = endpoint.join().await?;
        let (sender, arrived) = watch::channel(0);
        client.register_event_handler(pattern, move |event: Event| {
            if event.source_id == source {
                sender.send_modify(|arrived| *arrived += 1);
            }
            std::future::ready(())
        })?;
        Ok(Self { client, arrived })
    }

    /// Waits until so many have arrived; each may take its time, but not forever.
    async fn wait_for(&mut self, expected: u64) -> anyhow::Result<()> {
        loop {
            let arrived = *self.arrived.borrow_and_update();
            if expected <= arrived {
                return Ok(());
            }
            let changed = timeout(PATIENCE, self.arrived.changed()).await;
            changed
                .with_context(|| format!("{} of {expected} messages did not arrive", expected - arrived))?
                .context("the handler ended")?;
        }
    }
}

/// So many in that time, per second.
#[expect(
    clippy::cast_precision_loss,
    reason = "a rate of that size is not exact anyway"
)]
fn per_second(number: u64, time: Duration) -> f64 {
    number as f64 / time.as_secs_f64().max(f64::MIN_POSITIVE)
}
