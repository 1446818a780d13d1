//! Tokens; all of this is for admins.

use axum::Json;
use axum::http::StatusCode;
use openagents_protocol::call::{CreateToken, CreatedToken, Done, RevokeToken, Tokens};
use openagents_protocol::{ErrorBody, EventId};

use super::reply::Refusal;
use super::request::{Body, Segment, Visitor};

/// Lists the tokens, without the tokens.
#[utoipa::path(get, path = "/rest/v1/tokens", tag = "tokens", responses((status = 200, body = Tokens), Refusal))]
pub(super) async fn list_tokens(visitor: Visitor) -> Result<Json<Tokens>, Refusal> {
    Ok(Json(visitor.workspace.list_tokens(&visitor.anybody())?))
}

/// Makes a token. The answer is the only time it shows.
#[utoipa::path(post, path = "/rest/v1/tokens", tag = "tokens", request_body = CreateToken,
    responses((status = 201, body = CreatedToken), Refusal))]
pub(super) async fn create_token(
    visitor: Visitor,
    Body(params): Body<CreateToken>,
) -> Result<(StatusCode, Json<CreatedToken>), Refusal> {
    let created = visitor.workspace.create_token(&visitor.anybody(), params).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// Revokes a token: its sessions end at once.
#[utoipa::path(delete, path = "/rest/v1/tokens/{token_id}", tag = "tokens",
    params(("token_id" = String, Path, description = "From the list of tokens.")),
    responses((status = 200, body = Done), Refusal))]
pub(super) async fn revoke_token(visitor: Visitor, Segment(written): Segment) -> Result<Json<Done>, Refusal> {
    let id: Result<EventId, _> = written.parse();
    let token_id = id.map_err(|error| ErrorBody::name("token_id", &error))?;
    let params = RevokeToken { token_id };
    Ok(Json(
        visitor.workspace.revoke_token(&visitor.anybody(), params).await?,
    ))
}
