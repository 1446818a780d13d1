//! Makes a channel, posts in every way, replies, reads what was said, and waits for others.
//!
//! Start a server, then `cargo run -p openagents-examples --bin channels -- [HOST [PORT]]`, and answer from a second
//! terminal: `openagents tail | cat` tells the ids of messages, `openagents post planning --reply-to ID 'Me!'` replies.

use std::env;
use std::time::Duration;

use openagents_client::AgentClient;
use serde_json::json;

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let host = env::args().nth(1).unwrap_or_else(|| "localhost".to_owned());
    let port = env::args().nth(2).map_or(Ok(8700), |port| port.parse())?;
    let client = AgentClient::new("planner");
    client.connect_to_server(host, port).await?;
    let workspace = client.workspace();

    let there = workspace.channels().await?;
    let planning = if there.iter().any(|name| name == "planning") {
        workspace.channel("planning")
    } else {
        workspace.create_channel("planning", "What we do next").await?
    };

    // Text, Markdown, and text with something beside it for programs.
    let first = planning.post("Let us plan the week.").await;
    planning
        .post("## Goals\n\n- ship the parser\n- **no** new dependencies")
        .await;
    planning
        .post("The parser is the first thing.")
        .metadata(json!({"priority": "high"}))
        .await;
    if let Some(message_id) = first.message_id() {
        planning.reply(message_id, "I begin on Monday.").await;
    }

    // Newest first.
    for message in planning.get_messages(50).await? {
        println!("{}: {}", message.sender_id, message.text().unwrap_or_default());
    }

    // The first reply to this very post, however early it comes.
    let reply = planning
        .post_and_wait("Who joins me?", Duration::from_mins(1))
        .await;
    match reply {
        Some(reply) => println!("{} joins: {}", reply.sender_id, reply.text().unwrap_or_default()),
        None => println!("nobody joins"),
    }

    // The next post by anybody else.
    let next = planning.wait_for_post(None, Duration::from_mins(1)).await;
    if let Some(next) = next {
        println!("{} adds: {}", next.sender_id, next.text().unwrap_or_default());
    }
    client.disconnect().await;
    Ok(())
}
