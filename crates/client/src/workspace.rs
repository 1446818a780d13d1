//! Channels and agents by name.

mod agent;
mod channel;
mod download;
mod files;
mod messages;
mod post;
mod search;

pub use agent::AgentConnection;
pub use channel::{Channel, Thread};
pub use download::{DownloadFile, FileContent};
pub use files::UploadFile;
pub use messages::GetMessages;
pub use post::Post;
pub use search::Search;

use openagents_protocol::call::{
    AgentInfo, ChannelInfo, Conversation, CreateChannel, GetMessage, GetWorkspace, ListChannels,
    ListConversations, Message, WorkspaceInfo,
};
use openagents_protocol::{ErrorBody, Event, EventId, InvalidName};

use crate::AgentClient;
use crate::error::CallError;
use crate::handler::{HandlerHandle, HandlerOutcome, IntoPatterns};
use crate::send::SendEvent;

/// The workspace of a client; from [`AgentClient::workspace`]. Cheap to clone; it keeps the client alive.
#[derive(Clone, Debug)]
pub struct Workspace {
    client: AgentClient,
}

impl Workspace {
    pub(crate) fn new(client: AgentClient) -> Self {
        Self { client }
    }

    /// The client it belongs to.
    pub fn client(&self) -> &AgentClient {
        &self.client
    }

    /// The id of this agent.
    pub fn agent_id(&self) -> String {
        self.client.agent_id()
    }

    /// The names of the channels this agent may see, sorted, without `#`; archived ones are left out. They are asked
    /// for each time, so they are never out of date.
    pub async fn channels(&self) -> Result<Vec<String>, CallError> {
        let channels = self.list_channels().await?.into_iter();
        let open = channels.filter(|channel| !channel.archived);
        Ok(open.map(|channel| channel.name).collect())
    }

    /// The channels this agent may see with everything about them, sorted by name, archived ones included.
    pub async fn list_channels(&self) -> Result<Vec<ChannelInfo>, CallError> {
        Ok(self.client.call(ListChannels::default()).await?.channels)
    }

    /// The agents that are connected, this one included.
    pub async fn list_agents(&self) -> Result<Vec<AgentInfo>, CallError> {
        self.client.list_agents().await
    }

    /// What the workspace is and how far its log goes.
    pub async fn get_network_info(&self) -> Result<WorkspaceInfo, CallError> {
        self.client.call(GetWorkspace::default()).await
    }

    /// The conversations of this agent, the one with the newest message first, at most this many (1 to 1,000).
    pub async fn conversations(&self, limit: u32) -> Result<Vec<Conversation>, CallError> {
        let mut conversations: Vec<Conversation> = Vec::new();
        let (mut left, mut before) = (limit, None);
        loop {
            let params = ListConversations {
                limit: Some(left),
                before,
            };
            let page = self.client.call(params).await?;
            conversations.extend(page.conversations);
            left = limit.saturating_sub(u32::try_from(conversations.len()).unwrap_or(limit));
            let oldest = conversations
                .last()
                .and_then(|oldest| oldest.last_message.as_ref());
            before = oldest.map(|message| message.sequence.get());
            if !page.has_more || left == 0 || before.is_none() {
                return Ok(conversations);
            }
        }
    }

    /// A message by its id, as it is now.
    pub async fn get_message(&self, message_id: &str) -> Result<Message, CallError> {
        let message_id = parsed_id("message_id", message_id)?;
        self.client.call(GetMessage { message_id }).await
    }

    /// Calls the handler for every event whose name matches one of the patterns; see
    /// [`AgentClient::register_event_handler`].
    ///
    /// The documented patterns `workspace.channel.*` and `workspace.direct.*` match `channel.*` and `direct.*` too.
    ///
    /// # Errors
    ///
    /// Tells which pattern breaks which rule; nothing is registered then.
    pub fn subscribe_to_events<P, F, Fut>(
        &self,
        patterns: P,
        handler: F,
    ) -> Result<HandlerHandle, InvalidName>
    where
        P: IntoPatterns,
        F: Fn(Event) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: HandlerOutcome> + Send + 'static,
    {
        self.client.register_event_handler(patterns, handler)
    }

    /// Sends an event; see [`AgentClient::send_event`].
    pub fn send_event(&self, event: Event) -> SendEvent {
        self.client.send_event(event)
    }

    /// The ids of the agents that are online, sorted, this one included.
    pub async fn agents(&self) -> Result<Vec<String>, CallError> {
        Ok(self
            .client
            .list_agents()
            .await?
            .into_iter()
            .map(|agent| agent.id)
            .collect())
    }

    /// A channel, written with or without `#`. Nothing is asked: a channel that does not exist shows at the
    /// first call.
    pub fn channel(&self, name: &str) -> Channel {
        Channel::new(self.client.clone(), name)
    }

    /// Makes a channel; this agent is a member then.
    pub async fn create_channel(&self, name: &str, description: &str) -> Result<Channel, CallError> {
        let (name, description) = (name.to_owned(), description.to_owned());
        let made = self.client.call(CreateChannel { name, description }).await?;
        Ok(self.channel(&made.name))
    }

    /// Another agent. Nothing is asked: one that was never here shows at the first message.
    pub fn agent(&self, agent_id: &str) -> AgentConnection {
        AgentConnection::new(self.client.clone(), agent_id)
    }
}

/// An id as a caller wrote it.
fn parsed_id(field: &str, written: &str) -> Result<EventId, CallError> {
    written
        .parse()
        .map_err(|error: InvalidName| CallError::Refused(ErrorBody::name(field, &error)))
}
