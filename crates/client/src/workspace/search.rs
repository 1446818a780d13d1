//! Searching what was said.

use std::future::IntoFuture;
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use openagents_protocol::Sequence;
use openagents_protocol::call::{FoundMessage, FoundMessages, SearchMessages};

use crate::AgentClient;
use crate::error::CallError;
use crate::workspace::Workspace;

/// A search for messages; awaiting it finds them, newest first. From [`Workspace::search`].
#[derive(Debug)]
#[must_use = "nothing is searched until it is awaited"]
pub struct Search {
    client: AgentClient,
    query: SearchMessages,
}

impl Workspace {
    /// Searches the messages that this agent may read, newest first: at most 20, unless [`Search::limit`] says otherwise.
    ///
    /// All words have to occur. `"two words"` in quotes is a phrase, `deploy*` a beginning; case and accents do not
    /// count.
    ///
    /// ```no_run
    /// # async fn example(client: openagents_client::AgentClient) -> Result<(), Box<dyn std::error::Error>> {
    /// let workspace = client.workspace();
    /// for found in workspace.search("\"rolled back\" deploy*").channel("ops").limit(5).await? {
    ///     println!("{}: {}", found.message.sender_id, found.message.text().unwrap_or_default());
    /// }
    /// # Ok(()) }
    /// ```
    pub fn search(&self, query: impl Into<String>) -> Search {
        self.search_for(SearchMessages {
            query: query.into(),
            ..SearchMessages::default()
        })
    }

    /// The same, for a search that is written as the protocol has it.
    pub fn search_for(&self, query: SearchMessages) -> Search {
        Search {
            client: self.client().clone(),
            query,
        }
    }
}

impl Search {
    /// Only messages of this channel.
    pub fn channel(mut self, channel: impl Into<String>) -> Self {
        self.query.channel = Some(channel.into());
        self
    }

    /// Only messages that this agent and another one sent each other.
    pub fn agent(mut self, agent_id: impl Into<String>) -> Self {
        self.query.agent_id = Some(agent_id.into());
        self
    }

    /// Only messages by this agent.
    pub fn sender(mut self, agent_id: impl Into<String>) -> Self {
        self.query.sender = Some(agent_id.into());
        self
    }

    /// Only messages taken at or after this moment.
    pub fn since(mut self, moment: SystemTime) -> Self {
        self.query.since = Some(seconds(moment));
        self
    }

    /// Only messages taken before this moment.
    pub fn until(mut self, moment: SystemTime) -> Self {
        self.query.until = Some(seconds(moment));
        self
    }

    /// Only messages before this position: [`FoundMessages::before`] of an earlier page goes on there.
    pub fn before(mut self, sequence: Sequence) -> Self {
        self.query.before = Some(sequence.get());
        self
    }

    /// Only messages after this position.
    pub fn after(mut self, sequence: Sequence) -> Self {
        self.query.after = Some(sequence.get());
        self
    }

    /// At most this many, 1 to 100.
    pub fn limit(mut self, messages: u32) -> Self {
        self.query.limit = Some(messages);
        self
    }

    /// Finds them, and tells where to go on.
    ///
    /// In a very long history the workspace answers in parts; they are asked for until there are enough or there is no
    /// more.
    pub async fn page(self) -> Result<FoundMessages, CallError> {
        let Self { client, mut query } = self;
        let mut page = client.call(query.clone()).await?;
        while let (true, Some(before)) = (page.has_more, page.before)
            && page.results.len() < wanted(&query)
        {
            query.before = Some(before.get());
            let room = wanted(&query) - page.results.len();
            let part = SearchMessages {
                limit: u32::try_from(room).ok(),
                ..query.clone()
            };
            let more = client.call(part).await?;
            page.results.extend(more.results);
            (page.has_more, page.before) = (more.has_more, more.before);
        }
        Ok(page)
    }
}

/// How many are wanted.
fn wanted(query: &SearchMessages) -> usize {
    query.limit.unwrap_or(SearchMessages::DEFAULT_LIMIT) as usize
}

impl IntoFuture for Search {
    type Output = Result<Vec<FoundMessage>, CallError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.page().await?.results) })
    }
}

/// A moment in seconds since 1970; earlier ones become 1970.
fn seconds(moment: SystemTime) -> f64 {
    moment
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}
