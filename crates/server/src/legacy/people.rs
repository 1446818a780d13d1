//! Joining and leaving.

use std::sync::Arc;

use openagents_protocol::call::Unsubscribe;
use openagents_protocol::record::Role;
use openagents_protocol::{AgentId, ErrorBody, ErrorCode, Json, Secret};
use openagents_workspace::{Caller, Enrol, Member, Principal, Takeover, Way};
use serde_json::{Map, Value, json};

use super::answer::UNPROVED;
use super::event::Aside;
use super::{discovery, plain};
use crate::host::{Credentials, Host};

/// An agent that wants to join.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) agent_id: String,
    pub(super) metadata: Map<String, Value>,
    pub(super) password_hash: Option<Secret>,
    /// The group that it asks for.
    pub(super) group: Option<String>,
    pub(super) takeover: Takeover,
}

/// An agent that joined.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) secret: Secret,
    pub(super) group: String,
}

/// Lets an agent join. It is in every channel then, and an earlier secret proves nothing any more.
///
/// Nothing happens to an agent of the same id that is there unless all of it is in order.
pub(super) async fn register(
    host: &Arc<Host>,
    way: &Arc<dyn Way>,
    registration: Registration,
) -> Result<Registered, String> {
    let Registration {
        agent_id: written,
        mut metadata,
        password_hash,
        group,
        takeover,
    } = registration;
    let agent_id = AgentId::from_written(&written).map_err(|error| error.to_string())?;
    if let Some(rest) = host.desk.banned_for(&agent_id) {
        let seconds = rest.as_secs_f64().ceil();
        return Err(format!(
            "Agent {agent_id} was recently kicked. Please wait {seconds} seconds before re-registering."
        ));
    }
    let shown = password_hash.is_some();
    let credentials = Credentials {
        token: None,
        password_hash,
    };
    let principal = host
        .authenticate(&credentials)
        .await
        .map_err(|error| refusal(host, &agent_id, shown, &error))?;
    let workspace = host.workspace();
    let default_group = &workspace.settings().default_group;
    let mut principal = principal;
    let groups = &workspace.settings().groups;
    // A group without a password takes whoever asks for it.
    let open = groups.iter().find(|known| Some(&known.name) == group.as_ref());
    if let Some(open) = open.filter(|known| known.password_hash.is_none()) {
        principal = Principal {
            token: principal.token,
            expires_ms: principal.expires_ms,
            agent_id: principal.agent_id,
            ..Principal::of_group(Arc::new(open.clone()))
        };
    }
    let assigned = principal
        .group
        .as_ref()
        .map_or(default_group, |group| &group.name)
        .clone();
    if let Some(wanted) = group
        && wanted != assigned
    {
        return Err(format!("Invalid credentials for group '{wanted}'"));
    }
    let comes = host.desk.comes(workspace.settings().clock.now_ms());
    metadata.insert("_connect_time".to_owned(), comes.into());
    let capabilities = metadata.get("capabilities").cloned();
    let enrol = Enrol {
        principal,
        agent_id: agent_id.clone(),
        metadata: Some(Json::from(Value::Object(metadata))),
        takeover,
        way: Arc::clone(way),
    };
    let (_, secret) = workspace.enrol(enrol).await.map_err(|error| match error.code {
        ErrorCode::AgentIdInUse => format!("Agent {agent_id} already registered with network"),
        _ => error.message,
    })?;
    let (_, outside) = workspace.memberships(&agent_id);
    if host.desk.settings.mods.messaging {
        for channel in outside {
            // Whoever may not read there stays outside.
            if let Err(error) = workspace.set_member(&agent_id, channel, Member::Inside).await {
                tracing::debug!(%error, agent = %agent_id, "could not join a channel");
            }
        }
    }
    if host.desk.settings.mods.discovery && host.desk.settings.mods.broadcast_connection {
        let aside = Aside {
            to: Some("broadcast".to_owned()),
            source: Some(format!("mod:{}", discovery::MOD)),
            ..Aside::default()
        };
        let payload = json!({
            "agent_id": agent_id.as_str(),
            "agent_group": assigned,
            "capabilities": capabilities.unwrap_or_else(|| json!({})),
            "connected_at": plain::now(host),
        });
        let name = "discovery.notification.agent_connected";
        plain::announce(host, name, &format!("agent:{agent_id}"), payload, &aside).await;
    }
    Ok(Registered {
        secret,
        group: assigned,
    })
}

/// Why somebody is not admitted, in the words of this interface.
fn refusal(host: &Host, agent_id: &AgentId, shown: bool, error: &ErrorBody) -> String {
    let settings = host.workspace();
    match error.code {
        ErrorCode::Unauthenticated if settings.settings().requires_password => {
            "Password authentication required for network registration".to_owned()
        }
        ErrorCode::Unauthenticated if shown => {
            format!("Failed to register agent {agent_id} with network: the password hash is not valid here")
        }
        ErrorCode::Unauthenticated => format!(
            "Failed to register agent {agent_id} with network: this workspace wants a token; give its hex SHA-256 as \
             password_hash"
        ),
        _ => error.message.clone(),
    }
}

/// Lets an agent leave.
pub(super) async fn unregister(
    host: &Arc<Host>,
    way: &Arc<dyn Way>,
    agent_id: &str,
    secret: &Secret,
) -> Result<(), String> {
    let Ok(agent_id) = AgentId::from_written(agent_id) else {
        return Err(UNPROVED.to_owned());
    };
    let workspace = host.workspace();
    workspace
        .recognise(&agent_id, secret, way)
        .map_err(|_| UNPROVED.to_owned())?;
    dismiss(host, &agent_id, "disconnected")
        .await
        .map_err(|error| error.message)
}

/// An agent leaves. Coming back it begins anew, with no subscription.
pub(super) async fn dismiss(host: &Host, agent_id: &AgentId, reason: &str) -> Result<(), ErrorBody> {
    let workspace = host.workspace();
    let leaving = Caller::new(agent_id.clone(), Role::Member);
    for (subscription_id, _) in workspace.subscriptions(agent_id) {
        let params = Unsubscribe { subscription_id };
        workspace.unsubscribe(&leaving, params).await?;
    }
    workspace.dismiss(agent_id, reason).await
}
