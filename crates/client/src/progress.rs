//! How far a session got: what arrived, what is handled, what was acknowledged.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use openagents_protocol::Sequence;
use openagents_protocol::frame::{WINDOW, Welcome};
use tokio::sync::Notify;

use crate::seen::{Key, Mark, Seen};

/// This many handled events are acknowledged even though more wait, so that the window of the server never fills up with
/// what is handled.
const ACKNOWLEDGE_AFTER: usize = WINDOW / 4;

/// A server keeps to its window; one that sends this much more is broken, and memory has a bound.
const MAX_IN_FLIGHT: usize = 4 * WINDOW;

/// The most ephemeral events that wait for handlers; further ones are dropped.
const MAX_EPHEMERAL: usize = WINDOW;

/// The positions of one session, across its connections.
///
/// Invariant: what is in flight is sorted by sequence, and everything before its first entry is handled.
pub(crate) struct Progress {
    /// Guards the positions; held for a few lines only.
    state: Mutex<State>,
    ephemeral: AtomicUsize,
    seen: Arc<Seen>,
    /// Whether the session is over: what was not begun comes again in another one.
    over: AtomicBool,
    /// Woken when there is something to acknowledge.
    wake: Arc<Notify>,
}

struct State {
    workspace: String,
    /// Names the log, where the server does.
    log: Option<String>,
    /// Counts the logs: what belongs to an earlier one says nothing about this one.
    epoch: u64,
    /// The highest sequence that arrived; lower ones are repeats.
    received: Sequence,
    /// Everything up to here was handled or was not for this client.
    handled: Sequence,
    /// The last acknowledgement.
    acknowledged: Sequence,
    /// Everything for this client up to here was sent.
    served: Sequence,
    /// The end of the log as far as it is known.
    head: Sequence,
    in_flight: VecDeque<Entry>,
    completed: usize,
    /// Whether the writer knows that there is something to acknowledge.
    told: bool,
}

struct Entry {
    sequence: Sequence,
    /// Handlers and streams that have not finished; the delivery itself counts as one.
    remaining: u32,
    /// Whether it is noted as handled.
    noted: bool,
}

/// What to do with an event that arrived.
pub(crate) enum Arrival {
    /// It is to be delivered, with this ticket.
    New(Ticket),
    /// It was dispatched before.
    Repeated,
    /// An ephemeral event that finds no room.
    Dropped,
    /// The server sends more than its window allows.
    Overrun,
}

/// Held by whoever still works on an event. One that is dropped unfinished leaves the event unhandled, so that
/// it comes again in another session.
pub(crate) struct Ticket {
    progress: Arc<Progress>,
    /// The event and where it is; none for an ephemeral one.
    stored: Option<(Sequence, Key)>,
    /// The log in which the sequence counts.
    epoch: u64,
}

impl Ticket {
    /// This work is over.
    pub(crate) fn finish(self) {
        self.progress.finish(&self, false);
    }

    /// This work is over, and it was that of the handlers: they are not called for the event again.
    pub(crate) fn finish_handled(self) {
        self.progress.finish(&self, true);
    }

    /// Whether its handlers were called already, in an earlier session.
    pub(crate) fn is_handled(&self) -> bool {
        self.stored
            .is_some_and(|(_, key)| self.progress.seen.is_handled(key))
    }

    /// One more ticket for the same event, while this one is not finished.
    pub(crate) fn another(&self) -> Self {
        match self.stored {
            Some((sequence, _)) => {
                let mut state = self.progress.state();
                if state.epoch == self.epoch
                    && let Some(entry) = state.entry(sequence)
                {
                    entry.remaining += 1;
                }
            }
            None => {
                self.progress.ephemeral.fetch_add(1, Ordering::Relaxed);
            }
        }
        Self {
            progress: Arc::clone(&self.progress),
            stored: self.stored,
            epoch: self.epoch,
        }
    }

