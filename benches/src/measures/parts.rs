//! The parts of a message's way through our server, each by itself on one core: what is left of the processor time of a
//! message is sockets, scheduling and the kernel.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Context, Result};
use openagents_client::protocol::frame::{ClientFrame, Mentioned, Publish, ServerFrame, encode_event};
use openagents_protocol::record::Record;
use openagents_protocol::{Draft, Sequence};
use openagents_store::{Durability, EventLog, Options, Store};
use tokio::time::Instant;

use super::Section;
use crate::bench::{self, Bench};
use crate::book::{About, Book, Unit};
use crate::peers::engine;
use crate::peers::ours::message;
use crate::statistics::{float, micros};

/// How often each is done in one run.
const TIMES: u64 = 50_000;
/// Events of a commit, as a server under load has them.
const BATCH: u64 = 256;

pub(super) async fn measure(bench: &Bench, book: &mut Book) -> Result<()> {
    let frame = ClientFrame::Publish(Box::new(Publish {
        id: 7,
        event: message("agent:receiver"),
    }));
    let text = frame.encode();
    let entry = engine::entry()?;
    let record = Record {
        sequence: Sequence::new(7),
        header: entry.header,
        body: Some(entry.body),
    };
    let told = encode_event(&record, Mentioned::No);
    for _ in 0..bench.runs() {
        note(
            book,
            "client: a publish becomes a frame",
            each(|| black_box(&frame).encode()),
        );
        let decode = || ClientFrame::decode(black_box(&text));
        decode().ok().context("a frame")?;
        note(book, "server: a frame becomes a publish", each(decode));
        let parse = || Draft::parse(message("agent:receiver"));
        note(
            book,
            "server: a publish becomes a draft, making it included",
            each(parse),
        );
        for durability in [Durability::Memory, Durability::Fsync] {
            let part = format!("server: appended, {BATCH} in a commit, {durability}");
            note(book, &part, append(bench, durability).await?);
        }
        let encode = || encode_event(black_box(&record), Mentioned::No);
        note(book, "server: a record becomes a frame", each(encode));
        note(
            book,
            "client: a frame becomes an event",
            each(|| ServerFrame::decode(black_box(&told))),
        );
    }
    Ok(())
}

fn note(book: &mut Book, part: &str, time: Duration) {
    let about = About::new(Section::Parts, part, "one core");
    book.note(about, "of a message", Unit::Micros, micros(time));
}

/// What doing it once takes.
fn each<T>(mut act: impl FnMut() -> T) -> Duration {
    let begun = Instant::now();
    for _ in 0..TIMES {
        black_box(act());
    }
    begun.elapsed().div_f64(float(TIMES))
}

/// What one event of a batch takes.
async fn append(bench: &Bench, durability: Durability) -> Result<Duration> {
    let data = bench.data("engine");
    let options = Options {
        durability,
        ..Options::default()
    };
    let (store, _) = Store::open(&data, options)?;
    let commits = TIMES / BATCH;
    let mut batches = Vec::new();
    for _ in 0..commits {
        let batch: Result<Vec<_>> = (0..BATCH).map(|_| engine::entry()).collect();
        batches.push(batch?);
    }
    let begun = Instant::now();
    for batch in batches {
        store.log.append(batch).await?;
    }
    let time = begun.elapsed().div_f64(float(commits * BATCH));
    store.log.close().await?;
    bench::remove(&data)?;
    Ok(time)
}
