//! Backups and what is made of them.

use std::path::{Path, PathBuf};

use openagents_protocol::call::{
    AgentInfo, ChannelInfo, DeleteFile, FileInfo, ListAgents, ListFiles, ListMessages, Message, ReadEvents,
};
use openagents_protocol::frame::{Backlog, SessionKind};
use openagents_protocol::record::Role;
use openagents_protocol::{Draft, EventId, Sequence};
use openagents_workspace::{
    Attach, Backup, KeepError, Occupied, Principal, Progress, Restore, Restored, Settings, StoreError,
    Workspace,
};

use crate::files::{blobs, in_general, member};
use crate::room::{Reader, Room, caller};

/// What anybody can learn of a workspace.
#[derive(Debug, PartialEq)]
pub(crate) struct Answers {
    pub(crate) agents: Vec<AgentInfo>,
    channels: Vec<ChannelInfo>,
    pub(crate) general: Vec<Message>,
    direct: Vec<Message>,
    pub(crate) files: Vec<FileInfo>,
    tokens: usize,
}

pub(crate) async fn answers(workspace: &Workspace) -> Answers {
    let alice = caller("alice");
    let all = ListAgents {
        all: true,
        capability: None,
    };
    let messages = async |channel: Option<&str>, agent: Option<&str>| {
        let page = ListMessages {
            channel: channel.map(ToOwned::to_owned),
            agent_id: agent.map(ToOwned::to_owned),
            limit: Some(500),
            ..ListMessages::default()
        };
        let page = workspace.list_messages(&alice, page).await;
        page.map_or_else(|_| Vec::new(), |page| page.messages)
    };
    let files = workspace.list_files(&alice, ListFiles::default()).await.unwrap();
    Answers {
        agents: workspace.list_agents(&all).agents,
        channels: workspace.list_channels(&alice).channels,
        general: messages(Some("general"), None).await,
        direct: messages(None, Some("bob")).await,
        files: files.files,
        tokens: workspace.list_tokens(&alice).unwrap().tokens.len(),
    }
}

pub(crate) async fn open(directory: &Path) -> Workspace {
    Workspace::open(directory, Settings::default()).await.unwrap()
}

pub(crate) async fn attach(workspace: &Workspace, agent_id: &str) -> Reader {
    attach_after(workspace, agent_id, None, None).await
}

async fn attach_after(
    workspace: &Workspace,
    agent_id: &str,
    after: Option<Sequence>,
    log: Option<String>,
) -> Reader {
    let attach = Attach {
        principal: Principal::anyone(Role::Member),
        agent_id: Some(agent_id.parse().unwrap()),
        kind: SessionKind::Consuming,
        session_key: None,
        metadata: None,
        after,
        log,
        backlog: Backlog::All,
    };
    Reader::of(workspace.attach(attach).await.unwrap())
}

/// A folder for copies beside the workspace of a room.
struct Shelf(tempfile::TempDir);

impl Shelf {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    async fn back_up(&self, from: &Path, name: &str) -> Backup {
        Workspace::backup(from, &self.path(name), |_| ()).await.unwrap()
    }

    async fn restore(
        &self,
        backup: &str,
        data: &str,
        through: Option<Sequence>,
    ) -> Result<Restored, KeepError> {
        let restore = Restore {
            backup: self.path(backup),
            data: self.path(data),
            through,
            occupied: Occupied::Refuse,
        };
        Workspace::restore(restore, Settings::default(), |_| ()).await
    }
}

#[tokio::test]
async fn a_backup_of_a_workspace_in_use_opens_with_the_same_answers() {
    let room = Room::open().await;
    let shelf = Shelf::new();
    let mut bob = room.attach("bob").await;
    for number in 0..50 {
        room.post("alice", &format!("post {number}")).await;
        room.tell("alice", "bob", &format!("told {number}")).await;
    }
    bob.texts(40).await;
    room.upload("alice", in_general("a.txt"), "content")
        .await
        .unwrap();
    room.workspace
        .create_token(
            &caller("alice"),
            openagents_protocol::call::CreateToken::default(),
        )
        .await
        .unwrap();
    let before = answers(&room.workspace).await;
    let head = room.workspace.head();
    // The cursor is written with the next commit of the view, or within a second.
    room.workspace.close().await;
    let room = room.reopen().await;

    let mut told = Vec::new();
    let backup = Workspace::backup(room.directory.path(), &shelf.path("one"), |progress| {
        told.push(progress);
    })
    .await
    .unwrap();
    assert_eq!((backup.head, backup.files, backup.file_bytes), (head, 1, 7));
    assert!(backup.missing_files.is_empty() && backup.damaged_files.is_empty());
    assert!(
        told.contains(&Progress::Log {
            done: head,
            all: head
        }),
        "{told:?}"
    );
    assert!(told.contains(&Progress::Files { done: 1, all: 1 }), "{told:?}");
    room.post("alice", "later").await;
    room.workspace.close().await;

    let copy = open(&shelf.path("one")).await;
    assert_eq!(copy.head(), head);
    assert_eq!(answers(&copy).await, before);
    let mut bob = attach(&copy, "bob").await;
    assert_eq!(bob.text().await, "post 20", "his cursor is there");
    copy.close().await;

    let again = Workspace::backup(room.directory.path(), &shelf.path("one"), |_| ()).await;
    assert!(matches!(again, Err(KeepError::Exists { .. })), "{again:?}");
    let nothing = Workspace::backup(&shelf.path("none"), &shelf.path("two"), |_| ()).await;
    assert!(
        matches!(nothing, Err(KeepError::NoWorkspace { .. })),
        "{nothing:?}"
    );
    assert_eq!(
        std::fs::read_dir(shelf.0.path()).unwrap().count(),
        1,
        "nothing is left behind"
    );
}

