//! What one session is given: a bounded queue of shared pointers, the answers to its publishes, and the word
//! that ends it.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use openagents_protocol::frame::{Dismissal, SessionKind};
use openagents_protocol::{AgentId, ErrorBody, ErrorCode, EventId, Receipt, Secret};
use tokio::sync::{Notify, watch};

use crate::commit::Commit;
use crate::entitlement::Reading;
use crate::writer::Answer;

/// The most bytes of events in a queue of more than one.
const MAX_QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// The receiving end of one session. The writer pushes and never waits; the session's connection takes.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) agent_id: AgentId,
    pub(crate) kind: SessionKind,
    pub(crate) session_key: Secret,
    /// The token that admitted it, so that revoking the token ends it.
    pub(crate) token: Option<EventId>,
    pub(crate) reading: Reading,
    /// Events queued before it counts as lagging and reads the log by cursor.
    queue: usize,
    /// Guards the queues; held for a few lines only.
    inbox: Mutex<Inbox>,
    changed: Notify,
    /// Whether it is told what the workspace tells of itself.
    follows: AtomicBool,
    /// Counts what was heard from the client; a newcomer waits for it to change.
    heard: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inbox {
    events: VecDeque<Arc<Commit>>,
    /// What the events take together.
    bytes: usize,
    lagging: bool,
    /// Somebody is about to wake the session.
    wake_due: bool,
    answers: Vec<(u64, Result<Receipt, ErrorBody>)>,
    /// Answers to others, given when the session has its turn; none while it does anything but wait. Woken, a session
    /// that waits has its turn at once.
    behind: Option<Vec<Answer>>,
    probe: bool,
    dismissal: Option<Dismissal>,
    /// Ephemeral events that a lagging reader missed.
    dropped: u64,
}

/// What was taken from a reader's queues at once.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) events: Vec<Arc<Commit>>,
    pub(crate) answers: Vec<(u64, Result<Receipt, ErrorBody>)>,
    pub(crate) probe: bool,
    pub(crate) dismissal: Option<Dismissal>,
    pub(crate) lagging: bool,
    /// Nothing is left in the queue.
    pub(crate) drained: bool,
}

/// Ends the waiting of a session, however it ends.
struct Turn<'a>(&'a Reader);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.take_turn();
    }
}

impl Reader {
    pub(crate) fn new(
        agent_id: AgentId,
        kind: SessionKind,
        session_key: Secret,
        token: Option<EventId>,
        reading: Reading,
        queue: usize,
    ) -> Self {
        Self {
            agent_id,
            kind,
            session_key,
            token,
            reading,
            queue: queue.max(1),
            inbox: Mutex::default(),
            changed: Notify::new(),
            follows: AtomicBool::new(false),
            heard: watch::Sender::new(0),
        }
    }

    /// Hands over an event, and tells whether the session has to be woken for it. When the queue is full the reader
    /// lags: the queue is emptied, and its session goes on from the log.
    #[must_use]
    pub(crate) fn push(&self, commit: &Arc<Commit>) -> bool {
        let mut inbox = self.lock();
        let ephemeral = commit.sequence() == openagents_protocol::Sequence::ZERO;
        let bytes = inbox.bytes + commit.bytes();
        let full = inbox.events.len() == self.queue || (MAX_QUEUE_BYTES < bytes && !inbox.events.is_empty());
        if inbox.lagging || full {
            if ephemeral {
                inbox.dropped += 1;
            } else {
                inbox.lagging = true;
                inbox.events = VecDeque::new();
                inbox.bytes = 0;
            }
        } else {
            inbox.bytes = bytes;
            inbox.events.push_back(Arc::clone(commit));
        }
        !std::mem::replace(&mut inbox.wake_due, true)
    }

