//! Files: who shares them, who reads them, and what remains of them.

use std::path::Path;

use bytes::Bytes;
use futures_util::TryStreamExt;
use openagents_protocol::call::{
    ChannelSettings, ConfigureChannel, CreateChannel, DeleteChannel, DeleteFile, FileInfo, GetFile,
    LeaveChannel, ListFiles,
};
use openagents_protocol::record::Role;
use openagents_protocol::{ErrorCode, EventId};
use openagents_workspace::{Caller, Clock, NewFile};

use crate::room::{Room, assert_nowhere, caller, payload_keys};

pub(crate) fn member(agent_id: &str) -> Caller {
    Caller::new(agent_id.parse().unwrap(), Role::Member)
}

fn new_file(filename: &str) -> NewFile {
    NewFile {
        filename: filename.to_owned(),
        ..NewFile::default()
    }
}

pub(crate) fn in_general(filename: &str) -> NewFile {
    NewFile {
        channel: Some("general".to_owned()),
        ..new_file(filename)
    }
}

pub(crate) fn blobs(directory: &Path) -> usize {
    std::fs::read_dir(directory.join("files")).unwrap().count()
}

impl Room {
    pub(crate) async fn upload(&self, who: &str, new: NewFile, content: &str) -> Result<FileInfo, ErrorCode> {
        self.upload_expecting(who, new, content, None).await
    }

    async fn upload_expecting(
        &self,
        who: &str,
        new: NewFile,
        content: &str,
        checksum: Option<&str>,
    ) -> Result<FileInfo, ErrorCode> {
        let upload = async {
            let mut upload = self.workspace.begin_upload(&member(who), new).await?;
            for piece in content.as_bytes().chunks(3) {
                upload.write(Bytes::copy_from_slice(piece)).await?;
            }
            upload.finish(checksum).await
        };
        upload.await.map(|(info, _)| info).map_err(|error| error.code)
    }

    async fn content(&self, who: &str, file: &FileInfo) -> Result<Vec<u8>, ErrorCode> {
        let id: EventId = file.file_id.parse().unwrap();
        let read = self.workspace.read_file(&member(who), &id, None).await;
        let (_, content) = read.map_err(|error| error.code)?;
        let pieces: Vec<Bytes> = content.try_collect().await.unwrap();
        Ok(pieces.concat())
    }

    async fn listed(&self, who: &str) -> Vec<String> {
        let files = self
            .workspace
            .list_files(&member(who), ListFiles::default())
            .await
            .unwrap()
            .files;
        files.into_iter().map(|file| file.filename).collect()
    }

    async fn remove(&self, who: &Caller, file: &FileInfo) -> Result<(), ErrorCode> {
        let file_id = file.file_id.parse().unwrap();
        let deleted = self.workspace.delete_file(who, DeleteFile { file_id }).await;
        deleted.map(drop).map_err(|error| error.code)
    }
}

#[tokio::test]
async fn a_file_comes_back_as_it_was_and_its_event_has_the_documented_keys() {
    let room = Room::open().await;
    let mut bob = room.attach("bob").await;
    let file = room
        .upload("alice", in_general("../../etc/passwd.csv"), "a,b\n1,2\n")
        .await
        .unwrap();
    let event = bob.read().await;
    assert_eq!(event.event_name, "workspace.file.uploaded");
    assert_eq!(event.event_id, file.file_id);
    assert_eq!(event.payload["file_id"], file.file_id);
    assert_eq!(event.payload["filename"], "../../etc/passwd.csv");
    assert_eq!(event.payload["size"], 8);
    assert_eq!(event.payload["uploader"], "alice");
    assert_eq!(event.payload["mime_type"], "text/csv");
    assert_eq!(event.payload["channel"], "general");
    assert_eq!(file.checksum.len(), 64);
    assert_eq!(room.content("carol", &file).await.unwrap(), b"a,b\n1,2\n");
    let downloaded = bob.read().await;
    assert_eq!(downloaded.event_name, "workspace.file.downloaded");
    assert_eq!(downloaded.payload["downloader"], "carol");
    assert_eq!(downloaded.sequence, None);
    let room = room.reopen().await;
    assert_eq!(room.content("bob", &file).await.unwrap(), b"a,b\n1,2\n");
    let id: EventId = file.file_id.parse().unwrap();
    let (_, part) = room
        .workspace
        .read_file(&member("bob"), &id, Some(4..7))
        .await
        .unwrap();
    let part: Vec<Bytes> = part.try_collect().await.unwrap();
    assert_eq!(part.concat(), b"1,2");
}

