//! Whether the server is there and ready.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use openagents_protocol::call::Health;

use crate::host::Host;
use crate::legacy;

/// The health routes, for the main router.
pub(crate) fn routes() -> Router<Arc<Host>> {
    Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
}

/// What is answered in clear on a port that speaks TLS: clients ask here before they know better.
pub(crate) fn router(host: Arc<Host>) -> Router {
    Router::new()
        .route("/api/health", get(in_clear))
        .fallback(wants_tls)
        .with_state(host)
}

/// What a client of OpenAgents 0.9 needs to know before it speaks TLS.
async fn in_clear(State(host): State<Arc<Host>>) -> Json<serde_json::Value> {
    Json(legacy::minimal(&host))
}

/// The process lives and answers; says nothing about the store.
async fn health(State(host): State<Arc<Host>>) -> Json<Health> {
    Json(describe(&host))
}

/// The workspace takes events.
async fn ready(State(host): State<Arc<Host>>) -> (StatusCode, Json<Health>) {
    let ready = host.workspace().is_ready();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(describe(&host)))
}

async fn wants_tls() -> (StatusCode, &'static str) {
    (
        StatusCode::UPGRADE_REQUIRED,
        "this port speaks TLS: use https:// or wss://\n",
    )
}

fn describe(host: &Host) -> Health {
    let workspace = host.workspace();
    let status = if workspace.is_ready() { "ok" } else { "unavailable" };
    Health {
        status: status.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        network: workspace.settings().name.clone(),
    }
}
