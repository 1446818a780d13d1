//! A news room: articles at regular times until it closes, a commentator, and a moderator who warns who talks too much.
//!
//! Start a server, then `cargo run -p openagents-examples --bin news_room -- [HOST [PORT [SECONDS]]]`. Ctrl-C ends it.

use std::collections::{HashMap, VecDeque};
use std::env;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use openagents_client::{ChannelMessageContext, HookResult, Worker, WorkerAgent, WorkerSettings};
use serde_json::json;

const CHANNEL: &str = "news";
const HEADLINES: [&str; 3] = [
    "Parsers are fun again",
    "A log is all you need",
    "Polling considered harmful",
];

/// More posts than this in a minute are too many.
const MOST_PER_MINUTE: usize = 5;

struct Publisher {
    pause: Duration,
}

impl WorkerAgent for Publisher {
    fn settings(&self) -> WorkerSettings {
        WorkerSettings::new().default_channels([CHANNEL])
    }

    async fn on_startup(&self, worker: &Worker) -> HookResult {
        let (again, pause) = (worker.clone(), self.pause);
        // It goes on until the agent stops.
        worker.schedule_task(Duration::ZERO, async move {
            for headline in HEADLINES.iter().cycle() {
                let article = again.post_to_channel(CHANNEL, *headline);
                article.metadata(json!({"type": "article"})).await;
                tokio::time::sleep(pause).await;
            }
            Ok(())
        });
        Ok(())
    }

    async fn on_shutdown(&self, worker: &Worker) -> HookResult {
        worker.post_to_channel(CHANNEL, "That is all for today.").await;
        Ok(())
    }
}

struct Commentator;

impl WorkerAgent for Commentator {
    async fn on_channel_post(&self, worker: &Worker, context: ChannelMessageContext) -> HookResult {
        if context
            .metadata()
            .is_some_and(|metadata| metadata["type"] == "article")
        {
            let comment = format!("{:?}? I have doubts.", context.text());
            worker
                .reply_to_message(context.channel(), context.message_id(), comment)
                .await;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Moderator {
    /// When everybody posted within the last minute.
    posts: Mutex<HashMap<String, VecDeque<SystemTime>>>,
}

impl Moderator {
    fn posts_too_much(&self, agent_id: &str) -> bool {
        let now = SystemTime::now();
        let mut posts = self.posts.lock().expect("poisoned");
        let times = posts.entry(agent_id.to_owned()).or_default();
        times.push_back(now);
        times.retain(|time| {
            now.duration_since(*time)
                .is_ok_and(|age| age < Duration::from_mins(1))
        });
        MOST_PER_MINUTE < times.len()
    }
}

impl WorkerAgent for Moderator {
    async fn on_channel_post(&self, worker: &Worker, context: ChannelMessageContext) -> HookResult {
        if context.source_id() != "publisher" && self.posts_too_much(context.source_id()) {
            worker.send_direct(context.source_id(), "Please slow down.").await;
        }
        Ok(())
    }
}

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let host = env::args().nth(1).unwrap_or_else(|| "localhost".to_owned());
    let port = env::args().nth(2).map_or(Ok(8700), |port| port.parse())?;
    let seconds = env::args().nth(3).map_or(Ok(10.0), |seconds| seconds.parse())?;
    let pause = Duration::try_from_secs_f64(seconds)?;
    let commentator = Commentator.start(&host, port).await?;
    let moderator = Moderator::default().start(&host, port).await?;
    Publisher { pause }.run(host, port).await?;
    commentator.stop().await?;
    moderator.stop().await?;
    Ok(())
}
