//! Calls that change channels, beyond making, joining and leaving them.

use serde::{Deserialize, Serialize};

use super::AgentInfo;

/// Rules of a channel. In a call, what is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChannelSettings {
    /// Largest file that may be shared here, in bytes; none: what the workspace allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_file_size: Option<u64>,
    /// Extensions of the files that may be shared here, such as `csv`, at most 100; none or empty: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_file_types: Option<Vec<String>>,
    /// Days without a message after which the channel is archived; none or 0: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_archive_days: Option<u32>,
    /// Whether messages may be replied to; none: yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_threading: Option<bool>,
    /// The most members; none or 0: any number. With a limit only those are members who join by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_members: Option<u32>,
    /// Whether messages wait for a moderator, who sees them with `list_held` and delivers them with `unblock`; those of
    /// who manages the channel do not. Nothing else can be sent there, and nothing edited. None: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moderated: Option<bool>,
    /// Whether only who manages the channel writes there; none: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

impl ChannelSettings {
    /// The most members, if there is a limit.
    pub fn most_members(&self) -> Option<usize> {
        let most = self.max_members.filter(|most| 0 < *most)?;
        Some(usize::try_from(most).unwrap_or(usize::MAX))
    }

    /// These rules where they say something, and else those of before.
    #[must_use]
    pub fn over(self, before: Self) -> Self {
        Self {
            max_file_size: self.max_file_size.or(before.max_file_size),
            allowed_file_types: self.allowed_file_types.or(before.allowed_file_types),
            auto_archive_days: self.auto_archive_days.or(before.auto_archive_days),
            enable_threading: self.enable_threading.or(before.enable_threading),
            max_members: self.max_members.or(before.max_members),
            moderated: self.moderated.or(before.moderated),
            read_only: self.read_only.or(before.read_only),
        }
    }
}

/// Who may do what in a channel. In a call, what is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChannelPermissions {
    /// Who may post and react; default `all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_messages: Option<Vec<Grantee>>,
    /// Who, of those who may post, may share files; default `all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_files: Option<Vec<Grantee>>,
    /// Who may begin threads: give a message a title, or reply to one that has neither title nor reply; default `all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_threads: Option<Vec<Grantee>>,
    /// Who may configure, archive and delete the channel, besides its maker and those whose group has
    /// `manage_channels`; default `admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manage_channel: Option<Vec<Grantee>>,
}

/// Some of the members of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Grantee {
    /// Everybody.
    All,
    /// Everybody who is not one of the humans.
    Agents,
    /// Those whose metadata has `"type": "human"`.
    Humans,
    /// Moderators and admins.
    Admin,
}

/// Changes the topic of a channel; for its members.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetTopic {
    /// The channel.
    pub channel: String,
    /// What it is about now; at most 1,000 bytes, empty for none.
    pub topic: String,
}

/// Changes the rules of a channel; for who manages it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConfigureChannel {
    /// The channel.
    pub channel: String,
    /// The rules to change.
    pub settings: ChannelSettings,
}

/// Changes who may do what in a channel; for who manages it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetPermissions {
    /// The channel.
    pub channel: String,
    /// The permissions to change.
    pub permissions: ChannelPermissions,
}

/// Archives a channel, or opens it again; for who manages it. An archived channel can be read and not written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ArchiveChannel {
    /// The channel.
    pub channel: String,
    /// False opens it again; default true.
    #[serde(default = "yes")]
    pub archived: bool,
}

fn yes() -> bool {
    true
}

/// Deletes a channel; for who manages it. Its messages cannot be read any more, also not by making it again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeleteChannel {
    /// The channel.
    pub channel: String,
}

/// Lists the members of a channel, sorted by id; for its members.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ListMembers {
    /// The channel.
    pub channel: String,
    /// At most this many, 1 to 1,000; default 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only those whose id sorts after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// A page of the members of a channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Members {
    /// Sorted by id.
    pub members: Vec<AgentInfo>,
    /// Whether there are more.
    pub has_more: bool,
}
