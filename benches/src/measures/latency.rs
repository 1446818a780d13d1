//! From the call that sends a direct message to the handler that gets it.

use anyhow::Result;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::{COMMIT, ECHO, FSYNC, MEMORY, NATS, SYNC, Section};
use crate::bench::Bench;
use crate::book::{About, Book};
use crate::peers::echo::Echo;
use crate::peers::nats::{self, Nats, Sync};
use crate::peers::ours::{self, Counter, Ours};
use crate::peers::{OneWay, at_rate, engine, one_way};

/// Messages of one run.
const MESSAGES: usize = 5000;
/// Messages a second between two others, where it is not at rest: half of what is to be sustained.
const LOAD: u32 = 20_000;

pub(crate) const REST: &str = "at rest";
pub(crate) const LOADED: &str = "beside 20,000 messages a second of others";

pub(super) async fn measure(bench: &Bench, book: &mut Book) -> Result<()> {
    let nats = Nats::serve(bench, Sync::Usual).await?;
    let memory = Ours::serve(bench, "memory").await?;
    let fsync = Ours::serve(bench, "fsync").await?;
    let mut echo = Echo::begin().await?;
    let mut nats_messages = nats::Messages::begin(&nats, "receiver").await?;
    let mut memory_messages = ours::Messages::begin(&memory, "receiver").await?;
    let mut fsync_messages = ours::Messages::begin(&fsync, "receiver").await?;
    let count = bench.many(MESSAGES);
    for _ in 0..bench.runs() {
        timed(book, REST, NATS, &mut nats_messages, count).await?;
        timed(book, REST, MEMORY, &mut memory_messages, count).await?;
        timed(book, REST, FSYNC, &mut fsync_messages, count).await?;
        timed(book, REST, ECHO, &mut echo, count).await?;
        book.note_times(about(REST, COMMIT), engine::commits(bench, count / 2).await?);
        book.note_times(about(REST, SYNC), engine::syncs(bench, count / 2)?);

        let load = loaded_nats(&nats).await?;
        timed(book, LOADED, NATS, &mut nats_messages, count).await?;
        drop(load);
        for (system, server, messages) in [
            (MEMORY, &memory, &mut memory_messages),
            (FSYNC, &fsync, &mut fsync_messages),
        ] {
            let load = loaded(server).await?;
            timed(book, LOADED, system, messages, count).await?;
            load.end().await;
        }
    }
    memory_messages.end().await;
    fsync_messages.end().await;
    nats.kill().await?;
    memory.kill().await?;
    fsync.kill().await
}

const fn about<'a>(case: &'a str, system: &'a str) -> About<'a> {
    About::new(Section::Latency, case, system)
}

async fn timed(
    book: &mut Book,
    case: &str,
    system: &str,
    pair: &mut impl OneWay,
    count: usize,
) -> Result<()> {
    // The first ones warm up.
    one_way(pair, count / 20).await?;
    book.note_times(about(case, system), one_way(pair, count).await?);
    Ok(())
}

/// Messages of others.
pub(super) struct Load {
    _sending: AbortOnDropHandle<()>,
    receiver: openagents_client::AgentClient,
}

impl Load {
    pub(super) async fn end(self) {
        self.receiver.disconnect().await;
    }
}

/// Begins half of the load that a server is to sustain.
pub(super) async fn loaded(server: &Ours) -> Result<Load> {
    let receiver = server.join("busy").await?;
    Counter::default().at(&receiver, "direct.*")?;
    let sender = ours::Publisher::to(server, "busy-sender", "agent:busy").await?;
    let sending = TaskTracker::new().spawn(async move { at_rate(&sender, LOAD).await });
    Ok(Load {
        _sending: AbortOnDropHandle::new(sending),
        receiver,
    })
}

async fn loaded_nats(server: &Nats) -> Result<(nats::Subscriber, AbortOnDropHandle<()>)> {
    let subscriber = nats::Subscriber::begin(server, "busy", &Counter::default()).await?;
    let sender = nats::Publisher::to(server, "busy").await?;
    let sending = TaskTracker::new().spawn(async move { at_rate(&sender, LOAD).await });
    Ok((subscriber, AbortOnDropHandle::new(sending)))
}
