//! Channels: who is in them, not what is said there.

use axum::Json;
use axum::http::StatusCode;
use openagents_protocol::call::{ChannelInfo, Channels, CreateChannel, JoinChannel, LeaveChannel};

use super::reply::Refusal;
use super::request::{Body, Segment, Visitor};

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
