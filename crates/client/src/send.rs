//! Sending events.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use openagents_protocol::{Address, ErrorBody, ErrorCode, Event, EventId, EventResponse};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::cause::Cause;
use crate::client::Core;
use crate::error::{PublishError, not_connected};
use crate::link::Link;
use crate::outbox::MAX_PENDING;

/// How long calls wait for their answer where nothing else is said.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// The moment a wait of this length ends; one that is too long for the clock ends in thirty years.
pub(crate) fn deadline(timeout: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(timeout)
        .unwrap_or_else(|| now + Duration::from_hours(30 * 365 * 24))
}

/// An event on its way; made by [`crate::AgentClient::send_event`].
///
/// Events are queued when they are first polled, in that order, and need not wait for each other: many may be
/// joined or kept in a `FuturesUnordered`.
///
/// # Cancel safety
///
/// Dropped before it is polled, nothing is sent. Dropped later, the event may still be delivered.
#[must_use = "an event is not sent until it is awaited"]
pub struct SendEvent {
    state: State,
    timeout: Duration,
}

enum State {
    New(Arc<Core>, Box<Event>),
    Sending(BoxFuture<'static, EventResponse>),
    Done,
}

impl SendEvent {
    pub(crate) fn new(core: &Arc<Core>, event: Event) -> Self {
        let event = Box::new(prepare(event));
        Self {
            state: State::New(Arc::clone(core), event),
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// How long to wait for the acknowledgement, reconnecting included; default 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl Future for SendEvent {
    type Output = EventResponse;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<EventResponse> {
        loop {
            match std::mem::replace(&mut self.state, State::Done) {
                State::New(core, event) => {
                    self.state = State::Sending(Box::pin(send(core.link(), event, self.timeout)));
                }
                State::Sending(mut sending) => {
                    let polled = sending.as_mut().poll(context);
                    if polled.is_pending() {
                        self.state = State::Sending(sending);
                    }
                    return polled;
                }
                State::Done => panic!("a SendEvent was polled after it was done"),
            }
        }
    }
}

impl fmt::Debug for SendEvent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SendEvent")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

async fn send(link: Option<Arc<Link>>, event: Box<Event>, timeout: Duration) -> EventResponse {
    match queue(link, *event, timeout).await {
        Ok(pending) => pending.await,
        Err(response) => response,
    }
}

/// Sends events in this order, each when there is room for it; what the workspace says to each.
pub(crate) async fn send_all(core: &Core, events: Vec<Event>, timeout: Duration) -> Vec<EventResponse> {
    let mut sent = Vec::with_capacity(events.len());
    for event in events {
        sent.push(queue(core.link(), prepare(event), timeout).await);
    }
    let mut responses = Vec::with_capacity(sent.len());
    for pending in sent {
        responses.push(match pending {
            Ok(pending) => pending.await,
            Err(response) => response,
        });
    }
    responses
}

/// Queues an event as soon as there is room; what is returned waits for the answer.
async fn queue(
    link: Option<Arc<Link>>,
    event: Event,
    timeout: Duration,
) -> Result<PendingPublish, EventResponse> {
    let Some(link) = link else {
        return Err(refused(not_connected()));
    };
    let deadline = deadline(timeout);
    let queued = match tokio::time::timeout_at(deadline, link.outbox.space()).await {
        Ok(Ok(space)) => link.outbox.publish(space, event),
        Ok(Err(error)) => Err(error),
        Err(_) => return Err(timed_out(timeout, "it was not sent")),
    };
    let (id, response) = queued.map_err(refused)?;
    let answer = acknowledged(link, id, response, deadline, timeout);
    Ok(PendingPublish(Box::pin(answer)))
}

async fn acknowledged(
    link: Arc<Link>,
    id: u64,
    mut response: oneshot::Receiver<EventResponse>,
    deadline: Instant,
    timeout: Duration,
) -> EventResponse {
    match tokio::time::timeout_at(deadline, &mut response).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => refused(not_connected()),
        Err(_) => {
            link.outbox.give_up(id);
            // The answer may have come in this very moment.
            response
                .try_recv()
                .unwrap_or_else(|_| timed_out(timeout, "it may still be delivered"))
        }
    }
}

/// An event that is queued already; made by [`crate::AgentClient::publish`]. It resolves with the answer of the
/// workspace.
///
/// Dropping it takes nothing back: the event is sent, and repeated until it is acknowledged.
#[must_use = "whether the event was accepted is only known when this is awaited"]
pub struct PendingPublish(BoxFuture<'static, EventResponse>);

impl Future for PendingPublish {
    type Output = EventResponse;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<EventResponse> {
        self.0.as_mut().poll(context)
    }
}

impl fmt::Debug for PendingPublish {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PendingPublish").finish_non_exhaustive()
    }
}

/// Queues an event now, if there is room.
pub(crate) fn publish(link: Option<Arc<Link>>, event: Event) -> Result<PendingPublish, PublishError> {
    let Some(link) = link else {
        return Err(PublishError::NotConnected(not_connected()));
    };
    let Some(space) = link.outbox.try_space() else {
        return match link.outbox.end_reason() {
            Some(reason) => Err(PublishError::NotConnected(reason)),
            None => Err(PublishError::QueueFull { limit: MAX_PENDING }),
        };
    };
    let (id, response) = link
        .outbox
        .publish(space, prepare(event))
        .map_err(PublishError::NotConnected)?;
    let answer = acknowledged(link, id, response, deadline(DEFAULT_TIMEOUT), DEFAULT_TIMEOUT);
    Ok(PendingPublish(Box::pin(answer)))
}

fn refused(error: ErrorBody) -> EventResponse {
    EventResponse::from(Err(error))
}

fn timed_out(timeout: Duration, consequence: &str) -> EventResponse {
    let message = format!("the event was not acknowledged within {timeout:?}; {consequence}");
    refused(ErrorBody::new(ErrorCode::TimedOut, message))
}

/// Gives it an id, so that repeating it changes nothing, and links it to the event whose handler sends it.
fn prepare(mut event: Event) -> Event {
    if event.event_id.is_empty() {
        event.event_id = new_event_id();
    }
    // Who sends it is known by the session, and the rest is for the workspace to say.
    event.source_id.clear();
    event.timestamp_ms = 0;
    event.sequence = None;
    event.also.clear();
    let current = Cause::current();
    if event.caused_by.is_none() {
        event.caused_by = current.as_ref().map(|current| current.event_id().to_owned());
    }
    if event.response_to.is_none()
        && let Some(current) = current
        && event
            .destination_id
            .as_deref()
            .is_some_and(|destination| is_agent(destination, current.source_id()))
    {
        event.response_to = Some(current.event_id().to_owned());
    }
    event
}

/// An id for an event that is about to be sent.
pub(crate) fn new_event_id() -> String {
    EventId::new().into()
}

fn is_agent(destination: &str, agent: &str) -> bool {
    matches!(destination.parse(), Ok(Address::Agent(id)) if id == agent)
}
