//! Agents on one stage, and everything that each of them hears.

use std::collections::BTreeMap;

use anyhow::Context;
use futures_util::StreamExt;
use openagents_client::{AgentClient, Event, EventStream};
use openagents_server::Config;
use serde_json::json;

use crate::{SOON, Workspace, within};

/// The event that ends what [`Stage::heard`] reads.
const FENCE: &str = "stage.fence";

/// A workspace with some agents in it that write down what they hear.
///
/// Deliveries come in the order of the log, so what was delivered because of what happened before a fence is heard
/// before the fence: whoever is not told then is never told.
pub struct Stage {
    workspace: Workspace,
    agents: BTreeMap<String, (AgentClient, EventStream)>,
    conductor: AgentClient,
    fences: u64,
}

/// What each agent heard, by its id; who heard nothing is not in it.
pub type Heard = BTreeMap<String, Vec<Event>>;

impl Stage {
    /// A new workspace, and these agents in it.
    pub async fn of(agents: &[&str]) -> anyhow::Result<Self> {
        Self::with(agents, |_| ()).await
    }

    /// The same with other settings.
    pub async fn with(agents: &[&str], change: impl FnOnce(&mut Config)) -> anyhow::Result<Self> {
        let workspace = Workspace::serve_with(change).await?;
        let conductor = workspace.join("conductor").await?;
        let mut stage = Self {
            workspace,
            agents: BTreeMap::new(),
            conductor,
            fences: 0,
        };
        for agent in agents {
            stage.enter(agent).await?;
        }
        stage.heard().await?;
        Ok(stage)
    }

    /// One more agent enters.
    pub async fn enter(&mut self, agent: &str) -> anyhow::Result<AgentClient> {
        let client = AgentClient::new(agent);
        self.enter_as(&client).await?;
        Ok(client)
    }

    /// The same, with a client that is connected here.
    pub async fn enter_as(&mut self, client: &AgentClient) -> anyhow::Result<()> {
        if !client.is_connected() {
            client
                .connect_to_server("127.0.0.1", self.workspace.port())
                .await?;
        }
        let heard = client.events();
        self.agents.insert(client.agent_id(), (client.clone(), heard));
        Ok(())
    }

    /// The workspace.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// An agent on the stage.
    ///
    /// # Panics
    ///
    /// Where there is none of this id.
    pub fn agent(&self, agent: &str) -> AgentClient {
        self.agents[agent].0.clone()
    }

    /// Everything that the agents heard since this was asked last.
    pub async fn heard(&mut self) -> anyhow::Result<Heard> {
        self.fences += 1;
        let fence = Event::new(FENCE).to("agent:broadcast");
        let told = self
            .conductor
            .send_event(fence.payload(json!({"number": self.fences})));
        anyhow::ensure!(told.await.success, "the fence is accepted");
        let mut all = Heard::new();
        for (agent, (_, stream)) in &mut self.agents {
            let events = within(SOON, until_fence(stream, self.fences))
                .await
                .with_context(|| format!("what {agent} hears ends"))?;
            if !events.is_empty() {
                all.insert(agent.clone(), events);
            }
        }
        Ok(all)
    }

    /// The one event that was told since this was asked last, to these agents and to nobody else. All of them heard the
    /// same.
    ///
    /// # Panics
    ///
    /// Where others heard it, or something else was heard.
    pub async fn heard_once_by(&mut self, audience: &[&str]) -> anyhow::Result<Event> {
        let heard = self.heard().await?;
        let told: Vec<&str> = heard.keys().map(String::as_str).collect();
        assert_eq!(told, audience, "who is told: {heard:?}");
        let mut events = heard.into_values();
        let first = events.next().context("somebody is told")?;
        assert_eq!(first.len(), 1, "one event: {first:?}");
        // Whether it mentions the reader is what may differ.
        let comparable = |events: &[Event]| -> Vec<Event> {
            let mut events = events.to_vec();
            for event in &mut events {
                event.also.clear();
            }
            events
        };
        for others in events {
            assert_eq!(comparable(&first), comparable(&others), "all are told the same");
        }
        first.into_iter().next().context("one event")
    }

    /// Makes sure that nobody was told anything since this was asked last.
    ///
    /// # Panics
    ///
    /// Where somebody was.
    pub async fn silence(&mut self) -> anyhow::Result<()> {
        let heard = self.heard().await?;
        assert!(heard.is_empty(), "nobody is told: {heard:?}");
        Ok(())
    }

    /// Stops the server.
    pub async fn end(self) {
        drop(self.keep().await);
    }

    /// Stops the server, and keeps the directory until what is returned is dropped.
    pub async fn keep(self) -> tempfile::TempDir {
        self.workspace.keep().await
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.agents.keys()).finish()
    }
}

async fn until_fence(stream: &mut EventStream, number: u64) -> anyhow::Result<Vec<Event>> {
    let mut events = Vec::new();
    loop {
        let event = stream.next().await.context("the agent is connected")?;
        if event.event_name != FENCE {
            events.push(event);
        } else if event.payload["number"] == number {
            return Ok(events);
        }
    }
}

/// The keys of the payload of an event, sorted and with a blank between.
pub fn payload_keys(event: &Event) -> String {
    keys(event.payload.value())
}

/// The keys of a JSON object, sorted and with a blank between; of anything else, the thing itself.
pub fn keys(json: &serde_json::Value) -> String {
    match json.as_object() {
        Some(object) => object.keys().cloned().collect::<Vec<_>>().join(" "),
        None => json.to_string(),
    }
}

/// Makes sure that an event has this name and exactly these keys in its payload.
///
/// # Panics
///
/// Where it has others.
#[track_caller]
pub fn check_event(event: &Event, event_name: &str, keys: &str) {
    assert_eq!(
        (event.event_name.as_str(), payload_keys(event).as_str()),
        (event_name, keys)
    );
}
