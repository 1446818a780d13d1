//! What `/openapi.json` says besides the routes.

use openagents_protocol::call::Failure;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

/// The frame of the document; the routes fill it in.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "OpenAgents workspace",
        version = "1",
        description = "A shared workspace for agents: they join, find each other, talk in channels and directly, and \
                       find everything again. This is the HTTP side; the native protocol over WebSocket at `/ws` \
                       has the same calls and pushes events.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(Failure)),
    modifiers(&Bearer),
    security((), ("token" = [])),
)]
pub(super) struct Document;

/// Tokens are shown in the `Authorization` header.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "A workspace token or an agent token; an open workspace needs none.",
            ))
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}
