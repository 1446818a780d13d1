//! A workspace in a directory of its own, and readers at it.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openagents_protocol::call::{GetMessage, Message};
use openagents_protocol::frame::{Backlog, ServerFrame, SessionKind};
use openagents_protocol::record::Role;
use openagents_protocol::{Draft, ErrorBody, ErrorCode, Event, EventId, Receipt, Sequence};
use openagents_workspace::{
    Attach, Caller, Deliveries, Durability, Execution, Outgoing, Principal, Session, Settings, Workspace,
};
use serde_json::json;
use tempfile::TempDir;

/// Longer than anything takes here.
const LIMIT: Duration = Duration::from_mins(1);

pub(crate) struct Room {
    pub(crate) workspace: Workspace,
    pub(crate) directory: TempDir,
    settings: Settings,
}

impl Room {
    pub(crate) async fn open() -> Self {
        Self::open_with(|_| ()).await
    }

    pub(crate) async fn open_with(change: impl FnOnce(&mut Settings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.durability = Durability::Os;
        settings.execution = Execution::Inline;
        change(&mut settings);
        let workspace = Workspace::open(directory.path(), settings.clone()).await.unwrap();
        Self {
            workspace,
            directory,
            settings,
        }
    }

    /// Closes the workspace, does something to its directory and opens it again.
    pub(crate) async fn reopen_after(self, meanwhile: impl AsyncFnOnce(&std::path::Path, Settings)) -> Self {
        let Self {
            workspace,
            directory,
            settings,
        } = self;
        workspace.close().await;
        drop(workspace);
        meanwhile(directory.path(), settings.clone()).await;
        let workspace = Workspace::open(directory.path(), settings.clone()).await.unwrap();
        Self {
            workspace,
            directory,
            settings,
        }
    }

    pub(crate) async fn reopen(self) -> Self {
        self.reopen_after(async |_, _| ()).await
    }

    /// Changes the settings that the next opening uses.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
    }

    pub(crate) async fn attach(&self, agent_id: &str) -> Reader {
        self.attach_with(Some(agent_id), None, Backlog::All)
            .await
            .unwrap()
    }

    pub(crate) async fn attach_with(
        &self,
        agent_id: Option<&str>,
        after: Option<Sequence>,
        backlog: Backlog,
    ) -> Result<Reader, ErrorBody> {
        let attach = Attach {
            principal: Principal::anyone(Role::Member),
            agent_id: agent_id.map(|id| id.parse().unwrap()),
            kind: SessionKind::Consuming,
            session_key: None,
            metadata: None,
            after,
            log: None,
            backlog,
        };
        Ok(Reader::of(self.workspace.attach(attach).await?))
    }

    pub(crate) async fn publish(&self, from: &str, event: Event) -> Result<Receipt, ErrorBody> {
        self.workspace
            .publish(&caller(from), Draft::parse(event).unwrap())
            .await
    }

    pub(crate) async fn post(&self, from: &str, text: &str) -> Receipt {
        self.publish(from, post(text)).await.unwrap()
    }

    /// A message as this agent is told it.
    pub(crate) async fn message(&self, reader: &str, id: &EventId) -> Result<Message, ErrorCode> {
        let message_id = id.clone();
        let told = self
            .workspace
            .get_message(&caller(reader), GetMessage { message_id })
            .await;
        told.map_err(|error| error.code)
    }

    pub(crate) async fn tell(&self, from: &str, to: &str, text: &str) -> Receipt {
        let message = Event::new("direct.message.received").to(format!("agent:{to}"));
        self.publish(from, message.payload(json!({"content": text})))
            .await
            .unwrap()
    }
}

pub(crate) fn caller(agent_id: &str) -> Caller {
    Caller::new(agent_id.parse().unwrap(), Role::Admin)
}

pub(crate) fn post(text: &str) -> Event {
    Event::new("channel.message.posted")
        .to("channel:general")
        .payload(json!({"content": text}))
}

/// Makes sure that no file of a workspace has these bytes.
pub(crate) fn assert_nowhere(directory: &Path, bytes: &[u8]) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let content = std::fs::read(&path).unwrap();
            let found = content.windows(bytes.len()).any(|window| window == bytes);
            assert!(!found, "{} has it", path.display());
        }
    }
}

/// The keys of a payload, sorted.
pub(crate) fn payload_keys(event: &Event) -> Vec<String> {
    let payload = event.payload.value().as_object().unwrap();
    payload.keys().cloned().collect()
}

/// One session with its deliveries, read one event at a time.
pub(crate) struct Reader {
    pub(crate) session: Session,
    deliveries: Option<Deliveries>,
    waiting: VecDeque<Event>,
}

impl Reader {
    pub(crate) fn of((session, deliveries): (Session, Deliveries)) -> Self {
        Self {
            session,
            deliveries: Some(deliveries),
            waiting: VecDeque::new(),
        }
    }

    /// The next event, which is not acknowledged by reading it.
    pub(crate) async fn read(&mut self) -> Event {
        self.read_within(LIMIT).await.expect("an event")
    }

    /// The next event; none if there is none in this time.
    pub(crate) async fn read_within(&mut self, limit: Duration) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            // Deliveries are not given up half-way: what they took would be lost. After a time-out there are none.
            let mut deliveries = self.deliveries.take()?;
            let outgoing = tokio::time::timeout(limit, deliveries.next()).await.ok()?;
            self.deliveries = Some(deliveries);
            for item in outgoing {
                if let Outgoing::End(_) = item {
                    self.deliveries = None;
                }
                if let Outgoing::Event(delivered) = item
                    && let Ok(ServerFrame::Event(event)) =
                        ServerFrame::decode(std::str::from_utf8(&delivered.frame()).unwrap())
                {
                    self.waiting.push_back(Arc::unwrap_or_clone(event));
                }
            }
        }
    }

    /// The text of the next event, which is acknowledged.
    pub(crate) async fn text(&mut self) -> String {
        let event = self.read().await;
        if let Some(sequence) = event.sequence {
            self.session.acknowledge(sequence);
        }
        event.text().unwrap_or(&event.event_name).to_owned()
    }

    /// The texts of the next events, which are acknowledged.
    pub(crate) async fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::with_capacity(count);
        for _ in 0..count {
            texts.push(self.text().await);
        }
        texts
    }
}
