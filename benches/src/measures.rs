//! What is measured, a module for each section.

pub(crate) mod fanout;
pub(crate) mod latency;
pub(crate) mod question;
pub(crate) mod rate;
mod searchable;

use std::fmt;

use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::bench::Bench;
use crate::book::Book;

/// A part of the measurements that can be run alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Section {
    /// One direct message after the other
    Latency,
    /// Questions and answers
    Question,
    /// Messages a second that are stored, acknowledged and delivered
    Rate,
    /// Posts to many agents
    Fanout,
}

impl Section {
    pub(crate) const ALL: [Self; 4] = [Self::Latency, Self::Question, Self::Rate, Self::Fanout];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Question => "question",
            Self::Rate => "rate",
            Self::Fanout => "fanout",
        }
    }

    /// The system that the others of its tables are compared with.
    pub(crate) const fn beside(self) -> &'static str {
        match self {
            Self::Latency | Self::Question | Self::Fanout => NATS,
            Self::Rate => JETSTREAM,
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// The names of the systems, as the tables have them.
pub(crate) const MEMORY: &str = "ours, memory";
pub(crate) const FSYNC: &str = "ours, fsync";
pub(crate) const NATS: &str = "NATS core";
pub(crate) const JETSTREAM: &str = "JetStream";
pub(crate) const JETSTREAM_ALWAYS: &str = "JetStream, sync always";
pub(crate) const ECHO: &str = "WebSocket echo, both ways";
pub(crate) const COMMIT: &str = "our engine, a bare commit";
pub(crate) const SYNC: &str = "the disk, a bare fdatasync";

/// Measures a section, and notes what was found.
pub(crate) async fn measure(section: Section, bench: &Bench, book: &mut Book) -> Result<()> {
    match section {
        Section::Latency => Box::pin(latency::measure(bench, book)).await,
        Section::Question => Box::pin(question::measure(bench, book)).await,
        Section::Rate => Box::pin(rate::measure(bench, book)).await,
        Section::Fanout => Box::pin(fanout::measure(bench, book)).await,
    }
}
