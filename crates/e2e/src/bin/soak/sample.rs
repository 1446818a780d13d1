//! What a server takes, measured from outside.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use openagents_e2e::Peer;

use crate::trend::Trend;

/// The measurements of a server at a moment, and of the time since the last one.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// What was measured, in the order of [`MEASURES`].
    values: [f64; MEASURES.len()],
}

/// One measure.
struct Measure {
    name: &'static str,
    rule: Rule,
}

/// What a measure may do in the long run.
#[derive(Clone, Copy)]
enum Rule {
    /// Rise by this part of its average, and by so much at least.
    Flat(f64, f64),
    /// Be anything up to this.
    AtMost(f64),
    /// Grow with what is said.
    Grow,
}

const fn flat(name: &'static str, part: f64, least: f64) -> Measure {
    let rule = Rule::Flat(part, least);
    Measure { name, rule }
}

const fn growing(name: &'static str) -> Measure {
    let rule = Rule::Grow;
    Measure { name, rule }
}

/// The threads that a server may have beside one for each core: those for the disk, of which it keeps as many as it
/// once needed, and a few of its own.
const THREADS: Measure = Measure {
    name: "threads",
    rule: Rule::AtMost(64.0),
};

/// Sizes are in KiB, times in milliseconds.
const MEASURES: [Measure; 9] = [
    growing("events"),
    flat("memory", 0.1, 4096.0),
    flat("descriptors", 0.1, 4.0),
    THREADS,
    flat("wal", 0.25, 4096.0),
    growing("database"),
    growing("files"),
    flat("p50", 0.25, 2.0),
    flat("p99", 0.5, 20.0),
];

impl Sample {
    /// Measures a server; `waits` are the times that posts took since the last sample.
    pub(crate) fn take(
        server: &Peer,
        data: &Path,
        events: u64,
        mut waits: Vec<Duration>,
    ) -> anyhow::Result<Self> {
        let process = format!("/proc/{}", server.id().context("the server has ended")?);
        let count = |what: &str| anyhow::Ok(fs::read_dir(format!("{process}/{what}"))?.count());
        waits.sort_unstable();
        let (mut wal, mut database, mut files) = (0, 0, 0);
        for (path, length) in sizes(data)? {
            match path.rsplit_once('.').map_or("", |(_, ending)| ending) {
                "db-wal" => wal += length,
                "db" => database += length,
                "db-shm" => {}
                _ => files += length,
            }
        }
        Ok(Self {
            values: [
                number(events),
                number(server.memory_kib()?),
                number(count("fd")? as u64),
                number(count("task")? as u64),
                number(wal / 1024),
                number(database / 1024),
                number(files / 1024),
                percentile(&waits, 50),
                percentile(&waits, 99),
            ],
        })
    }

    /// The names of the measures, as the head of a table.
    pub(crate) fn head() -> String {
        MEASURES.map(|measure| format!("{:>12}", measure.name)).concat()
    }

    /// A row of the table.
    pub(crate) fn row(&self) -> String {
        self.values.map(|value| format!("{value:>12.1}")).concat()
    }

    /// A line for every measure, and whether it broke its rule.
    pub(crate) fn judge(samples: &[Self]) -> Vec<(String, bool)> {
        let judged = MEASURES.iter().enumerate().filter_map(|(index, measure)| {
            let series: Vec<f64> = samples.iter().map(|sample| sample.values[index]).collect();
            let trend = Trend::of(&series)?;
            let Trend { mean, rise, error } = trend;
            let most = series.iter().copied().fold(0.0, f64::max);
            let (verdict, holds) = match measure.rule {
                Rule::Flat(part, least) if trend.rises(part, least) => ("RISES", false),
                Rule::Flat(..) => ("flat", true),
                Rule::AtMost(limit) if limit < most => ("TOO MANY", false),
                Rule::AtMost(_) => ("within its bound", true),
                Rule::Grow => ("grows with what is said", true),
            };
            let line = format!(
                "{:<12} mean {mean:.1}, rise {rise:+.1} ± {error:.1}: {verdict}",
                measure.name
            );
            Some((line, !holds))
        });
        judged.collect()
    }

    /// Bytes of databases for each event between two samples.
    pub(crate) fn bytes_per_event(&self, later: &Self) -> f64 {
        let grown = |index: usize| later.values[index] - self.values[index];
        1024.0 * grown(5) / grown(0).max(1.0)
    }
}

/// Every file below a folder, with its length. What vanishes meanwhile counts as nothing.
fn sizes(folder: &Path) -> anyhow::Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => found.extend(sizes(&path).unwrap_or_default()),
            Ok(metadata) => found.push((path.to_string_lossy().into_owned(), metadata.len())),
            Err(_) => {}
        }
    }
    Ok(found)
}

/// Of ascending times, in milliseconds; 0 of none.
fn percentile(waits: &[Duration], percent: usize) -> f64 {
    let place = (waits.len() * percent / 100).min(waits.len().saturating_sub(1));
    waits.get(place).map_or(0.0, |wait| wait.as_secs_f64() * 1000.0)
}

#[expect(clippy::cast_precision_loss, reason = "a table shows a few digits")]
fn number(count: u64) -> f64 {
    count as f64
}
