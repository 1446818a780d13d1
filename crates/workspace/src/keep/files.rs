//! The files that a log refers to, and their contents.

use std::collections::{BTreeMap, BTreeSet};

use openagents_protocol::EventId;
use openagents_protocol::record::{Act, Record, SharedFile};

use super::{KeepError, Progress};
use crate::files::{BlobError, Blobs};

/// The files that a part of a log refers to.
#[derive(Debug, Default)]
pub(super) struct References(BTreeMap<EventId, SharedFile>);

impl References {
    /// Takes the next records into account.
    pub(super) fn take(&mut self, records: &[Record]) {
        for record in records {
            if let Some(file) = record.shared_file() {
                self.0.insert(record.header.event_id.clone(), file);
            }
            if let Act::FileDeleted { file_id, .. } = &record.header.act {
                self.0.remove(file_id);
            }
        }
    }

    pub(super) fn contains(&self, id: &EventId) -> bool {
        self.0.contains_key(id)
    }
}

/// What became of the contents of files.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Copied, and what they should be.
    pub(super) whole: BTreeSet<EventId>,
    /// Copied, and not what was uploaded: the original is damaged.
    pub(super) damaged: BTreeSet<EventId>,
    /// Not there.
    pub(super) missing: BTreeSet<EventId>,
    pub(super) bytes: u64,
}

impl Contents {
    /// Copies the contents that were not copied before. Those that are not there are noted, and tried again the next
    /// time.
    pub(super) async fn copy(
        &mut self,
        references: &References,
        from: Option<&Blobs>,
        into: &Blobs,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(), KeepError> {
        self.missing.clear();
        let all = references.0.len();
        for (done, (file_id, file)) in references.0.iter().enumerate() {
            progress(Progress::Files { done, all });
            if self.whole.contains(file_id) || self.damaged.contains(file_id) {
                continue;
            }
            let copied = match from {
                Some(from) => into.copy_from(from, file_id).await,
                None => Ok(None),
            };
            self.take(file_id, file, copied)?;
        }
        progress(Progress::Files { done: all, all });
        Ok(())
    }

    /// Looks at the contents where they are.
    pub(super) async fn check(
        references: &References,
        blobs: Option<&Blobs>,
        progress: &mut impl FnMut(Progress),
    ) -> Result<Self, KeepError> {
        let mut contents = Self::default();
        let all = references.0.len();
        for (done, (file_id, file)) in references.0.iter().enumerate() {
            progress(Progress::Files { done, all });
            let found = match blobs {
                Some(blobs) => blobs.checksum(file_id).await,
                None => Ok(None),
            };
            contents.take(file_id, file, found)?;
        }
        Ok(contents)
    }

    /// Sorts a content by what its checksum should be.
    fn take(
        &mut self,
        file_id: &EventId,
        file: &SharedFile,
        found: Result<Option<String>, BlobError>,
    ) -> Result<(), KeepError> {
        let found = found.map_err(|source| KeepError::File {
            file_id: file_id.clone(),
            source: Box::new(source),
        })?;
        let kind = match found {
            None => &mut self.missing,
            Some(checksum) if checksum == file.checksum => &mut self.whole,
            Some(_) => &mut self.damaged,
        };
        kind.insert(file_id.clone());
        Ok(())
    }

    /// Removes the contents of files that are not referred to any more.
    pub(super) async fn collect(&mut self, references: &References, into: &Blobs) -> Result<(), KeepError> {
        for kind in [&mut self.whole, &mut self.damaged, &mut self.missing] {
            for file_id in kind.extract_if(.., |file_id| !references.contains(file_id)) {
                into.delete(&file_id).await.map_err(|source| KeepError::File {
                    file_id,
                    source: Box::new(source),
                })?;
            }
        }
        let copied = self.whole.iter().chain(&self.damaged);
        self.bytes = copied
            .filter_map(|file_id| references.0.get(file_id))
            .map(|file| file.size)
            .sum();
        Ok(())
    }
}
