//! The loop guard: agents that answer each other for ever are stopped before they cost a fortune.
//!
//! Messages that run into a limit are held: stored, and kept from their readers until somebody releases them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use openagents_protocol::call::{HeldMessage, HeldMessages, Unblock, Unblocked};
use openagents_protocol::record::{Act, Body, Record};
use openagents_protocol::{
    Address, AgentId, ErrorBody, ErrorCode, EventId, EventName, Header, Sequence, Source,
};
use openagents_store::view::{Bounds, Direction, EventKind, Stream};
use openagents_store::{Entry, Error as StoreError};
use serde_json::json;

use crate::calls::{seconds, unreadable};
use crate::decide::Wish;
use crate::workspace::{Caller, Workspace};

/// Held messages told and released at once.
const MOST_HELD: usize = 1000;

/// The limits of the loop guard.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoopGuard {
    /// The longest chain of messages in which each was caused by the one before. Default 40.
    ///
    /// A message has a cause where its sender said so: the client does for everything that is sent from inside a
    /// handler, and `response_to` and the message replied to count too.
    pub max_hops: u32,
    /// A chain that rested for this long begins anew. Default 1 h.
    pub forget_after: Duration,
    /// The most messages of two agents to each other, in turn and without a known cause, within
    /// [`LoopGuard::PAIR_WINDOW`]. Default 1,000: more than people or models write. Who asks and is answered is no
    /// loop however fast it is, since the answers have a cause and the questions do not follow from them.
    pub max_turns: u32,
    /// The most messages in one thread within ten minutes, of those with two or more causes before them. Default
    /// 1,000.
    pub max_in_thread: u32,
    /// The most messages of one agent in one chain within ten minutes, of those with two or more causes before them.
    /// Default 100. It stops what grows sideways: many agents that each answer everybody.
    pub max_in_chain: u32,
}

impl LoopGuard {
    /// The time in which the turns of two agents are counted.
    pub const PAIR_WINDOW: Duration = Duration::from_secs(10);
    const THREAD_WINDOW: Duration = Duration::from_mins(10);
    const CHAIN_WINDOW: Duration = Duration::from_mins(10);

    /// Hops up to which a message is a plain answer, and counted for its chain only.
    const ANSWER_HOPS: u32 = 1;
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

/// The limit that a message ran into.
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

/// Two agents, the one whose id sorts first in front.
type Pair = (AgentId, AgentId);

/// What is counted for each limit. Forgotten by a restart, since it looks back for minutes only.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// By pair.
    turns: Windows<Pair>,
    /// Who of a pair wrote last, where that had no known cause.
    last: HashMap<Pair, AgentId>,
    threads: Windows<EventId>,
    /// By the agent and the first event of the chain.
    chains: Windows<(AgentId, EventId)>,
    /// Loops that were told of, and when.
    told: HashMap<String, u64>,
}

/// Keys counted at once; beyond it all are forgotten, which lets a loop go on for a little longer.
const MOST_KEYS: usize = 50_000;

impl Counters {
    /// Counts a message, and says which limit it runs into.
    pub(crate) fn check(&mut self, guard: &LoopGuard, header: &Header) -> Option<Limit> {
        let sender = header.source.agent()?;
        let now_ms = header.time_ms;
        if guard.max_hops < header.hops {
            return Some(Limit::Hops);
        }
        if let Address::Agent(addressee) = &header.destination
            && self.is_uncaused_turn(sender, addressee, header.hops)
            && self.turns.exceed(
                pair(sender, addressee),
                now_ms,
                LoopGuard::PAIR_WINDOW,
                guard.max_turns,
            )
        {
            return Some(Limit::Pair);
        }
        if header.hops <= LoopGuard::ANSWER_HOPS {
            return None;
        }
        if let Some(thread) = header.thread.clone()
            && self
                .threads
                .exceed(thread, now_ms, LoopGuard::THREAD_WINDOW, guard.max_in_thread)
        {
            return Some(Limit::Thread);
        }
        let root = header.root.clone()?;
        let exceeded = self.chains.exceed(
            (sender.clone(), root),
            now_ms,
            LoopGuard::CHAIN_WINDOW,
            guard.max_in_chain,
        );
        exceeded.then_some(Limit::Agent)
    }

