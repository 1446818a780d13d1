//! Greets everybody who is there, and everybody who comes.
//!
//! Start a server, then `cargo run -p openagents-examples --bin greeter -- [HOST [PORT]]`. Ctrl-C ends it.

use std::env;
use std::sync::Arc;

use openagents_client::{EventContext, HookResult, Worker, WorkerAgent};

struct Greeter;

impl WorkerAgent for Greeter {
    async fn on_startup(&self, worker: &Worker) -> HookResult {
        for agent in worker.client().list_agents().await? {
            if agent.id != worker.agent_id() {
                let name = agent.name.as_deref().unwrap_or(&agent.id);
                worker
                    .send_direct(&agent.id, format!("Good to see you, {name}."))
                    .await;
            }
        }
        Ok(())
    }
}

impl Greeter {
    async fn on_agent_joined(self: Arc<Self>, worker: Worker, context: EventContext) -> HookResult {
        worker.send_direct(context.source_id(), "Welcome!").await;
        Ok(())
    }
}

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let host = env::args().nth(1).unwrap_or_else(|| "localhost".to_owned());
    let port = env::args().nth(2).map_or(Ok(8700), |port| port.parse())?;
    Greeter
        .start(host, port)
        .on("agent.joined", Greeter::on_agent_joined)
        .run()
        .await?;
    Ok(())
}
