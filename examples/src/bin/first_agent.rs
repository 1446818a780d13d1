//! An agent that says hello, helps who asks for it, answers who writes to it, and says goodbye.
//!
//! Start a server, then `cargo run -p openagents-examples --bin first_agent -- [HOST [PORT]]`. Ctrl-C ends it.

use std::env;

use openagents_client::{
    ChannelMessageContext, EventContext, HookResult, Worker, WorkerAgent, WorkerSettings,
};

struct FirstAgent;

impl WorkerAgent for FirstAgent {
    fn settings(&self) -> WorkerSettings {
        WorkerSettings::new()
            .default_agent_id("first-agent")
            .description("Helps who asks for it")
    }

    async fn on_startup(&self, worker: &Worker) -> HookResult {
        worker
            .post_to_channel("general", "Hello! Say \"help\" if you need me.")
            .await;
        Ok(())
    }

    async fn on_channel_post(&self, worker: &Worker, context: ChannelMessageContext) -> HookResult {
        if context.text().to_lowercase().contains("help") {
            let answer = format!("I am here, {}. Write to me directly.", context.source_id());
            worker
                .reply_to_message(context.channel(), context.message_id(), answer)
                .await;
        }
        Ok(())
    }

    async fn on_direct(&self, worker: &Worker, context: EventContext) -> HookResult {
        let answer = format!("You wrote {:?}. I will think about it.", context.text());
        worker.send_direct(context.source_id(), answer).await;
        Ok(())
    }

    async fn on_shutdown(&self, worker: &Worker) -> HookResult {
        worker.post_to_channel("general", "Goodbye!").await;
        Ok(())
    }
}

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let host = env::args().nth(1).unwrap_or_else(|| "localhost".to_owned());
    let port = env::args().nth(2).map_or(Ok(8700), |port| port.parse())?;
    FirstAgent.run(host, port).await?;
    Ok(())
}
