//! Who comes and goes: leases that bridge drops, and announcements that do not grow into a storm.

use std::sync::{Arc, Mutex};

use openagents_protocol::record::{Act, Body, Record};
use openagents_protocol::{Address, EventName, Header, Json, Sequence, Source};
use tokio::time::{Duration, Instant};

use crate::commit::Commit;
use crate::decide::Wish;
use crate::live::Waking;
use crate::state::State;
use crate::workspace::{Inner, Workspace};

/// Deliveries of joins and leaves told one by one in a second. Over it they are summed up too: a hundred joins a second
/// are nothing for ten agents, and a million deliveries for ten thousand.
const MAX_DELIVERIES: u64 = 10_000;

/// Tells joins and leaves one by one up to a rate, and sums up what is over it.
#[derive(Debug)]
pub(crate) struct Presence {
    per_second: u32,
    /// Guards the count of the current second.
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    told: u32,
    /// To how many readers those went.
    delivered: u64,
    joined: u64,
    left: u64,
}

impl Presence {
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            per_second,
            window: Mutex::new(Window {
                since: Instant::now(),
                told: 0,
                delivered: 0,
                joined: 0,
                left: 0,
            }),
        }
    }

    /// Tells a join or leave to who is connected, unless too many were told in this second: then one
    /// `system.presence.changed` event sums up the rest when the second is over.
    pub(crate) fn announce(
        &self,
        inner: &Arc<Inner>,
        state: &State,
        commit: &Arc<Commit>,
        waking: &mut Waking,
    ) -> u64 {
        let mut window = self.window.lock().expect("poisoned");
        let now = Instant::now();
        let waiting = 0 < window.joined + window.left;
        if !waiting && Duration::from_secs(1) <= now - window.since {
            (window.since, window.told, window.delivered) = (now, 0, 0);
        }
        if !waiting && window.told < self.per_second && window.delivered < MAX_DELIVERIES {
            window.told += 1;
            drop(window);
            let readers = inner.live.route(state, commit, waking);
            self.window.lock().expect("poisoned").delivered += readers;
            return readers;
        }
        match commit.header().act {
            Act::AgentJoined { .. } => window.joined += 1,
            _ => window.left += 1,
        }
        if !waiting {
            let end = window.since + Duration::from_secs(1);
            let inner = Arc::clone(inner);
            let closing = inner.closing.clone();
            inner.tracker.clone().spawn(async move {
                tokio::select! {
                    () = closing.cancelled() => {}
                    () = tokio::time::sleep_until(end) => inner.presence.sum_up(&inner),
                }
            });
        }
        0
    }

    fn sum_up(&self, inner: &Inner) {
        let (joined, left) = {
            let mut window = self.window.lock().expect("poisoned");
            let counts = (window.joined, window.left);
            *window = Window {
                since: Instant::now(),
                told: 0,
                delivered: 0,
                joined: 0,
                left: 0,
            };
            counts
        };
        let snapshot = inner.committed.load();
        let payload = serde_json::json!({
            "joined": joined,
            "left": left,
            "online": snapshot.state.online,
        });
        let notice = notice(
            "system.presence.changed",
            Address::Everyone,
            payload.into(),
            inner.settings.clock.now_ms(),
        );
        let mut waking = Waking::default();
        inner.live.route(&snapshot.state, &Arc::new(notice), &mut waking);
        waking.wake();
    }
}

/// An ephemeral event of the workspace itself.
pub(crate) fn notice(name: &'static str, destination: Address, payload: Json, time_ms: u64) -> Commit {
    let name: EventName = name.parse().expect("a valid name");
    let body = Body {
        payload,
        ..Body::empty()
    };
    let header = Header::new(name, Source::System, destination, time_ms, Act::Event {}, &body);
    Commit::new(Record {
        sequence: Sequence::ZERO,
        header,
        body: Some(body),
    })
}

/// Ends leases when they are over: sleeps until the next one ends, or one is added.
pub(crate) async fn keep_leases(workspace: Workspace) {
    let inner = workspace.inner();
    loop {
        let next = inner.live.next_lease();
        let end = async {
            match next {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = inner.closing.cancelled() => return,
            () = inner.live.leases_changed.notified() => {}
            () = end => {
                for agent_id in inner.live.expired(Instant::now()) {
                    let leave = Wish::Leave { reason: "lease_expired".to_owned() };
                    if workspace.wish(&Source::Agent(agent_id.clone()), leave).await.is_err() {
                        // Not committed now: the agent stays online for another lease.
                        inner.live.lease(&agent_id, Instant::now() + inner.settings.lease, None);
                    }
                }
            }
        }
    }
}
