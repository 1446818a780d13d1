//! One channel.

use std::time::Duration;

use openagents_protocol::Event;
use openagents_protocol::call::{ChannelInfo, JoinChannel, LeaveChannel, ListMessages, Message};

use crate::AgentClient;
use crate::answer::Asked;
use crate::client::bare_agent_id;
use crate::content::{IntoContent, as_message, message};
use crate::error::CallError;
use crate::send::{deadline, new_event_id};
use crate::workspace::{GetMessages, Post};

/// A channel of the workspace; from [`crate::Workspace::channel`]. Cheap to clone; it keeps the client alive.
#[derive(Clone, Debug)]
pub struct Channel {
    client: AgentClient,
    name: String,
}

impl Channel {
    pub(crate) fn new(client: AgentClient, written: &str) -> Self {
        let name = written.strip_prefix("channel:").unwrap_or(written);
        let name = name.strip_prefix('#').unwrap_or(name).to_owned();
        Self { client, name }
    }

    /// Its name, without `#`.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn address(&self) -> String {
        format!("channel:{}", self.name)
    }

    /// Posts text, or a JSON object as content.
    pub fn post(&self, content: impl IntoContent) -> Post {
        Post::new(
            &self.client,
            message("channel.message.posted", self.address(), &content.into_content()),
        )
    }

    /// Replies to a message.
    pub fn reply(&self, message_id: &str, content: impl IntoContent) -> Post {
        let mut event = message("channel.message.replied", self.address(), &content.into_content());
        event.reply_to_id = Some(message_id.to_owned());
        Post::new(&self.client, event)
    }

    /// The newest messages, at most this many (1 to 1,000).
    pub fn get_messages(&self, limit: u32) -> GetMessages {
        let query = ListMessages {
            channel: Some(self.name.clone()),
            limit: Some(limit),
            ..Default::default()
        };
        GetMessages::new(&self.client, query)
    }

    /// Becomes a member.
    pub async fn join(&self) -> Result<ChannelInfo, CallError> {
        self.client
            .call(JoinChannel {
                channel: self.name.clone(),
            })
            .await
    }

    /// Stops being a member.
    pub async fn leave(&self) -> Result<ChannelInfo, CallError> {
        self.client
            .call(LeaveChannel {
                channel: self.name.clone(),
            })
            .await
    }

    /// The next post here by somebody else, or by this agent only; none after the timeout. Looks back as
    /// [`AgentClient::wait_event`] does.
    pub async fn wait_for_post(&self, from_agent: Option<&str>, timeout: Duration) -> Option<Message> {
        let from = from_agent.map(|agent| bare_agent_id(agent).to_owned());
        let (address, own) = (self.address(), self.client.agent_id());
        let wanted = move |event: &Event| {
            event.event_name == "channel.message.posted"
                && event.destination_id.as_deref() == Some(&address)
                && event.source_id != own
                && from.as_ref().is_none_or(|from| event.source_id == *from)
        };
        self.client
            .wait_event(wanted, timeout)
            .await
            .as_ref()
            .map(as_message)
    }

    /// The next reply here to this message, by somebody else; none after the timeout. Looks back as
    /// [`AgentClient::wait_event`] does.
    pub async fn wait_for_reply(&self, message_id: &str, timeout: Duration) -> Option<Message> {
        let (address, own, message_id) = (self.address(), self.client.agent_id(), message_id.to_owned());
        let wanted = move |event: &Event| {
            event.sequence.is_some()
                && event.destination_id.as_deref() == Some(&address)
                && event.source_id != own
                && [&event.reply_to_id, &event.response_to]
                    .into_iter()
                    .flatten()
                    .any(|id| *id == message_id)
        };
        self.client
            .wait_event(wanted, timeout)
            .await
            .as_ref()
            .map(as_message)
    }

    /// Posts and waits for the first reply to that post; none after the timeout, or at once when the post was
    /// refused. It waits before it sends, so no reply is too fast.
    pub async fn post_and_wait(&self, content: impl IntoContent, timeout: Duration) -> Option<Message> {
        let deadline = deadline(timeout);
        let mut event = self.post(content).into_event();
        event.event_id = new_event_id();
        event.requires_response = true;
        let mut question = self
            .client
            .core()
            .hub
            .ask(&event.event_id, Asked::Channel(self.address()));
        self.client.core().open_hub();
        let answered = async {
            let posting = self.client.send_event(event).timeout(timeout);
            tokio::select! {
                biased; // An answer says more than the acknowledgement.
                reply = &mut question.receiver => return reply.ok(),
                response = posting => if !response.success {
                    return None;
                },
            }
            (&mut question.receiver).await.ok()
        };
        let reply = tokio::time::timeout_at(deadline, Box::pin(answered))
            .await
            .ok()
            .flatten();
        reply.as_deref().map(as_message)
    }
}
