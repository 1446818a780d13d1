//! What is in the directory of a workspace, brought up to the end of its log.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use openagents_protocol::record::{Act, Record};
use openagents_protocol::{AgentId, ChannelName, Sequence};
use openagents_store::view::{Loaded, Stream, Update, View};
use openagents_store::{Error as StoreError, EventLog, Options, Store};

use crate::commit::{Commit, streams};
use crate::follower::indexed;
use crate::known::made_at;
use crate::recent::Kept;
use crate::settings::Settings;
use crate::state::State;

/// Records applied in one step.
const BATCH: usize = 2048;

/// A workspace that nothing happens in.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) store: Store,
    pub(crate) state: State,
    pub(crate) cursors: Vec<(AgentId, Sequence)>,
    /// The number of events in each channel.
    pub(crate) channel_events: HashMap<ChannelName, u64>,
    /// The latest time that an event id carries.
    pub(crate) watermark: u64,
}

/// Opens the store in a directory and brings the view up to the log. `progress` is told how far it is and how far it
/// goes.
///
/// # Errors
///
/// What the store says.
pub(crate) async fn load(
    directory: &Path,
    settings: &Settings,
    mut progress: impl FnMut(Sequence, Sequence),
) -> Result<Stored, StoreError> {
    match try_load(directory, settings, &mut progress).await {
        // The view remembers that it is damaged, and is built anew by whoever opens it next.
        Err(StoreError::Damaged { path, .. }) if path.ends_with(View::FILE) => {
            try_load(directory, settings, &mut progress).await
        }
        outcome => outcome,
    }
}

async fn try_load(
    directory: &Path,
    settings: &Settings,
    progress: &mut impl FnMut(Sequence, Sequence),
) -> Result<Stored, StoreError> {
    let options = Options {
        durability: settings.durability,
        execution: settings.execution,
    };
    let (store, loaded) = Store::open(directory, options)?;
    let mut state = State::load(&loaded, settings);
    let Loaded {
        mut applied,
        id_watermark: mut watermark,
        cursors,
        channel_lengths,
        ..
    } = loaded;
    let mut channel_events: HashMap<ChannelName, u64> = channel_lengths
        .into_iter()
        .map(|(channel, length, _)| (channel, length))
        .collect();
    loop {
        let records = store.log.read(applied, BATCH).await?;
        let Some(last) = records.last() else { break };
        applied = last.sequence;
        let update = catch_up(&mut state, &mut channel_events, &mut watermark, records, applied);
        store.view.commit(update).await?;
        progress(applied, store.log.head());
    }
    // The last records may be lost: nothing comes before the head any more.
    let head = store.log.head();
    if applied < head {
        let update = Update {
            applied: head,
            id_watermark: watermark,
            ..Update::default()
        };
        store.view.commit(update).await?;
    }
    Ok(Stored {
        store,
        state,
        cursors,
        channel_events,
        watermark,
    })
}

fn catch_up(
    state: &mut State,
    channel_events: &mut HashMap<ChannelName, u64>,
    watermark: &mut u64,
    records: Vec<Record>,
    applied: Sequence,
) -> Update {
    let mut update = Update {
        applied,
        events: Vec::new(),
        changes: Vec::new(),
        cursors: Vec::new(),
        id_watermark: 0,
    };
    for record in records {
        let Ok(changes) = state.apply(&record.header, record.sequence) else {
            continue;
        };
        *watermark = (*watermark).max(made_at(&record.header.event_id).unwrap_or(0));
        let streams = streams(&record.header);
        if let Some(Stream::Channel(channel)) = streams.first() {
            *channel_events.entry(channel.clone()).or_default() += 1;
        }
        if let Act::ChannelDeleted { channel } = &record.header.act {
            channel_events.remove(channel);
        }
        update.changes.extend(changes);
        update.events.push(indexed(&Kept::new(
            Arc::new(Commit::new(record)),
            streams,
            Vec::new(),
        )));
    }
    update.id_watermark = *watermark;
    update
}
