//! What hooks act with.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openagents_protocol::call::{Message, Messages, ReactAction};
use openagents_protocol::{Event, EventResponse, mentions};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::context::EventContext;
use super::error::HookResult;
use super::route::guarded;
use super::settings::WorkerSettings;
use crate::cause::Cause;
use crate::content::extract_mentions;
use crate::error::CallError;
use crate::send::SendEvent;
use crate::workspace::{GetMessages, Post, UploadFile, Workspace};
use crate::{AgentClient, IntoContent};

/// Messages looked through by [`Worker::find_messages_by_sender`], and how many at once.
const MOST_SEARCHED: u64 = 10_000;
const SEARCHED_AT_ONCE: u32 = 1_000;

/// What a [`crate::WorkerAgent`] acts with, in its hooks and in tasks of its own. Cheap to clone; it keeps the client
/// alive.
#[derive(Clone)]
pub struct Worker {
    inner: Arc<Inner>,
}

struct Inner {
    client: AgentClient,
    agent_id: Arc<str>,
    network_id: Arc<str>,
    max_file_bytes: u64,
    /// Those that were scheduled.
    tasks: TaskTracker,
    /// Asks the worker to stop.
    stop: CancellationToken,
}

impl Worker {
    /// The worker of a client that has joined.
    pub(crate) fn new(client: AgentClient, settings: &WorkerSettings) -> Self {
        let welcome = client.welcome();
        let (agent_id, network_id) = match &welcome {
            Some(welcome) => (welcome.agent_id.as_str(), welcome.workspace.as_str()),
            None => ("", ""),
        };
        Self {
            inner: Arc::new(Inner {
                agent_id: agent_id.into(),
                network_id: network_id.into(),
                max_file_bytes: settings.max_file_bytes,
                tasks: TaskTracker::new(),
                stop: CancellationToken::new(),
                client,
            }),
        }
    }

    /// The client of the agent.
    pub fn client(&self) -> &AgentClient {
        &self.inner.client
    }

    /// The workspace: channels, agents and files by name.
    pub fn workspace(&self) -> Workspace {
        self.inner.client.workspace()
    }

    /// The id of the agent.
    pub fn agent_id(&self) -> &str {
        &self.inner.agent_id
    }

    /// The name of the workspace.
    pub fn network_id(&self) -> &str {
        &self.inner.network_id
    }

    /// Posts text, or a JSON object as content, in a channel.
    pub fn post_to_channel(&self, channel: &str, content: impl IntoContent) -> Post {
        self.workspace().channel(channel).post(content)
    }

    /// Replies to a message of a channel.
    pub fn reply_to_message(&self, channel: &str, message_id: &str, content: impl IntoContent) -> Post {
        self.workspace().channel(channel).reply(message_id, content)
    }

    /// Sends text, or a JSON object as content, to an agent.
    pub fn send_direct(&self, agent_id: &str, content: impl IntoContent) -> Post {
        self.workspace().agent(agent_id).send(content)
    }

    /// Reacts to a message of a channel, or takes the reaction back.
    pub async fn react_to_message(
        &self,
        channel: &str,
        message_id: &str,
        reaction: &str,
        action: ReactAction,
    ) -> EventResponse {
        let channel = self.workspace().channel(channel);
        channel.react_to_message(message_id, reaction, action).await
    }

    /// Shares a file in a channel; the answer names it by its `file_id`.
    pub fn upload_file(&self, channel: &str, path: impl AsRef<Path>) -> UploadFile {
        self.workspace().channel(channel).upload_file(path)
    }

    /// Sends an event; see [`AgentClient::send_event`].
    pub fn send_event(&self, event: Event) -> SendEvent {
        self.inner.client.send_event(event)
    }

    /// The names of the channels that the agent may see, sorted, without `#`.
    pub async fn get_channel_list(&self) -> Result<Vec<String>, CallError> {
        self.workspace().channels().await
    }

    /// The ids of the agents that are online, sorted, this one included.
    pub async fn get_agent_list(&self) -> Result<Vec<String>, CallError> {
        self.workspace().agents().await
    }

    /// A page of the messages of a channel, newest first: at most this many (1 to 1,000), after passing over some, and how
    /// many there are altogether.
    pub async fn get_channel_messages(
        &self,
        channel: &str,
        limit: u32,
        offset: u64,
    ) -> Result<Messages, CallError> {
        let channel = self.workspace().channel(channel);
        channel.get_messages(limit).offset(offset).counted().page().await
    }

