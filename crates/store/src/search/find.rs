//! Looking something up: the tail message by message, then block by block, newest first, with bounded effort.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use openagents_protocol::{Sequence, Source};
use rusqlite::{Connection, OptionalExtension};

use super::block::{Facts, Occurrence, Words};
use super::query::{Clause, Ending, Query};
use super::rows::{self, Block};
use super::writer::{place_id, sender_id};
use super::{Hits, Place};
use crate::bytes::Damage;
use crate::database;
use crate::view::Bounds;

/// What one look-up may cost, in units of some 4 µs: some 25 ms at the most, and enough for a rare word in several million
/// messages.
pub(super) const EFFORT: usize = 6_000;

/// What it costs to read a page.
const PAGE_EFFORT: usize = 2;

/// Occurrences of words that cost one unit.
const OCCURRENCES: usize = 256;

/// What is looked for, and where.
#[derive(Clone, Debug)]
pub struct Search {
    /// What a message says.
    pub query: Arc<Query>,
    /// Where it was said.
    pub within: Within,
    /// Who said it; none: whoever.
    pub sender: Option<Source>,
    /// Between which sequences.
    pub bounds: Bounds,
    /// When, in milliseconds since 1970.
    pub times: Range<u64>,
    /// At most so many.
    pub limit: usize,
}

/// Tells of a place after which sequence to look there; none: not at all.
pub type Tell = Arc<dyn Fn(&Place) -> Option<Sequence> + Send + Sync>;

/// The places in which a search looks.
#[derive(Clone)]
pub enum Within {
    /// One, and only messages after a sequence.
    One(Place, Sequence),
    /// Those for which this tells a sequence, and only messages after it.
    Those(Tell),
}

impl fmt::Debug for Within {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(place, after) => formatter.debug_tuple("One").field(place).field(after).finish(),
            Self::Those(_) => formatter.write_str("Those"),
        }
    }
}

/// Finds messages, newest first.
pub(super) fn find(connection: &Connection, search: &Search, effort: usize) -> rusqlite::Result<Hits> {
    let sender = match &search.sender {
        Some(sender) => match sender_id(connection, sender)? {
            Some(id) => Some(id),
            None => return Ok(Hits::default()),
        },
        None => None,
    };
    let mut finder = Finder {
        connection,
        search,
        sender,
        reach: Reach::new(connection, &search.within)?,
        left: effort,
        found: Vec::new(),
    };
    finder.look_through_tail()?;
    let next = finder.look_through_blocks()?;
    Ok(Hits {
        next: next.or_else(|| finder.last_of_full_page()),
        sequences: finder.found.into_iter().map(Sequence::new).collect(),
    })
}

struct Finder<'a> {
    connection: &'a Connection,
    search: &'a Search,
    sender: Option<u64>,
    reach: Reach<'a>,
    /// Effort that is left.
    left: usize,
    /// Newest first.
    found: Vec<u64>,
}

