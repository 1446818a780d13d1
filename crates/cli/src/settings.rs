//! The settings of a server: flags over environment over file over defaults.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use bytesize::ByteSize;
use clap::Args;
use openagents_server::{Config, Durability, Open, Secret, Tls};

use crate::network_file::NetworkFile;

/// What can be said about a server on the command line; flags come before the environment, both before the file.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ServeFlags {
    /// Address to listen on; beyond this machine a token is wanted [default: 127.0.0.1]
    #[arg(long, env = "OPENAGENTS_HOST", hide_env_values = true)]
    host: Option<String>,
    /// Port to listen on, 0 for any free one [default: 8700]
    #[arg(long, env = "OPENAGENTS_PORT", hide_env_values = true)]
    port: Option<u16>,
    /// Directory of the workspace, made when missing [default: .openagents, or data beside network.yaml]
    #[arg(long, value_name = "DIR", env = "OPENAGENTS_DATA", hide_env_values = true)]
    data: Option<PathBuf>,
    /// Settings in a file: a network.yaml
    #[arg(long, value_name = "FILE", env = "OPENAGENTS_CONFIG", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// Name of the workspace, shown to clients [default: workspace]
    #[arg(long)]
    name: Option<String>,
    /// What an acknowledged message survives: fsync a power cut, os a crash of the server, memory a clean stop
    /// [default: fsync]
    #[arg(
        long,
        value_name = "fsync|os|memory",
        env = "OPENAGENTS_DURABILITY",
        hide_env_values = true
    )]
    durability: Option<Durability>,
    /// Token that admits to the workspace, as a member; may be given several times
    #[arg(long, env = "OPENAGENTS_TOKEN", hide_env_values = true)]
    token: Vec<Secret>,
    /// File with such tokens, one per line
    #[arg(
        long,
        value_name = "FILE",
        env = "OPENAGENTS_TOKEN_FILE",
        hide_env_values = true
    )]
    token_file: Option<PathBuf>,
    /// Let everybody in, also from other machines
    #[arg(long)]
    open: bool,
    /// Certificate to speak TLS with, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Speak TLS with a certificate made at the first start and kept in the data directory, for this machine and
    /// the names and addresses given
    #[arg(
        long,
        value_name = "NAME,…",
        value_delimiter = ',',
        conflicts_with = "tls_cert"
    )]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "")]
    tls_self_signed: Option<Vec<String>>,
    /// Web pages of this origin may use the workspace, such as `https://app.example`; may be given several times
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// The largest file that may be shared, such as 100MB [default: 2GiB]
    #[arg(long, value_name = "SIZE")]
    max_file_size: Option<ByteSize>,
    /// What all files may have together [default: 20GiB]
    #[arg(long, value_name = "SIZE")]
    max_stored_size: Option<ByteSize>,
    /// Remove what is older, such as 90days; never what an agent has not read yet that was here within 30 days
    /// [default: keep everything]
    #[arg(long, value_name = "DURATION", value_parser = time)]
    keep_for: Option<Duration>,
    /// Keep at most so many events in the workspace
    #[arg(long, value_name = "NUMBER")]
    keep_events: Option<u64>,
    /// Keep about so much in the log, such as 10GiB
    #[arg(long, value_name = "SIZE")]
    keep_size: Option<ByteSize>,
    /// Let agents answer each other for ever
    #[arg(long)]
    no_loop_guard: bool,
    /// Stop after so long, such as 90s or 8h [default: never]
    #[arg(long, value_name = "DURATION", value_parser = time)]
    runtime: Option<Duration>,
}

/// A time with its unit, or in seconds.
pub(crate) fn time(written: &str) -> Result<Duration, humantime::DurationError> {
    match written.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(written),
    }
}

