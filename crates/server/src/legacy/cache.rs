//! The extension `openagents.mods.core.shared_cache`: texts and files that agents of some groups share; and the files of
//! `openagents.mods.communication.simple_messaging`.

mod store;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openagents_protocol::Visibility;
use openagents_protocol::call::ListAgents;
use openagents_workspace::Caller;
use serde_json::{Value, json};

pub(super) use self::store::{Cache, Entry, Fault};
use super::answer::Answer;
use super::event::Aside;
use super::profile::network_id;
use super::request::Request;
use crate::host::Host;

pub(super) const MOD: &str = "openagents.mods.core.shared_cache";

/// Answers a request to the extension; none where it handles no event of this name.
pub(super) async fn answer(host: &Arc<Host>, caller: &Caller, request: &Request) -> Option<Answer> {
    let outcome = match request.event_name.as_str() {
        "shared_cache.create" => create(host, caller, request).await,
        "shared_cache.get" => get(host, caller, request).await,
        "shared_cache.update" => update(host, caller, request).await,
        "shared_cache.delete" => delete(host, caller, request).await,
        "shared_cache.file.upload" => upload(host, caller, request).await,
        "shared_cache.file.download" => download(host, caller, request).await,
        _ => return None,
    };
    Some(outcome.unwrap_or_else(|error| {
        let data = json!({"success": false, "error": error.as_str()});
        Answer::refused_with(error, data)
    }))
}

type Outcome = Result<Answer, String>;

async fn create(host: &Arc<Host>, caller: &Caller, request: &Request) -> Outcome {
    let value = value(request)?;
    let entry = Entry::text(
        request.text("mime_type").unwrap_or("text/plain"),
        groups(request),
        &caller.agent_id,
        now(host),
    );
    let entry = host
        .desk
        .cache
        .put(entry, value.into_bytes())
        .await
        .map_err(said)?;
    notify(host, caller, "created", &entry).await;
    Ok(Answer::done(
        "Cache entry created successfully",
        json!({"success": true, "cache_id": entry.cache_id}),
    ))
}

async fn get(host: &Arc<Host>, caller: &Caller, request: &Request) -> Outcome {
    let entry = entitled(host, caller, request, "access")?;
    let mut data = described(&entry);
    data["value"] = if entry.filename.is_some() {
        // Where it is stored is nobody's business; its id is the name of it.
        entry.cache_id.as_str().into()
    } else {
        let room = request.make_room(entry.size.saturating_mul(2));
        room.map_err(|crowded| crowded.to_string())?;
        text(host, &entry).await?.into()
    };
    Ok(Answer::done("Cache entry retrieved", data))
}

async fn update(host: &Arc<Host>, caller: &Caller, request: &Request) -> Outcome {
    let entry = entitled(host, caller, request, "update")?;
    let value = value(request)?;
    let entry = Entry {
        filename: None,
        updated_at: now(host),
        ..entry
    };
    let entry = host
        .desk
        .cache
        .put(entry, value.into_bytes())
        .await
        .map_err(said)?;
    notify(host, caller, "updated", &entry).await;
    Ok(Answer::done(
        "Cache entry updated successfully",
        json!({"success": true, "cache_id": entry.cache_id}),
    ))
}

async fn delete(host: &Arc<Host>, caller: &Caller, request: &Request) -> Outcome {
    let entry = entitled(host, caller, request, "delete")?;
    host.desk.cache.remove(&entry.cache_id).await.map_err(said)?;
    notify(host, caller, "deleted", &entry).await;
    Ok(Answer::done(
        "Cache entry deleted successfully",
        json!({"success": true, "cache_id": entry.cache_id}),
    ))
}

async fn upload(host: &Arc<Host>, caller: &Caller, request: &Request) -> Outcome {
    let encoded = request.text("file_data").ok_or("file_data is required")?;
    let filename = request.text("filename").ok_or("filename is required")?;
    let content = STANDARD.decode(encoded).map_err(|_| "Invalid base64 file data")?;
    let new = NewFile {
        filename,
        mime_type: request.text("mime_type"),
        groups: groups(request),
    };
    let entry = keep_file(host, caller, new, content).await?;
    Ok(Answer::done("File uploaded successfully", uploaded(&entry)))
}

