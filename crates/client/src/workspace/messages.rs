//! Reading the history.

use std::future::IntoFuture;

use futures_util::future::BoxFuture;
use openagents_protocol::Sequence;
use openagents_protocol::call::{DEFAULT_MESSAGES, ListMessages, Message, Messages};

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

    /// Asks also how many there are altogether: [`Messages::total_count`].
    pub fn counted(mut self) -> Self {
        self.query.count = Some(true);
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

    /// Reads one page of them, and tells whether there are more in this direction. Where they are large, the workspace ends
    /// a page early; awaiting the whole goes on.
    pub async fn page(self) -> Result<Messages, CallError> {
        self.client.call(self.query).await
    }

    /// As many as are wanted, from as many pages as it takes.
    async fn all(self) -> Result<Vec<Message>, CallError> {
        let Self { client, mut query } = self;
        let wanted = query.limit.unwrap_or(DEFAULT_MESSAGES);
        let mut messages = Vec::new();
        loop {
            let page = client.call(query.clone()).await?;
            let last = page.messages.last().map(|message| message.sequence.get());
            messages.extend(page.messages);
            let left = wanted.saturating_sub(u32::try_from(messages.len()).unwrap_or(wanted));
            if last.is_none() || !page.has_more || left == 0 {
                return Ok(messages);
            }
            // A position says better than a number where to go on: others may post meanwhile.
            query.offset = None;
            query.limit = Some(left);
            match query.after {
                Some(_) => query.after = last,
                None => query.before = last,
            }
        }
    }
}

impl IntoFuture for GetMessages {
    type Output = Result<Vec<Message>, CallError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.all())
    }
}
