//! Who wants to know what: handlers, streams, waits and questions of one client, whatever it is connected to.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use openagents_protocol::{Event, Sequence};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::answer::{Answers, Asked};
use crate::deliveries::Queue;
use crate::handler::Handler;
use crate::recent::Recent;

/// The interests of one client.
///
/// Invariant: nothing that a program gave us (handlers, conditions) is called or dropped while the lock is held,
/// since it may use the client, or hold the last handle of it.
#[derive(Default)]
pub(crate) struct Hub {
    /// Guards the registrations; held for a few lines only.
    state: Mutex<State>,
    /// Whether there was ever a handler, stream or wait. Nothing is dispatched before.
    open: AtomicBool,
}

#[derive(Default)]
struct State {
    audience: Audience,
    answers: Answers,
    recent: Recent,
    next_id: u64,
}

/// Everybody who may want an event, as of one moment.
#[derive(Clone, Default)]
pub(crate) struct Audience {
    pub(crate) handlers: Arc<Vec<Arc<Handler>>>,
    pub(crate) streams: Arc<Vec<Arc<Queue>>>,
    pub(crate) conditions: Arc<Vec<Arc<Condition>>>,
}

/// A wait for the first event for which something is true.
pub(crate) struct Condition {
    id: u64,
    holds: Box<dyn Fn(&Event) -> bool + Send + Sync>,
    /// Taken by whoever satisfies it first.
    sender: Mutex<Option<oneshot::Sender<Arc<Event>>>>,
}

/// An open wait; dropping it ends it.
pub(crate) struct Wait {
    hub: Arc<Hub>,
    condition: Arc<Condition>,
    pub(crate) receiver: oneshot::Receiver<Arc<Event>>,
    /// What arrived shortly before it began.
    lookback: Vec<Arc<Event>>,
}

/// An open question; dropping it ends it.
pub(crate) struct OpenQuestion {
    hub: Arc<Hub>,
    id: u64,
    pub(crate) receiver: oneshot::Receiver<Arc<Event>>,
}

