//! The one task that changes a workspace: it decides, appends, applies, routes and answers, in batches.
//!
//! Whatever arrived while the last batch was being committed is the next batch; there is no timer.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use openagents_protocol::record::{Act, MODERATION, Record};
use openagents_protocol::{
    Address, AgentId, Counts, ErrorBody, ErrorCode, EventId, Header, Receipt, Recipient, RecipientState,
    Sequence, Source, Visibility,
};
use openagents_store::view::Stream;
use openagents_store::{Entry, Error as StoreError};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::commit::{Commit, streams};
use crate::decide::{Context, Decision, LookedUp, Wish, decide, named, reacting, referenced};
use crate::entitlement::{is_visible, may_read};
use crate::guard::{Counters, LoopGuard, notices};
use crate::known::{Known, KnownIds};
use crate::live::Waking;
use crate::notes::Notes;
use crate::reader::Reader;
use crate::recent::Kept;
use crate::rights::Rights;
use crate::state::State;
use crate::workspace::{Inner, Snapshot};

/// Wishes waiting for the writer; over it, whoever wishes waits.
pub(crate) const QUEUE: usize = 4096;

/// The most wishes decided in one batch: bounds the memory and the latency of a commit.
const BATCH: usize = 1024;

/// The most answers that wait for the turn of a session that is woken.
const FEW: usize = 16;

/// A wish with this many bytes is large: small ones are bounded by their number.
pub(crate) const LARGE: usize = 4096;

/// Bytes of large wishes on their way to the log. Over it, whoever wishes waits: a flood of large events must not take
/// the memory of the server.
pub(crate) const LARGE_BYTES: usize = 64 * 1024 * 1024;

/// Records the view may lack before the writer waits for it.
const MAX_VIEW_LAG: usize = 65_536;

/// And their bytes.
const MAX_VIEW_LAG_BYTES: usize = 64 * 1024 * 1024;

/// A wish on its way to the writer.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) author: Source,
    pub(crate) rights: Rights,
    pub(crate) wish: Wish,
    pub(crate) reply: Reply,
    /// Room that it takes, where it is large; given back when it is in the log.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// Where the answer goes.
#[derive(Debug)]
pub(crate) enum Reply {
    Once(oneshot::Sender<Result<Receipt, ErrorBody>>),
    Session(Arc<Reader>, u64),
}

impl Reply {
    fn send(self, outcome: Result<Receipt, ErrorBody>) {
        match self {
            // Whoever asked may have gone; the event is committed all the same.
            Self::Once(sender) => drop(sender.send(outcome)),
            Self::Session(reader, id) => reader.answer(id, outcome),
        }
    }
}

/// An answer and where it goes.
#[derive(Debug)]
pub(crate) struct Answer {
    reply: Reply,
    outcome: Result<Receipt, ErrorBody>,
}

impl Answer {
    pub(crate) fn new(reply: Reply, outcome: Result<Receipt, ErrorBody>) -> Self {
        Self { reply, outcome }
    }

    pub(crate) fn give(self) {
        self.reply.send(self.outcome);
    }
}

#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) inner: Arc<Inner>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) state: State,
    pub(crate) known: KnownIds,
    pub(crate) notes: Notes,
    pub(crate) counters: Counters,
    pub(crate) untold: Option<Committed>,
}

/// A batch that is committed and in the state, and not told to anybody yet.
#[derive(Debug)]
pub(crate) struct Committed {
    kept: Vec<Kept>,
    head: Sequence,
    pending: Vec<Pending>,
}

/// A decided wish that waits for the commit.
#[derive(Debug)]
struct Pending {
    reply: Reply,
    _room: Option<OwnedSemaphorePermit>,
    /// Index of the record that was wished for.
    main: usize,
    unknown: Vec<Recipient>,
    /// Whether an earlier wish of the same batch stored the record.
    duplicate: bool,
}

/// What a batch of wishes comes to; what was refused is answered already.
struct Decided {
    entries: Vec<Entry>,
    pending: Vec<Pending>,
    /// What is for those who are connected now, and stored nowhere.
    ephemeral: Vec<(Reply, Entry)>,
    /// Repetitions of what was committed before, at these sequences.
    repeated: Vec<(Reply, EventId, Sequence)>,
}

