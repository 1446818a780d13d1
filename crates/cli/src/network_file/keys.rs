//! The keys that have an effect, as they are written. Every other key is taken and named in a warning.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;

use openagents_server::Durability;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::values::{OrOff, Period, Size, Span};

#[derive(Debug, Deserialize)]
pub(super) struct File {
    pub(super) network: Network,
    /// What this server knows beyond the documented keys.
    pub(super) workspace: Option<Workspace>,
    pub(super) log_level: Option<String>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) runtime_limit: Option<Span>,
    pub(super) shutdown_timeout: Option<Span>,
    pub(super) network_profile: Option<Profile>,
}

/// What clients are shown of the network.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Profile {
    pub(super) network_id: Option<String>,
    name: Option<String>,
    description: Option<String>,
    readme: Option<String>,
    icon: Option<String>,
    website: Option<String>,
    tags: Option<Vec<String>>,
    categories: Option<Vec<String>>,
    country: Option<String>,
    language: Option<String>,
    timezone: Option<String>,
    capacity: Option<u32>,
    required_openagents_version: Option<String>,
    contact_email: Option<String>,
    support_url: Option<String>,
    terms_of_service: Option<String>,
    privacy_policy: Option<String>,
    code_of_conduct: Option<String>,
}

impl Profile {
    /// What is written, under its keys.
    pub(super) fn shown(&self) -> serde_json::Map<String, serde_json::Value> {
        let Ok(serde_json::Value::Object(mut shown)) = serde_json::to_value(self) else {
            return serde_json::Map::new();
        };
        shown.retain(|_, value| !value.is_null());
        shown
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Network {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) transports: Option<Vec<Transport>>,
    pub(super) mods: Option<Vec<Mod>>,
    pub(super) max_connections: Option<usize>,
    pub(super) connection_timeout: Option<Period>,
    pub(super) heartbeat_interval: Option<Period>,
    pub(super) agent_timeout: Option<Period>,
    pub(super) message_queue_size: Option<usize>,
    pub(super) agent_groups: Option<BTreeMap<String, AgentGroup>>,
    pub(super) default_agent_group: Option<String>,
    pub(super) requires_password: Option<bool>,
    pub(super) allowed_origins: Option<Vec<String>>,
    pub(super) rate_limiting_enabled: Option<bool>,
    pub(super) max_requests_per_minute: Option<NonZeroU32>,
    pub(super) security: Option<Security>,
    pub(super) recommended_transport: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct AgentGroup {
    pub(super) description: Option<String>,
    pub(super) password_hash: Option<String>,
    pub(super) metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Transport {
    #[serde(rename = "type", default = "http")]
    pub(super) kind: String,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) config: Option<TransportConfig>,
}

fn http() -> String {
    "http".to_owned()
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct TransportConfig {
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) max_connections: Option<usize>,
    pub(super) max_request_size: Option<Size>,
    #[serde(alias = "timeout")]
    pub(super) request_timeout: Option<Period>,
    pub(super) keep_alive: Option<bool>,
    pub(super) cors_enabled: Option<bool>,
    pub(super) cors_origins: Option<Vec<String>>,
    #[serde(default)]
    pub(super) tls_enabled: bool,
    pub(super) tls_cert_path: Option<PathBuf>,
    pub(super) tls_key_path: Option<PathBuf>,
    /// Of a `websocket` transport, like those below.
    pub(super) path: Option<String>,
    pub(super) ping_interval: Option<Period>,
    pub(super) ping_timeout: Option<Period>,
    pub(super) max_message_size: Option<Size>,
    /// Of a `grpc` transport: the same, spelled differently.
    pub(super) max_receive_message_size: Option<Size>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Security {
    #[serde(default)]
    pub(super) tls_enabled: bool,
    pub(super) tls_cert_file: Option<PathBuf>,
    pub(super) tls_key_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) firewall_enabled: bool,
    pub(super) allowed_ip_ranges: Option<Vec<String>>,
    pub(super) blocked_ip_ranges: Option<Vec<String>>,
    pub(super) rate_limiting_enabled: Option<bool>,
    #[serde(default)]
    pub(super) content_filtering: bool,
    pub(super) max_message_length: Option<usize>,
    pub(super) prohibited_words: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Mod {
    pub(super) name: String,
    #[serde(default = "yes")]
    pub(super) enabled: bool,
    pub(super) config: Option<ModConfig>,
}

fn yes() -> bool {
    true
}

/// Of the messaging mod, and at the end of that which finds agents.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ModConfig {
    pub(super) default_channels: Option<Vec<DefaultChannel>>,
    pub(super) max_file_size: Option<Size>,
    pub(super) allowed_file_types: Option<Vec<String>>,
    pub(super) enable_reactions: Option<bool>,
    pub(super) enable_mentions: Option<bool>,
    pub(super) rate_limit_enabled: Option<bool>,
    pub(super) max_messages_per_minute: Option<NonZeroU32>,
    pub(super) max_files_per_hour: Option<NonZeroU32>,
    pub(super) message_retention_days: Option<NonZeroU32>,
    pub(super) message_history_limit: Option<u64>,
    pub(super) file_retention_days: Option<NonZeroU32>,
    pub(super) broadcast_connection: Option<bool>,
    pub(super) broadcast_disconnection: Option<bool>,
}

impl ModConfig {
    /// What the messaging mod is told here.
    pub(super) fn of_messaging(&self) -> Vec<&'static str> {
        let written = [
            ("default_channels", self.default_channels.is_some()),
            ("max_file_size", self.max_file_size.is_some()),
            ("allowed_file_types", self.allowed_file_types.is_some()),
            ("enable_reactions", self.enable_reactions.is_some()),
            ("enable_mentions", self.enable_mentions.is_some()),
            ("rate_limit_enabled", self.rate_limit_enabled.is_some()),
            ("max_messages_per_minute", self.max_messages_per_minute.is_some()),
            ("max_files_per_hour", self.max_files_per_hour.is_some()),
            ("message_retention_days", self.message_retention_days.is_some()),
            ("message_history_limit", self.message_history_limit.is_some()),
            ("file_retention_days", self.file_retention_days.is_some()),
        ];
        written_only(&written)
    }

    /// What the mod that finds agents is told here.
    pub(super) fn of_discovery(&self) -> Vec<&'static str> {
        written_only(&[
            ("broadcast_connection", self.broadcast_connection.is_some()),
            ("broadcast_disconnection", self.broadcast_disconnection.is_some()),
        ])
    }
}

