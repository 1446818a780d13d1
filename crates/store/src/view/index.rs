//! Reading the index of streams. Nothing here costs more because the log is long.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashSet};

use openagents_protocol::Sequence;
use rusqlite::{Connection, OptionalExtension, Row};

use super::block::{Block, Steps};
use super::{Bounds, Direction, Stream};
use crate::database::{to_integer, to_sequence};

/// The id of a stream; none while nothing was ever in it.
pub(super) fn stream_id(connection: &Connection, stream: &Stream) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM streams WHERE name = ?1")?
        .query_one([stream.stored_name()], |row| row.get(0))
        .optional()
}

/// Gives a stream its id when something is in it for the first time.
pub(super) fn add_stream(connection: &Connection, stream: &Stream) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("INSERT INTO streams (name) VALUES (?1)")?
        .execute([stream.stored_name()])?;
    Ok(connection.last_insert_rowid())
}

/// The last block of a stream that begins at or before a sequence.
pub(super) fn block_at(
    connection: &Connection,
    stream: i64,
    sequence: i64,
) -> rusqlite::Result<Option<Block>> {
    connection
        .prepare_cached(
            "SELECT first, rest FROM blocks WHERE stream = ?1 AND first <= ?2
             ORDER BY first DESC LIMIT 1",
        )?
        .query_one((stream, sequence), decode)
        .optional()
}

/// The first block of a stream that begins after a sequence.
fn block_after(connection: &Connection, stream: i64, sequence: i64) -> rusqlite::Result<Option<Block>> {
    connection
        .prepare_cached(
            "SELECT first, rest FROM blocks WHERE stream = ?1 AND ?2 < first
             ORDER BY first LIMIT 1",
        )?
        .query_one((stream, sequence), decode)
        .optional()
}

fn decode(row: &Row<'_>) -> rusqlite::Result<Block> {
    Ok(Block::read(row.get(0)?, row.get_ref(1)?.as_blob()?)?)
}

/// Writes a block, in the place of one that begins like it.
pub(super) fn put_block(connection: &Connection, stream: i64, block: &Block) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO blocks (stream, first, rest) VALUES (?1, ?2, ?3)")?
        .execute((stream, block.first(), block.rest()))?;
    Ok(())
}

/// The last entry of a stream at or before a sequence, and how many entries there are up to it.
pub(super) fn last_entry(
    connection: &Connection,
    stream: i64,
    through: i64,
) -> rusqlite::Result<Option<(i64, i64)>> {
    let block = block_at(connection, stream, through)?;
    Ok(block.and_then(|block| block.last_through(through)))
}

pub(super) fn page(
    connection: &Connection,
    stream: &Stream,
    bounds: Bounds,
    direction: Direction,
    offset: u64,
    limit: usize,
) -> rusqlite::Result<Vec<Sequence>> {
    let Some(stream) = stream_id(connection, stream)? else {
        return Ok(Vec::new());
    };
    let through = to_integer(bounds.before).saturating_sub(1);
    let mut walk = Walk::new(stream, to_integer(bounds.after), through, direction);
    walk.pass_over(connection, offset)?;
    let mut page = Vec::new();
    while page.len() < limit
        && let Some(entry) = walk.next(connection)?
    {
        page.push(to_sequence(entry));
    }
    Ok(page)
}

/// The first entries of several streams, or the last ones, in the order of the direction and each once.
pub(super) fn merge(
    connection: &Connection,
    streams: &[Stream],
    after: Sequence,
    through: Sequence,
    direction: Direction,
    limit: usize,
) -> rusqlite::Result<Vec<Sequence>> {
    let (after, through) = (to_integer(after), to_integer(through));
    let mut lanes: Vec<Walk> = distinct(connection, streams)?
        .into_iter()
        .map(|stream| Walk::new(stream, after, through, direction))
        .collect();
    let mut heap = BinaryHeap::with_capacity(lanes.len());
    for (index, lane) in lanes.iter_mut().enumerate() {
        if let Some(sequence) = lane.next(connection)? {
            heap.push((direction.rank(sequence), index));
        }
    }
    let mut merged = Vec::new();
    while merged.len() < limit
        && let Some((rank, index)) = heap.pop()
    {
        let sequence = direction.sequence(rank);
        if merged.last() != Some(&sequence) {
            merged.push(sequence);
        }
        if let Some(sequence) = lanes[index].next(connection)? {
            heap.push((direction.rank(sequence), index));
        }
    }
    Ok(merged.into_iter().map(to_sequence).collect())
}

