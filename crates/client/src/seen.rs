//! What this process has handled already, whichever session brings it.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
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
    /// Guards the marks; held for a few lines only.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    marks: HashMap<Key, Mark>,
    order: VecDeque<Key>,
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

    pub(crate) fn mark(&self, key: Key, mark: Mark) {
        let mut state = self.state();
        if let Some(known) = state.marks.get_mut(&key) {
            *known = mark.max(*known);
            return;
        }
        if state.order.len() == KEPT
            && let Some(oldest) = state.order.pop_front()
        {
            state.marks.remove(&oldest);
        }
        state.marks.insert(key, mark);
        state.order.push_back(key);
    }

    pub(crate) fn is_handled(&self, key: Key) -> bool {
        self.state().marks.contains_key(&key)
    }

    pub(crate) fn is_complete(&self, key: Key) -> bool {
        self.state().marks.get(&key) == Some(&Mark::Complete)
    }

    /// The program says by itself from where it goes on.
    pub(crate) fn forget(&self) {
        *self.state() = State::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_events_are_remembered_and_no_more() {
        let seen = Seen::default();
        let keys: Vec<Key> = (0..=KEPT).map(|number| seen.key(&number.to_string())).collect();
        for key in &keys {
            seen.mark(*key, Mark::Handled);
        }
        assert!(!seen.is_handled(keys[0]));
        assert!(seen.is_handled(keys[1]) && seen.is_handled(keys[KEPT]));
        let state = seen.state();
        assert_eq!((state.marks.len(), state.order.len()), (KEPT, KEPT));
    }

    #[test]
    fn an_event_is_complete_after_it_was_handled_and_stays_so() {
        let seen = Seen::default();
        let key = seen.key("a");
        seen.mark(key, Mark::Handled);
        assert!(!seen.is_complete(key));
        seen.mark(key, Mark::Complete);
        seen.mark(key, Mark::Handled);
        assert!(seen.is_complete(key) && seen.is_handled(key));
        seen.forget();
        assert!(!seen.is_handled(key));
    }
}
