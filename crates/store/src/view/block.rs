//! Entries of a stream that follow each other, in one row: where the first is, and how far each later one is from the one
//! before it.
//!
//! ```text
//!   sequences        1000   1001   1004   1300     positions 7 to 10
//!   first            1000
//!   rest         7          1      3      296      a byte each, and two for the last
//! ```
//!
//! The only entry that was ever in a stream has no rest, so that such a stream takes what a row for the entry would.

use super::Direction;
use crate::bytes::{Damage, put, take};

/// Entries of a stream that follow each other; at least one.
///
/// Invariant: the entries ascend, and neither they nor their positions leave the range of the numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    first: i64,
    last: i64,
    position: i64,
    count: i64,
    later: Vec<u8>,
}

/// A block had no room for another entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Block {
    /// The most bytes of its later entries: few enough to be written anew whenever a slow stream gets another one, and to
    /// stay in the page of their row; enough that a row is a small part of what it costs to list an entry.
    pub(super) const BYTES: usize = 512;

    /// A block of one entry, and how many are in its stream up to it.
    pub(super) fn begin(sequence: i64, position: i64) -> Self {
        Self {
            first: sequence,
            last: sequence,
            position,
            count: 1,
            later: Vec::new(),
        }
    }

    /// Takes the entry that comes next in the stream.
    pub(super) fn push(&mut self, sequence: i64) -> Result<(), Full> {
        debug_assert!(self.last < sequence, "entries come in the order of the log");
        let length = self.later.len();
        put(&mut self.later, (sequence - self.last).cast_unsigned());
        if Self::BYTES < self.later.len() {
            self.later.truncate(length);
            return Err(Full);
        }
        self.last = sequence;
        self.count += 1;
        Ok(())
    }

    /// The block of a row.
    pub(super) fn read(first: i64, rest: &[u8]) -> Result<Self, Damage> {
        let number = |bytes: &mut &[u8]| match i64::try_from(take(bytes)?) {
            Ok(number @ 1..) => Ok(number),
            _ => Err(Damage),
        };
        let mut later = rest;
        let position = if rest.is_empty() { 1 } else { number(&mut later)? };
        if first < 1 || Self::BYTES < later.len() {
            return Err(Damage);
        }
        let (mut last, mut count) = (first, 1);
        let mut steps = later;
        while !steps.is_empty() {
            last = last.checked_add(number(&mut steps)?).ok_or(Damage)?;
            count += 1;
        }
        position.checked_add(count).ok_or(Damage)?;
        Ok(Self {
            first,
            last,
            position,
            count,
            later: later.to_vec(),
        })
    }

    /// What its row has beside its first entry.
    pub(super) fn rest(&self) -> Vec<u8> {
        let mut rest = Vec::with_capacity(self.later.len() + 4);
        if self.position != 1 || !self.later.is_empty() {
            put(&mut rest, self.position.cast_unsigned());
            rest.extend_from_slice(&self.later);
        }
        rest
    }

    /// Its first entry.
    pub(super) fn first(&self) -> i64 {
        self.first
    }

    /// Its last entry.
    pub(super) fn last(&self) -> i64 {
        self.last
    }

    /// How many entries are in its stream up to its first one.
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// How many are up to its last one.
    pub(super) fn last_position(&self) -> i64 {
        self.position + self.count - 1
    }

    /// How many bytes its later entries have.
    pub(super) fn bytes(&self) -> usize {
        self.later.len()
    }

    /// How many of its entries are at or before a sequence.
    pub(super) fn count_through(&self, sequence: i64) -> i64 {
        if self.last <= sequence {
            return self.count;
        }
        let mut steps = Steps::of(self, Direction::Forward);
        let mut count = 0;
        while steps.next(self).is_some_and(|entry| entry <= sequence) {
            count += 1;
        }
        count
    }

    /// Its last entry at or before a sequence, and how many entries are in its stream up to that.
    pub(super) fn last_through(&self, sequence: i64) -> Option<(i64, i64)> {
        if self.last <= sequence {
            return Some((self.last, self.last_position()));
        }
        let mut steps = Steps::of(self, Direction::Forward);
        let mut last = None;
        for position in self.position.. {
            match steps.next(self) {
                Some(entry) if entry <= sequence => last = Some((entry, position)),
                _ => break,
            }
        }
        last
    }

    /// What is left of it without these entries, which are in order; none: nothing.
    pub(super) fn without(&self, gone: &[i64]) -> Option<Self> {
        let mut steps = Steps::of(self, Direction::Forward);
        let (mut left, mut position) = (None::<Self>, self.position);
        while let Some(entry) = steps.next(self) {
            if gone.binary_search(&entry).is_ok() {
                position += 1;
            } else if let Some(left) = &mut left {
                let pushed = left.push(entry);
                debug_assert_eq!(pushed, Ok(()), "a part of a block is not longer than all of it");
            } else {
                left = Some(Self::begin(entry, position));
            }
        }
        left
    }
}

/// Goes through the entries of a block in one direction, the block being given at each step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    direction: Direction,
    /// The entry that comes next; none: there is none.
    next: Option<i64>,
    /// Bytes between the beginning and that entry.
    at: usize,
}

