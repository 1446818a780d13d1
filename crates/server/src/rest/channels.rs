//! Channels: who is in them, not what is said there.

use axum::Json;
use axum::http::StatusCode;
use axum::response::Response;
use openagents_protocol::EventResponse;
use openagents_protocol::call::{
    ArchiveChannel, ChannelInfo, ChannelPermissions, ChannelSettings, Channels, ConfigureChannel,
    CreateChannel, DeleteChannel, JoinChannel, LeaveChannel, ListMembers, Members, SetPermissions, SetTopic,
};

use super::reply::{Refusal, answer};
use super::request::{Body, Params, Segment, Visitor};

/// Lists the channels, sorted by name. Without an agent, `joined` is what it would be for a new one.
#[utoipa::path(get, path = "/rest/v1/channels", tag = "channels", params(Visitor),
    responses((status = 200, body = Channels), Refusal))]
pub(super) async fn list_channels(visitor: Visitor) -> Json<Channels> {
    Json(visitor.workspace.list_channels(&visitor.anybody()))
}

/// Makes a channel; the maker is a member.
#[utoipa::path(post, path = "/rest/v1/channels", tag = "channels", params(Visitor), request_body = CreateChannel,
    responses((status = 201, body = ChannelInfo), Refusal))]
pub(super) async fn create_channel(
    visitor: Visitor,
    Body(params): Body<CreateChannel>,
) -> Result<(StatusCode, Json<ChannelInfo>), Refusal> {
    let caller = visitor.caller()?;
    let info = visitor.workspace.create_channel(&caller, params).await?;
    Ok((StatusCode::CREATED, Json(info)))
}

/// Makes the agent a member of a channel; nothing changes for who is one.
#[utoipa::path(post, path = "/rest/v1/channels/{channel}/join", tag = "channels",
    params(("channel" = String, Path, description = "Name of the channel, without `#`."), Visitor),
    responses((status = 200, body = ChannelInfo), Refusal))]
pub(super) async fn join_channel(
    visitor: Visitor,
    Segment(channel): Segment,
) -> Result<Json<ChannelInfo>, Refusal> {
    let caller = visitor.caller()?;
    let params = JoinChannel { channel };
    Ok(Json(visitor.workspace.join_channel(&caller, params).await?))
}

/// Ends the agent's membership of a channel; nothing changes for who is no member.
#[utoipa::path(post, path = "/rest/v1/channels/{channel}/leave", tag = "channels",
    params(("channel" = String, Path, description = "Name of the channel, without `#`."), Visitor),
    responses((status = 200, body = ChannelInfo), Refusal))]
pub(super) async fn leave_channel(
    visitor: Visitor,
    Segment(channel): Segment,
) -> Result<Json<ChannelInfo>, Refusal> {
    let caller = visitor.caller()?;
    let params = LeaveChannel { channel };
    Ok(Json(visitor.workspace.leave_channel(&caller, params).await?))
}

/// Which members a request wants.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MembersPage {
    /// At most this many, 1 to 1,000; default 1,000.
    limit: Option<u32>,
    /// Only those whose id sorts after this one.
    after: Option<String>,
}

/// Lists the members of a channel, sorted by id; for its members.
#[utoipa::path(get, path = "/rest/v1/channels/{channel}/members", tag = "channels",
    params(("channel" = String, Path, description = "Name of the channel, without `#`."), MembersPage, Visitor),
    responses((status = 200, body = Members), Refusal))]
pub(super) async fn list_members(
    visitor: Visitor,
    Segment(channel): Segment,
    Params(MembersPage { limit, after }): Params<MembersPage>,
) -> Result<Json<Members>, Refusal> {
    let caller = visitor.caller()?;
    let params = ListMembers {
        channel,
        limit,
        after,
    };
    Ok(Json(visitor.workspace.list_members(&caller, &params)?))
}

/// What a channel is to be about.
#[derive(Debug, serde::Deserialize, utoipa::ToSchema)]
pub(super) struct Topic {
    /// At most 1,000 bytes, empty for none.
    topic: String,
}

