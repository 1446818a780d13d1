//! The extension `openagents.mods.discovery.agent_discovery`: what agents say they can do.
//!
//! It is kept in the metadata of the agent, as `capabilities`.

use std::sync::Arc;

use openagents_protocol::AgentId;
use openagents_protocol::call::{GetAgent, ListAgents, UpdateAgent};
use openagents_workspace::Caller;
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::event::{Aside, entries};
use super::plain::announce;
use super::request::Request;
use crate::host::Host;

pub(super) const MOD: &str = "openagents.mods.discovery.agent_discovery";

/// Deepest nesting of a filter that is looked into.
const DEEPEST: u32 = 16;

/// Answers a request to the extension; none where it handles no event of this name.
pub(super) async fn answer(host: &Arc<Host>, caller: &Caller, request: &Request) -> Option<Answer> {
    Some(match request.event_name.as_str() {
        "discovery.capabilities.set" => set(host, caller, request).await,
        "discovery.capabilities.get" => get(host, request),
        "discovery.agents.search" => search(host, request, "matching agents"),
        "discovery.agents.list" => search(host, request, "agents"),
        _ => return None,
    })
}

async fn set(host: &Arc<Host>, caller: &Caller, request: &Request) -> Answer {
    let Some(Value::Object(capabilities)) = request.payload.get("capabilities") else {
        return Answer::refused("Capabilities must be a dictionary");
    };
    let workspace = host.workspace();
    let known = workspace.get_agent(&GetAgent {
        agent_id: caller.agent_id.to_string(),
    });
    let mut metadata = match known {
        Ok(known) => entries(&known.metadata),
        Err(error) => return error.into(),
    };
    metadata.insert("capabilities".to_owned(), Value::Object(capabilities.clone()));
    let params = UpdateAgent {
        status: None,
        metadata: Some(Value::Object(metadata).into()),
    };
    if let Err(error) = workspace.update_agent(caller, params).await {
        return error.into();
    }
    let data = json!({"agent_id": caller.agent_id.as_str(), "capabilities": capabilities});
    let aside = Aside {
        to: Some("broadcast".to_owned()),
        source: Some(format!("mod:{MOD}")),
        ..Aside::default()
    };
    let name = "discovery.notification.capabilities_updated";
    announce(host, name, "agent:broadcast", data.clone(), &aside).await;
    Answer::done("Capabilities updated", data)
}

fn get(host: &Host, request: &Request) -> Answer {
    let Some(asked) = request.text("agent_id") else {
        return Answer::refused("agent_id is required");
    };
    let found = AgentId::from_written(asked).ok().and_then(|agent_id| {
        let workspace = host.workspace();
        let params = GetAgent {
            agent_id: agent_id.to_string(),
        };
        workspace
            .get_agent(&params)
            .ok()
            .filter(|_| workspace.is_online(&agent_id))
    });
    match found {
        Some(agent) => Answer::done(
            "Capabilities retrieved",
            json!({"agent_id": asked, "capabilities": capabilities(&entries(&agent.metadata))}),
        ),
        None => Answer::done(
            "Agent not found or has no capabilities",
            json!({"agent_id": asked, "capabilities": null}),
        ),
    }
}

fn search(host: &Host, request: &Request, what: &str) -> Answer {
    let filter = match request.payload.get("filter") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(filter)) => filter.clone(),
        Some(_) => return Answer::refused("Filter must be a dictionary"),
    };
    let workspace = host.workspace();
    let all = workspace.list_agents(&ListAgents::default()).agents.into_iter();
    let found: Vec<Value> = all
        .filter_map(|agent| {
            let capabilities = capabilities(&entries(&agent.metadata));
            if !matches(&capabilities, &filter, 0) {
                return None;
            }
            let group = workspace.group_name(&agent.id.parse().ok()?);
            Some(json!({"agent_id": agent.id, "agent_group": group, "capabilities": capabilities}))
        })
        .collect();
    let message = format!("Found {} {what}", found.len());
    Answer::done(message, json!({"agents": found, "count": found.len()}))
}

fn capabilities(metadata: &Map<String, Value>) -> Value {
    metadata.get("capabilities").cloned().unwrap_or_else(|| json!({}))
}

/// Whether every entry of a filter is there: lists have something in common, objects match, anything else is equal.
fn matches(there: &Value, filter: &Map<String, Value>, depth: u32) -> bool {
    filter.iter().all(|(key, wanted)| {
        let Some(found) = there.get(key) else { return false };
        match (wanted, found) {
            (Value::Array(wanted), Value::Array(found)) => wanted.iter().any(|one| found.contains(one)),
            (Value::Array(wanted), found) => wanted.contains(found),
            (Value::Object(wanted), found) if depth < DEEPEST => matches(found, wanted, depth + 1),
            (wanted, found) => wanted == found,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_matches_by_intersection_recursion_and_equality() {
        let there = json!({"lang": ["en", "fr"], "model": {"size": 7}, "level": 3});
        let check = |filter: Value, expected: bool| {
            let Value::Object(wanted) = &filter else { panic!() };
            assert_eq!(matches(&there, wanted, 0), expected, "{filter}");
        };
        check(json!({}), true);
        check(json!({"lang": ["de", "fr"]}), true);
        check(json!({"lang": ["de"]}), false);
        check(json!({"model": {"size": 7}}), true);
        check(json!({"model": {"size": 8}}), false);
        check(json!({"level": 3, "lang": ["en"]}), true);
        check(json!({"other": 1}), false);
    }
}
