//! Reading the history.

use std::future::IntoFuture;

use futures_util::future::BoxFuture;
use openagents_protocol::Sequence;
use openagents_protocol::call::{ListMessages, Message, Messages};

use crate::AgentClient;
use crate::error::CallError;

/// Messages of a channel or of the conversation with an agent; awaiting it reads them.
///
/// Newest first, unless [`GetMessages::after`] is given, which reads forward from there.
#[derive(Debug)]
#[must_use = "messages are not read until it is awaited"]
pub struct GetMessages {
    client: AgentClient,
    query: ListMessages,
}

impl GetMessages {
    pub(crate) fn new(client: &AgentClient, query: ListMessages) -> Self {
        Self {
            client: client.clone(),
            query,
        }
    }

    /// At most this many, 1 to 1,000, instead of what was said first.
    pub fn limit(mut self, messages: u32) -> Self {
        self.query.limit = Some(messages);
        self
    }

    /// Passes over this many first.
    pub fn offset(mut self, messages: u64) -> Self {
        self.query.offset = Some(messages);
        self
    }

    /// Only messages before this position, newest first.
    pub fn before(mut self, sequence: Sequence) -> Self {
        self.query.before = Some(sequence.get());
        self
    }

    /// Only messages after this position, oldest first.
    pub fn after(mut self, sequence: Sequence) -> Self {
        self.query.after = Some(sequence.get());
        self
    }

    /// Reads them, and tells whether there are more in this direction.
    pub async fn page(self) -> Result<Messages, CallError> {
        self.client.call(self.query).await
    }
}

impl IntoFuture for GetMessages {
    type Output = Result<Vec<Message>, CallError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.page().await?.messages) })
    }
}
