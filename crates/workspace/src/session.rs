//! A session: one connection of an agent, what it is given and what it acknowledges.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use openagents_protocol::call::{
    Call, FollowSystem, ListConversations, ListFiles, ListHeld, ListMessages, ReadEvents, SearchMessages,
    Subscribe,
};
use openagents_protocol::frame::{Backlog, Dismissal, SessionKind, WINDOW};
use openagents_protocol::record::Record;
use openagents_protocol::{
    Address, AgentId, Draft, ErrorBody, ErrorCode, Json, Pattern, Receipt, Secret, Sequence, Source,
};
use openagents_store::Error as StoreError;
use openagents_store::view::{Direction, Stream};
use tokio::sync::Semaphore;
use tokio::time::{Duration, Instant};

use crate::commit::{Commit, is_personal};
use crate::decide::Wish;
use crate::entitlement::{Reading, is_selected, may_read_history, may_receive};
use crate::live::watches;
use crate::presence::notice;
use crate::reader::Reader;
use crate::state::State;
use crate::token::Principal;
use crate::workspace::{Caller, Inner, Workspace, check_metadata};
use crate::writer::{Command, Reply};

/// Publishes of one session that may wait for their receipts.
const MAX_IN_FLIGHT: usize = 1024;

/// Events read from the log at once by a reader that catches up.
const PAGE: usize = 256;

/// And their bytes, where it is more than one.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Pages read at once for one session.
const TURNS: usize = 2;

/// The calls that are answered with a page of what the log holds; [`ReadEvents`] is another one.
const PAGES: [&str; 5] = [
    ListMessages::METHOD,
    ListConversations::METHOD,
    SearchMessages::METHOD,
    ListFiles::METHOD,
    ListHeld::METHOD,
];

/// Records looked through in memory at once.
const SCAN: usize = 1024;

/// Who wants a session, and from where to go on.
#[derive(Debug)]
pub struct Attach {
    /// Who they proved to be.
    pub principal: Principal,
    /// The agent; without one an id is made, which ends with the lease.
    pub agent_id: Option<AgentId>,
    /// Whether the session owns the agent's cursor.
    pub kind: SessionKind,
    /// The key of an earlier session.
    pub session_key: Option<Secret>,
    /// What the agent says of itself.
    pub metadata: Option<Json>,
    /// The highest sequence the client has handled.
    pub after: Option<Sequence>,
    /// The log in which that counts, as [`Workspace::log_id`] named it; none: this one.
    pub log: Option<String>,
    /// How much of what was missed is wanted.
    pub backlog: Backlog,
}

/// A session as its connection uses it. Dropping it is a drop of the connection: the agent keeps its lease.
#[derive(Clone, Debug)]
pub struct Session(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    workspace: Workspace,
    inner: Arc<Inner>,
    reader: Arc<Reader>,
    caller: Caller,
    start: Sequence,
    expires_ms: Option<u64>,
    /// Guards the sequences sent and not yet acknowledged.
    sent: Mutex<VecDeque<Sequence>>,
    /// The most of them.
    window: usize,
    /// Everything for this reader up to here was sent.
    served: AtomicU64,
    catching_up: AtomicBool,
    in_flight: AtomicUsize,
    detached: AtomicBool,
    /// Calls that read a page take turns: what an answer holds counts for as many as are read at once.
    turns: Semaphore,
}

/// Something for the client.
#[derive(Debug)]
pub enum Outgoing {
    /// An event.
    Event(Delivered),
    /// The answer to a publish.
    Published(u64, Result<Receipt, ErrorBody>),
    /// The client must give a sign of life.
    Probe,
    /// The session is over.
    End(Dismissal),
}

/// An event for one agent.
#[derive(Clone, Debug)]
pub struct Delivered {
    commit: Arc<Commit>,
    agent_id: AgentId,
}

impl Delivered {
    /// The event frame as the agent gets it.
    pub fn frame(&self) -> Bytes {
        self.commit.frame(&self.agent_id)
    }

