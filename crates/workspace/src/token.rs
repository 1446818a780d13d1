//! Tokens: what they look like, how they are stored, whom they admit.

use std::sync::Arc;

use openagents_protocol::record::{Role, TokenGrant};
use openagents_protocol::{AgentId, ErrorBody, ErrorCode, EventId, Secret};
use sha2::{Digest, Sha256};

use crate::rights::Group;
use crate::state::State;
use crate::workspace::Caller;

/// Who somebody proved to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    /// The only agent they may be; none: any.
    pub agent_id: Option<AgentId>,
    /// What they may do.
    pub role: Role,
    /// The group that they are in; none where there are no groups.
    pub group: Option<Arc<Group>>,
    /// The token that admitted them, unless the workspace is open or the token is the operator's.
    pub token: Option<EventId>,
    /// When that token ends, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
}

impl Principal {
    /// Whoever comes to an open workspace.
    pub const fn anyone(role: Role) -> Self {
        Self {
            agent_id: None,
            role,
            group: None,
            token: None,
            expires_ms: None,
        }
    }

    /// Whoever shows the password of a group, or none where that is the default group. A group that may do everything
    /// administers the workspace.
    pub fn of_group(group: Arc<Group>) -> Self {
        let role = if group.names("*") {
            Role::Admin
        } else {
            Role::Member
        };
        Self {
            group: Some(group),
            ..Self::anyone(role)
        }
    }

    /// They, in a group as well: what admitted them and what the group may do, whichever is more.
    pub fn joining(self, group: Arc<Group>) -> Self {
        let role = if group.names("*") { Role::Admin } else { self.role };
        Self {
            role,
            group: Some(group),
            ..self
        }
    }

    /// They, asking as an agent.
    pub fn caller(&self, agent_id: AgentId) -> Caller {
        Caller {
            group: self.group.clone(),
            ..Caller::new(agent_id, self.role)
        }
    }

    /// The agent that somebody acts as.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::Forbidden`] where the token names another agent.
    pub fn act_as(&self, wanted: Option<AgentId>) -> Result<Option<AgentId>, ErrorBody> {
        match (&self.agent_id, wanted) {
            (Some(own), Some(wanted)) if *own != wanted => {
                let message = format!("this token is for agent {own}, not for {wanted}");
                Err(ErrorBody::field(ErrorCode::Forbidden, "agent_id", message))
            }
            (Some(own), _) => Ok(Some(own.clone())),
            (None, wanted) => Ok(wanted),
        }
    }
}

/// A new token: 256 random bits, written in hex behind `oa_`.
pub(crate) fn generate() -> Secret {
    Secret::new(format!("oa_{}", hex(&random::<32>())))
}

/// A key that proves a client to be the one that was welcomed.
pub(crate) fn session_key() -> Secret {
    Secret::new(hex(&random::<16>()))
}

/// A key for an agent that comes by without a connection of its own: 256 random bits in hex.
pub(crate) fn agent_key() -> Secret {
    Secret::new(hex(&random::<32>()))
}

/// Hex SHA-256 of a token: what the official client sends as `password_hash`.
pub fn password_hash(token: &str) -> String {
    hex(&Sha256::digest(token.as_bytes()))
}

/// What is stored of a token: BLAKE3 of its password hash, so that what is stored admits nobody.
pub fn stored_hash(password_hash: &str) -> String {
    blake3::hash(password_hash.as_bytes()).to_hex().to_string()
}

/// Looks up a token by its password hash.
///
/// # Errors
///
/// [`ErrorCode::Unauthenticated`] or [`ErrorCode::TokenExpired`].
pub(crate) fn authenticate(state: &State, password_hash: &str, now_ms: u64) -> Result<Principal, ErrorBody> {
    // The key of the look-up is a hash of a hash of what the client knows, so its timing tells nothing of use.
    let Some(token) = state.tokens.get(&stored_hash(password_hash)) else {
        return Err(ErrorBody::field(
            ErrorCode::Unauthenticated,
            "token",
            "the token is not valid here",
        ));
    };
    let TokenGrant {
        id,
        role,
        agent_id,
        expires_ms,
        ..
    } = &token.grant;
    if expires_ms.is_some_and(|end| end <= now_ms) {
        return Err(ErrorBody::field(
            ErrorCode::TokenExpired,
            "token",
            "the token has expired: ask for a new one",
        ));
    }
    Ok(Principal {
        agent_id: agent_id.clone(),
        role: *role,
        group: None,
        token: Some(id.clone()),
        expires_ms: *expires_ms,
    })
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has a source of randomness");
    bytes
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;

    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a String cannot fail");
            text
        })
}
