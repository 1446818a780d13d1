//! Damaged workspaces.

use std::path::{Path, PathBuf};

use openagents_protocol::{EventId, Sequence};
use openagents_store::{Error as StoreError, Findings, Gap, Replacement, Salvage};

use super::files::{Contents, References};
use super::{KeepError, Progress, check_workspace, on_disk};
use crate::files::Blobs;
use crate::load::load;
use crate::settings::Settings;
use crate::workspace::Workspace;

/// What to do about damage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repair {
    /// Tell it.
    #[default]
    Look,
    /// Put what can be saved in place of what is damaged.
    Save,
}

/// What was found, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repaired {
    /// How many records are sound.
    pub records: u64,
    /// The last of them.
    pub head: Sequence,
    /// The sequences whose records are lost.
    pub lost: Vec<Gap>,
    /// What is wrong with the log, in words.
    pub damage: Vec<String>,
    /// Files whose content is lost.
    pub missing_files: Vec<EventId>,
    /// Files whose content is not what was uploaded.
    pub damaged_files: Vec<EventId>,
    /// Where the damaged log is; none: the log was sound, or nothing was to be done.
    pub replaced: Option<PathBuf>,
}

impl Repaired {
    /// Whether nothing is wrong with the log.
    pub fn is_log_sound(&self) -> bool {
        self.lost.is_empty() && self.damage.is_empty()
    }

    /// How many records are lost.
    pub fn lost_records(&self) -> u64 {
        self.lost.iter().map(Gap::count).sum()
    }
}

impl Workspace {
    /// Looks at every record and every file of a workspace that nobody uses, and saves what can be saved of a damaged log:
    /// every sound record, in its place. The view is built anew, the damaged log is kept aside.
    ///
    /// Contents of files are only looked at: a damaged one stays as it is.
    ///
    /// # Errors
    ///
    /// See [`KeepError`].
    pub async fn repair(
        directory: &Path,
        repair: Repair,
        settings: Settings,
        mut progress: impl FnMut(Progress),
    ) -> Result<Repaired, KeepError> {
        check_workspace(directory)?;
        let path = directory.to_owned();
        let replacement = on_disk(move || Replacement::begin(&path)).await?;
        let work = async {
            let (repaired, salvage) = look(directory, &mut progress).await?;
            let save = repair == Repair::Save && !repaired.is_log_sound();
            if save {
                write(salvage, &replacement.folder(), &settings, &mut progress).await?;
            }
            Ok((repaired, save))
        };
        match work.await {
            Ok((mut repaired, true)) => {
                repaired.replaced = on_disk(move || replacement.finish()).await?;
                Ok(repaired)
            }
            outcome => {
                on_disk(move || replacement.give_up()).await?;
                outcome.map(|(repaired, _)| repaired)
            }
        }
    }
}

async fn look(
    directory: &Path,
    progress: &mut impl FnMut(Progress),
) -> Result<(Repaired, Salvage), KeepError> {
    let path = directory.to_owned();
    let looked = on_disk(move || {
        let mut salvage = Salvage::look(&path)?;
        let mut references = References::default();
        salvage.each(|record| references.take(std::slice::from_ref(record)))?;
        Ok::<_, StoreError>((salvage, references))
    });
    let (salvage, references) = looked.await?;
    let Findings {
        records,
        head,
        lost,
        damage,
        ..
    } = salvage.findings().clone();
    let blobs = Blobs::beside(directory).map_err(|error| StoreError::from_io(directory, error))?;
    let contents = Contents::check(&references, blobs.as_ref(), progress).await?;
    let repaired = Repaired {
        records,
        head,
        lost,
        damage,
        missing_files: contents.missing.into_iter().collect(),
        damaged_files: contents.damaged.into_iter().collect(),
        replaced: None,
    };
    if records == 0 && !repaired.is_log_sound() {
        let path = directory.to_owned();
        return Err(KeepError::NothingToSave { path });
    }
    Ok((repaired, salvage))
}

/// Writes what can be saved, and builds the view of it.
async fn write(
    salvage: Salvage,
    folder: &Path,
    settings: &Settings,
    progress: &mut impl FnMut(Progress),
) -> Result<(), KeepError> {
    let into = folder.to_owned();
    on_disk(move || salvage.write(&into)).await?;
    let stored = load(folder, settings, |done, all| {
        progress(Progress::View { done, all });
    });
    stored.await?.store.log.close().await?;
    Ok(())
}
