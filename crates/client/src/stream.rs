//! Everything that happens, as a stream.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use openagents_protocol::Event;

use crate::deliveries::{Deliveries, Delivery};

/// Every event, in the order of the log; made by [`crate::AgentClient::events`].
///
/// It counts as a handler: an event is handled when the next one is asked for, or when the stream is dropped,
/// which unsubscribes. It holds at most the events that the server sends without acknowledgement. It ends
/// when the client disconnects, is dismissed for good, or is dropped.
#[must_use = "events wait for the one who reads them"]
pub struct EventStream {
    deliveries: Deliveries,
    /// The event that was yielded last.
    current: Option<Delivery>,
}

impl EventStream {
    pub(crate) fn new(deliveries: Deliveries) -> Self {
        Self {
            deliveries,
            current: None,
        }
    }

    fn finish_current(&mut self) {
        if let Some(delivery) = self.current.take() {
            delivery.finish_now();
        }
    }
}

impl Stream for EventStream {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.finish_current();
        let batch = ready!(self.deliveries.poll_batch(context, 1));
        self.current = batch.and_then(|mut batch| batch.pop());
        let event = self.current.as_ref().map(Delivery::event);
        Poll::Ready(event.map(|event| Event::clone(event)))
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.finish_current();
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EventStream").finish_non_exhaustive()
    }
}