impl Writer {
    /// Works until every handle is gone or the workspace closes, then leaves nothing undone.
    pub(crate) async fn run(mut self) {
        let mut batch = Vec::with_capacity(64);
        loop {
            if self.commands.is_empty() {
                self.tell_untold().await;
            }
            let inner = Arc::clone(&self.inner);
            tokio::select! {
                biased; // Closing first: what is queued then is still worked off, what comes later is refused.
                () = inner.closing.cancelled(), if !self.commands.is_closed() => self.commands.close(),
                received = self.commands.recv_many(&mut batch, BATCH) => {
                    if received == 0 {
                        return self.tell_untold().await;
                    }
                    self.process(&mut batch).await;
                    if 256 < batch.capacity() && self.commands.is_empty() {
                        batch = Vec::with_capacity(64);
                    }
                }
            }
        }
    }

    async fn process(&mut self, batch: &mut Vec<Command>) {
        if !self.wait_for_view().await {
            let replies = batch.drain(..).map(|command| command.reply);
            return answer_all(replies, &storage_full());
        }
        if self.inner.failed.is_cancelled() {
            for command in batch.drain(..) {
                command.reply.send(Err(unavailable()));
            }
            return self.tell_untold().await;
        }
        let looked_up = match self.look_up(batch).await {
            Ok(looked_up) => looked_up,
            Err(error) => return self.refuse(batch.drain(..).map(|command| command.reply), &error),
        };
        let Decided {
            entries,
            pending,
            ephemeral,
            repeated,
        } = self.decide_all(batch, &looked_up);
        self.commit(entries, pending, ephemeral).await;
        for (reply, event_id, sequence) in repeated {
            reply.send(self.repeat(event_id, sequence).await);
        }
    }

    /// Waits for a view that lacks too much; false if the disk is too full for it to follow.
    async fn wait_for_view(&mut self) -> bool {
        let inner = Arc::clone(&self.inner);
        let lacks = |part| {
            let (records, bytes) = inner.recent.lag();
            MAX_VIEW_LAG / part < records || MAX_VIEW_LAG_BYTES / part < bytes
        };
        if !lacks(1) {
            return true;
        }
        self.tell_untold().await;
        let (mut indexed, mut stalled) = (inner.indexed.subscribe(), inner.stalled.subscribe());
        // The view need not be at the end, only near enough again.
        while lacks(2) && !inner.failed.is_cancelled() && !inner.closing.is_cancelled() {
            tokio::select! {
                _ = indexed.changed() => {}
                _ = stalled.wait_for(|stalled| *stalled) => return false,
                () = inner.failed.cancelled() => {}
                () = inner.closing.cancelled() => {}
            }
        }
        true
    }

    /// The receipt of an event that was accepted before, true as of now.
    async fn repeat(&self, event_id: EventId, sequence: Sequence) -> Result<Receipt, ErrorBody> {
        let record = match self.inner.find_record(sequence).await {
            Ok(Some(record)) => record,
            Ok(None) => {
                // It was removed since, and memory still knows its id.
                let mut receipt = plain_receipt(event_id, Some(sequence));
                receipt.duplicate = true;
                return Ok(receipt);
            }
            Err(error) => {
                tracing::error!(%error, "reading the log failed");
                return Err(unavailable());
            }
        };
        let mut unread = HashMap::new();
        self.count_unread(&record.header, &mut unread).await;
        let mut receipt = plain_receipt(record.header.event_id.clone(), Some(sequence));
        receipt.duplicate = true;
        self.describe(
            &mut receipt,
            &record.header,
            self.inner.live.reach(&self.state, &record),
            &unread,
        );
        Ok(receipt)
    }

