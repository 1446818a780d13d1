//! Who wants to know what: handlers, streams, waits and questions of one client, whatever it is connected to.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use openagents_protocol::frame::ServerFrame;
use openagents_protocol::{Event, Sequence};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::answer::{Answers, Asked};
use crate::deliveries::Queue;
use crate::handler::Handler;
use crate::recent::Recent;

/// How many events a wait that looks back reads at once: it mostly ends with one of the first.
const LOOKED_AT_ONCE: usize = 8;

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
    audience: Arc<Audience>,
    answers: Answers,
    recent: Recent,
    next_id: u64,
}

/// Everybody who may want an event, as of one moment.
#[derive(Clone, Default)]
pub(crate) struct Audience {
    /// By themselves, since jobs keep them while handlers run.
    pub(crate) handlers: Arc<Vec<Arc<Handler>>>,
    pub(crate) streams: Vec<Arc<Queue>>,
    pub(crate) conditions: Vec<Arc<Condition>>,
}

/// An event that arrived.
#[derive(Clone)]
pub(crate) struct Arrived {
    pub(crate) event: Arc<Event>,
    /// Its number among what may be looked back at; none where it answered a question.
    pub(crate) number: Option<u64>,
}

/// What arrived shortly before a wait began, oldest first.
pub(crate) struct Lookback {
    hub: Arc<Hub>,
    /// The numbers that were not looked at yet.
    numbers: Range<u64>,
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
    lookback: Lookback,
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
        let audience = Arc::clone(&self.state().audience);
        audience.handlers.iter().any(|handler| handler.names_system())
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
        Arc::make_mut(&mut state.audience_mut().handlers).push(handler);
        id
    }

    pub(crate) fn unregister(&self, id: u64) -> bool {
        let mut state = self.state();
        let handlers = Arc::make_mut(&mut state.audience_mut().handlers);
        let removed = handlers
            .iter()
            .position(|handler| handler.id == id)
            .map(|index| handlers.remove(index));
        drop(state);
        removed.inspect(|handler| handler.deactivate()).is_some()
    }

    pub(crate) fn add_stream(&self, queue: &Arc<Queue>) {
        self.state().audience_mut().streams.push(Arc::clone(queue));
    }

    /// The same for a wait. Every event is either in what is returned or pushed to the queue.
    pub(crate) fn add_stream_looking_back(self: &Arc<Self>, queue: &Arc<Queue>) -> Lookback {
        let mut state = self.state();
        state.audience_mut().streams.push(Arc::clone(queue));
        let numbers = 0..state.recent.end();
        drop(state);
        Lookback {
            hub: Arc::clone(self),
            numbers,
        }
    }

    /// A wait returns this event; false if it is not among those that no wait returned yet.
    pub(crate) fn claim(&self, arrived: &Arrived) -> bool {
        arrived
            .number
            .is_some_and(|number| self.state().recent.take(number))
    }

    /// A wait ended without an event: later waits look no further back.
    pub(crate) fn forget_recent(&self) {
        self.state().recent.clear();
    }

    pub(crate) fn remove_stream(&self, queue: &Arc<Queue>) {
        self.state()
            .audience_mut()
            .streams
            .retain(|other| !Arc::ptr_eq(other, queue));
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
        state.audience_mut().conditions.push(Arc::clone(&condition));
        let numbers = 0..state.recent.end();
        drop(state);
        Wait {
            hub: Arc::clone(self),
            condition,
            receiver,
            lookback: Lookback {
                hub: Arc::clone(self),
                numbers,
            },
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

    /// Events arrived, in this order, at these times and in these frames: serves the questions and tells who else may
    /// want them. What is returned has the number of each for a look back; none where it answered a question.
    pub(crate) fn announce<'a>(
        &self,
        events: impl Iterator<Item = (Instant, &'a Arc<Event>, &'a str)>,
    ) -> (Vec<Option<u64>>, Arc<Audience>) {
        let mut state = self.state();
        let State { answers, recent, .. } = &mut *state;
        let numbers = events.map(|(arrived, event, frame)| {
            let answered = answers.offer(event);
            (!answered).then(|| recent.push(arrived, event.sequence, frame))
        });
        (numbers.collect(), Arc::clone(&state.audience))
    }

    /// Serves a wait if its condition holds and nothing did before.
    pub(crate) fn serve(&self, condition: &Arc<Condition>, arrived: &Arrived) {
        let event = &arrived.event;
        if !condition.is_open() {
            return;
        }
        let holds = catch_unwind(AssertUnwindSafe(|| (condition.holds)(event)));
        match holds {
            Ok(false) => {}
            Ok(true) => {
                self.claim(arrived);
                condition.satisfy(event);
                self.end_wait(condition);
            }
            Err(_) => tracing::warn!(event_name = event.event_name, "the condition of a wait panicked"),
        }
    }

    fn end_wait(&self, condition: &Arc<Condition>) {
        let mut state = self.state();
        let conditions = &mut state.audience_mut().conditions;
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
        let audience = Arc::clone(&self.state().audience);
        for stream in &audience.streams {
            stream.clear();
        }
    }

    /// Nothing comes any more: waits, questions and streams end.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        let audience = state.audience_mut();
        let conditions = std::mem::take(&mut audience.conditions);
        let streams = std::mem::take(&mut audience.streams);
        state.answers.close_all();
        state.recent.clear();
        drop(state);
        for condition in &conditions {
            drop(condition.sender.lock().expect("poisoned").take());
        }
        for stream in &streams {
            stream.close();
        }
    }
}

impl State {
    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The audience of what comes from here on.
    fn audience_mut(&mut self) -> &mut Audience {
        Arc::make_mut(&mut self.audience)
    }
}

impl Condition {
    fn is_open(&self) -> bool {
        self.sender.lock().expect("poisoned").is_some()
    }

    fn satisfy(&self, event: &Arc<Event>) {
        if let Some(sender) = self.sender.lock().expect("poisoned").take() {
            // Whoever waited may be gone by now.
            sender.send(Arc::clone(event)).ok();
        }
    }
}

impl Lookback {
    /// A lookback at nothing.
    pub(crate) fn none(hub: &Arc<Hub>) -> Self {
        Self {
            hub: Arc::clone(hub),
            numbers: 0..0,
        }
    }

    /// The next ones, at most `limit` of them; none when it was all looked at. What another wait returned meanwhile
    /// is left out.
    pub(crate) fn next_batch(&mut self, limit: usize) -> Option<Vec<Arrived>> {
        if self.numbers.is_empty() {
            return None;
        }
        let frames = self
            .hub
            .state()
            .recent
            .frames(Instant::now(), self.numbers.clone(), limit);
        let Some((last, _)) = frames.last() else {
            self.numbers = 0..0;
            return None;
        };
        self.numbers.start = last + 1;
        let read = |(number, frame): (u64, String)| match ServerFrame::decode(&frame) {
            Ok(ServerFrame::Event(event)) => Some(Arrived {
                event,
                number: Some(number),
            }),
            _ => None,
        };
        Some(frames.into_iter().filter_map(read).collect())
    }
}

impl Wait {
    /// Looks at what arrived shortly before; true if that ended the wait.
    pub(crate) fn look_back(&mut self) -> bool {
        while let Some(earlier) = self.lookback.next_batch(LOOKED_AT_ONCE) {
            let found = earlier
                .iter()
                .find(|arrived| (self.condition.holds)(&arrived.event) && self.hub.claim(arrived));
            if let Some(found) = found {
                self.condition.satisfy(&found.event);
                return true;
            }
        }
        false
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
