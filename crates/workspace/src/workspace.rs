//! The handle of a workspace, and how it opens and closes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use openagents_protocol::call::ChannelSettings;
use openagents_protocol::record::{Record, Role};
use openagents_protocol::{
    AgentId, ChannelName, Draft, ErrorBody, ErrorCode, Event, Json, Receipt, Secret, Sequence, Source,
};
use openagents_store::search::Index;
use openagents_store::view::{Direction, Stream, View};
use openagents_store::{Error as StoreError, EventLog, Lineage, Store};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::archive::archive_idle;
use crate::decide::Wish;
use crate::entitlement::Reading;
use crate::files::{Blobs, collect};
use crate::follower::{Cursors, follow};
use crate::guard::Counters;
use crate::indexer::{HANDED, index};
use crate::known::KnownIds;
use crate::live::Live;
use crate::load::{Stored, load};
use crate::notes::Notes;
use crate::presence::{Presence, keep_leases};
use crate::rates::Rates;
use crate::recent::Recent;
use crate::retention::{Totals, remove_old};
use crate::rights::permission::READ_CHANNELS;
use crate::rights::{Group, Rights};
use crate::settings::{ConfiguredChannel, Settings};
use crate::standing::{Registry, watch_silence};
use crate::state::{Presence as PresenceState, State};
use crate::system::beat;
use crate::token::{self, Principal};
use crate::writer::{Command, LARGE, LARGE_BYTES, QUEUE, Reply, Writer};

/// A workspace: a cheap handle to share.
///
/// Dropping the handles does not close it; [`Workspace::close`] does, and leaves nothing undone.
///
/// ```
/// # tokio_test::block_on(async {
/// use openagents_workspace::{Settings, Workspace};
///
/// let directory = tempfile::tempdir()?;
/// let workspace = Workspace::open(directory.path(), Settings::default()).await?;
/// assert_eq!(workspace.head().get(), 1, "the channel `general` was made");
/// workspace.close().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Workspace(Arc<Inner>);

/// Who asks: an agent with what it may do.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The agent, as it authenticated.
    pub agent_id: AgentId,
    /// What it may do.
    pub role: Role,
    /// The group that narrows or widens that; none where there are no groups.
    pub group: Option<Arc<Group>>,
}

impl Caller {
    /// An agent with a role, in no group.
    pub const fn new(agent_id: AgentId, role: Role) -> Self {
        Self {
            agent_id,
            role,
            group: None,
        }
    }

    /// What its rights let it read.
    pub(crate) fn reading(&self) -> Reading {
        match self.rights().require(READ_CHANNELS) {
            Ok(()) => Reading::Everything,
            Err(_) => Reading::NoChannels,
        }
    }

    pub(crate) fn rights(&self) -> Rights {
        Rights {
            role: self.role,
            group: self.group.clone(),
        }
    }
}

/// What follows from the log and can be built again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derived {
    /// The state, the indexes, what was read.
    View,
    /// The words of messages.
    SearchIndex,
}

/// The committed state with the position it holds at.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) state: State,
    pub(crate) head: Sequence,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) settings: Settings,
    /// Guards the right to use the directory; given back by closing, whoever still holds a session.
    store: Mutex<Option<Store>>,
    pub(crate) log: Arc<dyn EventLog>,
    /// Which log it is.
    pub(crate) lineage: Lineage,
    pub(crate) view: View,
    pub(crate) search: Index,
    pub(crate) blobs: Blobs,
    /// Turns for uploads.
    pub(crate) uploads: Arc<Semaphore>,
    /// There may be files that were shared in channels that are deleted.
    pub(crate) unreachable_files: AtomicBool,
    /// Held by whoever removes what is old.
    pub(crate) removing: tokio::sync::Mutex<()>,
    /// Guards what is counted of removals; held for a few lines only.
    pub(crate) removed: Mutex<Totals>,
    pub(crate) rates: Rates,
    pub(crate) committed: ArcSwap<Snapshot>,
    pub(crate) recent: Recent,
    pub(crate) live: Live,
    pub(crate) presence: Presence,
    /// The agents that come by without a connection of their own.
    pub(crate) standing: Registry,
    pub(crate) cursors: Cursors,
    /// Everything up to here was handed to the sessions concerned.
    pub(crate) routed: AtomicU64,
    pub(crate) head_changed: watch::Sender<Sequence>,
    /// How far the view follows.
    pub(crate) indexed: watch::Sender<Sequence>,
    /// How far the search index follows.
    pub(crate) searchable: watch::Sender<Sequence>,
    /// The search index is damaged; it is made anew when the workspace is opened the next time.
    pub(crate) unsearchable: CancellationToken,
    /// Guards the number of events in each channel.
    channel_events: Mutex<HashMap<ChannelName, u64>>,
    commands: mpsc::Sender<Command>,
    /// Bytes for large wishes on their way to the log.
    room: Arc<Semaphore>,
    pub(crate) tracker: TaskTracker,
    /// No further wishes.
    pub(crate) closing: CancellationToken,
    /// The writer is done; the view may catch up a last time.
    pub(crate) drained: CancellationToken,
    /// The view cannot follow: the disk is full.
    pub(crate) stalled: watch::Sender<bool>,
    /// The store failed: nothing is acknowledged any more.
    pub(crate) failed: CancellationToken,
}

