//! What is removed because it is older or more than is to be kept. Why it is like this is told in
//! `docs/decisions/0007-retention.md`.
//!
//! What was sent to a *place* (a channel, an agent, everyone) goes oldest first, so that one sequence, the *horizon*, says
//! what is gone. A record of the log moves the horizon; then the view lists no more what is before it, and the log and the
//! search index forget it.

mod clear;
mod forecast;
mod plan;

use std::collections::{BTreeSet, HashMap};
use std::sync::MutexGuard;
use std::time::Duration;

use openagents_protocol::record::{Act, Record};
use openagents_protocol::{Address, AgentId, ChannelName, ErrorBody, Sequence, Source};
use openagents_store::Error as StoreError;
use openagents_store::view::{Bounds, Direction, Stream};
use tokio::time::MissedTickBehavior;

pub(crate) use self::forecast::{Due, HeldUp};
use self::plan::{Laggards, Overdue};
use crate::commit::bytes_of;
use crate::decide::Wish;
use crate::state::is_built_from;
use crate::workspace::{Inner, Workspace};

/// Records removed in one step: what a transaction of the log holds up others for.
const BATCH: usize = 512;

/// And about the most bytes of them in memory.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// What is removed when it is old or too much, and what is not.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Retention {
    /// What is kept of everything together but for the channels that are named here. Default all of it.
    pub workspace: Keep,
    /// What is kept in each channel that is not named. Default all of it.
    pub each_channel: Keep,
    /// What is kept in these channels, whatever the workspace says. Default none.
    pub channels: HashMap<ChannelName, Keep>,
    /// How long the content of files is kept; none: as long as the rest. Default none.
    pub files: Option<Duration>,
    /// What was not read yet. Default [`Unread::Kept`].
    pub unread: Unread,
    /// Agents that were not seen for this long need not have read what is removed. Default 30 days.
    pub away: Duration,
    /// What is younger is not too much, only too old: as long as a repeated event is known. Default 7 days.
    pub at_least: Duration,
    /// Time between two looks. Default 10 min.
    pub every: Duration,
}

/// How much is kept; what is not said is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// The oldest.
    pub max_age: Option<Duration>,
    /// The most events.
    pub max_events: Option<u64>,
    /// About the most bytes: of the whole log for a workspace, of the events for a channel.
    pub max_bytes: Option<u64>,
}

/// Whether what an agent that was seen lately has not acknowledged is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unread {
    /// It stays, however old or much it is.
    #[default]
    Kept,
    /// It goes with the rest, and the agent is told.
    Removed,
}

impl Keep {
    /// Whether everything is kept.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}

impl Retention {
    /// Whether everything is kept.
    pub fn is_everything(&self) -> bool {
        let channels = self.channels.values().all(Keep::is_everything);
        self.workspace.is_everything()
            && self.each_channel.is_everything()
            && self.files.is_none()
            && channels
    }

    /// What is kept at a place, as far as the place itself says; none: it is like all others.
    fn own(&self, place: &Address) -> Option<&Keep> {
        match place {
            Address::Channel(channel) => self.channels.get(channel),
            _ => None,
        }
    }

    /// What is kept at a place, whatever is elsewhere.
    fn at(&self, place: &Address) -> Keep {
        if let Some(own) = self.own(place) {
            return *own;
        }
        let each = match place {
            Address::Channel(_) => self.each_channel,
            _ => Keep::default(),
        };
        let ages = [each.max_age, self.workspace.max_age];
        Keep {
            max_age: ages.into_iter().flatten().min(),
            ..each
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            workspace: Keep::default(),
            each_channel: Keep::default(),
            channels: HashMap::new(),
            files: None,
            unread: Unread::default(),
            away: Duration::from_hours(30 * 24),
            at_least: Duration::from_hours(7 * 24),
            every: Duration::from_mins(10),
        }
    }
}

/// What was removed since the workspace was opened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) events: u64,
    /// About.
    pub(crate) bytes: u64,
    /// When everything was looked at last.
    pub(crate) last_run_ms: Option<u64>,
    /// Agents that have not read what was to go then.
    pub(crate) held_up_by: BTreeSet<AgentId>,
}

/// Why something could not be removed now.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Refused(#[from] ErrorBody),
}

/// Removes what is too old or too much at regular times, until the workspace closes.
pub(crate) async fn remove_old(workspace: Workspace) {
    let inner = workspace.inner();
    let finished = {
        let _alone = inner.removing.lock().await;
        inner.finish_removals().await
    };
    if let Err(error) = finished {
        tracing::error!(%error, "what was to be removed is still there; the next start tries again");
    }
    if inner.settings.retention.is_everything() {
        return;
    }
    let mut ticks = tokio::time::interval(inner.settings.retention.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = inner.closing.cancelled() => return,
            _ = ticks.tick() => {}
        }
        workspace.apply_retention().await;
    }
}

