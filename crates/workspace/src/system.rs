//! What the workspace tells of itself, to those sessions that follow it: `system.network.*`, `system.mod.*` and
//! `system.heartbeat`. And what it tells its observers.

use std::sync::Arc;

use openagents_protocol::record::Act;
use openagents_protocol::{Address, Json};
use serde_json::json;

use crate::calls::{mods, seconds};
use crate::commit::Commit;
use crate::entitlement::is_visible;
use crate::live::Waking;
use crate::presence::notice;
use crate::reader::Reader;
use crate::workspace::Inner;

impl Inner {
    /// Lets a session follow the workspace from here on, and tells it what holds now.
    pub(crate) fn follow_system(&self, reader: &Arc<Reader>) {
        if !reader.begin_following() {
            return;
        }
        let started = self.own_event(
            "system.network.started",
            self.network(("name", &self.settings.name)),
        );
        let loaded = mods().into_iter().map(|mod_info| {
            let payload = json!({"mod_name": mod_info.name});
            self.own_event("system.mod.loaded", payload.into())
        });
        let mut waking = Waking::default();
        for commit in std::iter::once(started).chain(loaded) {
            waking.push_to(reader, &Arc::new(commit));
        }
        waking.wake();
    }

    /// Tells those who follow that the workspace closes.
    pub(crate) fn say_stopping(&self) {
        for mod_info in mods() {
            let payload = json!({"mod_name": mod_info.name});
            self.tell_followers(self.own_event("system.mod.unloaded", payload.into()));
        }
        let payload = self.network(("reason", "the server is going down"));
        self.tell_followers(self.own_event("system.network.stopped", payload));
    }

    fn network(&self, (key, value): (&str, &str)) -> Json {
        json!({"network_id": self.settings.name, key: value}).into()
    }

    fn own_event(&self, name: &'static str, payload: Json) -> Commit {
        notice(name, Address::Everyone, payload, self.settings.clock.now_ms())
    }

    fn tell_followers(&self, commit: Commit) {
        let mut waking = Waking::default();
        self.live.tell_followers(&Arc::new(commit), &mut waking);
        waking.wake();
    }

    /// Tells the observers of a direct message that was delivered.
    pub(crate) fn tell_observers(&self, commit: &Commit, waking: &mut Waking) {
        let header = commit.header();
        let (Act::Message { .. }, Address::Agent(addressee)) = (&header.act, &header.destination) else {
            return;
        };
        if self.settings.observers.is_empty() {
            return;
        }
        let payload = json!({
            "sender_id": header.source.as_str(),
            "target_id": addressee.as_str(),
            "target_agent_id": addressee.as_str(),
            "message_id": header.event_id.as_str(),
            "content": commit.record.content(),
        });
        let sent = Arc::new(self.own_event("direct.message.sent", payload.into()));
        for observer in &self.settings.observers {
            let other = observer != addressee && header.source.agent() != Some(observer);
            if other && is_visible(observer, header) {
                self.live.tell(observer, &sent, waking);
            }
        }
    }
}

/// Tells those who follow, at regular times, that the workspace is there.
pub(crate) async fn beat(inner: Arc<Inner>) {
    let mut ticks = tokio::time::interval(inner.settings.heartbeat);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        tokio::select! {
            () = inner.closing.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let timestamp = seconds(inner.settings.clock.now_ms());
        let payload = json!({"timestamp": timestamp});
        inner.tell_followers(inner.own_event("system.heartbeat", payload.into()));
    }
}