    /// Looks up the ids and reactions that may be in the view and are not in memory.
    async fn look_up(&mut self, batch: &[Command]) -> Result<LookedUp, StoreError> {
        let inner = Arc::clone(&self.inner);
        let view = &inner.view;
        self.notes.forget_through(view.applied());
        let mut looked_up = LookedUp::default();
        let uncertain: HashSet<&EventId> = batch
            .iter()
            .flat_map(|command| referenced(&command.wish))
            .filter(|id| self.known.is_uncertain(id))
            .collect();
        if !uncertain.is_empty() {
            let uncertain = uncertain.into_iter().cloned().collect();
            self.tell_untold().await;
            let found = view.find(uncertain).await?;
            looked_up.known = found
                .into_iter()
                .map(|found| (found.event_id.clone(), Known::from(found)))
                .collect();
        }
        let reacting: HashSet<(EventId, AgentId)> = batch
            .iter()
            .filter_map(|command| reacting(&command.author, &command.wish))
            .collect();
        if !reacting.is_empty() {
            self.tell_untold().await;
            for key in view.reactions(reacting.into_iter().collect()).await? {
                let of = (key.message, key.agent);
                looked_up.reactions.entry(of).or_default().insert(key.reaction);
            }
        }
        Ok(looked_up)
    }

    /// Decides the wishes one after the other, each against what the ones before it come to.
    fn decide_all(&mut self, batch: &mut Vec<Command>, looked_up: &LookedUp) -> Decided {
        let settings = &self.inner.settings;
        let mut speculative = self.state.clone();
        let mut notes = self.notes.clone();
        let mut entries: Vec<Entry> = Vec::with_capacity(batch.len());
        let mut pending = Vec::with_capacity(batch.len());
        // Repetitions within the batch are answered after the commit, with the sequence of the first.
        let mut in_batch: HashMap<EventId, usize> = HashMap::with_capacity(batch.len());
        let mut provisional = self.inner.log.head();
        let mut ephemeral = Vec::new();
        let mut repeated = Vec::new();
        for Command {
            author,
            rights,
            wish,
            reply,
            room,
        } in batch.drain(..)
        {
            let known = |id: &EventId| {
                let here = in_batch
                    .get(id)
                    .map(|index| Known::of(&entries[*index].header, Sequence::MAX));
                let mut known = here
                    .or_else(|| self.known.get(id).cloned())
                    .or_else(|| looked_up.known.get(id).cloned())?;
                known.deleted |= notes.is_deleted(id);
                known.threaded |= notes.is_threaded(id);
                Some(known)
            };
            let reactions = |of: &(EventId, AgentId)| notes.reactions(of, looked_up.reactions.get(of));
            let now_ms = settings.clock.now_ms();
            let context = Context {
                state: &speculative,
                settings,
                rights: &rights,
                known: &known,
                reactions: &reactions,
                rates: &self.inner.rates,
                now_ms,
            };
            let publishes = matches!(wish, Wish::Publish(_));
            if is_released_loop(&wish) {
                self.counters.forget();
            }
            match decide(&context, &author, wish) {
                Err(error) => reply.send(Err(error)),
                Ok(Decision::Nothing) => reply.send(Ok(plain_receipt(EventId::new(), None))),
                Ok(Decision::Duplicate {
                    event_id,
                    sequence: Sequence::MAX,
                }) => {
                    let main = in_batch
                        .get(&event_id)
                        .copied()
                        .expect("only records of this batch have this sequence");
                    pending.push(Pending {
                        reply,
                        _room: room,
                        main,
                        unknown: Vec::new(),
                        duplicate: true,
                    });
                }
                Ok(Decision::Duplicate { event_id, sequence }) => repeated.push((reply, event_id, sequence)),
                Ok(Decision::Tell(entry)) => ephemeral.push((reply, *entry)),
                Ok(Decision::Append {
                    entries: mut decided,
                    unknown,
                }) => {
                    if let Some(guard) = settings.loop_guard.as_ref().filter(|_| publishes) {
                        hold(guard, &mut self.counters, &speculative, &mut decided);
                    }
                    for entry in decided {
                        provisional = provisional.next();
                        if let Err(void) = speculative.apply(&entry.header, provisional) {
                            tracing::error!(reason = void.0, event_name = %entry.header.name, "decided a void record");
                        }
                        notes.take(&entry.header, provisional);
                        in_batch.insert(entry.header.event_id.clone(), entries.len());
                        entries.push(entry);
                    }
                    pending.push(Pending {
                        reply,
                        _room: room,
                        main: entries.len() - 1,
                        unknown,
                        duplicate: false,
                    });
                }
            }
        }
        Decided {
            entries,
            pending,
            ephemeral,
            repeated,
        }
    }

