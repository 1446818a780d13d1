//! Which web pages may use this interface, and telling their browsers so.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::host::Host;

/// What every answer says to browsers.
const TOLD: [(HeaderName, &str); 4] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (
        header::ACCESS_CONTROL_ALLOW_METHODS,
        "GET, POST, PUT, DELETE, OPTIONS",
    ),
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        "Content-Type, Authorization, Accept, Mcp-Session-Id",
    ),
    (header::ACCESS_CONTROL_MAX_AGE, "86400"),
];

/// Answers programs and the pages that are admitted. Where a secret is needed for everything, that is any page.
pub(super) async fn check(State(host): State<Arc<Host>>, request: Request, next: Next) -> Response {
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::OK.into_response()
    } else if admits(&host, request.headers()) {
        next.run(request).await
    } else {
        let refusal = json!({"success": false, "error_message": "pages of this origin may not ask here"});
        (StatusCode::FORBIDDEN, Json(refusal)).into_response()
    };
    for (name, value) in TOLD {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether a request comes from a program, or from a page that may ask.
pub(super) fn admits(host: &Host, headers: &HeaderMap) -> bool {
    let value = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let origin = value(header::ORIGIN);
    let page =
        !host.is_open() || host.admits_origin(origin, value(header::HOST)) || host.is_local_origin(origin);
    page && host.admits_name(value(header::HOST))
}
