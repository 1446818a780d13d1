//! The commands of the system: events named `system.*` that the server itself answers.

use std::sync::Arc;

use openagents_protocol::call::{AgentInfo, ListAgents, Subscribe, Unsubscribe};
use openagents_protocol::record::Role;
use openagents_protocol::{AgentId, ChannelName, EventId, Pattern, Secret};
use openagents_workspace::{Caller, Member, Takeover, Way};
use serde_json::{Value, json};

use super::answer::{Answer, UNPROVED};
use super::people::{Registration, dismiss, register, unregister};
use super::plain;
use super::profile::profile;
use super::request::Request;
use super::tell::{THEIR_NAMES, native_patterns};
use crate::host::Host;

pub(super) const NOT_REGISTERED: &str = "Agent not registered";

/// The group whose agents administer a network.
const ADMIN: &str = "admin";

/// What an operator decides, by configuration and not from here.
const OPERATORS: [&str; 7] = [
    "system.update_network_profile",
    "system.update_external_access",
    "system.update_agent_groups",
    "system.mod.enable",
    "system.mod.disable",
    "system.mod.load",
    "system.mod.unload",
];

/// Answers the commands that need no secret.
pub(super) async fn before_joining(
    host: &Arc<Host>,
    way: &Arc<dyn Way>,
    request: &Request,
) -> Option<Answer> {
    // A secret that is shown is a valid one.
    let valid = |secret: &Secret| {
        let agent_id = request.agent_id();
        agent_id.is_some_and(|id| host.workspace().recognise(&id, secret, way).is_ok())
    };
    let answer = match request.event_name.as_str() {
        "system.register_agent" => return Some(register_agent(host, way, request).await),
        "system.unregister_agent" => return Some(unregister_agent(host, way, request).await),
        "system.heartbeat" | "system.ping_agent" => {
            let timestamp = request.payload.get("timestamp").filter(|told| told.is_number());
            let timestamp = timestamp.cloned().unwrap_or_else(|| plain::now(host).into());
            Answer::system("ping_agent", "Ping successful", json!({"timestamp": timestamp}))
        }
        "system.health_check" => Answer::done("Health check completed successfully", profile(host)),
        "system.verify_password" => verify_password(host, request).await,
        _ => return None,
    };
    Some(match &request.secret {
        Some(secret) if !valid(secret) => Answer::refused(UNPROVED),
        _ => answer,
    })
}

/// Answers a command of an agent; none where the event is no command.
pub(super) async fn answer(host: &Arc<Host>, caller: &Caller, request: &Request) -> Option<Answer> {
    let name = request.event_name.as_str();
    let command = name.strip_prefix("system.")?;
    // The payload may say who asks; it has to be who asks.
    let speaks_for_itself = !SPEAK_OF_OTHERS.contains(&command);
    if let Some(asked) = request.text("agent_id").filter(|_| speaks_for_itself)
        && asked.strip_prefix("agent:").unwrap_or(asked) != caller.agent_id.as_str()
    {
        return Some(Answer::refused(UNPROVED));
    }
    Some(match command {
        "list_agents" => list_agents(host),
        "list_mods" => list_mods(host, request),
        "get_mod_manifest" => get_mod_manifest(request),
        "get_network_info" => get_network_info(host, request),
        "subscribe_events" => subscribe(host, caller, request).await,
        "unsubscribe_events" => unsubscribe(host, caller, request).await,
        "claim_agent_id" => claim_agent_id(host, request),
        "validate_certificate" => Answer::system(
            command,
            "Certificate validation completed: invalid",
            json!({"valid": false, "agent_id": null}),
        ),
        "add_channel_member" => change_member(host, request, Member::Inside).await,
        "remove_channel_member" => change_member(host, request, Member::Outside).await,
        "get_channel_members" => get_channel_members(host, request).await,
        "list_channels" => list_channels(host).await,
        "remove_channel" => remove_channel(host, request).await,
        "kick_agent" => kick(host, caller, request).await,
        _ if OPERATORS.contains(&name) => Answer::system_refused(
            command,
            "this is decided in the configuration of the server, not from here",
            json!({}),
        ),
        _ => Answer::refused(format!("there is no command {name}")),
    })
}

