//! Many agents that are connected and do nothing.

use std::time::Duration;

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, stream};
use openagents_client::AgentClient;
use tokio::time::Instant;

use super::{MEMORY, NATS, Section};
use crate::bench::Bench;
use crate::book::{About, Book, Unit};
use crate::peers::nats::{Nats, Subscriber, Sync};
use crate::peers::one_way;
use crate::peers::ours::{Counter, Messages, Ours};
use crate::statistics::{float, micros, percentile};

/// Agents.
const AGENTS: usize = 10_000;
/// Agents that join at once.
const JOINING: usize = 32;
/// Joins that are measured one by one, when all are there.
const JOINS: usize = 50;
/// Messages that are measured then.
const MESSAGES: usize = 500;
/// How long everything rests before its memory is looked at.
const REST: Duration = Duration::from_secs(2);

pub(crate) fn case(agents: u64) -> String {
    format!("{agents} connected agents")
}

pub(crate) const ALL: u64 = AGENTS as u64;

pub(super) async fn measure(bench: &Bench, book: &mut Book) -> Result<()> {
    for agents in [100, 1_000, AGENTS] {
        for _ in 0..bench.runs() {
            ours(bench, book, agents).await?;
            nats(bench, book, agents).await?;
        }
    }
    Ok(())
}

async fn ours(bench: &Bench, book: &mut Book, agents: usize) -> Result<()> {
    let server = Ours::serve(bench, "memory").await?;
    let empty = server.memory_kib()?;
    let (clients, connected) = connect(agents, |name| {
        let server = &server;
        async move { server.join(&name).await }
    })
    .await?;
    let full = server.memory_kib()?;
    let case = case(agents as u64);
    let about = About::new(Section::Crowd, &case, MEMORY).of_size(float(agents as u64));
    note(book, about, connected, (empty, full));
    let mut joins = Vec::with_capacity(JOINS);
    for number in 0..JOINS {
        let begun = Instant::now();
        let client = server.join(&format!("late-{number}")).await?;
        joins.push(begun.elapsed());
        client.disconnect().await;
    }
    book.note(
        about,
        "one join",
        Unit::Micros,
        micros(percentile(&mut joins, 0.5)),
    );
    let mut messages = Messages::begin(&server, "receiver").await?;
    let mut samples = one_way(&mut messages, MESSAGES).await?;
    book.note(
        about,
        "a direct message",
        Unit::Micros,
        micros(percentile(&mut samples, 0.5)),
    );
    let leaving = clients.iter().map(AgentClient::disconnect);
    stream::iter(leaving).buffer_unordered(JOINING).count().await;
    server.kill().await
}

/// Connections with one subscription each.
async fn nats(bench: &Bench, book: &mut Book, agents: usize) -> Result<()> {
    let server = Nats::serve(bench, Sync::Usual).await?;
    let empty = server.memory_kib()?;
    let counter = Counter::default();
    let subscribe = |name: String| {
        let (server, counter) = (&server, &counter);
        async move { Subscriber::begin(server, &name, counter).await }
    };
    let (subscribers, connected) = connect(agents, subscribe).await?;
    let full = server.memory_kib()?;
    let case = case(agents as u64);
    let about = About::new(Section::Crowd, &case, NATS).of_size(float(agents as u64));
    note(book, about, connected, (empty, full));
    drop(subscribers);
    server.kill().await
}

/// Connects everybody, and lets the server come to rest; with the time until all were connected.
async fn connect<T, F>(agents: usize, one: impl Fn(String) -> F) -> Result<(Vec<T>, Duration)>
where
    F: Future<Output = Result<T>>,
{
    let begun = Instant::now();
    let joining = (0..agents).map(|number| one(format!("idle-{number}")));
    let connected = stream::iter(joining)
        .buffer_unordered(JOINING)
        .try_collect()
        .await?;
    let time = begun.elapsed();
    tokio::time::sleep(REST).await;
    Ok((connected, time))
}

fn note(book: &mut Book, about: About<'_>, connected: Duration, (empty, full): (u64, u64)) {
    let agents = about.size.unwrap_or(1.0);
    let each = float(full.saturating_sub(empty)) / agents;
    book.note(about, "memory of each", Unit::Kib, each);
    book.note(about, "all connected", Unit::Seconds, connected.as_secs_f64());
}
