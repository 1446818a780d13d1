//! The search index: which messages say what, found newest first.
//!
//! | module | |
//! |---|---|
//! | `words` | what a word is |
//! | `query` | [`Query`]: what is searched for |
//! | `excerpt` | the part of a text that is shown, with what matched |
//! | `block` | some thousand messages turned around: words with the messages that have them |
//! | `writer`, `find` | changing the index, and looking something up |
//!
//! The newest messages are in the *tail*, word for word; when there are enough of them they become a *block*. A look-up
//! goes through the tail and then from block to block, so its cost is bounded by how many blocks it looks at, and where
//! it stopped it can go on. Why it is built like this is told in `docs/decisions/0006-an-own-search-index.md`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use openagents_protocol::{AgentId, ChannelName, Sequence, Source};
use uuid::Uuid;

use crate::Error;
use crate::condemned;
#[cfg(test)]
use crate::database;
use crate::database::{Execution, Pool};

mod block;
mod excerpt;
mod file;
mod find;
mod query;
mod rows;
mod words;
mod writer;

pub use excerpt::Piece;
pub use find::{Search, Tell, Within};
pub use query::{InvalidQuery, Query};

use file::Log;
use writer::{Limits, Writer};

/// The words of all messages of a log, in `search.db`. Cloning is cheap.
///
/// Everything in it follows from the log, so it is committed without waiting for the disk, lags behind, and is made anew
/// where it does not fit its log. Of a message that is taken out nothing stays in the file.
///
/// ```
/// use std::sync::Arc;
///
/// use openagents_store::search::{Batch, Index, Place, Query, Search, Text, Within};
/// # use openagents_store::{Execution, view::Bounds};
/// # use openagents_protocol::{Sequence, Source};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let log_id = uuid::Uuid::from_u128(1);
/// let index = Index::open(directory.path(), log_id, Sequence::new(7), Execution::Blocking)?;
/// let general = Place::Channel("general".parse()?);
/// let text = Text {
///     sequence: Sequence::new(7),
///     place: general.clone(),
///     sender: Source::Agent("alice".parse()?),
///     time_ms: 1_700_000_000_000,
///     text: "Deployed to production".to_owned(),
/// };
/// index.commit(|| Batch { through: Sequence::new(7), texts: vec![text], removed: vec![] }).await?;
/// let search = Search {
///     query: Arc::new(Query::parse("deploy* production")?),
///     within: Within::One(general, Sequence::ZERO),
///     sender: None,
///     bounds: Bounds::default(),
///     times: 0..u64::MAX,
///     limit: 20,
/// };
/// assert_eq!(index.find(search).await?.sequences, [Sequence::new(7)]);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Index {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    execution: Execution,
    /// Guards the one connection that writes.
    writer: Mutex<Writer>,
    indexed: AtomicU64,
    room: AtomicUsize,
    readers: Arc<Pool>,
}

/// Where a message was said.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In a channel.
    Channel(ChannelName),
    /// Between two agents; their order is of no account.
    Conversation(AgentId, AgentId),
}

impl Place {
    /// Whether it is the same place.
    pub fn is(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }

    /// A channel, or nothing and the two sides in their order.
    fn parts(&self) -> (&str, &str, &str) {
        match self {
            Self::Channel(channel) => (channel.as_str(), "", ""),
            Self::Conversation(one, other) if one <= other => ("", one.as_str(), other.as_str()),
            Self::Conversation(one, other) => ("", other.as_str(), one.as_str()),
        }
    }
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Where it is in the log.
    pub sequence: Sequence,
    /// Where it was said.
    pub place: Place,
    /// Who said it.
    pub sender: Source,
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// As it was written.
    pub text: String,
}

/// What a part of the log says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The log is indexed through here when this is committed.
    pub through: Sequence,
    /// What messages say. One that is in the index already says this from here on.
    pub texts: Vec<Text>,
    /// Messages that say nothing any more, whatever `texts` has of them.
    pub removed: Vec<Sequence>,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// Where the messages are in the log, newest first.
    pub sequences: Vec<Sequence>,
    /// There may be more, and they are before this one.
    pub next: Option<Sequence>,
}