    /// The record behind it, for interfaces that tell it in their own words.
    pub fn record(&self) -> &Record {
        &self.commit.record
    }

    /// About how many bytes it has.
    pub fn bytes(&self) -> usize {
        self.commit.bytes()
    }
}

/// What a session is given, in log order.
#[derive(Debug)]
pub struct Deliveries {
    session: Session,
    /// Everything for this reader up to here was taken.
    position: Sequence,
    backlog: Option<Backlog>,
    catch_up: Option<CatchUp>,
    told: Told,
}

/// What the client was told of what is removed.
#[derive(Debug, Default)]
struct Told {
    /// What [`Horizons::moves`](crate::state::Horizons) was then.
    moves: u64,
    horizons: HashMap<Address, Sequence>,
}

/// A stretch of the log that is read by cursor.
#[derive(Debug)]
struct CatchUp {
    after: Sequence,
    through: Sequence,
    /// Before this sequence only what is addressed to the agent itself.
    personal_before: Sequence,
}

impl Workspace {
    /// Begins a session.
    ///
    /// A consuming session makes its agent online. Where another open session consumes for the agent, the
    /// newcomer takes over if it has an agent token or the session key; otherwise the open one is given time to
    /// show that it lives, and then the newcomer is refused.
    ///
    /// # Errors
    ///
    /// `agent_id_in_use`, `forbidden`, `invalid_field`, and whatever refuses the joining.
    pub async fn attach(&self, attach: Attach) -> Result<(Session, Deliveries), ErrorBody> {
        if let Some(metadata) = &attach.metadata {
            check_metadata(metadata)?;
        }
        let wanted = attach.principal.act_as(attach.agent_id.clone())?;
        let generated = wanted.is_none();
        let agent_id = wanted.unwrap_or_else(AgentId::generate);
        if attach.kind == SessionKind::Consuming {
            let key = attach.session_key.as_ref();
            claim(&self.inner(), &agent_id, &attach.principal, key).await?;
        }
        self.begin(agent_id, generated, attach, WINDOW).await
    }

    /// Begins a session of an agent that nobody disputes.
    pub(crate) async fn begin(
        &self,
        agent_id: AgentId,
        generated: bool,
        attach: Attach,
        window: usize,
    ) -> Result<(Session, Deliveries), ErrorBody> {
        let inner = self.inner();
        let consuming = attach.kind == SessionKind::Consuming;
        let caller = attach.principal.caller(agent_id.clone());
        let known_before = inner.committed.load().state.agents.contains_key(&agent_id);
        let token = attach.principal.token.clone();
        let reader = Arc::new(Reader::new(
            agent_id.clone(),
            attach.kind,
            Self::new_session_key(),
            token,
            caller.reading(),
            inner.settings.session_queue,
        ));
        check_token(&inner, &reader)?;
        // The reader is live before the agent joins, so a leave that is decided after the join sees it.
        let replaced = inner
            .live
            .add(&reader)
            .map_err(|code| ErrorBody::new(code, "the workspace is closing"))?;
        // The token may have been revoked while the newcomer waited for the open session. One that is revoked from
        // here on ends this session like any other.
        if let Err(error) = check_token(&inner, &reader) {
            inner.live.remove(&reader);
            return Err(error);
        }
        if let Some(replaced) = replaced {
            replaced.dismiss(
                ErrorCode::SessionReplaced,
                "a newer session of this agent took over",
            );
        }
        let mut joined_at = None;
        if consuming {
            let join = Wish::Join {
                metadata: attach.metadata,
                generated,
                group: caller.group.as_ref().map(|group| group.name.clone()),
            };
            match self.wish(&Source::Agent(agent_id.clone()), join).await {
                Ok(receipt) => joined_at = receipt.sequence,
                Err(error) => {
                    inner.live.remove(&reader);
                    return Err(error);
                }
            }
        }
        let head = inner.committed.load().head;
        let position = inner.position(attach.after, attach.log.as_deref());
        let after = position.unwrap_or(Sequence::ZERO);
        let cursor = match attach.kind {
            SessionKind::Consuming if known_before => inner.cursor(&agent_id).unwrap_or(head).max(after),
            // A new agent starts where it joined: what was sent to it since is for it.
            SessionKind::Consuming => joined_at.unwrap_or(head),
            // A watching session has no cursor: without `after` it starts at the head.
            SessionKind::Watching => position.unwrap_or(head),
        };
        // A position after the head is from another log that did not say its name.
        let cursor = cursor.min(head);
        if attach.kind == SessionKind::Consuming && position.is_some() {
            // The client says that it has handled everything up to here, and will not say so again.
            inner.cursors.advance(&agent_id, cursor);
        }
        let start = if attach.backlog == Backlog::None {
            head
        } else {
            cursor
        };
        let session = Session(Arc::new(Shared {
            workspace: self.clone(),
            inner,
            reader,
            caller,
            start,
            expires_ms: attach.principal.expires_ms,
            sent: Mutex::default(),
            window,
            served: AtomicU64::new(start.get()),
            catching_up: AtomicBool::new(true),
            in_flight: AtomicUsize::new(0),
            detached: AtomicBool::new(false),
            turns: Semaphore::new(TURNS),
        }));
        session.follow_if_subscribed();
        let catch_up = CatchUp {
            after: start,
            through: head,
            personal_before: Sequence::ZERO,
        };
        let deliveries = Deliveries {
            session: session.clone(),
            position: start,
            backlog: Some(attach.backlog),
            catch_up: Some(catch_up),
            told: Told::default(),
        };
        Ok((session, deliveries))
    }
}

