//! Messages that are stored, acknowledged one by one, and delivered to the handler of one subscriber.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::{FSYNC, JETSTREAM, JETSTREAM_ALWAYS, MEMORY, NATS, Section, searchable};
use crate::bench::Bench;
use crate::book::{About, Book, Unit};
use crate::peers::nats::{self, JetStream, Nats, StreamPublisher, Sync};
use crate::peers::ours::{self, Counter, Ours};
use crate::peers::{Publishes, one_at_a_time, pipelined};
use crate::processor;
use crate::statistics::{float, micros, per_second};

/// How long the rate that is to be sustained is measured.
const LONG: Duration = Duration::from_secs(10);
/// How long the others are.
const SHORT: Duration = Duration::from_secs(2);
/// Publishers where they are many.
const MANY: usize = 16;

pub(crate) const ONE: &str = "one publisher, one at a time";
pub(crate) const PIPELINED: &str = "one publisher, 1,000 in flight";
pub(crate) const MANY_ONE: &str = "16 publishers, one at a time each";
pub(crate) const MANY_PIPELINED: &str = "16 publishers, 1,000 in flight each";

/// How publishers publish.
#[derive(Clone, Copy)]
enum Way {
    OneAtATime,
    Pipelined,
}

/// A case: its name, publishers, how, and how long.
type Case = (&'static str, usize, Way, Duration);

pub(super) async fn measure(bench: &Bench, book: &mut Book) -> Result<()> {
    let cases: [Case; 4] = [
        (ONE, 1, Way::OneAtATime, SHORT),
        (PIPELINED, 1, Way::Pipelined, LONG),
        (MANY_ONE, MANY, Way::OneAtATime, SHORT),
        (MANY_PIPELINED, MANY, Way::Pipelined, SHORT),
    ];
    for _ in 0..bench.runs() {
        for case in cases {
            in_memory(bench, book, case).await?;
            on_disk(bench, book, case).await?;
            jetstream(bench, book, case, Sync::Usual).await?;
            let (name, publishers, way, _) = case;
            jetstream(bench, book, (name, publishers, way, SHORT), Sync::Always).await?;
        }
        core(bench, book).await?;
    }
    Ok(())
}

async fn in_memory(bench: &Bench, book: &mut Book, (name, publishers, way, _): Case) -> Result<()> {
    let server = Ours::serve(bench, "memory").await?;
    ours(bench, book, &server, MEMORY, (name, publishers, way, SHORT)).await?;
    server.kill().await
}

async fn on_disk(bench: &Bench, book: &mut Book, case: Case) -> Result<()> {
    let server = Ours::serve(bench, "fsync").await?;
    let begun = Instant::now();
    let sent = ours(bench, book, &server, FSYNC, case).await?;
    if case.0 == PIPELINED {
        let asker = server.join("asker").await?;
        let (lag, caught_up) = searchable::catch_up(&asker, begun).await?;
        let about = About::new(Section::Rate, case.0, FSYNC);
        book.note(about, "search lags by", Unit::Count, float(lag));
        book.note(about, "searchable", Unit::PerSecond, per_second(sent, caught_up));
    }
    server.kill().await
}

async fn ours(
    bench: &Bench,
    book: &mut Book,
    server: &Ours,
    system: &'static str,
    (name, publishers, way, time): Case,
) -> Result<u64> {
    let receiver = server.join("receiver").await?;
    let counter = Counter::default();
    counter.at(&receiver, "direct.*")?;
    let joining = (0..publishers).map(|number| format!("sender-{number}"));
    let joining =
        joining.map(|name| async move { ours::Publisher::to(server, &name, "agent:receiver").await });
    let publishers = try_join_all(joining).await?;
    let about = About::new(Section::Rate, name, system);
    let load = Load {
        publishers: &publishers,
        way,
        time: bench.long(time),
        counter: &counter,
    };
    load.measure(book, about, || server.processor_time()).await
}

async fn jetstream(
    bench: &Bench,
    book: &mut Book,
    (name, publishers, way, time): Case,
    sync: Sync,
) -> Result<()> {
    let server = Nats::serve(bench, sync).await?;
    let stream = JetStream::begin(&server).await?;
    let counter = Counter::default();
    let consumer = stream.consume(&counter).await?;
    let publishers = try_join_all((0..publishers).map(|_| StreamPublisher::begin(&server))).await?;
    let system = match sync {
        Sync::Usual => JETSTREAM,
        Sync::Always => JETSTREAM_ALWAYS,
    };
    let about = About::new(Section::Rate, name, system);
    let load = Load {
        publishers: &publishers,
        way,
        time: bench.long(time),
        counter: &counter,
    };
    load.measure(book, about, || server.processor_time()).await?;
    drop(consumer);
    server.kill().await
}

/// Core NATS beside: nothing is stored and nothing acknowledged.
async fn core(bench: &Bench, book: &mut Book) -> Result<()> {
    let server = Nats::serve(bench, Sync::Usual).await?;
    let counter = Counter::default();
    let subscriber = nats::Subscriber::begin(&server, "receiver", &counter).await?;
    let publisher = nats::Publisher::to(&server, "receiver").await?;
    let begun = Instant::now();
    // A number and not a time, so that what waits for the subscriber has a bound.
    let sent = pipelined(&publisher, |sent| sent < bench.many(200_000) as u64).await?;
    counter.wait_for(sent).await?;
    let about = About::new(Section::Rate, PIPELINED, NATS);
    book.note(
        about,
        "messages",
        Unit::PerSecond,
        per_second(sent, begun.elapsed()),
    );
    drop(subscriber);
    server.kill().await
}

/// What is done to a server.
struct Load<'a, P> {
    publishers: &'a [P],
    way: Way,
    time: Duration,
    /// Counts what is handled.
    counter: &'a Counter,
}

impl<P: Publishes> Load<'_, P> {
    /// Publishes for a time, and waits until everything is acknowledged and handled; how many.
    async fn measure(
        &self,
        book: &mut Book,
        about: About<'_>,
        of_server: impl Fn() -> Result<Duration>,
    ) -> Result<u64> {
        let of_both = || anyhow::Ok([of_server()?, processor::time_of("self")?]);
        let before = of_both()?;
        let begun = Instant::now();
        let until = begun + self.time;
        let sent: u64 = match self.way {
            Way::OneAtATime => {
                let all = self.publishers.iter().map(|one| one_at_a_time(one, until));
                try_join_all(all).await?.iter().sum()
            }
            Way::Pipelined => {
                let go_on = |_| Instant::now() < until;
                let all = self.publishers.iter().map(|one| pipelined(one, go_on));
                try_join_all(all).await?.iter().sum()
            }
        };
        self.counter.wait_for(sent).await?;
        book.note(
            about,
            "messages",
            Unit::PerSecond,
            per_second(sent, begun.elapsed()),
        );
        for ((measure, after), before) in ["server's processor", "clients' processor"]
            .into_iter()
            .zip(of_both()?)
            .zip(before)
        {
            let each = micros(after.saturating_sub(before)) / float(sent.max(1));
            book.note(about, measure, Unit::Micros, each);
        }
        Ok(sent)
    }
}
