//! Some thousand messages turned around: for every word, the messages that have it.
//!
//! ```text
//!   sections   ┌ anna bob … ┐┌ cat … ┐┌ the ………………┐┌ zoo ┐   each begins with a page and ends with one
//!   pages      [     0      ][   1   ][  2  ][  3  ][  4  ]   all of one size, filled up with zeros
//!   directory  [ 0 anna · 1 cat · 2 the · 4 zoo ]             the first word of each section
//! ```
//!
//! A word costs the directory and its section, however many words there are. All pages are of one size and are replaced
//! in place, so nothing is left of a page that was replaced, wherever the database had it.

use std::collections::HashMap;
use std::ops::Range;

use super::query::Ending;
use crate::bytes::{Column, Damage, put, take, take_size, take_slice};

/// Bytes of a page: as many as fit one page of the database with what it notes down beside them.
pub(super) const PAGE: usize = 4_000;

/// A message as the index keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) sequence: u64,
    pub(super) place: u64,
    pub(super) sender: u64,
    pub(super) time_ms: u64,
    /// The words as they are compared, a blank between each two.
    pub(super) words: String,
}

/// A message in a block that has a word, by its index, and the index of the word in the message.
pub(super) type Occurrence = (u32, u32);

/// What a block is made of.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) facts: Facts,
    pub(super) columns: [Vec<u8>; Facts::COLUMNS],
    /// The sections, then the directory.
    pub(super) pages: Vec<Vec<u8>>,
}

/// What is known of a block without looking into it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Times of its messages.
    pub(super) earliest_ms: u64,
    pub(super) latest_ms: u64,
    /// Places and senders of its messages; messages name them by their index.
    pub(super) places: Vec<u64>,
    pub(super) senders: Vec<u64>,
    /// Pages that sections have.
    pub(super) sections: u32,
    /// Pages that the directory has, after them.
    pub(super) directory: u32,
}

impl Facts {
    /// What is kept of each message.
    pub(super) const COLUMNS: usize = 4;
    pub(super) const SEQUENCE: u32 = 0;
    pub(super) const PLACE: u32 = 1;
    pub(super) const SENDER: u32 = 2;
    pub(super) const TIME: u32 = 3;
}

