//! Files: their content is streamed in and out, everything else about them is a call like the others.

use std::ops::Range;
use std::time::Duration;

use axum::Json;
use axum::body::Body as Content;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use openagents_protocol::call::{DeleteFile, FileInfo, Files, GetFile, ListFiles, PostMessage};
use openagents_protocol::{ErrorBody, ErrorCode, EventResponse};
use openagents_workspace::{FileUpload, NewFile};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::time::Instant;

use super::reply::{Refusal, answer};
use super::request::{Params, Segment, Visitor, event_id};

/// Header with the SHA-256 that the content is expected to have, in hex.
const CHECKSUM_HEADER: &str = "x-checksum-sha256";

/// Longest silence while content is sent.
const SILENCE: Duration = Duration::from_mins(1);

/// What an uploader has to keep up after a minute, in bytes a second: it holds one of a few turns.
const SLOWEST: u64 = 1024;

/// Bytes of a file name that stand for themselves in a header (RFC 8187, `attr-char`).
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What is known of a file before its content is.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Upload {
    /// Name to be shown; 1 to 255 bytes without control characters.
    filename: String,
    /// The channel it is shared in.
    channel: Option<String>,
    /// The agent it is sent to. With neither, it is shared with everyone.
    agent_id: Option<String>,
    /// What it is; at most 1,000 bytes.
    #[serde(default)]
    description: String,
    /// Words to find it by, separated by commas.
    #[serde(default)]
    tags: String,
    /// Media type; made of the name when there is none.
    mime_type: Option<String>,
}

/// Uploads a file and shares it. The content is the body, of any length up to the limit, and streamed. The header
/// `X-Checksum-Sha256` may say what its SHA-256 is.
#[utoipa::path(post, path = "/rest/v1/files", tag = "files", params(Upload, Visitor),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, body = FileInfo), Refusal))]
pub(super) async fn upload_file(
    visitor: Visitor,
    Params(upload): Params<Upload>,
    headers: HeaderMap,
    content: Content,
) -> Result<(StatusCode, Json<FileInfo>), Refusal> {
    let caller = visitor.caller()?;
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let tags = upload
        .tags
        .split(',')
        .map(str::trim)
        .filter(|tag| !tag.is_empty());
    let new = NewFile {
        tags: tags.map(str::to_owned).collect(),
        filename: upload.filename,
        channel: upload.channel,
        agent_id: upload.agent_id,
        description: upload.description,
        mime_type: upload.mime_type,
        size: text(header::CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok()),
    };
    let addressee = if new.agent_id.is_some() {
        "agent_id"
    } else {
        "channel"
    };
    let blame = |error| PostMessage::blame(error, addressee);
    let upload = visitor
        .workspace
        .begin_upload(&caller, new)
        .await
        .map_err(blame)?;
    let upload = receive(upload, content).await?;
    let (info, _) = upload.finish(text(CHECKSUM_HEADER)).await.map_err(blame)?;
    Ok((StatusCode::CREATED, Json(info)))
}

async fn receive(mut upload: FileUpload, content: Content) -> Result<FileUpload, ErrorBody> {
    let mut pieces = content.into_data_stream();
    let begun = Instant::now();
    let mut received: u64 = 0;
    loop {
        let patience = patience(received, begun.elapsed());
        let Ok(next) = tokio::time::timeout(patience, pieces.next()).await else {
            let message = "nothing came for too long, or too little";
            return Err(ErrorBody::field(ErrorCode::TimedOut, "content", message));
        };
        match next {
            None => return Ok(upload),
            Some(Ok(piece)) => {
                received += piece.len() as u64;
                upload.write(piece).await?;
            }
            Some(Err(error)) => {
                let message = format!("the content broke off: {error}");
                return Err(ErrorBody::field(ErrorCode::InvalidField, "content", message));
            }
        }
    }
}

/// How long the next piece of an upload may take, by what came so far and how long that took.
fn patience(received: u64, elapsed: Duration) -> Duration {
    let allowed = SILENCE + Duration::from_secs(received / SLOWEST);
    allowed.saturating_sub(elapsed).min(SILENCE)
}

/// Lists the files that the agent may read, newest first.
#[utoipa::path(get, path = "/rest/v1/files", tag = "files", params(ListFiles, Visitor),
    responses((status = 200, body = Files), Refusal))]
