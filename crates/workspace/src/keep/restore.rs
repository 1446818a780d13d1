//! Workspaces made of backups.

use std::path::{Path, PathBuf};

use openagents_protocol::{EventId, Sequence};
use openagents_store::{Copied, LogCopy, Replacement, SqliteLog};

use super::backup::copy_log;
use super::files::{Contents, References};
use super::{KeepError, Progress, check_workspace, on_disk};
use crate::files::Blobs;
use crate::load::load;
use crate::settings::Settings;
use crate::workspace::Workspace;

/// What is restored, and where.
#[derive(Clone, Debug)]
pub struct Restore {
    /// The directory of the backup, which stays as it is.
    pub backup: PathBuf,
    /// The directory of the workspace.
    pub data: PathBuf,
    /// The last sequence that is wanted; none: all of it.
    pub through: Option<Sequence>,
    /// What to do with a workspace that is there.
    pub occupied: Occupied,
}

/// What to do with a workspace where another one is restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Occupied {
    /// Leave it alone, and restore nothing.
    #[default]
    Refuse,
    /// Keep it aside.
    Replace,
}

/// A workspace that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// The last record in it.
    pub head: Sequence,
    /// How many records it has.
    pub records: u64,
    /// How many files it has.
    pub files: usize,
    /// How many bytes they have.
    pub file_bytes: u64,
    /// Files whose content the backup does not have.
    pub missing_files: Vec<EventId>,
    /// Files whose content is not what was uploaded.
    pub damaged_files: Vec<EventId>,
    /// Where the workspace is that was there before.
    pub replaced: Option<PathBuf>,
}

impl Workspace {
    /// Makes a workspace of a backup, or of its beginning: then what came later never happened. Cursors are set back to
    /// the new end, and files that are not referred to by then are left out.
    ///
    /// The workspace that was there stays as it is until the restored one is complete. Clients that were further are
    /// told so: the log has another name.
    ///
    /// # Errors
    ///
    /// See [`KeepError`].
    pub async fn restore(
        restore: Restore,
        settings: Settings,
        mut progress: impl FnMut(Progress),
    ) -> Result<Restored, KeepError> {
        let Restore {
            backup,
            data,
            through,
            occupied,
        } = restore;
        check_workspace(&backup)?;
        if occupied == Occupied::Refuse && data.join(SqliteLog::FILE).exists() {
            return Err(KeepError::Occupied { path: data });
        }
        let replacement = on_disk(move || Replacement::begin(&data)).await?;
        let folder = replacement.folder();
        match build(&backup, &folder, through, &settings, &mut progress).await {
            Ok(mut restored) => {
                restored.replaced = on_disk(move || replacement.finish()).await?;
                Ok(restored)
            }
            Err(error) => {
                on_disk(move || replacement.give_up()).await?;
                Err(error)
            }
        }
    }
}

async fn build(
    backup: &Path,
    folder: &Path,
    through: Option<Sequence>,
    settings: &Settings,
    progress: &mut impl FnMut(Progress),
) -> Result<Restored, KeepError> {
    let (source, target) = (backup.to_owned(), folder.to_owned());
    let log = on_disk(move || LogCopy::begin(&source, &target)).await?;
    let head = log.original_head()?;
    if let Some(through) = through.filter(|through| *through == Sequence::ZERO || head < *through) {
        return Err(KeepError::BeyondEnd { through, head });
    }
    let mut references = References::default();
    let log = copy_log(log, through, &mut references, progress).await?;
    let failed = |error| openagents_store::Error::from_io(backup, error);
    let (originals, blobs) = (
        Blobs::beside(backup).map_err(failed)?,
        Blobs::open(folder).map_err(failed)?,
    );
    let mut contents = Contents::default();
    contents
        .copy(&references, originals.as_ref(), &blobs, progress)
        .await?;
    contents.collect(&references, &blobs).await?;
    let Copied { head, records } = on_disk(move || log.finish()).await?;
    let stored = load(folder, settings, |done, all| {
        progress(Progress::View { done, all });
    })
    .await?;
    stored.store.log.close().await?;
    Ok(Restored {
        head,
        records,
        files: contents.whole.len() + contents.damaged.len(),
        file_bytes: contents.bytes,
        missing_files: contents.missing.into_iter().collect(),
        damaged_files: contents.damaged.into_iter().collect(),
        replaced: None,
    })
}
