//! The workspace and who is there.

use axum::Json;
use openagents_protocol::call::{Agents, ListAgents, Mods, WorkspaceInfo};

use super::reply::Refusal;
use super::request::{Params, Visitor};

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
