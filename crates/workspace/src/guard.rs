//! The loop guard: agents that answer each other for ever are stopped before they cost a fortune.
//!
//! Events that run into a limit are held: stored, and kept from their readers until somebody releases them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use openagents_protocol::call::{HeldMessage, HeldMessages, Unblock, Unblocked};
use openagents_protocol::record::{Act, Body, MODERATION, Record};
use openagents_protocol::{
    Address, AgentId, ChannelName, ErrorBody, ErrorCode, EventId, EventName, Header, Sequence, Source,
    Visibility,
};
use openagents_store::view::{Bounds, Direction, EventKind, Stream};
use openagents_store::{Entry, Error as StoreError};
use serde_json::json;

use crate::calls::{PAGE_BYTES, Room, seconds, unreadable};
use crate::commit::bytes_of;
use crate::decide::Wish;
use crate::entitlement::{is_visible, may_read_history};
use crate::state::State;
use crate::workspace::{Caller, Workspace};

/// Held messages told and released at once.
const MOST_HELD: usize = 1000;

/// Records looked through at once for those that are still held.
const CHUNK: usize = 256;

/// Events that are caused by fewer ones before them are not counted: an answer, and the answer to that, are no storm.
const SHALLOW: u32 = 4;

/// People told of a loop between two agents that are none of them.
const MOST_PEOPLE: usize = 100;

/// The limits of the loop guard.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoopGuard {
    /// The longest chain of events in which each was caused by the one before. Default 40.
    ///
    /// An event has a cause where its sender said so: the client does for everything that is sent from inside a
    /// handler, and `response_to` counts too. What a human writes (`"type": "human"` in its metadata) begins a new
    /// chain.
    pub max_hops: u32,
    /// A chain that rested for this long begins anew. Default 1 h.
    pub forget_after: Duration,
    /// The most messages that only two agents write in turn in one place (their conversation, a channel or a thread)
    /// within [`LoopGuard::TURNS_WINDOW`], where neither says what caused them. Default 1,000: more than people or
    /// models write. Who asks and is answered is no loop however fast it is, since the answers have a cause and the
    /// questions do not follow from them.
    pub max_turns: u32,
    /// The most messages in one thread within ten minutes that have at least four causes before them. Default 1,000.
    pub max_in_thread: u32,
    /// The most events of one agent in one chain within ten minutes that have at least four causes before them.
    /// Default 100. It stops what grows sideways: many agents that each answer everybody.
    pub max_in_chain: u32,
}

impl LoopGuard {
    /// The time in which turns are counted.
    pub const TURNS_WINDOW: Duration = Duration::from_secs(10);
    const THREAD_WINDOW: Duration = Duration::from_mins(10);
    const CHAIN_WINDOW: Duration = Duration::from_mins(10);
}

impl Default for LoopGuard {
    fn default() -> Self {
        Self {
            max_hops: 40,
            forget_after: Duration::from_hours(1),
            max_turns: 1_000,
            max_in_thread: 1_000,
            max_in_chain: 100,
        }
    }
}

/// The limit that an event ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Limit {
    Hops,
    Pair,
    Thread,
    Agent,
}

impl Limit {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Hops => "hops",
            Self::Pair => "pair",
            Self::Thread => "thread",
            Self::Agent => "agent",
        }
    }
}

/// Where messages follow each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// Between two agents, in the order of their ids.
    Conversation(AgentId, AgentId),
    Channel(ChannelName),
    Thread(EventId),
}

impl Place {
    fn of(header: &Header, sender: &AgentId) -> Option<Self> {
        let is_message = matches!(header.act, Act::Message { .. }) || header.name == "agent.message";
        match (&header.thread, &header.destination) {
            _ if !is_message => None,
            (_, Address::Agent(addressee)) if sender <= addressee => {
                Some(Self::Conversation(sender.clone(), addressee.clone()))
            }
            (_, Address::Agent(addressee)) => Some(Self::Conversation(addressee.clone(), sender.clone())),
            (Some(thread), _) => Some(Self::Thread(thread.clone())),
            (None, Address::Channel(channel)) => Some(Self::Channel(channel.clone())),
            (None, _) => None,
        }
    }
}

/// The last message in a place.
#[derive(Clone, Debug)]
struct Turn {
    author: AgentId,
    /// Who wrote before.
    other: Option<AgentId>,
    /// Whether its author said what caused it.
    caused: bool,
}

/// What is counted for each limit. Forgotten by a restart, since it looks back for minutes only.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    last: HashMap<Place, Turn>,
    turns: Rates<Place>,
    threads: Rates<EventId>,
    /// By the agent and the first event of the chain.
    chains: Rates<(AgentId, EventId)>,
    /// Loops that were told of, and when.
    told: HashMap<String, u64>,
}

/// Keys counted at once; beyond it all are forgotten, which lets a loop go on for a little longer.
const MOST_KEYS: usize = 50_000;

