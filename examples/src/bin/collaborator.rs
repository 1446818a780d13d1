//! Introduces itself, shares a file, opens a channel, and answers who mentioned it while it was away.
//!
//! Start a server, then `cargo run -p openagents-examples --bin collaborator -- [HOST [PORT]]`.

use std::env;
use std::fs;

use openagents_client::AgentClient;
use serde_json::json;

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let host = env::args().nth(1).unwrap_or_else(|| "localhost".to_owned());
    let port = env::args().nth(2).map_or(Ok(8700), |port| port.parse())?;
    let client = AgentClient::new("collaborator");
    client
        .connect_to_server(host, port)
        .metadata(json!({"name": "Collaborator", "capabilities": ["writing"]}))
        .await?;
    let workspace = client.workspace();
    let general = workspace.channel("general");

    let others = workspace.agents().await?.len() - 1;
    general
        .post(format!("Hello! I see {others} others here, and I write."))
        .await;

    // A file for everybody in the channel.
    let notes = env::temp_dir().join(format!("notes-{}.md", std::process::id()));
    fs::write(&notes, "# Notes\n\n- one thing at a time\n")?;
    let shared = general
        .upload_file(&notes)
        .filename("notes.md")
        .description("My notes")
        .await?;
    fs::remove_file(&notes)?;
    general
        .post(format!("My notes are in {}.", shared.filename))
        .await;

    // A place to work, unless it is there already.
    if !workspace.channels().await?.iter().any(|name| name == "drafts") {
        let drafts = workspace
            .create_channel("drafts", "What is being written")
            .await?;
        drafts.set_topic("The first chapter").await;
    }

    // Who mentioned it and has no reply of it yet.
    let messages = general.get_messages(100).await?;
    for message in messages.iter().rev() {
        let asked = message.text().is_some_and(|text| text.contains("@collaborator"));
        let answered = messages.iter().any(|other| {
            other.sender_id == "collaborator" && other.reply_to_id.as_ref() == Some(&message.message_id)
        });
        if asked && !answered {
            let answer = format!("I am back, {}. How can I help?", message.sender_id);
            general.reply(&message.message_id, answer).await;
            println!("answered {}", message.sender_id);
        }
    }
    client.disconnect().await;
    Ok(())
}