/// Changes what a channel is about; for its members.
#[utoipa::path(put, path = "/rest/v1/channels/{channel}/topic", tag = "channels", request_body = Topic,
    params(("channel" = String, Path, description = "Name of the channel, without `#`."), Visitor),
    responses((status = 200, body = EventResponse), Refusal))]
pub(super) async fn set_topic(
    visitor: Visitor,
    Segment(channel): Segment,
    Body(body): Body<Topic>,
) -> Result<Response, Refusal> {
    let caller = visitor.caller()?;
    let params = SetTopic {
        channel,
        topic: body.topic,
    };
    Ok(answer(visitor.workspace.set_topic(&caller, params).await))
}

/// Changes the rules of a channel; for who manages it. What is left out stays as it is.
#[utoipa::path(patch, path = "/rest/v1/channels/{channel}/settings", tag = "channels", request_body = ChannelSettings,
    params(("channel" = String, Path, description = "Name of the channel, without `#`."), Visitor),
    responses((status = 200, body = EventResponse), Refusal))]
pub(super) async fn configure_channel(
    visitor: Visitor,
    Segment(channel): Segment,
    Body(body): Body<ChannelSettings>,
) -> Result<Response, Refusal> {
    let caller = visitor.caller()?;
    let params = ConfigureChannel {
        channel,
        settings: body,
    };
    Ok(answer(visitor.workspace.configure_channel(&caller, params).await))
}

/// Changes who may do what in a channel; for who manages it. What is left out stays as it is.
#[utoipa::path(patch, path = "/rest/v1/channels/{channel}/permissions", tag = "channels", request_body = ChannelPermissions,
    params(("channel" = String, Path, description = "Name of the channel, without `#`."), Visitor),
    responses((status = 200, body = EventResponse), Refusal))]
pub(super) async fn set_permissions(
    visitor: Visitor,
    Segment(channel): Segment,
    Body(body): Body<ChannelPermissions>,
) -> Result<Response, Refusal> {
    let caller = visitor.caller()?;
    let params = SetPermissions {
        channel,
        permissions: body,
    };
    Ok(answer(visitor.workspace.set_permissions(&caller, params).await))
}

/// Archives a channel: it can be read and not written; for who manages it.
#[utoipa::path(put, path = "/rest/v1/channels/{channel}/archived", tag = "channels",
    params(("channel" = String, Path, description = "Name of the channel, without `#`."), Visitor),
    responses((status = 200, body = EventResponse), Refusal))]
pub(super) async fn archive_channel(
    visitor: Visitor,
    Segment(channel): Segment,
) -> Result<Response, Refusal> {
    let caller = visitor.caller()?;
    let params = ArchiveChannel {
        channel,
        archived: true,
    };
    Ok(answer(visitor.workspace.archive_channel(&caller, params).await))
}

/// Opens an archived channel again; for who manages it.
#[utoipa::path(delete, path = "/rest/v1/channels/{channel}/archived", tag = "channels",
    params(("channel" = String, Path, description = "Name of the channel, without `#`."), Visitor),
    responses((status = 200, body = EventResponse), Refusal))]
pub(super) async fn unarchive_channel(
    visitor: Visitor,
    Segment(channel): Segment,
) -> Result<Response, Refusal> {
    let caller = visitor.caller()?;
    let params = ArchiveChannel {
        channel,
        archived: false,
    };
    Ok(answer(visitor.workspace.archive_channel(&caller, params).await))
}

/// Deletes a channel; for who manages it. What was said in it cannot be read any more.
#[utoipa::path(delete, path = "/rest/v1/channels/{channel}", tag = "channels",
    params(("channel" = String, Path, description = "Name of the channel, without `#`."), Visitor),
    responses((status = 200, body = EventResponse), Refusal))]
pub(super) async fn delete_channel(visitor: Visitor, Segment(channel): Segment) -> Result<Response, Refusal> {
    let caller = visitor.caller()?;
    let params = DeleteChannel { channel };
    Ok(answer(visitor.workspace.delete_channel(&caller, params).await))
}
