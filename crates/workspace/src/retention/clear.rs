//! What happens to what is before a horizon.

use std::sync::Arc;

use openagents_protocol::record::Record;
use openagents_protocol::{Address, Sequence};
use openagents_store::Error as StoreError;
use openagents_store::view::{Bounds, Direction, Fate, Stream, Unlisted};

use super::{BATCH, BATCH_BYTES, stream_of};
use crate::commit::{Commit, streams};
use crate::follower::indexed;
use crate::recent::Kept;
use crate::state::{State, is_built_from};
use crate::workspace::Inner;

impl Inner {
    /// Does what a stop or a crash left undone, or a view that was built anew.
    pub(super) async fn finish_removals(&self) -> Result<(), StoreError> {
        let horizons = self.committed.load().state.horizons.all();
        for (place, through) in horizons {
            self.clear(&place, through).await?;
        }
        self.forget_removed().await
    }

    /// Takes everything that was sent to a place up to a sequence out of the view, and what nothing is built from out of
    /// the log and the search index.
    pub(super) async fn clear(&self, place: &Address, through: Sequence) -> Result<(), StoreError> {
        let bounds = Bounds {
            after: Sequence::ZERO,
            before: through.next(),
        };
        loop {
            let listed = self
                .view
                .page(stream_of(place), bounds, Direction::Forward, 0, BATCH)
                .await?;
            if listed.is_empty() {
                return self.forget_removed().await;
            }
            let records = self
                .log
                .read_some(listed, Direction::Forward, BATCH_BYTES)
                .await?;
            if records.is_empty() {
                tracing::warn!(%place, "the view lists records that the log does not have; `openagents rebuild` puts it right");
                return Ok(());
            }
            let sequences: Vec<Sequence> = records.iter().map(|record| record.sequence).collect();
            let snapshot = self.committed.load_full();
            let unlisted: Vec<Unlisted> = records
                .into_iter()
                .map(|record| unlist(&snapshot.state, record))
                .collect();
            if let Address::Channel(channel) = place {
                let counted = unlisted.iter().filter(|unlisted| unlisted.counted).count();
                self.uncount_channel_events(channel, counted as u64);
            }
            self.view.unlist(unlisted).await?;
            self.recent.remove(&sequences);
        }
    }

    /// Has the log and the search index forget what the view took out.
    async fn forget_removed(&self) -> Result<(), StoreError> {
        loop {
            let due = self.view.removals(BATCH).await?;
            if due.is_empty() {
                return Ok(());
            }
            // A view that a power cut sets back would list what the log has no more.
            self.view.sync().await?;
            self.search.remove(due.clone()).await?;
            self.log.remove(due.clone()).await?;
            self.view.mark_removed(due).await?;
        }
    }
}

fn unlist(state: &State, record: Record) -> Unlisted {
    let header = &record.header;
    let fate = if is_built_from(&header.act) {
        Fate::Kept
    } else {
        Fate::Removed
    };
    let counted = match &header.destination {
        Address::Channel(name) => {
            let channel = state.channels.get(name);
            channel.is_some_and(|channel| channel.created_at <= record.sequence)
        }
        _ => true,
    };
    let streams: Vec<Stream> = streams(header);
    let event = indexed(&Kept::new(Arc::new(Commit::new(record)), streams, Vec::new()));
    Unlisted { event, fate, counted }
}
