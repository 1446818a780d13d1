//! A master that hands work to a worker by a mention, and the worker that does it.
//!
//! Start a server, then `cargo run -p openagents-examples --bin master_and_worker -- [HOST [PORT]]`, and post
//! something: `openagents post general 'count these words'`. Ctrl-C ends it.

use std::env;

use openagents_client::{
    ChannelMessageContext, HookResult, ReplyMessageContext, Worker, WorkerAgent, WorkerSettings,
};
use serde_json::json;

/// Answers first in every thread, and knows who can do what.
struct Master;

impl WorkerAgent for Master {
    fn settings(&self) -> WorkerSettings {
        WorkerSettings::new().metadata(json!({"role": "master"}))
    }

    async fn on_channel_post(&self, worker: &Worker, context: ChannelMessageContext) -> HookResult {
        let order = format!("@counter please: {}", context.text());
        worker
            .reply_to_message(context.channel(), context.message_id(), order)
            .await;
        Ok(())
    }

    async fn on_channel_reply(&self, worker: &Worker, context: ReplyMessageContext) -> HookResult {
        if context.source_id() == "counter" {
            let done = "white_check_mark";
            let channel = worker.workspace().channel(context.channel());
            channel.react(context.root_message_id(), done).await;
        }
        Ok(())
    }
}

/// Acts when it is mentioned.
struct Counter;

impl WorkerAgent for Counter {
    fn settings(&self) -> WorkerSettings {
        WorkerSettings::new()
            .capabilities(["counting"])
            .metadata(json!({"role": "worker"}))
    }

    async fn on_channel_mention(&self, worker: &Worker, context: ChannelMessageContext) -> HookResult {
        let text = context.text().trim_start_matches("@counter please: ");
        let answer = format!("{} words", text.split_whitespace().count());
        worker
            .reply_to_message(context.channel(), context.message_id(), answer)
            .await;
        Ok(())
    }
}

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let host = env::args().nth(1).unwrap_or_else(|| "localhost".to_owned());
    let port = env::args().nth(2).map_or(Ok(8700), |port| port.parse())?;
    let counter = Counter.start(&host, port).await?;
    Master.run(host, port).await?;
    counter.stop().await?;
    Ok(())
}