/// Makes sure that the token that admitted a session was not revoked since.
fn check_token(inner: &Inner, reader: &Reader) -> Result<(), ErrorBody> {
    match &reader.token {
        Some(token) if !inner.committed.load().state.has_token(token) => Err(ErrorBody::field(
            ErrorCode::Unauthenticated,
            "token",
            "the token was revoked",
        )),
        _ => Ok(()),
    }
}

/// Makes sure that the newcomer may consume for the agent.
pub(crate) async fn claim(
    inner: &Inner,
    agent_id: &AgentId,
    principal: &Principal,
    session_key: Option<&Secret>,
) -> Result<(), ErrorBody> {
    let Some(open) = inner.live.consuming(agent_id) else {
        return Ok(());
    };
    let same_client = session_key.is_some_and(|key| {
        let (shown, expected) = (key.expose().as_bytes(), open.session_key.expose().as_bytes());
        bool::from(subtle::ConstantTimeEq::ct_eq(shown, expected))
    });
    if same_client || principal.agent_id.is_some() {
        return Ok(());
    }
    if tokio::time::timeout(inner.settings.takeover_wait, open.probe())
        .await
        .is_ok()
    {
        let message =
            format!("another open session uses agent id {agent_id}: choose another id, or close that one");
        return Err(ErrorBody::field(ErrorCode::AgentIdInUse, "agent_id", message));
    }
    Ok(())
}

impl Session {
    /// Who it is, with what it may do.
    pub fn caller(&self) -> &Caller {
        &self.0.caller
    }

    /// Proves later that a client is the one of this session.
    pub fn key(&self) -> &Secret {
        &self.0.reader.session_key
    }

    /// Everything up to here counts as handled from the start.
    pub fn start(&self) -> Sequence {
        self.0.start
    }

    /// How long the token that admitted it still does; none: for ever.
    pub fn expires_in(&self) -> Option<Duration> {
        let now_ms = self.0.inner.settings.clock.now_ms();
        self.0
            .expires_ms
            .map(|end| Duration::from_millis(end.saturating_sub(now_ms)))
    }

