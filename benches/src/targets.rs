//! What is wanted, and whether it was measured.

use std::fmt::Write as _;

use serde::Serialize;

use crate::book::{Book, Figure};
use crate::measures::{
    COMMIT, FSYNC, JETSTREAM, MEMORY, NATS, OFFICIAL, Section, crowd, fanout, latency, posts, rate,
};
use crate::peers::legacy::Transport;
use crate::statistics::median;
use crate::table::number;

/// One promise to hold.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    what: &'static str,
    wanted: Bound,
    /// What was measured.
    measured: f64,
    unit: &'static str,
    met: bool,
}

/// On which side of a number the good values are.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    fn new(what: &'static str, wanted: Bound, measured: f64, unit: &'static str) -> Self {
        let met = match wanted {
            Bound::AtMost(most) => measured <= most,
            Bound::AtLeast(least) => least <= measured,
        };
        Self {
            what,
            wanted,
            measured,
            unit,
            met,
        }
    }
}

/// The targets of what was measured.
pub(crate) fn all(book: &Book) -> Vec<Target> {
    let targets = [
        latency_in_memory(book),
        latency_on_disk(book),
        rate(book),
        searchable(book),
        rate_beside_jetstream(book),
        fanout(book),
        memory(book),
        posts(book),
    ];
    targets.into_iter().flatten().collect()
}

fn latency_in_memory(book: &Book) -> Option<Target> {
    let [memory, nats] = [MEMORY, NATS].map(|system| latency_of(book, system));
    let what = "direct message at rest, p50, memory: times NATS core";
    Some(Target::new(
        what,
        Bound::AtMost(1.25),
        memory?.ratio_to(nats?),
        "×",
    ))
}

/// What it may take in memory, and one bare commit.
fn latency_on_disk(book: &Book) -> Option<Target> {
    let [fsync, nats, commit] = [FSYNC, NATS, COMMIT].map(|system| latency_of(book, system));
    let runs = nats?.runs.iter().zip(&commit?.runs);
    let most: Vec<f64> = runs.map(|(nats, commit)| 1.25 * nats + commit).collect();
    let what = "direct message at rest, p50, fsync: 1.25 times NATS core and one bare commit";
    Some(Target::new(
        what,
        Bound::AtMost(median(&most)?),
        fsync?.median(),
        "µs",
    ))
}

fn latency_of<'a>(book: &'a Book, system: &str) -> Option<&'a Figure> {
    book.figure(Section::Latency, latency::REST, system, "p50")
}

fn pipelined<'a>(book: &'a Book, system: &str, measure: &str) -> Option<&'a Figure> {
    book.figure(Section::Rate, rate::PIPELINED, system, measure)
}

fn rate(book: &Book) -> Option<Target> {
    let measured = pipelined(book, FSYNC, "messages")?.median();
    let what = "one publisher, 1,000 in flight, 256 bytes, fsync, for 10 s: acknowledged and handled";
    Some(Target::new(what, Bound::AtLeast(40_000.0), measured, "/s"))
}

fn searchable(book: &Book) -> Option<Target> {
    let measured = pipelined(book, FSYNC, "searchable")?.median();
    let what = "the same: searchable";
    Some(Target::new(what, Bound::AtLeast(15_000.0), measured, "/s"))
}

fn rate_beside_jetstream(book: &Book) -> Option<Target> {
    let [fsync, jetstream] = [FSYNC, JETSTREAM].map(|system| pipelined(book, system, "messages"));
    let what = "the same, with fsync: times JetStream without";
    Some(Target::new(
        what,
        Bound::AtLeast(1.0),
        fsync?.ratio_to(jetstream?),
        "×",
    ))
}

fn fanout(book: &Book) -> Option<Target> {
    let case = fanout::case(500);
    let deliveries = |system| book.figure(Section::Fanout, &case, system, "deliveries");
    let what = "100 posts to 500 agents, memory: deliveries a second, times NATS core";
    let ratio = deliveries(MEMORY)?.ratio_to(deliveries(NATS)?);
    Some(Target::new(what, Bound::AtLeast(0.5), ratio, "×"))
}

fn memory(book: &Book) -> Option<Target> {
    let case = crowd::case(crowd::ALL);
    let [memory, nats] =
        [MEMORY, NATS].map(|system| book.figure(Section::Crowd, &case, system, "memory of each"));
    let what = "memory of each of 10,000 idle agents: NATS and 10 KiB";
    let most = nats?.median() + 10.0;
    Some(Target::new(what, Bound::AtMost(most), memory?.median(), "KiB"))
}

fn posts(book: &Book) -> Option<Target> {
    let case = posts::case(Transport::Http, 16);
    let [fsync, official] =
        [FSYNC, OFFICIAL].map(|system| book.figure(Section::Posts, &case, system, "posts"));
    let what = "HTTP posts at 16 connections, fsync: times the official server";
    Some(Target::new(
        what,
        Bound::AtLeast(10.0),
        fsync?.ratio_to(official?),
        "×",
    ))
}

/// All of them as a table.
pub(crate) fn markdown(book: &Book) -> String {
    let targets = all(book);
    if targets.is_empty() {
        return String::new();
    }
    let mut text = "| target | wanted | measured | |\n|---|--:|--:|---|\n".to_owned();
    for target in targets {
        let (word, bound) = match target.wanted {
            Bound::AtMost(bound) => ("at most", bound),
            Bound::AtLeast(bound) => ("at least", bound),
        };
        let Target {
            what,
            measured,
            unit,
            met,
            ..
        } = target;
        let verdict = if met { "met" } else { "**missed**" };
        writeln!(
            text,
            "| {what} | {word} {} {unit} | {} {unit} | {verdict} |",
            number(bound),
            number(measured)
        )
        .expect("a string takes everything");
    }
    text
}
