//! Backups, made while a server runs.

use std::collections::BTreeSet;
use std::path::Path;

use openagents_protocol::{EventId, Sequence};
use openagents_store::{Copied, LogCopy, NewDirectory};

use super::files::{Contents, References};
use super::{KeepError, Progress, check_workspace, on_disk, with_copy};
use crate::files::Blobs;
use crate::workspace::Workspace;

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backup {
    /// The last record in it.
    pub head: Sequence,
    /// How many records it has.
    pub records: u64,
    /// How many files it has.
    pub files: usize,
    /// How many bytes they have.
    pub file_bytes: u64,
    /// Files whose content the workspace lost.
    pub missing_files: Vec<EventId>,
    /// Files whose content is not what was uploaded, in the workspace already.
    pub damaged_files: Vec<EventId>,
}

impl Workspace {
    /// Copies a workspace into a new directory, also while a server uses it.
    ///
    /// The copy is a workspace: the log up to a moment after this began, the files that it refers to, and the cursors.
    /// Its view is built when it is opened. It is on the disk and was read again when the directory appears.
    ///
    /// # Errors
    ///
    /// See [`KeepError`]. Of a damaged log there is no backup.
    pub async fn backup(
        from: &Path,
        into: &Path,
        mut progress: impl FnMut(Progress),
    ) -> Result<Backup, KeepError> {
        check_workspace(from)?;
        if into.exists() {
            let path = into.to_owned();
            return Err(KeepError::Exists { path });
        }
        let path = into.to_owned();
        let directory = on_disk(move || NewDirectory::begin(&path)).await?;
        let copied = copy(from, directory.folder(), &mut progress).await;
        match &copied {
            Ok(_) => on_disk(move || directory.finish()).await?,
            Err(_) => on_disk(move || directory.give_up()).await?,
        }
        copied
    }
}

async fn copy(from: &Path, into: &Path, progress: &mut impl FnMut(Progress)) -> Result<Backup, KeepError> {
    let (source, target) = (from.to_owned(), into.to_owned());
    let mut log = on_disk(move || LogCopy::begin(&source, &target)).await?;
    let failed = |error| openagents_store::Error::from_io(from, error);
    let blobs = Blobs::open(into).map_err(failed)?;
    let mut references = References::default();
    let mut contents = Contents::default();
    let mut missed = BTreeSet::new();
    loop {
        log = copy_log(log, None, &mut references, progress).await?;
        let originals = Blobs::beside(from).map_err(failed)?;
        contents
            .copy(&references, originals.as_ref(), &blobs, progress)
            .await?;
        // A content that is gone was deleted, which is in the log by then, or it is lost: it is so a second time.
        if contents.missing.is_subset(&missed) {
            break;
        }
        missed.clone_from(&contents.missing);
    }
    contents.collect(&references, &blobs).await?;
    let Copied { head, records } = on_disk(move || log.finish()).await?;
    Ok(Backup {
        head,
        records,
        files: contents.whole.len() + contents.damaged.len(),
        file_bytes: contents.bytes,
        missing_files: contents.missing.into_iter().collect(),
        damaged_files: contents.damaged.into_iter().collect(),
    })
}

/// Copies the log through a sequence, or up to its end as of now.
pub(super) async fn copy_log(
    mut log: LogCopy,
    through: Option<Sequence>,
    references: &mut References,
    progress: &mut impl FnMut(Progress),
) -> Result<LogCopy, KeepError> {
    let all = match through {
        Some(through) => through,
        None => log.original_head()?,
    };
    loop {
        progress(Progress::Log {
            done: log.copied(),
            all,
        });
        let records;
        (log, records) = with_copy(log, move |log| log.step(all)).await?;
        if records.is_empty() {
            return Ok(log);
        }
        references.take(&records);
    }
}
