//! `network.agent_groups`: who may do what, by password.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use openagents_server::Group;

use super::keys::AgentGroup;

/// The groups of agents. A password is stored as bcrypt or as hex SHA-256, never as it is.
pub(super) fn groups(
    written: BTreeMap<String, AgentGroup>,
    requires_password: bool,
) -> anyhow::Result<Vec<Group>> {
    if requires_password && written.is_empty() {
        bail!("network.requires_password: nobody could join, since no group has a password");
    }
    written
        .into_iter()
        .map(|(name, group)| one(name, group, requires_password))
        .collect()
}

fn one(name: String, group: AgentGroup, requires_password: bool) -> anyhow::Result<Group> {
    let path = format!("network.agent_groups.{name}");
    if group.password_hash.as_deref().is_some_and(|hash| !is_hash(hash)) {
        bail!("{path}.password_hash: it is neither bcrypt (`$2b$...`) nor a SHA-256 of 64 hex digits");
    }
    if requires_password && group.password_hash.is_none() {
        bail!("{path}: with requires_password, every group has a password_hash");
    }
    let metadata = group.metadata.unwrap_or_default();
    let permissions = metadata.get("permissions").map(|listed| {
        serde_json::from_value(listed.clone())
            .with_context(|| format!("{path}.metadata.permissions is not a list of names"))
    });
    Ok(Group {
        name,
        description: group.description.unwrap_or_default(),
        password_hash: group.password_hash,
        permissions: permissions.transpose()?,
        metadata: serde_json::Value::Object(metadata).into(),
    })
}

fn is_hash(written: &str) -> bool {
    let sha_256 = written.len() == 64 && written.bytes().all(|byte| byte.is_ascii_hexdigit());
    sha_256 || (written.starts_with("$2") && written.len() == 60)
}