fn written_only(keys: &[(&'static str, bool)]) -> Vec<&'static str> {
    let written = keys.iter().filter(|(_, written)| *written);
    written.map(|(key, _)| *key).collect()
}

/// A name, or a mapping with more.
#[derive(Debug, Default, Deserialize)]
#[serde(remote = "Self")]
pub(super) struct DefaultChannel {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) max_members: Option<u32>,
    pub(super) moderated: Option<bool>,
    pub(super) read_only: Option<bool>,
}

impl<'de> Deserialize<'de> for DefaultChannel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrMapping;

        impl<'de> Visitor<'de> for NameOrMapping {
            type Value = DefaultChannel;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a name, or a mapping with `name`, `description` and rules")
            }

            fn visit_str<E>(self, name: &str) -> Result<DefaultChannel, E> {
                Ok(DefaultChannel {
                    name: name.to_owned(),
                    ..DefaultChannel::default()
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<DefaultChannel, A::Error> {
                DefaultChannel::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_any(NameOrMapping)
    }
}

/// What no documented key says.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Workspace {
    #[serde(default, deserialize_with = "parsed")]
    pub(super) durability: Option<Durability>,
    pub(super) first_post: Option<FirstPost>,
    pub(super) default_membership: Option<DefaultMembership>,
    pub(super) observers: Option<Vec<String>>,
    pub(super) backlog: Option<Backlog>,
    pub(super) loop_guard: Option<OrOff<LoopGuard>>,
    pub(super) retention: Option<Retention>,
    pub(super) max_channels: Option<usize>,
    pub(super) max_agents: Option<usize>,
    pub(super) max_subscriptions: Option<usize>,
    pub(super) max_stored_size: Option<Size>,
    pub(super) max_uploads: Option<usize>,
    pub(super) presence_events_per_second: Option<u32>,
    pub(super) takeover_wait: Option<Span>,
    pub(super) write_timeout: Option<Period>,
}

fn parsed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Durability>, D::Error> {
    let written = Option::<String>::deserialize(deserializer)?;
    let parse = |written: String| written.parse().map_err(serde::de::Error::custom);
    written.map(parse).transpose()
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FirstPost {
    CreatesChannel,
    IsRefused,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DefaultMembership {
    Everyone,
    Nobody,
}

/// How much of what was missed a session gets that does not say.
#[derive(Debug, Deserialize)]
pub(super) struct Backlog {
    pub(super) max_events: Option<u32>,
    pub(super) max_age: Option<Span>,
}

/// What is removed when it is old or too much.
#[derive(Debug, Deserialize)]
pub(super) struct Retention {
    pub(super) max_age: Option<Period>,
    pub(super) max_events: Option<u64>,
    pub(super) max_size: Option<Size>,
    pub(super) channels: Option<BTreeMap<String, OrOff<Keep>>>,
    pub(super) unread: Option<Unread>,
    pub(super) away: Option<Period>,
    pub(super) at_least: Option<Span>,
    pub(super) every: Option<Period>,
}

/// What is kept in a channel.
#[derive(Debug, Deserialize)]
#[expect(clippy::struct_field_names, reason = "they are the names of the keys")]
pub(super) struct Keep {
    pub(super) max_age: Option<Period>,
    pub(super) max_events: Option<u64>,
    pub(super) max_size: Option<Size>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unread {
    Kept,
    Removed,
}

#[derive(Debug, Deserialize)]
pub(super) struct LoopGuard {
    pub(super) max_hops: Option<OrOff<u32>>,
    pub(super) forget_after: Option<Span>,
    pub(super) max_turns: Option<OrOff<u32>>,
    pub(super) max_in_thread: Option<OrOff<u32>>,
    pub(super) max_in_chain: Option<OrOff<u32>>,
}
