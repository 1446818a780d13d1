//! Standing sessions: of agents that have no connection of their own, and come by to ask what there is.
//!
//! Such an agent is enrolled and gets a key, which proves it from then on, also after a restart of the server. What is
//! for it waits as for any reader, and is handed out when it asks. What was handed out counts as handled when it asks
//! again; until then it is handed out again to whoever comes next with the key.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use openagents_protocol::frame::{Backlog, SessionKind};
use openagents_protocol::record::AgentKey;
use openagents_protocol::{AgentId, ErrorBody, ErrorCode, Json, Secret, Sequence, Source};
use subtle::ConstantTimeEq;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::decide::Wish;
use crate::session::{Attach, Delivered, Deliveries, Outgoing, Session, claim};
use crate::state::{Agent, Presence};
use crate::token::{Principal, agent_key, stored_hash};
use crate::workspace::{Caller, Workspace, check_metadata};

/// The most events handed out at once. Such an agent asks about once a second, so this is also what it can take in a
/// second; beyond it the log waits.
const MOST: usize = 8192;

/// Most bytes of what is handed out at once, unless it is one event.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// A way to an agent, as far as whoever carries things over it can tell.
pub trait Way: fmt::Debug + Send + Sync {
    /// Nothing says that the other end went away.
    fn is_open(&self) -> bool;
    /// It ended in a way that may have lost what was carried over it.
    fn is_broken(&self) -> bool;
}

/// An agent that wants to come by.
#[derive(Debug)]
pub struct Enrol {
    /// Who it proved to be.
    pub principal: Principal,
    /// The agent.
    pub agent_id: AgentId,
    /// What it says of itself.
    pub metadata: Option<Json>,
    /// When it may take the place of one with the same id.
    pub takeover: Takeover,
    /// Over which way it came.
    pub way: Arc<dyn Way>,
}

/// When a newcomer may take the place of an agent with the same id that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// When that one gives no sign of life while it is waited for.
    OfSilent,
    /// When that one went away, or was silent for long.
    OfGone,
}

/// The standing session of an agent.
#[derive(Clone, Debug)]
pub struct Standing(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    session: Session,
    /// Counts the times that the agent asked: the newest one ends the ones before.
    asked: AtomicU64,
    newest: watch::Sender<u64>,
    /// Guards what the agent is given; held while it waits.
    given: AsyncMutex<Given>,
    /// Guards when it was last heard, and over which way.
    heard: Mutex<(Instant, Arc<dyn Way>)>,
    ended: OnceLock<ErrorBody>,
}

/// What an agent is given, and was.
#[derive(Debug)]
struct Given {
    deliveries: Deliveries,
    /// Taken, and not handed out yet: what is too much for one answer, and what an agent stopped asking for half-way.
    taken: Vec<Delivered>,
    /// Handed out, and not known to have arrived.
    last: Option<Handout>,
}

/// What is handed out at once, in log order.
#[derive(Clone, Debug, Default)]
pub struct Handout {
    /// The events.
    pub events: Vec<Delivered>,
    /// To be signed when they were carried away.
    pub slip: Slip,
}

/// Tells whether a handout arrived: signed by whoever carried all of it, with the way over which it went.
#[derive(Clone, Debug, Default)]
pub struct Slip(Arc<OnceLock<Arc<dyn Way>>>);

impl Slip {
    /// Everything was carried over this way. Where the other end went away before, nothing says that it arrived.
    pub fn sign(&self, way: Arc<dyn Way>) {
        if way.is_open() {
            // A second signature changes nothing.
            drop(self.0.set(way));
        }
    }

    fn arrived(&self) -> bool {
        self.0.get().is_some_and(|way| !way.is_broken())
    }
}

/// The standing sessions of a workspace.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<HashMap<AgentId, Arc<Seat>>>);

/// The place of one agent; guards that it has one session.
type Seat = AsyncMutex<Option<Standing>>;

impl Registry {
    fn seat(&self, agent_id: &AgentId) -> Arc<Seat> {
        let mut seats = self.0.lock().expect("poisoned");
        Arc::clone(seats.entry(agent_id.clone()).or_default())
    }

    fn find(&self, agent_id: &AgentId) -> Option<Standing> {
        let seat = self.0.lock().expect("poisoned").get(agent_id).map(Arc::clone)?;
        // Whoever holds the seat is about to change who sits there.
        let standing = seat.try_lock().ok()?.clone();
        standing.filter(|standing| standing.0.ended.get().is_none())
    }

