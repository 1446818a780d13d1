//! Workspaces made of backups.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use openagents_protocol::record::{Act, Body};
use openagents_protocol::{Address, EventId, Header, Sequence, Source};
use openagents_store::{Copied, Entry, EventLog, LogCopy, Replacement, SqliteLog};

use super::backup::copy_log;
use super::files::{Contents, References};
use super::{KeepError, Progress, check_workspace, on_disk, with_copy};
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
    let mut log = copy_log(log, through, &mut references, progress).await?;
    let mut gone = Gone::new();
    if let Some(through) = through {
        (log, gone) = removed_since(log, through).await?;
    }
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
    let log = stored.store.log;
    let told = gone.len() as u64;
    if told != 0 {
        let horizons = gone
            .into_iter()
            .map(|(place, through)| horizon(place, through, settings));
        log.append(horizons.collect()).await?;
    }
    let head = head.max(log.head());
    log.close().await?;
    Ok(Restored {
        head,
        records: records + told,
        files: contents.whole.len() + contents.damaged.len(),
        file_bytes: contents.bytes,
        missing_files: contents.missing.into_iter().collect(),
        damaged_files: contents.damaged.into_iter().collect(),
        replaced: None,
    })
}

/// Through where something is gone, by place.
type Gone = HashMap<Address, Sequence>;

/// What the backup has no more of a time before a sequence, because it was removed later.
async fn removed_since(mut log: LogCopy, through: Sequence) -> Result<(LogCopy, Gone), KeepError> {
    let (mut gone, mut after) = (Gone::new(), through);
    loop {
        let records;
        (log, records) = with_copy(log, move |log| log.look_beyond(after)).await?;
        let Some(last) = records.last() else {
            return Ok((log, gone));
        };
        after = last.sequence;
        for record in records {
            if let Act::HistoryRemoved {
                place, through: end, ..
            } = record.header.act
            {
                let known = gone.entry(place).or_default();
                *known = end.min(through).max(*known);
            }
        }
    }
}

/// Tells a restored workspace that something is gone. In its log nothing was removed, so it counts none.
fn horizon(place: Address, through: Sequence, settings: &Settings) -> Entry {
    let act = Act::HistoryRemoved {
        place,
        through,
        records: 0,
    };
    let name = "system.history.removed".parse().expect("a valid name");
    let body = Body::empty();
    let now_ms = settings.clock.now_ms();
    let header = Header::new(name, Source::System, Address::System, now_ms, act, &body);
    Entry { header, body }
}