#[tokio::test]
async fn a_backup_under_load_has_everything_acknowledged_before_it_began() {
    let room =
        Room::open_with(|settings| settings.execution = openagents_workspace::Execution::Blocking).await;
    let shelf = Shelf::new();
    for number in 0..3_000 {
        room.post("alice", &number.to_string()).await;
    }
    let acknowledged = room.post("alice", "before").await.sequence.unwrap();
    let load = async {
        for number in 0.. {
            room.post("alice", &format!("meanwhile {number}")).await;
        }
    };
    let backup = tokio::select! {
        () = load => unreachable!("it never ends"),
        backup = shelf.back_up(room.directory.path(), "one") => backup,
    };
    assert!(acknowledged <= backup.head);
    let last = room.post("alice", "after").await.sequence.unwrap();
    room.workspace.close().await;
    let all = records(room.directory.path()).await;
    let copied = records(&shelf.path("one")).await;
    assert_eq!(copied.last().map(|record| record.sequence), Some(backup.head));
    assert_eq!(copied[..], all[..copied.len()]);
    assert!(backup.head < last);
}

async fn records(directory: &Path) -> Vec<openagents_protocol::record::Record> {
    use openagents_store::{EventLog, Options, Store};

    let (store, _) = Store::open(directory, Options::default()).unwrap();
    store.log.read(Sequence::ZERO, usize::MAX).await.unwrap()
}

#[tokio::test]
async fn files_go_along_as_far_as_the_log_refers_to_them() {
    let room = Room::open().await;
    let shelf = Shelf::new();
    let kept = room.upload("alice", in_general("kept"), "kept").await.unwrap();
    let deleted = room
        .upload("alice", in_general("deleted"), "deleted")
        .await
        .unwrap();
    let lost = room.upload("alice", in_general("lost"), "lost").await.unwrap();
    let rotten = room
        .upload("alice", in_general("rotten"), "rotten")
        .await
        .unwrap();
    let file_id = deleted.file_id.parse().unwrap();
    room.workspace
        .delete_file(&member("alice"), DeleteFile { file_id })
        .await
        .unwrap();
    // An upload that was not shared yet belongs to nobody.
    let upload = room
        .workspace
        .begin_upload(&member("alice"), in_general("open"))
        .await
        .unwrap();
    let files = room.directory.path().join("files");
    std::fs::remove_file(files.join(&lost.file_id)).unwrap();
    std::fs::write(files.join(&rotten.file_id), "rotter").unwrap();

    let backup = shelf.back_up(room.directory.path(), "one").await;
    let id = |file: &FileInfo| file.file_id.parse::<EventId>().unwrap();
    assert_eq!((backup.files, backup.file_bytes), (2, 10));
    assert_eq!(backup.missing_files, [id(&lost)]);
    assert_eq!(backup.damaged_files, [id(&rotten)]);
    assert_eq!(blobs(&shelf.path("one")), 2);
    drop(upload);
    room.workspace.close().await;

    let restored = shelf.restore("one", "data", None).await.unwrap();
    assert_eq!((restored.files, restored.missing_files), (2, vec![id(&lost)]));
    let earlier = shelf
        .restore("one", "earlier", Some(kept.sequence))
        .await
        .unwrap();
    assert_eq!((earlier.files, earlier.file_bytes), (1, 4));
    assert_eq!(blobs(&shelf.path("earlier")), 1);
}

