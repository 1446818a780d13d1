//! Whose handler runs, so that what it sends is linked to the event.

use std::sync::Arc;

use openagents_protocol::Event;

tokio::task_local! {
    /// The event whose handler runs.
    static CURRENT: Cause;
}

/// What is remembered of an event while its handler runs. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Cause {
    /// The names one behind the other, in one piece of memory: every call of a handler needs one.
    names: Arc<str>,
    /// Where the id ends and the source begins.
    id_ends: usize,
    /// Where the source ends and the name of the event begins.
    source_ends: usize,
}

impl Cause {
    pub(crate) fn of(event: &Event) -> Self {
        let Event {
            event_id,
            source_id,
            event_name,
            ..
        } = event;
        let mut names = String::with_capacity(event_id.len() + source_id.len() + event_name.len());
        names.extend([event_id.as_str(), source_id, event_name]);
        Self {
            names: names.into(),
            id_ends: event_id.len(),
            source_ends: event_id.len() + source_id.len(),
        }
    }

    pub(crate) fn event_id(&self) -> &str {
        &self.names[..self.id_ends]
    }

    pub(crate) fn source_id(&self) -> &str {
        &self.names[self.id_ends..self.source_ends]
    }

    pub(crate) fn event_name(&self) -> &str {
        &self.names[self.source_ends..]
    }

    /// Lets something run as if in the handler of the event.
    pub(crate) fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(self.clone(), future)
    }

    /// That of the event whose handler runs in this task, if one does.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }
}

/// Runs a future as a handler of this event would run: what it sends is linked to the event.
///
/// For handlers that run somewhere else, such as those of another language; see [`crate::Deliveries`].
pub async fn handling<F: Future>(event: Arc<Event>, future: F) -> F::Output {
    let cause = Cause::of(&event);
    cause.scope(future).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_runs_in_its_scope_knows_the_event() {
        assert!(Cause::current().is_none());
        let mut event = Event::new("task.done");
        event.event_id = "é1".into();
        event.source_id = "böb".into();
        let found = handling(Arc::new(event), async { Cause::current() }).await;
        let cause = found.expect("it runs in the scope");
        let names = (cause.event_id(), cause.source_id(), cause.event_name());
        assert_eq!(names, ("é1", "böb", "task.done"));
    }
}
