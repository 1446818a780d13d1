//! Posts in a channel that many agents are in, until all of them have all.

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, stream};
use openagents_client::AgentClient;
use tokio::time::Instant;

use super::{FSYNC, MEMORY, NATS, Section};
use crate::bench::Bench;
use crate::book::{About, Book, Unit};
use crate::peers::nats::{self, Nats, Subscriber, Sync};
use crate::peers::ours::{self, Counter, Ours};
use crate::peers::{Publishes, pipelined};
use crate::statistics::{float, per_second};

/// Posts of one run.
const POSTS: u64 = 100;
/// Agents that get them.
const AGENTS: [u64; 4] = [10, 100, 500, 1000];
/// Agents that join at once.
const JOINING: usize = 16;

pub(crate) fn case(agents: u64) -> String {
    format!("100 posts to {agents} agents")
}

pub(super) async fn measure(bench: &Bench, book: &mut Book) -> Result<()> {
    for agents in AGENTS {
        measure_with(bench, book, agents).await?;
    }
    Ok(())
}

async fn measure_with(bench: &Bench, book: &mut Book, agents: u64) -> Result<()> {
    let (nats, memory, fsync) = tokio::try_join!(
        Nats::serve(bench, Sync::Usual),
        Ours::serve(bench, "memory"),
        Ours::serve(bench, "fsync")
    )?;
    let mut crowds = [
        (MEMORY, Crowd::join(&memory, agents).await?),
        (FSYNC, Crowd::join(&fsync, agents).await?),
    ];
    let counter = Counter::default();
    let subscribing = (0..agents).map(|_| Subscriber::begin(&nats, "general", &counter));
    let subscribers: Vec<Subscriber> = stream::iter(subscribing)
        .buffer_unordered(JOINING)
        .try_collect()
        .await?;
    let publisher = nats::Publisher::to(&nats, "general").await?;
    let mut total = 0;
    // The first run warms up.
    for run in 0..=bench.runs() {
        let case = case(agents);
        let about = |system| About::new(Section::Fanout, &case, system).of_size(float(agents));
        let rate = posts(&publisher, &counter, &mut total, agents).await?;
        if 0 < run {
            book.note(about(NATS), "deliveries", Unit::PerSecond, rate);
        }
        for (system, crowd) in &mut crowds {
            let rate = posts(&crowd.poster, &crowd.counter, &mut crowd.total, agents).await?;
            if 0 < run {
                book.note(about(system), "deliveries", Unit::PerSecond, rate);
            }
        }
    }
    drop(subscribers);
    nats.kill().await?;
    memory.kill().await?;
    fsync.kill().await
}

/// Agents in one channel, and another that posts there.
struct Crowd {
    poster: ours::Publisher,
    _readers: Vec<AgentClient>,
    counter: Counter,
    total: u64,
}

impl Crowd {
    async fn join(server: &Ours, agents: u64) -> Result<Self> {
        let counter = Counter::default();
        let joining = (0..agents).map(|number| {
            let counter = counter.clone();
            async move {
                let reader = server.join(&format!("reader-{number}")).await?;
                counter.at(&reader, "channel.message.posted")?;
                anyhow::Ok(reader)
            }
        });
        let readers = stream::iter(joining)
            .buffer_unordered(JOINING)
            .try_collect()
            .await?;
        Ok(Self {
            poster: ours::Publisher::to(server, "poster", "channel:general").await?,
            _readers: readers,
            counter,
            total: 0,
        })
    }
}

/// Deliveries a second.
async fn posts(publisher: &impl Publishes, counter: &Counter, total: &mut u64, agents: u64) -> Result<f64> {
    *total += POSTS * agents;
    let begun = Instant::now();
    pipelined(publisher, |sent| sent < POSTS).await?;
    counter.wait_for(*total).await?;
    Ok(per_second(POSTS * agents, begun.elapsed()))
}