impl Index {
    /// Name of the file in its directory.
    pub const FILE: &str = "search.db";

    /// Opens the index of a log in a directory of which the log holds the lock.
    ///
    /// Where there is none, or one that does not fit (of another format, of another log, ahead of a log that lost its
    /// end, damaged), the answer is an empty one.
    ///
    /// # Errors
    ///
    /// Only where the directory cannot be used.
    pub fn open(
        directory: &Path,
        log_id: Uuid,
        log_head: Sequence,
        execution: Execution,
    ) -> Result<Self, Error> {
        let log = Log {
            id: log_id,
            head: log_head,
        };
        Self::open_with(directory, log, execution, Limits::default())
    }

    fn open_with(directory: &Path, log: Log, execution: Execution, limits: Limits) -> Result<Self, Error> {
        let path = directory.join(Self::FILE);
        let writer = file::open(&path, log, limits)?;
        let shared = Shared {
            execution,
            indexed: AtomicU64::new(writer.indexed().get()),
            room: AtomicUsize::new(writer.room()),
            writer: Mutex::new(writer),
            readers: Pool::new(&path, execution),
            path,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Removes the index in a directory that nobody uses.
    pub fn discard(directory: &Path) -> Result<(), Error> {
        file::remove(&directory.join(Self::FILE))
    }

    /// The log is indexed through here.
    pub fn indexed(&self) -> Sequence {
        Sequence::new(self.shared.indexed.load(Ordering::Acquire))
    }

    /// How many messages complete a block. A batch of so many is written once; what goes beyond is written again with the
    /// block that it comes to be in.
    pub fn room(&self) -> usize {
        self.shared.room.load(Ordering::Relaxed)
    }

    /// Takes a batch, all of it or nothing; it is made where there is time for it. A batch that ends before
    /// [`Index::indexed`] is passed over. Of messages that are removed nothing is left in the file when this resolves.
    pub async fn commit(&self, batch: impl FnOnce() -> Batch + Send + 'static) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let batch = batch();
            let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer
                .commit(batch)
                .map_err(|error| shared.failed("commit to", error))?;
            shared.indexed.store(writer.indexed().get(), Ordering::Release);
            shared.room.store(writer.room(), Ordering::Relaxed);
            Ok(())
        };
        self.shared.execution.run(work).await
    }

    /// Takes messages out that are removed from the log; nothing is left of them in the file when this resolves.
    pub async fn remove(&self, messages: Vec<Sequence>) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer
                .remove(messages)
                .map_err(|error| shared.failed("commit to", error))
        };
        self.shared.execution.run(work).await
    }

    /// Finds messages, newest first.
    ///
    /// A look-up does a bounded amount of work. Where that did not suffice, the hits say where to go on, and may be fewer
    /// than there are, or none.
    pub async fn find(&self, search: Search) -> Result<Hits, Error> {
        self.find_with(search, find::EFFORT).await
    }

    async fn find_with(&self, search: Search, effort: usize) -> Result<Hits, Error> {
        let work = move |connection: &rusqlite::Transaction<'_>| find::find(connection, &search, effort);
        let found = self.shared.readers.read(work).await;
        if let Err(error) = &found {
            self.shared.note_damage(error);
        }
        found
    }
}

impl Shared {
    fn failed(&self, doing: &'static str, error: rusqlite::Error) -> Error {
        let error = Error::from_sqlite(&self.path, doing, error);
        self.note_damage(&error);
        error
    }

    /// Damage that shows only in use is remembered, so that the next one to open the index makes it anew.
    fn note_damage(&self, error: &Error) {
        if !matches!(error, Error::Damaged { .. } | Error::Encoding { .. }) {
            return;
        }
        tracing::error!(path = %self.path.display(), %error, "the search index is damaged; the next start makes it anew");
        if let Err(error) = condemned::condemn(&self.path) {
            tracing::error!(%error, "and that could not be noted down: remove it by hand");
        }
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Index")
            .field("path", &self.shared.path)
            .field("indexed", &self.indexed())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
