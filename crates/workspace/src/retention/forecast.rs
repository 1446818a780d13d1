//! What would be removed now, for those who ask.

use std::collections::HashMap;

use openagents_protocol::record::Record;
use openagents_protocol::{Address, AgentId, Sequence};
use openagents_store::Error as StoreError;
use openagents_store::view::{Bounds, Direction};

use super::plan::Overdue;
use super::{BATCH, BATCH_BYTES, Keep, Retention, Round, millis, place_of, stream_of};
use crate::commit::bytes_of;
use crate::state::{State, is_built_from};
use crate::workspace::{Inner, Workspace};

/// What would be removed, by place.
#[derive(Debug, Default)]
pub(crate) struct Forecast {
    pub(crate) places: HashMap<Address, Due>,
}

/// What would be removed of a place.
#[derive(Debug, Default)]
pub(crate) struct Due {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    /// Events that somebody has not read.
    pub(crate) waiting: u64,
    pub(crate) held_up_by: Option<HeldUp>,
    /// Everything through here was looked at.
    through: Sequence,
}

/// Who has not read what is due.
#[derive(Debug)]
pub(crate) struct HeldUp {
    pub(crate) agent: AgentId,
    pub(crate) acknowledged: Sequence,
    /// When the oldest that it has not read was sent.
    pub(crate) since_ms: u64,
}

impl Due {
    /// Takes a record that is due into account; true if nobody needs it.
    fn take(&mut self, record: &Record, floor: Option<(Sequence, &AgentId)>) -> bool {
        self.through = record.sequence;
        if is_built_from(&record.header.act) {
            return true;
        }
        match floor {
            Some((acknowledged, agent)) if acknowledged < record.sequence => {
                self.waiting += 1;
                self.held_up_by.get_or_insert_with(|| HeldUp {
                    agent: agent.clone(),
                    acknowledged,
                    since_ms: record.header.time_ms,
                });
                false
            }
            _ => {
                self.events += 1;
                self.bytes += bytes_of(record) as u64;
                true
            }
        }
    }
}

impl Workspace {
    /// What these rules would remove now. What is due is read for it, a part at a time; one such look or removal is made
    /// at once.
    pub(crate) async fn forecast(&self, retention: &Retention) -> Result<Forecast, StoreError> {
        let inner = self.inner();
        let _alone = inner.removing.lock().await;
        let round = inner.begin_round(retention);
        let snapshot = self.snapshot();
        let places: Vec<Address> = inner.view.places().await?.iter().filter_map(place_of).collect();
        let mut forecast = Forecast::default();
        for place in &places {
            let due = inner
                .forecast_at(place, retention, &round, &snapshot.state)
                .await?;
            forecast.places.insert(place.clone(), due);
        }
        inner
            .forecast_all(&places, retention, &round, &snapshot.state, &mut forecast)
            .await?;
        Ok(forecast)
    }
}

impl Inner {
    async fn forecast_at(
        &self,
        place: &Address,
        retention: &Retention,
        round: &Round,
        state: &State,
    ) -> Result<Due, StoreError> {
        let (keep, stream) = (retention.at(place), stream_of(place));
        let mut due = Due::default();
        if keep.is_everything() {
            return Ok(due);
        }
        let streams = std::slice::from_ref(&stream);
        let there = self.view.count(streams, Sequence::ZERO, Sequence::MAX).await?;
        let mut overdue = Overdue {
            age: keep.max_age.map(|age| round.now_ms.saturating_sub(millis(age))),
            excess: keep.max_events.map_or(0, |most| there.saturating_sub(most)),
            beyond: match keep.max_bytes {
                Some(bytes) => self.last_beyond(stream.clone(), round.reach, bytes).await?,
                None => Sequence::ZERO,
            },
            at_least: round.now_ms.saturating_sub(millis(retention.at_least)),
        };
        let floor = round.laggards.floor(state, place);
        while !self.closing.is_cancelled() {
            let bounds = Bounds {
                after: due.through,
                before: round.reach.next(),
            };
            let page = self
                .view
                .page(stream.clone(), bounds, Direction::Forward, 0, BATCH);
            let records = self
                .log
                .read_some(page.await?, Direction::Forward, BATCH_BYTES)
                .await?;
            let count = overdue.of(&records);
            for record in &records[..count] {
                due.take(record, floor);
            }
            overdue.excess = overdue.excess.saturating_sub(count as u64);
            if records.is_empty() || count < records.len() {
                break;
            }
        }
        Ok(due)
    }

    /// What is too much of everything together, beside what is due already.
    async fn forecast_all(
        &self,
        places: &[Address],
        retention: &Retention,
        round: &Round,
        state: &State,
        forecast: &mut Forecast,
    ) -> Result<(), StoreError> {
        let Keep {
            max_events,
            max_bytes,
            ..
        } = retention.workspace;
        if max_events.is_none() && max_bytes.is_none() {
            return Ok(());
        }
        let shared = places.iter().filter(|place| retention.own(place).is_none());
        let streams: Vec<_> = shared.clone().map(stream_of).collect();
        let there = self.view.count(&streams, Sequence::ZERO, Sequence::MAX).await?;
        let due = |of: fn(&Due) -> u64| -> u64 {
            shared
                .clone()
                .filter_map(|place| forecast.places.get(place))
                .map(of)
                .sum()
        };
        let (events, bytes) = (due(|due| due.events), due(|due| due.bytes));
        let mut too_many = max_events.map_or(0, |most| there.saturating_sub(events).saturating_sub(most));
        let mut too_large = match max_bytes {
            Some(most) => self.log.size().await?.saturating_sub(bytes).saturating_sub(most),
            None => 0,
        };
        let at_least = round.now_ms.saturating_sub(millis(retention.at_least));
        let mut after = Sequence::ZERO;
        while !self.closing.is_cancelled() && (0 < too_many || 0 < too_large) {
            let page = self
                .view
                .merge(streams.clone(), after, round.reach, BATCH)
                .await?;
            let records = self.log.read_some(page, Direction::Forward, BATCH_BYTES).await?;
            let Some(last) = records.last() else { break };
            after = last.sequence;
            for record in &records {
                if at_least <= record.header.time_ms || (too_many == 0 && too_large == 0) {
                    return Ok(());
                }
                let place = &record.header.destination;
                let due = forecast.places.entry(place.clone()).or_default();
                if due.through < record.sequence && due.take(record, round.laggards.floor(state, place)) {
                    too_many = too_many.saturating_sub(1);
                    too_large = too_large.saturating_sub(bytes_of(record) as u64);
                }
            }
        }
        Ok(())
    }
}
