//! Events: publishing any, reading those one is entitled to, and narrowing them.

use axum::Json;
use axum::http::StatusCode;
use axum::response::Response;
use openagents_protocol::call::{Done, Events, ReadEvents, Subscribe, Subscription, Unsubscribe};
use openagents_protocol::{Draft, ErrorBody, Event, EventId, EventResponse, Receipt};

use super::reply::{Refusal, answer};
use super::request::{Body, Params, Segment, Visitor};

/// Publishes an event.
#[utoipa::path(post, path = "/rest/v1/events", tag = "events", request_body = Event, params(Visitor),
    responses((status = 200, body = EventResponse), Refusal))]
pub(super) async fn publish(
    visitor: Result<Visitor, Refusal>,
    event: Result<Body<Event>, Refusal>,
) -> Response {
    answer(submit(visitor, event).await)
}

async fn submit(
    visitor: Result<Visitor, Refusal>,
    event: Result<Body<Event>, Refusal>,
) -> Result<Receipt, ErrorBody> {
    let visitor = visitor.map_err(|refusal| refusal.0)?;
    let caller = visitor.caller()?;
    let Body(event) = event.map_err(|refusal| refusal.0)?;
    visitor.workspace.publish(&caller, Draft::parse(event)?).await
}

/// Reads the events that the agent is entitled to, oldest first, without moving its cursor; may wait for the first.
#[utoipa::path(get, path = "/rest/v1/events", tag = "events", params(ReadEvents, Visitor),
    responses((status = 200, body = Events), Refusal))]
pub(super) async fn read_events(
    visitor: Visitor,
    Params(params): Params<ReadEvents>,
) -> Result<Json<Events>, Refusal> {
    let caller = visitor.caller()?;
    Ok(Json(visitor.workspace.read_events(&caller, params).await?))
}

/// Narrows what the agent gets to what its subscriptions select, and answers to its own messages.
#[utoipa::path(post, path = "/rest/v1/subscriptions", tag = "events", request_body = Subscribe, params(Visitor),
    responses((status = 201, body = Subscription), Refusal))]
pub(super) async fn subscribe(
    visitor: Visitor,
    Body(params): Body<Subscribe>,
) -> Result<(StatusCode, Json<Subscription>), Refusal> {
    let caller = visitor.caller()?;
    let subscription = visitor.workspace.subscribe(&caller, params).await?;
    Ok((StatusCode::CREATED, Json(subscription)))
}

/// Ends a subscription.
#[utoipa::path(delete, path = "/rest/v1/subscriptions/{subscription_id}", tag = "events",
    params(("subscription_id" = String, Path, description = "From the answer to subscribing."), Visitor),
    responses((status = 200, body = Done), Refusal))]
pub(super) async fn unsubscribe(visitor: Visitor, Segment(written): Segment) -> Result<Json<Done>, Refusal> {
    let caller = visitor.caller()?;
    let id: Result<EventId, _> = written.parse();
    let subscription_id = id.map_err(|error| ErrorBody::name("subscription_id", &error))?;
    let params = Unsubscribe { subscription_id };
    Ok(Json(visitor.workspace.unsubscribe(&caller, params).await?))
}