impl Workspace {
    /// Removes what is too old or too much now; tells how many records that were.
    pub async fn apply_retention(&self) -> u64 {
        let inner = self.inner();
        let _alone = inner.removing.lock().await;
        let mut removed = 0;
        inner.totals().held_up_by.clear();
        let outcome = self.remove_everywhere(&mut removed).await;
        inner.totals().last_run_ms = Some(inner.settings.clock.now_ms());
        if removed != 0 {
            tracing::info!(records = removed, "removed what was too old or too much");
        }
        match outcome {
            Err(error) if self.is_ready() => {
                tracing::error!(%error, "what is too old or too much could not be removed; trying again later");
            }
            _ => {}
        }
        removed
    }

    /// What was removed so far.
    pub(crate) fn removed_so_far(&self) -> Totals {
        self.inner().totals().clone()
    }

    async fn remove_everywhere(&self, removed: &mut u64) -> Result<(), Failure> {
        let inner = self.inner();
        let round = inner.begin_round(&inner.settings.retention);
        let places: Vec<Address> = inner.view.places().await?.iter().filter_map(place_of).collect();
        for place in &places {
            self.thin(place, &round, removed).await?;
        }
        self.thin_all(&places, &round, removed).await?;
        if let Some(age) = inner.settings.retention.files {
            self.delete_files_before(inner.settings.clock.now_ms().saturating_sub(millis(age)))
                .await?;
        }
        if *removed != 0 {
            // What the write-ahead log still has of it goes as well.
            inner.log.erase(Vec::new()).await?;
        }
        Ok(())
    }

    /// Removes what is too old or too much at one place.
    async fn thin(&self, place: &Address, round: &Round, removed: &mut u64) -> Result<(), Failure> {
        let inner = self.inner();
        let keep = inner.settings.retention.at(place);
        if keep.is_everything() {
            return Ok(());
        }
        let stream = stream_of(place);
        let beyond = match keep.max_bytes {
            Some(bytes) => inner.last_beyond(stream.clone(), round.reach, bytes).await?,
            None => Sequence::ZERO,
        };
        while !inner.closing.is_cancelled() {
            let records = inner.oldest(stream.clone(), round.reach).await?;
            let excess = match keep.max_events {
                Some(most) => {
                    let there =
                        inner
                            .view
                            .count(std::slice::from_ref(&stream), Sequence::ZERO, Sequence::MAX);
                    there.await?.saturating_sub(most)
                }
                None => 0,
            };
            let overdue = Overdue {
                age: keep.max_age.map(|age| round.now_ms.saturating_sub(millis(age))),
                excess,
                beyond,
                at_least: round
                    .now_ms
                    .saturating_sub(millis(inner.settings.retention.at_least)),
            };
            let due = overdue.of(&records);
            if due == 0 || !self.remove(place, &records[..due], round, removed).await? {
                break;
            }
        }
        Ok(())
    }

    /// Removes what is too much of everything together, from wherever it is the oldest.
    async fn thin_all(&self, places: &[Address], round: &Round, removed: &mut u64) -> Result<(), Failure> {
        let inner = self.inner();
        let retention = &inner.settings.retention;
        let Keep {
            max_events,
            max_bytes,
            ..
        } = retention.workspace;
        if max_events.is_none() && max_bytes.is_none() {
            return Ok(());
        }
        let shared = places.iter().filter(|place| retention.own(place).is_none());
        let streams: Vec<Stream> = shared.map(stream_of).collect();
        let mut after = Sequence::ZERO;
        while !inner.closing.is_cancelled() {
            let there = inner.view.count(&streams, Sequence::ZERO, Sequence::MAX).await?;
            let too_many = max_events.map_or(0, |most| there.saturating_sub(most));
            let too_large = match max_bytes {
                Some(most) if most < inner.log.size().await? => BATCH as u64,
                _ => 0,
            };
            let excess = too_many.max(too_large).min(BATCH as u64);
            let limit = usize::try_from(excess).unwrap_or(BATCH);
            let page = inner
                .view
                .merge(streams.clone(), after, round.reach, limit)
                .await?;
            let records = inner.log.read_some(page, Direction::Forward, BATCH_BYTES).await?;
            let overdue = Overdue {
                age: None,
                excess,
                beyond: Sequence::ZERO,
                at_least: round.now_ms.saturating_sub(millis(retention.at_least)),
            };
            let due = overdue.of(&records);
            let Some(last) = records[..due].last() else { break };
            after = last.sequence;
            let mut by_place: HashMap<Address, Vec<Record>> = HashMap::new();
            for record in records.into_iter().take(due) {
                by_place
                    .entry(record.header.destination.clone())
                    .or_default()
                    .push(record);
            }
            for (place, records) in by_place {
                self.remove(&place, &records, round, removed).await?;
            }
        }
        Ok(())
    }

