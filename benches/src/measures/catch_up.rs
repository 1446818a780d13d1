//! An agent that comes back and gets what it missed.

use anyhow::{Context, Result};
use tokio::time::Instant;

use super::{FSYNC, JETSTREAM, Section};
use crate::bench::Bench;
use crate::book::{About, Book, Unit};
use crate::peers::nats::{JetStream, Nats, StreamPublisher, Sync};
use crate::peers::ours::{self, Counter, Ours};
use crate::peers::pipelined;
use crate::statistics::{float, per_second};

/// Direct messages that were missed.
const MISSED: usize = 100_000;

pub(crate) const CASE: &str = "100,000 missed direct messages";

pub(super) async fn measure(bench: &Bench, book: &mut Book) -> Result<()> {
    let missed = bench.many(MISSED) as u64;
    let server = Ours::serve(bench, "fsync").await?;
    let nats = Nats::serve(bench, Sync::Usual).await?;
    let stream = JetStream::begin(&nats).await?;
    pipelined(&StreamPublisher::begin(&nats).await?, |sent| sent < missed).await?;
    let receiver = |run: usize| format!("receiver-{run}");
    for run in 0..bench.runs() {
        // Known before, so that it has missed what follows.
        server.join(&receiver(run)).await?.disconnect().await;
        let to = format!("agent:{}", receiver(run));
        let publisher = ours::Publisher::to(&server, &format!("sender-{run}"), &to).await?;
        pipelined(&publisher, |sent| sent < missed).await?;
    }
    for run in 0..bench.runs() {
        let counter = Counter::default();
        let begun = Instant::now();
        let client = server.join(&receiver(run)).await?;
        counter.at(&client, "direct.*")?;
        counter.wait_for(missed).await.context("catching up")?;
        note(book, FSYNC, missed, begun);
        client.disconnect().await;

        let counter = Counter::default();
        let begun = Instant::now();
        let consumer = stream.consume(&counter).await?;
        counter.wait_for(missed).await.context("catching up")?;
        note(book, JETSTREAM, missed, begun);
        drop(consumer);
    }
    nats.kill().await?;
    server.kill().await
}

fn note(book: &mut Book, system: &str, missed: u64, begun: Instant) {
    let about = About::new(Section::CatchUp, CASE, system).of_size(float(missed));
    let time = begun.elapsed();
    book.note(
        about,
        "until the last is handled",
        Unit::Seconds,
        time.as_secs_f64(),
    );
    book.note(about, "messages", Unit::PerSecond, per_second(missed, time));
}