    /// Hands an ephemeral event to who is connected now.
    fn tell_ephemeral(&self, entry: Entry) -> Receipt {
        let event_id = entry.header.event_id.clone();
        let record = Record {
            sequence: Sequence::ZERO,
            header: entry.header,
            body: Some(entry.body),
        };
        let commit = Arc::new(Commit::new(record));
        let mut waking = Waking::default();
        let live = self.inner.live.route(&self.state, &commit, &mut waking);
        waking.wake();
        let mut receipt = plain_receipt(event_id, None);
        self.describe(&mut receipt, commit.header(), live, &HashMap::new());
        receipt
    }

    /// Commits a batch. The one before is told while the disk works; this one while it works on the next one, or when
    /// there is none.
    async fn commit(&mut self, entries: Vec<Entry>, pending: Vec<Pending>, ephemeral: Vec<(Reply, Entry)>) {
        let before = self.untold.take();
        let this = &*self;
        let tell = async {
            if let Some(before) = before {
                this.tell(before).await;
            }
            for (reply, entry) in ephemeral {
                reply.send(Ok(this.tell_ephemeral(entry)));
            }
        };
        if entries.is_empty() {
            return tell.await;
        }
        let copies = entries.clone();
        let (appended, ()) = tokio::join!(this.inner.log.append(entries), tell);
        let sequences = match appended {
            Ok(sequences) => sequences,
            Err(error) => return self.refuse(pending.into_iter().map(|pending| pending.reply), &error),
        };
        let mut kept = Vec::with_capacity(copies.len());
        for (entry, sequence) in copies.into_iter().zip(&sequences) {
            kept.extend(self.apply(entry, *sequence));
        }
        self.untold = Some(Committed {
            kept,
            head: *sequences.last().unwrap_or(&Sequence::ZERO),
            pending,
        });
    }

    async fn tell_untold(&mut self) {
        if let Some(committed) = self.untold.take() {
            self.tell(committed).await;
        }
    }

    /// Hands what is committed to who is to get it, and answers its authors.
    async fn tell(&self, committed: Committed) {
        let Committed { kept, head, pending } = committed;
        self.inner.recent.push(&kept);
        self.inner.committed.store(Arc::new(Snapshot {
            state: self.state.clone(),
            head,
        }));
        let mut waking = Waking::default();
        let reached: Vec<u64> = kept.iter().map(|kept| self.route(kept, &mut waking)).collect();
        self.inner.routed.store(head.get(), Ordering::Release);
        self.inner.head_changed.send_replace(head);
        // Those who wait for the event run first, on this very worker; then its author gets the receipt.
        let at_once = pending.len() <= FEW && self.knows_all_live(&kept);
        if let Some(reader) = at_once.then(|| waking.wake_but_one()).flatten() {
            let unread = HashMap::new();
            let answers = pending
                .into_iter()
                .map(|pending| self.answer(pending, &kept, &reached, &unread));
            return reader.wake_before(answers.collect());
        }
        waking.wake();
        tokio::task::yield_now().await;
        let unread = self.unread(&kept).await;
        for pending in pending {
            self.answer(pending, &kept, &reached, &unread).give();
        }
    }

    fn answer(
        &self,
        pending: Pending,
        kept: &[Kept],
        reached: &[u64],
        unread: &HashMap<AgentId, u64>,
    ) -> Answer {
        let Some(Kept { commit, .. }) = kept.get(pending.main) else {
            let error = ErrorBody::new(ErrorCode::Internal, "the record is void");
            return Answer::new(pending.reply, Err(error));
        };
        let mut receipt = plain_receipt(commit.header().event_id.clone(), Some(commit.sequence()));
        self.describe(&mut receipt, commit.header(), reached[pending.main], unread);
        if !receipt.held {
            receipt.recipients.extend(pending.unknown);
        }
        receipt.duplicate = pending.duplicate;
        Answer::new(pending.reply, Ok(receipt))
    }