pub(super) async fn list_files(
    visitor: Visitor,
    Params(params): Params<ListFiles>,
) -> Result<Json<Files>, Refusal> {
    let caller = visitor.caller()?;
    Ok(Json(visitor.workspace.list_files(&caller, params).await?))
}

/// Tells about a file.
#[utoipa::path(get, path = "/rest/v1/files/{file_id}", tag = "files",
    params(("file_id" = String, Path, description = "The file."), Visitor),
    responses((status = 200, body = FileInfo), Refusal))]
pub(super) async fn get_file(visitor: Visitor, Segment(written): Segment) -> Result<Json<FileInfo>, Refusal> {
    let caller = visitor.caller()?;
    let file_id = event_id("file_id", &written)?;
    Ok(Json(
        visitor.workspace.get_file(&caller, GetFile { file_id }).await?,
    ))
}

/// Downloads a file, or one range of it.
#[utoipa::path(get, path = "/rest/v1/files/{file_id}/content", tag = "files",
    params(("file_id" = String, Path, description = "The file."), Visitor),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
              (status = 206, body = Vec<u8>, content_type = "application/octet-stream"), Refusal))]
pub(super) async fn download_file(
    visitor: Visitor,
    Segment(written): Segment,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let caller = visitor.caller()?;
    let file_id = event_id("file_id", &written)?;
    let known = visitor
        .workspace
        .get_file(
            &caller,
            GetFile {
                file_id: file_id.clone(),
            },
        )
        .await?;
    let range = headers
        .get(header::RANGE)
        .map(|range| range_of(range, known.size));
    let Some(range) = range.transpose().ok() else {
        let size = format!("bytes */{}", known.size);
        return Ok((StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, size)]).into_response());
    };
    let range = range.flatten();
    let (info, content) = visitor
        .workspace
        .read_file(&caller, &file_id, range.clone())
        .await?;
    let name = utf8_percent_encode(&info.filename, PLAIN);
    let length = range.as_ref().map_or(info.size, |range| range.end - range.start);
    let mime_type = HeaderValue::from_str(&info.mime_type)
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let mut response = Content::from_stream(content).into_response();
    let told = response.headers_mut();
    told.insert(header::CONTENT_TYPE, mime_type);
    told.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    told.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // What agents upload is never run as a page of this server.
    told.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let texts = [
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename*=UTF-8''{name}"),
        ),
        (header::ETAG, format!("\"{}\"", info.checksum)),
    ];
    for (name, text) in texts {
        if let Ok(value) = HeaderValue::from_str(&text) {
            told.insert(name, value);
        }
    }
    if let Some(range) = range {
        let text = format!("bytes {}-{}/{}", range.start, range.end - 1, info.size);
        if let Ok(value) = HeaderValue::from_str(&text) {
            told.insert(header::CONTENT_RANGE, value);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// The one range that is asked for; none where several are, which get the whole file. An error where there is nothing
/// in it.
fn range_of(written: &HeaderValue, size: u64) -> Result<Option<Range<u64>>, ()> {
    let parsed = written
        .to_str()
        .ok()
        .and_then(|written| http_range_header::parse_range_header(written).ok());
    let Some(parsed) = parsed else { return Ok(None) };
    let ranges = parsed.validate(size).map_err(drop)?;
    match ranges.as_slice() {
        [range] => Ok(Some(*range.start()..range.end() + 1)),
        _ => Ok(None),
    }
}

/// Deletes a file, content and all; for who uploaded it and for moderators.
#[utoipa::path(delete, path = "/rest/v1/files/{file_id}", tag = "files",
    params(("file_id" = String, Path, description = "The file."), Visitor),
    responses((status = 200, body = EventResponse), Refusal))]
pub(super) async fn delete_file(visitor: Visitor, Segment(written): Segment) -> Result<Response, Refusal> {
    let caller = visitor.caller()?;
    let file_id = event_id("file_id", &written)?;
    Ok(answer(
        visitor
            .workspace
            .delete_file(&caller, DeleteFile { file_id })
            .await,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_that_drips_is_given_up_and_one_that_flows_is_not() {
        let check = |received: u64, minutes: u64, seconds: u64| {
            let patience = patience(received, Duration::from_mins(minutes));
            assert_eq!(
                patience,
                Duration::from_secs(seconds),
                "{received} bytes in {minutes} minutes"
            );
        };
        check(0, 0, 60);
        check(0, 1, 0);
        check(100, 2, 0);
        check(60 * 1024, 1, 60);
        check(60 * 1024, 2, 0);
        check(1 << 30, 60, 60);
    }
}
