//! Channels: which there are, and what is announced in them.

use std::sync::Arc;

use openagents_protocol::ChannelName;
use openagents_protocol::call::SetTopic;
use openagents_protocol::record::Role;
use openagents_workspace::{Caller, Roster};
use serde_json::{Value, json};

use crate::host::Host;
use crate::legacy::answer::Answer;
use crate::legacy::request::Request;

/// Every channel with its members and counts, in the order they were made.
pub(super) async fn list(host: &Arc<Host>, request: &Request) -> Answer {
    let name = request.event_name.as_str();
    match request.payload.get("action").and_then(Value::as_str) {
        Some("list_channels") => {}
        Some(_) => return Answer::invalid(name, "action must be 'list_channels'"),
        None => return Answer::invalid(name, "Channel info message must have 'action' in payload"),
    }
    let roster = match host.workspace().roster().await {
        Ok(roster) => roster,
        Err(error) => return error.into(),
    };
    let channels: Vec<Value> = roster.iter().map(told).collect();
    let message = match name {
        "thread.channels.info" => "Channel info retrieved successfully",
        _ => "Channel list retrieved successfully",
    };
    let request_id = request.request_id();
    Answer::done(
        message,
        json!({"success": true, "channels": channels, "request_id": request_id}),
    )
}

fn told(one: &Roster) -> Value {
    let agents: Vec<&str> = one.online.iter().map(AsRef::as_ref).collect();
    json!({
        "name": one.channel.as_str(),
        "description": one.description,
        "message_count": one.tally.posts,
        "thread_count": one.tally.threads,
        "agents": agents,
        "agent_count": agents.len(),
    })
}

/// Says what a channel is about; for administrators. It is the topic of the channel.
pub(super) async fn announce(host: &Arc<Host>, caller: &Caller, request: &Request) -> Answer {
    let workspace = host.workspace();
    let admin = caller.role == Role::Admin || workspace.group_name(&caller.agent_id) == "admin";
    if !admin {
        let data = json!({"error": "Only admin agents can set announcements"});
        return Answer::refused_with("forbidden", data);
    }
    let Some(written) = request.text("channel") else {
        return Answer::refused("Channel name is required");
    };
    let channel = match ChannelName::from_written(written) {
        Ok(channel) => channel,
        Err(error) => return Answer::refused(error.to_string()),
    };
    let text = request.text("text").unwrap_or_default().to_owned();
    if !workspace.has_channel(&channel)
        && let Err(error) = workspace.found_channel(channel.clone(), "").await
    {
        return error.into();
    }
    let params = SetTopic {
        channel: channel.to_string(),
        topic: text.clone(),
    };
    match workspace.set_topic(caller, params).await {
        Ok(_) => Answer::done("ok", json!({"channel": written, "text": text})),
        Err(error) => error.into(),
    }
}

/// What a channel is about; nothing where that was never said.
pub(super) async fn announcement(host: &Arc<Host>, request: &Request) -> Answer {
    let Some(written) = request.text("channel") else {
        return Answer::refused("Channel name is required");
    };
    let roster = match host.workspace().roster().await {
        Ok(roster) => roster,
        Err(error) => return error.into(),
    };
    let bare = written.trim_start_matches('#');
    let found = roster.into_iter().find(|one| one.channel == bare);
    let text = found.map(|one| one.topic).unwrap_or_default();
    Answer::done("ok", json!({"channel": written, "text": text}))
}