    /// Answers a call of this session; see [`Workspace::call`].
    ///
    /// # Errors
    ///
    /// What the call refuses.
    pub async fn call(&self, method: &str, params: &Json) -> Result<Json, ErrorBody> {
        self.0.workspace.take_request(&self.0.caller.agent_id)?;
        if method == FollowSystem::METHOD {
            self.follow_system();
            return Ok(Json::empty_object());
        }
        let shared = &self.0;
        if method == ReadEvents::METHOD {
            return shared
                .workspace
                .call_read_events(&shared.caller, params, &shared.turns)
                .await;
        }
        let turn = match method {
            _ if PAGES.contains(&method) => shared.turns.acquire().await.ok(),
            _ => None,
        };
        let answer = shared.workspace.call(&shared.caller, method, params).await?;
        drop(turn);
        if method == Subscribe::METHOD {
            self.follow_if_subscribed();
        }
        Ok(answer)
    }

    /// Gets the events of the workspace itself from here on; those that hold now at once.
    pub fn follow_system(&self) {
        self.0.inner.follow_system(&self.0.reader);
    }

    /// Follows the workspace where a subscription of the agent asks for its events by name.
    fn follow_if_subscribed(&self) {
        let inner = &self.0.inner;
        let snapshot = inner.committed.load();
        let agent = snapshot.state.agents.get(&self.0.caller.agent_id);
        let mut subscriptions = agent.into_iter().flat_map(|agent| &agent.subscriptions);
        let asks = |pattern: &Pattern| pattern.as_str().starts_with("system.");
        if subscriptions.any(|subscription| subscription.patterns.iter().any(asks)) {
            self.follow_system();
        }
    }

    /// Hands over an event; the receipt comes with the deliveries, under this id, in order of commit.
    ///
    /// # Errors
    ///
    /// When the workspace closes, `rate_limited`.
    pub async fn submit(&self, id: u64, draft: Draft) -> Result<(), ErrorBody> {
        let shared = &self.0;
        shared.workspace.take_request(&shared.caller.agent_id)?;
        shared.in_flight.fetch_add(1, Ordering::Relaxed);
        let command = Command {
            author: Source::Agent(shared.caller.agent_id.clone()),
            rights: shared.caller.rights(),
            wish: Wish::Publish(Box::new(draft)),
            reply: Reply::Session(Arc::clone(&shared.reader), id),
            room: None,
        };
        let submitted = shared.workspace.submit(command).await;
        if submitted.is_err() {
            shared.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
        submitted
    }

    /// Whether it may hand over another event now; when not, the connection stops reading until receipts went out.
    pub fn has_room(&self) -> bool {
        self.0.in_flight.load(Ordering::Relaxed) < MAX_IN_FLIGHT
    }

    /// Whether a receipt is still to come.
    pub fn awaits_receipts(&self) -> bool {
        0 < self.0.in_flight.load(Ordering::Relaxed)
    }

    /// Its connection does something else now than wait for deliveries, and may be long about it: nobody waits for it.
    pub fn occupied(&self) {
        self.0.reader.take_turn();
    }

    /// The client gave a sign of life.
    pub fn heard(&self) {
        self.0.reader.heard();
    }

    /// The client has handled everything up to here. What was not sent yet cannot be acknowledged.
    pub fn acknowledge(&self, through: Sequence) {
        let shared = &self.0;
        let through = through.min(self.served_through());
        let mut sent = shared.sent();
        let full = sent.len() == shared.window;
        while sent.front().is_some_and(|sequence| *sequence <= through) {
            sent.pop_front();
        }
        if sent.is_empty() && 64 < sent.capacity() {
            *sent = VecDeque::new();
        }
        drop(sent);
        if shared.reader.kind == SessionKind::Consuming {
            shared.inner.cursors.advance(&shared.caller.agent_id, through);
        }
        if full {
            shared.reader.wake();
        }
    }

    /// Everything for this client up to here was taken for sending.
    pub fn served_through(&self) -> Sequence {
        let shared = &self.0;
        if !shared.catching_up.load(Ordering::Acquire) {
            // First the mark, then the queue: what is routed after the mark was read does not matter.
            let routed = shared.inner.routed();
            if shared.reader.is_drained() {
                shared.served.fetch_max(routed.get(), Ordering::AcqRel);
            }
        }
        Sequence::new(shared.served.load(Ordering::Acquire))
    }

    /// The client leaves: its agent is offline at once, for this reason.
    pub async fn leave(&self, reason: Option<String>) {
        if self.detach() {
            let reason = reason.unwrap_or_else(|| "disconnected".to_owned());
            let wish = Wish::Leave {
                reason: reason.chars().take(200).collect(),
            };
            let author = Source::Agent(self.0.caller.agent_id.clone());
            if let Err(error) = self.0.workspace.wish(&author, wish).await {
                tracing::debug!(%error, agent = %self.0.caller.agent_id, "could not log a leave");
            }
        }
    }

    /// Ends the session; true if it was the one that consumed for its agent.
    pub(crate) fn detach(&self) -> bool {
        let shared = &self.0;
        !shared.detached.swap(true, Ordering::AcqRel) && shared.inner.live.remove(&shared.reader)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let dropped = self.reader.dropped();
        if 0 < dropped {
            tracing::warn!(agent = %self.caller.agent_id, dropped, "a session lagged and missed ephemeral events");
        }
        if !self.detached.load(Ordering::Acquire) && self.inner.live.remove(&self.reader) {
            self.inner.live.lease(
                &self.caller.agent_id,
                Instant::now() + self.inner.settings.lease,
                Some(self.inner.settings.clock.now_ms()),
            );
        }
    }
}

impl Shared {
    fn sent(&self) -> MutexGuard<'_, VecDeque<Sequence>> {
        self.sent.lock().expect("poisoned")
    }
}

