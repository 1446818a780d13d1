//! What holds in a channel, as it is written on the command line.

use anyhow::bail;
use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use openagents_protocol::call::{
    ChannelPermissions, ChannelSettings, ConfigureChannel, Grantee, SetPermissions,
};
use openagents_protocol::{ErrorBody, ErrorCode};
use serde::Serialize;

use crate::output;

/// The rules to change.
#[derive(Debug, Args)]
pub(super) struct RuleChanges {
    /// Largest file that may be shared there, such as 10MB
    #[arg(long, value_name = "SIZE")]
    max_file_size: Option<ByteSize>,
    /// Extensions of the files that may be shared there; '' for all
    #[arg(long, value_name = "TYPE,…", value_delimiter = ',')]
    allowed_file_types: Option<Vec<String>>,
    /// Days without a message after which it is archived; 0 for never
    #[arg(long, value_name = "DAYS")]
    auto_archive_days: Option<u32>,
    /// Whether messages may be replied to
    #[arg(long, value_name = "on|off")]
    threading: Option<Switch>,
    /// The most members, of which each has to join; 0 for any number, with everybody inside
    #[arg(long, value_name = "NUMBER")]
    max_members: Option<u32>,
    /// Whether messages wait for a moderator
    #[arg(long, value_name = "on|off")]
    moderated: Option<Switch>,
    /// Whether only who manages it writes there
    #[arg(long, value_name = "on|off")]
    read_only: Option<Switch>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

impl Switch {
    fn is_on(self) -> bool {
        self == Self::On
    }
}

impl RuleChanges {
    /// The call that lets them hold in a channel.
    pub(super) fn of(self, channel: String) -> anyhow::Result<ConfigureChannel> {
        let types = self.allowed_file_types.map(|mut types| {
            types.retain(|extension| !extension.is_empty());
            types
        });
        let settings = ChannelSettings {
            max_file_size: self.max_file_size.map(|size| size.as_u64()),
            allowed_file_types: types,
            auto_archive_days: self.auto_archive_days,
            enable_threading: self.threading.map(Switch::is_on),
            max_members: self.max_members,
            moderated: self.moderated.map(Switch::is_on),
            read_only: self.read_only.map(Switch::is_on),
        };
        if settings == ChannelSettings::default() {
            bail!(
                "say what is to change, such as --moderated on; `openagents channels describe` shows what holds"
            );
        }
        Ok(ConfigureChannel { channel, settings })
    }
}

/// The permissions to change: each a list of `all`, `agents`, `humans` and `admin`.
#[derive(Debug, Args)]
pub(super) struct PermissionChanges {
    /// Who may post and react: all, agents, humans, admin
    #[arg(long, value_name = "WHO,…", value_delimiter = ',')]
    post: Option<Vec<Who>>,
    /// Who may share files
    #[arg(long, value_name = "WHO,…", value_delimiter = ',')]
    upload: Option<Vec<Who>>,
    /// Who may reply to a message that has no reply yet
    #[arg(long, value_name = "WHO,…", value_delimiter = ',')]
    thread: Option<Vec<Who>>,
    /// Who may configure, archive and delete it, besides its maker
    #[arg(long, value_name = "WHO,…", value_delimiter = ',')]
    manage: Option<Vec<Who>>,
}

/// Some of the members of a channel.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Who {
    /// Everybody
    All,
    /// Everybody who is not one of the humans
    Agents,
    /// Those whose metadata has `"type": "human"`
    Humans,
    /// Moderators and admins
    Admin,
}

impl From<Who> for Grantee {
    fn from(who: Who) -> Self {
        match who {
            Who::All => Self::All,
            Who::Agents => Self::Agents,
            Who::Humans => Self::Humans,
            Who::Admin => Self::Admin,
        }
    }
}

impl PermissionChanges {
    /// The call that lets them hold in a channel.
    pub(super) fn of(self, channel: String) -> anyhow::Result<SetPermissions> {
        let grantees = |who: Option<Vec<Who>>| who.map(|who| who.into_iter().map(Grantee::from).collect());
        let permissions = ChannelPermissions {
            post_messages: grantees(self.post),
            upload_files: grantees(self.upload),
            create_threads: grantees(self.thread),
            manage_channel: grantees(self.manage),
        };
        if permissions == ChannelPermissions::default() {
            bail!(
                "say what is to change, such as --post admin; `openagents channels describe` shows what holds"
            );
        }
        Ok(SetPermissions { channel, permissions })
    }
}

/// What was said, as `key=value`; empty where nothing was.
pub(super) fn show(said: &impl Serialize) -> anyhow::Result<String> {
    let said = serde_json::to_value(said)?;
    let pairs = said.as_object().into_iter().flatten();
    let shown: Vec<String> = pairs
        .map(|(key, value)| {
            let value = match value {
                serde_json::Value::Array(items) if items.is_empty() => "all".to_owned(),
                serde_json::Value::Array(items) => {
                    let items: Vec<&str> = items.iter().filter_map(|item| item.as_str()).collect();
                    items.join(",")
                }
                other => other.to_string(),
            };
            format!("{key}={}", output::printable_line(&value))
        })
        .collect();
    Ok(shown.join(" "))
}

/// What the workspace says of a channel that is not there.
pub(super) fn no_channel(name: &str) -> ErrorBody {
    let message = format!("there is no channel {}", output::printable_line(name));
    ErrorBody::field(ErrorCode::ChannelNotFound, "channel", message)
}
