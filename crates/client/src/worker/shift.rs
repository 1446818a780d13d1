//! One run of an agent, from joining to leaving.

use std::sync::Arc;

use openagents_protocol::{ErrorBody, ErrorCode, Event, Pattern};
use tokio_util::sync::CancellationToken;

use super::WorkerAgent;
use super::error::HookResult;
use super::handle::Worker;
use super::pattern::PatternHandler;
use super::route::guarded;
use super::settings::WorkerSettings;
use crate::{CallError, HandlerHandle};

/// An agent at work.
pub(crate) struct Shift<A> {
    pub(crate) agent: Arc<A>,
    pub(crate) worker: Worker,
    pub(crate) settings: WorkerSettings,
    pub(crate) handlers: Vec<PatternHandler<A>>,
    /// Fires when `on_startup` has returned.
    pub(crate) ready: CancellationToken,
    /// Fires when hooks that still run are not waited for any longer.
    pub(crate) overdue: CancellationToken,
    /// Fires when the session is over.
    pub(crate) left: CancellationToken,
}

/// Unregisters the handler when dropped: it holds the client, which holds it.
pub(crate) struct Registered(HandlerHandle);

impl Drop for Registered {
    fn drop(&mut self) {
        self.0.unregister();
    }
}

impl<A: WorkerAgent> Shift<A> {
    /// Takes the events of the client from here on.
    pub(crate) fn register(self: &Arc<Self>) -> Registered {
        // `*` selects everything; what the handlers name besides tells the client to follow the workspace itself.
        let named = self.handlers.iter().flat_map(|handler| &handler.patterns);
        let patterns: Vec<&str> = named.map(Pattern::as_str).chain(["*"]).collect();
        let shift = Arc::clone(self);
        let take = move |event| {
            let shift = Arc::clone(&shift);
            async move { shift.take(event).await }
        };
        let client = self.worker.client();
        let handle = client.register_event_handler(patterns, take);
        Registered(handle.expect("these patterns were parsed before"))
    }

    /// Handles an event, once the agent is ready. One that is not handled in time is held until the session is over: so
    /// it is not acknowledged, and comes again in the next.
    async fn take(&self, event: Event) {
        self.ready.cancelled().await;
        let handled = self.overdue.run_until_cancelled(self.handle(event)).await;
        if handled.is_none() {
            self.left.cancelled().await;
        }
    }

    /// Works until it is to stop, and leaves; why the workspace ended the session, if it did.
    pub(crate) async fn work(&self, registered: Registered) -> Option<ErrorBody> {
        self.begin().await;
        self.ready.cancel();
        let (client, stop) = (self.worker.client(), self.worker.stop_token());
        let reason = tokio::select! {
            () = stop.cancelled() => None,
            reason = client.closed() => reason,
        };
        // This is what ends scheduled tasks.
        stop.cancel();
        let grace = self.settings.grace;
        let quiet = async {
            client.drain().await;
            self.worker.tasks_ended().await;
        };
        if tokio::time::timeout(grace, quiet).await.is_err() {
            let agent = self.worker.agent_id();
            tracing::warn!(agent, ?grace, "hooks that did not return are dropped");
            self.overdue.cancel();
        }
        let leaving = async { self.agent.on_shutdown(&self.worker).await };
        limited("on_shutdown", leaving, tokio::time::sleep(grace)).await;
        client.disconnect().await;
        self.left.cancel();
        drop(registered);
        reason
    }

    async fn begin(&self) {
        for channel in &self.settings.channels {
            if let Err(error) = self.join(channel).await {
                let agent = self.worker.agent_id();
                tracing::warn!(agent, channel, code = error.code(), %error, "could not join a channel");
            }
        }
        let given_up = async {
            self.worker.stop_token().cancelled().await;
            tokio::time::sleep(self.settings.grace).await;
        };
        let starting = async { self.agent.on_startup(&self.worker).await };
        limited("on_startup", starting, given_up).await;
    }

    /// Becomes a member of a channel, which is made if it does not exist.
    async fn join(&self, channel: &str) -> Result<(), CallError> {
        let workspace = self.worker.workspace();
        let channel = workspace.channel(channel);
        match channel.join().await {
            Err(CallError::Refused(error)) if error.code == ErrorCode::ChannelNotFound => {
                workspace.create_channel(channel.name(), "").await?;
            }
            joined => drop(joined?),
        }
        Ok(())
    }
}

/// Calls a hook that is for no event, until it returns or is given up.
async fn limited(hook: &str, called: impl Future<Output = HookResult>, given_up: impl Future<Output = ()>) {
    let failure = tokio::select! {
        failure = guarded(called) => failure,
        () = given_up => Some("it did not return in time".to_owned()),
    };
    if let Some(error) = failure {
        tracing::warn!(hook, error, "a hook failed");
    }
}