/// Commands whose `agent_id` need not be who asks.
const SPEAK_OF_OTHERS: [&str; 3] = ["add_channel_member", "remove_channel_member", "claim_agent_id"];

pub(super) fn is_registered(host: &Host, agent_id: &AgentId) -> bool {
    host.workspace().is_online(agent_id)
}

fn is_admin(host: &Host, caller: &Caller) -> bool {
    caller.role == Role::Admin || host.workspace().group_name(&caller.agent_id) == ADMIN
}

async fn register_agent(host: &Arc<Host>, way: &Arc<dyn Way>, request: &Request) -> Answer {
    let metadata = request.payload.get("metadata").and_then(Value::as_object);
    let forced = request.payload.get("force_reconnect") == Some(&Value::Bool(true));
    let agent_id = request.text("agent_id").unwrap_or(&request.source);
    let registration = Registration {
        agent_id: agent_id.to_owned(),
        metadata: metadata.cloned().unwrap_or_default(),
        password_hash: request.text("password_hash").map(Secret::new),
        group: request.text("agent_group").map(str::to_owned),
        takeover: if forced {
            Takeover::OfSilent
        } else {
            Takeover::OfGone
        },
    };
    match register(host, way, registration).await {
        Ok(registered) => Answer::done(
            format!("Registered agent {agent_id} with network"),
            json!({"secret": registered.secret.expose(), "assigned_group": registered.group}),
        ),
        Err(reason) => Answer::refused(reason),
    }
}

async fn unregister_agent(host: &Arc<Host>, way: &Arc<dyn Way>, request: &Request) -> Answer {
    let asked = request.text("agent_id").unwrap_or(&request.source);
    let own = asked.strip_prefix("agent:").unwrap_or(asked) == request.source;
    let Some(secret) = request.secret.as_ref().filter(|_| own) else {
        return Answer::refused(UNPROVED);
    };
    match unregister(host, way, &request.source, secret).await {
        Ok(()) => Answer::accepted(format!("Unregistered agent {} from network", request.source)),
        Err(reason) => Answer::refused(reason),
    }
}

async fn verify_password(host: &Host, request: &Request) -> Answer {
    let command = "verify_password";
    let workspace = host.workspace();
    let settings = workspace.settings();
    let Some(hash) = request.text("password_hash") else {
        let data = json!({"valid": false});
        return Answer::system_refused(command, "Missing password_hash parameter", data);
    };
    let mut data = match host.group_of_password(&Secret::new(hash)).await {
        Some(group) => json!({
            "valid": true,
            "group_name": group.name,
            "group_description": group.description,
            "group_metadata": group.metadata,
            "default_group": settings.default_group,
        }),
        None => json!({
            "valid": false,
            "default_group": settings.default_group,
            "requires_password": settings.requires_password,
        }),
    };
    let message = match data.get("group_name").and_then(Value::as_str) {
        Some(group) => format!("Password verified: matches group '{group}'"),
        None => format!(
            "Password verification failed: no matching group found (would assign to default group '{}')",
            settings.default_group
        ),
    };
    echo(&mut data, request);
    Answer::system(command, message, data)
}

fn list_agents(host: &Host) -> Answer {
    let mut agents = host.workspace().list_agents(&ListAgents::default()).agents;
    // In the order they came.
    let came = |agent: &AgentInfo| {
        let told = agent.metadata.get("_connect_time").and_then(Value::as_f64);
        told.unwrap_or(agent.last_seen)
    };
    agents.sort_by(|one, other| came(one).total_cmp(&came(other)));
    let told = agents.into_iter().map(|agent| {
        json!({
            "agent_id": agent.agent_id,
            "name": agent.name.as_deref().unwrap_or(&agent.agent_id),
            "connected": true,
            "metadata": agent.metadata,
        })
    });
    let agents: Vec<Value> = told.collect();
    let message = "Agent list retrieved successfully";
    Answer::system("list_agents", message, json!({"agents": agents}))
}