impl Workspace {
    /// Opens the workspace in a directory, making it if there is none.
    ///
    /// The view is brought up to the log first, so the time this takes grows with what the view lacks, not with
    /// the log.
    ///
    /// # Errors
    ///
    /// What the store says: locked, damaged, of a newer version, full.
    pub async fn open(directory: &Path, settings: Settings) -> Result<Self, StoreError> {
        Self::open_with(directory, settings, |_, _| ()).await
    }

    /// Builds the view and the search index anew from the log; cursors are kept where they can be read. `progress` is
    /// told how far which of them is and how far it goes, the view first.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn rebuild(
        directory: &Path,
        settings: Settings,
        mut progress: impl FnMut(Derived, Sequence, Sequence),
    ) -> Result<Sequence, StoreError> {
        Store::discard_views(directory)?;
        let of_view = |done, all| progress(Derived::View, done, all);
        let workspace = Self::open_with(directory, settings, of_view).await?;
        let head = workspace.head();
        let mut searchable = workspace.0.searchable.subscribe();
        while *searchable.borrow_and_update() < head {
            tokio::select! {
                _ = searchable.changed() => progress(Derived::SearchIndex, *searchable.borrow(), head),
                () = workspace.0.unsearchable.cancelled() => break,
            }
        }
        workspace.close().await;
        Ok(head)
    }

    async fn open_with(
        directory: &Path,
        settings: Settings,
        progress: impl FnMut(Sequence, Sequence),
    ) -> Result<Self, StoreError> {
        let Stored {
            store,
            state,
            cursors,
            channel_events,
            watermark,
        } = load(directory, &settings, progress).await?;
        let blobs = Blobs::open(directory).map_err(|error| StoreError::from_io(directory, error))?;
        let log: Arc<dyn EventLog> = store.log.clone();
        let view = store.view.clone();
        let search = store.search.clone();
        let (commands, receiver) = mpsc::channel(QUEUE);
        let head = log.head();
        let inner = Arc::new(Inner {
            presence: Presence::new(settings.presence_events_per_second),
            uploads: Arc::new(Semaphore::new(settings.max_uploads.min(Semaphore::MAX_PERMITS))),
            unreachable_files: AtomicBool::new(true),
            removing: tokio::sync::Mutex::default(),
            removed: Mutex::default(),
            rates: Rates::of(&settings),
            settings,
            lineage: store.log.lineage().clone(),
            log,
            view,
            searchable: watch::Sender::new(search.indexed()),
            unsearchable: CancellationToken::new(),
            search,
            blobs,
            store: Mutex::new(Some(store)),
            committed: ArcSwap::from_pointee(Snapshot {
                state: state.clone(),
                head,
            }),
            recent: Recent::new(head),
            live: Live::default(),
            standing: Registry::default(),
            cursors: Cursors::load(cursors),
            routed: AtomicU64::new(head.get()),
            head_changed: watch::Sender::new(head),
            indexed: watch::Sender::new(head),
            channel_events: Mutex::new(channel_events),
            commands,
            tracker: TaskTracker::new(),
            closing: CancellationToken::new(),
            drained: CancellationToken::new(),
            stalled: watch::Sender::new(false),
            room: Arc::new(Semaphore::new(LARGE_BYTES)),
            failed: CancellationToken::new(),
        });
        let workspace = Self(Arc::clone(&inner));
        let known = KnownIds::new(watermark);
        let writer = Writer {
            inner: Arc::clone(&inner),
            commands: receiver,
            state,
            known,
            notes: Notes::default(),
            counters: Counters::default(),
            untold: None,
        };
        inner.tracker.spawn({
            let drained = inner.drained.clone();
            async move {
                writer.run().await;
                drained.cancel();
            }
        });
        let (to_index, handed) = mpsc::channel(HANDED);
        inner
            .tracker
            .spawn(follow(Arc::clone(&inner), watermark, to_index));
        inner.tracker.spawn(index(Arc::clone(&inner), handed));
        inner.tracker.spawn(keep_leases(workspace.clone()));
        inner.tracker.spawn(watch_silence(workspace.clone()));
        inner.tracker.spawn(beat(Arc::clone(&inner)));
        inner.tracker.spawn(archive_idle(workspace.clone()));
        inner.tracker.spawn(collect(workspace.clone()));
        inner.tracker.spawn(remove_old(workspace.clone()));
        workspace.settle_in().await;
        Ok(workspace)
    }

    /// Makes the channels of the settings, and gives a lease to everybody who was online.
    async fn settle_in(&self) {
        let now = Instant::now();
        let snapshot = self.0.committed.load_full();
        for (agent_id, agent) in &snapshot.state.agents {
            if agent.presence == PresenceState::Online {
                let lease = match &agent.key {
                    Some(_) => self.0.settings.agent_timeout,
                    None => self.0.settings.lease,
                };
                self.0.live.lease(agent_id, now + lease, None);
            }
        }
        for configured in self.0.settings.channels.clone() {
            let channel = configured.name.clone();
            let is_new = !snapshot.state.channels.contains_key(&channel);
            if let Err(error) = self.configure(configured, is_new).await {
                tracing::warn!(%error, %channel, "could not make a channel of the settings");
            }
        }
    }

    /// Makes a channel of the settings where it is new, and lets its rules hold.
    async fn configure(&self, configured: ConfiguredChannel, is_new: bool) -> Result<(), ErrorBody> {
        let ConfiguredChannel {
            name: channel,
            description,
            settings,
        } = configured;
        if is_new {
            let wish = Wish::CreateChannel {
                channel: channel.clone(),
                description,
            };
            self.wish(&Source::System, wish).await?;
        }
        if settings != ChannelSettings::default() {
            self.wish(&Source::System, Wish::ConfigureChannel { channel, settings })
                .await?;
        }
        Ok(())
    }

    /// Ends every session, commits what was accepted, brings the view up to date and releases the directory.
    /// Agents stay online in the log: a server that comes back gives each a new lease.
    pub async fn close(&self) {
        self.0.say_stopping();
        self.0
            .live
            .dismiss_all(ErrorCode::ShuttingDown, "the server is going down");
        self.0.standing.dismiss();
        self.0.closing.cancel();
        self.0.tracker.close();
        self.0.tracker.wait().await;
        // Who came by in the meantime.
        self.0.standing.dismiss();
        let store = self.0.store.lock().expect("poisoned").take();
        if let Some(store) = store
            && let Err(error) = store.log.close().await
        {
            tracing::error!(%error, "closing the log failed");
        }
    }

    /// Resolves when the store failed. Nothing is acknowledged from then on; close the workspace and open it again.
    pub async fn failed(&self) {
        self.0.failed.cancelled().await;
    }

    /// Whether the log takes events.
    pub fn is_ready(&self) -> bool {
        !self.0.failed.is_cancelled() && !self.0.closing.is_cancelled()
    }

    /// The end of the log.
    pub fn head(&self) -> Sequence {
        self.0.committed.load().head
    }

    /// Names the log: sequences of another one mean other records.
    pub fn log_id(&self) -> String {
        self.0.lineage.id().to_string()
    }

    /// How far the view follows; history and backlog beyond it come from memory.
    pub fn indexed(&self) -> Sequence {
        self.0.view.applied()
    }

    /// Waits until there is something after a sequence; gives up when there never will be.
    pub async fn beyond(&self, sequence: Sequence) {
        let mut head = self.0.head_changed.subscribe();
        tokio::select! {
            _ = head.wait_for(|head| sequence < *head) => {}
            () = self.0.failed.cancelled() => {}
            () = self.0.closing.cancelled() => {}
        }
    }

    /// Waits until the search index has everything up to here; gives up when it never will.
    pub async fn searchable_through(&self, through: Sequence) {
        let mut searchable = self.0.searchable.subscribe();
        tokio::select! {
            _ = searchable.wait_for(|searchable| through <= *searchable) => {}
            () = self.0.unsearchable.cancelled() => {}
            () = self.0.closing.cancelled() => {}
        }
    }

    /// The settings it was opened with.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Number of connected sessions.
    pub fn sessions(&self) -> usize {
        self.0.live.sessions()
    }

    /// Who a token admits, by its password hash (hex SHA-256).
    ///
    /// # Errors
    ///
    /// [`ErrorCode::Unauthenticated`] or [`ErrorCode::TokenExpired`].
    pub fn authenticate(&self, password_hash: &str) -> Result<Principal, ErrorBody> {
        let snapshot = self.0.committed.load();
        token::authenticate(&snapshot.state, password_hash, self.0.settings.clock.now_ms())
    }

    /// Whether there is any token.
    pub fn has_tokens(&self) -> bool {
        !self.0.committed.load().state.tokens.is_empty()
    }

    /// Publishes an event and waits for its receipt: committed as the durability promises, and delivered to who is
    /// connected.
    ///
    /// # Errors
    ///
    /// Why it was refused; nothing happened then.
    pub async fn publish(&self, caller: &Caller, draft: Draft) -> Result<Receipt, ErrorBody> {
        self.wish_as(
            &Source::Agent(caller.agent_id.clone()),
            caller.rights(),
            Wish::Publish(Box::new(draft)),
        )
        .await
    }

    /// Publishes an event of the workspace itself, with what the interface that tells it has to remember.
    ///
    /// # Errors
    ///
    /// Why it was refused.
    pub async fn announce(&self, event: Event, aside: Option<Json>) -> Result<Receipt, ErrorBody> {
        let mut draft = Draft::parse(event)?;
        draft.body.aside = aside;
        self.wish(&Source::System, Wish::Publish(Box::new(draft))).await
    }

    /// [`Workspace::announce`], to some agents only.
    ///
    /// # Errors
    ///
    /// Why it was refused.
    pub async fn announce_to(
        &self,
        event: Event,
        aside: Option<Json>,
        agents: Vec<AgentId>,
    ) -> Result<Receipt, ErrorBody> {
        let mut draft = Draft::parse(event)?;
        draft.body.aside = aside;
        draft.allowed_agents = Some(agents);
        self.wish(&Source::System, Wish::Publish(Box::new(draft))).await
    }

    /// Wishes for something with every right, and waits for the outcome.
    pub(crate) async fn wish(&self, author: &Source, wish: Wish) -> Result<Receipt, ErrorBody> {
        self.wish_as(author, Rights::all(), wish).await
    }

    pub(crate) async fn wish_as(
        &self,
        author: &Source,
        rights: Rights,
        wish: Wish,
    ) -> Result<Receipt, ErrorBody> {
        let (sender, outcome) = oneshot::channel();
        self.submit(Command {
            author: author.clone(),
            rights,
            wish,
            reply: Reply::Once(sender),
            room: None,
        })
        .await?;
        outcome.await.unwrap_or_else(|_| Err(shutting_down()))
    }

    /// Hands a wish to the writer; waits while its queue is full, or while other large ones fill its memory.
    pub(crate) async fn submit(&self, mut command: Command) -> Result<(), ErrorBody> {
        if self.0.closing.is_cancelled() {
            return Err(shutting_down());
        }
        command.room = match command.wish.bytes() {
            small if small < LARGE => None,
            large => {
                let permits = u32::try_from(large.min(LARGE_BYTES)).unwrap_or(u32::MAX);
                let room = Arc::clone(&self.0.room).acquire_many_owned(permits);
                Some(room.await.map_err(|_| shutting_down())?)
            }
        };
        self.0.commands.send(command).await.map_err(|_| shutting_down())
    }

    pub(crate) fn inner(&self) -> Arc<Inner> {
        Arc::clone(&self.0)
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.0.committed.load_full()
    }

    /// Leads to the session key of a new session.
    pub(crate) fn new_session_key() -> Secret {
        token::session_key()
    }
}

