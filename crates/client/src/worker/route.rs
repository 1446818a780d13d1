//! What is called for an event.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use openagents_protocol::Event;

use super::WorkerAgent;
use super::context::EventContext;
use super::error::HookResult;
use super::hook::{Hook, HookKind};
use super::shift::Shift;

impl<A: WorkerAgent> Shift<A> {
    /// Calls, one after the other, whatever the agent has for an event.
    pub(crate) async fn handle(&self, event: Event) {
        let context = self.worker.context(Arc::new(event));
        let event = context.incoming_event();
        let hook = self.hook_of(event);
        if hook.is_some() && self.settings.ignore_own_messages && event.source_id == self.worker.agent_id() {
            return;
        }
        let (agent, worker) = (&self.agent, &self.worker);
        for handler in self.handlers.iter().filter(|handler| handler.wants(event)) {
            let failure = guarded(handler.call(agent, worker, context.clone())).await;
            log("a pattern handler", event, failure);
        }
        let failure = guarded(async { agent.react(worker, context.clone()).await }).await;
        log("react", event, failure);
        if let Some(kind) = hook {
            let failure = guarded(Box::pin(self.call(kind, context.clone()))).await;
            log(kind.name(), event, failure);
        }
        let failure = guarded(async { agent.on_event(worker, event.clone()).await }).await;
        log("on_event", event, failure);
    }

    fn hook_of(&self, event: &Event) -> Option<HookKind> {
        if self.settings.auto_mention_response {
            HookKind::of(event, self.worker.agent_id())
        } else {
            HookKind::passing_over_mentions(event, self.worker.agent_id())
        }
    }

    async fn call(&self, kind: HookKind, context: EventContext) -> HookResult {
        let (agent, worker) = (&self.agent, &self.worker);
        match Hook::new(kind, context, worker) {
            Hook::ChannelPost(context) => agent.on_channel_post(worker, context).await,
            Hook::ChannelMention(context) => agent.on_channel_mention(worker, context).await,
            Hook::ChannelReply(context) => agent.on_channel_reply(worker, context).await,
            Hook::Direct(context) => agent.on_direct(worker, context).await,
            Hook::Reaction(context) => agent.on_reaction(worker, context).await,
            Hook::FileReceived(context) => agent.on_file_received(worker, context).await,
        }
    }
}

/// Runs something an agent brought; the failure in words, if it fails or panics.
pub(crate) async fn guarded(called: impl Future<Output = HookResult>) -> Option<String> {
    match AssertUnwindSafe(called).catch_unwind().await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(chain(&*error)),
        Err(_) => Some("it panicked".to_owned()),
    }
}

/// An error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn log(hook: &str, event: &Event, failure: Option<String>) {
    if let Some(error) = failure {
        let (event_name, event_id) = (&event.event_name, &event.event_id);
        tracing::warn!(hook, event_name, event_id, error, "a hook failed");
    }
}
