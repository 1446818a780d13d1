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
        return connection
            .prepare_cached(
                "SELECT count(*) FROM entries WHERE stream = ?1 AND ?2 < sequence AND sequence <= ?3",
            )?
            .query_one((stream, after, through), |row| row.get(0))
            .map(i64::cast_unsigned);
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
        None => first_position(connection, stream)? - 1,
    };
    Ok(u64::try_from(end - start).unwrap_or_default())
}

fn has_holes(connection: &Connection, stream: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT holes FROM streams WHERE id = ?1")?
        .query_one([stream], |row| row.get(0))
}

/// The position of the first entry of a stream; 1 where it has none.
fn first_position(connection: &Connection, stream: i64) -> rusqlite::Result<i64> {
    let first = connection
        .prepare_cached("SELECT position FROM entries WHERE stream = ?1 ORDER BY sequence LIMIT 1")?
        .query_one([stream], |row| row.get(0))
        .optional()?;
    Ok(first.unwrap_or(1))
}

/// Takes an entry out of a stream, and a stream without any out of the view; tells whether that was its last one.
pub(super) fn remove(connection: &Connection, stream: &Stream, sequence: i64) -> rusqlite::Result<Emptied> {
    let Some(id) = stream_id(connection, stream)? else {
        return Ok(Emptied::No);
    };
    let removed = connection
        .prepare_cached("DELETE FROM entries WHERE stream = ?1 AND sequence = ?2")?
        .execute((id, sequence))?;
    if removed == 0 {
        return Ok(Emptied::No);
    }
    if last_entry(connection, id, i64::MAX)?.is_none() {
        connection
            .prepare_cached("DELETE FROM streams WHERE id = ?1")?
            .execute([id])?;
        return Ok(Emptied::Yes);
    }
    if last_entry(connection, id, sequence)?.is_some() {
        connection
            .prepare_cached("UPDATE streams SET holes = 1 WHERE id = ?1")?
            .execute([id])?;
    }
    Ok(Emptied::No)
}

/// Whether nothing is left of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emptied {
    Yes,
    No,
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