    /// Whether every agent that is named in this batch is there, so that nothing waits for one that is not.
    fn knows_all_live(&self, kept: &[Kept]) -> bool {
        kept.iter()
            .flat_map(|kept| named(kept.commit.header()))
            .all(|agent_id| self.inner.live.is_live(agent_id))
    }

    /// Takes a committed entry into account.
    fn apply(&mut self, entry: Entry, sequence: Sequence) -> Option<Kept> {
        let Entry { header, body } = entry;
        let changes = match self.state.apply(&header, sequence) {
            Ok(changes) => changes,
            Err(void) => {
                tracing::warn!(%sequence, reason = void.0, "a record is void");
                return None;
            }
        };
        self.known.insert(
            header.event_id.clone(),
            Known::of(&header, sequence),
            self.inner.view.applied(),
        );
        self.notes.take(&header, sequence);
        if let Act::MessageDeleted { message_id: deleted } | Act::FileDeleted { file_id: deleted, .. } =
            &header.act
        {
            self.known.delete(deleted);
            self.inner.recent.erase(deleted);
        }
        if let (Act::Message { .. }, Some(root)) = (&header.act, &header.thread) {
            self.known.begin_thread(root);
        }
        let streams = streams(&header);
        if let Some(Stream::Channel(channel)) = streams.first() {
            self.inner.count_channel_event(channel);
        }
        if let Act::ChannelDeleted { channel } = &header.act {
            self.inner.forget_channel_events(channel);
        }
        let commit = Arc::new(Commit::new(Record {
            sequence,
            header,
            body: Some(body),
        }));
        Some(Kept::new(commit, streams, changes))
    }

    fn route(&self, kept: &Kept, waking: &mut Waking) -> u64 {
        let header = kept.commit.header();
        match &header.act {
            Act::AgentJoined { .. } | Act::AgentLeft { .. } => {
                self.inner
                    .presence
                    .announce(&self.inner, &self.state, &kept.commit, waking)
            }
            Act::TokenRevoked { id } => {
                self.inner.live.dismiss_token(id);
                0
            }
            _ => {
                self.inner.tell_observers(&kept.commit, waking);
                self.inner.live.route(&self.state, &kept.commit, waking)
            }
        }
    }

    /// How much waits for each agent that is away and named in this batch.
    async fn unread(&self, kept: &[Kept]) -> HashMap<AgentId, u64> {
        let mut unread = HashMap::new();
        for kept in kept {
            self.count_unread(kept.commit.header(), &mut unread).await;
        }
        unread
    }