impl Deliveries {
    /// What there is for the client, at least one thing; waits for it.
    ///
    /// # Cancel safety
    ///
    /// Events are not lost when the future is dropped half-way. The answers to publishes and the question for a sign of
    /// life may be: a session that publishes keeps the future until it resolves, or drops the session with it.
    pub async fn next(&mut self) -> Vec<Outgoing> {
        loop {
            let here = self.here().await;
            if !here.is_empty() {
                return here;
            }
            self.session.0.reader.changed().await;
        }
    }

    /// What there is for the client now, the backlog included; empty when there is nothing.
    ///
    /// # Cancel safety
    ///
    /// As for [`Deliveries::next`].
    pub(crate) async fn here(&mut self) -> Vec<Outgoing> {
        let session = self.session.clone();
        let shared = &*session.0;
        loop {
            let after = self.catch_up.as_ref().map(|catch_up| catch_up.after);
            if let Some(notice) = self.tell_removed(shared, after) {
                return vec![notice];
            }
            if let Some(backlog) = self.backlog {
                let planned = self.plan(shared, backlog).await;
                self.backlog = None;
                match planned {
                    Ok(Some(notice)) => return vec![notice],
                    Ok(None) => {}
                    Err(error) => return vec![failed(&error)],
                }
            }
            let room = shared.window - shared.sent().len();
            let taken = shared.reader.take(if self.catch_up.is_some() { 0 } else { room });
            let mut outgoing = Vec::with_capacity(taken.answers.len() + taken.events.len());
            shared.in_flight.fetch_sub(taken.answers.len(), Ordering::Relaxed);
            outgoing.extend(
                taken
                    .answers
                    .into_iter()
                    .map(|(id, outcome)| Outgoing::Published(id, outcome)),
            );
            if taken.probe {
                outgoing.push(Outgoing::Probe);
            }
            if let Some(dismissal) = taken.dismissal {
                // What the workspace says at its end is for the session; what is left of a session that was replaced
                // is for the one that took over.
                if dismissal.code == ErrorCode::ShuttingDown {
                    for commit in taken.events {
                        self.offer(shared, &commit, &mut outgoing);
                    }
                }
                outgoing.push(Outgoing::End(dismissal));
                return outgoing;
            }
            for commit in taken.events {
                self.offer(shared, &commit, &mut outgoing);
            }
            if self.catch_up.is_none() && taken.lagging && taken.drained {
                self.fall_back(shared);
            }
            if outgoing.is_empty() && self.catch_up.is_some() && 0 < room {
                match self.read(shared, room.min(PAGE)).await {
                    Ok(commits) => {
                        // What was removed while it was read is missing there.
                        outgoing.extend(self.tell_removed(shared, after));
                        for commit in commits {
                            self.offer(shared, &commit, &mut outgoing);
                        }
                        self.arrive(shared);
                    }
                    Err(error) => outgoing.push(failed(&error)),
                }
                if outgoing.is_empty() {
                    continue;
                }
            }
            return outgoing;
        }
    }

