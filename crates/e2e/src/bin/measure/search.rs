//! A channel of a million messages: its last page, searches in it, and what it costs to have both.

use std::path::{Path, PathBuf};
use std::time::Duration;

use openagents_client::{AgentClient, Event};
use openagents_e2e::Prose;
use openagents_protocol::EventId;
use openagents_protocol::call::SearchMessages;
use serde_json::json;
use tokio::time::Instant;

use super::{MANY, join, micros, percentile, publish, serve};

/// Messages of the channel that the asker may not read, among the others.
const CLOSED: u64 = MANY / 4;
/// How often everything is asked.
const QUESTIONS: usize = 200;

/// A message in a channel.
fn post(channel: &str, text: &str) -> Event {
    let mut event = Event::new("channel.message.posted").to(format!("channel:{channel}"));
    event.event_id = EventId::new().to_string();
    event.payload = json!({"content": {"text": text}}).into();
    event
}

/// Message by message: every fifth is in the closed channel, and one of the others has a word that no other has.
fn message(number: u64, prose: &mut Prose) -> Option<Event> {
    let text = prose.text(200);
    match number {
        _ if MANY + CLOSED <= number => None,
        _ if number % 5 == 4 => Some(post("closed", &format!("{text} confidential"))),
        _ if number == MANY / 5 => Some(post("general", &format!("{text} needle"))),
        _ => Some(post("general", &format!("{text} common"))),
    }
}

pub(crate) async fn search(scratch: &Path) -> anyhow::Result<()> {
    let data: PathBuf = scratch.join("search");
    let (server, port) = serve(&data, "os").await?;
    let empty = server.memory_kib()?;
    let asker = join("asker", port).await?;
    let closed = asker.workspace().create_channel("closed", "").await?;
    let sender = join("sender", port).await?;
    closed.leave().await?;
    let (mut prose, begun) = (Prose::new(1), Instant::now());
    let sent = publish(&sender, |number| message(number, &mut prose)).await?;
    tell_rate("published", sent, begun.elapsed());
    let (lag, caught_up) = catch_up(&asker, begun).await?;
    println!("the search lagged by {lag} messages when the last of them was acknowledged");
    tell_rate("searchable", sent, caught_up);
    println!(
        "{sent} messages: {} KiB resident, {empty} KiB before",
        server.memory_kib()?
    );
    ask(&asker).await?;
    println!("after the questions: {} KiB resident", server.memory_kib()?);
    server.signal("TERM").await?;
    server.ended().await?;

    let begun = Instant::now();
    let (server, port) = serve(&data, "os").await?;
    println!(
        "started again: ready after {:.1} ms, {} KiB resident",
        micros(begun.elapsed()) / 1e3,
        server.memory_kib()?
    );
    ask(&join("asker", port).await?).await?;
    server.signal("TERM").await?;
    server.ended().await?;

    std::fs::remove_file(data.join("search.db"))?;
    let begun = Instant::now();
    let (server, port) = serve(&data, "os").await?;
    println!(
        "started without an index: ready after {:.1} ms",
        micros(begun.elapsed()) / 1e3
    );
    let (_, caught_up) = catch_up(&join("asker", port).await?, begun).await?;
    tell_rate("indexed anew", sent, caught_up);
    println!("{} KiB resident after that", server.memory_kib()?);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a count of messages")]
fn tell_rate(what: &str, messages: u64, time: Duration) {
    let rate = messages as f64 / time.as_secs_f64();
    println!(
        "{messages} messages {what} in {:.1} s, {rate:.0} a second",
        time.as_secs_f64()
    );
}

/// How far the index lags, and when it does no more.
pub(crate) async fn catch_up(asker: &AgentClient, begun: Instant) -> anyhow::Result<(u64, Duration)> {
    let mut first = None;
    loop {
        let head = asker.workspace().get_network_info().await?.head;
        let indexed = asker.workspace().search("needle").page().await?.indexed;
        let lag = head.get().saturating_sub(indexed.get());
        let first = *first.get_or_insert(lag);
        if lag == 0 {
            return Ok((first, begun.elapsed()));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn ask(asker: &AgentClient) -> anyhow::Result<()> {
    let workspace = asker.workspace();
    let general = workspace.channel("general");
    let mut samples = Vec::with_capacity(QUESTIONS);
    for _ in 0..QUESTIONS {
        let begun = Instant::now();
        anyhow::ensure!(general.get_messages(50).await?.len() == 50);
        samples.push(begun.elapsed());
    }
    tell("the last 50", samples, 1);
    for (what, query, expected) in [
        ("a word in every message", "common", 20),
        ("two words as a phrase", "\"ba common\"", 20),
        ("a beginning in most messages", "b*", 20),
        ("a word in one message", "needle", 1),
        ("a word in none", "nowhere", 0),
        (
            "a word in every message of an unreadable channel",
            "confidential",
            0,
        ),
        ("that and a word in every message", "common confidential", 0),
    ] {
        let query = SearchMessages {
            query: query.to_owned(),
            ..SearchMessages::default()
        };
        question(asker, what, &query, expected).await?;
    }
    let by_asker = SearchMessages {
        query: "common".to_owned(),
        sender: Some("asker".to_owned()),
        ..SearchMessages::default()
    };
    question(asker, "a word in every message, by somebody else", &by_asker, 0).await
}

/// Asks the same again and again, and measures each call: where one does not suffice, the next one goes on.
async fn question(
    asker: &AgentClient,
    what: &str,
    query: &SearchMessages,
    expected: usize,
) -> anyhow::Result<()> {
    let mut samples = Vec::with_capacity(QUESTIONS);
    let mut calls = 0;
    while samples.len() < QUESTIONS {
        let mut query = query.clone();
        let mut found = 0;
        calls = 0;
        loop {
            let begun = Instant::now();
            let part = asker.call(query.clone()).await?;
            samples.push(begun.elapsed());
            calls += 1;
            found += part.results.len();
            match part.before {
                Some(before) if found < expected.max(1) => query.before = Some(before.get()),
                _ => break,
            }
        }
        anyhow::ensure!(found == expected, "{what}: {found} found");
    }
    tell(what, samples, calls);
    Ok(())
}

fn tell(what: &str, mut samples: Vec<Duration>, calls: usize) {
    samples.sort_unstable();
    let [p50, p99] = [0.5, 0.99].map(|share| micros(percentile(&samples, share)) / 1e3);
    let calls = if calls == 1 {
        String::new()
    } else {
        format!("   in {calls} calls")
    };
    println!("{what:50} p50 {p50:6.2} ms   p99 {p99:6.2} ms{calls}");
}