    fn all(&self) -> Vec<Standing> {
        let seats: Vec<Arc<Seat>> = self.0.lock().expect("poisoned").values().cloned().collect();
        let sitting = seats.iter().filter_map(|seat| seat.try_lock().ok()?.clone());
        sitting.collect()
    }

    fn remove(&self, agent_id: &AgentId) {
        self.0.lock().expect("poisoned").remove(agent_id);
    }

    /// Notes down what arrived, and lets every session go.
    pub(crate) fn dismiss(&self) {
        for standing in self.all() {
            standing.settle();
        }
        self.0.lock().expect("poisoned").clear();
    }
}

impl Workspace {
    /// Enrols an agent, and gives it the key that proves it from now on; an earlier key proves nothing any more.
    ///
    /// # Errors
    ///
    /// `agent_id_in_use`, `forbidden`, `invalid_field`, and whatever refuses the joining.
    pub async fn enrol(&self, enrol: Enrol) -> Result<(Standing, Secret), ErrorBody> {
        let Enrol {
            principal,
            agent_id,
            metadata,
            takeover,
            way,
        } = enrol;
        if let Some(metadata) = &metadata {
            check_metadata(metadata)?;
        }
        principal.act_as(Some(agent_id.clone()))?;
        let inner = self.inner();
        if let Some(before) = inner.standing.find(&agent_id)
            && takeover == Takeover::OfGone
        {
            if before.is_there(inner.settings.agent_timeout) {
                return Err(in_use(&agent_id));
            }
        } else {
            claim(&inner, &agent_id, &principal, None).await?;
        }
        let key = agent_key();
        let stored = AgentKey {
            hash: stored_hash(key.expose()),
            role: principal.role,
            token: principal.token.clone(),
            expires_ms: principal.expires_ms,
        };
        let seat = inner.standing.seat(&agent_id);
        let mut sitting = seat.lock().await;
        if let Some(before) = sitting.take() {
            before.settle();
        }
        let standing = self.stand(&agent_id, principal, metadata, way).await?;
        let author = Source::Agent(agent_id);
        self.wish(&author, Wish::SetKey { key: Some(stored) }).await?;
        *sitting = Some(standing.clone());
        Ok((standing, key))
    }

    /// The agent that a key proves, as it asks for something.
    ///
    /// # Errors
    ///
    /// `unauthenticated`.
    pub fn recognise(
        &self,
        agent_id: &AgentId,
        key: &Secret,
        way: &Arc<dyn Way>,
    ) -> Result<Caller, ErrorBody> {
        let principal = self.proved(agent_id, key)?;
        if let Some(standing) = self.inner().standing.find(agent_id) {
            standing.heard(way);
        }
        Ok(principal.caller(agent_id.clone()))
    }

    /// The standing session of the agent that a key proves; it begins anew after a restart of the server, or where the
    /// agent was gone.
    ///
    /// # Errors
    ///
    /// `unauthenticated`, `agent_id_in_use`.
    pub async fn standing(
        &self,
        agent_id: &AgentId,
        key: &Secret,
        way: &Arc<dyn Way>,
    ) -> Result<Standing, ErrorBody> {
        let principal = self.proved(agent_id, key)?;
        let inner = self.inner();
        if let Some(standing) = inner.standing.find(agent_id) {
            standing.heard(way);
            return Ok(standing);
        }
        let seat = inner.standing.seat(agent_id);
        let mut sitting = seat.lock().await;
        if let Some(standing) = sitting.as_ref()
            && standing.0.ended.get().is_none()
        {
            standing.heard(way);
            return Ok(standing.clone());
        }
        *sitting = None;
        claim(&inner, agent_id, &principal, None).await?;
        let standing = self.stand(agent_id, principal, None, Arc::clone(way)).await?;
        *sitting = Some(standing.clone());
        Ok(standing)
    }

    /// The agent leaves for this reason; its key proves nothing any more.
    ///
    /// # Errors
    ///
    /// What the log says.
    pub async fn dismiss(&self, agent_id: &AgentId, reason: &str) -> Result<(), ErrorBody> {
        let inner = self.inner();
        let seat = inner.standing.seat(agent_id);
        let mut sitting = seat.lock().await;
        if let Some(standing) = sitting.take() {
            standing.settle();
            standing.end(unknown_key());
            standing.0.session.detach();
        }
        inner.standing.remove(agent_id);
        if let Some(other) = inner.live.consuming(agent_id) {
            other.dismiss(ErrorCode::Forbidden, reason);
        }
        let author = Source::Agent(agent_id.clone());
        self.wish(&author, Wish::SetKey { key: None }).await?;
        let reason = reason.to_owned();
        self.wish(&author, Wish::Leave { reason }).await?;
        Ok(())
    }