    /// A page of the conversation with an agent, newest first: at most this many (1 to 1,000), after passing over some, and
    /// how many there are altogether.
    pub async fn get_direct_messages(
        &self,
        with_agent: &str,
        limit: u32,
        offset: u64,
    ) -> Result<Messages, CallError> {
        let agent = self.workspace().agent(with_agent);
        agent.get_messages(limit).offset(offset).counted().page().await
    }

    /// The newest messages of a channel, newest first, at most this many (1 to 1,000).
    pub async fn get_recent_channel_messages(
        &self,
        channel: &str,
        count: u32,
    ) -> Result<Vec<Message>, CallError> {
        self.workspace().channel(channel).get_messages(count).await
    }

    /// The newest messages of the conversation with an agent, newest first, at most this many (1 to 1,000).
    pub async fn get_recent_direct_messages(
        &self,
        with_agent: &str,
        count: u32,
    ) -> Result<Vec<Message>, CallError> {
        self.workspace().agent(with_agent).get_messages(count).await
    }

    /// The newest messages by one agent, newest first, at most `limit`, among the newest 10,000 of a place: a channel
    /// (`general`, `#general`), or the conversation with an agent (`agent:bob`).
    pub async fn find_messages_by_sender(
        &self,
        place: &str,
        sender_id: &str,
        limit: usize,
    ) -> Result<Vec<Message>, CallError> {
        let mut found = Vec::new();
        let mut newest = self.messages_of(place).page().await?;
        let mut searched = 0;
        loop {
            searched += newest.messages.len() as u64;
            let last = newest.messages.last().map(|message| message.sequence);
            let by_sender = newest
                .messages
                .into_iter()
                .filter(|message| message.sender_id == sender_id);
            found.extend(by_sender.take(limit - found.len()));
            match last {
                Some(last) if newest.has_more && found.len() < limit && searched < MOST_SEARCHED => {
                    newest = self.messages_of(place).before(last).page().await?;
                }
                _ => return Ok(found),
            }
        }
    }

    fn messages_of(&self, place: &str) -> GetMessages {
        match place.strip_prefix("agent:") {
            Some(agent) => self.workspace().agent(agent).get_messages(SEARCHED_AT_ONCE),
            None => self.workspace().channel(place).get_messages(SEARCHED_AT_ONCE),
        }
    }

    /// Whether a text mentions this agent, as `@` and its id. The workspace finds mentions by the same rule.
    pub fn is_mentioned(&self, text: &str) -> bool {
        mentions(text)
            .iter()
            .any(|mention| mention.as_str() == self.agent_id())
    }

    /// The ids that a text mentions, each once, in their order, whether or not there are such agents.
    pub fn extract_mentions(&self, text: &str) -> Vec<String> {
        extract_mentions(text)
    }

    /// Whether this agent has a permission, such as `delete_posts`; false when it cannot be found out.
    pub async fn has_permission(&self, name: &str) -> bool {
        self.inner.client.has_permission(name).await
    }

    /// Does something later, or beside the hooks where the delay is zero. When the worker stops, what has not ended is
    /// dropped where it waits. A task that fails or panics is logged.
    ///
    /// What it sends is linked to the event whose hook scheduled it, as if the hook had sent it.
    pub fn schedule_task(
        &self,
        delay: Duration,
        task: impl Future<Output = HookResult> + Send + 'static,
    ) -> JoinHandle<()> {
        let stop = self.inner.stop.clone();
        let cause = Cause::current();
        let work = async move {
            tokio::time::sleep(delay).await;
            if let Some(error) = guarded(task).await {
                tracing::warn!(error, "a scheduled task failed");
            }
        };
        let linked = async move {
            match cause {
                Some(cause) => cause.scope(work).await,
                None => work.await,
            }
        };
        self.inner.tasks.spawn(async move {
            let _dropped = stop.run_until_cancelled_owned(linked).await;
        })
    }

    /// Asks the worker to stop, from inside a hook or from anywhere; it does when running hooks have returned. To wait
    /// for the end there is [`crate::RunningWorker::stop`].
    pub fn request_stop(&self) {
        self.inner.stop.cancel();
    }

    /// Waits until nothing is scheduled any more, once the worker stops.
    pub(crate) async fn tasks_ended(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    pub(crate) fn stop_token(&self) -> &CancellationToken {
        &self.inner.stop
    }

    pub(crate) fn max_file_bytes(&self) -> u64 {
        self.inner.max_file_bytes
    }

    /// The context of an event that arrived.
    pub(crate) fn context(&self, event: Arc<Event>) -> EventContext {
        EventContext::new(
            event,
            Arc::clone(&self.inner.agent_id),
            Arc::clone(&self.inner.network_id),
        )
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Worker")
            .field("agent_id", &self.inner.agent_id)
            .field("network_id", &self.inner.network_id)
            .finish_non_exhaustive()
    }
}
