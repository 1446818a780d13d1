//! One other agent.

use std::sync::Arc;
use std::time::Duration;

use openagents_protocol::call::{AgentInfo, GetAgent, ListMessages};
use openagents_protocol::{ErrorBody, ErrorCode, Event, EventResponse, RecipientState};

use crate::AgentClient;
use crate::answer::Asked;
use crate::client::{agent_address, bare_agent_id};
use crate::content::{IntoContent, is_direct, message};
use crate::error::{AskError, CallError, not_connected};
use crate::send::{deadline, new_event_id};
use crate::workspace::{GetMessages, Post};

/// Another agent of the workspace; from [`crate::Workspace::agent`]. Cheap to clone; it keeps the client alive.
#[derive(Clone, Debug)]
pub struct AgentConnection {
    client: AgentClient,
    id: String,
}

impl AgentConnection {
    pub(crate) fn new(client: AgentClient, written: &str) -> Self {
        Self {
            client,
            id: bare_agent_id(written).to_owned(),
        }
    }

    pub(crate) fn client(&self) -> &AgentClient {
        &self.client
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Sends text, or a JSON object as content.
    pub fn send(&self, content: impl IntoContent) -> Post {
        Post::new(
            &self.client,
            message(
                "direct.message.received",
                agent_address(&self.id),
                &content.into_content(),
            ),
        )
    }

    /// Sends and waits for the answer; none after the timeout, and at once when nobody will answer. The reasons
    /// are told by [`AgentConnection::ask`].
    pub async fn send_and_wait(&self, content: impl IntoContent, timeout: Duration) -> Option<Event> {
        self.ask(content, timeout).await.ok()
    }

    /// Sends and waits for the answer.
    ///
    /// An answer is an event of that agent that names this message in `response_to` or `reply_to_id`; messages sent
    /// from inside a handler do so by themselves. Of a peer that never does, the next direct message counts, once,
    /// for the oldest open question to it. The wait begins before the message is sent and goes on while the
    /// client reconnects, so no answer is too fast, and one that came is not missed. Handlers see it as well.
    ///
    /// # Errors
    ///
    /// [`AskError`]; agents that are away may still answer in time, those never seen are [`AskError::Unknown`]
    /// at once.
    pub async fn ask(&self, content: impl IntoContent, timeout: Duration) -> Result<Event, AskError> {
        let mut event = self.send(content).into_event();
        event.event_id = new_event_id();
        event.requires_response = true;
        let deadline = deadline(timeout);
        let mut question = self
            .client
            .core()
            .hub
            .ask(&event.event_id, Asked::Agent(self.id.clone()));
        self.client.core().open_hub();
        let answered = async {
            let sending = self.client.send_event(event).timeout(timeout);
            tokio::select! {
                biased; // An answer says more than the acknowledgement.
                answer = &mut question.receiver => return answer.map_err(|_| AskError::Disconnected),
                response = sending => check(response, timeout)?,
            }
            (&mut question.receiver).await.map_err(|_| AskError::Disconnected)
        };
        let answer = tokio::time::timeout_at(deadline, Box::pin(answered)).await;
        answer
            .unwrap_or(Err(AskError::TimedOut(timeout)))
            .map(Arc::unwrap_or_clone)
    }

    /// The next direct message or `agent.message` of this agent; none after the timeout. Looks back as
    /// [`AgentClient::wait_event`] does.
    pub async fn wait_for_message(&self, timeout: Duration) -> Option<Event> {
        let id = self.id.clone();
        self.client
            .wait_event(move |event| event.source_id == id && is_direct(event), timeout)
            .await
    }

    /// What the workspace knows of it, connected or not.
    pub async fn get_agent_info(&self) -> Result<AgentInfo, CallError> {
        let agent_id = self.id.clone();
        self.client.call(GetAgent { agent_id }).await
    }

    /// The newest messages of the conversation with this agent, at most this many (1 to 1,000).
    pub fn get_messages(&self, limit: u32) -> GetMessages {
        let query = ListMessages {
            agent_id: Some(self.id.clone()),
            limit: Some(limit),
            ..Default::default()
        };
        GetMessages::new(&self.client, query)
    }
}

/// Whether an answer may come.
fn check(response: EventResponse, timeout: Duration) -> Result<(), AskError> {
    if response.success {
        let unknown = |receipt: openagents_protocol::Receipt| {
            receipt
                .recipients
                .iter()
                .any(|recipient| recipient.state == RecipientState::Unknown)
        };
        return if response.data.is_some_and(unknown) {
            Err(AskError::Unknown)
        } else {
            Ok(())
        };
    }
    let error = response
        .error
        .unwrap_or_else(|| ErrorBody::new(ErrorCode::Unknown, "refused without a reason"));
    Err(match error.code {
        ErrorCode::AgentNotFound => AskError::Unknown,
        ErrorCode::TimedOut => AskError::TimedOut(timeout),
        ErrorCode::SessionReplaced => AskError::Disconnected,
        _ if error == not_connected() => AskError::Disconnected,
        _ => AskError::Refused(error),
    })
}