#[tokio::test]
async fn a_file_is_for_those_who_may_read_what_it_was_shared_with() {
    let room = Room::open().await;
    room.attach("bob").await;
    let direct = NewFile {
        agent_id: Some("bob".to_owned()),
        ..new_file("secret.txt")
    };
    let secret = room.upload("alice", direct, "psst").await.unwrap();
    let leave = LeaveChannel {
        channel: "general".to_owned(),
    };
    room.post("outsider", "bye").await;
    room.workspace
        .leave_channel(&member("outsider"), leave)
        .await
        .unwrap();
    let shared = room
        .upload("alice", in_general("plan.txt"), "plan")
        .await
        .unwrap();
    let everyone = room.upload("alice", new_file("all.txt"), "all").await.unwrap();
    assert_eq!(room.content("bob", &secret).await.unwrap(), b"psst");
    assert_eq!(room.content("alice", &secret).await.unwrap(), b"psst");
    for (who, file) in [("mallory", &secret), ("outsider", &shared)] {
        assert_eq!(
            room.content(who, file).await.unwrap_err(),
            ErrorCode::FileNotFound
        );
        assert_eq!(
            room.remove(&member(who), file).await.unwrap_err(),
            ErrorCode::FileNotFound
        );
        let file_id = file.file_id.parse().unwrap();
        let told = room.workspace.get_file(&member(who), GetFile { file_id }).await;
        assert_eq!(told.unwrap_err().code, ErrorCode::FileNotFound);
    }
    let by_hash = FileInfo {
        file_id: secret.checksum.clone(),
        ..secret.clone()
    };
    assert_eq!(
        room.content("bob", &by_hash).await.unwrap_err(),
        ErrorCode::FileNotFound
    );
    assert_eq!(room.content("outsider", &everyone).await.unwrap(), b"all");
    assert_eq!(room.listed("outsider").await, ["all.txt"]);
    assert_eq!(room.listed("bob").await, ["all.txt", "plan.txt", "secret.txt"]);
    let nobody = NewFile {
        agent_id: Some("nobody".to_owned()),
        ..new_file("x")
    };
    assert_eq!(
        room.upload("alice", nobody, "x").await.unwrap_err(),
        ErrorCode::AgentNotFound
    );
    assert_eq!(
        room.upload("outsider", in_general("x"), "x").await.unwrap_err(),
        ErrorCode::NotAMember
    );
    let moderator = caller("moderator");
    assert_eq!(
        room.content("moderator", &secret).await.unwrap_err(),
        ErrorCode::FileNotFound
    );
    room.remove(&moderator, &secret).await.unwrap();
    assert_eq!(
        room.remove(&moderator, &secret).await.unwrap_err(),
        ErrorCode::FileNotFound
    );
    assert_eq!(room.listed("bob").await, ["all.txt", "plan.txt"]);
}

#[tokio::test]
async fn files_of_what_does_not_exist_are_not_an_empty_list() {
    let room = Room::open().await;
    let list = async |params: ListFiles| {
        let listed = room.workspace.list_files(&member("alice"), params).await;
        listed.map_err(|error| (error.code, error.field.unwrap_or_default()))
    };
    let of_channel = ListFiles {
        channel: Some("nowhere".to_owned()),
        ..ListFiles::default()
    };
    assert_eq!(
        list(of_channel).await.unwrap_err(),
        (ErrorCode::ChannelNotFound, "channel".to_owned())
    );
    let with_agent = ListFiles {
        agent_id: Some("nobody".to_owned()),
        ..ListFiles::default()
    };
    assert_eq!(
        list(with_agent).await.unwrap_err(),
        (ErrorCode::AgentNotFound, "agent_id".to_owned())
    );
}

