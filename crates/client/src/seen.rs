//! What this process has handled already, whichever session brings it.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use openagents_protocol::frame::WINDOW;

/// The most events remembered. A server sends at most a window of what it does not know to be handled, so what comes
/// again is among them.
const KEPT: usize = 2 * WINDOW;

/// Stands for an event by its id, in a few bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(u64);

/// The stored events that a client handled last.
///
/// An acknowledgement may get lost with its connection, and what was handled out of order is not acknowledged yet: a
/// session that begins anew brings such events again. By their ids they are known here, whatever log they are from.
#[derive(Default)]
pub(crate) struct Seen {
    hasher: RandomState,
    /// Whether events may come again. Until then nobody asks, and taking notes is all that is done.
    asked: AtomicBool,
    /// Guards the notes; held for a few lines only.
    state: Mutex<State>,
}

/// Invariant: no event has two notes.
#[derive(Default)]
struct State {
    /// Oldest first.
    notes: VecDeque<(Key, Mark)>,
    /// The same by event, once somebody asks.
    marks: Option<HashMap<Key, Mark>>,
}

/// How far an event got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    /// All its handlers were called.
    Handled,
    /// Its streams are through with it as well.
    Complete,
}

impl Seen {
    pub(crate) fn key(&self, event_id: &str) -> Key {
        Key(self.hasher.hash_one(event_id))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("poisoned")
    }

    /// From here on events may come again: another session begins, or the log is another one.
    pub(crate) fn expect_repeats(&self) {
        self.asked.store(true, Ordering::Release);
    }

    /// Notes how far an event got for the first time.
    pub(crate) fn note(&self, key: Key, mark: Mark) {
        let mut state = self.state();
        if let Some(marks) = &mut state.marks
            && let Some(known) = marks.get_mut(&key)
        {
            *known = mark.max(*known);
            return;
        }
        if state.notes.len() == KEPT {
            state.forget_oldest();
        }
        state.notes.push_back((key, mark));
        if let Some(marks) = &mut state.marks {
            marks.insert(key, mark);
        }
    }

    /// An event that was noted as handled is complete.
    pub(crate) fn complete(&self, key: Key) {
        let mut state = self.state();
        if let Some(marks) = &mut state.marks {
            marks.entry(key).and_modify(|mark| *mark = Mark::Complete);
            return;
        }
        let noted = state.notes.iter_mut().rev().find(|(noted, _)| *noted == key);
        if let Some((_, mark)) = noted {
            *mark = Mark::Complete;
        }
    }

    pub(crate) fn is_handled(&self, key: Key) -> bool {
        self.mark_of(key).is_some()
    }

    pub(crate) fn is_complete(&self, key: Key) -> bool {
        self.mark_of(key) == Some(Mark::Complete)
    }

    fn mark_of(&self, key: Key) -> Option<Mark> {
        if !self.asked.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.state();
        let State { notes, marks } = &mut *state;
        let marks = marks.get_or_insert_with(|| notes.iter().copied().collect());
        marks.get(&key).copied()
    }

    /// The program says by itself from where it goes on.
    pub(crate) fn forget(&self) {
        *self.state() = State::default();
    }
}

impl State {
    fn forget_oldest(&mut self) {
        if let Some((oldest, _)) = self.notes.pop_front()
            && let Some(marks) = &mut self.marks
        {
            marks.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_events_are_remembered_and_no_more() {
        for asked_first in [false, true] {
            let seen = Seen::default();
            seen.expect_repeats();
            let keys: Vec<Key> = (0..=KEPT).map(|number| seen.key(&number.to_string())).collect();
            assert!(!asked_first || !seen.is_handled(keys[0]));
            for key in &keys {
                seen.note(*key, Mark::Handled);
            }
            assert!(!seen.is_handled(keys[0]));
            assert!(seen.is_handled(keys[1]) && seen.is_handled(keys[KEPT]));
            let state = seen.state();
            let marks = state.marks.as_ref().map(HashMap::len);
            assert_eq!((marks, state.notes.len()), (Some(KEPT), KEPT));
        }
    }

    #[test]
    fn an_event_is_complete_after_it_was_handled_and_stays_so() {
        for asked_first in [false, true] {
            let seen = Seen::default();
            seen.expect_repeats();
            let [key, other] = ["a", "b"].map(|id| seen.key(id));
            assert!(!asked_first || !seen.is_complete(key));
            seen.note(key, Mark::Handled);
            seen.note(other, Mark::Handled);
            assert!(!asked_first || !seen.is_complete(key));
            seen.complete(key);
            assert!(seen.is_complete(key) && seen.is_handled(key));
            assert!(seen.is_handled(other) && !seen.is_complete(other));
            // Another session brings it again.
            seen.note(key, Mark::Handled);
            assert!(seen.is_complete(key));
            seen.forget();
            assert!(!seen.is_handled(key));
        }
    }

    #[test]
    fn what_is_noted_before_repeats_are_expected_counts_from_then_on() {
        let seen = Seen::default();
        let key = seen.key("a");
        seen.note(key, Mark::Complete);
        assert!(!seen.is_handled(key), "nothing comes twice in a first session");
        seen.expect_repeats();
        assert!(seen.is_complete(key));
    }
}
