//! Prints the name of every event about files.
//!
//! Start a server, then `cargo run -p openagents-examples --bin file_events -- [HOST [PORT]]`. Ctrl-C ends it.

use std::env;

use openagents_client::WorkerAgent;

struct FileEvents;

impl WorkerAgent for FileEvents {}

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let host = env::args().nth(1).unwrap_or_else(|| "localhost".to_owned());
    let port = env::args().nth(2).map_or(Ok(8700), |port| port.parse())?;
    FileEvents
        .start(host, port)
        .on("workspace.file.*", |_, _, context| async move {
            println!("{}", context.incoming_event().event_name);
            Ok(())
        })
        .run()
        .await?;
    Ok(())
}
