//! `network.yaml`: what of it has an effect here, and what has not. `docs/configuration.md` lists every key.
//!
//! [`keys`] says how it is written, [`values`] how values are; a module for each part of the file takes it into a
//! server's configuration.

mod groups;
mod keys;
mod mods;
mod security;
mod transports;
mod values;
mod workspace;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use openagents_server::Config;

use self::keys::{File, Network};
use self::values::rate;

/// Documented for where a limit is switched on and not written.
const REQUESTS_PER_MINUTE: u32 = 1000;

/// What a `network.yaml` decides beyond the configuration of the server.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NetworkFile {
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    /// Host and port of gRPC besides.
    pub(crate) grpc: Option<(Option<String>, u16)>,
    pub(crate) log_level: Option<String>,
    pub(crate) data: Option<PathBuf>,
    /// How long the server runs; none: until it is stopped.
    pub(crate) runtime: Option<Duration>,
    pub(crate) shutdown_timeout: Option<Duration>,
    /// Paths of what was written and has no effect.
    pub(crate) without_effect: Vec<String>,
}

/// What the parts of a file say beyond the configuration.
#[derive(Debug, Default)]
struct Effect {
    host: Option<String>,
    port: Option<u16>,
    grpc: Option<(Option<String>, u16)>,
    left_out: Vec<LeftOut>,
}

impl NetworkFile {
    /// Reads a file and lets what it says hold in a configuration. Paths are taken from the folder of the file.
    pub(crate) fn read(path: &Path, config: &mut Config) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder, config).with_context(|| format!("cannot use {}", path.display()))
    }

    fn parse(text: &str, folder: &Path, config: &mut Config) -> anyhow::Result<Self> {
        let mut unknown = Vec::new();
        let note = |path: serde_ignored::Path<'_>| unknown.push(Key::of(&path));
        let file: File = serde_ignored::deserialize(serde_norway::Deserializer::from_str(text), note)?;
        let mut effect = Effect::default();
        take_network(file.network, folder, config, &mut effect)?;
        if let Some(profile) = file.network_profile {
            config.legacy.profile = profile.shown();
            config.legacy.network_id = profile.network_id;
        }
        if let Some(workspace) = file.workspace {
            workspace::take(workspace, config)?;
        }
        let shutdown_timeout = file.shutdown_timeout.map(|timeout| timeout.0);
        config.limits.drain = shutdown_timeout.unwrap_or(config.limits.drain);
        Ok(Self {
            host: effect.host,
            port: effect.port,
            grpc: effect.grpc,
            log_level: file.log_level,
            data: file.data_dir.map(|data| folder.join(data)),
            runtime: file.runtime_limit.map(|limit| limit.0),
            shutdown_timeout,
            without_effect: name_once(unknown, &effect.left_out),
        })
    }
}

fn take_network(
    network: Network,
    folder: &Path,
    config: &mut Config,
    effect: &mut Effect,
) -> anyhow::Result<()> {
    let settings = &mut config.workspace;
    settings.name = network.name;
    settings.description = network.description.unwrap_or_default();
    settings.requires_password = network.requires_password.unwrap_or(false);
    let groups = network.agent_groups.unwrap_or_default();
    settings.groups = groups::groups(groups, settings.requires_password)?;
    if let Some(group) = network.default_agent_group {
        settings.default_group = group;
    }
    if let Some(timeout) = network.agent_timeout {
        settings.lease = timeout.0;
        settings.agent_timeout = timeout.0;
    }
    settings.session_queue = network.message_queue_size.unwrap_or(settings.session_queue);
    let limits = &mut config.limits;
    limits.max_connections = network.max_connections.unwrap_or(limits.max_connections);
    if let Some(timeout) = network.connection_timeout {
        limits.hello_timeout = timeout.0;
    }
    if let Some(interval) = network.heartbeat_interval {
        settings.heartbeat = interval.0;
        limits.ping_after = interval.0;
    }
    let also_enabled = network
        .security
        .as_ref()
        .and_then(|security| security.rate_limiting_enabled);
    let enabled = network.rate_limiting_enabled.or(also_enabled);
    settings.max_requests_per_minute = rate(enabled, network.max_requests_per_minute, REQUESTS_PER_MINUTE);
    config
        .allowed_origins
        .extend(network.allowed_origins.unwrap_or_default());
    match network.recommended_transport {
        Some(way) if ["http", "grpc"].contains(&way.as_str()) => config.legacy.recommended = Some(way),
        Some(way) => effect
            .left_out
            .push(LeftOut::new("network.recommended_transport", way)),
        None => {}
    }
    if let Some(security) = network.security {
        security::take(security, folder, config, effect)?;
    }
    transports::take(network.transports.unwrap_or_default(), folder, config, effect)?;
    mods::take(network.mods.unwrap_or_default(), config, effect)
}

