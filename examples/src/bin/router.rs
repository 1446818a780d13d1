//! A router that passes requests on by what is in them, and two agents that it passes them to. Requests and results
//! are objects, not text.
//!
//! Start a server, then `cargo run -p openagents-examples --bin router -- [HOST [PORT]]`, and ask something:
//! `openagents post general 'research the history of parsers'`. Ctrl-C ends it.

use std::env;
use std::time::Duration;

use openagents_client::{ChannelMessageContext, EventContext, HookResult, Worker, WorkerAgent};
use serde_json::json;

/// What a request begins with, and who does it.
const ROUTES: [(&str, &str); 2] = [("research", "researcher"), ("analyze", "analyst")];

struct Router;

impl WorkerAgent for Router {
    async fn on_channel_post(&self, worker: &Worker, context: ChannelMessageContext) -> HookResult {
        let text = context.text();
        let Some((keyword, agent_id)) = ROUTES.iter().find(|(keyword, _)| text.starts_with(keyword)) else {
            return Ok(());
        };
        let request = json!({"task": keyword, "query": text[keyword.len()..].trim()});
        let agent = worker.workspace().agent(agent_id);
        let result = agent.send_and_wait(request, Duration::from_secs(30)).await;
        let answer = match &result {
            Some(result) => result.payload["content"]["result"]
                .as_str()
                .unwrap_or("no result"),
            None => "nobody answered",
        };
        worker
            .reply_to_message(context.channel(), context.message_id(), answer)
            .await;
        Ok(())
    }
}

struct Researcher;

impl WorkerAgent for Researcher {
    async fn on_direct(&self, worker: &Worker, context: EventContext) -> HookResult {
        let query = context.payload()["content"]["query"].as_str().ok_or("no query")?;
        let result = json!({"result": format!("three sources about {query}"), "sources": 3});
        worker.send_direct(context.source_id(), result).await;
        Ok(())
    }
}

struct Analyst;

impl WorkerAgent for Analyst {
    async fn on_direct(&self, worker: &Worker, context: EventContext) -> HookResult {
        let query = context.payload()["content"]["query"].as_str().ok_or("no query")?;
        let numbers: Vec<f64> = query
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let total: f64 = numbers.iter().sum();
        let result = json!({"result": format!("{} numbers, {total} in all", numbers.len()), "total": total});
        worker.send_direct(context.source_id(), result).await;
        Ok(())
    }
}

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let host = env::args().nth(1).unwrap_or_else(|| "localhost".to_owned());
    let port = env::args().nth(2).map_or(Ok(8700), |port| port.parse())?;
    let researcher = Researcher.start(&host, port).await?;
    let analyst = Analyst.start(&host, port).await?;
    Router.run(host, port).await?;
    researcher.stop().await?;
    analyst.stop().await?;
    Ok(())
}