impl Inner {
    pub(crate) fn fail(&self) {
        self.failed.cancel();
        self.live.dismiss_all(
            ErrorCode::StorageUnavailable,
            "the store of the workspace failed; it is being opened again",
        );
    }

    pub(crate) fn count_channel_event(&self, channel: &ChannelName) {
        let mut counts = self.channel_events.lock().expect("poisoned");
        match counts.get_mut(channel) {
            Some(count) => *count += 1,
            None => drop(counts.insert(channel.clone(), 1)),
        }
    }

    /// Events of a channel are removed.
    pub(crate) fn uncount_channel_events(&self, channel: &ChannelName, removed: u64) {
        let mut counts = self.channel_events.lock().expect("poisoned");
        if let Some(count) = counts.get_mut(channel) {
            *count = count.saturating_sub(removed);
        }
    }

    /// A channel was deleted: one of the same name would begin anew.
    pub(crate) fn forget_channel_events(&self, channel: &ChannelName) {
        self.channel_events.lock().expect("poisoned").remove(channel);
        self.unreachable_files.store(true, Ordering::Release);
    }

    pub(crate) fn channel_events(&self, channel: &ChannelName) -> u64 {
        self.channel_events
            .lock()
            .expect("poisoned")
            .get(channel)
            .copied()
            .unwrap_or(0)
    }