    /// Whether the other one wrote before, and neither said why.
    fn is_uncaused_turn(&mut self, sender: &AgentId, addressee: &AgentId, hops: u32) -> bool {
        let pair = pair(sender, addressee);
        if 0 < hops {
            self.last.remove(&pair);
            return false;
        }
        if MOST_KEYS <= self.last.len() {
            self.last.clear();
        }
        let before = self.last.insert(pair, sender.clone());
        before.is_some_and(|before| before != *sender)
    }

    /// Whether this loop is to be told of: not again for an hour.
    pub(crate) fn is_news(&mut self, header: &Header, limit: Limit) -> bool {
        const HOUR_MS: u64 = 60 * 60 * 1000;
        let key = match (limit, &header.root, &header.thread) {
            (Limit::Hops, Some(root), _) => format!("hops {root}"),
            (Limit::Thread, _, Some(thread)) => format!("thread {thread}"),
            (Limit::Agent, ..) => format!("agent {}", header.source),
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

fn pair(one: &AgentId, other: &AgentId) -> Pair {
    let (first, second) = if one <= other { (one, other) } else { (other, one) };
    (first.clone(), second.clone())
}

/// How often something happened lately, by key. What each key costs does not grow with what is counted.
#[derive(Debug)]
struct Windows<K>(HashMap<K, Window>);

/// Counts of the window that runs and of the one before it, which fades out meanwhile.
#[derive(Debug, Default)]
struct Window {
    /// Number of the window that runs, counted from 1970.
    number: u64,
    before: u64,
    count: u64,
}

impl<K> Default for Windows<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + std::hash::Hash> Windows<K> {
    /// Counts one more, and says whether there are more than `most` within the window.
    fn exceed(&mut self, key: K, now_ms: u64, length: Duration, most: u32) -> bool {
        if MOST_KEYS <= self.0.len() && !self.0.contains_key(&key) {
            self.0.clear();
        }
        let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX).max(1);
        let (number, elapsed_ms) = (now_ms / length_ms, now_ms % length_ms);
        let window = self.0.entry(key).or_default();
        if window.number != number {
            let follows = window.number.checked_add(1) == Some(number);
            window.before = if follows { window.count } else { 0 };
            window.number = number;
            window.count = 0;
        }
        window.count += 1;
        let fading = window.before * (length_ms - elapsed_ms) / length_ms;
        u64::from(most) < fading + window.count
    }
}

/// Tells those concerned that messages are held: the members of the channel, or the two sides.
pub(crate) fn notices(header: &Header, limit: Limit) -> Vec<Entry> {
    let destinations = match (&header.destination, header.source.agent()) {
        (Address::Agent(addressee), Some(sender)) if addressee != sender => {
            vec![Address::Agent(sender.clone()), Address::Agent(addressee.clone())]
        }
        (destination, _) => vec![destination.clone()],
    };
    let payload = json!({
        "limit": limit.as_str(),
        "message_id": header.event_id.as_str(),
        "root": header.root.as_ref().map(EventId::as_str),
        "sender_id": header.source.as_str(),
        "destination_id": header.destination.to_string(),
        "text": "This looks like agents that answer each other for ever, so their messages are held. \
                 A moderator sees them with `openagents held` and delivers them with `openagents unblock`.",
    });
    let body = Body {
        payload: payload.into(),
        ..Body::empty()
    };
    let tell = |destination| {
        let name: EventName = "system.loop.held".parse().expect("a valid name");
        let header = Header::new(
            name,
            Source::System,
            destination,
            header.time_ms,
            Act::Event {},
            &body,
        );
        Entry {
            header,
            body: body.clone(),
        }
    };
    destinations.into_iter().map(tell).collect()
}

impl Workspace {
    /// The messages that are held, oldest first.
    ///
    /// # Errors
    ///
    /// `forbidden` unless the caller moderates.
    pub async fn list_held(&self, caller: &Caller) -> Result<HeldMessages, ErrorBody> {
        let held = self.held(caller).await?;
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
        inner.indexed_through(self.head()).await;
        let read = async {
            let page = inner
                .view
                .page(Stream::Held, Bounds::default(), Direction::Backward, 0, MOST_HELD);
            let records = inner.log.read_at(page.await?).await?;
            let ids = records.iter().map(|record| record.header.event_id.clone());
            let found = inner.view.find(ids.collect()).await?;
            let held = found.into_iter().filter(|found| found.kind == EventKind::Held);
            let held: HashSet<Sequence> = held.map(|found| found.sequence).collect();
            let still = records
                .into_iter()
                .filter(|record| held.contains(&record.sequence));
            Ok(still.collect())
        };
        read.await.map_err(|error: StoreError| unreadable(&error))
    }
}
