//! What arrived between sending and waiting.

use std::collections::VecDeque;
use std::time::Duration;

use openagents_protocol::Sequence;
use openagents_protocol::frame::WINDOW;
use tokio::time::Instant;

/// Older events are no answer to what was just done.
const LOOKBACK: Duration = Duration::from_secs(5);

/// The most events kept; the oldest go first.
const MAX_EVENTS: usize = WINDOW;

/// With this many bytes of room it gives them back when nothing is left in it.
const WORTH_FREEING: usize = 16 * 1024;

/// Events not yet returned by a wait that arrived after the latest acknowledged publish or wait.
///
/// Hardly ever does anybody look back, so only their frames are kept, one behind the other, in half the memory of the
/// events; who looks back reads them again. Each has a number by which it is taken.
#[derive(Default)]
pub(crate) struct Recent {
    /// One for each event, oldest first.
    entries: VecDeque<Entry>,
    /// Their frames, without a gap.
    frames: VecDeque<u8>,
    /// The number of the oldest.
    first: u64,
    /// How many bytes of frames went before the oldest.
    passed: u64,
}

struct Entry {
    arrived: Instant,
    sequence: Option<Sequence>,
    /// Where its frame ends, counted from the first there ever was.
    end: u64,
}

impl Recent {
    /// Keeps an event under the number that is returned.
    pub(crate) fn push(&mut self, arrived: Instant, sequence: Option<Sequence>, frame: &str) -> u64 {
        if self.entries.len() == MAX_EVENTS {
            self.forget_oldest();
        }
        self.forget_before(arrived);
        self.frames.extend(frame.as_bytes());
        self.entries.push_back(Entry {
            arrived,
            sequence,
            end: self.passed + self.frames.len() as u64,
        });
        self.end() - 1
    }

    /// The number after that of the newest.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// What a wait looks back at: the frames with these numbers and the numbers, oldest first, at most `limit`.
    pub(crate) fn frames(
        &mut self,
        now: Instant,
        numbers: std::ops::Range<u64>,
        limit: usize,
    ) -> Vec<(u64, String)> {
        self.forget_before(now);
        let numbers = numbers.start.max(self.first)..numbers.end.min(self.end());
        numbers
            .take(limit)
            .map(|number| (number, self.frame(number)))
            .collect()
    }

    /// A publish was acknowledged at this sequence. What follows it in the log came after it, even where it
    /// arrived before the acknowledgement.
    pub(crate) fn published(&mut self, sequence: Option<Sequence>) {
        while self
            .entries
            .front()
            .is_some_and(|entry| sequence.is_none() || entry.sequence <= sequence)
        {
            self.forget_oldest();
        }
    }

    /// A wait returns the event with this number; false if another one did so before.
    pub(crate) fn take(&mut self, number: u64) -> bool {
        let found = (self.first..self.end()).contains(&number);
        while found && self.first <= number {
            self.forget_oldest();
        }
        found
    }

    /// A wait ended without an event.
    pub(crate) fn clear(&mut self) {
        while !self.entries.is_empty() {
            self.forget_oldest();
        }
    }

    fn forget_before(&mut self, now: Instant) {
        while self
            .entries
            .front()
            .is_some_and(|entry| LOOKBACK < now.saturating_duration_since(entry.arrived))
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.entries.pop_front() {
            self.frames.drain(..length(self.passed, oldest.end));
            self.first += 1;
            self.passed = oldest.end;
        }
        if self.entries.is_empty() && WORTH_FREEING < self.frames.capacity() {
            (self.entries, self.frames) = (VecDeque::new(), VecDeque::new());
        }
    }

    /// The frame of an event that is kept.
    fn frame(&self, number: u64) -> String {
        let index = length(self.first, number);
        let end_of = |index: usize| self.entries.get(index).map_or(self.passed, |entry| entry.end);
        let start = index.checked_sub(1).map_or(self.passed, end_of);
        let range = length(self.passed, start)..length(self.passed, end_of(index));
        String::from_utf8(self.frames.range(range).copied().collect()).expect("whole frames are kept")
    }
}

/// From one position to another, of what fits into memory.
fn length(from: u64, to: u64) -> usize {
    usize::try_from(to - from).expect("it is in memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(recent: &mut Recent, arrived: Instant, sequence: u64) -> u64 {
        recent.push(arrived, Some(Sequence::new(sequence)), &sequence.to_string())
    }

    fn kept(recent: &mut Recent, now: Instant) -> Vec<String> {
        let frames = recent.frames(now, 0..u64::MAX, usize::MAX);
        frames.into_iter().map(|(_, frame)| frame).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn events_are_kept_for_five_seconds_and_to_a_bound() {
        let (mut recent, start) = (Recent::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        push(&mut recent, start, 1);
        push(&mut recent, after(3), 22);
        assert_eq!(kept(&mut recent, after(5)), ["1", "22"]);
        assert_eq!(kept(&mut recent, after(6)), ["22"]);
        for sequence in 0..5000 {
            push(&mut recent, after(6), sequence);
        }
        assert_eq!(kept(&mut recent, after(6)).len(), MAX_EVENTS);
        push(&mut recent, after(12), 7);
        assert_eq!(kept(&mut recent, after(12)), ["7"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_acknowledged_publish_or_a_wait_begins_anew() {
        let (mut recent, now) = (Recent::default(), Instant::now());
        let numbers: Vec<u64> = (1..=6).map(|sequence| push(&mut recent, now, sequence)).collect();
        recent.published(Some(Sequence::new(2)));
        assert_eq!(kept(&mut recent, now), ["3", "4", "5", "6"]);
        assert!(recent.take(numbers[3]));
        assert!(!recent.take(numbers[3]));
        assert_eq!(kept(&mut recent, now), ["5", "6"]);
        recent.published(None);
        assert!(kept(&mut recent, now).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_looks_back_goes_on_where_it_stopped_and_no_further_than_it_began() {
        let (mut recent, now) = (Recent::default(), Instant::now());
        for sequence in 0..10 {
            push(&mut recent, now, sequence);
        }
        let until = recent.end();
        push(&mut recent, now, 10);
        let first = recent.frames(now, 0..until, 4);
        assert_eq!(first, [0, 1, 2, 3].map(|number| (number, number.to_string())));
        assert!(recent.take(6));
        let second = recent.frames(now, 4..until, 4);
        assert_eq!(second, [7, 8, 9].map(|number| (number, number.to_string())));
    }

    #[tokio::test(start_paused = true)]
    async fn the_memory_of_a_burst_is_given_back() {
        let (mut recent, now) = (Recent::default(), Instant::now());
        let frame = "é".repeat(1000);
        for _ in 0..2000 {
            recent.push(now, None, &frame);
        }
        assert_eq!(kept(&mut recent, now).pop(), Some(frame));
        recent.clear();
        assert_eq!((recent.frames.capacity(), recent.entries.capacity()), (0, 0));
    }
}
