//! Messages: posting them, and reading the history.

use axum::Json;
use axum::response::Response;
use openagents_protocol::call::{Messages, Page, PostMessage};
use openagents_protocol::{
    AgentId, ChannelName, Draft, ErrorBody, Event, EventResponse, InvalidName, Receipt,
};

use super::reply::{Refusal, answer};
use super::request::{Body, Params, Segment, Visitor};

/// Reads the messages of a channel: newest first, or forward from `after`.
#[utoipa::path(get, path = "/rest/v1/channels/{channel}/messages", tag = "messages",
    params(("channel" = String, Path, description = "Name of the channel, without `#`."), Page, Visitor),
    responses((status = 200, body = Messages), Refusal))]
pub(super) async fn list_messages(
    visitor: Visitor,
    Segment(channel): Segment,
    Params(page): Params<Page>,
) -> Result<Json<Messages>, Refusal> {
    let caller = visitor.caller()?;
    let params = page.of_channel(channel);
    Ok(Json(visitor.workspace.list_messages(&caller, params).await?))
}

/// Posts a message in a channel.
#[utoipa::path(post, path = "/rest/v1/channels/{channel}/messages", tag = "messages", request_body = PostMessage,
    params(("channel" = String, Path, description = "Name of the channel, without `#`."), Visitor),
    responses((status = 200, body = EventResponse), Refusal))]
pub(super) async fn post_message(
    visitor: Result<Visitor, Refusal>,
    channel: Result<Segment, Refusal>,
    message: Result<Body<PostMessage>, Refusal>,
) -> Response {
    let event = |written: &str, message: PostMessage| {
        ChannelName::from_written(written).map(|channel| message.in_channel(&channel))
    };
    answer(post(visitor, ("channel", channel), message, event).await)
}

/// Reads the messages between the asking agent and another one.
#[utoipa::path(get, path = "/rest/v1/agents/{agent_id}/messages", tag = "messages",
    params(("agent_id" = String, Path, description = "The other side of the conversation."), Page, Visitor),
    responses((status = 200, body = Messages), Refusal))]
pub(super) async fn list_conversation(
    visitor: Visitor,
    Segment(agent_id): Segment,
    Params(page): Params<Page>,
) -> Result<Json<Messages>, Refusal> {
    let caller = visitor.caller()?;
    let params = page.of_conversation(agent_id);
    Ok(Json(visitor.workspace.list_messages(&caller, params).await?))
}

/// Sends a message to an agent.
#[utoipa::path(post, path = "/rest/v1/agents/{agent_id}/messages", tag = "messages", request_body = PostMessage,
    params(("agent_id" = String, Path, description = "The addressee."), Visitor),
    responses((status = 200, body = EventResponse), Refusal))]
pub(super) async fn send_message(
    visitor: Result<Visitor, Refusal>,
    agent_id: Result<Segment, Refusal>,
    message: Result<Body<PostMessage>, Refusal>,
) -> Response {
    let event = |written: &str, message: PostMessage| {
        AgentId::from_written(written).map(|agent_id| message.to_agent(&agent_id))
    };
    answer(post(visitor, ("agent_id", agent_id), message, event).await)
}

/// Publishes a message; every refusal is told in the same form.
async fn post(
    visitor: Result<Visitor, Refusal>,
    (parameter, addressee): (&str, Result<Segment, Refusal>),
    message: Result<Body<PostMessage>, Refusal>,
    event: impl FnOnce(&str, PostMessage) -> Result<Event, InvalidName>,
) -> Result<Receipt, ErrorBody> {
    let visitor = visitor.map_err(|refusal| refusal.0)?;
    let caller = visitor.caller()?;
    let Segment(addressee) = addressee.map_err(|refusal| refusal.0)?;
    let Body(message) = message.map_err(|refusal| refusal.0)?;
    let event = event(&addressee, message).map_err(|error| ErrorBody::name(parameter, &error))?;
    let blame = |error| PostMessage::blame(error, parameter);
    let draft = Draft::parse(event).map_err(blame)?;
    visitor.workspace.publish(&caller, draft).await.map_err(blame)
}