/// How many entries several streams have in a range; one that is in two of them counts twice.
pub(super) fn count(
    connection: &Connection,
    streams: &[Stream],
    after: Sequence,
    through: Sequence,
) -> rusqlite::Result<u64> {
    let mut total = 0;
    for stream in distinct(connection, streams)? {
        total += count_one(connection, stream, to_integer(after), to_integer(through))?;
    }
    Ok(total)
}

/// How many entries a stream has in a range.
pub(super) fn count_one(
    connection: &Connection,
    stream: i64,
    after: i64,
    through: i64,
) -> rusqlite::Result<u64> {
    if has_holes(connection, stream)? {
        return Walk::new(stream, after, through, Direction::Forward).count(connection);
    }
    let Some((last, end)) = last_entry(connection, stream, through)? else {
        return Ok(0);
    };
    if last <= after {
        return Ok(0);
    }
    let start = match last_entry(connection, stream, after)? {
        Some((_, position)) => position,
        // What came before was removed.
        None => block_after(connection, stream, after)?.map_or(0, |first| first.position() - 1),
    };
    Ok(u64::try_from(end - start).unwrap_or_default())
}

/// How many entries in a range are in both of two streams, at most `limit`.
pub(super) fn count_in_both(
    connection: &Connection,
    streams: [&Stream; 2],
    after: Sequence,
    through: Sequence,
    limit: usize,
) -> rusqlite::Result<u64> {
    let (Some(one), Some(other)) = (
        stream_id(connection, streams[0])?,
        stream_id(connection, streams[1])?,
    ) else {
        return Ok(0);
    };
    let [mut one, mut other] = [one, other]
        .map(|stream| Walk::new(stream, to_integer(after), to_integer(through), Direction::Forward));
    let (mut here, mut there) = (one.next(connection)?, other.next(connection)?);
    let mut count = 0;
    while count < limit as u64
        && let (Some(entry), Some(found)) = (here, there)
    {
        match entry.cmp(&found) {
            Ordering::Less => {
                one.skip_to(found);
                here = one.next(connection)?;
            }
            Ordering::Greater => {
                other.skip_to(entry);
                there = other.next(connection)?;
            }
            Ordering::Equal => {
                count += 1;
                here = one.next(connection)?;
                there = other.next(connection)?;
            }
        }
    }
    Ok(count)
}

fn has_holes(connection: &Connection, stream: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT holes FROM streams WHERE id = ?1")?
        .query_one([stream], |row| row.get(0))
}

/// Takes entries, which are in order, out of a stream, and a stream without any out of the view.
pub(super) fn remove(connection: &Connection, stream: &Stream, entries: &[i64]) -> rusqlite::Result<Left> {
    let Some(id) = stream_id(connection, stream)? else {
        return Ok(Left::Some);
    };
    let mut removed = None;
    let mut rest = entries;
    while let Some(entry) = rest.first() {
        let Some(block) = block_at(connection, id, *entry)? else {
            rest = &rest[1..];
            continue;
        };
        // The one that is looked for may be between this block and the next.
        let (these, later) = rest.split_at(rest.partition_point(|entry| *entry <= block.last()).max(1));
        rest = later;
        let left = block.without(these);
        if left.as_ref() == Some(&block) {
            continue;
        }
        removed = these.last();
        connection
            .prepare_cached("DELETE FROM blocks WHERE stream = ?1 AND first = ?2")?
            .execute((id, block.first()))?;
        if let Some(left) = left {
            put_block(connection, id, &left)?;
        }
    }
    let Some(last) = removed else {
        return Ok(Left::Some);
    };
    if last_entry(connection, id, i64::MAX)?.is_none() {
        connection
            .prepare_cached("DELETE FROM streams WHERE id = ?1")?
            .execute([id])?;
        return Ok(Left::Nothing);
    }
    if last_entry(connection, id, *last)?.is_some() {
        connection
            .prepare_cached("UPDATE streams SET holes = 1 WHERE id = ?1")?
            .execute([id])?;
    }
    Ok(Left::Some)
}

/// What is left of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Something, or it was not changed.
    Some,
    /// Nothing.
    Nothing,
}

