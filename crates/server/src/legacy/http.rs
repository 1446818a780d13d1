//! `/api/*`: JSON over HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Extension, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use openagents_protocol::Secret;
use openagents_workspace::{Takeover, Way};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::carriage::carried;
use super::people::{Registration, register, unregister};
use super::poll::poll;
use super::request::{Malformed, Request};
use super::room::{self, Share};
use super::{catalogue, cors, plain, profile, upload};
use crate::host::Host;
use crate::line::Line;

/// Header of JSON, as the official server writes it.
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

pub(super) fn routes(host: &Arc<Host>) -> Router<Arc<Host>> {
    let limit = host.desk.settings.max_message_bytes;
    Router::new()
        .route("/api/health", get(profile::health))
        .route("/api/register", post(register_agent))
        .route("/api/unregister", post(unregister_agent))
        .route("/api/poll", get(poll_events))
        .route("/api/send_event", post(send_event))
        .route("/api/cache/upload", post(upload::upload))
        .route("/api/cache/download/{cache_id}", get(upload::download))
        .route("/api/cache/info/{cache_id}", get(upload::info))
        .route("/api/events", get(catalogue::list))
        .route("/api/events/mods", get(catalogue::mods))
        .route("/api/events/search", get(catalogue::search))
        .route("/api/events/sync", get(catalogue::sync))
        .route("/api/events/{event_name}", get(catalogue::detail))
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(limit))
        .layer(middleware::from_fn_with_state(Arc::clone(host), room::count))
        .layer(middleware::from_fn_with_state(Arc::clone(host), cors::check))
        .route("/api/{*rest}", axum::routing::any(not_found))
}

/// Like the official server: plain text.
async fn not_found(method: axum::http::Method) -> Response {
    if method == axum::http::Method::OPTIONS {
        return StatusCode::OK.into_response();
    }
    (StatusCode::NOT_FOUND, "404: Not Found").into_response()
}

async fn no_method() -> (StatusCode, &'static str) {
    (StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed")
}

/// JSON with this status.
pub(super) fn answer(status: StatusCode, body: &impl serde::Serialize) -> Response {
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// A failure with these words.
pub(super) fn failed(status: StatusCode, message: &str) -> Response {
    answer(status, &json!({"success": false, "error_message": message}))
}

/// The body of a request as an object.
async fn object(
    host: &Host,
    body: impl Future<Output = Result<Bytes, BytesRejection>>,
) -> Result<Map<String, Value>, String> {
    let body = timeout(host.limits.request_timeout, body)
        .await
        .map_err(|_| "the body did not come in time".to_owned())?;
    let bytes = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => "Request Entity Too Large".to_owned(),
        _ => rejection.body_text(),
    })?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("the body is not a JSON object".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

async fn register_agent(
    State(host): State<Arc<Host>>,
    Extension(line): Extension<Arc<Line>>,
    request: axum::extract::Request,
) -> Response {
    let way: Arc<dyn Way> = line;
    let mut fields = match read(&host, request).await {
        Ok(fields) => fields,
        Err(message) => return failed(StatusCode::INTERNAL_SERVER_ERROR, &message),
    };
    let Some(agent_id) = take_text(&mut fields, "agent_id") else {
        return failed(StatusCode::BAD_REQUEST, "agent_id is required");
    };
    let metadata = match fields.remove("metadata") {
        None => Map::new(),
        Some(Value::Object(metadata)) => metadata,
        Some(_) => {
            return failed(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Registration failed: metadata is not an object",
            );
        }
    };
    let registration = Registration {
        agent_id,
        metadata,
        password_hash: take_text(&mut fields, "password_hash").map(Secret::new),
        group: take_text(&mut fields, "agent_group"),
        takeover: Takeover::OfSilent,
    };
    match register(&host, &way, registration).await {
        Ok(registered) => {
            let workspace = host.workspace();
            let name = &workspace.settings().name;
            let body = json!({
                "success": true,
                "network_name": name,
                "network_id": profile::network_id(&host),
                "secret": registered.secret.expose(),
                "assigned_group": registered.group,
            });
            answer(StatusCode::OK, &body)
        }
        Err(reason) => failed(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("Registration failed: {reason}"),
        ),
    }
}

async fn unregister_agent(
    State(host): State<Arc<Host>>,
    Extension(line): Extension<Arc<Line>>,
    request: axum::extract::Request,
) -> Response {
    let way: Arc<dyn Way> = line;
    let mut fields = match read(&host, request).await {
        Ok(fields) => fields,
        Err(message) => return failed(StatusCode::INTERNAL_SERVER_ERROR, &message),
    };
    let Some(agent_id) = take_text(&mut fields, "agent_id") else {
        return failed(StatusCode::BAD_REQUEST, "agent_id is required");
    };
    let secret = Secret::new(take_text(&mut fields, "secret").unwrap_or_default());
    match unregister(&host, &way, &agent_id, &secret).await {
        Ok(()) => answer(StatusCode::OK, &json!({"success": true})),
        Err(reason) => failed(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("Unregistration failed: {reason}"),
        ),
    }
}

async fn poll_events(
    State(host): State<Arc<Host>>,
    Extension(line): Extension<Arc<Line>>,
    Query(mut query): Query<BTreeMap<String, String>>,
) -> Response {
    let Some(agent_id) = query.remove("agent_id").filter(|id| !id.is_empty()) else {
        return failed(StatusCode::BAD_REQUEST, "agent_id query parameter is required");
    };
    let secret = query.remove("secret").map(Secret::new);
    match poll(&host, &line, &agent_id, secret.as_ref()).await {
        Ok(polled) => {
            let body = json!({"success": true, "messages": polled.events, "agent_id": agent_id});
            carried(answer(StatusCode::OK, &body), polled.slip, line)
        }
        Err(reason) => {
            let body = json!({
                "success": false,
                "messages": [],
                "agent_id": agent_id,
                "error_message": reason,
            });
            answer(StatusCode::OK, &body)
        }
    }
}

async fn send_event(
    State(host): State<Arc<Host>>,
    Extension(line): Extension<Arc<Line>>,
    Extension(share): Extension<Arc<Share>>,
    request: axum::extract::Request,
) -> Response {
    let fields = match read(&host, request).await {
        Ok(fields) => fields,
        Err(message) => return failed(StatusCode::INTERNAL_SERVER_ERROR, &message),
    };
    let request = match Request::from_json(Value::Object(fields)) {
        Ok(request) => request,
        Err(error @ Malformed::Nameless) => return failed(StatusCode::BAD_REQUEST, &error.to_string()),
        Err(error @ Malformed::Field(_)) => {
            return failed(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string());
        }
    };
    let (event_id, event_name) = (request.event_id.clone(), request.event_name.clone());
    let processed = plain::process(&host, &line, request.counted_by(share)).await;
    let body = json!({
        "success": processed.answer.success,
        "message": processed.answer.message,
        "event_id": event_id.as_str(),
        "data": processed.answer.data,
        "event_name": event_name.as_str(),
    });
    carried(answer(StatusCode::OK, &body), processed.slip, line)
}

async fn read(host: &Arc<Host>, request: axum::extract::Request) -> Result<Map<String, Value>, String> {
    use axum::extract::FromRequest;

    object(host, Bytes::from_request(request, host)).await
}

/// A text of a request; none where it is empty or no text.
fn take_text(fields: &mut Map<String, Value>, key: &str) -> Option<String> {
    match fields.remove(key) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    }
}