#[tokio::test]
async fn a_deleted_file_is_gone_and_makes_room() {
    let room = Room::open_with(|settings| settings.max_stored_bytes = 10).await;
    drop(room.attach("carol").await);
    let mut bob = room.attach("bob").await;
    let described = NewFile {
        description: "a secret".to_owned(),
        tags: vec!["secret".to_owned()],
        ..in_general("secret.txt")
    };
    let file = room.upload("alice", described, "12345678").await.unwrap();
    assert_eq!(
        room.upload("alice", in_general("two"), "123").await.unwrap_err(),
        ErrorCode::LimitReached
    );
    assert_eq!(
        blobs(room.directory.path()),
        1,
        "nothing remains of what was refused"
    );
    assert_eq!(
        room.remove(&member("bob"), &file).await.unwrap_err(),
        ErrorCode::Forbidden
    );
    room.remove(&member("alice"), &file).await.unwrap();
    bob.read().await;
    let deleted = bob.read().await;
    assert_eq!(deleted.event_name, "workspace.file.deleted");
    assert_eq!(deleted.payload["file_id"], file.file_id);
    assert_eq!(
        room.content("alice", &file).await.unwrap_err(),
        ErrorCode::FileNotFound
    );
    assert!(room.listed("bob").await.is_empty());
    let room = room
        .reopen_after(async |directory, _| {
            assert_eq!(blobs(directory), 0);
            assert_nowhere(directory, b"secret");
        })
        .await;
    assert!(room.listed("bob").await.is_empty());
    let mut carol = room.attach("carol").await;
    let keys = ["channel", "erased", "file_id", "size", "uploader"];
    assert_eq!(payload_keys(&carol.read().await), keys, "a tombstone");
    let second = room
        .upload("alice", in_general("two"), "1234567890")
        .await
        .unwrap();
    room.remove(&caller("moderator"), &second).await.unwrap();
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_and_leaves_nothing() {
    let room = Room::open_with(|settings| settings.max_file_bytes = 100).await;
    let wrong = "0".repeat(64);
    let mismatch = room
        .upload_expecting("alice", in_general("a"), "abc", Some(&wrong))
        .await;
    assert_eq!(mismatch.unwrap_err(), ErrorCode::ChecksumMismatch);
    let large = room.upload("alice", in_general("a"), &"x".repeat(101)).await;
    assert_eq!(large.unwrap_err(), ErrorCode::TooLarge);
    for declared in [2, 4] {
        let new = NewFile {
            size: Some(declared),
            ..in_general("a")
        };
        assert_eq!(
            room.upload("alice", new, "abc").await.unwrap_err(),
            ErrorCode::InvalidField
        );
    }
    for name in ["", "a\nb", &"x".repeat(256)] {
        assert_eq!(
            room.upload("alice", in_general(name), "x").await.unwrap_err(),
            ErrorCode::InvalidField
        );
    }
    let both = NewFile {
        agent_id: Some("bob".to_owned()),
        ..in_general("a")
    };
    assert_eq!(
        room.upload("alice", both, "x").await.unwrap_err(),
        ErrorCode::InvalidField
    );
    let (name, description) = ("tables".to_owned(), String::new());
    room.workspace
        .create_channel(&member("alice"), CreateChannel { name, description })
        .await
        .unwrap();
    let settings = ChannelSettings {
        max_file_size: Some(5),
        allowed_file_types: Some(vec!["csv".to_owned()]),
        ..Default::default()
    };
    let params = ConfigureChannel {
        channel: "tables".to_owned(),
        settings,
    };
    room.workspace
        .configure_channel(&member("alice"), params)
        .await
        .unwrap();
    let in_tables = |name: &str| NewFile {
        channel: Some("tables".to_owned()),
        ..new_file(name)
    };
    assert_eq!(
        room.upload("alice", in_tables("a.exe"), "x").await.unwrap_err(),
        ErrorCode::InvalidField
    );
    assert_eq!(
        room.upload("alice", in_tables("a.csv"), "123456")
            .await
            .unwrap_err(),
        ErrorCode::TooLarge
    );
    assert!(room.upload("alice", in_tables("a.CSV"), "12345").await.is_ok());
    let mut unfinished = room
        .workspace
        .begin_upload(&member("alice"), in_general("cut"))
        .await
        .unwrap();
    unfinished.write(Bytes::from(vec![0; 50])).await.unwrap();
    drop(unfinished);
    let room = room.reopen().await;
    assert_eq!(blobs(room.directory.path()), 1);
    assert!(room.upload("alice", in_general("empty"), "").await.is_ok());
}

#[tokio::test]
async fn files_of_a_deleted_channel_give_their_room_back_and_nobody_is_told() {
    let room = Room::open_with(|settings| {
        settings.max_stored_bytes = 10;
        settings.housekeeping = std::time::Duration::from_millis(5);
    })
    .await;
    let in_dev = || NewFile {
        channel: Some("dev".to_owned()),
        ..new_file("plan")
    };
    let make = || CreateChannel {
        name: "dev".to_owned(),
        description: String::new(),
    };
    room.workspace
        .create_channel(&member("alice"), make())
        .await
        .unwrap();
    let file = room.upload("alice", in_dev(), "12345678").await.unwrap();
    let channel = "dev".to_owned();
    let delete = DeleteChannel { channel };
    room.workspace
        .delete_channel(&member("alice"), delete)
        .await
        .unwrap();
    room.workspace
        .create_channel(&member("alice"), make())
        .await
        .unwrap();
    let mut bob = room.attach("bob").await;
    assert_eq!(
        room.content("alice", &file).await.unwrap_err(),
        ErrorCode::FileNotFound
    );
    while blobs(room.directory.path()) != 0 {
        tokio::task::yield_now().await;
    }
    let again = room.upload("alice", in_dev(), "1234567890").await.unwrap();
    assert_eq!(bob.read().await.event_id, again.file_id, "the first thing told");
}

#[tokio::test]
async fn owners_and_moderators_delete_files_that_they_cannot_read() {
    let room = Room::open().await;
    room.attach("bob").await;
    let direct = || NewFile {
        agent_id: Some("bob".to_owned()),
        ..new_file("a")
    };
    let file = room.upload("alice", direct(), "a").await.unwrap();
    let unknown = Err(ErrorCode::FileNotFound);
    assert_eq!(room.remove(&member("mallory"), &file).await, unknown);
    assert_eq!(
        room.remove(&member("bob"), &file).await,
        Err(ErrorCode::Forbidden)
    );
    assert_eq!(room.remove(&caller("moderator"), &file).await, Ok(()));
    assert_eq!(room.remove(&caller("moderator"), &file).await, unknown);
    let file = room.upload("alice", in_general("b"), "b").await.unwrap();
    let leave = LeaveChannel {
        channel: "general".to_owned(),
    };
    room.workspace
        .leave_channel(&member("alice"), leave)
        .await
        .unwrap();
    assert_eq!(room.remove(&member("alice"), &file).await, Ok(()));
}

#[tokio::test]
async fn a_file_whose_content_is_lost_says_so() {
    let room = Room::open().await;
    let file = room.upload("alice", in_general("a"), "a").await.unwrap();
    std::fs::remove_file(room.directory.path().join("files").join(&file.file_id)).unwrap();
    assert_eq!(
        room.content("bob", &file).await.unwrap_err(),
        ErrorCode::FileNotFound
    );
}

#[tokio::test]
async fn files_stay_whatever_the_path_of_the_workspace_has_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("team #1");
    let open = || openagents_workspace::Workspace::open(&path, openagents_workspace::Settings::default());
    let workspace = open().await.unwrap();
    let mut upload = workspace
        .begin_upload(&member("alice"), in_general("a"))
        .await
        .unwrap();
    upload.write(Bytes::from_static(b"kept")).await.unwrap();
    let (file, _) = upload.finish(None).await.unwrap();
    workspace.close().await;
    let workspace = open().await.unwrap();
    let id: EventId = file.file_id.parse().unwrap();
    let (_, content) = workspace.read_file(&member("alice"), &id, None).await.unwrap();
    let pieces: Vec<Bytes> = content.try_collect().await.unwrap();
    assert_eq!(pieces.concat(), b"kept");
    workspace.close().await;
}

#[tokio::test]
async fn blobs_that_no_file_refers_to_are_collected_after_a_day() {
    let room = Room::open().await;
    let kept = room.upload("alice", in_general("kept"), "kept").await.unwrap();
    let tomorrow = |hours: u64| Clock::new(move || Clock::system().now_ms() + hours * 60 * 60 * 1000);
    // As a crash between storing and sharing would leave it.
    let orphan = EventId::new().to_string();
    let leave = async |directory: &Path, _| {
        std::fs::write(directory.join("files").join(&orphan), "orphan").unwrap();
        std::fs::write(directory.join("files").join(format!("{orphan}#1")), "part").unwrap();
    };
    let mut room = room.reopen_after(leave).await;
    assert_eq!(blobs(room.directory.path()), 2, "the part is gone at once");
    room.change(|settings| {
        settings.clock = tomorrow(25);
        settings.housekeeping = std::time::Duration::from_millis(5);
    });
    let room = room.reopen().await;
    while room.directory.path().join("files").join(&orphan).exists() {
        tokio::task::yield_now().await;
    }
    assert_eq!(room.content("bob", &kept).await.unwrap(), b"kept");
}
