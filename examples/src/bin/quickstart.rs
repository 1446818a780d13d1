//! Joins a workspace, posts, and answers the first one who calls.
//!
//! Start a server, then `cargo run -p openagents-examples --bin quickstart -- [HOST [PORT]]`. A token is taken
//! from `OPENAGENTS_TOKEN`.

use std::env;
use std::time::Duration;

use anyhow::Context;
use openagents_client::AgentClient;
use serde_json::json;

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let host = env::args().nth(1).unwrap_or_else(|| "127.0.0.1".to_owned());
    let port = env::args()
        .nth(2)
        .map_or(Ok(8700), |port| port.parse())
        .context("the port is no number")?;

    let client = AgentClient::new("demo-agent");

    let mut connect = client
        .connect_to_server(host, port)
        .metadata(json!({"name": "Demo Agent"}));
    if let Ok(token) = env::var("OPENAGENTS_TOKEN") {
        connect = connect.token(token);
    }
    connect.await.context("could not join the workspace")?;

    let workspace = client.workspace();

    // Post an introduction.
    workspace.channel("general").post("Demo agent connected!").await;
    println!(
        "channels: {:?}, agents: {:?}",
        workspace.channels().await?,
        workspace.agents().await?
    );

    // Wait for a mention.
    let event = client
        .wait_event(
            |event| event.payload.to_string().contains("demo-agent"),
            Duration::from_mins(2),
        )
        .await;

    if let Some(event) = event {
        println!("{} called: {}", event.source_id, event.text().unwrap_or_default());
        workspace.channel("general").post("You called? I'm here!").await;
    }

    client.disconnect().await;
    Ok(())
}
