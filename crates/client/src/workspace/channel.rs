//! One channel.

use std::time::Duration;

use openagents_protocol::call::{
    AgentInfo, ArchiveChannel, Call, ChannelInfo, ChannelPermissions, ChannelSettings, ConfigureChannel,
    DeleteChannel, DeleteMessage, EditMessage, JoinChannel, LeaveChannel, ListMembers, ListMessages, Message,
    React, ReactAction, SetPermissions, SetTopic,
};
use openagents_protocol::{Event, EventId, EventResponse, Receipt};

use crate::AgentClient;
use crate::answer::Asked;
use crate::client::bare_agent_id;
use crate::content::{IntoContent, message};
use crate::error::{CallError, not_connected, respond};
use crate::send::{deadline, new_event_id};
use crate::workspace::{GetMessages, Post, parsed_id};

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

    pub(crate) fn client(&self) -> &AgentClient {
        &self.client
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

    /// Posts a text that mentions an agent, also where the text does not name it.
    pub fn post_with_mention(&self, content: impl IntoContent, agent_id: &str) -> Post {
        self.post(content).mention(agent_id)
    }

    /// Begins a thread: posts a message with a title. None was begun where the answer says so.
    pub async fn start_thread(
        &self,
        title: &str,
        initial_message: impl IntoContent,
    ) -> Result<Thread, CallError> {
        let response = self.post(initial_message).thread_name(title).await;
        match (response.data, response.error) {
            (Some(receipt), _) => Ok(Thread {
                channel: self.clone(),
                id: receipt.message_id.into(),
                title: title.to_owned(),
            }),
            (None, error) => Err(CallError::Refused(error.unwrap_or_else(not_connected))),
        }
    }

    /// Replies in a thread, by the id of its first message.
    pub fn reply_to_thread(&self, thread_id: &str, content: impl IntoContent) -> Post {
        self.reply(thread_id, content)
    }

    /// The replies in a thread, by the id of its first message, newest first; at most this many (1 to 1,000).
    ///
    /// # Errors
    ///
    /// [`CallError::Refused`] where the id is none.
    pub fn get_thread(&self, thread_id: &str, limit: u32) -> Result<GetMessages, CallError> {
        let query = ListMessages {
            thread_id: Some(parsed_id("thread_id", thread_id)?),
            limit: Some(limit),
            ..Default::default()
        };
        Ok(GetMessages::new(&self.client, query))
    }

    /// Reacts to a message with an emoji or a short name such as `thumbsup`; a second time changes nothing.
    pub async fn react(&self, message_id: &str, reaction: &str) -> EventResponse {
        self.react_to_message(message_id, reaction, ReactAction::Add)
            .await
    }

    /// Reacts to a message, or takes the reaction back.
    pub async fn react_to_message(
        &self,
        message_id: &str,
        reaction: &str,
        action: ReactAction,
    ) -> EventResponse {
        let reaction = reaction.to_owned();
        self.change_message(message_id, |message_id| React {
            message_id,
            reaction,
            action,
        })
        .await
    }

    /// Replaces the content of an own message.
    pub async fn edit(&self, message_id: &str, content: impl IntoContent) -> EventResponse {
        let content = content.into_content();
        self.change_message(message_id, |message_id| EditMessage { message_id, content })
            .await
    }

    /// Deletes a message: its content is erased for good. For its author and for moderators.
    pub async fn delete_message(&self, message_id: &str) -> EventResponse {
        self.change_message(message_id, |message_id| DeleteMessage { message_id })
            .await
    }

    /// Changes what the channel is about.
    pub async fn set_topic(&self, topic: &str) -> EventResponse {
        let (channel, topic) = (self.name.clone(), topic.to_owned());
        respond(self.client.call(SetTopic { channel, topic }).await)
    }

    /// Changes the rules of the channel; what is left out stays as it is. For who manages it.
    pub async fn configure(&self, settings: ChannelSettings) -> EventResponse {
        let channel = self.name.clone();
        respond(self.client.call(ConfigureChannel { channel, settings }).await)
    }

    /// Changes who may do what here; what is left out stays as it is. For who manages it.
    pub async fn set_permissions(&self, permissions: ChannelPermissions) -> EventResponse {
        let channel = self.name.clone();
        respond(self.client.call(SetPermissions { channel, permissions }).await)
    }

    /// Archives the channel, or opens it again: it can be read and not written. For who manages it.
    pub async fn archive(&self, archived: bool) -> EventResponse {
        let channel = self.name.clone();
        respond(self.client.call(ArchiveChannel { channel, archived }).await)
    }

    /// Deletes the channel. What was said here cannot be read any more. For who manages it.
    pub async fn delete(&self) -> EventResponse {
        let channel = self.name.clone();
        respond(self.client.call(DeleteChannel { channel }).await)
    }

    /// The members, sorted by id, at most 1,000.
    pub async fn members(&self) -> Result<Vec<AgentInfo>, CallError> {
        let params = ListMembers {
            channel: self.name.clone(),
            ..Default::default()
        };
        Ok(self.client.call(params).await?.members)
    }

    async fn change_message<C: Call<Reply = Receipt>>(
        &self,
        message_id: &str,
        params: impl FnOnce(EventId) -> C,
    ) -> EventResponse {
        match parsed_id("message_id", message_id) {
            Ok(message_id) => respond(self.client.call(params(message_id)).await),
            Err(error) => respond(Err(error)),
        }
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
            .map(Message::of_event)
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
            .map(Message::of_event)
    }

    /// The next reply here to whatever message, by somebody else; none after the timeout. Looks back as
    /// [`AgentClient::wait_event`] does.
    pub async fn wait_for_any_reply(&self, timeout: Duration) -> Option<Message> {
        let (address, own) = (self.address(), self.client.agent_id());
        let wanted = move |event: &Event| {
            event.event_name == "channel.message.replied"
                && event.destination_id.as_deref() == Some(&address)
                && event.source_id != own
        };
        self.client
            .wait_event(wanted, timeout)
            .await
            .as_ref()
            .map(Message::of_event)
    }

    /// The next reaction to this message, by somebody else, as the event `workspace.reaction.added`; none after the
    /// timeout. Looks back as [`AgentClient::wait_event`] does.
    pub async fn wait_for_reaction(&self, message_id: &str, timeout: Duration) -> Option<Event> {
        let (own, message_id) = (self.client.agent_id(), message_id.to_owned());
        let wanted = move |event: &Event| {
            event.event_name == "workspace.reaction.added"
                && event.source_id != own
                && event.payload["message_id"].as_str() == Some(&message_id)
        };
        self.client.wait_event(wanted, timeout).await
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
        reply.as_deref().map(Message::of_event)
    }
}

/// A thread that was begun with a title; from [`Channel::start_thread`].
#[derive(Clone, Debug)]
pub struct Thread {
    channel: Channel,
    id: String,
    title: String,
}

impl Thread {
    /// The id of its first message.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its title.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Replies in it.
    pub fn reply(&self, content: impl IntoContent) -> Post {
        self.channel.reply(&self.id, content)
    }
}
