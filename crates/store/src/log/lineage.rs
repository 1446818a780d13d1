//! Which log it is, and which logs it shares its beginning with.

use openagents_protocol::Sequence;
use rusqlite::Connection;
use uuid::Uuid;

use crate::database;

/// Most ancestors that a log remembers; beyond it, positions in the oldest one are as unknown as in any other log.
const ANCESTORS: usize = 256;

/// The names of the rows that have the name and the checksum of everything.
const ID: &str = "log_id";
const CHECKSUM: &str = "checksum";

/// Begins the names of the rows that have ancestors.
const ANCESTOR: &str = "ancestor:";

/// Names a log among its copies.
///
/// A copy begins like its original and goes on differently: the same sequence then means two records. So a copy has a
/// name of its own, and knows how far it is the same as the logs it comes from.
///
/// ```text
///   original  1 ─ 2 ─ 3 ─ 4 ─ 5 ─ 6
///                         │
///   copy                  └─ 5 ─ 6 ─ 7         the same as the original through 4
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    id: Uuid,
    /// Other logs with the same records through a sequence.
    ancestors: Vec<(Uuid, Sequence)>,
}

impl Lineage {
    /// That of a new log.
    pub fn new() -> Self {
        Self {
            id: Uuid::now_v7(),
            ancestors: Vec::new(),
        }
    }

    /// The name of the log.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Through which sequence this log and the one of a name have the same records; none where that is unknown.
    pub fn shared_with(&self, id: Uuid) -> Option<Sequence> {
        if id == self.id {
            return Some(Sequence::MAX);
        }
        let mut ancestors = self.ancestors.iter();
        ancestors
            .find(|(ancestor, _)| *ancestor == id)
            .map(|(_, through)| *through)
    }

    /// That of a copy with the records through a sequence.
    pub(crate) fn fork(&self, through: Sequence) -> Self {
        let before = self.ancestors.iter();
        let mut ancestors: Vec<_> = before
            .map(|(id, shared)| (*id, (*shared).min(through)))
            .chain([(self.id, through)])
            .collect();
        // Names are in the order in which they were given.
        ancestors.sort_unstable();
        let excess = ancestors.len().saturating_sub(ANCESTORS);
        ancestors.drain(..excess);
        Self {
            ancestors,
            ..Self::new()
        }
    }

    /// That of a file; none when the file was not made whole.
    ///
    /// # Errors
    ///
    /// Where it is not what was written.
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        let mut statement = connection.prepare("SELECT name, value FROM meta")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let rows: Vec<(String, String)> = rows.collect::<Result<_, _>>()?;
        if !rows.iter().any(|(name, _)| name == ID) {
            return Ok(None);
        }
        let unreadable = || database::unreadable(1, "the name of the log is not what was written");
        Self::of_rows(&rows).ok_or_else(unreadable).map(Some)
    }

    /// That of the rows of a file; none where it is not what was written.
    pub(crate) fn of_rows(rows: &[(String, String)]) -> Option<Self> {
        let value = |wanted: &str| {
            rows.iter()
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value)
        };
        let id = value(ID)?.parse().ok()?;
        let mut ancestors: Vec<(Uuid, Sequence)> = rows
            .iter()
            .filter_map(|(name, through)| {
                let id = name.strip_prefix(ANCESTOR)?.parse().ok()?;
                Some((id, Sequence::new(through.parse().ok()?)))
            })
            .collect();
        ancestors.sort_unstable();
        ancestors.dedup_by_key(|(id, _)| *id);
        let lineage = Self { id, ancestors };
        // That of a log of the first format has none.
        let is_sound = value(CHECKSUM).is_none_or(|stored| *stored == lineage.checksum());
        is_sound.then_some(lineage)
    }

    fn checksum(&self) -> String {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(self.id.as_bytes());
        for (id, through) in &self.ancestors {
            hasher.update(id.as_bytes());
            hasher.update(&through.get().to_le_bytes());
        }
        hasher.finalize().to_string()
    }

    pub(crate) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement =
            connection.prepare("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")?;
        statement.execute((ID, self.id.to_string()))?;
        statement.execute((CHECKSUM, self.checksum()))?;
        for (id, through) in &self.ancestors {
            statement.execute((format!("{ANCESTOR}{id}"), through.to_string()))?;
        }
        Ok(())
    }
}

impl Default for Lineage {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_a_copy_knows_how_far_it_is_the_same() {
        let original = Lineage::new();
        let copy = original.fork(Sequence::new(10));
        let shorter = copy.fork(Sequence::new(4));
        let longer = copy.fork(Sequence::new(12));
        let shared = |one: &Lineage, other: &Lineage| one.shared_with(other.id()).map(Sequence::get);
        assert_eq!(shared(&copy, &original), Some(10));
        assert_eq!(shared(&copy, &copy), Some(Sequence::MAX.get()));
        assert_eq!(shared(&shorter, &original), Some(4));
        assert_eq!(
            shared(&longer, &original),
            Some(10),
            "what came later is not shared"
        );
        assert_eq!(shared(&longer, &copy), Some(12));
        assert_eq!(shared(&shorter, &longer), None);
        assert_eq!(shared(&original, &copy), None, "a log does not know its copies");
    }

    #[test]
    fn a_lineage_is_read_as_it_was_written_and_does_not_grow_for_ever() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(super::super::rows::LOG.schema).unwrap();
        assert_eq!(Lineage::read(&connection).unwrap(), None);
        let mut lineage = Lineage::new();
        let first = lineage.id();
        for _ in 0..=ANCESTORS {
            lineage = lineage.fork(Sequence::new(3));
        }
        lineage.write(&connection).unwrap();
        assert_eq!(Lineage::read(&connection).unwrap(), Some(lineage.clone()));
        assert_eq!(lineage.ancestors.len(), ANCESTORS);
        assert_eq!(lineage.shared_with(first), None);
        connection
            .execute(
                "UPDATE meta SET value = '4' WHERE name LIKE 'ancestor:%' AND value = '3'",
                [],
            )
            .unwrap();
        assert!(Lineage::read(&connection).is_err());
    }
}