    /// Removes the oldest records of a place, as far as nobody needs them; true when that was all of them.
    async fn remove(
        &self,
        place: &Address,
        records: &[Record],
        round: &Round,
        removed: &mut u64,
    ) -> Result<bool, Failure> {
        let inner = self.inner();
        let floor = round.laggards.floor(&self.snapshot().state, place);
        let free = records.partition_point(|record| floor.is_none_or(|(floor, _)| record.sequence <= floor));
        if let (Some((floor, agent)), true) = (floor, free < records.len()) {
            tracing::debug!(%place, %agent, after = %floor, "an agent has not read yet what is to be removed");
            inner.totals().held_up_by.insert(agent.clone());
        }
        let Some(last) = records[..free].last() else {
            return Ok(false);
        };
        for record in &records[..free] {
            self.delete_file_of(record).await?;
        }
        let gone = records[..free]
            .iter()
            .filter(|record| !is_built_from(&record.header.act));
        let (gone, bytes) = gone.fold((0, 0), |(count, bytes), record| {
            (count + 1, bytes + bytes_of(record) as u64)
        });
        let wish = Wish::RemoveHistory {
            place: place.clone(),
            through: last.sequence,
            records: gone,
            returned: round.returned,
        };
        let receipt = self.wish(&Source::System, wish).await?;
        let Some(sequence) = receipt.sequence else {
            // An agent came back that nobody expected any more: it may need what was to go.
            return Ok(false);
        };
        inner.indexed_through(sequence).await;
        inner.clear(place, last.sequence).await?;
        *removed += gone;
        {
            let mut totals = inner.totals();
            totals.events += gone;
            totals.bytes += bytes;
        }
        tracing::debug!(%place, through = %last.sequence, records = gone, "removed");
        Ok(free == records.len())
    }

    /// Deletes the file that a record shares, unless that was done.
    async fn delete_file_of(&self, record: &Record) -> Result<(), Failure> {
        let (Act::FileShared { size }, Some(_)) = (&record.header.act, &record.body) else {
            return Ok(());
        };
        let wish = Wish::DeleteFile {
            file_id: record.header.event_id.clone(),
            size: *size,
        };
        match self.wish(&Source::System, wish).await {
            // Somebody else deleted it just now.
            Err(error) if error.code == openagents_protocol::ErrorCode::FileNotFound => Ok(()),
            outcome => Ok(outcome.map(drop)?),
        }
    }

    /// Deletes files that were shared before a time, wherever.
    async fn delete_files_before(&self, oldest_ms: u64) -> Result<(), Failure> {
        let inner = self.inner();
        let mut after = Sequence::ZERO;
        while !inner.closing.is_cancelled() {
            let bounds = Bounds {
                after,
                ..Bounds::default()
            };
            let page = inner
                .view
                .page(Stream::Files, bounds, Direction::Forward, 0, BATCH);
            let records = inner.log.read_at(page.await?).await?;
            let Some(last) = records.last() else { break };
            after = last.sequence;
            for record in &records {
                if oldest_ms <= record.header.time_ms {
                    return Ok(());
                }
                self.delete_file_of(record).await?;
            }
        }
        Ok(())
    }
}

/// What holds for one look at everything.
#[derive(Debug)]
struct Round {
    now_ms: u64,
    /// What comes later is not everywhere yet where it is to be removed from.
    reach: Sequence,
    laggards: Laggards,
    /// Tells whether somebody came back since.
    returned: u64,
}

impl Inner {
    fn totals(&self) -> MutexGuard<'_, Totals> {
        self.removed.lock().expect("poisoned")
    }

    fn begin_round(&self, retention: &Retention) -> Round {
        // First what was known, then who is there: who comes later is noticed when something is to be removed.
        let snapshot = self.committed.load_full();
        let now_ms = self.settings.clock.now_ms();
        let reach = self.view.applied().min(*self.searchable.borrow());
        let laggards = match retention.unread {
            Unread::Kept => Laggards::find(self, &snapshot.state, retention.away, now_ms, reach),
            Unread::Removed => Laggards::default(),
        };
        Round {
            now_ms,
            reach,
            laggards,
            returned: snapshot.state.returned,
        }
    }
}

/// The place of which a stream has everything.
fn place_of(stream: &Stream) -> Option<Address> {
    match stream {
        Stream::Channel(channel) => Some(Address::Channel(channel.clone())),
        Stream::Inbox(agent) => Some(Address::Agent(agent.clone())),
        Stream::Everyone => Some(Address::Everyone),
        _ => None,
    }
}

/// The stream that has everything that was sent to a place.
fn stream_of(place: &Address) -> Stream {
    match place {
        Address::Channel(channel) => Stream::Channel(channel.clone()),
        Address::Agent(agent) => Stream::Inbox(agent.clone()),
        Address::Everyone | Address::System | Address::Mod(_) => Stream::Everyone,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
