//! A message on its way.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::BoxFuture;
use openagents_protocol::{Event, EventResponse, Json};
use serde_json::json;

use crate::AgentClient;
use crate::client::bare_agent_id;
use crate::send::SendEvent;

/// A message to a channel or an agent; awaiting it sends it and resolves with what the workspace says to it.
#[derive(Debug)]
#[must_use = "a message is not sent until it is awaited"]
pub struct Post {
    client: AgentClient,
    event: Event,
    timeout: Option<Duration>,
}

impl Post {
    pub(crate) fn new(client: &AgentClient, event: Event) -> Self {
        Self {
            client: client.clone(),
            event,
            timeout: None,
        }
    }

    /// Sets the metadata, a JSON object; it arrives as `event.metadata`.
    pub fn metadata(mut self, metadata: impl Into<Json>) -> Self {
        self.event.metadata = Some(metadata.into());
        self
    }

    /// Mentions an agent, also where the text does not name it.
    pub fn mention(mut self, agent_id: &str) -> Self {
        let content = self.event.payload.member("content");
        let content = content.unwrap_or_else(Json::empty_object);
        let agent_id = json!(bare_agent_id(agent_id));
        let payload = format!("{{\"content\":{content},\"mentioned_agent_id\":{agent_id}}}");
        self.event.payload = payload.parse().expect("an object around JSON is JSON");
        self
    }

    /// Begins a thread of this title, at most 256 bytes.
    pub fn thread_name(mut self, title: impl Into<String>) -> Self {
        self.event.thread_name = Some(title.into());
        self
    }

    /// Sets the id of the message. Sending the same message again under the same id changes nothing.
    pub fn event_id(mut self, event_id: impl Into<String>) -> Self {
        self.event.event_id = event_id.into();
        self
    }

    /// How long to wait for the acknowledgement; default 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The message as an event, for [`AgentClient::publish`].
    pub fn into_event(self) -> Event {
        self.event
    }

    fn send(self) -> SendEvent {
        let sending = self.client.send_event(self.event);
        match self.timeout {
            Some(timeout) => sending.timeout(timeout),
            None => sending,
        }
    }
}

impl IntoFuture for Post {
    type Output = EventResponse;
    type IntoFuture = BoxFuture<'static, EventResponse>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