fn list_mods(host: &Host, request: &Request) -> Answer {
    let mods: Vec<Value> = host
        .desk
        .settings
        .mods
        .names()
        .into_iter()
        .map(|name| {
            json!({
                "name": name,
                "description": "No description available",
                "version": "1.0.0",
                "requires_adapter": false,
                "capabilities": [],
                "implementation": name,
            })
        })
        .collect();
    let mut data = json!({"mods": mods});
    echo(&mut data, request);
    Answer::system("list_mods", "Mod list retrieved successfully", data)
}

fn get_mod_manifest(request: &Request) -> Answer {
    let command = "get_mod_manifest";
    match request.text("mod_name") {
        None => Answer::system_refused(command, "Missing mod_name parameter", json!({})),
        Some(name) => Answer::system_refused(
            command,
            format!("No manifest found for mod {name}"),
            json!({"mod_name": name}),
        ),
    }
}

fn get_network_info(host: &Host, request: &Request) -> Answer {
    let workspace = host.workspace();
    let info = json!({
        "name": workspace.settings().name,
        "node_id": host.desk.run_id,
        "mode": "centralized",
        "mods": host.desk.settings.mods.names(),
        "agent_count": workspace.describe().agents_online,
    });
    let mut data = json!({"network_info": info});
    echo(&mut data, request);
    Answer::system("get_network_info", "Network info retrieved successfully", data)
}

async fn subscribe(host: &Host, caller: &Caller, request: &Request) -> Answer {
    let command = "subscribe_events";
    let written = request.payload.get("event_patterns").and_then(Value::as_array);
    let texts: Option<Vec<&str>> = written.map(|all| all.iter().filter_map(Value::as_str).collect());
    let Some(texts) = texts.filter(|texts| !texts.is_empty()) else {
        return Answer::refused("Missing event_patterns parameter");
    };
    let mut patterns: Vec<Pattern> = Vec::new();
    for text in &texts {
        match text.parse() {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => return Answer::refused(error.to_string()),
        }
    }
    let own = patterns.len();
    for their in THEIR_NAMES {
        if patterns[..own].iter().any(|pattern| pattern.matches(their)) {
            patterns.extend(native_patterns(their));
        }
    }
    match subscription(host, caller, patterns).await {
        Ok(subscription_id) => {
            let channels = request.payload.get("channels").filter(|given| given.is_array());
            let mut data = json!({
                "subscription_id": subscription_id,
                "agent_id": caller.agent_id.as_str(),
                "event_patterns": texts,
                "channels": channels.cloned().unwrap_or_else(|| json!([])),
            });
            echo(&mut data, request);
            let message = format!("Successfully subscribed to {} event patterns", texts.len());
            Answer::system(command, message, data)
        }
        Err(error) => Answer::system_refused(command, error.message, json!({})),
    }
}

/// Who subscribes to the same again has the same subscription: agents that are started again and again say it each time.
async fn subscription(
    host: &Host,
    caller: &Caller,
    patterns: Vec<Pattern>,
) -> Result<String, openagents_protocol::ErrorBody> {
    let workspace = host.workspace();
    let all = workspace.subscriptions(&caller.agent_id);
    if let Some((known, _)) = all.into_iter().find(|(_, known)| *known == patterns) {
        return Ok(known.to_string());
    }
    let params = Subscribe {
        patterns,
        channels: None,
    };
    let subscription = workspace.subscribe(caller, params).await?;
    Ok(subscription.subscription_id)
}

