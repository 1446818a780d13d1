//! Handlers beside the hooks, by the name of the event.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use openagents_protocol::{Event, Pattern};

use super::context::EventContext;
use super::error::HookResult;
use super::handle::Worker;

type Call<A> = dyn Fn(Arc<A>, Worker, EventContext) -> BoxFuture<'static, HookResult> + Send + Sync;

/// A handler of an agent for events whose names match.
pub(crate) struct PatternHandler<A> {
    pub(crate) patterns: Vec<Pattern>,
    call: Box<Call<A>>,
}

impl<A> PatternHandler<A> {
    pub(crate) fn new<F, Fut>(patterns: Vec<Pattern>, handler: F) -> Self
    where
        F: Fn(Arc<A>, Worker, EventContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HookResult> + Send + 'static,
    {
        Self {
            patterns,
            call: Box::new(move |agent, worker, context| handler(agent, worker, context).boxed()),
        }
    }

    /// Whether it is to be called for this event; once, however many of its patterns match.
    pub(crate) fn wants(&self, event: &Event) -> bool {
        self.patterns.iter().any(|pattern| event.matches(pattern))
    }

    pub(crate) async fn call(&self, agent: &Arc<A>, worker: &Worker, context: EventContext) -> HookResult {
        (self.call)(Arc::clone(agent), worker.clone(), context).await
    }
}