fn distinct(connection: &Connection, streams: &[Stream]) -> rusqlite::Result<Vec<i64>> {
    let mut seen = HashSet::with_capacity(streams.len());
    let mut ids = Vec::with_capacity(streams.len());
    for stream in streams {
        if let Some(id) = stream_id(connection, stream)?
            && seen.insert(id)
        {
            ids.push(id);
        }
    }
    Ok(ids)
}

impl Direction {
    /// What the heap sorts by: its greatest comes first.
    fn rank(self, sequence: i64) -> Reverse<i64> {
        match self {
            Self::Forward => Reverse(sequence),
            Self::Backward => Reverse(-sequence),
        }
    }

    fn sequence(self, Reverse(rank): Reverse<i64>) -> i64 {
        match self {
            Self::Forward => rank,
            Self::Backward => -rank,
        }
    }
}

/// Goes through a part of a stream in one direction, a block at a time.
struct Walk {
    stream: i64,
    /// What is still to come: after the first number, through the second.
    range: (i64, i64),
    direction: Direction,
    /// The block that is being gone through, and how far that is.
    block: Option<(Block, Steps)>,
    /// Whether everything up to the beginning of the range was met, so that what is still to come begins with a block.
    begun: bool,
}

impl Walk {
    fn new(stream: i64, after: i64, through: i64, direction: Direction) -> Self {
        Self {
            stream,
            range: (after, through),
            direction,
            block: None,
            begun: false,
        }
    }

    /// The next entry.
    fn next(&mut self, connection: &Connection) -> rusqlite::Result<Option<i64>> {
        loop {
            if self.block.is_none() {
                self.block = self.fetch(connection)?.map(|block| {
                    let steps = Steps::of(&block, self.direction);
                    (block, steps)
                });
            }
            let Some((block, steps)) = &mut self.block else {
                return Ok(None);
            };
            let (after, through) = self.range;
            while let Some(entry) = steps.next(block) {
                match self.direction {
                    Direction::Forward if entry <= after => {}
                    Direction::Backward if through < entry => {}
                    _ if entry <= after || through < entry => return Ok(None),
                    Direction::Forward => {
                        self.range.0 = entry;
                        return Ok(Some(entry));
                    }
                    Direction::Backward => {
                        self.range.1 = entry - 1;
                        return Ok(Some(entry));
                    }
                }
            }
            self.block = None;
        }
    }

    /// The block with which what is still to come begins.
    fn fetch(&mut self, connection: &Connection) -> rusqlite::Result<Option<Block>> {
        let (after, through) = self.range;
        if through <= after {
            return Ok(None);
        }
        if self.direction == Direction::Backward {
            return block_at(connection, self.stream, through);
        }
        if !std::mem::replace(&mut self.begun, true) {
            let around = block_at(connection, self.stream, after)?;
            if let Some(block) = around.filter(|block| after < block.last()) {
                return Ok(Some(block));
            }
        }
        block_after(connection, self.stream, after)
    }

    /// Leaves out what comes before an entry, when going forward.
    fn skip_to(&mut self, entry: i64) {
        self.range.0 = self.range.0.max(entry - 1);
        if self.block.take_if(|(block, _)| block.last() < entry).is_some() {
            self.begun = false;
        }
    }

    /// Leaves out so many entries, of most blocks without a look at each. Nothing was met before.
    fn pass_over(&mut self, connection: &Connection, mut entries: u64) -> rusqlite::Result<()> {
        while entries != 0
            && let Some(block) = self.fetch(connection)?
        {
            let there = self.count_in(&block);
            if entries < there {
                self.block = Some((block.clone(), Steps::of(&block, self.direction)));
                for _ in 0..entries {
                    self.next(connection)?;
                }
                break;
            }
            entries -= there;
            self.leave(&block);
        }
        Ok(())
    }

    /// How many entries are still to come.
    fn count(mut self, connection: &Connection) -> rusqlite::Result<u64> {
        let mut count = 0;
        while let Some(block) = self.fetch(connection)? {
            count += self.count_in(&block);
            self.leave(&block);
        }
        Ok(count)
    }

    /// How many entries a block has of what is still to come.
    fn count_in(&self, block: &Block) -> u64 {
        let (after, through) = self.range;
        let count = block.count_through(through) - block.count_through(after);
        u64::try_from(count).unwrap_or_default()
    }

    /// Leaves a block out.
    fn leave(&mut self, block: &Block) {
        match self.direction {
            Direction::Forward => self.range.0 = block.last(),
            Direction::Backward => self.range.1 = block.first() - 1,
        }
    }
}
