//! `network.yaml`: what of it has an effect here, and what has not.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use openagents_protocol::ChannelName;
use openagents_server::Group;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Where gRPC is spoken besides, where the file says no port.
const GRPC_PORT: u16 = 8600;

const MESSAGING: &str = "workspace.messaging";

/// What a `network.yaml` decides. Paths are taken from the folder of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NetworkFile {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    /// Host and port of gRPC besides.
    pub(crate) grpc: Option<(Option<String>, u16)>,
    /// Certificate and key.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    /// None: not said.
    pub(crate) channels: Option<Vec<(ChannelName, String)>>,
    pub(crate) max_connections: Option<usize>,
    pub(crate) max_frame_bytes: Option<usize>,
    pub(crate) log_level: Option<String>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) groups: Vec<Group>,
    pub(crate) default_group: Option<String>,
    pub(crate) requires_password: bool,
    /// Paths of what was written and has no effect.
    pub(crate) without_effect: Vec<String>,
}

impl NetworkFile {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder).with_context(|| format!("cannot use {}", path.display()))
    }

    fn parse(text: &str, folder: &Path) -> anyhow::Result<Self> {
        let mut unknown = Vec::new();
        let note = |path: serde_ignored::Path<'_>| unknown.push(Key::of(&path));
        let file: File = serde_ignored::deserialize(serde_norway::Deserializer::from_str(text), note)?;
        let File {
            network,
            log_level,
            data_dir,
        } = file;
        let mut parsed = Self {
            name: network.name,
            description: network.description,
            max_connections: network.max_connections,
            log_level,
            data: data_dir.map(|data| folder.join(data)),
            groups: groups(
                network.agent_groups.unwrap_or_default(),
                network.requires_password,
            )?,
            default_group: network.default_agent_group,
            requires_password: network.requires_password,
            ..Self::default()
        };
        if let Some(security) = network.security
            && security.tls_enabled
        {
            parsed.tls = certificate(
                "network.security",
                folder,
                security.tls_cert_file,
                security.tls_key_file,
            )?;
        }
        let mut left_out = parsed.take_transports(network.transports.unwrap_or_default(), folder)?;
        left_out.extend(parsed.take_mods(network.mods.unwrap_or_default())?);
        parsed.without_effect = name_once(unknown, &left_out);
        Ok(parsed)
    }

    /// Takes the first HTTP transport, whose port is for everything, and that of gRPC. The others are returned.
    fn take_transports(&mut self, transports: Vec<Transport>, folder: &Path) -> anyhow::Result<Vec<LeftOut>> {
        let mut left_out = Vec::new();
        let mut taken = false;
        for (index, transport) in transports.into_iter().enumerate() {
            let path = format!("network.transports[{index}]");
            if transport.kind == "grpc" && self.grpc.is_none() {
                let config = transport.config.unwrap_or_default();
                let port = config.port.or(transport.port).unwrap_or(GRPC_PORT);
                self.grpc = Some((config.host.or(transport.host), port));
                continue;
            }
            if taken || transport.kind != "http" {
                left_out.push(LeftOut {
                    path,
                    what: transport.kind,
                });
                continue;
            }
            taken = true;
            let config = transport.config.unwrap_or_default();
            self.host = config.host.or(transport.host);
            self.port = config.port.or(transport.port);
            self.max_connections = config.max_connections.or(self.max_connections);
            self.max_frame_bytes = config.max_request_size;
            if config.tls_enabled {
                let path = format!("{path}.config");
                self.tls = certificate(&path, folder, config.tls_cert_path, config.tls_key_path)?;
            }
        }
        Ok(left_out)
    }

    /// Takes the channels of the messaging mod. The others are returned.
    fn take_mods(&mut self, mods: Vec<Mod>) -> anyhow::Result<Vec<LeftOut>> {
        let mut left_out = Vec::new();
        for (index, one) in mods.into_iter().enumerate() {
            let path = format!("network.mods[{index}]");
            let short = one.name.strip_prefix("openagents.mods.").unwrap_or(&one.name);
            if short != MESSAGING {
                if one.enabled {
                    left_out.push(LeftOut { path, what: one.name });
                }
                continue;
            }
            if !one.enabled {
                let what = "messaging cannot be switched off".to_owned();
                left_out.push(LeftOut {
                    path: format!("{path}.enabled"),
                    what,
                });
            }
            let Some(channels) = one.config.and_then(|config| config.default_channels) else {
                continue;
            };
            let parse = |(at, channel): (usize, DefaultChannel)| {
                let name = ChannelName::from_written(&channel.name)
                    .with_context(|| format!("{path}.config.default_channels[{at}]"))?;
                Ok((name, channel.description.unwrap_or_default()))
            };
            let channels: anyhow::Result<Vec<_>> = channels.into_iter().enumerate().map(parse).collect();
            self.channels.get_or_insert_default().extend(channels?);
        }
        Ok(left_out)
    }
}

