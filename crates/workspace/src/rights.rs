//! What somebody may do: a role, and the permissions of a group.

use std::sync::Arc;

use openagents_protocol::record::Role;
use openagents_protocol::{ErrorBody, ErrorCode, Json};

/// A group of agents, of which an agent is in exactly one.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// How its password is stored: hex SHA-256, or bcrypt (`$2b$…`); none: it has no password.
    pub password_hash: Option<String>,
    /// Names of what its agents may do, `*` for everything; none: what every member may do.
    pub permissions: Option<Vec<String>>,
    /// Free JSON object of the configuration.
    pub metadata: Json,
}

impl Group {
    /// A group without a password, whose agents may do what every member may.
    pub fn open(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            password_hash: None,
            permissions: None,
            metadata: Json::empty_object(),
        }
    }

    /// Whether this is named among its permissions.
    pub fn names(&self, permission: &str) -> bool {
        let names = self.permissions.iter().flatten();
        names
            .into_iter()
            .any(|name| name == permission || name == "*" || name == "all")
    }
}

/// What somebody may do.
#[derive(Clone, Debug)]
pub(crate) struct Rights {
    pub(crate) role: Role,
    pub(crate) group: Option<Arc<Group>>,
}

impl Rights {
    /// Everything.
    pub(crate) const fn all() -> Self {
        Self {
            role: Role::Admin,
            group: None,
        }
    }

    /// Whether they moderate.
    pub(crate) fn moderates(&self) -> bool {
        matches!(self.role, Role::Admin | Role::Moderator)
    }

    /// Makes sure of something that every member may do, unless its group says otherwise.
    ///
    /// # Errors
    ///
    /// `forbidden`.
    pub(crate) fn require(&self, permission: &str) -> Result<(), ErrorBody> {
        match &self.group {
            Some(group) if group.permissions.is_some() && !group.names(permission) && !self.moderates() => {
                let message = format!("agents of group {} have no permission {permission}", group.name);
                Err(ErrorBody::new(ErrorCode::Forbidden, message))
            }
            _ => Ok(()),
        }
    }

    /// Whether they may do something that only some may: moderators, and groups that name it.
    pub(crate) fn has(&self, permission: &str) -> bool {
        self.moderates() || self.group.as_ref().is_some_and(|group| group.names(permission))
    }
}

/// Names of permissions that the workspace itself asks for.
pub mod permission {
    /// Post messages, react, and send events.
    pub const POST_MESSAGES: &str = "post_messages";
    /// Read the history of channels.
    pub const READ_CHANNELS: &str = "read_channels";
    /// Share files.
    pub const UPLOAD_FILES: &str = "upload_files";
    /// Delete what others wrote or shared.
    pub const DELETE_POSTS: &str = "delete_posts";
    /// Configure, archive and delete channels that others made.
    pub const MANAGE_CHANNELS: &str = "manage_channels";
}