    /// Puts a record into what goes out, unless it went out before.
    fn offer(&mut self, shared: &Shared, commit: &Arc<Commit>, outgoing: &mut Vec<Outgoing>) {
        let sequence = commit.sequence();
        if sequence != Sequence::ZERO {
            if sequence <= self.position {
                return;
            }
            self.position = sequence;
            shared.served.fetch_max(sequence.get(), Ordering::AcqRel);
            shared.sent().push_back(sequence);
        }
        outgoing.push(Outgoing::Event(Delivered {
            commit: Arc::clone(commit),
            agent_id: shared.caller.agent_id.clone(),
        }));
    }

    /// The queue overflowed: goes on from the log, and takes part in live delivery for what comes after.
    fn fall_back(&mut self, shared: &Shared) {
        shared.catching_up.store(true, Ordering::Release);
        shared.reader.go_live();
        // Live again first, then the head: what is committed later than this head is pushed.
        let through = shared.inner.committed.load().head;
        self.catch_up = Some(CatchUp {
            after: self.position,
            through,
            personal_before: Sequence::ZERO,
        });
    }

    /// Ends the catching up when it has reached its end.
    fn arrive(&mut self, shared: &Shared) {
        if let Some(catch_up) = &self.catch_up {
            shared.served.fetch_max(catch_up.after.get(), Ordering::AcqRel);
            if catch_up.through <= catch_up.after {
                self.position = self.position.max(catch_up.through);
                self.catch_up = None;
                shared.catching_up.store(false, Ordering::Release);
            }
        }
    }

    /// Tells which of what this client is to get by catching up after a sequence is removed; none when that is nothing,
    /// or nothing new.
    fn tell_removed(&mut self, shared: &Shared, after: Option<Sequence>) -> Option<Outgoing> {
        let after = after?;
        let snapshot = shared.inner.committed.load();
        let state = &snapshot.state;
        if state.horizons.moves == self.told.moves {
            return None;
        }
        self.told.moves = state.horizons.moves;
        let agent_id = &shared.caller.agent_id;
        let since = state.agents.get(agent_id).map(|agent| agent.first_sequence);
        let after = after.max(since.unwrap_or_default());
        let channels = state
            .horizons
            .channels()
            .filter(|(channel, through)| after < *through && may_read_history(state, agent_id, channel));
        let own = [Address::Agent(agent_id.clone()), Address::Everyone];
        let own = own.into_iter().map(|place| {
            let through = state.horizons.of(&place);
            (place, through)
        });
        let news: Vec<(Address, Sequence)> = channels
            .map(|(channel, through)| (Address::Channel(channel.clone()), through))
            .chain(own)
            .filter(|(place, through)| {
                after < *through && self.told.horizons.get(place).is_none_or(|told| told < through)
            })
            .collect();
        let last = news.iter().map(|(_, through)| *through).max()?;
        let places: Vec<_> = news
            .iter()
            .map(|(place, through)| serde_json::json!({"place": place.to_string(), "through": through.get()}))
            .collect();
        let payload = serde_json::json!({"after": after.get(), "through": last.get(), "places": places});
        self.told.horizons.extend(news);
        let notice = notice(
            "system.history.removed",
            Address::Agent(agent_id.clone()),
            payload.into(),
            shared.inner.settings.clock.now_ms(),
        );
        Some(Outgoing::Event(Delivered {
            commit: Arc::new(notice),
            agent_id: agent_id.clone(),
        }))
    }

