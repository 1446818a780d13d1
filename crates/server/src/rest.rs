//! The same calls over HTTP, under `/rest/v1`: a handler per call, each turning a request into one call of the
//! workspace.
//!
//! Who asks is told by `Authorization: Bearer TOKEN`, and as which agent by the token or the header `X-Agent-Id`.
//! `GET /openapi.json` describes it all; it is made of the very routes that are served.

mod channels;
mod document;
mod events;
mod files;
mod messages;
mod origin;
mod people;
mod reply;
mod request;
mod tokens;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use axum::{Json, Router, middleware};
use openagents_protocol::{ErrorBody, ErrorCode};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::host::Host;
use reply::Refusal;

/// The REST routes, for the main router.
pub(crate) fn routes(host: &Arc<Host>) -> Router<Arc<Host>> {
    let (router, document) = described().split_for_parts();
    let document = Arc::new(document);
    router
        .route(
            "/openapi.json",
            get(move || async move { Json(Arc::clone(&document)) }),
        )
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(host.limits.max_frame_bytes))
        .layer(middleware::from_fn_with_state(Arc::clone(host), origin::check))
}

/// Whatever has no route.
pub(crate) async fn not_found() -> Refusal {
    Refusal(ErrorBody::new(
        ErrorCode::NotFound,
        "there is nothing at this path; /openapi.json tells what there is",
    ))
}

async fn no_method() -> Refusal {
    Refusal(ErrorBody::new(
        ErrorCode::UnknownMethod,
        "this path does not take this method; /openapi.json tells which it takes",
    ))
}

/// The routes with their description.
fn described() -> OpenApiRouter<Arc<Host>> {
    OpenApiRouter::with_openapi(document::Document::openapi())
        .routes(routes!(people::get_workspace))
        .routes(routes!(people::list_agents))
        .routes(routes!(people::get_agent))
        .routes(routes!(people::update_agent))
        .routes(routes!(people::get_permissions))
        .routes(routes!(people::explain))
        .routes(routes!(people::get_retention))
        .routes(routes!(people::list_held))
        .routes(routes!(people::unblock))
        .routes(routes!(people::list_mods))
        .routes(routes!(channels::list_channels, channels::create_channel))
        .routes(routes!(channels::join_channel))
        .routes(routes!(channels::leave_channel))
        .routes(routes!(channels::list_members))
        .routes(routes!(channels::set_topic))
        .routes(routes!(channels::configure_channel))
        .routes(routes!(channels::set_permissions))
        .routes(routes!(channels::archive_channel, channels::unarchive_channel))
        .routes(routes!(channels::delete_channel))
        .routes(routes!(messages::list_messages, messages::post_message))
        .routes(routes!(messages::list_conversation, messages::send_message))
        .routes(routes!(
            messages::get_message,
            messages::edit_message,
            messages::delete_message
        ))
        .routes(routes!(messages::list_replies))
        .routes(routes!(messages::react, messages::remove_reaction))
        .routes(routes!(messages::list_conversations))
        .routes(routes!(messages::search_messages))
        .routes(routes!(files::list_files, files::upload_file))
        .routes(routes!(files::get_file, files::delete_file))
        .routes(routes!(files::download_file))
        .routes(routes!(events::read_events, events::publish))
        .routes(routes!(events::subscribe))
        .routes(routes!(events::unsubscribe))
        .routes(routes!(tokens::list_tokens, tokens::create_token))
        .routes(routes!(tokens::revoke_token))
}
