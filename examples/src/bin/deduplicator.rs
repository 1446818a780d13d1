//! Does something once for every message, however often it comes.
//!
//! Events are delivered at least once: a program that is killed may get the last ones again when it returns. What must
//! not happen twice is written down together with the id of the event.
//!
//! Start a server, then `cargo run -p openagents-examples --bin deduplicator -- [HOST [PORT [FILE]]]`. Ctrl-C ends it.

use std::collections::HashSet;
use std::env;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::sync::Mutex;

use openagents_client::{ChannelMessageContext, HookResult, Worker, WorkerAgent};

struct Deduplicator(Mutex<Ledger>);

/// A line for every message: its id, and what came of it.
struct Ledger {
    file: File,
    known: HashSet<String>,
}

impl Ledger {
    fn open(path: &str) -> anyhow::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(path)?;
        let mut known = HashSet::new();
        for line in BufReader::new(&file).lines() {
            known.extend(line?.split_whitespace().next().map(str::to_owned));
        }
        Ok(Self { file, known })
    }

    /// Whether this is the first time; then it is written down.
    fn note(&mut self, event_id: &str, words: usize) -> std::io::Result<bool> {
        if self.known.contains(event_id) {
            return Ok(false);
        }
        writeln!(self.file, "{event_id} {words} words")?;
        self.file.sync_data()?;
        Ok(self.known.insert(event_id.to_owned()))
    }
}

impl WorkerAgent for Deduplicator {
    async fn on_channel_post(&self, _: &Worker, context: ChannelMessageContext) -> HookResult {
        let event = context.incoming_event();
        let words = context.text().split_whitespace().count();
        if self.0.lock().expect("poisoned").note(&event.event_id, words)? {
            println!("counted {}", event.event_id);
        } else {
            println!("known {}", event.event_id);
        }
        Ok(())
    }
}

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let host = env::args().nth(1).unwrap_or_else(|| "localhost".to_owned());
    let port = env::args().nth(2).map_or(Ok(8700), |port| port.parse())?;
    let path = env::args().nth(3).unwrap_or_else(|| "counted.txt".to_owned());
    Deduplicator(Mutex::new(Ledger::open(&path)?))
        .run(host, port)
        .await?;
    Ok(())
}
