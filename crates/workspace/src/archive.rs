//! Archives channels in which nothing was said for as long as their rules allow.

use openagents_protocol::{ChannelName, Sequence, Source};
use openagents_store::Error as StoreError;
use openagents_store::view::{Bounds, Direction, Stream};

use crate::decide::Wish;
use crate::workspace::Workspace;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Looks for idle channels at regular times, until the workspace closes.
pub(crate) async fn archive_idle(workspace: Workspace) {
    let inner = workspace.inner();
    let mut ticks = tokio::time::interval(inner.settings.housekeeping);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = inner.closing.cancelled() => return,
            _ = ticks.tick() => {}
        }
        for channel in workspace.idle_channels().await {
            let wish = Wish::ArchiveChannel {
                channel: channel.clone(),
                archived: true,
            };
            if let Err(error) = workspace.wish(&Source::System, wish).await {
                tracing::warn!(%error, %channel, "could not archive a channel");
            }
        }
    }
}

impl Workspace {
    async fn idle_channels(&self) -> Vec<ChannelName> {
        let snapshot = self.snapshot();
        let now_ms = self.settings().clock.now_ms();
        let mut idle = Vec::new();
        for (name, channel) in &snapshot.state.channels {
            let Some(days) = channel.settings.auto_archive_days.filter(|days| 0 < *days) else {
                continue;
            };
            let patience = u64::from(days) * DAY_MS;
            match self.last_event_ms(name).await {
                _ if channel.archived => {}
                Ok(last_ms) => {
                    if last_ms.unwrap_or(channel.created_ms).saturating_add(patience) <= now_ms {
                        idle.push(name.clone());
                    }
                }
                Err(error) => tracing::warn!(%error, channel = %name, "could not read a channel"),
            }
        }
        idle
    }

    /// When the newest event of a channel was taken; none if there is none.
    async fn last_event_ms(&self, channel: &ChannelName) -> Result<Option<u64>, StoreError> {
        let inner = self.inner();
        let stream = Stream::Channel(channel.clone());
        let (_, newest) = inner.recent.of_stream(&stream, Bounds::default());
        if let Some(commit) = newest.last() {
            return Ok(Some(commit.header().time_ms));
        }
        let page = inner
            .view
            .page(stream, Bounds::default(), Direction::Backward, 0, 1)
            .await?;
        let Some(last) = page.first() else { return Ok(None) };
        let last: Sequence = *last;
        Ok(inner.find_record(last).await?.map(|record| record.header.time_ms))
    }
}
