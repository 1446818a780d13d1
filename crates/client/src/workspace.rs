//! Channels and agents by name.

mod agent;
mod channel;
mod messages;
mod post;

pub use agent::AgentConnection;
pub use channel::Channel;
pub use messages::GetMessages;
pub use post::Post;

use openagents_protocol::call::{CreateChannel, ListChannels};

use crate::AgentClient;
use crate::error::CallError;

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

    /// The names of the channels this agent may see, sorted, without `#`.
    pub async fn channels(&self) -> Result<Vec<String>, CallError> {
        let channels = self.client.call(ListChannels::default()).await?.channels;
        Ok(channels.into_iter().map(|channel| channel.name).collect())
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
