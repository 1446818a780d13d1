//! The same calls over HTTP.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;

use crate::host::Host;

/// The REST routes, for the main router.
pub(crate) fn routes(_max_body_bytes: usize) -> Router<Arc<Host>> {
    Router::new()
}

/// Whatever has no route.
pub(crate) async fn not_found() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "there is nothing here\n")
}
