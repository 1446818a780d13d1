//! What happens to an event that arrives.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use openagents_protocol::Event;
use tokio::runtime;
use tokio::time::Instant;

use crate::hub::Hub;
use crate::lanes::{Job, Lanes};
use crate::progress::{Arrival, Progress, Ticket};
use crate::seen::Seen;

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
    held: Mutex<VecDeque<Held>>,
}

struct Held {
    arrived: Instant,
    event: Arc<Event>,
    ticket: Ticket,
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
        Self {
            hub: Arc::clone(hub),
            progress: Arc::clone(progress),
            seen: Arc::clone(seen),
            session: lanes.begin(),
            lanes: Arc::clone(lanes),
            runtime: runtime::Handle::current(),
            held: Mutex::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, VecDeque<Held>> {
        self.held.lock().expect("poisoned")
    }

    /// Takes an event from the wire.
    pub(crate) fn arrive(&self, arrived: Instant, event: Event) -> Result<(), Overrun> {
        match self.progress.receive(event.sequence) {
            Arrival::New => {}
            Arrival::Repeated | Arrival::Dropped => {
                tracing::trace!(
                    event_name = event.event_name,
                    event_id = event.event_id,
                    "event dropped"
                );
                return Ok(());
            }
            Arrival::Overrun => return Err(Overrun),
        }
        let key = event.sequence.map(|_| self.seen.key(&event.event_id));
        let ticket = self.progress.ticket(event.sequence, key);
        if key.is_some_and(|key| self.seen.is_complete(key)) {
            tracing::trace!(event_id = event.event_id, "event handled in an earlier session");
            ticket.finish();
            return Ok(());
        }
        let mut held = self.held();
        held.push_back(Held {
            arrived,
            event: Arc::new(event),
            ticket,
        });
        if self.hub.is_open() {
            self.deliver(&mut held);
        }
        Ok(())
    }

    /// Hands over what was held back, since somebody wants it now.
    pub(crate) fn release(&self) {
        self.deliver(&mut self.held());
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

    fn deliver(&self, held: &mut VecDeque<Held>) {
        for Held {
            arrived,
            event,
            ticket,
        } in held.drain(..)
        {
            let audience = self.hub.announce(arrived, &event);
            for condition in audience.conditions.iter() {
                self.hub.serve(condition, &event);
            }
            for stream in audience.streams.iter() {
                stream.push(Arc::clone(&event), ticket.another());
            }
            if audience.handlers.iter().any(|handler| handler.wants(&event)) {
                let job = Job {
                    event,
                    handlers: audience.handlers,
                    ticket,
                    session: self.session,
                };
                self.lanes.push(job, &self.runtime);
            } else {
                ticket.finish();
            }
        }
    }
}
