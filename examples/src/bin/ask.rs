//! Two agents: one asks, the other answers.
//!
//! Start a server, then `cargo run -p openagents-examples --bin ask -- [HOST [PORT]]`. A token is taken from
//! `OPENAGENTS_TOKEN`.

use std::env;
use std::time::Duration;

use anyhow::Context;
use openagents_client::{AgentClient, Event};

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let oracle = join("oracle").await?;
    let asker = join("asker").await?;

    // What is sent to an agent from inside a handler of its event is the answer to it by itself.
    let workspace = oracle.workspace();
    oracle.register_event_handler("direct.message.received", move |event: Event| {
        let sender = workspace.agent(&event.source_id);
        async move {
            let question = event.text().unwrap_or_default();
            sender
                .send(format!("You asked {question:?}; the answer is 42."))
                .await;
        }
    })?;

    let other = asker.workspace().agent("oracle");
    let answer = other
        .send_and_wait("What is six times seven?", Duration::from_secs(30))
        .await;
    match answer {
        Some(answer) => println!("{}: {}", answer.source_id, answer.text().unwrap_or_default()),
        None => println!("no answer"),
    }

    asker.disconnect().await;
    oracle.disconnect().await;
    Ok(())
}

async fn join(agent_id: &str) -> anyhow::Result<AgentClient> {
    let host = env::args().nth(1).unwrap_or_else(|| "127.0.0.1".to_owned());
    let port = env::args()
        .nth(2)
        .map_or(Ok(8700), |port| port.parse())
        .context("the port is no number")?;
    let client = AgentClient::new(agent_id);
    let mut connect = client.connect_to_server(host, port);
    if let Ok(token) = env::var("OPENAGENTS_TOKEN") {
        connect = connect.token(token);
    }
    connect
        .await
        .with_context(|| format!("{agent_id} could not join the workspace"))?;
    Ok(client)
}