    /// How many direct messages and events wait for an agent: positions in the view, and what the view lacks.
    pub(crate) async fn unread(&self, agent_id: &AgentId) -> Result<u64, StoreError> {
        let cursor = self.cursor(agent_id).unwrap_or(Sequence::ZERO);
        // One boundary for both counts: the view up to it, memory after it. What the view learns meanwhile stays
        // in memory too, or is before the boundary.
        let applied = self.view.applied();
        let newer = self.recent.inbox_after(agent_id, applied.max(cursor));
        Ok(newer
            + self
                .view
                .count(&[Stream::Inbox(agent_id.clone())], cursor, applied)
                .await?)
    }

    /// Where an agent goes on: what it acknowledged, else where it became known.
    pub(crate) fn cursor(&self, agent_id: &AgentId) -> Option<Sequence> {
        self.cursors.get(agent_id).or_else(|| {
            let snapshot = self.committed.load();
            snapshot
                .state
                .agents
                .get(agent_id)
                .map(|agent| agent.first_sequence)
        })
    }

    /// The record at a sequence, from memory or the log.
    pub(crate) async fn find_record(&self, sequence: Sequence) -> Result<Option<Record>, StoreError> {
        if let Some(kept) = self.recent.after(sequence.previous(), 1)
            && let Some(kept) = kept.first()
            && kept.commit.sequence() == sequence
        {
            return Ok(Some(kept.commit.record.clone()));
        }
        Ok(self.log.read_at(vec![sequence]).await?.pop())
    }

