//! Events with the duty to say when each is handled, for whoever runs handlers somewhere else.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use openagents_protocol::Event;

use crate::hub::{Arrived, Hub, Lookback};
use crate::progress::Ticket;

/// Every event, in the order of the log; made by [`crate::AgentClient::deliveries`].
///
/// It counts as one handler that works on many events at once: each delivery is finished by itself, in any order,
/// and the workspace is told how far everything before is handled. It holds at most the events that the server
/// sends without acknowledgement. Dropping it unsubscribes; what it still holds counts as handled then. It ends
/// when the client disconnects, is dismissed for good, or is dropped.
///
/// This is what a binding to another language builds its handlers, streams and waits on. Rust programs are better
/// off with [`crate::AgentClient::register_event_handler`] and [`crate::AgentClient::events`].
#[must_use = "events wait for the one who reads them"]
pub struct Deliveries {
    hub: Arc<Hub>,
    queue: Arc<Queue>,
    /// For waits only.
    lookback: Lookback,
}

/// One event that was handed over; from [`Deliveries::next_batch`].
///
/// Dropped without [`Delivery::finish`], the event counts as unhandled and comes again in another session.
pub struct Delivery {
    arrived: Arrived,
    /// None for what was looked back at: that was handed to others before.
    ticket: Option<Ticket>,
}

/// What was not taken yet. Bounded by what may be in flight.
#[derive(Default)]
pub(crate) struct Queue {
    /// Guards the queue; held for a few lines only.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    events: VecDeque<(Arrived, Ticket)>,
    waker: Option<Waker>,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The reader is gone: it is done with whatever comes.
    Unread,
    /// The client is gone: what was not taken comes again in another session.
    Closed,
}

impl Deliveries {
    /// Everything from now on.
    pub(crate) fn new(hub: &Arc<Hub>) -> Self {
        let queue = Arc::new(Queue::default());
        hub.add_stream(&queue);
        Self {
            hub: Arc::clone(hub),
            queue,
            lookback: Lookback::none(hub),
        }
    }

    /// What a wait looks at: what no wait returned yet, then everything from now on.
    pub(crate) fn looking_back(hub: &Arc<Hub>) -> Self {
        let queue = Arc::new(Queue::default());
        let lookback = hub.add_stream_looking_back(&queue);
        Self {
            hub: Arc::clone(hub),
            queue,
            lookback,
        }
    }

    /// Waits for events and takes what there is, at most `limit` (and at least one); none when nothing comes any
    /// more.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn next_batch(&mut self, limit: usize) -> Option<Vec<Delivery>> {
        std::future::poll_fn(|context| self.poll_batch(context, limit)).await
    }

    pub(crate) fn poll_batch(
        &mut self,
        context: &mut Context<'_>,
        limit: usize,
    ) -> Poll<Option<Vec<Delivery>>> {
        let limit = limit.max(1);
        if let Some(earlier) = self.lookback.next_batch(limit) {
            let seen = earlier.into_iter().map(|arrived| Delivery {
                arrived,
                ticket: None,
            });
            return Poll::Ready(Some(seen.collect()));
        }
        let mut state = self.queue.state();
        if !state.events.is_empty() {
            let count = limit.min(state.events.len());
            let new = state.events.drain(..count).map(|(arrived, ticket)| Delivery {
                arrived,
                ticket: Some(ticket),
            });
            return Poll::Ready(Some(new.collect()));
        }
        if state.end.is_some() {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// A wait ends with this event, so that later waits do not look back at it. False if it was looked back at
    /// and another wait returned it in the meantime.
    pub fn claim(&self, delivery: &Delivery) -> bool {
        let found = self.hub.claim(&delivery.arrived);
        found || delivery.ticket.is_some()
    }

    /// A wait ends without an event: later waits look no further back.
    pub fn give_up(&self) {
        self.hub.forget_recent();
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        self.hub.remove_stream(&self.queue);
        let unread = self.queue.end(End::Unread);
        for (_, ticket) in unread {
            ticket.finish();
        }
    }
}

impl fmt::Debug for Deliveries {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Deliveries").finish_non_exhaustive()
    }
}

impl Delivery {
    /// The event.
    pub fn event(&self) -> &Arc<Event> {
        &self.arrived.event
    }

    /// Whether handling it still counts. False when its session is over: it comes again in the next one.
    pub fn is_current(&self) -> bool {
        self.ticket.as_ref().is_none_or(Ticket::is_current)
    }

    /// It is handled.
    pub fn finish(self) {
        if let Some(ticket) = self.ticket {
            ticket.finish();
        }
    }

    /// It is handled, and nobody knows how long the next will take: it is to be acknowledged now.
    pub fn finish_now(self) {
        if let Some(ticket) = self.ticket {
            ticket.finish_now();
        }
    }

    /// Handling it takes long: what was handled before is to be acknowledged now.
    pub fn flush(&self) {
        if let Some(ticket) = &self.ticket {
            ticket.flush();
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Delivery");
        shown.field("event", &self.arrived.event).finish_non_exhaustive()
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("poisoned")
    }

    pub(crate) fn push(&self, arrived: Arrived, ticket: Ticket) {
        let mut state = self.state();
        match state.end {
            None => state.events.push_back((arrived, ticket)),
            Some(End::Unread) => {
                drop(state);
                return ticket.finish();
            }
            Some(End::Closed) => return,
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Forgets what was not taken.
    pub(crate) fn clear(&self) {
        let unread = std::mem::take(&mut self.state().events);
        drop(unread);
    }

    pub(crate) fn close(&self) {
        drop(self.end(End::Closed));
    }

    fn end(&self, end: End) -> VecDeque<(Arrived, Ticket)> {
        let mut state = self.state();
        state.end.get_or_insert(end);
        let (unread, waker) = (std::mem::take(&mut state.events), state.waker.take());
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        unread
    }
}