impl Counters {
    /// Counts an event, and says which limit it runs into.
    pub(crate) fn check(&mut self, guard: &LoopGuard, header: &Header) -> Option<Limit> {
        let sender = header.source.agent()?;
        let now_ms = header.time_ms;
        if guard.max_hops < header.hops {
            return Some(Limit::Hops);
        }
        if let Some(place) = Place::of(header, sender)
            && self.is_idle_turn(&place, sender, 0 < header.hops)
            && self
                .turns
                .exceed(place, now_ms, LoopGuard::TURNS_WINDOW, guard.max_turns)
        {
            return Some(Limit::Pair);
        }
        if header.hops < SHALLOW {
            return None;
        }
        if let Some(thread) = header.thread.clone()
            && self
                .threads
                .exceed(thread, now_ms, LoopGuard::THREAD_WINDOW, guard.max_in_thread)
        {
            return Some(Limit::Thread);
        }
        let chain = (sender.clone(), header.root.clone()?);
        let exceeded = self
            .chains
            .exceed(chain, now_ms, LoopGuard::CHAIN_WINDOW, guard.max_in_chain);
        exceeded.then_some(Limit::Agent)
    }

    /// Whether a message answers the last one in its place, as the two have been doing, and neither has a known cause.
    ///
    /// A question and its answer are no such turns: the answer says what caused it.
    fn is_idle_turn(&mut self, place: &Place, author: &AgentId, caused: bool) -> bool {
        let before = self.last.get(place);
        if before.is_some_and(|before| before.author == *author) {
            return false;
        }
        let idle = before.is_some_and(|before| {
            let same_two = before.other.as_ref().is_none_or(|other| other == author);
            same_two && !before.caused && !caused
        });
        let turn = Turn {
            author: author.clone(),
            other: before.map(|before| before.author.clone()),
            caused,
        };
        if MOST_KEYS <= self.last.len() && before.is_none() {
            self.last.clear();
        }
        self.last.insert(place.clone(), turn);
        idle
    }

    /// Whether this loop is to be told of: not again for an hour.
    pub(crate) fn is_news(&mut self, header: &Header, limit: Limit) -> bool {
        const HOUR_MS: u64 = 60 * 60 * 1000;
        let key = match (limit, &header.root, &header.thread) {
            (Limit::Hops, Some(root), _) => format!("hops {root}"),
            (Limit::Thread, _, Some(thread)) => format!("thread {thread}"),
            (Limit::Agent, Some(root), _) => format!("agent {} {root}", header.source),
            _ => {
                let mut sides = [header.source.to_string(), header.destination.to_string()];
                sides.sort_unstable();
                format!("pair {}", sides.join(" "))
            }
        };
        if MOST_KEYS <= self.told.len() {
            self.told.clear();
        }
        let before = self.told.get(&key).copied();
        let news = before.is_none_or(|before| before + HOUR_MS <= header.time_ms);
        if news {
            self.told.insert(key, header.time_ms);
        }
        news
    }

    /// What was held is released: whatever led to it is counted anew.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// How often something happened lately, by key.
///
/// Counted in windows of a fixed length; of the one before, the part that is still in reach counts.
#[derive(Debug)]
struct Rates<K>(HashMap<K, Rate>);

#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    window: u64,
    now: u32,
    before: u32,
}

impl<K> Default for Rates<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + std::hash::Hash> Rates<K> {
    /// Counts one more, and says whether there are more than `most` within the length of a window.
    fn exceed(&mut self, key: K, now_ms: u64, length: Duration, most: u32) -> bool {
        if MOST_KEYS <= self.0.len() && !self.0.contains_key(&key) {
            self.0.clear();
        }
        let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = self.0.entry(key).or_default();
        let window = now_ms / length_ms;
        if rate.window != window {
            // A clock that was set back begins anew, too.
            let follows = rate.window.checked_add(1) == Some(window);
            *rate = Rate {
                window,
                now: 0,
                before: if follows { rate.now } else { 0 },
            };
        }
        rate.now = rate.now.saturating_add(1);
        let in_reach =
            u128::from(rate.before) * u128::from(length_ms - now_ms % length_ms) / u128::from(length_ms);
        u128::from(most) < in_reach + u128::from(rate.now)
    }
}

/// Tells those concerned that events are held: the members of the channel, or the two sides. Of a loop between two
/// sides, people learn as well, though not who they are.
pub(crate) fn notices(state: &State, header: &Header, limit: Limit) -> Vec<Entry> {
    const TEXT: &str = "This looks like agents that answer each other for ever, so their messages are held. \
                        A moderator sees them with `openagents held` and delivers them with `openagents unblock`.";

    let concerned = json!({
        "limit": limit.as_str(),
        "message_id": header.event_id.as_str(),
        "root": header.root.as_ref().map(EventId::as_str),
        "sender_id": header.source.as_str(),
        "destination_id": header.destination.to_string(),
        "text": TEXT,
    });
    let (Address::Agent(addressee), Some(sender)) = (&header.destination, header.source.agent()) else {
        return vec![notice(header, header.destination.clone(), concerned)];
    };
    let mut sides = vec![sender, addressee];
    sides.dedup();
    let people = state
        .agents
        .iter()
        .filter(|(id, agent)| agent.is_human() && !sides.contains(id));
    let people: Vec<&AgentId> = people.map(|(id, _)| id).take(MOST_PEOPLE).collect();
    let others = json!({"limit": limit.as_str(), "message_id": header.event_id.as_str(), "text": TEXT});
    let told = sides.into_iter().map(|id| (id, &concerned));
    told.chain(people.into_iter().map(|id| (id, &others)))
        .map(|(id, payload)| notice(header, Address::Agent(id.clone()), payload.clone()))
        .collect()
}

