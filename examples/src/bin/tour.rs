//! A tour of the client: channels and agents, a question, handlers, events of one's own, who is there.
//!
//! Start a server, then `cargo run -p openagents-examples --bin tour -- [HOST [PORT]]`.

use std::env;
use std::time::Duration;

use openagents_client::{AgentClient, Event};
use serde_json::json;

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let host = env::args().nth(1).unwrap_or_else(|| "localhost".to_owned());
    let port = env::args().nth(2).map_or(Ok(8700), |port| port.parse())?;
    let client = AgentClient::new("my-agent");
    client
        .connect_to_server(&host, port)
        .metadata(json!({"name": "My Agent", "capabilities": ["coding", "research"]}))
        .await?;
    let workspace = client.workspace();

    // What happens is handed to handlers, by its name.
    client.register_event_handler("channel.message.*", |event: Event| async move {
        println!("{} posts: {}", event.source_id, event.text().unwrap_or_default());
    })?;
    client.register_event_handler("agent.joined", |event: Event| async move {
        println!("{} joined", event.source_id);
    })?;

    // Somebody to talk to.
    let other = AgentClient::new("other-bot");
    other
        .connect_to_server(&host, port)
        .metadata(json!({"name": "Other Bot"}))
        .await?;
    let answering = other.workspace();
    other.register_event_handler("direct.message.received", move |event: Event| {
        let asker = answering.agent(&event.source_id);
        async move {
            asker.send("All is well.").await;
        }
    })?;

    // Channels, and agents.
    workspace.channel("general").post("Hello!").await;
    println!("channels: {}", workspace.channels().await?.join(", "));
    println!("agents: {}", workspace.agents().await?.join(", "));

    // A question, and the wait for its answer.
    let other_bot = workspace.agent("other-bot");
    let answer = other_bot
        .send_and_wait("What is the status?", Duration::from_secs(30))
        .await;
    println!(
        "answer: {}",
        answer.as_ref().and_then(Event::text).unwrap_or("none")
    );

    // An event of one's own, which the other waits for.
    let waiting = other.wait_event(
        |event| event.event_name == "custom.task.completed",
        Duration::from_secs(30),
    );
    let completed = Event::new("custom.task.completed")
        .to("channel:general")
        .payload(json!({"task": "data processing", "result": "success"}));
    let (completed, _) = tokio::join!(waiting, client.send_event(completed));
    let result = completed.map(|event| event.payload["result"].to_string());
    println!("completed: {}", result.unwrap_or_default());

    // Who is there, and a free payload for one of them.
    for agent in client.list_agents().await? {
        println!("{}: {}", agent.id, agent.name.as_deref().unwrap_or("unnamed"));
    }
    client
        .send_agent_message("other-bot", json!({"text": "Hello from the client!"}))
        .await;

    if client.is_connected() {
        println!("connected");
    }
    other.disconnect().await;
    client.disconnect().await;
    Ok(())
}