/// What a server is started with.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) config: Config,
    /// As the file wants it.
    pub(crate) log_level: Option<String>,
    /// To be told once logging works.
    pub(crate) warnings: Vec<String>,
    /// How long the server runs; none: until it is stopped.
    pub(crate) runtime: Option<Duration>,
    /// The longest that a stop may take, where the file says it.
    pub(crate) leave_within: Option<Duration>,
}

/// Where it listens when nothing else is said.
const LOOPBACK: &str = "127.0.0.1";

/// What a stop needs when no connection is left.
const AFTER_DRAINING: Duration = Duration::from_millis(1500);

impl ServeFlags {
    /// Reads the files that are named and puts everything together.
    pub(crate) async fn resolve(self) -> anyhow::Result<Resolved> {
        let mut config = Config::new(default_data());
        let file = match self.config.as_deref() {
            Some(path) => {
                let folder = path.parent().unwrap_or(Path::new(""));
                config.data = folder.join("data");
                NetworkFile::read(path, &mut config)?
            }
            None => NetworkFile::default(),
        };
        if let Some(data) = self.data.as_ref().or(file.data.as_ref()) {
            config.data.clone_from(data);
        }
        config.listen = self.address(&file).await?;
        if let Some((host, port)) = &file.grpc {
            let host = self.host.as_deref().or(host.as_deref()).or(file.host.as_deref());
            config.legacy.grpc = Some(lookup(host.unwrap_or(LOOPBACK), *port).await?);
        }
        config.tokens = self.tokens()?;
        self.tls(&file, &mut config);
        self.settle(&mut config);
        Ok(Resolved {
            warnings: self.warnings(&file, &config),
            config,
            log_level: file.log_level,
            runtime: self.runtime.or(file.runtime),
            leave_within: file.shutdown_timeout.map(|timeout| timeout + AFTER_DRAINING),
        })
    }

    /// Lets hold what the flags say beside addresses, tokens and certificates.
    fn settle(&self, config: &mut Config) {
        let settings = &mut config.workspace;
        if self.open {
            config.open = Open::Anywhere;
        }
        settings.durability = self.durability.unwrap_or(settings.durability);
        if let Some(name) = &self.name {
            settings.name.clone_from(name);
        }
        if let Some(most) = self.max_file_size {
            settings.max_file_bytes = most.as_u64();
        }
        if let Some(most) = self.max_stored_size {
            settings.max_stored_bytes = most.as_u64();
        }
        let keep = &mut settings.retention.workspace;
        keep.max_age = self.keep_for.or(keep.max_age);
        keep.max_events = self.keep_events.or(keep.max_events);
        keep.max_bytes = self.keep_size.map(|most| most.as_u64()).or(keep.max_bytes);
        if self.no_loop_guard {
            settings.loop_guard = None;
        }
        config.allowed_origins.extend(self.allow_origin.iter().cloned());
    }

    /// What an operator should know of these settings.
    fn warnings(&self, file: &NetworkFile, config: &Config) -> Vec<String> {
        let mut warnings = Vec::new();
        if !file.without_effect.is_empty() {
            let named = file.without_effect.join(", ");
            warnings.push(format!("these settings have no effect: {named}"));
        }
        if config.tokens.iter().any(|token| is_weak(token.expose())) {
            let advice = "`openagents token create` makes a strong one";
            warnings.push(format!("a token is short or easy to guess; {advice}"));
        }
        let exposed = !config.listen.ip().is_loopback();
        if exposed && config.tls.is_none() {
            let advice = "give --tls-cert and --tls-key, or let a proxy do it";
            warnings.push(format!("others reach the workspace without encryption; {advice}"));
        }
        if exposed && self.open {
            warnings.push("everybody who reaches the workspace is let in, as --open says".to_owned());
        }
        if config.allowed_origins.iter().any(|origin| origin == "*") {
            warnings
                .push("pages of every site may use the workspace, as the allowed origin * says".to_owned());
        }
        warnings
    }

