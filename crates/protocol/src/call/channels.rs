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
    /// Who may configure, archive and delete the channel, besides its maker; default `admin`.
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