/// A notice belongs to the chain that it tells of: what somebody says because of it is held like the rest.
fn notice(held: &Header, destination: Address, payload: serde_json::Value) -> Entry {
    let body = Body {
        payload: payload.into(),
        ..Body::empty()
    };
    let name: EventName = "system.loop.held".parse().expect("a valid name");
    let mut header = Header::new(
        name,
        Source::System,
        destination,
        held.time_ms,
        Act::Event {},
        &body,
    );
    header.root.clone_from(&held.root);
    header.hops = held.hops;
    if let Some(audience) = held.audience() {
        header.visibility = Visibility::Restricted;
        header.allowed_agents = Some(audience);
    }
    Entry { header, body }
}

impl Workspace {
    /// The messages that are held, oldest first.
    ///
    /// # Errors
    ///
    /// `forbidden` unless the caller moderates.
    pub async fn list_held(&self, caller: &Caller) -> Result<HeldMessages, ErrorBody> {
        let held = self.held(caller).await?;
        let snapshot = self.snapshot();
        // Who moderates a channel reads what it is to decide about; everything else is for who may read it anyhow.
        let is_told = |header: &Header, limit: &str| match &header.destination {
            Address::Channel(channel) => {
                let inside = || may_read_history(&snapshot.state, &caller.agent_id, channel);
                is_visible(&caller.agent_id, header) && (limit == MODERATION || inside())
            }
            _ => false,
        };
        let tell = |record: &Record| {
            let limit = match &record.header.act {
                Act::Held { limit, .. } => limit.clone(),
                _ => String::new(),
            };
            HeldMessage {
                message_id: record.header.event_id.to_string(),
                sequence: record.sequence,
                sender_id: record.header.source.to_string(),
                destination_id: record.header.destination.to_string(),
                content: is_told(&record.header, &limit).then(|| record.content()),
                limit,
                timestamp: seconds(record.header.time_ms),
            }
        };
        Ok(HeldMessages {
            held: held.iter().map(tell).collect(),
        })
    }

    /// Delivers messages that are held.
    ///
    /// # Errors
    ///
    /// `forbidden` unless the caller moderates, `message_not_found` where the one that is named is not held.
    pub async fn unblock(&self, caller: &Caller, params: Unblock) -> Result<Unblocked, ErrorBody> {
        let mut held = self.held(caller).await?;
        if let Some(wanted) = &params.message_id {
            held.retain(|record| record.header.event_id == *wanted);
            if held.is_empty() {
                let message = format!("message {wanted} is not held");
                return Err(ErrorBody::field(
                    ErrorCode::MessageNotFound,
                    "message_id",
                    message,
                ));
            }
        }
        let mut released = 0;
        for Record { header, body, .. } in held {
            let author = header.source.clone();
            let body = body.unwrap_or_else(Body::empty);
            let wish = Wish::Release(Box::new(Entry { header, body }));
            let receipt = self.wish(&author, wish).await?;
            released += u64::from(receipt.sequence.is_some());
        }
        Ok(Unblocked { released })
    }

    async fn held(&self, caller: &Caller) -> Result<Vec<Record>, ErrorBody> {
        if !caller.rights().moderates() {
            let message = "only moderators see and release what is held";
            return Err(ErrorBody::new(ErrorCode::Forbidden, message));
        }
        let inner = self.inner();
        inner.indexed_or_stalled(self.head()).await;
        let read = async {
            let mut held: Vec<Record> = Vec::new();
            let mut room = Room::default();
            let mut bounds = Bounds::default();
            loop {
                let page = inner
                    .view
                    .page(Stream::Held, bounds, Direction::Forward, 0, CHUNK)
                    .await?;
                let Some(last) = page.last().copied() else {
                    return Ok(held);
                };
                let read = inner.read_some(page, Direction::Forward, PAGE_BYTES).await?;
                let (records, stopped) = read;
                bounds.after = stopped.unwrap_or(last);
                let ids = records.iter().map(|record| record.header.event_id.clone());
                let found = inner.view.find(ids.collect()).await?;
                let still = found
                    .into_iter()
                    .filter(|found| found.kind == EventKind::Held && !found.deleted);
                let still: HashSet<Sequence> = still.map(|found| found.sequence).collect();
                for record in records
                    .into_iter()
                    .filter(|record| still.contains(&record.sequence))
                {
                    if held.len() == MOST_HELD || !room.take(bytes_of(&record)) {
                        return Ok(held);
                    }
                    held.push(record);
                }
            }
        };
        read.await.map_err(|error: StoreError| unreadable(&error))
    }
}
