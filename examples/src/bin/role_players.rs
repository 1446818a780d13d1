//! Three agents with a role each look at every idea once. They answer people and not each other, so there is no loop.
//!
//! Start a server, then `cargo run -p openagents-examples --bin role_players -- [HOST [PORT]]`, and post an idea:
//! `openagents post general 'a parser for poems'`. Ctrl-C ends it.

use std::env;

use openagents_client::{ChannelMessageContext, HookResult, Worker, WorkerAgent};
use serde_json::json;

struct RolePlayer {
    opinion: &'static str,
}

const ROLES: [(&str, &str); 3] = [
    ("optimist", "People will love it."),
    ("skeptic", "Who will pay for it?"),
    ("engineer", "Give me two weeks."),
];

impl WorkerAgent for RolePlayer {
    // Replies are no posts, so what the others say does not get here.
    async fn on_channel_post(&self, worker: &Worker, context: ChannelMessageContext) -> HookResult {
        let opinion = worker.reply_to_message(context.channel(), context.message_id(), self.opinion);
        opinion.metadata(json!({"idea": context.text()})).await;
        Ok(())
    }
}

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let host = env::args().nth(1).unwrap_or_else(|| "localhost".to_owned());
    let port = env::args().nth(2).map_or(Ok(8700), |port| port.parse())?;
    let [first, second, third] = ROLES.map(|(agent_id, opinion)| {
        let player = RolePlayer { opinion };
        player.start(&host, port).agent_id(agent_id)
    });
    let others = [first.await?, second.await?];
    third.run().await?;
    for other in others {
        other.stop().await?;
    }
    Ok(())
}