    /// Decides how much of what was missed is read, and sums up what is not.
    async fn plan(&mut self, shared: &Shared, backlog: Backlog) -> Result<Option<Outgoing>, StoreError> {
        let Backlog::Limited {
            max_events,
            max_age_seconds,
        } = backlog
        else {
            return Ok(None);
        };
        let Some(catch_up) = &mut self.catch_up else {
            return Ok(None);
        };
        if catch_up.through <= catch_up.after {
            return Ok(None);
        }
        let snapshot = shared.inner.committed.load_full();
        let agent_id = &shared.caller.agent_id;
        let limit = usize::try_from(max_events).unwrap_or(usize::MAX).min(100_000);
        // The index decides, so it has to be there; it follows within moments.
        let indexed = catch_up.through;
        shared.inner.indexed_through(indexed).await;
        let others = other_streams(&snapshot.state, agent_id);
        let newest = shared
            .inner
            .view
            .newest(others.clone(), catch_up.after, indexed, limit + 1)
            .await?;
        let oldest_ms = shared
            .inner
            .settings
            .clock
            .now_ms()
            .saturating_sub(max_age_seconds.saturating_mul(1000));
        let over = newest.len().saturating_sub(limit);
        let first = shared.first_since(&newest[over..], oldest_ms).await?;
        let first = first.unwrap_or_else(|| indexed.next());
        if over == 0 && newest.first().is_none_or(|oldest| first <= *oldest) {
            return Ok(None);
        }
        catch_up.personal_before = first;
        let skipped = shared
            .inner
            .view
            .count(&others, catch_up.after, first.previous())
            .await?;
        let payload = serde_json::json!({
            "skipped": skipped,
            "after": catch_up.after.get(),
            "before": first.get(),
        });
        let now_ms = shared.inner.settings.clock.now_ms();
        let notice = notice(
            "system.backlog.skipped",
            Address::Agent(agent_id.clone()),
            payload.into(),
            now_ms,
        );
        Ok(Some(Outgoing::Event(Delivered {
            commit: Arc::new(notice),
            agent_id: agent_id.clone(),
        })))
    }

    /// Reads the next page of the catching up.
    async fn read(&mut self, shared: &Shared, limit: usize) -> Result<Vec<Arc<Commit>>, StoreError> {
        let Some(catch_up) = &mut self.catch_up else {
            return Ok(Vec::new());
        };
        let reach = Reach {
            after: catch_up.after,
            through: catch_up.through,
            personal_before: catch_up.personal_before,
            limit,
            bytes: PAGE_BYTES,
            reading: shared.reader.reading,
        };
        let page = shared
            .inner
            .read_for(&shared.caller.agent_id, shared.reader.kind, &reach)
            .await?;
        catch_up.after = page.through;
        Ok(page.commits)
    }
}

impl Inner {
    /// A position in another log as one in this log: as far as both have the same records; none where that is unknown.
    fn position(&self, after: Option<Sequence>, log: Option<&str>) -> Option<Sequence> {
        let after = after?;
        match log {
            None => Some(after),
            Some(log) => {
                let shared = self.lineage.shared_with(log.parse().ok()?)?;
                Some(after.min(shared))
            }
        }
    }
}

impl Shared {
    /// The first of these sequences, ascending, whose record is not older.
    async fn first_since(
        &self,
        sequences: &[Sequence],
        oldest_ms: u64,
    ) -> Result<Option<Sequence>, StoreError> {
        // Times rise with sequences but for steps of the clock, so halving finds the place in few reads.
        let (mut low, mut high) = (0, sequences.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            let record = self.inner.log.read_at(vec![sequences[middle]]).await?.pop();
            if record.is_some_and(|record| record.header.time_ms < oldest_ms) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(sequences.get(low).copied())
    }
}

/// A stretch of the log for one reader.
#[derive(Debug)]
pub(crate) struct Reach {
    pub(crate) after: Sequence,
    pub(crate) through: Sequence,
    /// Before this sequence only what is addressed to the agent itself.
    pub(crate) personal_before: Sequence,
    pub(crate) limit: usize,
    /// The bytes with which a part ends, where it has more than one.
    pub(crate) bytes: usize,
    /// What the rights of the reader let it read.
    pub(crate) reading: Reading,
}

/// A part of such a stretch.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) commits: Vec<Arc<Commit>>,
    /// Everything up to here was looked at.
    pub(crate) through: Sequence,
}

