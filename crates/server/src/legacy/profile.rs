//! `GET /api/health`: what a client looks at before it connects.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use openagents_protocol::call::ListAgents;
use openagents_workspace::Group;
use serde_json::{Map, Value, json};

use super::http::answer;
use crate::host::Host;

/// The group of those that show no password, where it is not described.
const DEFAULT_GROUP: &str = "Default group for agents without specific credentials";

/// The version of the official server whose interface this is.
const VERSION: &str = "0.9.3.post20";

pub(super) async fn health(State(host): State<Arc<Host>>) -> Response {
    let ready = host.workspace().is_ready();
    let body = json!({
        "success": true,
        "status": if ready { "healthy" } else { "unavailable" },
        "data": profile(&host),
    });
    answer(StatusCode::OK, &body)
}

/// What a client needs to connect, and nothing else: told in clear on a port that speaks TLS.
pub(crate) fn minimal(host: &Host) -> Value {
    let workspace = host.workspace();
    let name = &workspace.settings().name;
    json!({
        "success": true,
        "status": if workspace.is_ready() { "healthy" } else { "unavailable" },
        "data": {
            "network_id": network_id(host),
            "network_name": name,
            "is_running": workspace.is_ready(),
            "topology_mode": "centralized",
            "transports": transports(host),
            "recommended_transport": recommended(host),
        },
    })
}

/// The whole profile. Who is there is told where everybody is admitted, and otherwise to nobody.
pub(crate) fn profile(host: &Host) -> Value {
    let workspace = host.workspace();
    let settings = workspace.settings();
    let desk = &host.desk;
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut agents = Map::new();
    let mut online = 0;
    for agent in workspace.list_agents(&ListAgents::default()).agents {
        online += 1;
        if !host.is_open() {
            continue;
        }
        let group = match agent.id.parse() {
            Ok(id) => workspace.group_name(&id),
            Err(_) => settings.default_group.clone(),
        };
        let shown = json!({
            "capabilities": [],
            "last_seen": agent.last_seen,
            "transport_type": "http",
            "address": null,
            "group": group,
        });
        groups.entry(group).or_default().push(agent.id.clone());
        agents.insert(agent.id, shown);
    }
    let mods: Vec<Value> = desk
        .settings
        .mods
        .names()
        .into_iter()
        .map(|name| json!({"name": name, "enabled": true, "config": mod_config(host, name)}))
        .collect();
    json!({
        "network_id": network_id(host),
        "network_uuid": desk.run_id,
        "network_name": settings.name,
        "initialized": true,
        "created_by_version": VERSION,
        "is_running": workspace.is_ready(),
        "uptime_seconds": desk.started.elapsed().as_secs_f64(),
        "agent_count": online,
        "agents": agents,
        "group_config": group_config(host, &groups),
        "groups": groups,
        "default_agent_group": settings.default_group,
        "requires_password": settings.requires_password,
        "mods": mods,
        "dynamic_mods": {"loaded": [], "count": 0, "details": {}},
        "topology_mode": "centralized",
        "transports": transports(host),
        "manifest_transport": "http",
        "recommended_transport": recommended(host),
        "max_connections": host.limits.max_connections,
        "readme": desk.settings.profile.get("readme"),
        "network_profile": network_profile(host),
    })
}

/// What the network says of itself.
fn network_profile(host: &Host) -> Value {
    let workspace = host.workspace();
    let settings = workspace.settings();
    let mut told = json!({
        "discoverable": false,
        "network_id": network_id(host),
        "name": settings.name,
        "description": settings.description,
        "required_openagents_version": "0.9.0",
    });
    for (key, value) in &host.desk.settings.profile {
        told[key] = value.clone();
    }
    told
}

/// What names the network.
pub(super) fn network_id(host: &Host) -> String {
    let named = host.desk.settings.network_id.clone();
    named.unwrap_or_else(|| host.workspace().settings().name.clone())
}

/// What clients may see of the configuration of an extension.
fn mod_config(host: &Host, name: &str) -> Value {
    let mods = &host.desk.settings.mods;
    let workspace = host.workspace();
    match name {
        super::thread::MOD => {
            let channel = |channel: &openagents_workspace::ConfiguredChannel| json!({"name": channel.name.as_str(), "description": channel.description});
            let channels: Vec<Value> = workspace.settings().channels.iter().map(channel).collect();
            json!({"default_channels": channels})
        }
        super::discovery::MOD => json!({
            "broadcast_connection": mods.broadcast_connection,
            "broadcast_disconnection": mods.broadcast_disconnection,
        }),
        _ => json!({}),
    }
}

fn transports(host: &Host) -> Value {
    let ports = host.desk.ports();
    let grpc = json!({"type": "grpc", "config": {"port": ports.grpc}});
    if host.desk.secure {
        // The HTTP of the official client cannot do TLS.
        return json!([grpc]);
    }
    json!([{"type": "http", "config": {"port": ports.http}}, grpc])
}

/// Over HTTP metadata may be any JSON and whole numbers stay whole, so it is recommended where it works.
fn recommended(host: &Host) -> &str {
    if host.desk.secure {
        return "grpc";
    }
    host.desk.settings.recommended.as_deref().unwrap_or("http")
}

fn group_config(host: &Host, online: &BTreeMap<String, Vec<String>>) -> Vec<Value> {
    let workspace = host.workspace();
    let settings = workspace.settings();
    let told = |group: &Group| {
        json!({
            "name": group.name,
            "description": group.description,
            "agent_count": online.get(&group.name).map_or(0, Vec::len),
            "metadata": group.metadata,
            "has_password": group.password_hash.is_some(),
        })
    };
    let mut all: Vec<Value> = settings.groups.iter().map(told).collect();
    if settings
        .groups
        .iter()
        .all(|group| group.name != settings.default_group)
    {
        let mut group = Group::open(&settings.default_group);
        DEFAULT_GROUP.clone_into(&mut group.description);
        all.push(told(&group));
    }
    all
}