    async fn stand(
        &self,
        agent_id: &AgentId,
        principal: Principal,
        metadata: Option<Json>,
        way: Arc<dyn Way>,
    ) -> Result<Standing, ErrorBody> {
        let snapshot = self.snapshot();
        let here = snapshot.state.agents.get(agent_id);
        // What an agent missed that never left is everything.
        let backlog = match here.map(|agent| agent.presence) {
            Some(Presence::Online) => Backlog::All,
            _ => Backlog::default(),
        };
        let attach = Attach {
            principal,
            agent_id: Some(agent_id.clone()),
            kind: SessionKind::Consuming,
            session_key: None,
            metadata,
            after: None,
            log: None,
            backlog,
        };
        let (session, deliveries) = self.begin(agent_id.clone(), false, attach, MOST).await?;
        Ok(Standing(Arc::new(Inner {
            session,
            asked: AtomicU64::new(0),
            newest: watch::Sender::new(0),
            given: AsyncMutex::new(Given {
                deliveries,
                taken: Vec::new(),
                last: None,
            }),
            heard: Mutex::new((Instant::now(), way)),
            ended: OnceLock::new(),
        })))
    }

    /// Who shows this key.
    fn proved(&self, agent_id: &AgentId, key: &Secret) -> Result<Principal, ErrorBody> {
        let snapshot = self.snapshot();
        let state = &snapshot.state;
        let known = state.agents.get(agent_id);
        let stored = known
            .and_then(|agent| agent.key.as_ref())
            .ok_or_else(unknown_key)?;
        let shown = stored_hash(key.expose());
        let valid = bool::from(shown.as_bytes().ct_eq(stored.hash.as_bytes()))
            && stored.token.as_ref().is_none_or(|token| state.has_token(token))
            && stored
                .expires_ms
                .is_none_or(|end| self.settings().clock.now_ms() < end);
        if !valid {
            return Err(unknown_key());
        }
        let group = known.and_then(|agent| self.group_of(agent));
        Ok(Principal {
            agent_id: None,
            role: stored.role,
            group,
            token: stored.token.clone(),
            expires_ms: stored.expires_ms,
        })
    }

    /// The group that an agent is in, where there are groups.
    fn group_of(&self, agent: &Agent) -> Option<Arc<crate::rights::Group>> {
        let name = agent.group.as_ref()?;
        let settings = self.settings();
        let known = settings.groups.iter().find(|group| group.name == *name);
        Some(Arc::new(match known {
            Some(group) => group.clone(),
            None => crate::rights::Group::open(name.clone()),
        }))
    }
}

impl Standing {
    /// Who it is, with what it may do.
    pub fn caller(&self) -> &Caller {
        self.0.session.caller()
    }

    /// What there is for the agent; waits for it as long as is said, and for no longer than until it asks again.
    ///
    /// # Errors
    ///
    /// Why the session is over.
    pub async fn ask(&self, hold: Duration) -> Result<Handout, ErrorBody> {
        let inner = &*self.0;
        let mine = inner.asked.fetch_add(1, Ordering::AcqRel) + 1;
        inner.newest.send_modify(|newest| *newest = (*newest).max(mine));
        inner.session.heard();
        let mut newest = inner.newest.subscribe();
        let superseded = async move {
            // The sender lives as long as the session.
            drop(newest.wait_for(|newest| mine < *newest).await);
        };
        let mut superseded = std::pin::pin!(superseded);
        let mut given = tokio::select! {
            biased; // Who asks again wants no answer here.
            () = &mut superseded => return Ok(Handout::default()),
            given = inner.given.lock() => given,
        };
        if let Some(again) = given.settle(&inner.session) {
            return Ok(again);
        }
        if let Some(ended) = inner.ended.get() {
            return Err(ended.clone());
        }
        let mut waited = false;
        while given.taken_bytes() < MOST_BYTES && inner.ended.get().is_none() {
            let here = given.deliveries.here().await;
            if !here.is_empty() {
                let probed = self.take(&mut given, here);
                if probed && given.taken.is_empty() {
                    break;
                }
                continue;
            }
            if waited || !given.taken.is_empty() {
                break;
            }
            waited = true;
            tokio::select! {
                biased;
                () = &mut superseded => return Ok(Handout::default()),
                outgoing = given.deliveries.next() => drop(self.take(&mut given, outgoing)),
                () = sleep(hold) => return Ok(Handout::default()),
            }
        }
        let handout = Handout {
            events: given.next_answer(),
            slip: Slip::default(),
        };
        match inner.ended.get() {
            Some(ended) if handout.events.is_empty() => return Err(ended.clone()),
            _ if handout.events.is_empty() => {}
            _ => given.last = Some(handout.clone()),
        }
        Ok(handout)
    }

