//! What an operator decides about a server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use openagents_protocol::Secret;
use openagents_workspace::Settings;

use crate::Error;
use crate::legacy::Legacy;

/// The settings of a server; every limit has a default.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where it listens. Default `127.0.0.1:8700`; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Where the workspace is kept.
    pub data: PathBuf,
    /// The workspace.
    pub workspace: Settings,
    /// How it proves itself, if it does. Default: plain HTTP.
    pub tls: Option<Tls>,
    /// Tokens that admit to the workspace as a member; they identify nobody.
    pub tokens: Vec<Secret>,
    /// Whether it may be open to everybody although it listens beyond loopback or proves itself by a certificate.
    /// Default no.
    pub open: Open,
    /// Web pages of these origins may connect, besides those of the server itself. Default none.
    pub allowed_origins: Vec<String>,
    /// From where others may connect. Default from everywhere.
    pub addresses: Addresses,
    /// The limits of connections.
    pub limits: Limits,
    /// The interface of OpenAgents 0.9, for its official client.
    pub legacy: Legacy,
}

/// Addresses that may connect, as the server sees them: of what comes through a proxy it sees the proxy.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// Only these; empty: all.
    pub allowed: Vec<IpNet>,
    /// None of these.
    pub blocked: Vec<IpNet>,
}

impl Addresses {
    /// Whether a connection from there is taken.
    pub(crate) fn admit(&self, peer: IpAddr) -> bool {
        // What comes over IPv4 to a socket for both has an IPv6 address around it.
        let peer = peer.to_canonical();
        let among = |ranges: &[IpNet]| ranges.iter().any(|range| range.contains(&peer));
        (self.allowed.is_empty() || among(&self.allowed)) && !among(&self.blocked)
    }
}

/// Whether a server that others can reach may go without tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Open {
    /// It does not start without one.
    #[default]
    OnLoopbackOnly,
    /// It may.
    Anywhere,
}

/// How a server proves itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Tls {
    /// With these PEM files.
    Files {
        /// The certificate, with its chain.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// With a certificate of its own, made at the first start and kept in the data directory, for these names.
    SelfSigned {
        /// Host names and addresses.
        names: Vec<String>,
    },
}

/// The limits of connections.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at once; further ones are closed at once. Default 20,000. Where the process may not have that many
    /// descriptors, it is fewer, so that the workspace can use its files.
    pub max_connections: usize,
    /// Largest frame or request body, in bytes. Default 1 MiB.
    pub max_frame_bytes: usize,
    /// From the connection to the hello, and for the headers of a request. Default 10 s.
    pub hello_timeout: Duration,
    /// Silence after which the server asks whether the client is there. Default 15 s.
    pub ping_after: Duration,
    /// How long it waits for a sign of life then, before the connection ends. Default 15 s.
    pub pong_within: Duration,
    /// From the headers of a request to the end of its body; files excepted, which may take as long as they do not
    /// stop. Default 30 s.
    pub request_timeout: Duration,
    /// Whether a connection may carry more than one request. Default true.
    pub keep_alive: bool,
    /// A client that takes nothing for this long is cut off. Default 30 s.
    pub write_timeout: Duration,
    /// How long a shutdown waits for connections. Default 3 s.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            max_frame_bytes: 1024 * 1024,
            hello_timeout: Duration::from_secs(10),
            ping_after: Duration::from_secs(15),
            pong_within: Duration::from_secs(15),
            request_timeout: Duration::from_secs(30),
            keep_alive: true,
            write_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(3),
        }
    }
}

impl Config {
    /// The port that clients look for.
    pub const DEFAULT_PORT: u16 = 8700;

    /// A server for the workspace in this directory, with every default.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), Self::DEFAULT_PORT),
            data: data.into(),
            workspace: Settings::default(),
            tls: None,
            tokens: Vec::new(),
            open: Open::default(),
            allowed_origins: Vec::new(),
            addresses: Addresses::default(),
            limits: Limits::default(),
            legacy: Legacy::default(),
        }
    }

    /// Whether others than this machine can reach it, or it shows that it is meant for others.
    pub(crate) fn is_exposed(&self) -> bool {
        let grpc = self.legacy.grpc.is_some_and(|listen| !listen.ip().is_loopback());
        !self.listen.ip().is_loopback() || grpc || matches!(self.tls, Some(Tls::Files { .. }))
    }

    /// Refuses to leave a workspace open to others by oversight.
    pub(crate) fn check_openness(&self, has_tokens: bool) -> Result<(), Error> {
        let guarded = has_tokens || !self.tokens.is_empty() || self.workspace.requires_password;
        if self.is_exposed() && !guarded && self.open == Open::OnLoopbackOnly {
            return Err(Error::WouldBeOpen { listen: self.listen });
        }
        Ok(())
    }
}
