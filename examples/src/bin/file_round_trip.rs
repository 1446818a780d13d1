//! Shares a report, finds it again, fetches it and compares; sends numbers to an agent that adds them up.
//!
//! Start a server, then `cargo run -p openagents-examples --bin file_round_trip -- [HOST [PORT]]`.

use std::env;
use std::fs;
use std::time::Duration;

use anyhow::{Context, ensure};
use openagents_client::{AgentClient, Event, FileContext, HookResult, Worker, WorkerAgent};

/// Adds up the numbers of the files that it is sent.
struct Adder;

impl WorkerAgent for Adder {
    async fn on_file_received(&self, worker: &Worker, context: FileContext) -> HookResult {
        if context.channel().is_none() {
            let numbers = tokio::fs::read_to_string(context.file_path().await?).await?;
            let numbers = numbers
                .split([',', '\n'])
                .filter_map(|cell| cell.trim().parse::<i64>().ok());
            let answer = format!("The sum of {} is {}.", context.file_name(), numbers.sum::<i64>());
            worker.send_direct(context.source_id(), answer).await;
        }
        Ok(())
    }
}

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let host = env::args().nth(1).unwrap_or_else(|| "localhost".to_owned());
    let port = env::args().nth(2).map_or(Ok(8700), |port| port.parse())?;
    let adder = Adder.start(&host, port).await?;
    let client = AgentClient::new("reporter");
    client.connect_to_server(host, port).await?;
    let workspace = client.workspace();

    let folder = env::temp_dir().join(format!("file-round-trip-{}", std::process::id()));
    fs::create_dir(&folder)?;
    let (report, copy, numbers) = (
        folder.join("report.md"),
        folder.join("copy.md"),
        folder.join("numbers.csv"),
    );
    fs::write(&report, "# Report\n\nAll is well.\n")?;
    fs::write(&numbers, "a,b\n1,2\n3,4\n")?;

    let shared = workspace
        .channel("general")
        .upload_file(&report)
        .description("How the week went")
        .await?;
    println!("shared {} as {}", shared.filename, shared.file_id);

    let files = workspace.list_files().await?;
    let found = files.iter().find(|file| file.file_id == shared.file_id);
    let found = found.context("the report is not in the list")?;
    println!("found {} with {} bytes", found.name, found.size);

    workspace.download_file(&found.file_id, &copy).await?;
    ensure!(fs::read(&report)? == fs::read(&copy)?, "the copy differs");
    println!("the copy is the same");

    // The wait looks back, so the answer may come before it begins.
    workspace.agent("adder").send_file(&numbers).await?;
    let answer = workspace
        .agent("adder")
        .wait_for_message(Duration::from_secs(30))
        .await;
    println!("{}", answer.as_ref().and_then(Event::text).unwrap_or("no answer"));

    fs::remove_dir_all(&folder)?;
    client.disconnect().await;
    adder.stop().await?;
    Ok(())
}
