//! The durable event log of a workspace and what is built from it: the view, and the search index.
//!
//! The log is what is true; the view is what follows from it, kept so that a start and a question need not read the
//! log. A workspace decides, appends to the log, and tells the view what that changed, and the index what was said.
//!
//! | module | |
//! |---|---|
//! | [`log`] | the [`EventLog`] trait and its implementations: [`MemoryLog`], [`SqliteLog`] |
//! | `copy` | [`LogCopy`]: a copy of a log, made while somebody else writes to it |
//! | `new_directory`, `replacement` | [`NewDirectory`], [`Replacement`]: files that appear all at once |
//! | `salvage` | [`Salvage`]: what can be saved of a damaged log |
//! | [`view`] | [`View`]: state, streams, events by id, cursors; rebuilt from the log at any time |
//! | [`search`] | [`search::Index`]: which messages say what; rebuilt from the log as well |
//! | `contract` | the suite that every log passes, behind the feature `contract` |
//!
//! The crate does not know what a record means: which streams it is in and what it changes is said by whoever commits
//! it. It does not watch the clock, keeps no threads and polls nothing. Only this crate knows the storage engine.
//!
//! ```
//! use openagents_store::{EventLog, Options, Store, Stream, View};
//! # use openagents_store::view::{Bounds, Direction};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), openagents_store::Error> {
//! # let directory = tempfile::tempdir().expect("a directory");
//! # let directory = directory.path();
//! let (store, loaded) = Store::open(directory, Options::default())?;
//! for record in store.log.read(loaded.applied, 1_000).await? {
//!     // Apply it, and commit to the view what that changed.
//! #   drop(record);
//! }
//! let general = Stream::Channel("general".parse().expect("a legal name"));
//! let newest = store.view.page(general, Bounds::default(), Direction::Backward, 0, 50).await?;
//! let messages = store.log.read_at(newest).await?;
//! # assert!(messages.is_empty());
//! # store.log.close().await
//! # }
//! ```

use std::path::Path;
use std::sync::Arc;

#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod log;
pub mod search;
pub mod view;

mod bytes;
mod condemned;
mod copy;
mod database;
mod directory;
mod error;
mod new_directory;
mod replacement;
mod salvage;

pub use copy::{Copied, LogCopy};
pub use database::Execution;
pub use error::Error;
pub use log::{Durability, Entry, EventLog, Gap, Lineage, MemoryLog, SqliteLog};
pub use new_directory::NewDirectory;
pub use replacement::Replacement;
pub use salvage::{Findings, Salvage};
pub use view::{Loaded, Stream, Update, View};

/// The log, the view and the search index in the directory of a workspace.
///
/// One server at a time: the log holds the lock of the directory until it is dropped.
#[derive(Debug)]
pub struct Store {
    /// What is true.
    pub log: Arc<SqliteLog>,
    /// What follows from it.
    pub view: View,
    /// What is said in it.
    pub search: search::Index,
}

/// How a store works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What an append waits for.
    pub durability: Durability,
    /// Where statements run.
    pub execution: Execution,
}

impl Store {
    /// Opens the store in a directory, which is made when it is missing.
    ///
    /// Waits for the disk, but not long: none of the three is read whole. A [`Replacement`] that was complete and not
    /// finished is finished first.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] while another server uses the directory; [`Error::Damaged`] and [`Error::NewerFormat`] when the
    /// log is not what this version can read, or is gone while its view is there.
    pub fn open(directory: &Path, options: Options) -> Result<(Self, Loaded), Error> {
        let lock = directory::Lock::take(directory)?;
        replacement::finish_interrupted(directory)?;
        let log = directory.join(SqliteLog::FILE);
        // An empty log beside a view would pass for a new workspace, and the loss for its first start.
        if directory::is_empty(&log) && !directory::is_empty(&directory.join(View::FILE)) {
            let detail = "it is missing or empty, but the view made from it is there".to_owned();
            return Err(Error::Damaged { path: log, detail });
        }
        let log = SqliteLog::open_locked(directory, lock, options.durability, options.execution)?;
        let (view, loaded) = View::open(directory, log.id(), log.head(), options.execution)?;
        let search = search::Index::open(directory, log.id(), log.head(), options.execution)?;
        Ok((
            Self {
                log: Arc::new(log),
                view,
                search,
            },
            loaded,
        ))
    }

    /// Empties the view and the search index in a directory, so that the next start builds them from the log. Cursors
    /// stay.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] while a server uses the directory.
    pub fn discard_views(directory: &Path) -> Result<(), Error> {
        let _lock = directory::Lock::take(directory)?;
        search::Index::discard(directory)?;
        View::discard(directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openagents_protocol::Sequence;

    #[tokio::test]
    async fn a_store_opens_where_it_left_off() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("workspaces").join("main");
        let (store, loaded) = Store::open(&directory, Options::default()).unwrap();
        assert_eq!(loaded, Loaded::default());
        store
            .log
            .append(vec![contract::entry(1), contract::entry(2)])
            .await
            .unwrap();
        store
            .view
            .commit(Update {
                applied: Sequence::new(1),
                ..Update::default()
            })
            .await
            .unwrap();
        assert!(matches!(
            Store::open(&directory, Options::default()),
            Err(Error::Locked { .. })
        ));
        assert!(matches!(
            Store::discard_views(&directory),
            Err(Error::Locked { .. })
        ));
        drop(store);

        let (store, loaded) = Store::open(&directory, Options::default()).unwrap();
        assert_eq!(loaded.applied, Sequence::new(1));
        assert_eq!(store.log.head(), Sequence::new(2));
        drop(store);

        Store::discard_views(&directory).unwrap();
        let (_, loaded) = Store::open(&directory, Options::default()).unwrap();
        assert_eq!(loaded.applied, Sequence::ZERO);
    }

    #[test]
    fn a_lost_log_is_not_taken_for_a_new_workspace() {
        let directory = tempfile::tempdir().unwrap();
        drop(Store::open(directory.path(), Options::default()).unwrap());
        std::fs::remove_file(directory.path().join(SqliteLog::FILE)).unwrap();
        let error = Store::open(directory.path(), Options::default()).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_new_directory_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;

        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("data");
        drop(Store::open(&directory, Options::default()).unwrap());
        let mode = std::fs::metadata(&directory).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn every_error_says_what_to_do() {
        let path = std::path::PathBuf::from("DIR/log.db");
        let messages = [
            Error::Locked { path: path.clone() },
            Error::Damaged {
                path: path.clone(),
                detail: "it is not a database".to_owned(),
            },
            Error::NewerFormat {
                path: path.clone(),
                found: 3,
                supported: 1,
            },
            Error::Full { path },
            Error::Closed,
        ]
        .map(|error| error.to_string());
        assert_eq!(
            messages,
            [
                "DIR/log.db is in use; stop the other server that uses this directory, or choose another one",
                "DIR/log.db is damaged (it is not a database); `openagents repair` saves what can be saved, \
                 `openagents restore` brings back a backup",
                "DIR/log.db has format 3 and this version reads up to 1; use a newer version",
                "no space left for DIR/log.db; free some and try again",
                "the log is closed; open it again to see what it holds",
            ]
        );
    }
}