/// Something that has no effect although its key is known, and why; or what it is.
#[derive(Debug)]
struct LeftOut {
    path: String,
    what: String,
}

impl LeftOut {
    fn new(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            what: what.into(),
        }
    }
}

/// All paths without effect; those inside of entries that are left out as a whole are not told again.
fn name_once(unknown: Vec<Key>, left_out: &[LeftOut]) -> Vec<String> {
    let inside = |key: &Key| {
        left_out
            .iter()
            .any(|entry| key.0.starts_with(&format!("{}.", entry.path)))
    };
    let mut paths: Vec<String> = unknown
        .into_iter()
        .filter(|key| !inside(key))
        .map(|key| key.0)
        .collect();
    paths.extend(
        left_out
            .iter()
            .map(|entry| format!("{} ({})", entry.path, entry.what)),
    );
    paths
}

/// Path of a key, such as `network.mods[0].config`.
#[derive(Debug)]
struct Key(String);

impl Key {
    fn of(path: &serde_ignored::Path<'_>) -> Self {
        use serde_ignored::Path;

        Self(match path {
            Path::Root => String::new(),
            Path::Seq { parent, index } => format!("{}[{index}]", Self::of(parent).0),
            Path::Map { parent, key } => match Self::of(parent).0 {
                parent if parent.is_empty() => key.clone(),
                parent => format!("{parent}.{key}"),
            },
            Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
                Self::of(parent).0
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use openagents_server::{DefaultMembership, Durability, FirstPost, Keep, Tls, Unread};

    use super::*;

    fn read(text: &str) -> anyhow::Result<(NetworkFile, Config)> {
        let mut config = Config::new("data");
        let file = NetworkFile::parse(text, Path::new("/etc/team"), &mut config)?;
        Ok((file, config))
    }

    fn parse(text: &str) -> (NetworkFile, Config) {
        read(text).unwrap()
    }

    /// A file with these keys below `network`.
    fn network(keys: &str) -> (NetworkFile, Config) {
        parse(&format!("network: {{name: a, {keys}}}"))
    }

    fn refused(text: &str) -> String {
        format!("{:#}", read(text).unwrap_err())
    }

    #[test]
    fn the_documented_file_is_understood() {
        let (file, config) = parse(
            "
network:
  name: MyNetwork
  transports:
    - type: http
      config: {port: 8701}
    - type: grpc
      config: {port: 8600, max_message_size: 1}
  mods:
    - name: openagents.mods.workspace.messaging
      enabled: true
      config:
        default_channels:
          - general
          - name: '#ideas'
            description: Loose ends
            moderated: true
            max_members: 7
            pinned: true
    - {name: openagents.mods.workspace.forum, enabled: true, config: {require_title: true}}
    - {name: openagents.mods.workspace.wiki, enabled: false}
  agent_groups: {guest: {}}
log_level: INFO
data_dir: ./data
network_profile: {discoverable: false}
",
        );
        assert_eq!((file.port, file.host), (Some(8701), None));
        assert_eq!(file.grpc, Some((None, 8600)));
        assert_eq!(config.legacy.max_message_bytes, 1);
        assert_eq!(file.data.unwrap(), Path::new("/etc/team/./data"));
        assert_eq!(file.log_level.unwrap(), "INFO");
        let settings = config.workspace;
        assert_eq!(settings.name, "MyNetwork");
        assert_eq!(settings.groups[0].name, "guest");
        let [general, ideas] = &settings.channels[..] else {
            panic!("{:?}", settings.channels)
        };
        assert_eq!(
            (general.name.as_str(), general.description.as_str()),
            ("general", "")
        );
        assert_eq!(
            (ideas.name.as_str(), ideas.description.as_str()),
            ("ideas", "Loose ends")
        );
        assert_eq!(ideas.settings.moderated, Some(true));
        assert_eq!(ideas.settings.max_members, Some(7));
        assert_eq!(
            file.without_effect,
            [
                "network.mods[0].config.default_channels[1].pinned",
                "network_profile.discoverable",
                "network.mods[1] (openagents.mods.workspace.forum)",
            ]
        );
    }

    /// Every key of the documentation.
    const DOCUMENTED: &str = include_str!("network_file/documented.yaml");

    #[test]
    fn every_documented_key_is_taken_and_exactly_those_without_effect_are_named() {
        let (file, config) = parse(DOCUMENTED);
        let mut named = file.without_effect;
        named.sort();
        insta::assert_snapshot!(named.join("\n"), @r"
        backup
        external_access
        monitoring
        network.access_control
        network.api_key_required
        network.authentication
        network.authentication_required
        network.auto_start_agents
        network.bootstrap_nodes
        network.created_by_version
        network.disable_agent_secret_verification
        network.discovery_enabled
        network.discovery_interval
        network.discovery_method
        network.encryption_enabled
        network.encryption_type
        network.fallback_transports
        network.identity_api_key
        network.identity_auto_register
        network.identity_cache_ttl
        network.identity_enabled
        network.identity_endpoint
        network.identity_origin
        network.initialized
        network.manifest_transport
        network.mdns_domain
        network.mdns_service_name
        network.message_routing_enabled
        network.message_timeout
        network.mode
        network.mods[0].config.archive_retention_days
        network.mods[0].config.dump_interval_minutes
        network.mods[0].config.file_storage_path
        network.mods[0].config.hot_storage_days
        network.mods[0].config.max_memory_messages
        network.mods[0].config.max_thread_depth
        network.mods[0].config.memory_cleanup_minutes
        network.mods[0].config.thread_collapse_threshold
        network.mods[10] (openagents.mods.coordination.task_delegation)
        network.mods[3] (openagents.mods.workspace.forum)
        network.mods[4] (openagents.mods.workspace.wiki)
        network.mods[5] (openagents.mods.workspace.documents)
        network.mods[6] (openagents.mods.workspace.default)
        network.mods[7] (openagents.mods.workspace.project)
        network.mods[8] (openagents.mods.workspace.feed)
        network.mods[9] (openagents.mods.workspace.shared_artifact)
        network.node_id
        network.registry_api_key
        network.registry_url
        network.retry_attempts
        network.security.agent_auth_method
        network.security.auth_token_expiry
        network.security.require_agent_registration
        network.security.tls_ca_file
        network.transports[0].config.a2a_agent
        network.transports[0].config.a2a_auth
        network.transports[0].config.relay
        network.transports[0].config.serve_a2a
        network.transports[0].config.serve_mcp
        network.transports[0].config.serve_studio
        network.transports[1].config.authentication
        network.transports[1].config.compression
        network.transports[1].config.compression_level
        network.transports[1].config.http2_max_pings_without_data
        network.transports[1].config.http2_min_ping_interval_without_data
        network.transports[1].config.http2_min_time_between_pings
        network.transports[1].config.keep_alive_time
        network.transports[1].config.keep_alive_timeout
        network.transports[1].config.keep_alive_without_calls
        network.transports[1].config.keepalive_permit_without_calls
        network.transports[1].config.keepalive_time
        network.transports[1].config.keepalive_timeout
        network.transports[1].config.max_concurrent_streams
        network.transports[1].config.max_connection_age
        network.transports[1].config.max_connection_idle
        network.transports[1].config.max_send_message_size
        network.transports[1].config.mutual_tls
        network.transports[1].config.tls
        network.transports[1].config.window_size
        network.transports[2].config.port (everything is on the port of the http transport)
        network.transports[3] (mcp)
        network.transports[4] (a2a)
        network.version
        network_profile.authentication
        network_profile.discoverable
        network_profile.host
        network_profile.port
        ");
        assert_eq!(config.limits.max_connections, 100);
    }

    #[test]
    fn the_page_about_the_configuration_tells_of_every_key() {
        const PAGE: &str = include_str!("../../../docs/configuration.md");

        fn keys(value: &serde_norway::Value, found: &mut Vec<String>) {
            match value {
                serde_norway::Value::Mapping(entries) => {
                    for (key, value) in entries {
                        found.extend(key.as_str().map(str::to_owned));
                        keys(value, found);
                    }
                }
                serde_norway::Value::Sequence(values) => values.iter().for_each(|value| keys(value, found)),
                _ => {}
            }
        }

        let mut found = Vec::new();
        keys(&serde_norway::from_str(DOCUMENTED).unwrap(), &mut found);
        let told: std::collections::HashSet<&str> = PAGE.split(['`', '.', ',', ' ', '{', '}']).collect();
        found.retain(|key| !told.contains(key.as_str()));
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn there_is_one_port_and_it_is_that_of_the_http_transport() {
        let (file, _) = network("transports: [{type: http, host: 0.0.0.0, port: 80}]");
        assert_eq!((file.host.as_deref(), file.port), (Some("0.0.0.0"), Some(80)));
        let (file, config) = network(
            "transports: [{type: websocket, config: {port: 8400, path: /socket, ping_interval: 20, ping_timeout: 5}}, \
             {type: http, config: {port: 80}}]",
        );
        assert_eq!(file.port, Some(80));
        assert_eq!(config.limits.ping_after, Duration::from_secs(20));
        assert_eq!(config.limits.pong_within, Duration::from_secs(5));
        assert_eq!(
            file.without_effect,
            [
                "network.transports[0].config.port (everything is on the port of the http transport)",
                "network.transports[0].config.path (it is /ws)",
            ]
        );
        let (file, config) =
            network("transports: [{type: websocket, config: {port: 8080, max_message_size: 2 MiB}}]");
        assert_eq!(file.port, Some(8080), "where there is no other");
        assert_eq!(config.limits.max_frame_bytes, 2 << 20);
        assert!(file.without_effect.is_empty(), "{:?}", file.without_effect);
    }

    #[test]
    fn what_grpc_says_of_its_own_is_for_all_ports_to_say() {
        let (file, config) = network(
            "recommended_transport: grpc, transports: [{type: grpc, config: {tls_enabled: true, host: '::1'}}, \
             {type: grpc, port: 9000}]",
        );
        assert_eq!(file.grpc, Some((Some("::1".to_owned()), 8600)));
        assert_eq!(config.legacy.recommended.as_deref(), Some("grpc"));
        assert_eq!(
            file.without_effect,
            [
                "network.transports[0].config.tls_enabled (the http transport says it for all ports)",
                "network.transports[1] (grpc)",
            ]
        );
        let (file, _) = network("recommended_transport: carrier-pigeon");
        assert_eq!(
            file.without_effect,
            ["network.recommended_transport (carrier-pigeon)"]
        );
    }

    #[test]
    fn mods_of_the_official_client_can_be_switched_off() {
        let (file, config) = network(
            "mods: [{name: openagents.mods.discovery.agent_discovery, enabled: false}, \
             {name: core.shared_cache, enabled: true}]",
        );
        assert!(!config.legacy.mods.discovery && config.legacy.mods.shared_cache);
        assert!(file.without_effect.is_empty(), "{:?}", file.without_effect);
    }

    #[test]
    fn official_clients_are_told_who_comes_and_goes_where_that_is_wanted() {
        let (file, config) = network(
            "mods: [{name: discovery.agent_discovery, config: {broadcast_connection: true, \
             broadcast_disconnection: true, max_file_size: 1}}, \
             {name: workspace.messaging, config: {broadcast_connection: true}}, \
             {name: core.shared_cache, config: {broadcast_connection: true, colour: red}}]",
        );
        let mods = &config.legacy.mods;
        assert!(mods.broadcast_connection && mods.broadcast_disconnection);
        assert_eq!(
            file.without_effect,
            [
                "network.mods[2].config.colour",
                "network.mods[0].config.max_file_size (discovery.agent_discovery has no such key)",
                "network.mods[1].config.broadcast_connection (workspace.messaging has no such key)",
                "network.mods[2].config.broadcast_connection (core.shared_cache has no such key)",
            ]
        );
        let (_, config) = network("mods: [{name: discovery.agent_discovery}]");
        assert!(!config.legacy.mods.broadcast_connection && !config.legacy.mods.broadcast_disconnection);
    }

    #[test]
    fn clients_are_shown_what_the_profile_says() {
        let (file, config) = parse(
            "{network: {name: a}, network_profile: {network_id: a-1, readme: '# A', tags: [x, y], capacity: 7}}",
        );
        assert_eq!(config.legacy.network_id.as_deref(), Some("a-1"));
        let shown = serde_json::Value::Object(config.legacy.profile);
        assert_eq!(
            shown,
            serde_json::json!({"network_id": "a-1", "readme": "# A", "tags": ["x", "y"], "capacity": 7})
        );
        assert!(file.without_effect.is_empty(), "{:?}", file.without_effect);
    }

    #[test]
    fn tls_needs_both_files() {
        let tls = |more: &str| {
            format!("network: {{name: a, security: {{tls_enabled: true, tls_cert_file: c.pem{more}}}}}")
        };
        let (_, config) = parse(&tls(", tls_key_file: k.pem"));
        let Some(Tls::Files { certificate, key }) = config.tls else {
            panic!("{:?}", config.tls)
        };
        assert_eq!(
            (certificate, key),
            (PathBuf::from("/etc/team/c.pem"), PathBuf::from("/etc/team/k.pem"))
        );
        assert!(refused(&tls("")).starts_with("network.security.tls_enabled: it needs"));
    }

    #[test]
    fn limits_have_effect_where_they_are_written() {
        let (_, config) = network(
            "max_connections: 7, connection_timeout: 3, heartbeat_interval: 60, agent_timeout: 180, \
             message_queue_size: 50, rate_limiting_enabled: true, allowed_origins: ['https://a.example'], \
             transports: [{type: http, config: {max_request_size: 100, timeout: 9, keep_alive: false, \
             max_connections: 5, cors_origins: ['https://b.example']}}], \
             mods: [{name: workspace.messaging, config: {max_file_size: 1000, allowed_file_types: [.CSV, md], \
             enable_reactions: false, enable_mentions: false, max_messages_per_minute: 5}}]",
        );
        let (settings, limits) = (&config.workspace, &config.limits);
        assert_eq!(limits.max_connections, 5, "the transport says it more closely");
        assert_eq!(limits.hello_timeout, Duration::from_secs(3));
        assert_eq!(
            (limits.ping_after, settings.heartbeat),
            (Duration::from_mins(1), Duration::from_mins(1))
        );
        assert_eq!(settings.lease, Duration::from_mins(3));
        assert_eq!(settings.session_queue, 50);
        assert_eq!(
            settings.max_requests_per_minute,
            NonZeroU32::new(1000),
            "as documented"
        );
        assert_eq!(config.allowed_origins, ["https://a.example", "https://b.example"]);
        assert_eq!((limits.max_frame_bytes, limits.keep_alive), (100, false));
        assert_eq!(limits.request_timeout, Duration::from_secs(9));
        assert_eq!(settings.max_file_bytes, 1000);
        assert_eq!(settings.allowed_file_types, ["csv", "md"]);
        assert_eq!((settings.reactions, settings.mentions), (false, false));
        assert_eq!(settings.max_messages_per_minute, NonZeroU32::new(5));
        assert_eq!(settings.max_files_per_hour, None, "not written");
    }

    #[test]
    fn without_a_key_there_is_no_rate_limit_whatever_is_documented_as_its_default() {
        let (_, config) = network("mods: [{name: workspace.messaging, config: {}}]");
        let settings = config.workspace;
        assert_eq!(
            (settings.max_messages_per_minute, settings.max_requests_per_minute),
            (None, None)
        );
        let (_, config) = network("mods: [{name: workspace.messaging, config: {rate_limit_enabled: true}}]");
        assert_eq!(config.workspace.max_messages_per_minute, NonZeroU32::new(60));
        assert_eq!(config.workspace.max_files_per_hour, NonZeroU32::new(10));
    }

    #[test]
    fn addresses_and_words_have_effect_where_they_are_switched_on() {
        let (file, config) = network(
            "security: {firewall_enabled: true, allowed_ip_ranges: [10.0.0.0/8, 192.168.1.7], \
             blocked_ip_ranges: ['10.9.0.0/16'], content_filtering: true, prohibited_words: [darn], \
             max_message_length: 100}",
        );
        assert_eq!(
            config.addresses.allowed,
            ["10.0.0.0/8".parse().unwrap(), "192.168.1.7/32".parse().unwrap()]
        );
        assert_eq!(config.addresses.blocked, ["10.9.0.0/16".parse().unwrap()]);
        assert_eq!(config.workspace.content.prohibited_words, ["darn"]);
        assert_eq!(config.workspace.content.max_characters, Some(100));
        assert!(file.without_effect.is_empty(), "{:?}", file.without_effect);

        let (file, config) = network("security: {allowed_ip_ranges: [10.0.0.0/8], prohibited_words: [darn]}");
        assert!(config.addresses.allowed.is_empty() && config.workspace.content.prohibited_words.is_empty());
        assert_eq!(
            file.without_effect,
            [
                "network.security.allowed_ip_ranges (firewall_enabled is not true)",
                "network.security.prohibited_words (content_filtering is not true)",
            ]
        );
        let (_, config) = network("security: {firewall_enabled: true, allowed_ip_ranges: ['0.0.0.0/0']}");
        assert!(config.addresses.allowed.is_empty(), "everybody, by IPv6 as well");
    }

    #[test]
    fn what_no_documented_key_says_has_a_block_of_its_own() {
        let (file, config) = parse(
            "
network: {name: a}
workspace:
  durability: os
  first_post: is_refused
  default_membership: nobody
  observers: [auditor]
  backlog: {max_age: 1h}
  loop_guard: {max_hops: off, max_turns: 100, forget_after: 10m}
  max_channels: 5
  max_stored_size: 1GiB
  takeover_wait: 500ms
  mood: fine
runtime_limit: 1h
shutdown_timeout: 10
",
        );
        let settings = &config.workspace;
        assert_eq!(settings.durability, Durability::Os);
        assert_eq!(settings.first_post, FirstPost::IsRefused);
        assert_eq!(settings.default_membership, DefaultMembership::Nobody);
        assert_eq!(settings.observers, ["auditor"]);
        let guard = settings.loop_guard.as_ref().unwrap();
        assert_eq!(
            (guard.max_hops, guard.max_turns, guard.max_in_thread),
            (u32::MAX, 100, 1000)
        );
        assert_eq!(guard.forget_after, Duration::from_mins(10));
        assert_eq!((settings.max_channels, settings.max_stored_bytes), (5, 1 << 30));
        assert_eq!(settings.takeover_wait, Duration::from_millis(500));
        assert_eq!(file.runtime, Some(Duration::from_hours(1)));
        assert_eq!(config.limits.drain, Duration::from_secs(10));
        assert_eq!(file.without_effect, ["workspace.mood"]);
        let (_, config) = parse("{network: {name: a}, workspace: {loop_guard: off}, runtime_limit: null}");
        assert_eq!(config.workspace.loop_guard, None);
    }

    #[test]
    fn what_is_removed_is_said_by_the_mod_or_by_the_workspace_which_comes_first() {
        let days = |days: u64| Some(Duration::from_hours(24 * days));
        let (file, config) = parse(
            "
network:
  name: a
  mods:
    - name: openagents.mods.workspace.messaging
      config: {message_retention_days: 365, message_history_limit: 10000, file_retention_days: 90}
",
        );
        let retention = &config.workspace.retention;
        assert_eq!(retention.workspace.max_age, days(365));
        assert_eq!(retention.each_channel.max_events, Some(10_000));
        assert_eq!(retention.files, days(90));
        assert!(file.without_effect.is_empty(), "{:?}", file.without_effect);

        let (_, config) = parse(
            "
network:
  name: a
  mods: [{name: openagents.mods.workspace.messaging, config: {message_retention_days: 365}}]
workspace:
  retention:
    max_age: 30days
    max_events: 5000
    max_size: 1GiB
    channels: {decisions: off, builds: {max_age: 1h, max_size: 1MiB}}
    unread: removed
    away: 14days
    at_least: 0
    every: 1m
",
        );
        let retention = &config.workspace.retention;
        let all = Keep {
            max_age: days(30),
            max_events: Some(5000),
            max_bytes: Some(1 << 30),
        };
        assert_eq!(retention.workspace, all);
        let channel =
            |name: &str| retention.channels[&name.parse::<openagents_protocol::ChannelName>().unwrap()];
        assert!(channel("decisions").is_everything());
        assert_eq!(channel("builds").max_age, Some(Duration::from_hours(1)));
        assert_eq!(channel("builds").max_bytes, Some(1 << 20));
        assert_eq!(retention.unread, Unread::Removed);
        assert_eq!(Some(retention.away), days(14));
        assert_eq!(
            (retention.at_least, retention.every),
            (Duration::ZERO, Duration::from_mins(1))
        );
        let (_, config) = parse("network: {name: a}");
        assert!(
            config.workspace.retention.is_everything(),
            "by default everything is kept"
        );
    }

    #[test]
    fn errors_name_the_path() {
        let check = |text: &str, expected: &str| {
            let error = refused(text);
            assert!(error.starts_with(expected), "{error}");
        };
        check(
            "network: {name: a, transports: [{type: http, config: {port: many}}]}",
            "network.transports[0].config.port: invalid type",
        );
        check("network: {}", "network: missing field `name`");
        check("networks: {}", "missing field `network`");
        check(
            "network: {name: a, mods: [{name: workspace.messaging, config: {default_channels: [[]]}}]}",
            "network.mods[0].config.default_channels[0]: invalid type: sequence, expected a name",
        );
        check(
            "network: {name: a, mods: [{name: workspace.messaging, config: {default_channels: ['']}}]}",
            "network.mods[0].config.default_channels[0]: ",
        );
        check(
            "network: {name: a, agent_timeout: soon}",
            "network.agent_timeout: ",
        );
        check("network: {name: a, agent_timeout: -1}", "network.agent_timeout: ");
        check(
            "network: {name: a, security: {firewall_enabled: true, blocked_ip_ranges: [here]}}",
            "network.security.blocked_ip_ranges[0]: \"here\" is no range",
        );
        check(
            "network: {name: a, agent_groups: {users: {password_hash: plain}}}",
            "network.agent_groups.users.password_hash: it is neither bcrypt",
        );
        check(
            "network: {name: a, requires_password: true, agent_groups: {users: {}}}",
            "network.agent_groups.users: with requires_password",
        );
        check(
            "network: {name: a, requires_password: true}",
            "network.requires_password: nobody could join",
        );
        check(
            "{network: {name: a}, workspace: {durability: maybe}}",
            "workspace: durability \"maybe\" is not valid",
        );
        check(
            "network: {name: a, heartbeat_interval: 0}",
            "network.heartbeat_interval: it is more than 0",
        );
        check(
            "{network: {name: a}, workspace: {loop_guard: {max_hops: -1}}}",
            "workspace.loop_guard.max_hops: ",
        );
        check(
            "{network: {name: a}, workspace: {observers: ['agent:']}}",
            "workspace.observers[0]: ",
        );
        check(
            "{network: {name: a}, workspace: {retention: {max_age: 0}}}",
            "workspace.retention.max_age: it is more than 0",
        );
        check(
            "{network: {name: a}, workspace: {retention: {channels: {'': off}}}}",
            "workspace.retention.channels.: ",
        );
    }
}