async fn download(host: &Arc<Host>, caller: &Caller, request: &Request) -> Outcome {
    let entry = entitled(host, caller, request, "access")?;
    if entry.filename.is_none() {
        return Err("Cache entry is not a file".to_owned());
    }
    let room = request.make_room(entry.size.saturating_mul(2));
    room.map_err(|crowded| crowded.to_string())?;
    let content = host.desk.cache.read(&entry).await.map_err(said)?;
    let mut data = uploaded(&entry);
    data["file_data"] = STANDARD.encode(content).into();
    Ok(Answer::done("File downloaded successfully", data))
}

/// A file for the cache.
#[derive(Debug)]
pub(super) struct NewFile<'a> {
    pub(super) filename: &'a str,
    pub(super) mime_type: Option<&'a str>,
    pub(super) groups: Vec<String>,
}

/// Keeps a file, and tells those that may read it.
pub(super) async fn keep_file(
    host: &Arc<Host>,
    caller: &Caller,
    new: NewFile<'_>,
    content: Vec<u8>,
) -> Result<Entry, String> {
    let limit = host.desk.settings.max_cache_file_bytes;
    if limit < content.len() {
        return Err(format!("File size exceeds maximum allowed ({limit} bytes)"));
    }
    let base = new.filename.rsplit(['/', '\\']).next().unwrap_or_default();
    if base.is_empty() || base.contains(char::is_control) || 255 < base.len() {
        return Err("filename is required".to_owned());
    }
    let mut entry = Entry::text(
        new.mime_type.unwrap_or("application/octet-stream"),
        new.groups,
        &caller.agent_id,
        now(host),
    );
    entry.filename = Some(base.to_owned());
    let entry = host.desk.cache.put(entry, content).await.map_err(said)?;
    notify(host, caller, "created", &entry).await;
    Ok(entry)
}

/// What an upload is answered with.
pub(super) fn uploaded(entry: &Entry) -> Value {
    json!({
        "success": true,
        "cache_id": entry.cache_id,
        "filename": entry.filename,
        "file_size": entry.size,
        "mime_type": entry.mime_type,
    })
}

/// What is told of an entry without its content.
pub(super) fn described(entry: &Entry) -> Value {
    let mut data = json!({
        "success": true,
        "cache_id": entry.cache_id,
        "mime_type": entry.mime_type,
        "allowed_agent_groups": entry.groups,
        "created_by": entry.created_by,
        "created_at": entry.created_at,
        "updated_at": entry.updated_at,
        "is_file": entry.filename.is_some(),
    });
    if let Some(filename) = &entry.filename {
        data["filename"] = filename.as_str().into();
        data["file_size"] = entry.size.into();
    }
    data
}

/// An entry that the agent may use.
fn entitled(host: &Host, caller: &Caller, request: &Request, verb: &str) -> Result<Entry, String> {
    let cache_id = request.text("cache_id").ok_or("cache_id is required")?;
    find(host, caller, cache_id, verb)
}

pub(super) fn find(host: &Host, caller: &Caller, cache_id: &str, verb: &str) -> Result<Entry, String> {
    let entry = host.desk.cache.get(cache_id).ok_or("Cache entry not found")?;
    let group = host.workspace().group_name(&caller.agent_id);
    if entry.groups.is_empty() || entry.groups.contains(&group) {
        return Ok(entry);
    }
    Err(format!(
        "Agent does not have permission to {verb} this cache entry"
    ))
}