#[tokio::test]
async fn a_restored_workspace_ends_where_it_was_told_to() {
    let room = Room::open().await;
    let shelf = Shelf::new();
    let mut bob = room.attach("bob").await;
    for number in 0..10 {
        room.post("alice", &format!("early {number}")).await;
    }
    bob.texts(10).await;
    room.workspace.close().await;
    let room = room.reopen().await;
    let then = answers(&room.workspace).await;
    let cut = room.workspace.head();
    let mut bob = room.attach("bob").await;
    for number in 0..10 {
        room.post("alice", &format!("late {number}")).await;
    }
    bob.texts(10).await;
    drop(bob);
    room.workspace.close().await;
    let room = room.reopen().await;
    let backup = shelf.back_up(room.directory.path(), "one").await;
    room.workspace.close().await;

    let restored = shelf.restore("one", "data", Some(cut)).await.unwrap();
    assert_eq!((restored.head, restored.records), (cut, cut.get()));
    let workspace = open(&shelf.path("data")).await;
    assert_eq!(workspace.indexed(), cut, "the view is built");
    assert_eq!(answers(&workspace).await, then);

    // His cursor was further than the log is now; nothing of what comes is taken for what he had.
    let mut bob = attach(&workspace, "bob").await;
    publish(&workspace, "again").await;
    assert_eq!(bob.text().await, "again");
    workspace.close().await;

    let refused = shelf.restore("one", "data", None).await.unwrap_err();
    assert!(matches!(refused, KeepError::Occupied { .. }), "{refused}");
    for beyond in [Sequence::ZERO, backup.head.next()] {
        let refused = shelf.restore("one", "other", Some(beyond)).await.unwrap_err();
        assert!(matches!(refused, KeepError::BeyondEnd { .. }), "{refused}");
    }
}

pub(crate) async fn publish(workspace: &Workspace, text: &str) {
    let draft = Draft::parse(crate::room::post(text)).unwrap();
    workspace.publish(&caller("alice"), draft).await.unwrap();
}

#[tokio::test]
async fn a_client_that_was_further_than_the_restored_log_misses_nothing() {
    let room = Room::open().await;
    let shelf = Shelf::new();
    let mut bob = room.attach("bob").await;
    for number in 0..10 {
        room.post("alice", &format!("early {number}")).await;
    }
    bob.texts(10).await;
    let original = room.workspace.log_id();
    let cut = room.workspace.head();
    for number in 0..3 {
        room.post("alice", &format!("late {number}")).await;
    }
    bob.texts(3).await;
    let handled = room.workspace.head();
    shelf.back_up(room.directory.path(), "one").await;
    room.workspace.close().await;
    shelf.restore("one", "data", Some(cut)).await.unwrap();

    let workspace = open(&shelf.path("data")).await;
    assert_ne!(workspace.log_id(), original);
    let waiting = ReadEvents {
        after: Some(handled.get()),
        wait: Some(30),
        ..ReadEvents::default()
    };
    let bob = caller("bob");
    let poll = workspace.read_events(&bob, waiting);
    let posts = async {
        for number in 0..10 {
            publish(&workspace, &format!("new {number}")).await;
        }
    };
    let (polled, ()) = tokio::join!(poll, posts);
    let polled = polled.unwrap().events;
    assert_eq!(
        polled[0]["payload"]["content"]["text"], "new 0",
        "a poll is not deaf until the old end"
    );

    assert!(handled < workspace.head(), "the same sequences are used again");
    let mut bob = attach_after(&workspace, "bob", Some(handled), Some(original)).await;
    assert_eq!(bob.session.start(), cut);
    assert_eq!(
        bob.texts(10).await,
        (0..10).map(|number| format!("new {number}")).collect::<Vec<_>>()
    );
    let own = Some(workspace.log_id());
    let carol = attach_after(&workspace, "carol", None, None).await;
    drop(carol);
    let here = attach_after(&workspace, "carol", Some(workspace.head()), own).await;
    assert_eq!(here.session.start(), workspace.head());
    let elsewhere = Some("01990f3c-0000-7000-8000-000000000000".to_owned());
    let unknown = attach_after(&workspace, "dave", Some(handled), elsewhere).await;
    assert!(
        handled < unknown.session.start(),
        "a position in an unknown log is none"
    );
    workspace.close().await;
}

#[tokio::test]
async fn a_workspace_that_is_replaced_is_kept_aside() {
    let room = Room::open().await;
    let shelf = Shelf::new();
    room.post("alice", "old").await;
    shelf.back_up(room.directory.path(), "one").await;
    room.upload("alice", in_general("new"), "new").await.unwrap();
    let new = answers(&room.workspace).await;
    let restore = || Restore {
        backup: shelf.path("one"),
        data: room.directory.path().to_owned(),
        through: None,
        occupied: Occupied::Replace,
    };
    let used = Workspace::restore(restore(), Settings::default(), |_| ())
        .await
        .unwrap_err();
    assert!(
        matches!(used, KeepError::Store(StoreError::Locked { .. })),
        "{used}"
    );
    room.workspace.close().await;
    let restored = Workspace::restore(restore(), Settings::default(), |_| ())
        .await
        .unwrap();
    let aside = restored.replaced.unwrap();

    let workspace = open(room.directory.path()).await;
    let old = answers(&workspace).await;
    assert_eq!((old.general.len(), old.files.len()), (1, 0));
    workspace.close().await;
    let replaced = open(&aside).await;
    assert_eq!(answers(&replaced).await, new);
    replaced.close().await;
}
