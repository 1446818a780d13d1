//! Calls about agents.

use openagents_protocol::call::{AgentInfo, Agents, GetAgent, ListAgents, Permissions, UpdateAgent};
use openagents_protocol::record::Role;
use openagents_protocol::{AgentId, ErrorBody, ErrorCode, EventId, Pattern};

use super::{agent_id, seconds};
use crate::decide::Wish;
use crate::rights::permission;
use crate::state::{Agent, ONLINE, Presence};
use crate::workspace::{Caller, Workspace, check_metadata};

/// Longest status, in bytes.
const MAX_STATUS: usize = 100;

impl Workspace {
    /// Agents, sorted by id: those online, or all that are known.
    pub fn list_agents(&self, params: &ListAgents) -> Agents {
        let snapshot = self.snapshot();
        let wanted = snapshot
            .state
            .agents
            .iter()
            .filter(|(_, agent)| params.all || agent.presence == Presence::Online)
            .map(|(id, agent)| agent_info(id, agent));
        let mut agents: Vec<AgentInfo> = wanted
            .filter(|agent| {
                let capability = params.capability.as_ref();
                capability.is_none_or(|capability| agent.capabilities.contains(capability))
            })
            .collect();
        agents.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        Agents { agents }
    }

    /// The group that an agent is in.
    pub fn group_name(&self, agent_id: &AgentId) -> String {
        let snapshot = self.snapshot();
        let known = snapshot.state.agents.get(agent_id);
        let named = known.and_then(|agent| agent.group.clone());
        named.unwrap_or_else(|| self.settings().default_group.clone())
    }

    /// The agents of a group that are known.
    pub fn agents_in_group(&self, group: &str) -> Vec<AgentId> {
        let snapshot = self.snapshot();
        let default = &self.settings().default_group;
        let known = snapshot.state.agents.iter();
        let inside = known.filter(|(_, agent)| agent.group.as_ref().unwrap_or(default) == group);
        inside.map(|(id, _)| id.clone()).collect()
    }

    /// Whether an agent was ever here.
    pub fn is_known(&self, agent_id: &AgentId) -> bool {
        self.snapshot().state.agents.contains_key(agent_id)
    }

    /// Whether an agent is here.
    pub fn is_online(&self, agent_id: &AgentId) -> bool {
        let snapshot = self.snapshot();
        let known = snapshot.state.agents.get(agent_id);
        known.is_some_and(|agent| agent.presence == Presence::Online)
    }

    /// What an agent subscribed to: the names of each subscription, under its id.
    pub fn subscriptions(&self, agent_id: &AgentId) -> Vec<(EventId, Vec<Pattern>)> {
        let snapshot = self.snapshot();
        let known = snapshot.state.agents.get(agent_id);
        let all = known.into_iter().flat_map(|agent| &agent.subscriptions);
        all.map(|subscription| (subscription.id.clone(), subscription.patterns.clone()))
            .collect()
    }

    /// One agent, online or not.
    ///
    /// # Errors
    ///
    /// `invalid_name`, `agent_not_found`.
    pub fn get_agent(&self, params: &GetAgent) -> Result<AgentInfo, ErrorBody> {
        let id = agent_id("agent_id", &params.agent_id)?;
        self.one_agent(&id)
    }

    /// Changes what the caller says of itself.
    ///
    /// # Errors
    ///
    /// `invalid_field`, `too_large`.
    pub async fn update_agent(&self, caller: &Caller, params: UpdateAgent) -> Result<AgentInfo, ErrorBody> {
        let UpdateAgent { status, metadata } = params;
        if let Some(status) = &status {
            check_status(status)?;
        }
        if let Some(metadata) = &metadata {
            check_metadata(metadata)?;
        }
        if let Some(metadata) = metadata {
            self.wish_for(caller, Wish::SetMetadata { metadata }).await?;
        }
        if let Some(status) = status {
            self.wish_for(caller, Wish::SetStatus { status }).await?;
        }
        self.one_agent(&caller.agent_id)
    }

    /// What the caller may do.
    pub fn get_permissions(&self, caller: &Caller) -> Permissions {
        let mut permissions: Vec<String> =
            match caller.group.as_ref().and_then(|group| group.permissions.clone()) {
                Some(permissions) => permissions,
                None if caller.role == Role::Observer => vec![permission::READ_CHANNELS.to_owned()],
                None => [
                    permission::READ_CHANNELS,
                    permission::POST_MESSAGES,
                    permission::UPLOAD_FILES,
                ]
                .map(str::to_owned)
                .to_vec(),
            };
        if caller.rights().moderates() {
            permissions = vec!["*".to_owned()];
        }
        let group = caller.group.as_ref().map(|group| group.name.clone());
        Permissions {
            role: caller.role,
            group: group.unwrap_or_else(|| self.settings().default_group.clone()),
            permissions,
        }
    }

    fn one_agent(&self, id: &AgentId) -> Result<AgentInfo, ErrorBody> {
        let snapshot = self.snapshot();
        let agent = snapshot.state.agents.get(id).ok_or_else(|| {
            let message = format!("no agent {id} was ever here");
            ErrorBody::field(ErrorCode::AgentNotFound, "agent_id", message)
        })?;
        Ok(agent_info(id, agent))
    }
}

fn check_status(status: &str) -> Result<(), ErrorBody> {
    let wrong = status.is_empty()
        || MAX_STATUS < status.len()
        || status.trim() != status
        || status.contains(char::is_control);
    if wrong || status == "offline" {
        let message = format!("1 to {MAX_STATUS} bytes without blanks at the ends, and not `offline`");
        return Err(ErrorBody::field(ErrorCode::InvalidField, "status", message));
    }
    Ok(())
}

pub(super) fn agent_info(id: &AgentId, agent: &Agent) -> AgentInfo {
    let metadata = &agent.metadata;
    let capabilities = metadata.get("capabilities").and_then(|value| value.as_array());
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    AgentInfo {
        id: id.to_string(),
        agent_id: id.to_string(),
        name: metadata.get("name").and_then(text),
        status: match agent.presence {
            Presence::Online => agent.status.clone().unwrap_or_else(|| ONLINE.to_owned()),
            Presence::Offline => "offline".to_owned(),
        },
        last_seen: seconds(match agent.presence {
            Presence::Online => agent.joined_ms,
            Presence::Offline => agent.last_seen_ms,
        }),
        capabilities: capabilities.into_iter().flatten().filter_map(text).collect(),
        metadata: metadata.clone(),
    }
}
