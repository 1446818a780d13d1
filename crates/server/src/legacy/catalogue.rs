//! `GET /api/events`: which events agents may send here, and which they are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::http::{answer, failed};
use super::{cache, discovery, plain, thread};
use crate::host::Host;

/// Whether agents send an event or are told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Operation,
    Notification,
}

use Kind::{Notification, Operation};

/// Each event with the extension that it belongs to.
const ALL: [(&str, Kind, &str, &str); 38] = [
    (
        thread::MOD,
        Operation,
        "thread.channel_message.post",
        "Posts to a channel",
    ),
    (
        thread::MOD,
        Operation,
        "thread.reply.post",
        "Replies to a message",
    ),
    (
        thread::MOD,
        Operation,
        "thread.reply.sent",
        "The same as thread.reply.post",
    ),
    (
        thread::MOD,
        Operation,
        "thread.direct_message.send",
        "Sends a message to an agent",
    ),
    (
        thread::MOD,
        Operation,
        "thread.channels.list",
        "Lists the channels",
    ),
    (
        thread::MOD,
        Operation,
        "thread.channels.info",
        "The same as thread.channels.list",
    ),
    (
        thread::MOD,
        Operation,
        "thread.channel_messages.retrieve",
        "Reads a channel, newest first",
    ),
    (
        thread::MOD,
        Operation,
        "thread.messages.retrieve",
        "The same as thread.channel_messages.retrieve",
    ),
    (
        thread::MOD,
        Operation,
        "thread.direct_messages.retrieve",
        "Reads a conversation, oldest first",
    ),
    (
        thread::MOD,
        Operation,
        "thread.conversations.list",
        "Lists the conversations of the agent",
    ),
    (
        thread::MOD,
        Operation,
        "thread.reaction.add",
        "Reacts to a message",
    ),
    (
        thread::MOD,
        Operation,
        "thread.reaction.remove",
        "Takes a reaction back",
    ),
    (
        thread::MOD,
        Operation,
        "thread.reaction.toggle",
        "Reacts, or takes the reaction back",
    ),
    (
        thread::MOD,
        Operation,
        "thread.reaction",
        "Reacts, or takes the reaction back, by payload.action",
    ),
    (
        thread::MOD,
        Operation,
        "thread.file.upload",
        "Shares a file in a channel or with everybody",
    ),
    (
        thread::MOD,
        Operation,
        "thread.file.upload_requested",
        "The same as thread.file.upload",
    ),
    (thread::MOD, Operation, "thread.file.download", "Fetches a file"),
    (
        thread::MOD,
        Operation,
        "thread.announcement.set",
        "Says what a channel is about; for administrators",
    ),
    (
        thread::MOD,
        Operation,
        "thread.announcement.get",
        "Asks what a channel is about",
    ),
    (
        thread::MOD,
        Notification,
        "thread.channel_message.notification",
        "A post in a channel",
    ),
    (thread::MOD, Notification, "thread.reply.notification", "A reply"),
    (
        thread::MOD,
        Notification,
        "thread.direct_message.notification",
        "A message to this agent",
    ),
    (
        thread::MOD,
        Notification,
        "thread.reaction.notification",
        "A reaction, or one taken back",
    ),
    (
        thread::MOD,
        Notification,
        "thread.file.upload_response",
        "A file shared in a channel or with this agent",
    ),
    (
        discovery::MOD,
        Operation,
        "discovery.capabilities.set",
        "Says what the agent can do",
    ),
    (
        discovery::MOD,
        Operation,
        "discovery.capabilities.get",
        "Asks what an agent can do",
    ),
    (
        discovery::MOD,
        Operation,
        "discovery.agents.search",
        "Finds agents by what they can do",
    ),
    (
        discovery::MOD,
        Operation,
        "discovery.agents.list",
        "Lists agents with what they can do",
    ),
    (
        discovery::MOD,
        Notification,
        "discovery.notification.capabilities_updated",
        "An agent says what it can do",
    ),
    (cache::MOD, Operation, "shared_cache.create", "Keeps a text"),
    (cache::MOD, Operation, "shared_cache.get", "Reads an entry"),
    (cache::MOD, Operation, "shared_cache.update", "Replaces a text"),
    (cache::MOD, Operation, "shared_cache.delete", "Deletes an entry"),
    (cache::MOD, Operation, "shared_cache.file.upload", "Keeps a file"),
    (
        cache::MOD,
        Operation,
        "shared_cache.file.download",
        "Reads a file",
    ),
    (
        cache::MOD,
        Notification,
        "shared_cache.notification.created",
        "An entry that this agent may use",
    ),
    (
        plain::SIMPLE_MESSAGING,
        Operation,
        "simple_messaging.get_file",
        "Reads a file that came in a message",
    ),
    (
        plain::SIMPLE_MESSAGING,
        Operation,
        "simple_messaging.delete_file",
        "Deletes a file that came in a message",
    ),
];