    /// The records at these sequences in this direction, until there are so many bytes of them; and the last sequence that
    /// was read, where there are more.
    pub(crate) async fn read_some(
        &self,
        sequences: Vec<Sequence>,
        direction: Direction,
        bytes: usize,
    ) -> Result<(Vec<Record>, Option<Sequence>), StoreError> {
        let asked = sequences.len();
        let last = match direction {
            Direction::Forward => sequences.iter().max().copied(),
            Direction::Backward => sequences.iter().min().copied(),
        };
        let records = self.log.read_some(sequences, direction, bytes).await?;
        let read = records.last().map(|record| record.sequence);
        let stopped = records.len() < asked && read != last;
        Ok((records, read.filter(|_| stopped)))
    }

    /// Waits until the view follows this far, or cannot follow because the disk is full: better an answer that lacks
    /// the newest than none.
    pub(crate) async fn indexed_or_stalled(&self, through: Sequence) {
        let mut stalled = self.stalled.subscribe();
        tokio::select! {
            () = self.indexed_through(through) => {}
            _ = stalled.wait_for(|stalled| *stalled) => {}
        }
    }

    /// Waits until the view follows this far; gives up when it never will.
    pub(crate) async fn indexed_through(&self, through: Sequence) {
        let mut indexed = self.indexed.subscribe();
        tokio::select! {
            _ = indexed.wait_for(|indexed| through <= *indexed) => {}
            () = self.failed.cancelled() => {}
            () = self.closing.cancelled() => {}
        }
    }

    pub(crate) fn routed(&self) -> Sequence {
        Sequence::new(self.routed.load(Ordering::Acquire))
    }
}

fn shutting_down() -> ErrorBody {
    ErrorBody::new(
        ErrorCode::ShuttingDown,
        "the workspace is closing; nothing was stored",
    )
}

/// What an agent says of itself may be this large, in bytes.
pub(crate) const MAX_METADATA: usize = 64 * 1024;

/// Checks what an agent says of itself.
pub(crate) fn check_metadata(metadata: &Json) -> Result<(), ErrorBody> {
    metadata
        .check()
        .map_err(|error| ErrorBody::json("metadata", &error))?;
    if !metadata.is_object() {
        return Err(ErrorBody::field(
            ErrorCode::InvalidField,
            "metadata",
            "it is not a JSON object",
        ));
    }
    if MAX_METADATA < metadata.as_str().len() {
        let message = format!("it has more than {MAX_METADATA} bytes");
        return Err(ErrorBody::field(ErrorCode::TooLarge, "metadata", message));
    }
    Ok(())
}
