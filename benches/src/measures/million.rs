//! A channel of a million messages: what is asked of it, what it costs to have it, and a server that starts with it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use openagents_client::protocol::call::SearchMessages;
use openagents_client::{AgentClient, Event};
use openagents_e2e::Prose;
use serde_json::json;
use std::sync::Mutex;
use tokio::time::Instant;

use super::{Section, searchable};
use crate::bench::{self, Bench};
use crate::book::{About, Book, Unit};
use crate::peers::ours::{Messages, Ours, accepted};
use crate::peers::{Publishes, one_way, pipelined};
use crate::statistics::{float, micros, millis, per_second, percentile};

/// Messages of the channel.
const MESSAGES: usize = 1_000_000;
/// Every so many-th message is in a channel that the asker may not read, on top of them.
const CLOSED: u64 = 5;
/// Questions and messages in each run.
const SAMPLES: usize = 40;

const OS: &str = "ours, os";
pub(crate) const START: &str = "start with 1,250,000 events";

pub(super) async fn measure(bench: &Bench, book: &mut Book) -> Result<()> {
    let server = Ours::serve(bench, "os").await?;
    let (empty, begun) = (server.memory_kib()?, Instant::now());
    let asker = server.join("asker").await?;
    let closed = asker.workspace().create_channel("closed", "").await?;
    let archive = Archive::new(server.join("sender").await?, bench);
    closed.leave().await?;
    for messages_then in [10_000, 100_000, MESSAGES] {
        let all = bench.many(messages_then) as u64 * CLOSED / (CLOSED - 1);
        archive.write_up_to(all).await?;
        let size = float(all);
        let mut messages = Messages::begin(&server, &format!("receiver-of-{all}")).await?;
        for _ in 0..bench.runs() {
            let case = format!("a log of {all} events");
            let about = About::new(Section::Million, &case, OS).of_size(size);
            book.note_times(about, one_way(&mut messages, SAMPLES * 5).await?);
        }
        messages.end().await;
    }
    let head = asker.workspace().get_network_info().await?.head.get();
    let (_, caught_up) = searchable::catch_up(&asker, begun).await?;
    note(
        book,
        "written and indexed",
        "events",
        Unit::PerSecond,
        per_second(head, caught_up),
    );
    note(book, "resident, server", "before", Unit::Kib, float(empty));
    note(
        book,
        "resident, server",
        "with all of it",
        Unit::Kib,
        float(server.memory_kib()?),
    );
    for _ in 0..bench.runs() {
        ask(book, &asker).await?;
    }
    let mut data = server.stop().await?;
    for _ in 0..bench.runs() {
        let begun = Instant::now();
        let server = Ours::serve_again(bench, "os", data).await?;
        note(book, START, "ready", Unit::Millis, millis(begun.elapsed()));
        note(book, START, "resident", Unit::Kib, float(server.memory_kib()?));
        data = server.stop().await?;
    }
    std::fs::remove_file(data.join("search.db"))?;
    let begun = Instant::now();
    let server = Ours::serve_again(bench, "os", data).await?;
    let (_, caught_up) = searchable::catch_up(&server.join("asker").await?, begun).await?;
    note(
        book,
        "indexed anew",
        "events",
        Unit::PerSecond,
        per_second(head, caught_up),
    );
    let data = server.stop().await?;
    Ok(bench::remove(&data)?)
}

fn note(book: &mut Book, case: &str, measure: &str, unit: Unit, value: f64) {
    book.note(About::new(Section::Million, case, OS), measure, unit, value);
}

/// Writes the messages, one after the other.
struct Archive {
    sender: AgentClient,
    prose: Mutex<Prose>,
    written: AtomicU64,
    /// The number of the message that has a word which no other has.
    needle: u64,
}

impl Archive {
    fn new(sender: AgentClient, bench: &Bench) -> Self {
        Self {
            sender,
            prose: Mutex::new(Prose::new(1)),
            written: AtomicU64::new(0),
            needle: bench.many(MESSAGES) as u64 / 5,
        }
    }

    async fn write_up_to(&self, number: u64) -> Result<()> {
        let more = number - self.written.load(Ordering::Relaxed);
        pipelined(self, |sent| sent < more).await?;
        Ok(())
    }

    fn message(&self, number: u64) -> Event {
        let text = self.prose.lock().expect("poisoned").text(200);
        let (channel, word) = match number {
            _ if number % CLOSED == CLOSED - 1 => ("closed", "confidential"),
            _ if number == self.needle => ("general", "needle"),
            _ => ("general", "common"),
        };
        Event::new("channel.message.posted")
            .to(format!("channel:{channel}"))
            .payload(json!({"content": {"text": format!("{text} {word}")}}))
    }
}

impl Publishes for Archive {
    async fn publish(&self) -> Result<impl Future<Output = Result<()>> + Send + 'static> {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        accepted(&self.sender, self.message(number))
    }
}

/// Asks everything, and notes what each call took.
async fn ask(book: &mut Book, asker: &AgentClient) -> Result<()> {
    let general = asker.workspace().channel("general");
    let mut samples = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let begun = Instant::now();
        ensure!(general.get_messages(50).await?.len() == 50);
        samples.push(begun.elapsed());
    }
    asked(book, "the last 50 messages", samples);
    for (what, query, expected) in [
        ("search: a word in every message", "common", 20),
        ("search: two words as a phrase", "\"ba common\"", 20),
        ("search: a beginning in most messages", "b*", 20),
        ("search: a word in one message", "needle", 1),
        ("search: a word in none", "nowhere", 0),
        (
            "search: a word in every message of an unreadable channel",
            "confidential",
            0,
        ),
        (
            "search: that and a word in every message",
            "common confidential",
            0,
        ),
    ] {
        let query = SearchMessages {
            query: query.to_owned(),
            ..SearchMessages::default()
        };
        let samples = search(asker, &query, expected).await?;
        asked(book, what, samples);
    }
    let by_asker = SearchMessages {
        query: "common".to_owned(),
        sender: Some("asker".to_owned()),
        ..SearchMessages::default()
    };
    let samples = search(asker, &by_asker, 0).await?;
    asked(
        book,
        "search: a word in every message, by somebody who wrote none",
        samples,
    );
    Ok(())
}

fn asked(book: &mut Book, what: &str, mut samples: Vec<Duration>) {
    for (measure, share) in [("p50", 0.5), ("p99", 0.99)] {
        let value = micros(percentile(&mut samples, share));
        note(book, what, measure, Unit::Micros, value);
    }
}

/// Asks the same again and again, and measures each call: where one does not suffice, the next one goes on.
async fn search(asker: &AgentClient, query: &SearchMessages, expected: usize) -> Result<Vec<Duration>> {
    let mut samples = Vec::with_capacity(SAMPLES);
    while samples.len() < SAMPLES {
        let mut query = query.clone();
        let mut found = 0;
        loop {
            let begun = Instant::now();
            let part = asker.call(query.clone()).await?;
            samples.push(begun.elapsed());
            found += part.results.len();
            match part.before {
                Some(before) if found < expected.max(1) => query.before = Some(before.get()),
                _ => break,
            }
        }
        ensure!(found == expected, "{}: {found} found", query.query);
    }
    Ok(samples)
}
