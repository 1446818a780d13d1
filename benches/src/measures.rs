//! What is measured, a module for each section.

mod catch_up;
pub(crate) mod crowd;
pub(crate) mod fanout;
mod file;
mod growth;
pub(crate) mod latency;
mod million;
mod parts;
pub(crate) mod posts;
mod python;
mod question;
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
#[serde(rename_all = "kebab-case")]
pub(crate) enum Section {
    /// One direct message after the other
    Latency,
    /// Questions and answers
    Question,
    /// Messages a second that are stored, acknowledged and delivered
    Rate,
    /// What a message costs part by part
    Parts,
    /// Posts to many agents
    Fanout,
    /// An agent that comes back to what it missed
    CatchUp,
    /// A million messages: pages, searches, starting with them
    Million,
    /// Ten thousand connected agents
    Crowd,
    /// What a message costs in larger workspaces
    Growth,
    /// Posts of the 0.9 interface
    Posts,
    /// The official client at both servers
    OfficialClient,
    /// Our Python package and the official one
    Python,
    /// A large file
    File,
}

impl Section {
    pub(crate) const ALL: [Self; 13] = [
        Self::Latency,
        Self::Question,
        Self::Rate,
        Self::Parts,
        Self::Fanout,
        Self::CatchUp,
        Self::Million,
        Self::Crowd,
        Self::Growth,
        Self::Posts,
        Self::OfficialClient,
        Self::Python,
        Self::File,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Question => "question",
            Self::Rate => "rate",
            Self::Parts => "parts",
            Self::Fanout => "fanout",
            Self::CatchUp => "catch-up",
            Self::Million => "million",
            Self::Crowd => "crowd",
            Self::Growth => "growth",
            Self::Posts => "posts",
            Self::OfficialClient => "official-client",
            Self::Python => "python",
            Self::File => "file",
        }
    }

    /// The system that the others of its table are compared with.
    pub(crate) const fn beside(self) -> Option<&'static str> {
        match self {
            Self::Latency | Self::Question | Self::Fanout | Self::Crowd => Some(NATS),
            Self::Rate | Self::CatchUp => Some(JETSTREAM),
            Self::Parts | Self::Million | Self::Growth | Self::File => None,
            Self::Posts | Self::OfficialClient => Some(OFFICIAL),
            Self::Python => Some(OFFICIAL_PYTHON),
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
pub(crate) const OFFICIAL: &str = "official server";
pub(crate) const OUR_PYTHON: &str = "our package, our server";
pub(crate) const OFFICIAL_PYTHON: &str = "official package and server";
pub(crate) const ECHO: &str = "WebSocket echo, both ways";
pub(crate) const COMMIT: &str = "our engine, a bare commit";
pub(crate) const SYNC: &str = "the disk, a bare fdatasync";

/// Measures a section, and notes what was found.
pub(crate) async fn measure(section: Section, bench: &Bench, book: &mut Book) -> Result<()> {
    match section {
        Section::Latency => Box::pin(latency::measure(bench, book)).await,
        Section::Question => Box::pin(question::measure(bench, book)).await,
        Section::Rate => Box::pin(rate::measure(bench, book)).await,
        Section::Parts => Box::pin(parts::measure(bench, book)).await,
        Section::Fanout => Box::pin(fanout::measure(bench, book)).await,
        Section::CatchUp => Box::pin(catch_up::measure(bench, book)).await,
        Section::Million => Box::pin(million::measure(bench, book)).await,
        Section::Crowd => Box::pin(crowd::measure(bench, book)).await,
        Section::Growth => Box::pin(growth::measure(bench, book)).await,
        Section::Posts => Box::pin(posts::measure(bench, book)).await,
        Section::OfficialClient => Box::pin(posts::measure_client(bench, book)).await,
        Section::Python => Box::pin(python::measure(bench, book)).await,
        Section::File => Box::pin(file::measure(bench, book)).await,
    }
}
