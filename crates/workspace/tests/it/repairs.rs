//! Damaged workspaces.

use std::collections::BTreeSet;
use std::path::Path;

use openagents_protocol::Sequence;
use openagents_workspace::{KeepError, Repair, Repaired, Settings, StoreError, Workspace};

use crate::backups::{answers, attach, open, publish};
use crate::files::{blobs, in_general};
use crate::room::Room;

async fn repair(directory: &Path, repair: Repair) -> Result<Repaired, KeepError> {
    Workspace::repair(directory, repair, Settings::default(), |_| ()).await
}

/// Names and contents of everything in a directory, but for what SQLite shares between processes.
fn everything(directory: &Path) -> BTreeSet<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut found = BTreeSet::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_file() && !name.ends_with("-shm") {
            found.insert((name, std::fs::read(&path).unwrap()));
        } else if path.is_dir() {
            found.insert((name, Vec::new()));
        }
    }
    found
}

/// A workspace with posts `0` to `499`, a file and an agent that read all of it, at rest.
async fn room_at_rest() -> Room {
    let room = Room::open().await;
    let mut bob = room.attach("bob").await;
    room.upload("alice", in_general("a.txt"), "content")
        .await
        .unwrap();
    bob.text().await;
    for number in 0..500 {
        room.post("alice", &format!("{number} {}", "x".repeat(300))).await;
    }
    bob.texts(500).await;
    drop(bob);
    room.workspace.close().await;
    room
}

/// Overwrites the part of a file after some of its hundredths.
fn damage(path: &Path, hundredth: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let start = bytes.len() / 4096 * hundredth / 100 * 4096;
    bytes[start..start + 8192].fill(0x5a);
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn of_a_sound_workspace_nothing_is_changed() {
    let room = room_at_rest().await;
    let before = everything(room.directory.path());
    for what in [Repair::Look, Repair::Save] {
        let found = repair(room.directory.path(), what).await.unwrap();
        assert!(found.is_log_sound(), "{found:?}");
        assert!(found.missing_files.is_empty() && found.damaged_files.is_empty());
        assert_eq!(found.records, found.head.get());
        assert!(found.replaced.is_none());
    }
    assert_eq!(everything(room.directory.path()), before);
    let workspace = open(room.directory.path()).await;
    let used = repair(room.directory.path(), Repair::Look).await.unwrap_err();
    assert!(
        matches!(used, KeepError::Store(StoreError::Locked { .. })),
        "{used}"
    );
    workspace.close().await;
}

#[tokio::test]
async fn a_damaged_log_is_named_at_the_start_and_what_can_be_saved_is_saved() {
    let room = room_at_rest().await;
    let directory = room.directory.path();
    let sound = open(directory).await;
    let (before, head) = (answers(&sound).await, sound.head());
    sound.close().await;
    let log = directory.join("log.db");
    damage(&log, 50);
    // The end is cut off as well: this is noticed at once.
    let length = std::fs::metadata(&log).unwrap().len();
    std::fs::File::options()
        .write(true)
        .open(&log)
        .unwrap()
        .set_len(length - 5_000)
        .unwrap();
    let error = Workspace::open(directory, Settings::default()).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`openagents repair` saves what can be saved"),
        "{error}"
    );

    let damaged = everything(directory);
    let found = repair(directory, Repair::Look).await.unwrap();
    assert!(!found.is_log_sound());
    assert_eq!(everything(directory), damaged, "looking changes nothing");
    let saved = repair(directory, Repair::Save).await.unwrap();
    assert_eq!((saved.records, &saved.lost), (found.records, &found.lost));
    assert_eq!(saved.records + saved.lost_records(), head.get());
    assert_eq!(
        saved.lost.last().unwrap().last,
        head,
        "the view knows where the end was"
    );
    let aside = saved.replaced.unwrap();
    let kept = damaged.iter().find(|(name, _)| name == "log.db").unwrap();
    assert!(everything(&aside).contains(kept), "the damaged log is kept");
    assert_eq!(blobs(directory), 1, "files stay");

    let workspace = open(directory).await;
    let after = answers(&workspace).await;
    let lost = |sequence: Sequence| {
        saved
            .lost
            .iter()
            .any(|gap| gap.first <= sequence && sequence <= gap.last)
    };
    let left: Vec<_> = before
        .general
        .into_iter()
        .filter(|message| !lost(message.sequence))
        .collect();
    assert!(400 < left.len(), "{}", left.len());
    assert_eq!(after.general, left);
    assert_eq!(
        (after.agents.len(), after.files),
        (before.agents.len(), before.files)
    );

    let mut bob = attach(&workspace, "bob").await;
    publish(&workspace, "again").await;
    assert_eq!(bob.text().await, "again");
    assert!(head < workspace.head(), "no sequence is used again");
    workspace.close().await;
    let now = repair(directory, Repair::Look).await.unwrap();
    assert!(now.is_log_sound(), "what is lost is known by now: {now:?}");
}

#[tokio::test]
async fn damaged_and_lost_files_are_named() {
    let room = Room::open().await;
    let rotten = room
        .upload("alice", in_general("rotten"), "rotten")
        .await
        .unwrap();
    let lost = room.upload("alice", in_general("lost"), "lost").await.unwrap();
    room.workspace.close().await;
    let files = room.directory.path().join("files");
    std::fs::write(files.join(&rotten.file_id), "rotter").unwrap();
    std::fs::remove_file(files.join(&lost.file_id)).unwrap();
    let found = repair(room.directory.path(), Repair::Save).await.unwrap();
    assert!(found.is_log_sound());
    assert_eq!(found.damaged_files[0].as_str(), rotten.file_id);
    assert_eq!(found.missing_files[0].as_str(), lost.file_id);
}

#[tokio::test]
async fn where_nothing_can_be_saved_nothing_is_replaced() {
    let room = room_at_rest().await;
    let log = room.directory.path().join("log.db");
    let length = std::fs::metadata(&log).unwrap().len();
    for content in [vec![0x5a; usize::try_from(length).unwrap()], Vec::new()] {
        std::fs::write(&log, content).unwrap();
        let before = everything(room.directory.path());
        let error = repair(room.directory.path(), Repair::Save).await.unwrap_err();
        assert!(matches!(error, KeepError::NothingToSave { .. }), "{error}");
        assert_eq!(everything(room.directory.path()), before);
    }
}