async fn text(host: &Host, entry: &Entry) -> Result<String, String> {
    let content = host.desk.cache.read(entry).await.map_err(said)?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

/// Tells the other agents that may use an entry what became of it.
async fn notify(host: &Arc<Host>, caller: &Caller, what: &str, entry: &Entry) {
    let workspace = host.workspace();
    let agents = workspace.list_agents(&ListAgents::default()).agents.into_iter();
    let entitled = agents
        .filter_map(|agent| agent.id.parse().ok())
        .filter(|id| *id != caller.agent_id)
        .filter(|id| entry.groups.is_empty() || entry.groups.contains(&workspace.group_name(id)));
    let entitled: Vec<openagents_protocol::AgentId> = entitled.collect();
    if entitled.is_empty() {
        return;
    }
    let payload = json!({
        "cache_id": entry.cache_id,
        "mime_type": entry.mime_type,
        "created_by": entry.created_by,
        "allowed_agent_groups": entry.groups,
    });
    let aside = Aside {
        source: Some(network_id(host)),
        ..Aside::default()
    };
    let name = format!("shared_cache.notification.{what}");
    let mut event = openagents_protocol::Event::new(name)
        .to("agent:broadcast")
        .payload(payload);
    event.visibility = Visibility::Restricted;
    if let Err(error) = workspace.announce_to(event, aside.stored(), entitled).await {
        tracing::warn!(%error, cache_id = %entry.cache_id, "could not tell of a cache entry");
    }
}

fn value(request: &Request) -> Result<String, String> {
    match request.payload.get("value") {
        None | Some(Value::Null) => Err("value is required".to_owned()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Ok(other.to_string()),
    }
}

fn groups(request: &Request) -> Vec<String> {
    let written = request
        .payload
        .get("allowed_agent_groups")
        .and_then(Value::as_array);
    let names = written.into_iter().flatten().filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}

fn now(host: &Host) -> u64 {
    host.workspace().settings().clock.now_ms() / 1000
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err calls")]
fn said(fault: Fault) -> String {
    fault.to_string()
}

/// Answers the requests of `simple_messaging`: its files are those of the cache. Messages are delivered as they are.
pub(super) async fn simple(host: &Arc<Host>, caller: &Caller, request: &Request) -> Option<Answer> {
    if !request.event_name.as_str().starts_with("simple_messaging.") {
        return None;
    }
    let action = request.text("action")?;
    let file_id = request.text("file_id")?;
    let done = |verb: &str| {
        Answer::done(
            format!("File {verb} request processed for file {file_id}"),
            json!({"file_id": file_id, "action": action}),
        )
    };
    match action {
        "get_file" => {
            let mut answer = done("download");
            if let Ok(entry) = find(host, caller, file_id, "access")
                && entry.filename.is_some()
                && request.make_room(entry.size.saturating_mul(2)).is_ok()
                && let Ok(content) = host.desk.cache.read(&entry).await
                && let Some(data) = &mut answer.data
            {
                data["content"] = STANDARD.encode(content).into();
                data["filename"] = entry.filename.into();
                data["mime_type"] = entry.mime_type.into();
            }
            Some(answer)
        }
        "delete_file" => {
            if let Ok(entry) = find(host, caller, file_id, "delete")
                && entry.created_by == caller.agent_id.as_str()
                && let Err(error) = host.desk.cache.remove(&entry.cache_id).await
            {
                return Some(Answer::refused(error.to_string()));
            }
            Some(done("deletion"))
        }
        _ => None,
    }
}

/// Files inside of a message become files of the cache, and the message names them.
pub(super) async fn take_files(host: &Arc<Host>, caller: &Caller, request: &mut Request) {
    let Some(Value::Array(files)) = request.payload.get_mut("files") else {
        return;
    };
    let mut kept = Vec::new();
    for file in files.iter() {
        let text = |key: &str| file.get(key).and_then(Value::as_str);
        let (Some(encoded), Some(filename)) = (text("content"), text("filename")) else {
            continue;
        };
        let Ok(content) = STANDARD.decode(encoded) else {
            continue;
        };
        let new = NewFile {
            filename,
            mime_type: text("mime_type"),
            groups: Vec::new(),
        };
        match keep_file(host, caller, new, content).await {
            Ok(entry) => kept.push(json!({
                "file_id": entry.cache_id,
                "filename": entry.filename,
                "size": entry.size,
                "mime_type": entry.mime_type,
            })),
            Err(error) => tracing::debug!(error, "a file in a message was not kept"),
        }
    }
    if !kept.is_empty() {
        *files = kept;
    }
}