async fn unsubscribe(host: &Host, caller: &Caller, request: &Request) -> Answer {
    let command = "unsubscribe_events";
    let workspace = host.workspace();
    let all = workspace.subscriptions(&caller.agent_id);
    let asked = request.text("subscription_id");
    let ended: Vec<EventId> = all
        .into_iter()
        .map(|(id, _)| id)
        .filter(|id| asked.is_none_or(|asked| asked == id.as_str()))
        .collect();
    if let (Some(asked), true) = (asked, ended.is_empty()) {
        return Answer::refused(format!("Subscription {asked} not found"));
    }
    for subscription_id in ended {
        let params = Unsubscribe { subscription_id };
        if let Err(error) = workspace.unsubscribe(caller, params).await {
            return Answer::system_refused(command, error.message, json!({}));
        }
    }
    let agent_id = caller.agent_id.as_str();
    let (message, mut data) = match asked {
        Some(asked) => (
            format!("Successfully unsubscribed from subscription {asked}"),
            json!({"subscription_id": asked, "agent_id": agent_id}),
        ),
        None => (
            "Successfully unsubscribed from all events".to_owned(),
            json!({"agent_id": agent_id}),
        ),
    };
    echo(&mut data, request);
    Answer::system(command, message, data)
}

/// There are no certificates here: an id belongs to who registers it.
fn claim_agent_id(host: &Host, request: &Request) -> Answer {
    let command = "claim_agent_id";
    let asked = request.text("agent_id").unwrap_or_default();
    let free = asked
        .parse()
        .is_ok_and(|agent_id| !is_registered(host, &agent_id));
    let message = if free {
        format!("Agent ID {asked} is free: register it")
    } else {
        format!("Agent ID {asked} is already claimed")
    };
    Answer::system_refused(command, message, json!({"agent_id": asked}))
}

async fn change_member(host: &Host, request: &Request, member: Member) -> Answer {
    let command = request.event_name.as_str().trim_start_matches("system.");
    let (channel, agent_id) = match named(request) {
        Ok(named) => named,
        Err(message) => return Answer::system_refused(command, message, json!({})),
    };
    let workspace = host.workspace();
    if !workspace.is_known(&agent_id) {
        let message = format!("no agent {agent_id} was ever here");
        return Answer::system_refused(command, message, json!({}));
    }
    let there = workspace.has_channel(&channel);
    let inside = workspace.memberships(&agent_id).0.contains(&channel);
    let outcome = match member {
        Member::Inside if !there => match workspace.found_channel(channel.clone(), "").await {
            Ok(_) => workspace.set_member(&agent_id, channel.clone(), member).await,
            refused => refused,
        },
        Member::Outside if there && !inside => {
            let message = format!(
                "Internal error processing event {}: {agent_id} is not in channel {channel}",
                request.event_name
            );
            return Answer::refused(message);
        }
        Member::Outside if !there => return membership_changed(command, &channel, &agent_id, member),
        _ => workspace.set_member(&agent_id, channel.clone(), member).await,
    };
    match outcome {
        Ok(_) => membership_changed(command, &channel, &agent_id, member),
        Err(error) => Answer::system_refused(command, error.message, json!({})),
    }
}

fn membership_changed(command: &str, channel: &ChannelName, agent_id: &AgentId, member: Member) -> Answer {
    let message = match member {
        Member::Inside => format!("Successfully added {agent_id} to channel {channel}"),
        Member::Outside => format!("Successfully removed {agent_id} from channel {channel}"),
    };
    let data = json!({"channel_id": channel.as_str(), "agent_id": agent_id.as_str()});
    Answer::system(command, message, data)
}

fn named(request: &Request) -> Result<(ChannelName, AgentId), String> {
    let channel = request.text("channel_id").ok_or("Missing channel_id parameter")?;
    let agent_id = request.text("agent_id").ok_or("Missing agent_id parameter")?;
    let channel = ChannelName::from_written(channel).map_err(|error| error.to_string())?;
    let agent_id = AgentId::from_written(agent_id).map_err(|error| error.to_string())?;
    Ok((channel, agent_id))
}

