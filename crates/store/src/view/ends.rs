//! The ends of streams: they grow in memory, and what grew is written once for each commit.

use std::collections::HashMap;

use rusqlite::{Connection, Transaction};

use super::block::{Block, Full};
use super::{Stream, index, notes};

/// About the most memory that ends take. Beyond it all are forgotten and read again when needed: rarer and simpler than
/// choosing.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// About what an end takes beside the entries of its block.
const END_BYTES: usize = 256;

/// The last blocks of streams; between commits as the last one left them.
#[derive(Debug, Default)]
pub(super) struct Ends {
    known: HashMap<Stream, End>,
    /// Those of them that grew and are not written yet, each once.
    grown: Vec<Stream>,
    bytes: usize,
}

#[derive(Debug)]
struct End {
    id: i64,
    /// None while nothing is in the stream.
    block: Option<Block>,
    grew: bool,
}

impl Ends {
    /// Lists an entry at the end of a stream, and tells how many there are up to it; none where it is in there already.
    pub(super) fn append(
        &mut self,
        transaction: &Transaction<'_>,
        stream: &Stream,
        sequence: i64,
    ) -> rusqlite::Result<Option<i64>> {
        if let Some(end) = self.known.get_mut(stream) {
            return end.append(transaction, stream, sequence, &mut self.grown, &mut self.bytes);
        }
        self.learn(transaction, stream)?;
        self.append(transaction, stream, sequence)
    }

    /// Writes what grew.
    pub(super) fn write(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        for stream in self.grown.drain(..) {
            let Some(end) = self.known.get_mut(&stream) else {
                continue;
            };
            end.grew = false;
            let Some(block) = &end.block else { continue };
            index::put_block(transaction, end.id, block)?;
            if let Stream::Conversation(one, other) = &stream {
                notes::converse(transaction, one, other, block.last())?;
            }
        }
        Ok(())
    }

    /// Forgets the end of a stream that is changed elsewhere.
    pub(super) fn forget(&mut self, stream: &Stream) {
        if let Some(end) = self.known.remove(stream) {
            self.bytes -= end.bytes();
        }
    }

    /// Forgets everything, such as what was rolled back.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn learn(&mut self, transaction: &Transaction<'_>, stream: &Stream) -> rusqlite::Result<()> {
        if MOST_BYTES <= self.bytes {
            self.write(transaction)?;
            self.clear();
        }
        let end = End::find(transaction, stream)?;
        self.bytes += end.bytes();
        self.known.insert(stream.clone(), end);
        Ok(())
    }
}

impl End {
    fn find(connection: &Connection, stream: &Stream) -> rusqlite::Result<Self> {
        let (id, block) = match index::stream_id(connection, stream)? {
            Some(id) => (id, index::block_at(connection, id, i64::MAX)?),
            None => (index::add_stream(connection, stream)?, None),
        };
        Ok(Self {
            id,
            block,
            grew: false,
        })
    }

    fn append(
        &mut self,
        transaction: &Transaction<'_>,
        stream: &Stream,
        sequence: i64,
        grown: &mut Vec<Stream>,
        bytes: &mut usize,
    ) -> rusqlite::Result<Option<i64>> {
        let last = self.block.as_ref().map_or(0, Block::last);
        if sequence <= last {
            return Ok(None);
        }
        if !self.grew {
            self.grew = true;
            grown.push(stream.clone());
        }
        let Some(block) = &mut self.block else {
            self.block = Some(Block::begin(sequence, 1));
            return Ok(Some(1));
        };
        *bytes -= block.bytes();
        if let Err(Full) = block.push(sequence) {
            index::put_block(transaction, self.id, block)?;
            *block = Block::begin(sequence, block.last_position() + 1);
        }
        *bytes += block.bytes();
        Ok(Some(block.last_position()))
    }

    fn bytes(&self) -> usize {
        END_BYTES + self.block.as_ref().map_or(0, Block::bytes)
    }
}

#[cfg(test)]
mod tests {
    use openagents_protocol::Sequence;
    use uuid::Uuid;

    use super::*;
    use crate::view::file;

    #[test]
    fn what_grew_is_written_before_it_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let log = file::Log {
            id: Uuid::from_u128(1),
            head: Sequence::MAX,
        };
        let (mut connection, _) = file::open(&directory.path().join("view.db"), log).unwrap();
        let transaction = connection.transaction().unwrap();
        let [one, other] = ["one", "other"].map(|name| Stream::Channel(name.parse().unwrap()));
        let mut ends = Ends::default();
        assert_eq!(ends.append(&transaction, &one, 1).unwrap(), Some(1));
        ends.bytes = MOST_BYTES;
        assert_eq!(ends.append(&transaction, &other, 2).unwrap(), Some(1));
        assert!(!ends.known.contains_key(&one));
        assert_eq!(ends.append(&transaction, &one, 3).unwrap(), Some(2));
        assert_eq!(
            ends.append(&transaction, &one, 3).unwrap(),
            None,
            "it is in there"
        );
        ends.write(&transaction).unwrap();
        for (stream, last) in [(&one, (3, 2)), (&other, (2, 1))] {
            let id = index::stream_id(&transaction, stream).unwrap().unwrap();
            assert_eq!(index::last_entry(&transaction, id, i64::MAX).unwrap(), Some(last));
        }
        ends.forget(&one);
        ends.forget(&other);
        assert_eq!(ends.bytes, 0);
    }
}
