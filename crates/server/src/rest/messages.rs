//! Messages: posting them, and reading the history.

use axum::Json;
use axum::response::Response;
use openagents_protocol::call::{
    Conversations, DeleteMessage, EditMessage, FoundMessages, GetMessage, ListConversations, Message,
    Messages, Page, PostMessage, React, ReactAction, SearchMessages,
};
use openagents_protocol::{
    AgentId, ChannelName, Draft, ErrorBody, Event, EventResponse, InvalidName, Receipt,
};

use super::reply::{Refusal, answer};
use super::request::{Body, Params, Segment, Visitor, event_id};

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

/// Tells one message, with its reactions and the number of its replies.
#[utoipa::path(get, path = "/rest/v1/messages/{message_id}", tag = "messages",
    params(("message_id" = String, Path, description = "The message."), Visitor),
    responses((status = 200, body = Message), Refusal))]
pub(super) async fn get_message(
    visitor: Visitor,
    Segment(written): Segment,
) -> Result<Json<Message>, Refusal> {
    let caller = visitor.caller()?;
    let message_id = event_id("message_id", &written)?;
    Ok(Json(
        visitor
            .workspace
            .get_message(&caller, GetMessage { message_id })
            .await?,
    ))
}

/// New content of a message.
#[derive(Debug, serde::Deserialize, utoipa::ToSchema)]
pub(super) struct NewContent {
    /// Text, or an object, usually with `text`.
    #[schema(value_type = serde_json::Value)]
    content: openagents_protocol::Json,
}

/// Replaces the content of a message; for its author.
#[utoipa::path(patch, path = "/rest/v1/messages/{message_id}", tag = "messages", request_body = NewContent,
    params(("message_id" = String, Path, description = "The message."), Visitor),
    responses((status = 200, body = EventResponse), Refusal))]
pub(super) async fn edit_message(
    visitor: Visitor,
    Segment(written): Segment,
    Body(NewContent { content }): Body<NewContent>,
) -> Result<Response, Refusal> {
    let caller = visitor.caller()?;
    let message_id = event_id("message_id", &written)?;
    let params = EditMessage { message_id, content };
    Ok(answer(visitor.workspace.edit_message(&caller, params).await))
}

/// Deletes a message: its content is erased for good; for its author and for moderators.
#[utoipa::path(delete, path = "/rest/v1/messages/{message_id}", tag = "messages",
    params(("message_id" = String, Path, description = "The message."), Visitor),
    responses((status = 200, body = EventResponse), Refusal))]
pub(super) async fn delete_message(visitor: Visitor, Segment(written): Segment) -> Result<Response, Refusal> {
    let caller = visitor.caller()?;
    let message_id = event_id("message_id", &written)?;
    let deleted = visitor
        .workspace
        .delete_message(&caller, DeleteMessage { message_id });
    Ok(answer(deleted.await))
}

/// Reads the replies in the thread that a message begins: newest first, or forward from `after`.
#[utoipa::path(get, path = "/rest/v1/messages/{message_id}/replies", tag = "messages",
    params(("message_id" = String, Path, description = "First message of the thread."), Page, Visitor),
    responses((status = 200, body = Messages), Refusal))]
pub(super) async fn list_replies(
    visitor: Visitor,
    Segment(written): Segment,
    Params(page): Params<Page>,
) -> Result<Json<Messages>, Refusal> {
    let caller = visitor.caller()?;
    let params = page.of_thread(event_id("message_id", &written)?);
    let replies = visitor.workspace.list_messages(&caller, params).await;
    // The path has it under another name than the call.
    let blame = |field: String| match field.as_str() {
        "thread_id" => "message_id".to_owned(),
        _ => field,
    };
    let replies = replies.map_err(|error| ErrorBody {
        field: error.field.map(blame),
        ..error
    });
    Ok(Json(replies?))
}

/// Reacts to a message; a second time changes nothing.
#[utoipa::path(put, path = "/rest/v1/messages/{message_id}/reactions/{reaction}", tag = "messages",
    params(("message_id" = String, Path, description = "The message."),
           ("reaction" = String, Path, description = "An emoji or a short name."), Visitor),
    responses((status = 200, body = EventResponse), Refusal))]
pub(super) async fn react(
    visitor: Visitor,
    Segment(path): Segment<(String, String)>,
) -> Result<Response, Refusal> {
    change_reaction(&visitor, path, ReactAction::Add).await
}

/// Takes a reaction back; where there is none nothing changes.
#[utoipa::path(delete, path = "/rest/v1/messages/{message_id}/reactions/{reaction}", tag = "messages",
    params(("message_id" = String, Path, description = "The message."),
           ("reaction" = String, Path, description = "An emoji or a short name."), Visitor),
    responses((status = 200, body = EventResponse), Refusal))]
pub(super) async fn remove_reaction(
    visitor: Visitor,
    Segment(path): Segment<(String, String)>,
) -> Result<Response, Refusal> {
    change_reaction(&visitor, path, ReactAction::Remove).await
}

async fn change_reaction(
    visitor: &Visitor,
    (written, reaction): (String, String),
    action: ReactAction,
) -> Result<Response, Refusal> {
    let caller = visitor.caller()?;
    let params = React {
        message_id: event_id("message_id", &written)?,
        reaction,
        action,
    };
    Ok(answer(visitor.workspace.react(&caller, params).await))
}

/// Lists the conversations of the agent, the one with the newest message first.
#[utoipa::path(get, path = "/rest/v1/conversations", tag = "messages", params(ListConversations, Visitor),
    responses((status = 200, body = Conversations), Refusal))]
pub(super) async fn list_conversations(
    visitor: Visitor,
    Params(params): Params<ListConversations>,
) -> Result<Json<Conversations>, Refusal> {
    let caller = visitor.caller()?;
    Ok(Json(visitor.workspace.list_conversations(&caller, params).await?))
}

/// Searches the messages that the agent may read, newest first.
#[utoipa::path(get, path = "/rest/v1/search", tag = "messages", params(SearchMessages, Visitor),
    responses((status = 200, body = FoundMessages), Refusal))]
pub(super) async fn search_messages(
    visitor: Visitor,
    Params(params): Params<SearchMessages>,
) -> Result<Json<FoundMessages>, Refusal> {
    let caller = visitor.caller()?;
    Ok(Json(visitor.workspace.search_messages(&caller, params).await?))
}