impl Steps {
    /// From the end of a block at which the direction begins.
    pub(super) fn of(block: &Block, direction: Direction) -> Self {
        let (next, at) = match direction {
            Direction::Forward => (block.first, 0),
            Direction::Backward => (block.last, block.later.len()),
        };
        Self {
            direction,
            next: Some(next),
            at,
        }
    }

    /// The next entry.
    pub(super) fn next(&mut self, block: &Block) -> Option<i64> {
        let entry = self.next?;
        self.next = match self.direction {
            Direction::Forward => {
                let mut rest = block.later.get(self.at..).unwrap_or_default();
                let step = take(&mut rest).ok();
                self.at = block.later.len() - rest.len();
                step.map(|step| entry + step.cast_signed())
            }
            Direction::Backward => {
                let before = block.later.get(..self.at).unwrap_or_default();
                // The last byte of a number is the only one without the mark that another one follows.
                let ends_before = before.iter().rposition(|byte| *byte < 0x80);
                let others = ends_before.map_or(&[][..], |end| &before[..end]);
                self.at = others
                    .iter()
                    .rposition(|byte| *byte < 0x80)
                    .map_or(0, |end| end + 1);
                let step = take(&mut &before[self.at..]).ok();
                step.map(|step| entry - step.cast_signed())
            }
        };
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(block: &Block, direction: Direction) -> Vec<i64> {
        let mut steps = Steps::of(block, direction);
        std::iter::from_fn(|| steps.next(block)).collect()
    }

    /// A block of as many of these entries as it has room for, and those.
    fn filled(steps: &[i64], position: i64) -> (Block, Vec<i64>) {
        let mut entries = vec![steps[0]];
        let mut block = Block::begin(steps[0], position);
        for step in &steps[1..] {
            let next = entries[entries.len() - 1] + step;
            if block.push(next).is_err() {
                break;
            }
            entries.push(next);
        }
        (block, entries)
    }

    fn steps() -> impl Strategy<Value = Vec<i64>> {
        let step = (1..i64::MAX, 0..63_u32).prop_map(|(step, shift)| (step >> shift.max(12)).max(1));
        prop::collection::vec(step, 1..700)
    }

    #[test]
    fn a_block_is_full_by_its_bytes() {
        let (dense, entries) = filled(&vec![1; 2_000], 1);
        assert_eq!(entries.len(), Block::BYTES + 1);
        assert_eq!(dense.bytes(), Block::BYTES);
        let (sparse, entries) = filled(&vec![1_000; 2_000], 1);
        assert_eq!(entries.len(), Block::BYTES / 2 + 1);
        assert_eq!(sparse.count, i64::try_from(entries.len()).unwrap());
    }

    #[test]
    fn the_only_entry_of_a_stream_has_no_rest() {
        let alone = Block::begin(i64::MAX, 1);
        assert!(alone.rest().is_empty());
        assert_eq!(Block::read(i64::MAX, &[]), Ok(alone));
        let later = Block::begin(9, 3);
        assert_eq!(Block::read(9, &later.rest()), Ok(later));
    }

    proptest! {
        #[test]
        fn a_block_agrees_with_a_plain_list(steps in steps(), position in 1..1_000_i64, pick in any::<prop::sample::Index>(), gone in any::<u64>()) {
            let (block, entries) = filled(&steps, position);
            prop_assert_eq!(Block::read(block.first(), &block.rest()), Ok(block.clone()));
            prop_assert_eq!(all(&block, Direction::Forward), &entries[..]);
            let backward: Vec<i64> = entries.iter().rev().copied().collect();
            prop_assert_eq!(all(&block, Direction::Backward), backward);
            let length = i64::try_from(entries.len()).unwrap();
            prop_assert_eq!((block.count, block.last_position()), (length, position + length - 1));
            for through in [*pick.get(&entries), pick.get(&entries) - 1, 0, i64::MAX] {
                let count = entries.iter().filter(|entry| **entry <= through).count();
                let count = i64::try_from(count).unwrap();
                prop_assert_eq!(block.count_through(through), count);
                let last = entries.iter().rfind(|entry| **entry <= through);
                prop_assert_eq!(block.last_through(through), last.map(|last| (*last, position + count - 1)));
            }
            let is_gone = |index: usize| gone >> (index % 64) & 1 == 1;
            let part = |of: bool| -> Vec<i64> {
                entries.iter().enumerate().filter(|(index, _)| is_gone(*index) == of).map(|(_, entry)| *entry).collect()
            };
            let left = block.without(&part(true));
            prop_assert_eq!(left.as_ref().map_or(Vec::new(), |left| all(left, Direction::Forward)), part(false));
            if let Some(left) = left {
                let before = entries.iter().position(|entry| *entry == left.first()).unwrap();
                prop_assert_eq!(left.position(), position + i64::try_from(before).unwrap());
            }
        }

        #[test]
        fn damage_is_told_and_never_a_panic(first in any::<i64>(), rest in prop::collection::vec(any::<u8>(), 0..600)) {
            for first in [first, 1] {
                if let Ok(block) = Block::read(first, &rest) {
                    let entries = all(&block, Direction::Forward);
                    prop_assert!(entries.is_sorted_by(|one, other| one < other) && first == entries[0]);
                    prop_assert_eq!(entries.len(), all(&block, Direction::Backward).len());
                    drop(block.without(&entries[..1]));
                }
            }
        }
    }
}