impl Hub {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("poisoned")
    }

    /// Whether a handler wants events of the workspace itself by name.
    pub(crate) fn follows_system(&self) -> bool {
        let handlers = Arc::clone(&self.state().audience.handlers);
        handlers.iter().any(|handler| handler.names_system())
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Opens it; true for the first time, when what was held back is to be dispatched.
    pub(crate) fn open(&self) -> bool {
        !self.open.swap(true, Ordering::AcqRel)
    }

    /// Registers a handler behind the others and returns its id.
    pub(crate) fn register(&self, make: impl FnOnce(u64) -> Handler) -> u64 {
        let mut state = self.state();
        let id = state.new_id();
        let handler = Arc::new(make(id));
        Arc::make_mut(&mut state.audience.handlers).push(handler);
        id
    }

    pub(crate) fn unregister(&self, id: u64) -> bool {
        let mut state = self.state();
        let handlers = Arc::make_mut(&mut state.audience.handlers);
        let removed = handlers
            .iter()
            .position(|handler| handler.id == id)
            .map(|index| handlers.remove(index));
        drop(state);
        removed.inspect(|handler| handler.deactivate()).is_some()
    }

    pub(crate) fn add_stream(&self, queue: &Arc<Queue>) {
        Arc::make_mut(&mut self.state().audience.streams).push(Arc::clone(queue));
    }

    /// The same for a wait. Every event is either in what is returned or pushed to the queue.
    pub(crate) fn add_stream_looking_back(&self, queue: &Arc<Queue>) -> Vec<Arc<Event>> {
        let mut state = self.state();
        Arc::make_mut(&mut state.audience.streams).push(Arc::clone(queue));
        state.recent.events(Instant::now())
    }

    /// A wait returns this event; false if it is not among those that no wait returned yet.
    pub(crate) fn claim(&self, event: &Arc<Event>) -> bool {
        self.state().recent.take(event)
    }

    /// A wait ended without an event: later waits look no further back.
    pub(crate) fn forget_recent(&self) {
        self.state().recent.clear();
    }

    pub(crate) fn remove_stream(&self, queue: &Arc<Queue>) {
        Arc::make_mut(&mut self.state().audience.streams).retain(|other| !Arc::ptr_eq(other, queue));
    }

    /// Opens a wait. Every event is either in its lookback or offered to it.
    pub(crate) fn wait(self: &Arc<Self>, holds: Box<dyn Fn(&Event) -> bool + Send + Sync>) -> Wait {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        let condition = Arc::new(Condition {
            id: state.new_id(),
            holds,
            sender: Mutex::new(Some(sender)),
        });
        Arc::make_mut(&mut state.audience.conditions).push(Arc::clone(&condition));
        let lookback = state.recent.events(Instant::now());
        drop(state);
        Wait {
            hub: Arc::clone(self),
            condition,
            receiver,
            lookback,
        }
    }

    /// Opens a question, before it is sent under this event id.
    pub(crate) fn ask(self: &Arc<Self>, request: &str, asked: Asked) -> OpenQuestion {
        let (id, receiver) = self.state().answers.ask(request, asked);
        OpenQuestion {
            hub: Arc::clone(self),
            id,
            receiver,
        }
    }

    /// An event arrived: serves the questions and tells who else may want it.
    pub(crate) fn announce(&self, arrived: Instant, event: &Arc<Event>) -> Audience {
        let mut state = self.state();
        if !state.answers.offer(event) {
            state.recent.push(arrived, event);
        }
        state.audience.clone()
    }

    /// Serves a wait if its condition holds.
    pub(crate) fn serve(&self, condition: &Arc<Condition>, event: &Arc<Event>) {
        let holds = catch_unwind(AssertUnwindSafe(|| (condition.holds)(event)));
        match holds {
            Ok(false) => {}
            Ok(true) => {
                self.claim(event);
                condition.satisfy(event);
                self.end_wait(condition);
            }
            Err(_) => tracing::warn!(event_name = event.event_name, "the condition of a wait panicked"),
        }
    }

    fn end_wait(&self, condition: &Arc<Condition>) {
        let mut state = self.state();
        let conditions = Arc::make_mut(&mut state.audience.conditions);
        let index = conditions.iter().position(|other| other.id == condition.id);
        let removed = index.map(|index| conditions.remove(index));
        drop(state);
        drop(removed);
    }

    /// A publish with this event id was acknowledged at this sequence.
    pub(crate) fn published(&self, event_id: &str, sequence: Option<Sequence>) {
        let mut state = self.state();
        state.recent.published(sequence);
        state.answers.published(event_id, sequence);
    }

    /// A new session begins: what the streams have not yielded comes again.
    pub(crate) fn begin_session(&self) {
        self.state().recent.clear();
        let streams = Arc::clone(&self.state().audience.streams);
        streams.iter().for_each(|stream| stream.clear());
    }

    /// Nothing comes any more: waits, questions and streams end.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        let conditions = std::mem::take(&mut state.audience.conditions);
        let streams = std::mem::take(&mut state.audience.streams);
        state.answers.close_all();
        state.recent.clear();
        drop(state);
        for condition in conditions.iter() {
            drop(condition.sender.lock().expect("poisoned").take());
        }
        streams.iter().for_each(|stream| stream.close());
    }
}

impl State {
    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

impl Condition {
    fn satisfy(&self, event: &Arc<Event>) {
        if let Some(sender) = self.sender.lock().expect("poisoned").take() {
            // Whoever waited may be gone by now.
            sender.send(Arc::clone(event)).ok();
        }
    }
}

impl Wait {
    /// Looks at what arrived shortly before; true if that ended the wait.
    pub(crate) fn look_back(&mut self) -> bool {
        let found = std::mem::take(&mut self.lookback)
            .into_iter()
            .find(|event| (self.condition.holds)(event) && self.hub.claim(event));
        if let Some(event) = &found {
            self.condition.satisfy(event);
        }
        found.is_some()
    }

    /// It ends without an event: later waits look no further back.
    pub(crate) fn gave_up(&self) {
        self.hub.forget_recent();
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.hub.end_wait(&self.condition);
    }
}

impl Drop for OpenQuestion {
    fn drop(&mut self) {
        self.hub.state().answers.close(self.id);
    }
}
