//! A question to another agent, and its answer.

use std::time::Duration;

use anyhow::{Context, Result};
use openagents_client::{AgentClient, AgentConnection, Event};
use tokio::time::Instant;

use super::{FSYNC, MEMORY, NATS, Section};
use crate::bench::Bench;
use crate::book::{About, Book};
use crate::peers::nats::{self, Nats, Sync};
use crate::peers::ours::Ours;
use crate::peers::{OneWay, one_way};

/// Questions of one run.
const QUESTIONS: usize = 3000;

pub(crate) const CASE: &str = "question and answer";

pub(super) async fn measure(bench: &Bench, book: &mut Book) -> Result<()> {
    let nats = Nats::serve(bench, Sync::Usual).await?;
    let memory = Ours::serve(bench, "memory").await?;
    let fsync = Ours::serve(bench, "fsync").await?;
    let mut nats_asker = nats::Asker::begin(&nats).await?;
    let (mut in_memory, mut on_disk) = (Asker::begin(&memory).await?, Asker::begin(&fsync).await?);
    let count = bench.many(QUESTIONS);
    for _ in 0..bench.runs() {
        timed(book, NATS, &mut nats_asker, count).await?;
        timed(book, MEMORY, &mut in_memory, count).await?;
        timed(book, FSYNC, &mut on_disk, count).await?;
    }
    nats.kill().await?;
    memory.kill().await?;
    fsync.kill().await
}

async fn timed(book: &mut Book, system: &str, pair: &mut impl OneWay, count: usize) -> Result<()> {
    one_way(pair, count / 20).await?;
    let about = About::new(Section::Question, CASE, system);
    book.note_times(about, one_way(pair, count).await?);
    Ok(())
}

/// An agent that asks another, whose handler answers.
struct Asker {
    _client: AgentClient,
    _answerer: AgentClient,
    to: AgentConnection,
}

impl Asker {
    async fn begin(server: &Ours) -> Result<Self> {
        let (asker, answerer) = (server.join("asker").await?, server.join("answerer").await?);
        let back = answerer.downgrade();
        answerer.register_event_handler("direct.*", move |question: Event| {
            let back = back.clone();
            async move {
                if let Some(answerer) = back.upgrade() {
                    answerer.workspace().agent(&question.source_id).send("yes").await;
                }
            }
        })?;
        Ok(Self {
            to: asker.workspace().agent("answerer"),
            _client: asker,
            _answerer: answerer,
        })
    }
}

impl OneWay for Asker {
    async fn send(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        let answer = self.to.send_and_wait("ready?", Duration::from_secs(10)).await;
        answer.context("there was no answer")?;
        Ok(begun.elapsed())
    }
}
