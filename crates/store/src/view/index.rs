//! Reading the index of streams. Nothing here costs more because the log is long.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};

use openagents_protocol::Sequence;
use rusqlite::{Connection, OptionalExtension, Statement};

use super::{Bounds, Direction, Stream};
use crate::database::{to_integer, to_limit, to_sequence};

/// Rows fetched of a stream at a time: few at first, since of many streams most have nothing to give, then more.
const FIRST_PAGE: usize = 8;
const LARGEST_PAGE: usize = 512;

/// The id of a stream; none while nothing was ever in it.
pub(super) fn stream_id(connection: &Connection, stream: &Stream) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM streams WHERE name = ?1")?
        .query_one([stream.stored_name()], |row| row.get(0))
        .optional()
}

/// The last entry of a stream at or before a sequence, and how many entries there are up to it.
pub(super) fn last_entry(
    connection: &Connection,
    stream: i64,
    through: i64,
) -> rusqlite::Result<Option<(i64, i64)>> {
    connection
        .prepare_cached(
            "SELECT sequence, position FROM entries WHERE stream = ?1 AND sequence <= ?2
             ORDER BY sequence DESC LIMIT 1",
        )?
        .query_one((stream, through), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
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
    let mut statement = connection.prepare_cached(match direction {
        Direction::Forward => {
            "SELECT sequence FROM entries WHERE stream = ?1 AND ?2 < sequence AND sequence < ?3
             ORDER BY sequence LIMIT ?4 OFFSET ?5"
        }
        Direction::Backward => {
            "SELECT sequence FROM entries WHERE stream = ?1 AND ?2 < sequence AND sequence < ?3
             ORDER BY sequence DESC LIMIT ?4 OFFSET ?5"
        }
    })?;
    let offset = i64::try_from(offset).unwrap_or(i64::MAX);
    let range = (
        stream,
        to_integer(bounds.after),
        to_integer(bounds.before),
        to_limit(limit),
        offset,
    );
    statement
        .query_map(range, |row| row.get(0).map(to_sequence))?
        .collect()
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
    let mut statement = connection.prepare_cached(match direction {
        Direction::Forward => {
            "SELECT sequence FROM entries WHERE stream = ?1 AND ?2 < sequence AND sequence <= ?3
             ORDER BY sequence LIMIT ?4"
        }
        Direction::Backward => {
            "SELECT sequence FROM entries WHERE stream = ?1 AND ?2 < sequence AND sequence <= ?3
             ORDER BY sequence DESC LIMIT ?4"
        }
    })?;
    let range = (to_integer(after), to_integer(through));
    let page = (limit / streams.len().max(1) + 1).clamp(FIRST_PAGE, LARGEST_PAGE);
    let mut lanes: Vec<Lane> = distinct(connection, streams)?
        .into_iter()
        .map(|stream| Lane {
            stream,
            range,
            direction,
            page,
            fetched: VecDeque::new(),
        })
        .collect();
    let mut heap = BinaryHeap::with_capacity(lanes.len());
    for (index, lane) in lanes.iter_mut().enumerate() {
        if let Some(sequence) = lane.next(&mut statement)? {
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
        if let Some(sequence) = lanes[index].next(&mut statement)? {
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
        let position = |through| -> rusqlite::Result<i64> {
            Ok(last_entry(connection, stream, through)?.map_or(0, |(_, position)| position))
        };
        let last = position(to_integer(through))?;
        if last != 0 {
            total += u64::try_from(last - position(to_integer(after))?).unwrap_or_default();
        }
    }
    Ok(total)
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

/// One stream in a merge: a page of it, and how to get the next one.
struct Lane {
    stream: i64,
    /// What is still to be fetched: after the first number, through the second.
    range: (i64, i64),
    direction: Direction,
    /// Rows to fetch next; 0 when there are no more.
    page: usize,
    fetched: VecDeque<i64>,
}

impl Lane {
    fn next(&mut self, statement: &mut Statement<'_>) -> rusqlite::Result<Option<i64>> {
        if self.fetched.is_empty() && self.page != 0 {
            self.fetch(statement)?;
        }
        Ok(self.fetched.pop_front())
    }

    fn fetch(&mut self, statement: &mut Statement<'_>) -> rusqlite::Result<()> {
        let (after, through) = self.range;
        let mut rows = statement.query((self.stream, after, through, to_limit(self.page)))?;
        while let Some(row) = rows.next()? {
            self.fetched.push_back(row.get(0)?);
        }
        if self.fetched.len() < self.page {
            self.page = 0;
        } else if let Some(last) = self.fetched.back() {
            self.page = (self.page * 2).min(LARGEST_PAGE);
            match self.direction {
                Direction::Forward => self.range.0 = *last,
                Direction::Backward => self.range.1 = *last - 1,
            }
        }
        Ok(())
    }
}
