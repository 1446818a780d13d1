//! The workspace and who is there.

use axum::Json;
use openagents_protocol::call::{
    AgentInfo, Agents, Explain, Explanation, GetAgent, GetRetention, HeldMessages, ListAgents, Mods,
    Permissions, RetentionInfo, Unblock, Unblocked, UpdateAgent, WorkspaceInfo,
};

use super::reply::Refusal;
use super::request::{Body, Params, Segment, Visitor};

/// Tells about the workspace.
#[utoipa::path(get, path = "/rest/v1/workspace", tag = "workspace",
    responses((status = 200, body = WorkspaceInfo), Refusal))]
pub(super) async fn get_workspace(visitor: Visitor) -> Json<WorkspaceInfo> {
    Json(visitor.workspace.describe())
}

/// Lists agents, sorted by id.
#[utoipa::path(get, path = "/rest/v1/agents", tag = "workspace", params(ListAgents),
    responses((status = 200, body = Agents), Refusal))]
pub(super) async fn list_agents(visitor: Visitor, Params(params): Params<ListAgents>) -> Json<Agents> {
    Json(visitor.workspace.list_agents(&params))
}

/// Lists the extensions of the workspace.
#[utoipa::path(get, path = "/rest/v1/mods", tag = "workspace",
    responses((status = 200, body = Mods), Refusal))]
pub(super) async fn list_mods(visitor: Visitor) -> Json<Mods> {
    Json(visitor.workspace.list_mods())
}

/// Tells about one agent, connected or not.
#[utoipa::path(get, path = "/rest/v1/agents/{agent_id}", tag = "workspace",
    params(("agent_id" = String, Path, description = "The agent.")),
    responses((status = 200, body = AgentInfo), Refusal))]
pub(super) async fn get_agent(
    visitor: Visitor,
    Segment(agent_id): Segment,
) -> Result<Json<AgentInfo>, Refusal> {
    Ok(Json(visitor.workspace.get_agent(&GetAgent { agent_id })?))
}

/// Changes what the asking agent says of itself. What is left out stays as it is.
#[utoipa::path(patch, path = "/rest/v1/agent", tag = "workspace", request_body = UpdateAgent, params(Visitor),
    responses((status = 200, body = AgentInfo), Refusal))]
pub(super) async fn update_agent(
    visitor: Visitor,
    Body(params): Body<UpdateAgent>,
) -> Result<Json<AgentInfo>, Refusal> {
    let caller = visitor.caller()?;
    Ok(Json(visitor.workspace.update_agent(&caller, params).await?))
}

/// Tells what the asker may do.
#[utoipa::path(get, path = "/rest/v1/permissions", tag = "workspace", params(Visitor),
    responses((status = 200, body = Permissions), Refusal))]
pub(super) async fn get_permissions(visitor: Visitor) -> Json<Permissions> {
    Json(visitor.workspace.get_permissions(&visitor.anybody()))
}

/// Tells why an agent got an event, or did not; for the agent, the author of the event and moderators.
#[utoipa::path(get, path = "/rest/v1/explain", tag = "workspace", params(Explain, Visitor),
    responses((status = 200, body = Explanation), Refusal))]
pub(super) async fn explain(
    visitor: Visitor,
    Params(params): Params<Explain>,
) -> Result<Json<Explanation>, Refusal> {
    let caller = visitor.caller()?;
    Ok(Json(visitor.workspace.explain(&caller, params).await?))
}

/// Tells what is kept, what is removed, what would be removed now, and who holds that up; for admins. With other limits,
/// what these would remove.
#[utoipa::path(get, path = "/rest/v1/retention", tag = "workspace", params(GetRetention),
    responses((status = 200, body = RetentionInfo), Refusal))]
pub(super) async fn get_retention(
    visitor: Visitor,
    Params(params): Params<GetRetention>,
) -> Result<Json<RetentionInfo>, Refusal> {
    let told = visitor
        .workspace
        .get_retention(&visitor.anybody(), &params)
        .await?;
    Ok(Json(told))
}

/// Lists the messages that are held, by the loop guard or because their channel is moderated, oldest first; for
/// moderators.
#[utoipa::path(get, path = "/rest/v1/held", tag = "messages", params(Visitor),
    responses((status = 200, body = HeldMessages), Refusal))]
pub(super) async fn list_held(visitor: Visitor) -> Result<Json<HeldMessages>, Refusal> {
    let caller = visitor.caller()?;
    Ok(Json(visitor.workspace.list_held(&caller).await?))
}

/// Delivers messages that are held; for moderators.
#[utoipa::path(post, path = "/rest/v1/held/release", tag = "messages", request_body = Unblock, params(Visitor),
    responses((status = 200, body = Unblocked), Refusal))]
pub(super) async fn unblock(
    visitor: Visitor,
    Body(params): Body<Unblock>,
) -> Result<Json<Unblocked>, Refusal> {
    let caller = visitor.caller()?;
    Ok(Json(visitor.workspace.unblock(&caller, params).await?))
}