impl Finder<'_> {
    fn is_full(&self) -> bool {
        self.search.limit <= self.found.len()
    }

    fn last_of_full_page(&self) -> Option<Sequence> {
        self.found
            .last()
            .filter(|_| self.is_full())
            .copied()
            .map(Sequence::new)
    }

    fn bounds(&self) -> (i64, i64) {
        let bounds = self.search.bounds;
        (
            database::to_integer(bounds.after),
            database::to_integer(bounds.before),
        )
    }

    fn look_through_tail(&mut self) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare_cached(
            "SELECT sequence, place, sender, time_ms, words FROM tail WHERE ?1 < sequence AND sequence < ?2
             ORDER BY sequence DESC",
        )?;
        let mut rows = statement.query(self.bounds())?;
        while !self.is_full()
            && let Some(row) = rows.next()?
        {
            let number = |column| row.get(column).map(i64::cast_unsigned);
            let (sequence, place, sender) = (number(0)?, number(1)?, number(2)?);
            let wanted = self.sender.is_none_or(|wanted| wanted == sender)
                && self.search.times.contains(&number(3)?)
                && self.reach.includes(place, sequence)?
                && self.search.query.matches_folded(row.get_ref(4)?.as_str()?);
            if wanted {
                self.found.push(sequence);
            }
        }
        Ok(())
    }

    /// Where to go on, when the effort did not suffice for all blocks.
    fn look_through_blocks(&mut self) -> rusqlite::Result<Option<Sequence>> {
        if self.is_full() {
            return Ok(None);
        }
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {} FROM blocks WHERE first < ?1 ORDER BY first DESC",
            rows::FIELDS
        ))?;
        let (after, before) = self.bounds();
        let mut rows = statement.query([before])?;
        while let Some(row) = rows.next()? {
            let block = Block::decode(row)?;
            if block.last.cast_signed() <= after {
                break;
            }
            if self.left == 0 {
                return Ok(Some(Sequence::new(block.last).next()));
            }
            self.left -= 1;
            self.look_into(&block)?;
            if self.is_full() {
                return Ok(None);
            }
        }
        Ok(None)
    }

    fn look_into(&mut self, block: &Block) -> rusqlite::Result<()> {
        let facts = &block.facts;
        let times = &self.search.times;
        if facts.latest_ms < times.start || times.end <= facts.earliest_ms {
            return Ok(());
        }
        let sender = match self.sender {
            Some(sender) => match facts.senders.binary_search(&sender) {
                Ok(index) => Some(index as u64),
                Err(_) => return Ok(()),
            },
            None => None,
        };
        if !self
            .reach
            .includes_any(&facts.places, block.last, &mut self.left)?
        {
            return Ok(());
        }
        let messages = self.matching(block)?;
        if messages.is_empty() {
            return Ok(());
        }
        self.select(block, sender, messages)
    }

    /// The messages of a block that have everything of the query, by their index, in order.
    fn matching(&mut self, block: &Block) -> rusqlite::Result<Vec<u32>> {
        let (connection, left) = (self.connection, &mut self.left);
        let mut pages_read = 0;
        let mut words = Words::open(&block.facts, |pages: Range<u32>| {
            pages_read += pages.len();
            block.pages(connection, pages)
        })?;
        let mut occurrences = 0;
        let mut matching: Option<Vec<u32>> = None;
        for clause in &self.search.query.clauses {
            let these = messages_with(clause, &mut words, &mut occurrences)?;
            let both = match &matching {
                Some(before) => in_both(before, &these),
                None => these,
            };
            let over = both.is_empty();
            matching = Some(both);
            if over {
                break;
            }
        }
        drop(words);
        *left = left.saturating_sub(pages_read * PAGE_EFFORT + occurrences / OCCURRENCES);
        Ok(matching.unwrap_or_default())
    }

    /// Takes those that are wanted, newest first, until there are enough.
    fn select(&mut self, block: &Block, sender: Option<u64>, messages: Vec<u32>) -> rusqlite::Result<()> {
        let facts = &block.facts;
        let column = |column| block.column(self.connection, column);
        let (sequences, places) = (column(Facts::SEQUENCE)?, column(Facts::PLACE)?);
        let senders = sender.map(|_| column(Facts::SENDER)).transpose()?;
        let times = &self.search.times;
        let whole = times.start <= facts.earliest_ms && facts.latest_ms < times.end;
        let clock = (!whole).then(|| column(Facts::TIME)).transpose()?;
        let bounds = self.search.bounds;
        // After which sequence, by the index of the place, of those that were asked for.
        let mut reach: Vec<Option<Option<u64>>> = vec![None; facts.places.len()];
        for message in messages.into_iter().rev() {
            let message = message as usize;
            let place = usize::try_from(places.get(message)?).map_err(|_| Damage)?;
            let after = match reach.get_mut(place).ok_or(Damage)? {
                Some(after) => *after,
                unknown => *unknown.insert(self.reach.after(facts.places[place])?),
            };
            let Some(after) = after else { continue };
            let sequence = block.first.saturating_add(sequences.get(message)?);
            if sequence <= bounds.after.get() {
                break;
            }
            let wanted = after < sequence
                && sequence < bounds.before.get()
                && senders.as_ref().map(|senders| senders.get(message)).transpose()? == sender
                && match &clock {
                    Some(clock) => times.contains(&facts.earliest_ms.saturating_add(clock.get(message)?)),
                    None => true,
                };
            if wanted {
                self.found.push(sequence);
                if self.is_full() {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// The messages that have a clause, by their index, in order. Counts the occurrences that were looked at.
fn messages_with<R>(
    clause: &Clause,
    words: &mut Words<R>,
    looked_at: &mut usize,
) -> rusqlite::Result<Vec<u32>>
where
    R: FnMut(Range<u32>) -> rusqlite::Result<Vec<u8>>,
{
    let last = clause.words.len() - 1;
    let mut begins: Vec<Occurrence> = Vec::new();
    for (offset, word) in (0..).zip(&clause.words) {
        let ending = if offset as usize == last {
            clause.ending
        } else {
            Ending::Whole
        };
        let these = words.find(word, ending)?;
        *looked_at += these.len();
        if offset == 0 {
            begins = these;
        } else {
            follow(&mut begins, &these, offset);
        }
        if begins.is_empty() {
            return Ok(Vec::new());
        }
    }
    let mut messages: Vec<u32> = begins.into_iter().map(|(message, _)| message).collect();
    messages.dedup();
    Ok(messages)
}

/// Keeps those that are followed, so many words later, by one of the others.
fn follow(begins: &mut Vec<Occurrence>, others: &[Occurrence], offset: u32) {
    let mut others = others.iter().peekable();
    begins.retain(|(message, position)| {
        let wanted = (*message, position.saturating_add(offset));
        while others.next_if(|other| **other < wanted).is_some() {}
        others.peek() == Some(&&wanted)
    });
}

/// What two ascending lists have in common.
fn in_both(one: &[u32], other: &[u32]) -> Vec<u32> {
    let mut other = other.iter().peekable();
    let common = one.iter().filter(|wanted| {
        while other.next_if(|next| next < wanted).is_some() {}
        other.peek() == Some(wanted)
    });
    common.copied().collect()
}

/// Which messages of which places are looked for.
struct Reach<'a> {
    connection: &'a Connection,
    within: &'a Within,
    /// After which sequence, by place, of those that were asked for.
    known: HashMap<u64, Option<u64>>,
}

impl<'a> Reach<'a> {
    fn new(connection: &'a Connection, within: &'a Within) -> rusqlite::Result<Self> {
        let mut known = HashMap::new();
        if let Within::One(place, after) = within
            && let Some(id) = place_id(connection, place)?
        {
            known.insert(id, Some(after.get()));
        }
        Ok(Self {
            connection,
            within,
            known,
        })
    }

    fn includes(&mut self, place: u64, sequence: u64) -> rusqlite::Result<bool> {
        Ok(self.after(place)?.is_some_and(|after| after < sequence))
    }

    /// Whether any of these places has messages to look for up to a sequence.
    fn includes_any(&mut self, places: &[u64], last: u64, left: &mut usize) -> rusqlite::Result<bool> {
        for place in places {
            if !self.known.contains_key(place) {
                *left = left.saturating_sub(1);
            }
            if self.includes(*place, last)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn after(&mut self, place: u64) -> rusqlite::Result<Option<u64>> {
        if let Some(known) = self.known.get(&place) {
            return Ok(*known);
        }
        let after = match self.within {
            Within::One(..) => None,
            Within::Those(tell) => self.place(place)?.and_then(|place| tell(&place)),
        };
        let after = after.map(Sequence::get);
        self.known.insert(place, after);
        Ok(after)
    }

    fn place(&self, id: u64) -> rusqlite::Result<Option<Place>> {
        self.connection
            .prepare_cached("SELECT channel, one, other FROM places WHERE id = ?1")?
            .query_one([id.cast_signed()], |row| {
                Ok(match row.get_ref(0)?.as_str()? {
                    "" => Place::Conversation(database::name(row, 1)?, database::name(row, 2)?),
                    _ => Place::Channel(database::name(row, 0)?),
                })
            })
            .optional()
    }
}
