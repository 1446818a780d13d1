//! Everything that happens, as a stream.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use openagents_protocol::Event;

use crate::hub::Hub;
use crate::progress::Ticket;

/// Every event, in the order of the log; made by [`crate::AgentClient::events`].
///
/// It counts as a handler: an event is handled when the next one is asked for, or when the stream is dropped,
/// which unsubscribes. It holds at most the events that the server sends without acknowledgement. It ends
/// when the client disconnects, is dismissed for good, or is dropped.
#[must_use = "events wait for the one who reads them"]
pub struct EventStream {
    hub: Arc<Hub>,
    queue: Arc<Queue>,
    /// Of the event that was yielded last.
    current: Option<Ticket>,
}

/// What a stream has not yielded yet. Bounded by what may be in flight.
#[derive(Default)]
pub(crate) struct Queue {
    /// Guards the queue; held for a few lines only.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    events: VecDeque<(Arc<Event>, Ticket)>,
    waker: Option<Waker>,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The reader is gone: it is done with whatever comes.
    Unread,
    /// The client is gone: what was not yielded comes again in another session.
    Closed,
}

impl EventStream {
    pub(crate) fn new(hub: &Arc<Hub>) -> Self {
        let queue = Arc::new(Queue::default());
        hub.add_stream(&queue);
        Self {
            hub: Arc::clone(hub),
            queue,
            current: None,
        }
    }

    fn finish_current(&mut self) {
        if let Some(ticket) = self.current.take() {
            ticket.finish_now();
        }
    }
}

impl Stream for EventStream {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.finish_current();
        let mut state = self.queue.state();
        let Some((event, ticket)) = state.events.pop_front() else {
            if state.end.is_some() {
                return Poll::Ready(None);
            }
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        drop(state);
        self.current = Some(ticket);
        Poll::Ready(Some(Arc::unwrap_or_clone(event)))
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.hub.remove_stream(&self.queue);
        self.finish_current();
        let unread = self.queue.end(End::Unread);
        for (_, ticket) in unread {
            ticket.finish();
        }
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EventStream").finish_non_exhaustive()
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("poisoned")
    }

    pub(crate) fn push(&self, event: Arc<Event>, ticket: Ticket) {
        let mut state = self.state();
        match state.end {
            None => state.events.push_back((event, ticket)),
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

    /// Forgets what was not yielded.
    pub(crate) fn clear(&self) {
        let unread = std::mem::take(&mut self.state().events);
        drop(unread);
    }

    pub(crate) fn close(&self) {
        drop(self.end(End::Closed));
    }

    fn end(&self, end: End) -> VecDeque<(Arc<Event>, Ticket)> {
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