    /// Follows the workspace from here on; false if it did already.
    pub(crate) fn begin_following(&self) -> bool {
        !self.follows.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn follows(&self) -> bool {
        self.follows.load(Ordering::Acquire)
    }

    /// Hands over the answer to a publish.
    pub(crate) fn answer(&self, id: u64, outcome: Result<Receipt, ErrorBody>) {
        self.lock().answers.push((id, outcome));
        self.changed.notify_one();
    }

    /// Asks the client for a sign of life; resolves at the next one.
    pub(crate) async fn probe(&self) {
        let mut heard = self.heard.subscribe();
        self.lock().probe = true;
        self.changed.notify_one();
        heard
            .changed()
            .await
            .expect("the sender lives as long as the reader");
    }

    /// The client gave a sign of life.
    pub(crate) fn heard(&self) {
        if 0 < self.heard.receiver_count() {
            self.heard.send_modify(|count| *count += 1);
        }
    }

    /// Ends the session; the first reason stays.
    pub(crate) fn dismiss(&self, code: ErrorCode, message: &str) {
        let mut inbox = self.lock();
        if inbox.dismissal.is_none() {
            inbox.dismissal = Some(Dismissal {
                code,
                message: message.to_owned(),
            });
        }
        drop(inbox);
        self.changed.notify_one();
    }

    /// Takes what is there; at most `room` events.
    pub(crate) fn take(&self, room: usize) -> Taken {
        let mut inbox = self.lock();
        inbox.wake_due = false;
        let count = room.min(inbox.events.len());
        let events: Vec<_> = inbox.events.drain(..count).collect();
        inbox.bytes -= events.iter().map(|commit| commit.bytes()).sum::<usize>();
        if inbox.events.is_empty() && 64 < inbox.events.capacity() {
            // An idle session keeps no memory for the burst it once had.
            inbox.events = VecDeque::new();
        }
        Taken {
            events,
            answers: std::mem::take(&mut inbox.answers),
            probe: std::mem::take(&mut inbox.probe),
            dismissal: inbox.dismissal.clone(),
            lagging: inbox.lagging,
            drained: inbox.events.is_empty(),
        }
    }

    /// Whether nothing waits in the queue and nothing was left out of it.
    pub(crate) fn is_drained(&self) -> bool {
        let inbox = self.lock();
        inbox.events.is_empty() && !inbox.lagging
    }

    /// How many ephemeral events this session missed because it lagged.
    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Takes part in live delivery again, from an empty queue.
    pub(crate) fn go_live(&self) {
        let mut inbox = self.lock();
        inbox.lagging = false;
        inbox.events.clear();
        inbox.bytes = 0;
    }

    /// Resolves after something changed since the last call.
    pub(crate) async fn changed(&self) {
        let _turn = Turn(self);
        let mut changed = pin!(self.changed.notified());
        std::future::poll_fn(|context| {
            let polled = changed.as_mut().poll(context);
            if polled.is_pending() {
                self.lock().behind.get_or_insert_default();
            }
            polled
        })
        .await;
    }

    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Wakes the session, and has these answers given when it has its turn, or now if it is busy.
    ///
    /// Both could be woken at once, but then the runtime would wake a thread for the one of them, and two threads are
    /// no faster where each works for some microseconds.
    pub(crate) fn wake_before(&self, answers: Vec<Answer>) {
        let mut inbox = self.lock();
        let now = match &mut inbox.behind {
            Some(behind) => {
                behind.extend(answers);
                Vec::new()
            }
            None => answers,
        };
        drop(inbox);
        self.wake();
        now.into_iter().for_each(Answer::give);
    }

    /// The session has its turn, or does something else that may take long: nobody waits behind it.
    pub(crate) fn take_turn(&self) {
        let behind = self.lock().behind.take();
        behind.into_iter().flatten().for_each(Answer::give);
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().expect("poisoned")
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;
    use crate::writer::Reply;

    fn reader() -> Reader {
        let agent_id = AgentId::from_written("reader").unwrap();
        let kind = SessionKind::Consuming;
        Reader::new(agent_id, kind, "key".into(), None, Reading::Everything, 8)
    }

    /// An answer, and where it shows that it was given.
    fn answer() -> (Answer, oneshot::Receiver<Result<Receipt, ErrorBody>>) {
        let (sender, receiver) = oneshot::channel();
        let refusal = ErrorBody::new(ErrorCode::Internal, "an answer");
        (Answer::new(Reply::Once(sender), Err(refusal)), receiver)
    }

    #[test]
    fn who_waits_behind_a_session_is_answered_when_it_has_its_turn() {
        let reader = reader();
        let mut changed = task::spawn(reader.changed());
        assert_pending!(changed.poll());
        let (answer, mut given) = answer();
        reader.wake_before(vec![answer]);
        assert!(given.try_recv().is_err());
        assert!(changed.is_woken());
        assert_ready!(changed.poll());
        assert!(given.try_recv().is_ok());
    }

    #[test]
    fn who_waits_behind_a_session_is_answered_when_it_goes() {
        let reader = reader();
        let mut changed = task::spawn(reader.changed());
        assert_pending!(changed.poll());
        let (answer, mut given) = answer();
        reader.wake_before(vec![answer]);
        drop(changed);
        assert!(given.try_recv().is_ok());
    }

    #[test]
    fn nobody_waits_behind_a_session_that_is_busy() {
        let reader = reader();
        let mut changed = task::spawn(reader.changed());
        assert_pending!(changed.poll());
        let (earlier, mut given) = answer();
        reader.wake_before(vec![earlier]);
        reader.take_turn();
        assert!(given.try_recv().is_ok());
        let (later, mut given) = answer();
        reader.wake_before(vec![later]);
        assert!(given.try_recv().is_ok());
    }
}