    /// The session whose event it is.
    pub(crate) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// This work is over, and nobody knows how long the next will take: it is to be acknowledged now.
    pub(crate) fn finish_now(self) {
        let progress = Arc::clone(&self.progress);
        self.finish();
        progress.flush();
    }

    /// What was handled before is to be acknowledged now.
    pub(crate) fn flush(&self) {
        self.progress.flush();
    }

    /// Whether its session goes on.
    pub(crate) fn is_current(&self) -> bool {
        !self.progress.over.load(Ordering::Relaxed)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.stored.is_none() {
            self.progress.ephemeral.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Progress {
    pub(crate) fn new(welcome: &Welcome, seen: &Arc<Seen>, wake: Arc<Notify>) -> Self {
        let (cursor, head) = (welcome.cursor, welcome.head);
        Self {
            state: Mutex::new(State {
                workspace: welcome.workspace.clone(),
                log: welcome.log.clone(),
                epoch: 0,
                received: cursor,
                handled: cursor,
                acknowledged: cursor,
                served: cursor,
                head: head.max(cursor),
                in_flight: VecDeque::new(),
                completed: 0,
                told: false,
            }),
            ephemeral: AtomicUsize::new(0),
            seen: Arc::clone(seen),
            over: AtomicBool::new(false),
            wake,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("poisoned")
    }

    /// The session is over.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Goes on over a new connection.
    ///
    /// When the log behind it ends before what arrived already, or is another one, its sequences mean other
    /// events: nothing of the old ones counts any more.
    pub(crate) fn resume(&self, welcome: &Welcome) {
        let (cursor, head) = (welcome.cursor, welcome.head);
        let mut state = self.state();
        if state.workspace != welcome.workspace || state.log != welcome.log || head < state.received {
            state.workspace.clone_from(&welcome.workspace);
            state.log.clone_from(&welcome.log);
            state.epoch += 1;
            self.seen.expect_repeats();
            state.in_flight.clear();
            state.received = cursor;
            state.handled = cursor;
            state.served = cursor;
            state.head = head;
        }
        // What was handled since the hello, the server does not know.
        state.acknowledged = cursor;
        // Nor does the writer of the new connection.
        state.told = false;
        state.head = state.head.max(head);
        state.serve(cursor);
    }

    /// Registers an event that arrived, by its position and what stands for it; neither for an ephemeral one.
    pub(crate) fn receive(self: &Arc<Self>, stored: Option<(Sequence, Key)>) -> Arrival {
        let Some((sequence, key)) = stored else {
            // Only the connection adds, so the bound holds.
            if MAX_EPHEMERAL <= self.ephemeral.load(Ordering::Relaxed) {
                return Arrival::Dropped;
            }
            self.ephemeral.fetch_add(1, Ordering::Relaxed);
            return Arrival::New(self.ticket(None, 0));
        };
        let mut state = self.state();
        if sequence <= state.received {
            return Arrival::Repeated;
        }
        if MAX_IN_FLIGHT <= state.in_flight.len() {
            return Arrival::Overrun;
        }
        state.received = sequence;
        state.head = state.head.max(sequence);
        state.in_flight.push_back(Entry {
            sequence,
            remaining: 1,
            noted: false,
        });
        let epoch = state.epoch;
        drop(state);
        Arrival::New(self.ticket(Some((sequence, key)), epoch))
    }

    fn ticket(self: &Arc<Self>, stored: Option<(Sequence, Key)>, epoch: u64) -> Ticket {
        Ticket {
            progress: Arc::clone(self),
            stored,
            epoch,
        }
    }

    fn finish(&self, ticket: &Ticket, handled: bool) {
        let Some((sequence, key)) = ticket.stored else {
            return;
        };
        let mut state = self.state();
        let of_this_log = state.epoch == ticket.epoch;
        let Some(entry) = of_this_log.then(|| state.entry(sequence)).flatten() else {
            // Its position says nothing any more; the event itself may come again.
            if handled {
                self.seen.note(key, Mark::Handled);
            }
            return;
        };
        entry.remaining -= 1;
        let complete = entry.remaining == 0;
        match (complete, entry.noted) {
            (true, true) => self.seen.complete(key),
            (true, false) => self.seen.note(key, Mark::Complete),
            (false, _) if handled => {
                entry.noted = true;
                self.seen.note(key, Mark::Handled);
            }
            (false, _) => {}
        }
        if !complete {
            return;
        }
        state.completed += 1;
        state.advance();
        if state.is_pressing() || (state.in_flight.is_empty() && !state.told) {
            self.tell(&mut state);
        }
    }

    /// Has the writer acknowledge what is handled, where there is something new to say.
    fn tell(&self, state: &mut State) {
        if state.acknowledged < state.handled {
            state.told = true;
            self.wake.notify_one();
        }
    }

    /// Everything for this client up to here was sent.
    pub(crate) fn served(&self, through: Sequence) {
        let mut state = self.state();
        state.head = state.head.max(through);
        state.serve(through);
        self.tell(&mut state);
    }

    /// Asks for an acknowledgement of what is handled, before something slow begins.
    pub(crate) fn flush(&self) {
        let mut state = self.state();
        if !state.told {
            self.tell(&mut state);
        }
    }

    /// Whether there is something new to acknowledge.
    pub(crate) fn is_unacknowledged(&self) -> bool {
        let state = self.state();
        state.acknowledged < state.handled
    }

    /// Whether so much is new that it is to be acknowledged at once, so that the server goes on sending.
    pub(crate) fn is_pressing(&self) -> bool {
        self.state().is_pressing()
    }

    /// The acknowledgement to send now, if there is something new to say.
    pub(crate) fn take_acknowledgement(&self) -> Option<Sequence> {
        let mut state = self.state();
        (state.acknowledged < state.handled).then(|| {
            state.acknowledged = state.handled;
            state.completed = 0;
            state.told = false;
            state.handled
        })
    }

    /// The highest sequence below which everything is handled.
    pub(crate) fn handled(&self) -> Sequence {
        self.state().handled
    }

    /// The same with the log in which it counts, where the server names it.
    pub(crate) fn position(&self) -> Option<(Sequence, String)> {
        let state = self.state();
        Some((state.handled, state.log.clone()?))
    }

    /// The end of the log as far as it is known.
    pub(crate) fn head(&self) -> Sequence {
        self.state().head
    }
}

impl State {
    fn is_pressing(&self) -> bool {
        ACKNOWLEDGE_AFTER <= self.completed
    }

    fn entry(&mut self, sequence: Sequence) -> Option<&mut Entry> {
        let index = self
            .in_flight
            .binary_search_by_key(&sequence, |entry| entry.sequence)
            .ok()?;
        self.in_flight.get_mut(index)
    }

    fn serve(&mut self, through: Sequence) {
        self.served = self.served.max(through);
        self.advance();
    }

    fn advance(&mut self) {
        while let Some(first) = self.in_flight.front() {
            if first.remaining != 0 {
                break;
            }
            self.handled = self.handled.max(first.sequence);
            self.in_flight.pop_front();
        }
        // What was filtered out for this client never arrives; the position passes it all the same.
        if self
            .in_flight
            .front()
            .is_none_or(|first| self.served < first.sequence)
        {
            self.handled = self.handled.max(self.served);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress() -> Arc<Progress> {
        let progress = Progress::new(&welcome("first", 0, 0), &Arc::default(), Arc::new(Notify::new()));
        Arc::new(progress)
    }

    fn welcome(log: &str, cursor: u64, head: u64) -> Welcome {
        Welcome {
            protocol: 1,
            server: "0.0.0".into(),
            workspace: "lab".into(),
            agent_id: "me".into(),
            session_key: "key".into(),
            log: Some(log.to_owned()),
            head: Sequence::new(head),
            cursor: Sequence::new(cursor),
            lease_ms: 30_000,
            window: 1024,
            max_frame_bytes: 1 << 20,
        }
    }

    fn arrival(progress: &Arc<Progress>, sequence: u64) -> Arrival {
        let key = progress.seen.key(&sequence.to_string());
        progress.receive(Some((Sequence::new(sequence), key)))
    }

    fn receive(progress: &Arc<Progress>, sequence: u64) -> Ticket {
        match arrival(progress, sequence) {
            Arrival::New(ticket) => ticket,
            _ => panic!("{sequence} is not new"),
        }
    }

    #[test]
    fn the_acknowledgement_stops_before_the_first_event_that_is_not_handled() {
        let progress = progress();
        let [first, second, third] = [2, 4, 6].map(|sequence| receive(&progress, sequence));
        second.finish();
        assert_eq!(progress.take_acknowledgement(), None);
        first.finish();
        assert_eq!(progress.take_acknowledgement(), Some(Sequence::new(4)));
        third.finish();
        assert_eq!(progress.take_acknowledgement(), Some(Sequence::new(6)));
        assert_eq!(progress.take_acknowledgement(), None);
    }

    #[test]
    fn an_event_is_handled_when_its_last_ticket_is_gone() {
        let progress = progress();
        let delivery = receive(&progress, 1);
        let handler = delivery.another();
        delivery.finish();
        assert_eq!(progress.handled(), Sequence::ZERO);
        handler.finish();
        assert_eq!(progress.handled(), Sequence::new(1));
    }

    #[test]
    fn what_was_filtered_is_passed_when_nothing_before_it_is_in_flight() {
        let progress = progress();
        let first = receive(&progress, 3);
        progress.served(Sequence::new(9));
        assert_eq!(progress.handled(), Sequence::ZERO);
        let later = receive(&progress, 12);
        first.finish();
        assert_eq!(progress.handled(), Sequence::new(9));
        later.finish();
        assert_eq!(progress.handled(), Sequence::new(12));
    }

    #[test]
    fn repeats_are_known_and_a_log_that_starts_over_is_new() {
        let progress = progress();
        receive(&progress, 7).finish();
        assert!(matches!(arrival(&progress, 7), Arrival::Repeated));
        progress.resume(&welcome("first", 7, 8));
        assert!(matches!(arrival(&progress, 7), Arrival::Repeated));
        progress.resume(&welcome("first", 0, 2));
        receive(&progress, 1).finish();
        assert_eq!(progress.handled(), Sequence::new(1));
    }

    #[test]
    fn in_another_log_the_same_sequence_is_another_event() {
        let progress = progress();
        let [first, second] = [1, 2].map(|sequence| receive(&progress, sequence));
        let slow = second.another();
        first.finish();
        // It was restored up to 1, and has gone on since.
        progress.resume(&welcome("second", 1, 9));
        let other = receive(&progress, 2);
        second.finish();
        slow.finish();
        assert_eq!(
            progress.handled(),
            Sequence::new(1),
            "the new one is not handled yet"
        );
        other.finish();
        assert_eq!(progress.handled(), Sequence::new(2));
    }

    #[test]
    fn what_arrives_without_end_has_a_bound() {
        let progress = progress();
        let ephemeral: Vec<_> = (0..MAX_EPHEMERAL).map(|_| progress.receive(None)).collect();
        assert!(ephemeral.iter().all(|arrival| matches!(arrival, Arrival::New(_))));
        assert!(matches!(progress.receive(None), Arrival::Dropped));
        drop(ephemeral);
        assert!(matches!(progress.receive(None), Arrival::New(_)));
        let _tickets: Vec<_> = (1..=MAX_IN_FLIGHT as u64)
            .map(|sequence| receive(&progress, sequence))
            .collect();
        assert!(matches!(arrival(&progress, u64::MAX / 4), Arrival::Overrun));
    }
}
