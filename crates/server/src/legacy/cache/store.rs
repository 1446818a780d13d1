//! The entries of the cache on disk: for each a file with its content, and one that describes it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use openagents_protocol::{AgentId, EventId};
use serde::{Deserialize, Serialize};

use crate::legacy::Legacy;

/// Folder in the directory of the workspace.
const FOLDER: &str = "shared_cache";

/// Most entries.
const MOST: usize = 100_000;

/// An entry without its content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) cache_id: String,
    /// Of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) filename: Option<String>,
    pub(crate) mime_type: String,
    pub(crate) size: u64,
    /// The groups that may use it; none: all.
    pub(crate) groups: Vec<String>,
    pub(crate) created_by: String,
    pub(crate) created_at: u64,
    pub(crate) updated_at: u64,
}

impl Entry {
    /// A new entry of text.
    pub(crate) fn text(mime_type: &str, groups: Vec<String>, author: &AgentId, now: u64) -> Self {
        Self {
            cache_id: EventId::new().to_string(),
            filename: None,
            mime_type: mime_type.to_owned(),
            size: 0,
            groups,
            created_by: author.to_string(),
            created_at: now,
            updated_at: now,
        }
    }
}

/// Why an entry is not kept or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// There is too much already.
    #[error("the cache has no room for more")]
    Full,
    /// The disk.
    #[error("File not found on disk")]
    Disk(#[source] io::Error),
}

/// The entries of a workspace. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    folder: Arc<PathBuf>,
    most_bytes: u64,
    /// Guards what is there, once it was looked for.
    entries: Arc<Mutex<Option<HashMap<String, Entry>>>>,
}

impl Cache {
    pub(crate) fn new(data: &Path, settings: &Legacy) -> Self {
        Self {
            folder: Arc::new(data.join(FOLDER)),
            most_bytes: settings.max_cache_bytes,
            entries: Arc::default(),
        }
    }

    pub(crate) fn get(&self, cache_id: &str) -> Option<Entry> {
        self.loaded().as_ref()?.get(cache_id).cloned()
    }

    /// Keeps an entry, in the place of one with the same id.
    pub(crate) async fn put(&self, mut entry: Entry, content: Vec<u8>) -> Result<Entry, Fault> {
        entry.size = content.len() as u64;
        {
            let loaded = self.loaded();
            let others = loaded.iter().flat_map(HashMap::values);
            let used: u64 = others
                .filter(|other| other.cache_id != entry.cache_id)
                .map(|other| other.size)
                .sum();
            let is_new = loaded
                .as_ref()
                .is_some_and(|all| !all.contains_key(&entry.cache_id));
            let many = loaded.as_ref().is_some_and(|all| MOST <= all.len());
            if self.most_bytes < used.saturating_add(entry.size) || (is_new && many) {
                return Err(Fault::Full);
            }
        }
        let (folder, written) = (Arc::clone(&self.folder), entry.clone());
        blocking(move || {
            fs::create_dir_all(&*folder)?;
            replace(&content_path(&folder, &written.cache_id), &content)?;
            let description = serde_json::to_vec(&written).map_err(io::Error::other)?;
            replace(&description_path(&folder, &written.cache_id), &description)
        })
        .await?;
        if let Some(all) = self.loaded().as_mut() {
            all.insert(entry.cache_id.clone(), entry.clone());
        }
        Ok(entry)
    }

    pub(crate) async fn read(&self, entry: &Entry) -> Result<Vec<u8>, Fault> {
        let path = content_path(&self.folder, &entry.cache_id);
        blocking(move || fs::read(path)).await
    }

    pub(crate) async fn remove(&self, cache_id: &str) -> Result<(), Fault> {
        if let Some(all) = self.loaded().as_mut() {
            all.remove(cache_id);
        }
        let paths = [
            description_path(&self.folder, cache_id),
            content_path(&self.folder, cache_id),
        ];
        blocking(move || {
            for path in paths {
                match fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            Ok(())
        })
        .await
    }

    /// What is there; looked for at the first call.
    fn loaded(&self) -> MutexGuard<'_, Option<HashMap<String, Entry>>> {
        let mut entries = self.entries.lock().expect("poisoned");
        if entries.is_none() {
            *entries = Some(load(&self.folder));
        }
        entries
    }
}

fn load(folder: &Path) -> HashMap<String, Entry> {
    let Ok(found) = fs::read_dir(folder) else {
        return HashMap::new();
    };
    let described = found.filter_map(|file| {
        let path = file.ok()?.path();
        if path.extension()? != "json" {
            return None;
        }
        let entry: Entry = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        (path.file_stem()? == entry.cache_id.as_str()).then_some((entry.cache_id.clone(), entry))
    });
    described.collect()
}

fn description_path(folder: &Path, cache_id: &str) -> PathBuf {
    folder.join(format!("{cache_id}.json"))
}

fn content_path(folder: &Path, cache_id: &str) -> PathBuf {
    folder.join(format!("{cache_id}.content"))
}

/// Writes a file as a whole or not at all.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(beside, path)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Fault::Disk(io::Error::other(error)))?
        .map_err(Fault::Disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_kept_is_there_after_a_restart_and_removed_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let author: AgentId = "alice".parse().unwrap();
        let cache = Cache::new(folder.path(), &Legacy::default());
        let entry = Entry::text("text/plain", vec![], &author, 1);
        let kept = cache.put(entry, b"hello".to_vec()).await.unwrap();

        let again = Cache::new(folder.path(), &Legacy::default());
        let found = again.get(&kept.cache_id).unwrap();
        assert_eq!(
            (found.size, again.read(&found).await.unwrap().as_slice()),
            (5, b"hello".as_slice())
        );
        again.remove(&kept.cache_id).await.unwrap();
        assert_eq!(
            Cache::new(folder.path(), &Legacy::default()).get(&kept.cache_id),
            None
        );
    }

    #[tokio::test]
    async fn what_has_no_room_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Legacy {
            max_cache_bytes: 4,
            ..Legacy::default()
        };
        let cache = Cache::new(folder.path(), &settings);
        let entry = Entry::text("text/plain", vec![], &"alice".parse().unwrap(), 1);
        let outcome = cache.put(entry, b"hello".to_vec()).await;
        assert!(matches!(outcome, Err(Fault::Full)));
    }
}
