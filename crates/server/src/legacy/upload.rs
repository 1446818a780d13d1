//! `/api/cache/*`: the files of the cache over HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::multipart::MultipartRejection;
use axum::extract::{Extension, Multipart, Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use openagents_protocol::{AgentId, Secret};
use openagents_workspace::{Caller, Way};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use tokio::time::timeout;

use super::answer::UNPROVED;
use super::cache::{Entry, NewFile, described, find, keep_file, uploaded};
use super::http::answer;
use super::room::Share;
use crate::host::Host;
use crate::line::Line;

/// A file on its way.
#[derive(Debug, Default)]
struct Form {
    file: Option<Vec<u8>>,
    filename: String,
    mime_type: Option<String>,
    fields: BTreeMap<String, String>,
}

pub(super) async fn upload(
    State(host): State<Arc<Host>>,
    Extension(line): Extension<Arc<Line>>,
    form: Result<Multipart, MultipartRejection>,
) -> Response {
    let way: Arc<dyn Way> = line;
    if !host.desk.settings.mods.shared_cache {
        return failed(StatusCode::NOT_FOUND, "there is no cache here");
    }
    let Ok(multipart) = form else {
        return failed(StatusCode::BAD_REQUEST, "the request is no multipart form");
    };
    // What is announced as too much is not read.
    let form = match timeout(host.limits.write_timeout * 4, read(&host, multipart)).await {
        Ok(Ok(form)) => form,
        Ok(Err((status, message))) => return failed(status, &message),
        Err(_) => return failed(StatusCode::REQUEST_TIMEOUT, "the file did not come in time"),
    };
    let Some(content) = form.file else {
        return failed(StatusCode::BAD_REQUEST, "No file provided");
    };
    let Some(agent_id) = form.fields.get("agent_id").filter(|id| !id.is_empty()) else {
        return failed(StatusCode::BAD_REQUEST, "agent_id is required");
    };
    let Some(caller) = caller(&host, &way, agent_id, form.fields.get("secret")) else {
        return failed(StatusCode::INTERNAL_SERVER_ERROR, UNPROVED);
    };
    let groups = form
        .fields
        .get("allowed_agent_groups")
        .map(String::as_str)
        .unwrap_or_default();
    let groups = groups.split(',').map(str::trim).filter(|group| !group.is_empty());
    let new = NewFile {
        filename: &form.filename,
        mime_type: form.mime_type.as_deref(),
        groups: groups.map(str::to_owned).collect(),
    };
    match keep_file(&host, &caller, new, content).await {
        Ok(entry) => answer(StatusCode::OK, &uploaded(&entry)),
        Err(message) if message.starts_with("File size") => failed(StatusCode::PAYLOAD_TOO_LARGE, &message),
        Err(message) => failed(StatusCode::INTERNAL_SERVER_ERROR, &message),
    }
}

async fn read(host: &Host, mut multipart: Multipart) -> Result<Form, (StatusCode, String)> {
    let limit = host.desk.settings.max_cache_file_bytes;
    let too_large = || {
        let message = format!("File size exceeds maximum allowed ({limit} bytes)");
        (StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    let wrong = |error: axum::extract::multipart::MultipartError| (error.status(), error.body_text());
    let mut form = Form::default();
    while let Some(mut field) = multipart.next_field().await.map_err(wrong)? {
        let name = field.name().unwrap_or_default().to_owned();
        if name != "file" {
            let mut text = Vec::new();
            while let Some(piece) = field.chunk().await.map_err(wrong)? {
                text.extend_from_slice(&piece);
                if 64 * 1024 < text.len() {
                    return Err((StatusCode::BAD_REQUEST, format!("{name}: it is too long")));
                }
            }
            let text = String::from_utf8_lossy(&text).into_owned();
            if name == "mime_type" && !text.is_empty() {
                form.mime_type = Some(text.clone());
            }
            form.fields.insert(name, text);
            continue;
        }
        field.file_name().unwrap_or("file").clone_into(&mut form.filename);
        form.mime_type = field.content_type().map(str::to_owned);
        let mut content = Vec::new();
        while let Some(piece) = field.chunk().await.map_err(wrong)? {
            if limit < content.len() + piece.len() {
                return Err(too_large());
            }
            content.extend_from_slice(&piece);
        }
        form.file = Some(content);
    }
    Ok(form)
}

pub(super) async fn download(
    State(host): State<Arc<Host>>,
    Extension(line): Extension<Arc<Line>>,
    Extension(share): Extension<Arc<Share>>,
    Path(cache_id): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let way: Arc<dyn Way> = line;
    let found = asked(&host, &way, &cache_id, &query);
    let read = async {
        let entry = found?;
        let Some(filename) = entry.filename.clone() else {
            return Err("Cache entry is not a file".to_owned());
        };
        share.take(entry.size).map_err(|crowded| crowded.to_string())?;
        let content = host.desk.cache.read(&entry).await;
        Ok((entry, filename, content.map_err(|fault| fault.to_string())?))
    };
    let (entry, filename, content) = match read.await {
        Ok(read) => read,
        Err(message) => return refused(&message),
    };
    let mut response = content.into_response();
    let told = response.headers_mut();
    let mime_type = HeaderValue::from_str(&entry.mime_type)
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    told.insert(header::CONTENT_TYPE, mime_type);
    // What agents upload is never run as a page of this server.
    told.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let plain: String = filename
        .chars()
        .filter(|character| character.is_ascii_graphic() && !"\"\\".contains(*character))
        .collect();
    let encoded = utf8_percent_encode(&filename, NON_ALPHANUMERIC);
    let disposition = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}");
    if let Ok(value) = HeaderValue::from_str(&disposition) {
        told.insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

pub(super) async fn info(
    State(host): State<Arc<Host>>,
    Extension(line): Extension<Arc<Line>>,
    Path(cache_id): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let way: Arc<dyn Way> = line;
    match asked(&host, &way, &cache_id, &query) {
        Ok(entry) => answer(StatusCode::OK, &described(&entry)),
        Err(message) => refused(&message),
    }
}

/// The entry that is asked for, by an agent that may use it.
fn asked(
    host: &Host,
    way: &Arc<dyn Way>,
    cache_id: &str,
    query: &BTreeMap<String, String>,
) -> Result<Entry, String> {
    let agent_id = query.get("agent_id").map_or("anonymous", String::as_str);
    let caller = caller(host, way, agent_id, query.get("secret")).ok_or(UNPROVED)?;
    find(host, &caller, cache_id, "access")
}

fn caller(host: &Host, way: &Arc<dyn Way>, agent_id: &str, secret: Option<&String>) -> Option<Caller> {
    let agent_id = AgentId::from_written(agent_id).ok()?;
    let secret = Secret::new(secret?.as_str());
    host.workspace().recognise(&agent_id, &secret, way).ok()
}

fn refused(message: &str) -> Response {
    let missing = message.to_ascii_lowercase().contains("not found");
    let status = if missing {
        StatusCode::NOT_FOUND
    } else {
        StatusCode::FORBIDDEN
    };
    failed(status, message)
}

fn failed(status: StatusCode, message: &str) -> Response {
    answer(status, &json!({"success": false, "error": message}))
}
