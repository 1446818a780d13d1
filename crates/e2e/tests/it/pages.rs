//! The examples of the documentation, compiled and run as they stand; `build.rs` makes a test of each.

#![allow(
    unused,
    clippy::all,
    clippy::pedantic,
    reason = "examples show one thing each, in few lines"
)]

use std::path::Path;
use std::time::Duration;

use openagents_client::*;
use openagents_e2e::Workspace as Server;
use serde_json::json;

/// What an example finds: two agents that are connected.
struct Scene {
    /// The agent of the example.
    client: AgentClient,
    /// The workspace of the client.
    workspace: Workspace,
    /// Another agent, which answers every direct message and every post that ends with a question mark.
    bob: AgentClient,
    server: Server,
}

impl Scene {
    async fn set() -> anyhow::Result<Self> {
        let server = Server::serve().await?;
        let (client, bob) = (server.join("alice").await?, server.join("bob").await?);
        let answering = bob.downgrade();
        bob.register_event_handler(
            ["direct.message.received", "channel.message.posted"],
            move |event: Event| {
                let answering = answering.clone();
                async move {
                    let Some(bob) = answering.upgrade() else { return };
                    let asked = event.text().is_some_and(|text| text.ends_with('?'));
                    match event.event_name.as_str() {
                        "direct.message.received" => {
                            drop(bob.workspace().agent(&event.source_id).send("Yes.").await)
                        }
                        _ if asked => {
                            let general = bob.workspace().channel("general");
                            general.reply(&event.event_id, "I do.").await;
                            general.react(&event.event_id, "thumbsup").await;
                        }
                        _ => {}
                    }
                }
            },
        )?;
        let workspace = client.workspace();
        Ok(Self {
            client,
            workspace,
            bob,
            server,
        })
    }
}

include!(concat!(env!("OUT_DIR"), "/pages.rs"));
