//! Who is connected now, and what is handed to whom.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use openagents_protocol::frame::SessionKind;
use openagents_protocol::record::{Act, Record};
use openagents_protocol::{Address, AgentId, ErrorCode, EventId};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::commit::Commit;
use crate::entitlement::{is_selected, may_read, may_receive, moment};
use crate::reader::Reader;
use crate::state::State;

/// The sessions and leases of a workspace.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// Guards sessions and leases; held while one batch is routed.
    inner: Mutex<Inner>,
    /// Wakes the keeper of leases when an earlier one appears.
    pub(crate) leases_changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: HashMap<AgentId, Sessions>,
    leases: BTreeSet<(Instant, AgentId)>,
    leased: HashMap<AgentId, Lease>,
    closed: bool,
}

/// The time an agent stays online without a connection.
#[derive(Clone, Copy, Debug)]
struct Lease {
    until: Instant,
    /// When its connection broke, in milliseconds since 1970; unknown after a restart of the server.
    dropped_ms: Option<u64>,
}

/// The sessions of one agent.
#[derive(Debug, Default)]
struct Sessions {
    consuming: Option<Arc<Reader>>,
    watching: Vec<Arc<Reader>>,
}

/// Sessions that were handed something and are to be woken once the whole batch was handed over.
#[derive(Debug, Default)]
pub(crate) struct Waking(Vec<Arc<Reader>>);

impl Waking {
    pub(crate) fn push_to(&mut self, reader: &Arc<Reader>, commit: &Arc<Commit>) {
        if reader.push(commit) {
            self.0.push(Arc::clone(reader));
        }
    }

    /// Wakes all but one, which is returned.
    pub(crate) fn wake_but_one(&mut self) -> Option<Arc<Reader>> {
        let last = self.0.pop();
        std::mem::take(self).wake();
        last
    }

    /// Wakes them.
    pub(crate) fn wake(self) {
        for reader in self.0 {
            reader.wake();
        }
    }
}

impl Sessions {
    fn all(&self) -> impl Iterator<Item = &Arc<Reader>> {
        self.consuming.iter().chain(&self.watching)
    }

    fn is_empty(&self) -> bool {
        self.consuming.is_none() && self.watching.is_empty()
    }
}

impl Live {
    pub(crate) fn consuming(&self, agent_id: &AgentId) -> Option<Arc<Reader>> {
        self.lock()
            .sessions
            .get(agent_id)
            .and_then(|sessions| sessions.consuming.clone())
    }

    pub(crate) fn is_live(&self, agent_id: &AgentId) -> bool {
        self.lock()
            .sessions
            .get(agent_id)
            .is_some_and(|sessions| sessions.consuming.is_some())
    }

    /// Number of connected sessions.
    pub(crate) fn sessions(&self) -> usize {
        self.lock()
            .sessions
            .values()
            .map(|sessions| sessions.all().count())
            .sum()
    }

