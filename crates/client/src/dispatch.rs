//! What happens to an event that arrives.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard};

use openagents_protocol::Event;
use tokio::runtime;
use tokio::time::Instant;

use crate::hub::{Arrived, Hub};
use crate::lanes::{Job, Lanes};
use crate::progress::{Arrival, Progress, Ticket};
use crate::seen::Seen;

/// Room for frames that is kept between bursts, in bytes.
const KEPT_BYTES: usize = 16 * 1024;

/// Hands the events of one session to whoever wants them.
pub(crate) struct Dispatch {
    hub: Arc<Hub>,
    progress: Arc<Progress>,
    seen: Arc<Seen>,
    lanes: Arc<Lanes>,
    /// The number of the session for the lanes.
    session: u64,
    runtime: runtime::Handle,
    /// What arrived before the first handler, stream or wait. The lock also keeps deliveries in order.
    held: Mutex<Vec<Held<'static>>>,
}

/// An event on its way to whoever wants it.
struct Held<'a> {
    arrived: Instant,
    event: Arc<Event>,
    /// The frame it came in.
    frame: Cow<'a, str>,
    ticket: Ticket,
}

/// Events as they came over the wire, in their order, with the frames they came in.
#[derive(Default)]
pub(crate) struct Arrivals {
    events: Vec<Arc<Event>>,
    /// One behind the other: what was read is not kept for them.
    frames: String,
    /// Where the frame of each event ends.
    ends: Vec<usize>,
}

impl Arrivals {
    pub(crate) fn push(&mut self, event: Arc<Event>, frame: &str) {
        self.events.push(event);
        self.frames.push_str(frame);
        self.ends.push(self.frames.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn clear(&mut self) {
        self.events.clear();
        self.ends.clear();
        self.frames.clear();
        // An idle agent keeps no memory for the burst it once had.
        self.frames.shrink_to(KEPT_BYTES);
    }

    /// Takes the events; their frames stay until the next [`Arrivals::clear`].
    fn drain(&mut self) -> impl Iterator<Item = (Arc<Event>, &str)> {
        let Self { events, frames, ends } = self;
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let texts = starts.zip(ends.iter()).map(|(start, end)| &frames[start..*end]);
        events.drain(..).zip(texts)
    }
}

impl Held<'_> {
    /// It may be held for long, so it has its own frame.
    fn settle(self) -> Held<'static> {
        let Self {
            arrived,
            event,
            frame,
            ticket,
        } = self;
        Held {
            arrived,
            event,
            frame: Cow::Owned(frame.into_owned()),
            ticket,
        }
    }
}

/// The server sends more than its window allows.
#[derive(Debug)]
pub(crate) struct Overrun;

impl Dispatch {
    /// Dispatches on the current runtime.
    pub(crate) fn new(
        hub: &Arc<Hub>,
        progress: &Arc<Progress>,
        seen: &Arc<Seen>,
        lanes: &Arc<Lanes>,
    ) -> Self {
        let session = lanes.begin();
        if 1 < session {
            seen.expect_repeats();
        }
        Self {
            hub: Arc::clone(hub),
            progress: Arc::clone(progress),
            seen: Arc::clone(seen),
            session,
            lanes: Arc::clone(lanes),
            runtime: runtime::Handle::current(),
            held: Mutex::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, Vec<Held<'static>>> {
        self.held.lock().expect("poisoned")
    }

    /// Takes events from the wire, and hands them over together.
    pub(crate) fn arrive(&self, arrived: Instant, arrivals: &mut Arrivals) -> Result<(), Overrun> {
        let mut held = self.held();
        let mut outcome = Ok(());
        let mut fresh = Vec::with_capacity(arrivals.len());
        for (event, frame) in arrivals.drain() {
            match self.receive(&event) {
                Ok(None) => {}
                Ok(Some(ticket)) => fresh.push(Held {
                    arrived,
                    event,
                    frame: Cow::Borrowed(frame),
                    ticket,
                }),
                Err(overrun) => {
                    outcome = Err(overrun);
                    break;
                }
            }
        }
        if self.hub.is_open() {
            fresh.splice(0..0, held.drain(..));
            self.deliver(fresh);
        } else {
            held.extend(fresh.into_iter().map(Held::settle));
        }
        arrivals.clear();
        outcome
    }

    /// The ticket for an event, where it is new.
    fn receive(&self, event: &Event) -> Result<Option<Ticket>, Overrun> {
        let stored = event
            .sequence
            .map(|sequence| (sequence, self.seen.key(&event.event_id)));
        let ticket = match self.progress.receive(stored) {
            Arrival::New(ticket) => ticket,
            Arrival::Repeated | Arrival::Dropped => {
                tracing::trace!(
                    event_name = event.event_name,
                    event_id = event.event_id,
                    "event dropped"
                );
                return Ok(None);
            }
            Arrival::Overrun => return Err(Overrun),
        };
        if stored.is_some_and(|(_, key)| self.seen.is_complete(key)) {
            tracing::trace!(event_id = event.event_id, "event handled in an earlier session");
            ticket.finish();
            return Ok(None);
        }
        Ok(Some(ticket))
    }

    /// Hands over what was held back, since somebody wants it now.
    pub(crate) fn release(&self) {
        let mut held = self.held();
        let waiting = std::mem::take(&mut *held);
        self.deliver(waiting);
    }

    /// Hands nothing more to handlers, and waits until those that run have returned.
    pub(crate) async fn drain(&self) {
        self.lanes.drain(self.session).await;
    }

    /// Forgets what was not handled.
    pub(crate) fn stop(&self) {
        let held = std::mem::take(&mut *self.held());
        drop(held);
        self.progress.end();
        self.lanes.stop(self.session);
    }

    /// Called while the lock on what is held is taken.
    fn deliver(&self, events: Vec<Held<'_>>) {
        if events.is_empty() {
            return;
        }
        let told = events
            .iter()
            .map(|held| (held.arrived, &held.event, held.frame.as_ref()));
        let (numbers, audience) = self.hub.announce(told);
        let mut jobs = Vec::with_capacity(events.len());
        for (Held { event, ticket, .. }, number) in events.into_iter().zip(numbers) {
            let arrived = Arrived { event, number };
            for condition in &audience.conditions {
                self.hub.serve(condition, &arrived);
            }
            for stream in &audience.streams {
                stream.push(arrived.clone(), ticket.another());
            }
            let event = arrived.event;
            if audience.handlers.iter().any(|handler| handler.wants(&event)) {
                jobs.push(Job {
                    event,
                    handlers: Arc::clone(&audience.handlers),
                    ticket,
                    session: self.session,
                });
            } else {
                ticket.finish();
            }
        }
        self.lanes.push(jobs, &self.runtime);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_come_together_keep_their_frames_and_their_memory_is_given_back() {
        let mut arrivals = Arrivals::default();
        let frames = ["short".to_owned(), "é".repeat(KEPT_BYTES), String::new()];
        for frame in &frames {
            arrivals.push(Arc::new(Event::new("test.event")), frame);
        }
        let taken: Vec<&str> = arrivals.drain().map(|(_, frame)| frame).collect();
        assert_eq!(taken, frames);
        arrivals.clear();
        assert_eq!(arrivals.len(), 0);
        assert!(arrivals.frames.capacity() <= KEPT_BYTES);
        arrivals.push(Arc::new(Event::new("test.event")), "next");
        assert!(arrivals.drain().map(|(_, frame)| frame).eq(["next"]));
    }
}
