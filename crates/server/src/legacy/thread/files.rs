//! Files inside of events, in base64.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::TryStreamExt;
use openagents_protocol::{ErrorBody, ErrorCode, EventId};
use openagents_workspace::{Caller, NewFile};
use serde_json::{Value, json};

use crate::host::Host;
use crate::legacy::answer::Answer;
use crate::legacy::request::Request;

/// Most bytes of files that are told with their content at once; that of others is fetched by id.
pub(crate) const MOST_TOLD: u64 = 10 << 20;

/// Uploads a file. Where the payload names a channel it is shared there, otherwise with everybody.
pub(super) async fn upload(host: &Arc<Host>, caller: &Caller, request: &Request) -> Answer {
    let name = request.event_name.as_str();
    for key in ["filename", "file_content", "mime_type", "file_size"] {
        if !request.payload.contains_key(key) {
            return Answer::invalid(name, &format!("File upload message must have '{key}' in payload"));
        }
    }
    let Some(filename) = request.text("filename") else {
        return Answer::invalid(name, "filename must be a non-empty string");
    };
    let Some(encoded) = request.payload.get("file_content").and_then(Value::as_str) else {
        return Answer::invalid(name, "file_content must be a string");
    };
    let Some(mime_type) = request.payload.get("mime_type").and_then(Value::as_str) else {
        return Answer::invalid(name, "mime_type must be a string");
    };
    let size = request.payload.get("file_size").and_then(Value::as_f64);
    if size.is_none_or(|size| size < 0.0) {
        return Answer::invalid(name, "file_size must be a non-negative number");
    }
    let Ok(content) = STANDARD.decode(encoded) else {
        return Answer::failed("Incorrect padding", request.request_id());
    };
    let new = NewFile {
        filename: filename.to_owned(),
        channel: request.text("channel").map(str::to_owned),
        mime_type: Some(mime_type.to_owned()).filter(|written| written.contains('/')),
        size: Some(content.len() as u64),
        ..NewFile::default()
    };
    let stored = async {
        let mut upload = host.workspace().begin_upload(caller, new).await?;
        upload.write(content.into()).await?;
        upload.finish(None).await
    };
    match stored.await {
        Ok((info, _)) => Answer::done(
            "File uploaded successfully",
            json!({
                "success": true,
                "file_id": info.file_id,
                "filename": info.filename,
                "request_id": request.request_id(),
            }),
        ),
        Err(error) => Answer::failed(&error.message, request.request_id()),
    }
}

/// Downloads a file that the agent may read.
pub(super) async fn download(host: &Arc<Host>, caller: &Caller, request: &Request) -> Answer {
    let request_id = request.event_id.as_str();
    let asked = request.text("file_id").and_then(|written| written.parse().ok());
    let Some(file_id) = asked else {
        return Answer::failed("File not found", request_id);
    };
    let read = async {
        let (info, content) = host.workspace().read_file(caller, &file_id, None).await?;
        let limit = host.desk.settings.max_message_bytes as u64 / 2;
        if limit < info.size {
            let message = format!("a file of more than {limit} bytes does not fit into an answer");
            return Err(ErrorBody::new(ErrorCode::TooLarge, message));
        }
        let room = request.make_room(info.size.saturating_mul(2));
        room.map_err(|crowded| ErrorBody::new(ErrorCode::LimitReached, crowded.to_string()))?;
        let pieces: Vec<bytes::Bytes> = content.try_collect().await.map_err(unreadable)?;
        Ok((info, pieces.concat()))
    };
    match read.await {
        Ok((info, content)) => Answer::done(
            "File download completed successfully",
            json!({
                "success": true,
                "file_id": info.file_id,
                "filename": info.filename,
                "mime_type": info.mime_type,
                "content": STANDARD.encode(content),
                "request_id": request_id,
            }),
        ),
        Err(error) if error.code == ErrorCode::FileNotFound => Answer::failed("File not found", request_id),
        Err(error) if error.code == ErrorCode::StorageUnavailable => {
            Answer::failed("File no longer available", request_id)
        }
        Err(error) => Answer::failed(&error.message, request_id),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err calls")]
fn unreadable(error: std::io::Error) -> ErrorBody {
    tracing::error!(%error, "the content of a file could not be read");
    ErrorBody::new(ErrorCode::StorageUnavailable, "the content could not be read")
}

/// The content of a file for those that are told of it, if there is room left for it.
pub(crate) async fn content_to_tell(
    host: &Arc<Host>,
    reader: &Caller,
    file_id: &EventId,
    size: u64,
    room: &mut u64,
) -> Option<String> {
    *room = room.checked_sub(size)?;
    let content = host.workspace().peek_file(reader, file_id).await.ok()?;
    let pieces: Vec<bytes::Bytes> = content.try_collect().await.ok()?;
    Some(STANDARD.encode(pieces.concat()))
}