    /// Takes over what there is; true if a sign of life is wanted.
    fn take(&self, given: &mut Given, outgoing: Vec<Outgoing>) -> bool {
        let mut probed = false;
        for item in outgoing {
            match item {
                Outgoing::Event(event) => given.taken.push(event),
                Outgoing::End(dismissal) => self.end(ErrorBody::new(dismissal.code, dismissal.message)),
                // An answer now makes the agent ask again, which is the sign of life.
                Outgoing::Probe => probed = true,
                // It publishes elsewhere.
                Outgoing::Published(..) => {}
            }
        }
        probed
    }

    /// The agent gave a sign of life over this way.
    fn heard(&self, way: &Arc<dyn Way>) {
        *self.0.heard.lock().expect("poisoned") = (Instant::now(), Arc::clone(way));
        self.0.session.heard();
    }

    /// Whether the agent may still be there.
    fn is_there(&self, agent_timeout: Duration) -> bool {
        let heard = self.0.heard.lock().expect("poisoned");
        heard.0.elapsed() < agent_timeout && heard.1.is_open()
    }

    fn silent_for(&self) -> Duration {
        self.0.heard.lock().expect("poisoned").0.elapsed()
    }

    /// Notes down what arrived, unless somebody is waiting right now.
    fn settle(&self) {
        if let Ok(mut given) = self.0.given.try_lock()
            && let Some(again) = given.settle(&self.0.session)
        {
            given.last = Some(again);
        }
    }

    fn end(&self, reason: ErrorBody) {
        // The first reason stays.
        drop(self.0.ended.set(reason));
    }
}

impl Given {
    fn taken_bytes(&self) -> usize {
        self.taken.iter().map(Delivered::bytes).sum()
    }

    /// What fits into one answer, and in any case one event; the rest stays for the next one.
    fn next_answer(&mut self) -> Vec<Delivered> {
        let mut bytes = 0;
        let fits = self.taken.iter().position(|event| {
            bytes += event.bytes();
            MOST_BYTES < bytes
        });
        let rest = match fits {
            Some(fits) => self.taken.split_off(fits.max(1)),
            None => Vec::new(),
        };
        std::mem::replace(&mut self.taken, rest)
    }

    /// Acknowledges what arrived; what did not is returned, and stays the last handout.
    fn settle(&mut self, session: &Session) -> Option<Handout> {
        let last = self.last.take()?;
        if last.slip.arrived() {
            let through = last.events.iter().map(|event| event.record().sequence).max();
            session.acknowledge(through.unwrap_or(Sequence::ZERO));
            return None;
        }
        let again = Handout {
            events: last.events,
            slip: Slip::default(),
        };
        self.last = Some(again.clone());
        Some(again)
    }
}

/// Lets agents go that were silent for too long. Their keys stay good: who comes back with one goes on.
pub(crate) async fn watch_silence(workspace: Workspace) {
    let inner = workspace.inner();
    let limit = inner.settings.agent_timeout;
    let mut ticks = tokio::time::interval((limit / 6).max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = inner.closing.cancelled() => return,
            _ = ticks.tick() => {}
        }
        for standing in inner.standing.all() {
            if standing.silent_for() <= limit {
                continue;
            }
            let agent_id = &standing.caller().agent_id;
            standing.settle();
            standing.end(ErrorBody::new(
                ErrorCode::TimedOut,
                "the agent was silent for too long",
            ));
            inner.standing.remove(agent_id);
            let leave = standing.0.session.leave(Some("lease_expired".to_owned()));
            if timeout(limit, leave).await.is_err() {
                tracing::warn!(agent = %agent_id, "could not log in time that an agent went silent");
            }
        }
    }
}

fn in_use(agent_id: &AgentId) -> ErrorBody {
    let message = format!("agent id {agent_id} is in use by an agent that is there");
    ErrorBody::field(ErrorCode::AgentIdInUse, "agent_id", message)
}

fn unknown_key() -> ErrorBody {
    ErrorBody::field(
        ErrorCode::Unauthenticated,
        "secret",
        "the key does not prove this agent",
    )
}