    /// Adds a session. A consuming one takes the place of the one before, which is returned.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::ShuttingDown`] once the workspace closes.
    pub(crate) fn add(&self, reader: &Arc<Reader>) -> Result<Option<Arc<Reader>>, ErrorCode> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(ErrorCode::ShuttingDown);
        }
        let sessions = inner.sessions.entry(reader.agent_id.clone()).or_default();
        let replaced = match reader.kind {
            SessionKind::Consuming => sessions.consuming.replace(Arc::clone(reader)),
            SessionKind::Watching => {
                sessions.watching.push(Arc::clone(reader));
                None
            }
        };
        if reader.kind == SessionKind::Consuming {
            inner.end_lease(&reader.agent_id);
        }
        Ok(replaced)
    }

    /// Removes a session, and tells whether it was the one that consumed for its agent.
    pub(crate) fn remove(&self, reader: &Arc<Reader>) -> bool {
        let mut inner = self.lock();
        let Some(sessions) = inner.sessions.get_mut(&reader.agent_id) else {
            return false;
        };
        let consumed = sessions
            .consuming
            .as_ref()
            .is_some_and(|consuming| Arc::ptr_eq(consuming, reader));
        if consumed {
            sessions.consuming = None;
        }
        sessions
            .watching
            .retain(|watching| !Arc::ptr_eq(watching, reader));
        if sessions.is_empty() {
            inner.sessions.remove(&reader.agent_id);
        }
        consumed
    }

    /// Lets an agent stay online without a connection until then.
    pub(crate) fn lease(&self, agent_id: &AgentId, until: Instant, dropped_ms: Option<u64>) {
        let mut inner = self.lock();
        if inner
            .sessions
            .get(agent_id)
            .is_some_and(|sessions| sessions.consuming.is_some())
        {
            return;
        }
        inner.end_lease(agent_id);
        inner.leases.insert((until, agent_id.clone()));
        inner.leased.insert(agent_id.clone(), Lease { until, dropped_ms });
        drop(inner);
        self.leases_changed.notify_one();
    }

    /// When the connection of an agent broke that is online by its lease only.
    pub(crate) fn dropped_ms(&self, agent_id: &AgentId) -> Option<u64> {
        self.lock()
            .leased
            .get(agent_id)
            .and_then(|lease| lease.dropped_ms)
    }

    /// When the next lease ends.
    pub(crate) fn next_lease(&self) -> Option<Instant> {
        self.lock().leases.first().map(|(until, _)| *until)
    }

    /// Takes the agents whose leases ended.
    pub(crate) fn expired(&self, now: Instant) -> Vec<AgentId> {
        let mut inner = self.lock();
        let mut expired = Vec::new();
        while let Some((until, agent_id)) = inner.leases.first().cloned()
            && until <= now
        {
            inner.end_lease(&agent_id);
            expired.push(agent_id);
        }
        expired
    }

    /// Hands a record to the sessions concerned, and returns how many entitled agents are connected. The sessions that
    /// have to be woken for it are added to `waking`, once each until they take what they have.
    pub(crate) fn route(&self, state: &State, commit: &Arc<Commit>, waking: &mut Waking) -> u64 {
        let inner = self.lock();
        match &commit.header().destination {
            Address::Agent(addressee) => inner.sessions.get(addressee).map_or(0, |sessions| {
                hand_over(state, addressee, sessions, commit, waking)
            }),
            Address::Channel(_) | Address::Everyone => inner
                .sessions
                .iter()
                .map(|(agent_id, sessions)| hand_over(state, agent_id, sessions, commit, waking))
                .sum(),
            Address::System | Address::Mod(_) => 0,
        }
    }

    /// Hands an event to every session that follows the workspace.
    pub(crate) fn tell_followers(&self, commit: &Arc<Commit>, waking: &mut Waking) {
        let inner = self.lock();
        for reader in inner.sessions.values().flat_map(Sessions::all) {
            if reader.follows() {
                waking.push_to(reader, commit);
            }
        }
    }

    /// Hands an event to every session of one agent.
    pub(crate) fn tell(&self, agent_id: &AgentId, commit: &Arc<Commit>, waking: &mut Waking) {
        if let Some(sessions) = self.lock().sessions.get(agent_id) {
            for reader in sessions.all() {
                waking.push_to(reader, commit);
            }
        }
    }

    /// How many agents that are entitled to a record are connected now.
    pub(crate) fn reach(&self, state: &State, record: &Record) -> u64 {
        let inner = self.lock();
        let connected = inner
            .sessions
            .iter()
            .filter(|(_, sessions)| sessions.consuming.is_some());
        connected
            .filter(|(agent_id, _)| may_receive(state, agent_id, record))
            .count() as u64
    }

    /// Ends the sessions that this token admitted.
    pub(crate) fn dismiss_token(&self, token: &EventId) {
        let inner = self.lock();
        for reader in inner.sessions.values().flat_map(Sessions::all) {
            if reader.token.as_ref() == Some(token) {
                reader.dismiss(ErrorCode::Unauthenticated, "the token was revoked");
            }
        }
    }

    /// Ends every session; no further one is added.
    pub(crate) fn dismiss_all(&self, code: ErrorCode, message: &str) {
        let mut inner = self.lock();
        inner.closed = true;
        for reader in inner.sessions.values().flat_map(Sessions::all) {
            reader.dismiss(code, message);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("poisoned")
    }
}

impl Inner {
    fn end_lease(&mut self, agent_id: &AgentId) {
        if let Some(Lease { until, .. }) = self.leased.remove(agent_id) {
            self.leases.remove(&(until, agent_id.clone()));
        }
    }
}

/// Hands a record to the sessions of one agent; 1 if the agent is entitled and connected, else 0.
fn hand_over(
    state: &State,
    agent_id: &AgentId,
    sessions: &Sessions,
    commit: &Arc<Commit>,
    waking: &mut Waking,
) -> u64 {
    let mut reached = 0;
    if let Some(consuming) = &sessions.consuming
        && may_receive(state, agent_id, &commit.record)
    {
        reached = 1;
        if state
            .agents
            .get(agent_id)
            .is_none_or(|agent| is_selected(agent, agent_id, commit.header()))
        {
            waking.push_to(consuming, commit);
        }
    }
    if !sessions.watching.is_empty() && watches(state, agent_id, commit) {
        let wanted = |watching: &&Arc<Reader>| watching.reading.includes(commit.header());
        for watching in sessions.watching.iter().filter(wanted) {
            waking.push_to(watching, commit);
        }
    }
    reached
}

/// Whether a watching session of this agent sees a record: what the agent may read, what it posted to channels
/// included, its own coming and going not.
pub(crate) fn watches(state: &State, agent_id: &AgentId, commit: &Commit) -> bool {
    let header = commit.header();
    let own = header.source.agent() == Some(agent_id);
    let presence = matches!(header.act, Act::AgentJoined { .. } | Act::AgentLeft { .. });
    !(own && presence) && may_read(state, agent_id, header, moment(&commit.record))
}
