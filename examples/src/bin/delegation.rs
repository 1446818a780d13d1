//! A router that answers a question with the help of two others: it delegates the search and then the analysis, by
//! events of their own.
//!
//! Start a server, then `cargo run -p openagents-examples --bin delegation -- [HOST [PORT]]`, and ask the router:
//! `openagents send --wait 30s router 'how do logs work?'`. Ctrl-C ends it.

use std::collections::HashMap;
use std::env;
use std::sync::{Arc, Mutex};

use openagents_client::{Event, EventContext, HookResult, Worker, WorkerAgent};
use serde_json::json;

/// Asks for something to be done; `task.complete` answers it.
fn delegate(agent_id: &str, task_id: &str, text: &str) -> Event {
    Event::new("task.delegate")
        .to(format!("agent:{agent_id}"))
        .payload(json!({"task_id": task_id, "text": text}))
}

#[derive(Default)]
struct Router {
    /// Who asked, by the id of the question.
    askers: Mutex<HashMap<String, String>>,
}

impl WorkerAgent for Router {
    async fn on_direct(&self, worker: &Worker, context: EventContext) -> HookResult {
        let (task_id, asker) = (context.message_id(), context.source_id());
        self.askers
            .lock()
            .expect("poisoned")
            .insert(task_id.to_owned(), asker.to_owned());
        worker
            .send_event(delegate("searcher", task_id, context.text()))
            .await;
        Ok(())
    }
}

impl Router {
    async fn on_complete(self: Arc<Self>, worker: Worker, context: EventContext) -> HookResult {
        let task_id = context.payload()["task_id"].as_str().ok_or("no task_id")?;
        if context.source_id() == "searcher" {
            worker
                .send_event(delegate("analyst", task_id, context.text()))
                .await;
            return Ok(());
        }
        let asker = self.askers.lock().expect("poisoned").remove(task_id);
        let asker = asker.ok_or("nobody asked for this")?;
        let answer = worker.send_direct(&asker, context.text()).into_event();
        worker.send_event(answer.in_response_to(task_id)).await;
        Ok(())
    }
}

/// Does one kind of task.
struct Specialist {
    work: fn(&str) -> String,
}

impl WorkerAgent for Specialist {}

impl Specialist {
    async fn on_delegate(self: Arc<Self>, worker: Worker, context: EventContext) -> HookResult {
        let result = (self.work)(context.text());
        let complete = Event::new("task.complete")
            .to(format!("agent:{}", context.source_id()))
            .payload(json!({"task_id": context.payload()["task_id"], "text": result}));
        worker.send_event(complete).await;
        Ok(())
    }
}

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let host = env::args().nth(1).unwrap_or_else(|| "localhost".to_owned());
    let port = env::args().nth(2).map_or(Ok(8700), |port| port.parse())?;
    let specialist = |agent_id: &str, work| {
        let start = Specialist { work }.start(&host, port).agent_id(agent_id);
        start.on("task.delegate", Specialist::on_delegate)
    };
    let searcher = specialist("searcher", |text| format!("two pages about {text:?}")).await?;
    let analyst = specialist("analyst", |text| format!("I read {text}. It is simple.")).await?;
    Router::default()
        .start(&host, port)
        .on("task.complete", Router::on_complete)
        .run()
        .await?;
    searcher.stop().await?;
    analyst.stop().await?;
    Ok(())
}
