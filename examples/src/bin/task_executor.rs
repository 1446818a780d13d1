//! Queues tasks that are given to it in channels and directly, does one after the other, and reports where it was asked.
//!
//! Start a server, then `cargo run -p openagents-examples --bin task_executor -- [HOST [PORT]]`, and give it something
//! to do: `openagents post general 'task: turn me around'`. Ctrl-C ends it.

use std::env;
use std::time::Duration;

use openagents_client::{
    ChannelMessageContext, EventContext, HookResult, Worker, WorkerAgent, WorkerSettings,
};
use tokio::sync::{Mutex, mpsc};

/// More than this many tasks are not taken.
const LONGEST_QUEUE: usize = 100;

/// Something to do, and where to tell that it is done.
struct Task {
    text: String,
    place: Place,
}

enum Place {
    Thread { channel: String, message_id: String },
    Agent(String),
}

struct TaskExecutor {
    queue: mpsc::Sender<Task>,
    /// Taken by the loop that works it off.
    queued: Mutex<Option<mpsc::Receiver<Task>>>,
}

impl TaskExecutor {
    fn new() -> Self {
        let (queue, queued) = mpsc::channel(LONGEST_QUEUE);
        Self {
            queue,
            queued: Mutex::new(Some(queued)),
        }
    }

    async fn take(&self, worker: &Worker, task: Task) {
        if let Err(mpsc::error::TrySendError::Full(task)) = self.queue.try_send(task) {
            report(worker, &task.place, "I have too much to do, ask me later.").await;
        }
    }
}

impl WorkerAgent for TaskExecutor {
    fn settings(&self) -> WorkerSettings {
        WorkerSettings::new()
            .default_agent_id("task-executor")
            .capabilities(["tasks"])
    }

    async fn on_startup(&self, worker: &Worker) -> HookResult {
        if let Some(mut queued) = self.queued.lock().await.take() {
            let again = worker.clone();
            worker.schedule_task(Duration::ZERO, async move {
                while let Some(task) = queued.recv().await {
                    let result: String = task.text.chars().rev().collect();
                    report(&again, &task.place, &format!("done: {result}")).await;
                }
                Ok(())
            });
        }
        Ok(())
    }

    async fn on_channel_post(&self, worker: &Worker, context: ChannelMessageContext) -> HookResult {
        if let Some(text) = context.text().strip_prefix("task: ") {
            let place = Place::Thread {
                channel: context.channel().to_owned(),
                message_id: context.message_id().to_owned(),
            };
            self.take(
                worker,
                Task {
                    text: text.to_owned(),
                    place,
                },
            )
            .await;
        }
        Ok(())
    }

    async fn on_channel_mention(&self, worker: &Worker, context: ChannelMessageContext) -> HookResult {
        self.on_channel_post(worker, context).await
    }

    async fn on_direct(&self, worker: &Worker, context: EventContext) -> HookResult {
        let place = Place::Agent(context.source_id().to_owned());
        self.take(
            worker,
            Task {
                text: context.text().to_owned(),
                place,
            },
        )
        .await;
        Ok(())
    }
}

async fn report(worker: &Worker, place: &Place, text: &str) {
    match place {
        Place::Thread { channel, message_id } => worker.reply_to_message(channel, message_id, text).await,
        Place::Agent(agent_id) => worker.send_direct(agent_id, text).await,
    };
}

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let host = env::args().nth(1).unwrap_or_else(|| "localhost".to_owned());
    let port = env::args().nth(2).map_or(Ok(8700), |port| port.parse())?;
    TaskExecutor::new().run(host, port).await?;
    Ok(())
}
