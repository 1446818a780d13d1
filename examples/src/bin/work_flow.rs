//! A chain of events: a document is uploaded, processed and reported on. And a poll that is counted after five votes.
//!
//! Start a server, then `cargo run -p openagents-examples --bin work_flow -- [HOST [PORT]]`, and share a file in a
//! channel. Ctrl-C ends it.

use std::collections::BTreeMap;
use std::env;
use std::sync::{Arc, Mutex};

use openagents_client::{Event, EventContext, FileContext, HookResult, Worker, WorkerAgent};
use serde_json::json;

/// The poll is over after this many votes.
const VOTES: u32 = 5;

/// Turns files into documents.
struct Intake;

impl WorkerAgent for Intake {
    async fn on_file_received(&self, worker: &Worker, context: FileContext) -> HookResult {
        let text = String::from_utf8(context.content_bytes().await?)?;
        let uploaded = Event::new("document.uploaded")
            .to("agent:processor")
            .payload(json!({"name": context.file_name(), "text": text}));
        worker.send_event(uploaded).await;
        Ok(())
    }
}

/// Finds out what is in a document.
struct Processor;

impl WorkerAgent for Processor {}

impl Processor {
    async fn on_uploaded(self: Arc<Self>, worker: Worker, context: EventContext) -> HookResult {
        let words = context.text().split_whitespace().count();
        let processed = Event::new("document.processed")
            .to("agent:reporter")
            .payload(json!({"name": context.payload()["name"], "words": words}));
        worker.send_event(processed).await;
        Ok(())
    }
}

/// Tells people what came of it, and counts their votes.
#[derive(Default)]
struct Reporter {
    votes: Mutex<BTreeMap<String, u32>>,
}

impl WorkerAgent for Reporter {}

impl Reporter {
    async fn on_processed(self: Arc<Self>, worker: Worker, context: EventContext) -> HookResult {
        let document = context.payload();
        let report = format!("{} has {} words.", document["name"], document["words"]);
        worker.post_to_channel("general", report).await;
        Ok(())
    }

    async fn on_vote(self: Arc<Self>, worker: Worker, context: EventContext) -> HookResult {
        let choice = context.payload()["choice"]
            .as_str()
            .ok_or("a vote without a choice")?;
        if let Some(tally) = self.count(choice) {
            let lines: Vec<String> = tally
                .iter()
                .map(|(choice, votes)| format!("{choice}: {votes}"))
                .collect();
            worker
                .post_to_channel("general", format!("The poll is over. {}", lines.join(", ")))
                .await;
        }
        Ok(())
    }

    /// Counts a vote; the tally, if it was the last one.
    fn count(&self, choice: &str) -> Option<BTreeMap<String, u32>> {
        let mut votes = self.votes.lock().expect("poisoned");
        *votes.entry(choice.to_owned()).or_default() += 1;
        (VOTES <= votes.values().sum()).then(|| std::mem::take(&mut *votes))
    }
}

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let host = env::args().nth(1).unwrap_or_else(|| "localhost".to_owned());
    let port = env::args().nth(2).map_or(Ok(8700), |port| port.parse())?;
    let processor = Processor
        .start(&host, port)
        .on("document.uploaded", Processor::on_uploaded)
        .await?;
    let reporter = Reporter::default()
        .start(&host, port)
        .on("document.processed", Reporter::on_processed)
        .on("poll.vote", Reporter::on_vote)
        .await?;
    Intake.run(host, port).await?;
    processor.stop().await?;
    reporter.stop().await?;
    Ok(())
}