async fn get_channel_members(host: &Host, request: &Request) -> Answer {
    let command = "get_channel_members";
    let Some(channel) = request.text("channel_id") else {
        return Answer::system_refused(command, "Missing channel_id parameter", json!({}));
    };
    let roster = match host.workspace().roster().await {
        Ok(roster) => roster,
        Err(error) => return error.into(),
    };
    let bare = channel.trim_start_matches('#');
    let found = roster.into_iter().find(|one| one.channel == bare);
    let members: Vec<String> = found
        .into_iter()
        .flat_map(|one| one.online)
        .map(|id| id.to_string())
        .collect();
    let message = format!("Successfully retrieved members of channel {channel}");
    let data = json!({"channel_id": channel, "members": members});
    Answer::system(command, message, data)
}

async fn list_channels(host: &Host) -> Answer {
    match host.workspace().roster().await {
        Ok(roster) => {
            let names: Vec<&str> = roster.iter().map(|one| one.channel.as_str()).collect();
            let message = "Successfully retrieved list of channels";
            Answer::system("list_channels", message, json!({"channels": names}))
        }
        Err(error) => error.into(),
    }
}

/// Takes everybody out of a channel. What was said there stays.
async fn remove_channel(host: &Host, request: &Request) -> Answer {
    let command = "remove_channel";
    let Some(written) = request.text("channel_id") else {
        return Answer::system_refused(command, "Missing channel_id parameter", json!({}));
    };
    let workspace = host.workspace();
    if let Ok(channel) = ChannelName::from_written(written) {
        let members = match workspace.roster().await {
            Ok(roster) => roster.into_iter().find(|one| one.channel == channel),
            Err(error) => return error.into(),
        };
        for agent_id in members.into_iter().flat_map(|one| one.online) {
            let left = workspace.set_member(&agent_id, channel.clone(), Member::Outside);
            if let Err(error) = left.await {
                return Answer::system_refused(command, error.message, json!({}));
            }
        }
    }
    let message = format!("Successfully removed channel {written}");
    Answer::system(command, message, json!({"channel_id": written}))
}

async fn kick(host: &Host, caller: &Caller, request: &Request) -> Answer {
    let command = "kick_agent";
    let refused = |message: String, data: Value| Answer::system_refused(command, message, data);
    let Some(written) = request.text("target_agent_id") else {
        return refused("Missing target_agent_id parameter".to_owned(), json!({}));
    };
    let workspace = host.workspace();
    if !is_admin(host, caller) {
        let data = json!({
            "requesting_agent": caller.agent_id.as_str(),
            "requesting_group": workspace.group_name(&caller.agent_id),
        });
        return refused(
            "Unauthorized: Admin privileges required to kick agents".to_owned(),
            data,
        );
    }
    let target = AgentId::from_written(written).ok();
    let Some(target) = target.filter(|target| is_registered(host, target)) else {
        return refused(format!("Target agent '{written}' not found"), json!({}));
    };
    if target == caller.agent_id {
        return refused("Cannot kick yourself".to_owned(), json!({}));
    }
    let group = workspace.group_name(&target);
    host.desk.ban(&target);
    let reason = format!("{KICKED_BY}{}", caller.agent_id);
    if let Err(error) = dismiss(host, &target, &reason).await {
        return error.into();
    }
    let data = json!({
        "target_agent_id": target.as_str(),
        "kicked_by": caller.agent_id.as_str(),
        "target_group": group,
    });
    Answer::system(command, format!("Successfully kicked agent '{target}'"), data)
}

/// Begins the reason for which a kicked agent left.
pub(super) const KICKED_BY: &str = "kicked by ";

/// The answer names the request, where that has a name.
fn echo(data: &mut Value, request: &Request) {
    if let Some(request_id) = request.text("request_id") {
        data["request_id"] = request_id.into();
    }
}
