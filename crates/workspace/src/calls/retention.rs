//! What is removed when it is old or too much, told.

use std::time::Duration;

use openagents_protocol::call::{GetRetention, HoldUp, Kept, RetainedPlace, RetentionInfo, RetentionLimits};
use openagents_protocol::{Address, ErrorBody, Sequence};

use super::{require_admin, seconds, unreadable};
use crate::retention::{Due, HeldUp, Keep, Retention, Totals, Unread};
use crate::state::{Presence, State};
use crate::workspace::{Caller, Workspace};

/// The most places that are told.
const MAX_PLACES: usize = 1_000;

impl Workspace {
    /// What is kept, what is removed, and what would be removed now; see [`GetRetention`].
    ///
    /// # Errors
    ///
    /// `forbidden` for anybody but an admin, and when the store cannot be read.
    pub async fn get_retention(
        &self,
        caller: &Caller,
        asked: &GetRetention,
    ) -> Result<RetentionInfo, ErrorBody> {
        require_admin(caller, "asks what is removed")?;
        let mut retention = self.settings().retention.clone();
        let keep = &mut retention.workspace;
        keep.max_age = asked.keep_for_seconds.map(Duration::from_secs).or(keep.max_age);
        keep.max_events = asked.keep_events.or(keep.max_events);
        keep.max_bytes = asked.keep_bytes.or(keep.max_bytes);
        self.describe_retention(&retention).await
    }

    /// What these rules keep and would remove now, whatever the workspace was opened with.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn describe_retention(&self, retention: &Retention) -> Result<RetentionInfo, ErrorBody> {
        let mut forecast = self
            .forecast(retention)
            .await
            .map_err(|error| unreadable(&error))?
            .places;
        let snapshot = self.snapshot();
        for (place, _) in snapshot.state.horizons.all() {
            forecast.entry(place).or_default();
        }
        let sum = |of: fn(&Due) -> u64| forecast.values().map(of).sum();
        let (due_events, due_bytes) = (sum(|due| due.events), sum(|due| due.bytes));
        let waiting_events = sum(|due| due.waiting);
        let mut places: Vec<RetainedPlace> = forecast
            .iter()
            .map(|(place, due)| told(&snapshot.state, place, due))
            .filter(|told| told.removed_through.is_some() || 0 < told.due_events + told.waiting_events)
            .collect();
        let weight = |told: &RetainedPlace| (told.due_events, told.waiting_events);
        places.sort_unstable_by(|one, other| {
            weight(other)
                .cmp(&weight(one))
                .then_with(|| one.place.cmp(&other.place))
        });
        places.truncate(MAX_PLACES);
        let Totals {
            events,
            bytes,
            last_run_ms,
            held_up_by,
        } = self.removed_so_far();
        Ok(RetentionInfo {
            limits: limits(retention),
            due_events,
            due_bytes,
            waiting_events,
            places,
            removed_events: events,
            removed_bytes: bytes,
            last_run: last_run_ms.map(seconds),
            held_up_by: held_up_by.len() as u64,
        })
    }
}

fn told(state: &State, place: &Address, due: &Due) -> RetainedPlace {
    let through = state.horizons.of(place);
    RetainedPlace {
        place: place.to_string(),
        removed_through: (through != Sequence::ZERO).then_some(through),
        due_events: due.events,
        due_bytes: due.bytes,
        waiting_events: due.waiting,
        held_up_by: due.held_up_by.as_ref().map(|held| hold_up(state, held)),
    }
}

fn hold_up(state: &State, held: &HeldUp) -> HoldUp {
    let agent = state.agents.get(&held.agent);
    HoldUp {
        agent_id: held.agent.to_string(),
        acknowledged: held.acknowledged,
        since: seconds(held.since_ms),
        online: agent.is_some_and(|agent| agent.presence == Presence::Online),
        last_seen: agent.map_or(0.0, |agent| seconds(agent.last_seen_ms)),
    }
}

fn limits(retention: &Retention) -> RetentionLimits {
    let channels = retention.channels.iter();
    RetentionLimits {
        workspace: kept(&retention.workspace),
        each_channel: kept(&retention.each_channel),
        channels: channels
            .map(|(name, keep)| (name.to_string(), kept(keep)))
            .collect(),
        files_for_seconds: retention.files.map(|age| age.as_secs()),
        unread: match retention.unread {
            Unread::Kept => "kept",
            Unread::Removed => "removed",
        }
        .to_owned(),
        away_seconds: retention.away.as_secs(),
        at_least_seconds: retention.at_least.as_secs(),
        every_seconds: retention.every.as_secs(),
    }
}

fn kept(keep: &Keep) -> Kept {
    Kept {
        max_age_seconds: keep.max_age.map(|age| age.as_secs()),
        max_events: keep.max_events,
        max_bytes: keep.max_bytes,
    }
}