    async fn count_unread(&self, header: &Header, unread: &mut HashMap<AgentId, u64>) {
        for agent_id in named(header) {
            if !unread.contains_key(agent_id) && !self.inner.live.is_live(agent_id) {
                match self.inner.unread(agent_id).await {
                    Ok(count) => drop(unread.insert(agent_id.clone(), count)),
                    Err(error) => tracing::warn!(%error, agent = %agent_id, "could not count what waits"),
                }
            }
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds since 1970 fit a double for 280,000 years"
    )]
    fn describe(&self, receipt: &mut Receipt, header: &Header, reached: u64, unread: &HashMap<AgentId, u64>) {
        if let Act::Held { .. } = header.act {
            receipt.held = true;
            return;
        }
        let state = &self.state;
        let visible = named(header).filter(|agent_id| is_visible(agent_id, header));
        receipt.recipients.extend(visible.filter_map(|agent_id| {
            let agent = state.agents.get(agent_id)?;
            let agent_id = agent_id.clone();
            if self.inner.live.is_live(&agent_id) {
                let state = RecipientState::Live;
                return Some(Recipient {
                    agent_id,
                    state,
                    last_seen: None,
                    unread: None,
                });
            }
            let last_seen_ms = self
                .inner
                .live
                .dropped_ms(&agent_id)
                .unwrap_or(agent.last_seen_ms);
            let unread = unread.get(&agent_id).copied();
            let last_seen = Some(last_seen_ms as f64 / 1000.0);
            Some(Recipient {
                agent_id,
                state: RecipientState::Away,
                last_seen,
                unread,
            })
        }));
        let members = match (&header.destination, header.visibility) {
            (Address::Agent(_) | Address::System | Address::Mod(_), _) => return,
            (_, Visibility::Restricted) => {
                let allowed = header.allowed_agents.iter().flatten();
                let entitled = |agent_id: &&AgentId| {
                    let known =
                        state.agents.contains_key(*agent_id) && header.source.agent() != Some(agent_id);
                    known && may_read(state, agent_id, header, Sequence::MAX)
                };
                allowed.filter(entitled).count()
            }
            (_, Visibility::ModOnly) => 0,
            (Address::Channel(name), _) => state.channels.get(name).map_or(0, |channel| {
                let inside = header
                    .source
                    .agent()
                    .is_some_and(|agent| state.in_channel(agent, channel));
                state.members(channel).saturating_sub(usize::from(inside))
            }),
            (Address::Everyone, _) => state
                .agents
                .len()
                .saturating_sub(usize::from(header.source.agent().is_some())),
        } as u64;
        let live = reached.min(members);
        receipt.counts = Some(Counts {
            members,
            live,
            away: members - live,
        });
    }

    /// Answers a failure of the store. Unless the disk is merely full, nothing is acknowledged any more until the
    /// workspace is opened again.
    fn refuse(&self, replies: impl Iterator<Item = Reply>, error: &StoreError) {
        let refusal = if error.is_full() {
            tracing::error!(%error, "the disk is full; events are refused");
            storage_full()
        } else {
            tracing::error!(%error, "the log failed; the workspace takes nothing until it is opened again");
            self.inner.fail();
            unavailable()
        };
        answer_all(replies, &refusal);
    }
}

fn answer_all(replies: impl Iterator<Item = Reply>, refusal: &ErrorBody) {
    for reply in replies {
        reply.send(Err(refusal.clone()));
    }
}

fn storage_full() -> ErrorBody {
    ErrorBody::new(
        ErrorCode::StorageFull,
        "the disk of the server is full; nothing was stored",
    )
}

/// Whether this lets agents go on that the loop guard stopped.
fn is_released_loop(wish: &Wish) -> bool {
    match wish {
        Wish::Release(held) => !matches!(&held.header.act, Act::Held { limit, .. } if limit == MODERATION),
        _ => false,
    }
}

/// Holds the event that was decided, if it runs into a limit, and tells those concerned the first time.
fn hold(guard: &LoopGuard, counters: &mut Counters, state: &State, decided: &mut Vec<Entry>) {
    let Some(Entry { header, .. }) = decided.last_mut() else {
        return;
    };
    let reply_to = match &header.act {
        Act::Message { reply_to } => reply_to.clone(),
        Act::Event {} => None,
        _ => return,
    };
    let Some(limit) = counters.check(guard, header) else {
        return;
    };
    header.act = Act::Held {
        reply_to,
        limit: limit.as_str().to_owned(),
    };
    if counters.is_news(header, limit) {
        tracing::warn!(sender = %header.source, destination = %header.destination, limit = limit.as_str(),
            "messages are held: this looks like a loop");
        let told = notices(state, header, limit);
        let main = decided.len() - 1;
        decided.splice(main..main, told);
    }
}

fn unavailable() -> ErrorBody {
    ErrorBody::new(
        ErrorCode::StorageUnavailable,
        "the log takes nothing now; nothing was acknowledged, try again",
    )
}

fn plain_receipt(event_id: EventId, sequence: Option<Sequence>) -> Receipt {
    Receipt {
        message_id: event_id.clone(),
        event_id,
        sequence,
        recipients: Vec::new(),
        counts: None,
        duplicate: false,
        held: false,
    }
}
