//! Starting an agent.

use std::any::type_name;
use std::fmt;
use std::future::IntoFuture;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use openagents_protocol::frame::Backlog;
use openagents_protocol::{InvalidName, Json, Secret};

use super::WorkerAgent;
use super::context::EventContext;
use super::error::{HookResult, WorkerError};
use super::handle::Worker;
use super::pattern::PatternHandler;
use super::running::RunningWorker;
use super::settings::WorkerSettings;
use super::signals::Signals;
use crate::{AgentClient, Connect, IntoPatterns};

/// An agent about to start; from [`WorkerAgent::start`].
///
/// Awaiting it joins the workspace, calls `on_startup`, and resolves with a handle once that has returned;
/// [`StartWorker::run`] works until the end instead.
///
/// ```no_run
/// # use openagents_client::{HookResult, Worker, WorkerAgent};
/// # struct Helper;
/// # impl WorkerAgent for Helper {}
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let running = Helper.start("localhost", 8700).token("a token").agent_id("helper-2").await?;
/// running.worker().post_to_channel("general", "One more is here.").await;
/// running.stop().await?;
/// # Ok(()) }
/// ```
#[must_use = "an agent does nothing until its start is awaited"]
pub struct StartWorker<A> {
    agent: Arc<A>,
    settings: WorkerSettings,
    connect: Connect,
    metadata: Option<Json>,
    handlers: Vec<PatternHandler<A>>,
    invalid: Option<InvalidName>,
}

impl<A: WorkerAgent> StartWorker<A> {
    pub(crate) fn new(agent: Arc<A>, host: String, port: u16) -> Self {
        let settings = agent.settings();
        let agent_id = settings.agent_id.clone().unwrap_or_else(default_agent_id::<A>);
        Self {
            connect: AgentClient::new(agent_id).connect_to_server(host, port),
            agent,
            settings,
            metadata: None,
            handlers: Vec::new(),
            invalid: None,
        }
    }

    /// The id of the agent, instead of that of its settings.
    pub fn agent_id(mut self, agent_id: impl Into<String>) -> Self {
        self.connect = self.connect.with_client(AgentClient::new(agent_id));
        self
    }

    /// A workspace token or an agent token.
    pub fn token(mut self, token: impl Into<Secret>) -> Self {
        self.connect = self.connect.token(token);
        self
    }

    /// The lower-case hex SHA-256 of a token, which counts as that token, or the password of a group.
    pub fn password_hash(mut self, hash: impl Into<Secret>) -> Self {
        self.connect = self.connect.password_hash(hash);
        self
    }

    /// What the agent says of itself, a JSON object, beside and instead of what its settings say.
    pub fn metadata(mut self, metadata: impl Into<Json>) -> Self {
        self.metadata = Some(metadata.into());
        self
    }

    /// Asks for TLS where neither port nor scheme decide.
    pub fn use_tls(mut self, use_tls: bool) -> Self {
        self.connect = self.connect.use_tls(use_tls);
        self
    }

    /// A file with certificates in PEM that are trusted besides those of this machine.
    pub fn ca_certificate(mut self, path: impl Into<PathBuf>) -> Self {
        self.connect = self.connect.ca_certificate(path);
        self
    }

    /// How much of what was missed while away is wanted; see [`Connect::backlog`].
    pub fn backlog(mut self, backlog: Backlog) -> Self {
        self.connect = self.connect.backlog(backlog);
        self
    }

    /// Changes what else can be said of the connection.
    pub fn connection(mut self, change: impl FnOnce(Connect) -> Connect) -> Self {
        self.connect = change(self.connect);
        self
    }

    /// Calls a handler for every event whose name matches one of the patterns, before the hooks, also where other
    /// handlers do. It gets the agent, the worker and the event; a method that takes `self: Arc<Self>` fits.
    ///
    /// ```no_run
    /// # use std::sync::Arc;
    /// # use openagents_client::{EventContext, HookResult, Worker, WorkerAgent};
    /// # struct Librarian;
    /// # impl WorkerAgent for Librarian {}
    /// impl Librarian {
    ///     async fn on_file_event(self: Arc<Self>, _: Worker, context: EventContext) -> HookResult {
    ///         println!("{}", context.incoming_event().event_name);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// Librarian
    ///     .start("localhost", 8700)
    ///     .on("workspace.file.*", Librarian::on_file_event)
    ///     .run()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn on<F, Fut>(mut self, patterns: impl IntoPatterns, handler: F) -> Self
    where
        F: Fn(Arc<A>, Worker, EventContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HookResult> + Send + 'static,
    {
        match patterns.into_patterns() {
            Ok(patterns) => self.handlers.push(PatternHandler::new(patterns, handler)),
            Err(error) => self.invalid = self.invalid.or(Some(error)),
        }
        self
    }

    /// Starts, and works until the process is asked to end, by Ctrl-C or SIGTERM, until [`Worker::request_stop`], or
    /// until the workspace ends the session for good. Asked a second time, it does not wait for the shutdown.
    ///
    /// # Errors
    ///
    /// [`WorkerError`]: it could not join, or the workspace ended the session.
    pub async fn run(self) -> Result<(), WorkerError> {
        let mut signals = Signals::listen().map_err(WorkerError::Signals)?;
        let running = tokio::select! {
            running = self.join() => running?,
            () = signals.next() => return Ok(()),
        };
        tokio::select! {
            ended = running.wait_for_stop() => return ended,
            () = signals.next() => {}
        }
        tokio::select! {
            ended = running.stop() => ended,
            () = signals.next() => Ok(()),
        }
    }

    /// Joins the workspace; `on_startup` is about to be called.
    async fn join(self) -> Result<RunningWorker, WorkerError> {
        if let Some(error) = self.invalid {
            return Err(error.into());
        }
        let client = self.connect.client().clone();
        let connect = match self.settings.all_metadata(self.metadata.as_ref()) {
            Some(metadata) => self.connect.metadata(metadata),
            None => self.connect,
        };
        connect.await?;
        Ok(RunningWorker::begin(
            client,
            self.agent,
            self.settings,
            self.handlers,
        ))
    }
}

impl<A: WorkerAgent> IntoFuture for StartWorker<A> {
    type Output = Result<RunningWorker, WorkerError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let running = self.join().await?;
            running.started().await;
            Ok(running)
        })
    }
}

impl<A> fmt::Debug for StartWorker<A> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("StartWorker")
            .field("connect", &self.connect)
            .field("handlers", &self.handlers.len())
            .finish_non_exhaustive()
    }
}

/// The name of a type in lower case, without its path and parameters.
fn default_agent_id<A>() -> String {
    let path = type_name::<A>();
    let plain = path.split('<').next().unwrap_or(path);
    plain.rsplit("::").next().unwrap_or(plain).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct FirstAgent;
    struct Generic<T>(T);

    #[test]
    fn an_agent_is_named_after_its_type() {
        assert_eq!(default_agent_id::<FirstAgent>(), "firstagent");
        assert_eq!(default_agent_id::<Generic<Option<u8>>>(), "generic");
    }
}