impl Inner {
    /// Reads what an agent is entitled to and wants, in log order: from memory where that reaches back far enough,
    /// otherwise through the index.
    pub(crate) async fn read_for(
        &self,
        agent_id: &AgentId,
        kind: SessionKind,
        reach: &Reach,
    ) -> Result<Page, StoreError> {
        let state = &self.committed.load_full().state;
        let wanted = |commit: &Commit| {
            let header = commit.header();
            let in_reach = reach.personal_before <= commit.sequence() || is_personal(header, agent_id);
            in_reach
                && reach.reading.includes(header)
                && match kind {
                    SessionKind::Watching => watches(state, agent_id, commit),
                    SessionKind::Consuming => {
                        let agent = state.agents.get(agent_id);
                        may_receive(state, agent_id, &commit.record)
                            && agent.is_none_or(|agent| is_selected(agent, agent_id, header))
                    }
                }
        };
        if let Some(kept) = self.recent.after(reach.after, SCAN) {
            let exhausted = kept.len() < SCAN;
            let mut page = Page {
                commits: Vec::new(),
                through: reach.after,
            };
            let mut bytes = 0;
            for kept in kept {
                let sequence = kept.commit.sequence();
                if reach.through < sequence {
                    break;
                }
                page.through = sequence;
                if !kept.streams.is_empty() && wanted(&kept.commit) {
                    bytes += kept.bytes;
                    page.commits.push(kept.commit);
                    if page.commits.len() == reach.limit || reach.bytes <= bytes {
                        return Ok(page);
                    }
                }
            }
            if exhausted || reach.through <= page.through {
                page.through = reach.through;
            }
            return Ok(page);
        }
        let mut through = reach.through.min(self.recent.floor());
        let mut streams = personal_streams(agent_id);
        if reach.personal_before <= reach.after.next() {
            streams.extend(other_streams(state, agent_id));
        } else {
            through = through.min(reach.personal_before.previous());
        }
        let sequences = self
            .view
            .merge(streams, reach.after, through, reach.limit)
            .await?;
        if sequences.len() == reach.limit {
            through = sequences.last().copied().unwrap_or(through);
        }
        let (records, stopped) = self.read_some(sequences, Direction::Forward, reach.bytes).await?;
        through = stopped.unwrap_or(through);
        let commits = records
            .into_iter()
            .map(|record: Record| Arc::new(Commit::new(record)));
        Ok(Page {
            commits: commits.filter(|commit| wanted(commit)).collect(),
            through,
        })
    }
}

/// The streams whose events a backlog always has.
fn personal_streams(agent_id: &AgentId) -> Vec<Stream> {
    vec![
        Stream::Inbox(agent_id.clone()),
        Stream::Mentions(agent_id.clone()),
    ]
}

/// The other streams of an agent: its channels, and what goes to everyone.
fn other_streams(state: &State, agent_id: &AgentId) -> Vec<Stream> {
    let channels = state
        .channels
        .iter()
        .filter(|(_, channel)| state.in_channel(agent_id, channel));
    channels
        .map(|(name, _)| Stream::Channel(name.clone()))
        .chain([Stream::Everyone])
        .collect()
}

fn failed(error: &StoreError) -> Outgoing {
    tracing::error!(%error, "reading for a session failed");
    let message = "the log could not be read; connect again".to_owned();
    Outgoing::End(Dismissal {
        code: ErrorCode::StorageUnavailable,
        message,
    })
}
