//! What arrived between sending and waiting.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use openagents_protocol::frame::WINDOW;
use openagents_protocol::{Event, Sequence};
use tokio::time::Instant;

/// Older events are no answer to what was just done.
const LOOKBACK: Duration = Duration::from_secs(5);

/// The most events kept; the oldest go first.
const MAX_EVENTS: usize = WINDOW;

/// Events not yet returned by a wait that arrived after the latest acknowledged publish or wait.
#[derive(Default)]
pub(crate) struct Recent {
    events: VecDeque<(Instant, Arc<Event>)>,
}

impl Recent {
    pub(crate) fn push(&mut self, arrived: Instant, event: &Arc<Event>) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back((arrived, Arc::clone(event)));
    }

    /// What a wait that begins now looks at first, oldest first.
    pub(crate) fn events(&mut self, now: Instant) -> Vec<Arc<Event>> {
        while self
            .events
            .front()
            .is_some_and(|(arrived, _)| LOOKBACK < now.saturating_duration_since(*arrived))
        {
            self.events.pop_front();
        }
        self.events.iter().map(|(_, event)| Arc::clone(event)).collect()
    }

    /// A publish was acknowledged at this sequence. What follows it in the log came after it, even where it
    /// arrived before the acknowledgement.
    pub(crate) fn published(&mut self, sequence: Option<Sequence>) {
        let before = |event: &Event| sequence.is_none() || event.sequence <= sequence;
        while self.events.front().is_some_and(|(_, event)| before(event)) {
            self.events.pop_front();
        }
    }

    /// A wait returns this event; false if another one did so before.
    pub(crate) fn take(&mut self, event: &Arc<Event>) -> bool {
        let found = self.events.iter().position(|(_, kept)| Arc::ptr_eq(kept, event));
        if let Some(index) = found {
            self.events.drain(..=index);
        }
        found.is_some()
    }

    /// A wait ended without an event.
    pub(crate) fn clear(&mut self) {
        self.events.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(sequence: u64) -> Arc<Event> {
        let mut event = Event::new("test.event");
        event.sequence = Some(Sequence::new(sequence));
        Arc::new(event)
    }

    fn sequences(recent: &mut Recent, now: Instant) -> Vec<u64> {
        recent
            .events(now)
            .iter()
            .filter_map(|event| event.sequence)
            .map(Sequence::get)
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn events_are_kept_for_five_seconds_and_to_a_bound() {
        let (mut recent, start) = (Recent::default(), Instant::now());
        recent.push(start, &event(1));
        recent.push(start + Duration::from_secs(3), &event(2));
        assert_eq!(sequences(&mut recent, start + Duration::from_secs(5)), [1, 2]);
        assert_eq!(sequences(&mut recent, start + Duration::from_secs(6)), [2]);
        for sequence in 0..5000 {
            recent.push(start, &event(sequence));
        }
        assert_eq!(recent.events(start).len(), MAX_EVENTS);
    }

    #[tokio::test(start_paused = true)]
    async fn an_acknowledged_publish_or_a_wait_begins_anew() {
        let (mut recent, now) = (Recent::default(), Instant::now());
        let events: Vec<_> = (1..=6).map(event).collect();
        for event in &events {
            recent.push(now, event);
        }
        recent.published(Some(Sequence::new(2)));
        assert_eq!(sequences(&mut recent, now), [3, 4, 5, 6]);
        assert!(recent.take(&events[3]));
        assert!(!recent.take(&events[3]));
        assert_eq!(sequences(&mut recent, now), [5, 6]);
        recent.published(None);
        assert!(sequences(&mut recent, now).is_empty());
    }
}