/// The groups of agents. A password is stored as bcrypt or as hex SHA-256, never as it is.
fn groups(written: BTreeMap<String, AgentGroup>, requires_password: bool) -> anyhow::Result<Vec<Group>> {
    let one = |(name, group): (String, AgentGroup)| {
        let path = format!("network.agent_groups.{name}");
        let is_hash = |hash: &String| {
            let sha_256 = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
            sha_256 || (hash.starts_with("$2") && hash.len() == 60)
        };
        if group.password_hash.as_ref().is_some_and(|hash| !is_hash(hash)) {
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
    };
    written.into_iter().map(one).collect()
}

fn certificate(
    path: &str,
    folder: &Path,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> anyhow::Result<Option<(PathBuf, PathBuf)>> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some((folder.join(certificate), folder.join(key)))),
        _ => bail!("{path}.tls_enabled: it needs the paths of a certificate and of its key beside it"),
    }
}

/// An entry of a list that has no effect as a whole.
#[derive(Debug)]
struct LeftOut {
    path: String,
    what: String,
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

#[derive(Debug, Deserialize)]
struct File {
    network: Network,
    log_level: Option<String>,
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Network {
    name: String,
    description: Option<String>,
    transports: Option<Vec<Transport>>,
    mods: Option<Vec<Mod>>,
    max_connections: Option<usize>,
    security: Option<Security>,
    agent_groups: Option<BTreeMap<String, AgentGroup>>,
    default_agent_group: Option<String>,
    #[serde(default)]
    requires_password: bool,
}

#[derive(Debug, Deserialize)]
struct AgentGroup {
    description: Option<String>,
    password_hash: Option<String>,
    metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Debug, Deserialize)]
struct Transport {
    #[serde(rename = "type", default = "http")]
    kind: String,
    host: Option<String>,
    port: Option<u16>,
    config: Option<TransportConfig>,
}

fn http() -> String {
    "http".to_owned()
}

#[derive(Debug, Default, Deserialize)]
struct TransportConfig {
    host: Option<String>,
    port: Option<u16>,
    max_connections: Option<usize>,
    max_request_size: Option<usize>,
    #[serde(default)]
    tls_enabled: bool,
    tls_cert_path: Option<PathBuf>,
    tls_key_path: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[expect(clippy::struct_field_names, reason = "so the keys are written")]
struct Security {
    #[serde(default)]
    tls_enabled: bool,
    tls_cert_file: Option<PathBuf>,
    tls_key_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Mod {
    name: String,
    #[serde(default = "yes")]
    enabled: bool,
    config: Option<ModConfig>,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
struct ModConfig {
    default_channels: Option<Vec<DefaultChannel>>,
}

/// A name, or a mapping with more.
#[derive(Debug)]
struct DefaultChannel {
    name: String,
    description: Option<String>,
}

impl<'de> Deserialize<'de> for DefaultChannel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Described {
            name: String,
            description: Option<String>,
        }

        struct NameOrMapping;

        impl<'de> Visitor<'de> for NameOrMapping {
            type Value = DefaultChannel;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a name, or a mapping with `name` and `description`")
            }

            fn visit_str<E>(self, name: &str) -> Result<DefaultChannel, E> {
                Ok(DefaultChannel {
                    name: name.to_owned(),
                    description: None,
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<DefaultChannel, A::Error> {
                let Described { name, description } =
                    Described::deserialize(MapAccessDeserializer::new(map))?;
                Ok(DefaultChannel { name, description })
            }
        }

        deserializer.deserialize_any(NameOrMapping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> NetworkFile {
        NetworkFile::parse(text, Path::new("/etc/team")).unwrap()
    }

    fn refused(text: &str) -> String {
        format!("{:#}", NetworkFile::parse(text, Path::new("")).unwrap_err())
    }

    #[test]
    fn the_documented_file_is_understood() {
        let file = parse(
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
    - {name: openagents.mods.workspace.forum, enabled: true, config: {require_title: true}}
    - {name: openagents.mods.workspace.wiki, enabled: false}
  agent_groups: {guest: {}}
log_level: INFO
data_dir: ./data
network_profile: {discoverable: false}
",
        );
        assert_eq!(
            (file.name.as_str(), file.port, file.host),
            ("MyNetwork", Some(8701), None)
        );
        assert_eq!(file.grpc, Some((None, 8600)));
        assert_eq!(file.data.unwrap(), Path::new("/etc/team/./data"));
        assert_eq!(file.log_level.unwrap(), "INFO");
        let channels = file.channels.unwrap();
        assert_eq!(channels[0], ("general".parse().unwrap(), String::new()));
        assert_eq!(channels[1], ("ideas".parse().unwrap(), "Loose ends".to_owned()));
        assert_eq!(
            file.without_effect,
            [
                "network.transports[1].config.max_message_size",
                "network.mods[0].config.default_channels[1].moderated",
                "network_profile",
                "network.mods[1] (openagents.mods.workspace.forum)",
            ]
        );
    }

    #[test]
    fn host_and_port_may_stand_beside_the_type() {
        let file = parse("network: {name: a, transports: [{type: http, host: 0.0.0.0, port: 80}]}");
        assert_eq!((file.host.as_deref(), file.port), (Some("0.0.0.0"), Some(80)));
    }

    #[test]
    fn tls_needs_both_files() {
        let tls = |more: &str| {
            format!("network: {{name: a, security: {{tls_enabled: true, tls_cert_file: c.pem{more}}}}}")
        };
        assert_eq!(
            parse(&tls(", tls_key_file: k.pem")).tls.unwrap(),
            (PathBuf::from("/etc/team/c.pem"), PathBuf::from("/etc/team/k.pem"))
        );
        assert!(refused(&tls("")).starts_with("network.security.tls_enabled: it needs"));
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
    }
}
