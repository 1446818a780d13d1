//! Which web pages may ask, and telling their browsers so.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use openagents_protocol::{ErrorBody, ErrorCode};

use super::reply::Refusal;
use crate::host::Host;

/// What a browser may send to an admitted page's request, beyond what it always may.
const ALLOWED: [(HeaderName, &str); 3] = [
    (
        header::ACCESS_CONTROL_ALLOW_METHODS,
        "GET, POST, PUT, PATCH, DELETE",
    ),
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        "authorization, content-type, x-agent-id, x-checksum-sha256",
    ),
    (header::ACCESS_CONTROL_MAX_AGE, "600"),
];

/// Answers only programs and the pages that the server admits.
pub(super) async fn check(State(host): State<Arc<Host>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    if let Err(error) = admit(&host, request.headers()) {
        return Refusal(error).into_response();
    }
    let asks_first = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if asks_first {
        let mut response = StatusCode::NO_CONTENT.into_response();
        for (name, value) in ALLOWED {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        response
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response
}

fn admit(host: &Host, headers: &HeaderMap) -> Result<(), ErrorBody> {
    // What is not text is nobody's name.
    let value = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let (origin, name) = (value(header::ORIGIN), value(header::HOST));
    if !host.admits_origin(origin, name) {
        let message = "pages of this origin may not ask; the operator may allow it";
        return Err(ErrorBody::field(ErrorCode::Forbidden, "Origin", message));
    }
    if !host.admits_name(name) {
        let message =
            "without a token, this server answers to names of its own machine only, such as localhost";
        return Err(ErrorBody::field(ErrorCode::Forbidden, "Host", message));
    }
    Ok(())
}
