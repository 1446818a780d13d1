//! The interface of OpenAgents 0.9, for its official client: HTTP under `/api`, and gRPC.
//!
//! An agent of that interface is an agent of the workspace with a standing session: it registers and gets a secret,
//! sends events, and polls for what there is. Everything is translated here, both ways: `request` and `event` say how
//! things are written on this wire; `people`, `system`, `thread`, `discovery`, `cache` and `plain` turn what agents send
//! into calls of the workspace; `tell` turns records into events of this wire. The workspace never hears of `thread.*`.

mod answer;
mod cache;
mod carriage;
mod catalogue;
mod cors;
mod discovery;
mod event;
mod grpc;
mod http;
mod people;
mod plain;
mod poll;
mod profile;
mod request;
mod room;
mod system;
mod tell;
mod thread;
mod upload;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use openagents_protocol::AgentId;
use tokio::time::Instant;

use self::cache::Cache;
use self::room::Room;
use crate::host::Host;

/// How the interface of OpenAgents 0.9 behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Legacy {
    /// Where gRPC is spoken besides the one port. Default nowhere.
    pub grpc: Option<std::net::SocketAddr>,
    /// Names the network to clients. Default none: the name of the workspace.
    pub network_id: Option<String>,
    /// What clients are shown of the network besides, such as `readme`, `icon` or `tags`. Default nothing.
    pub profile: serde_json::Map<String, serde_json::Value>,
    /// The way that clients are told to take: `http` or `grpc`. Default none: `http`, and `grpc` where there is TLS.
    pub recommended: Option<String>,
    /// How long a poll waits for events; below every time-out of the clients. Default 20 s.
    pub hold: Duration,
    /// Largest request, in bytes. Default 100 MiB.
    pub max_message_bytes: usize,
    /// What all requests under way may have together, beyond 64 KiB of each, in bytes; at least one of the largest fits in
    /// any case. Default 256 MiB.
    pub max_requests_bytes: u64,
    /// Largest file in the cache, in bytes. Default 50 MiB.
    pub max_cache_file_bytes: usize,
    /// What all of the cache may have together, in bytes. Default 2 GiB.
    pub max_cache_bytes: u64,
    /// How long an agent that was kicked may not come back. Default 60 s.
    pub kick_cooldown: Duration,
    /// The extensions that are there.
    pub mods: Mods,
}

impl Default for Legacy {
    fn default() -> Self {
        Self {
            grpc: None,
            network_id: None,
            profile: serde_json::Map::new(),
            recommended: None,
            hold: Duration::from_secs(20),
            max_message_bytes: 100 << 20,
            max_requests_bytes: 256 << 20,
            max_cache_file_bytes: 50 << 20,
            max_cache_bytes: 2 << 30,
            kick_cooldown: Duration::from_mins(1),
            mods: Mods::default(),
        }
    }
}

/// The extensions of OpenAgents 0.9 that are there.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the configuration"
)]
pub struct Mods {
    /// `openagents.mods.workspace.messaging`. Default yes.
    pub messaging: bool,
    /// `openagents.mods.discovery.agent_discovery`. Default yes.
    pub discovery: bool,
    /// `openagents.mods.communication.simple_messaging`. Default yes.
    pub simple_messaging: bool,
    /// `openagents.mods.core.shared_cache`. Default yes.
    pub shared_cache: bool,
    /// Whether agents are told of each agent that comes. Default no.
    pub broadcast_connection: bool,
    /// Whether agents are told of each agent that goes. Default no.
    pub broadcast_disconnection: bool,
}

impl Mods {
    /// No extension at all.
    pub fn none() -> Self {
        Self {
            messaging: false,
            discovery: false,
            simple_messaging: false,
            shared_cache: false,
            broadcast_connection: false,
            broadcast_disconnection: false,
        }
    }

    /// The names of those that are there.
    fn names(&self) -> Vec<&'static str> {
        let all = [
            (self.messaging, thread::MOD),
            (self.discovery, discovery::MOD),
            (self.simple_messaging, plain::SIMPLE_MESSAGING),
            (self.shared_cache, cache::MOD),
        ];
        all.into_iter()
            .filter_map(|(there, name)| there.then_some(name))
            .collect()
    }
}

impl Default for Mods {
    fn default() -> Self {
        Self {
            messaging: true,
            discovery: true,
            simple_messaging: true,
            shared_cache: true,
            ..Self::none()
        }
    }
}

/// What this interface keeps for itself.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) settings: Legacy,
    /// Where it listens, once it does: the one port, and that of gRPC.
    ports: Mutex<Ports>,
    secure: bool,
    started: Instant,
    /// Differs from start to start.
    run_id: String,
    /// Guards who was kicked, until when.
    kicked: Mutex<HashMap<AgentId, Instant>>,
    /// When somebody came last, in microseconds since 1970.
    came: AtomicU64,
    cache: Cache,
    room: Room,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ports {
    http: u16,
    grpc: u16,
}

/// Agents that were kicked and are remembered; beyond it the oldest may come back earlier.
const MOST_KICKED: usize = 10_000;

impl Desk {
    pub(crate) fn new(settings: Legacy, data: &Path, secure: bool) -> Self {
        Self {
            cache: Cache::new(data, &settings),
            room: Room::new(settings.max_requests_bytes.max(settings.max_message_bytes as u64)),
            settings,
            ports: Mutex::default(),
            secure,
            started: Instant::now(),
            run_id: openagents_protocol::EventId::new().to_string(),
            kicked: Mutex::default(),
            came: AtomicU64::default(),
        }
    }

    /// Says where it is reached.
    pub(crate) fn listens(&self, http: u16, grpc: Option<u16>) {
        *self.ports.lock().expect("poisoned") = Ports {
            http,
            grpc: grpc.unwrap_or(http),
        };
    }

    fn ports(&self) -> Ports {
        *self.ports.lock().expect("poisoned")
    }

    /// When somebody comes now, in seconds since 1970. No two come at the same time: agents are listed by it.
    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds since 1970 fit a double for 280 years"
    )]
    fn comes(&self, now_ms: u64) -> f64 {
        let now = now_ms.saturating_mul(1_000);
        let next = |last: u64| now.max(last.saturating_add(1));
        let last = self
            .came
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        next(last.unwrap_or_else(|last| last)) as f64 / 1_000_000.0
    }

    /// How long an agent still has to stay away.
    fn banned_for(&self, agent_id: &AgentId) -> Option<Duration> {
        let until = self.kicked.lock().expect("poisoned").get(agent_id).copied()?;
        let rest = until.saturating_duration_since(Instant::now());
        (!rest.is_zero()).then_some(rest)
    }

    fn ban(&self, agent_id: &AgentId) {
        let mut kicked = self.kicked.lock().expect("poisoned");
        let now = Instant::now();
        if MOST_KICKED <= kicked.len() {
            kicked.retain(|_, until| now < *until);
        }
        if kicked.len() < MOST_KICKED {
            kicked.insert(agent_id.clone(), now + self.settings.kick_cooldown);
        }
    }
}

/// Both ways of this interface, for the main router.
pub(crate) fn routes(host: &Arc<Host>) -> Router<Arc<Host>> {
    http::routes(host).merge(grpc::routes(host))
}

/// gRPC alone, for a port of its own.
pub(crate) fn grpc_only(host: Arc<Host>) -> Router {
    grpc::routes(&host).with_state(host)
}

pub(crate) use profile::minimal;