/// Makes a block of messages in the order of their sequences, all after `base`.
pub(super) fn seal(base: u64, entries: &[Entry]) -> Sealed {
    let distinct = |of: fn(&Entry) -> u64| {
        let mut all: Vec<u64> = entries.iter().map(of).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    let (places, senders) = (distinct(|entry| entry.place), distinct(|entry| entry.sender));
    let earliest_ms = entries.iter().map(|entry| entry.time_ms).min().unwrap_or(0);
    let index = |all: &[u64], one: u64| all.partition_point(|known| *known < one) as u64;
    let column = |of: &dyn Fn(&Entry) -> u64| Column::write(&entries.iter().map(of).collect::<Vec<_>>());
    let columns = [
        column(&|entry| entry.sequence - base),
        column(&|entry| index(&places, entry.place)),
        column(&|entry| index(&senders, entry.sender)),
        column(&|entry| entry.time_ms - earliest_ms),
    ];
    let mut shelf = Shelf::default();
    for (word, bytes) in &turn_around(entries) {
        shelf.put(word, bytes);
    }
    let (pages, sections, directory) = shelf.finish();
    Sealed {
        facts: Facts {
            earliest_ms,
            latest_ms: entries.iter().map(|entry| entry.time_ms).max().unwrap_or(0),
            places,
            senders,
            sections,
            directory,
        },
        columns,
        pages,
    }
}

/// For every word, in order, its occurrences: the difference to the one before, with a bit that says of what.
fn turn_around(entries: &[Entry]) -> Vec<(&str, Vec<u8>)> {
    #[derive(Default)]
    struct Occurrences {
        bytes: Vec<u8>,
        message: u64,
        position: u64,
    }
    let mut all: HashMap<&str, Occurrences> = HashMap::new();
    for (message, entry) in (0..).zip(entries) {
        for (position, word) in (0..).zip(entry.words.split(' ').filter(|word| !word.is_empty())) {
            let word = all.entry(word).or_default();
            if word.message == message && !word.bytes.is_empty() {
                put(&mut word.bytes, (position - word.position) << 1 | 1);
            } else {
                put(&mut word.bytes, (message - word.message) << 1);
                put(&mut word.bytes, position);
            }
            (word.message, word.position) = (message, position);
        }
    }
    let mut sorted: Vec<_> = all.into_iter().map(|(word, all)| (word, all.bytes)).collect();
    sorted.sort_unstable_by_key(|(word, _)| *word);
    sorted
}

/// Takes the occurrences of a word apart.
fn occurrences(mut bytes: &[u8], found: &mut Vec<Occurrence>) -> Result<(), Damage> {
    let (mut message, mut position) = (0, 0);
    let narrow = |number: u64| u32::try_from(number).map_err(|_| Damage);
    while !bytes.is_empty() {
        let step = take(&mut bytes)?;
        if step & 1 == 1 {
            position = narrow(u64::from(position) + (step >> 1))?;
        } else {
            message = narrow(u64::from(message).saturating_add(step >> 1))?;
            position = narrow(take(&mut bytes)?)?;
        }
        found.push((message, position));
    }
    Ok(())
}

/// Where words are put one after the other.
#[derive(Default)]
struct Shelf {
    pages: Vec<Vec<u8>>,
    /// The section that is not full yet.
    section: Vec<u8>,
    /// The last word of it.
    last: String,
    directory: Vec<u8>,
}

impl Shelf {
    fn put(&mut self, word: &str, bytes: &[u8]) {
        let shared = word.bytes().zip(self.last.bytes());
        let shared = shared.take_while(|(one, other)| one == other).count();
        let length = word.len() - shared + bytes.len() + 12;
        if !self.section.is_empty() && PAGE < self.section.len() + length {
            self.close();
        }
        let shared = if self.section.is_empty() {
            put(&mut self.directory, word.len() as u64);
            self.directory.extend_from_slice(word.as_bytes());
            put(&mut self.directory, self.pages.len() as u64);
            0
        } else {
            shared
        };
        put(&mut self.section, (word.len() - shared) as u64);
        put(&mut self.section, shared as u64);
        self.section.extend_from_slice(&word.as_bytes()[shared..]);
        put(&mut self.section, bytes.len() as u64);
        self.section.extend_from_slice(bytes);
        word.clone_into(&mut self.last);
    }

    fn close(&mut self) {
        let section = std::mem::take(&mut self.section);
        self.pages.extend(paged(&section));
    }

    /// The pages, how many of them sections have, and how many the directory.
    fn finish(mut self) -> (Vec<Vec<u8>>, u32, u32) {
        self.close();
        let sections = self.pages.len();
        self.pages.extend(paged(&self.directory));
        let count = |pages: usize| u32::try_from(pages).expect("a block is small");
        let directory = self.pages.len() - sections;
        (self.pages, count(sections), count(directory))
    }
}

fn paged(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    bytes.chunks(PAGE).map(|chunk| {
        let mut page = chunk.to_vec();
        page.resize(PAGE, 0);
        page
    })
}

/// Reads the words of a block.
pub(super) struct Words<R> {
    /// Reads pages, joined.
    read: R,
    sections: u32,
    directory: Vec<u8>,
}

impl<R: FnMut(Range<u32>) -> rusqlite::Result<Vec<u8>>> Words<R> {
    pub(super) fn open(facts: &Facts, mut read: R) -> rusqlite::Result<Self> {
        let sections = facts.sections;
        let directory = read(sections..sections.saturating_add(facts.directory))?;
        Ok(Self {
            read,
            sections,
            directory,
        })
    }

    /// The occurrences of a word, or of every word that begins like this, in order.
    pub(super) fn find(&mut self, word: &str, ending: Ending) -> rusqlite::Result<Vec<Occurrence>> {
        let mut found = Vec::new();
        let mut words = 0;
        let mut next = self.section_of(word)?;
        while let Some(section) = next {
            let mut over = false;
            self.each(section.clone(), |known, bytes| {
                let hit = match ending {
                    Ending::Whole => known == word.as_bytes(),
                    Ending::Open => known.starts_with(word.as_bytes()),
                };
                if hit {
                    words += 1;
                    occurrences(bytes, &mut found)?;
                }
                over = word.as_bytes() < known && !known.starts_with(word.as_bytes());
                Ok(!over && (!hit || ending == Ending::Open))
            })?;
            next = match ending {
                Ending::Open if !over => self.section_at(section.end)?,
                _ => None,
            };
        }
        if 1 < words {
            found.sort_unstable();
        }
        Ok(found)
    }

    /// All words with their occurrences.
    fn all(
        &mut self,
        mut tell: impl FnMut(&str, &[Occurrence]) -> Result<(), Damage>,
    ) -> rusqlite::Result<()> {
        let mut found = Vec::new();
        let mut next = self.section_at(0)?;
        while let Some(section) = next {
            self.each(section.clone(), |word, bytes| {
                found.clear();
                occurrences(bytes, &mut found)?;
                tell(std::str::from_utf8(word).map_err(|_| Damage)?, &found)?;
                Ok(true)
            })?;
            next = self.section_at(section.end)?;
        }
        Ok(())
    }

    /// Tells the words of a section in order until it is told to stop.
    fn each(
        &mut self,
        section: Range<u32>,
        mut tell: impl FnMut(&[u8], &[u8]) -> Result<bool, Damage>,
    ) -> rusqlite::Result<()> {
        let bytes = (self.read)(section)?;
        let mut rest = &bytes[..];
        let mut word = Vec::new();
        while !rest.is_empty() {
            let suffix = take_size(&mut rest)?;
            if suffix == 0 {
                break;
            }
            let shared = take_size(&mut rest)?;
            if word.len() < shared {
                return Err(Damage.into());
            }
            word.truncate(shared);
            word.extend_from_slice(take_slice(&mut rest, suffix)?);
            let length = take_size(&mut rest)?;
            if !tell(&word, take_slice(&mut rest, length)?)? {
                break;
            }
        }
        Ok(())
    }

    /// The section in which a word is if it is anywhere, or where words that begin like it begin.
    fn section_of(&self, word: &str) -> Result<Option<Range<u32>>, Damage> {
        self.last_section(|_, first| first <= word.as_bytes())?
            .map_or_else(|| self.section_at(0), |section| Ok(Some(section)))
    }

    /// The section that begins with a page.
    fn section_at(&self, page: u32) -> Result<Option<Range<u32>>, Damage> {
        let section = self.last_section(|begin, _| begin <= page)?;
        Ok(section.filter(|section| section.start == page))
    }

    /// The last section of those at the front for which something holds.
    fn last_section(&self, holds: impl Fn(u32, &[u8]) -> bool) -> Result<Option<Range<u32>>, Damage> {
        let mut rest = &self.directory[..];
        let mut last = None;
        while !rest.is_empty() {
            let length = take_size(&mut rest)?;
            if length == 0 {
                break;
            }
            let first = take_slice(&mut rest, length)?;
            let begin = u32::try_from(take(&mut rest)?).map_err(|_| Damage)?;
            if !holds(begin, first) {
                return Ok(last.map(|last| last..begin));
            }
            last = Some(begin);
        }
        Ok(last.map(|last| last..self.sections))
    }
}

/// Turns a block back into its messages.
pub(super) fn unseal(
    base: u64,
    facts: &Facts,
    columns: [Vec<u8>; Facts::COLUMNS],
    read: impl FnMut(Range<u32>) -> rusqlite::Result<Vec<u8>>,
) -> rusqlite::Result<Vec<Entry>> {
    let [sequences, places, senders, times] = columns.map(Column::read);
    let (sequences, places, senders, times) = (sequences?, places?, senders?, times?);
    let named = |all: &[u64], index: u64| {
        let index = usize::try_from(index).map_err(|_| Damage)?;
        all.get(index).copied().ok_or(Damage)
    };
    let texts = texts(sequences.len(), Words::open(facts, read)?)?;
    let entry = |(index, words)| {
        Ok(Entry {
            sequence: base.saturating_add(sequences.get(index)?),
            place: named(&facts.places, places.get(index)?)?,
            sender: named(&facts.senders, senders.get(index)?)?,
            time_ms: facts.earliest_ms.saturating_add(times.get(index)?),
            words,
        })
    };
    texts.into_iter().enumerate().map(entry).collect()
}

/// The words of each message, put back into their order.
fn texts<R>(messages: usize, mut words: Words<R>) -> rusqlite::Result<Vec<String>>
where
    R: FnMut(Range<u32>) -> rusqlite::Result<Vec<u8>>,
{
    let mut known: Vec<String> = Vec::new();
    let mut all: Vec<(Occurrence, usize)> = Vec::new();
    words.all(|word, occurrences| {
        all.extend(occurrences.iter().map(|occurrence| (*occurrence, known.len())));
        known.push(word.to_owned());
        Ok(())
    })?;
    all.sort_unstable();
    let mut texts: Vec<String> = vec![String::new(); messages];
    let mut next: Occurrence = (0, 0);
    for ((message, position), word) in all {
        if message != next.0 {
            next = (message, 0);
        }
        let text = texts.get_mut(message as usize).filter(|_| position == next.1);
        let text = text.ok_or(Damage)?;
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&known[word]);
        next.1 += 1;
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(sequence: u64, words: &str) -> Entry {
        Entry {
            sequence,
            place: sequence % 3,
            sender: 40 + sequence % 2,
            time_ms: 1_700_000_000_000 - sequence,
            words: words.to_owned(),
        }
    }

    fn reader(sealed: &Sealed) -> impl FnMut(Range<u32>) -> rusqlite::Result<Vec<u8>> + '_ {
        |range| Ok(sealed.pages[range.start as usize..range.end as usize].concat())
    }

    fn find(sealed: &Sealed, word: &str, ending: Ending) -> Vec<Occurrence> {
        let mut words = Words::open(&sealed.facts, reader(sealed)).unwrap();
        words.find(word, ending).unwrap()
    }

    #[test]
    fn words_are_found_with_their_places_and_beginnings_over_many_pages() {
        let entries: Vec<Entry> = (0..3_000)
            .map(|number| entry(number + 1, &format!("common n{number} common")))
            .collect();
        let sealed = seal(0, &entries);
        assert!(sealed.pages.iter().all(|page| page.len() == PAGE));
        assert!(8 < sealed.facts.sections, "{}", sealed.facts.sections);
        assert_eq!(find(&sealed, "n1234", Ending::Whole), [(1234, 1)]);
        assert_eq!(find(&sealed, "n", Ending::Whole), []);
        assert_eq!(find(&sealed, "a", Ending::Open), []);
        assert_eq!(find(&sealed, "z", Ending::Open), []);
        assert_eq!(find(&sealed, "n", Ending::Open).len(), 3_000);
        assert_eq!(find(&sealed, "n29", Ending::Open).len(), 111);
        let common = find(&sealed, "common", Ending::Whole);
        assert_eq!(
            (common.len(), &common[..3]),
            (6_000, &[(0, 0), (0, 2), (1, 0)][..])
        );
    }

    #[test]
    fn a_block_without_messages_or_words_has_none() {
        for entries in [vec![], vec![entry(1, "")]] {
            let sealed = seal(0, &entries);
            assert_eq!(find(&sealed, "a", Ending::Open), []);
            assert_eq!(
                unseal(0, &sealed.facts, sealed.columns.clone(), reader(&sealed)).unwrap(),
                entries
            );
        }
    }

    proptest! {
        #[test]
        fn a_block_turns_back_into_its_messages(texts in prop::collection::vec("([a-d]{1,3}( [a-d]{1,3}){0,8})?", 0..60)) {
            let entries: Vec<Entry> = (100..).zip(&texts).map(|(number, text)| entry(number * 7, text)).collect();
            let sealed = seal(600, &entries);
            let back = unseal(600, &sealed.facts, sealed.columns.clone(), reader(&sealed)).unwrap();
            prop_assert_eq!(back, entries);
        }

        #[test]
        fn damage_is_told_and_never_a_panic(at in 0..8_000usize, byte: u8, word in "[a-c]{1,2}") {
            let entries: Vec<Entry> = (1..50).map(|number| entry(number, "ab b ca cab")).collect();
            let mut sealed = seal(0, &entries);
            let pages = sealed.pages.len();
            sealed.pages[at / PAGE % pages][at % 100] = byte;
            let read = |range: Range<u32>| {
                let range = range.start as usize..range.end as usize;
                Ok(sealed.pages.get(range).ok_or(Damage)?.concat())
            };
            if let Ok(mut words) = Words::open(&sealed.facts, read) {
                drop(words.find(&word, Ending::Open));
            }
            drop(unseal(0, &sealed.facts, sealed.columns.clone(), read));
        }
    }
}
