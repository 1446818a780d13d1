//! What a server removes while it serves, and what it keeps for agents that are away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use openagents_client::{AgentClient, Event};
use openagents_e2e::{SOON, Workspace, within};
use openagents_server::{Clock, Config};
use serde_json::{Value, json};

const DAY: Duration = Duration::from_hours(24);

/// Days that pass when they are told to.
#[derive(Clone)]
struct Days(Arc<AtomicU64>);

impl Days {
    fn pass(&self, days: u64) {
        self.0.fetch_add(days * 24 * 60 * 60 * 1000, Ordering::Relaxed);
    }

    /// A workspace that keeps five of them.
    fn keep_five(&self, config: &mut Config) {
        let now_ms = Arc::clone(&self.0);
        config.workspace.clock = Clock::new(move || now_ms.load(Ordering::Relaxed));
        config.workspace.retention.workspace.max_age = Some(5 * DAY);
        config.workspace.retention.every = Duration::from_millis(20);
    }
}

async fn send(workspace: &Workspace, to: &str, text: &str) -> anyhow::Result<()> {
    let event = json!({"event_name": "direct.message.received", "destination_id": format!("agent:{to}"),
        "payload": {"content": {"text": text}}});
    let sent = workspace.request("POST", "events", "poster").json(&event);
    sent.send().await?.ok()?;
    Ok(())
}

async fn post(workspace: &Workspace, text: &str) -> anyhow::Result<()> {
    let posted = workspace.request("POST", "channels/general/messages", "poster");
    posted
        .json(&json!({"content": {"text": text}}))
        .send()
        .await?
        .ok()?;
    Ok(())
}

/// The history of the channel, once something of it is removed.
async fn history(workspace: &Workspace) -> anyhow::Result<Value> {
    thinned(workspace, "channels/general/messages").await
}

/// A history, once something of it is removed.
async fn thinned(workspace: &Workspace, path: &str) -> anyhow::Result<Value> {
    within(SOON, async {
        loop {
            let history = workspace.get(path, "poster").await?.ok()?;
            if !history["removed_through"].is_null() {
                return Ok(history);
            }
        }
    })
    .await
}

/// Everything that an agent hears until it is told a text.
async fn hears(workspace: &Workspace, agent: &str, last: &str) -> anyhow::Result<Vec<Event>> {
    let client = AgentClient::new(agent);
    let mut stream = client.events();
    client.connect_to_server("127.0.0.1", workspace.port()).await?;
    let mut heard = Vec::new();
    within(SOON, async {
        while heard.last().and_then(Event::text) != Some(last) {
            heard.push(stream.next().await.context("the agent is connected")?);
        }
        anyhow::Ok(())
    })
    .await?;
    client.disconnect().await;
    Ok(heard)
}

#[tokio::test]
async fn an_agent_away_for_a_month_keeps_its_messages_and_one_away_longer_is_told_which_are_gone()
-> anyhow::Result<()> {
    let days = Days(Arc::new(AtomicU64::new(1_700_000_000_000)));
    let workspace = Workspace::serve_with(|config| days.keep_five(config)).await?;
    workspace.join("carol").await?.disconnect().await;
    post(&workspace, "to all on the first day").await?;
    send(&workspace, "carol", "to carol on the first day").await?;
    days.pass(20);
    workspace.join("bob").await?.disconnect().await;
    post(&workspace, "to all on day 20").await?;
    send(&workspace, "bob", "to bob on day 20").await?;
    days.pass(29);

    // Carol has not been here for 49 days and bob for 29.
    let kept = history(&workspace).await?;
    let kept = kept["messages"].as_array().context("messages")?;
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0]["content"]["text"], "to all on day 20");
    send(&workspace, "bob", "to bob today").await?;
    let heard = hears(&workspace, "bob", "to bob today").await?;
    let texts: Vec<_> = heard.iter().filter_map(Event::text).collect();
    assert_eq!(texts, ["to bob on day 20", "to bob today"]);

    thinned(&workspace, "agents/carol/messages").await?;
    send(&workspace, "carol", "to carol today").await?;
    let heard = hears(&workspace, "carol", "to carol today").await?;
    assert_eq!(heard[0].event_name, "system.history.removed");
    let places = heard[0].payload["places"].as_array().context("places")?;
    let places: Vec<_> = places.iter().map(|place| &place["place"]).collect();
    assert_eq!(places, ["channel:general", "agent:carol"]);
    assert!(heard[0].payload["after"].as_u64() < heard[0].payload["through"].as_u64());
    let texts: Vec<_> = heard.iter().filter_map(Event::text).collect();
    assert_eq!(texts, ["to carol today"]);

    // A restart knows what is gone.
    let workspace = workspace.restart().await?;
    let again = history(&workspace).await?;
    assert!(again["messages"].as_array().is_some_and(|again| again.len() <= 1));
    send(&workspace, "carol", "to carol later").await?;
    let heard = hears(&workspace, "carol", "to carol later").await?;
    let texts: Vec<_> = heard.iter().filter_map(Event::text).collect();
    assert!(!texts.contains(&"to carol on the first day"), "{texts:?}");
    workspace.stop().await;
    Ok(())
}