/// The events of the extensions that are there.
fn events(host: &Host) -> impl Iterator<Item = Value> {
    let there = host.desk.settings.mods.names();
    let all = ALL.iter().filter(move |(path, ..)| there.contains(path));
    all.map(|(path, kind, name, description)| {
        json!({
            "event_name": name,
            "address": name,
            "mod_id": mod_id(path),
            "mod_name": mod_id(path),
            "mod_path": path,
            "event_type": match kind {
                Operation => "operation",
                Notification => "notification",
            },
            "description": description,
        })
    })
}

fn mod_id(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

fn done(data: &Value) -> Response {
    answer(StatusCode::OK, &json!({"success": true, "data": data}))
}

fn listed(key: &str, found: impl Iterator<Item = Value>) -> Value {
    let found: Vec<Value> = found.collect();
    json!({"total": found.len(), key: found})
}

pub(super) async fn list(
    State(host): State<Arc<Host>>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let is = |event: &Value, key: &str, parameter: &str| {
        let wanted = query.get(parameter).filter(|wanted| !wanted.is_empty());
        wanted.is_none_or(|wanted| event[key] == **wanted)
    };
    let found = events(&host).filter(|event| is(event, "mod_id", "mod") && is(event, "event_type", "type"));
    done(&listed("events", found))
}

pub(super) async fn mods(State(host): State<Arc<Host>>) -> Response {
    let counted = host.desk.settings.mods.names().into_iter().map(|path| {
        let count = ALL.iter().filter(|(of, ..)| *of == path).count();
        json!({"mod_id": mod_id(path), "mod_name": mod_id(path), "mod_path": path, "event_count": count})
    });
    done(&listed("mods", counted))
}

pub(super) async fn search(
    State(host): State<Arc<Host>>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let Some(wanted) = query.get("q").filter(|wanted| !wanted.is_empty()) else {
        return failed(StatusCode::BAD_REQUEST, "Query parameter 'q' is required");
    };
    let lower = wanted.to_lowercase();
    let matches = |event: &Value| {
        let texts = ["event_name", "description", "mod_name"].map(|key| event[key].as_str());
        let mut texts = texts.into_iter().flatten();
        texts.any(|text| text.to_lowercase().contains(&lower))
    };
    let mut data = listed("events", events(&host).filter(matches));
    data["query"] = wanted.as_str().into();
    done(&data)
}

pub(super) async fn detail(State(host): State<Arc<Host>>, Path(name): Path<String>) -> Response {
    match events(&host).find(|event| event["event_name"] == *name) {
        Some(event) => done(&event),
        None => failed(StatusCode::NOT_FOUND, &format!("Event '{name}' not found")),
    }
}

/// There is nothing to fetch: what is here is what is in this server.
pub(super) async fn sync(State(host): State<Arc<Host>>) -> Response {
    let data =
        json!({"events_count": events(&host).count(), "mods_count": host.desk.settings.mods.names().len()});
    done(&data)
}