    async fn address(&self, file: &NetworkFile) -> anyhow::Result<SocketAddr> {
        let host = self.host.as_deref().or(file.host.as_deref()).unwrap_or(LOOPBACK);
        lookup(host, self.port.or(file.port).unwrap_or(Config::DEFAULT_PORT)).await
    }

    fn tokens(&self) -> anyhow::Result<Vec<Secret>> {
        let mut tokens = self.token.clone();
        tokens.retain(|token| !token.expose().is_empty());
        if let Some(path) = &self.token_file {
            let text = std::fs::read_to_string(path);
            let text = text.with_context(|| format!("cannot read the tokens in {}", path.display()))?;
            let before = tokens.len();
            tokens.extend(
                text.lines()
                    .map(str::trim)
                    .filter(|line| !line.is_empty())
                    .map(Secret::from),
            );
            if tokens.len() == before {
                bail!("{} has no token: write one per line", path.display());
            }
        }
        Ok(tokens)
    }

    fn tls(&self, file: &NetworkFile, config: &mut Config) {
        if let Some(more) = &self.tls_self_signed {
            let mut names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
            for name in more.iter().chain(&self.host).chain(&file.host) {
                let is_name = !["", "0.0.0.0", "::", "[::]"].contains(&name.as_str());
                if is_name && !names.contains(name) {
                    names.push(name.clone());
                }
            }
            config.tls = Some(Tls::SelfSigned { names });
        } else if let Some((certificate, key)) = self.tls_cert.clone().zip(self.tls_key.clone()) {
            config.tls = Some(Tls::Files { certificate, key });
        }
    }
}

/// The address of a host name to listen on.
async fn lookup(host: &str, port: u16) -> anyhow::Result<SocketAddr> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((bare, port)).await;
    let found: Vec<SocketAddr> = found
        .with_context(|| format!("cannot listen on {host:?}"))?
        .collect();
    let preferred = found.iter().find(|address| address.is_ipv4()).or(found.first());
    preferred
        .copied()
        .with_context(|| format!("cannot listen on {host:?}: it has no address"))
}

/// Where a workspace is kept when nothing else is said.
pub(crate) fn default_data() -> PathBuf {
    PathBuf::from(".openagents")
}

/// Whether a token could be guessed: short, or of few different characters.
fn is_weak(token: &str) -> bool {
    let length = token.chars().count();
    let mut different: Vec<char> = token.chars().collect();
    different.sort_unstable();
    different.dedup();
    #[expect(clippy::cast_precision_loss, reason = "tokens are short")]
    let bits = length as f64 * (different.len().max(1) as f64).log2();
    length < 16 || bits < 48.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_weak_when_it_is_short_or_monotonous() {
        let check = |token: &str, weak: bool| assert_eq!(is_weak(token), weak, "{token}");
        check("secret", true);
        check("aaaaaaaaaaaaaaaaaaaaaaaaaaaa", true);
        check("abababababababab", true);
        check("correct horse battery", false);
        check("oa_4f9d0c7a1b2e3f5061728394a5b6c7d8e9f0", false);
    }

    #[tokio::test]
    async fn flags_come_before_the_file_and_the_file_before_the_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("network.yaml");
        let text =
            "network: {name: team, max_connections: 7, transports: [{type: http, port: 9000, host: '::1'}]}";
        std::fs::write(&path, text).unwrap();
        let flags = ServeFlags {
            config: Some(path),
            port: Some(0),
            ..ServeFlags::default()
        };
        let resolved = flags.resolve().await.unwrap();
        let config = resolved.config;
        assert_eq!(config.listen, "[::1]:0".parse().unwrap());
        assert_eq!(config.workspace.name, "team");
        assert_eq!(config.limits.max_connections, 7);
        assert_eq!(config.data, folder.path().join("data"));
        assert_eq!(config.workspace.channels.len(), 1, "the default");
        assert!(resolved.warnings.is_empty(), "{:?}", resolved.warnings);
    }
}
