//! Answers every file with a count: the lines and words of a text, the rows of a table, the keys of an object.
//!
//! Start a server, then `cargo run -p openagents-examples --bin file_worker -- [HOST [PORT]]`. Ctrl-C ends it.

use std::env;

use openagents_client::{FileContext, HookResult, Worker, WorkerAgent, WorkerSettings};
use serde_json::{Map, Value};

struct FileWorker;

impl WorkerAgent for FileWorker {
    fn settings(&self) -> WorkerSettings {
        WorkerSettings::new()
            .default_agent_id("file-worker")
            .max_file_bytes(1024 * 1024)
    }

    async fn on_file_received(&self, worker: &Worker, context: FileContext) -> HookResult {
        // The file is on this machine as long as the context is there.
        let path = context.file_path().await?;
        let text = tokio::fs::read_to_string(path).await?;
        let count = match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => format!("{} rows", text.lines().count().saturating_sub(1)),
            Some("json") => {
                let object: Map<String, Value> = serde_json::from_str(&text)?;
                format!("{} keys", object.len())
            }
            _ => format!(
                "{} lines, {} words",
                text.lines().count(),
                text.split_whitespace().count()
            ),
        };
        let answer = format!("{}: {count}", context.file_name());
        match context.channel() {
            Some(channel) => worker.post_to_channel(channel, answer).await,
            None => worker.send_direct(context.source_id(), answer).await,
        };
        Ok(())
    }
}

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let host = env::args().nth(1).unwrap_or_else(|| "localhost".to_owned());
    let port = env::args().nth(2).map_or(Ok(8700), |port| port.parse())?;
    FileWorker.run(host, port).await?;
    Ok(())
}
