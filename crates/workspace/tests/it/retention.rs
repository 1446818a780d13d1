//! What is removed when it is old or too much, and who is protected from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openagents_protocol::call::{GetRetention, ListMessages, Messages, SearchMessages};
use openagents_protocol::frame::Backlog;
use openagents_protocol::record::Role;
use openagents_protocol::{Event, Sequence};
use openagents_workspace::{Caller, Clock, Keep, Occupied, Restore, Retention, Settings, Unread, Workspace};

use crate::backups::{answers, open};
use crate::files::{blobs, in_general};
use crate::room::{Room, assert_nowhere, caller};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A workspace whose days pass when they are told to.
struct Archive {
    room: Room,
    now_ms: Arc<AtomicU64>,
}

impl Archive {
    async fn keeping(change: impl FnOnce(&mut Retention)) -> Self {
        let now_ms = Arc::new(AtomicU64::new(1_700_000_000_000));
        let clock = Arc::clone(&now_ms);
        let room = Room::open_with(|settings| {
            settings.clock = Clock::new(move || clock.load(Ordering::Relaxed));
            settings.agent_timeout = Duration::from_secs(1);
            // Only when the test says so.
            settings.retention.every = Duration::from_hours(24 * 365);
            change(&mut settings.retention);
        })
        .await;
        Self { room, now_ms }
    }

    fn pass_days(&self, days: u64) {
        self.now_ms.fetch_add(days * DAY_MS, Ordering::Relaxed);
    }

    /// How many records are removed now.
    async fn remove(&self) -> u64 {
        let workspace = &self.room.workspace;
        workspace.searchable_through(workspace.head()).await;
        workspace.apply_retention().await
    }

    async fn general(&self) -> Messages {
        general(&self.room.workspace).await
    }

    async fn texts(&self) -> Vec<String> {
        texts(&self.general().await)
    }

    async fn found(&self, word: &str) -> usize {
        let search = SearchMessages {
            query: word.to_owned(),
            ..SearchMessages::default()
        };
        let found = self
            .room
            .workspace
            .search_messages(&caller("alice"), search)
            .await;
        found.unwrap().results.len()
    }
}

async fn general(workspace: &Workspace) -> Messages {
    let page = ListMessages {
        channel: Some("general".to_owned()),
        limit: Some(500),
        ..ListMessages::default()
    };
    workspace.list_messages(&caller("alice"), page).await.unwrap()
}

fn texts(messages: &Messages) -> Vec<String> {
    let text = |message: &openagents_protocol::call::Message| {
        message
            .content
            .get("text")
            .and_then(|text| text.as_str().map(str::to_owned))
    };
    let mut texts: Vec<String> = messages.messages.iter().filter_map(text).collect();
    texts.sort_unstable();
    texts
}

fn keep_days(days: u64) -> Keep {
    Keep {
        max_age: Some(Duration::from_hours(24 * days)),
        ..Keep::default()
    }
}

fn keep_events(count: u64) -> Keep {
    Keep {
        max_events: Some(count),
        ..Keep::default()
    }
}

#[tokio::test]
async fn what_is_too_old_is_gone_everywhere_and_a_rebuild_comes_to_the_same() {
    let archive = Archive::keeping(|retention| retention.workspace = keep_days(60)).await;
    let room = &archive.room;
    room.attach("bob").await.session.leave(None).await;
    let old = room.post("alice", "an heirloom of the family").await;
    room.tell("alice", "bob", "a whisper of old").await;
    room.publish(
        "bob",
        Event::new("channel.message.posted")
            .to("channel:general")
            .payload(serde_json::json!({"content": "a reply of old", "reply_to_id": old.message_id})),
    )
    .await
    .unwrap();
    assert_eq!(archive.remove().await, 0, "nothing is old");
    archive.pass_days(61);
    room.post("alice", "news of today").await;
    room.tell("alice", "bob", "a word of today").await;
    assert_eq!(archive.found("heirloom").await, 1);

    assert_eq!(archive.remove().await, 3);
    assert_eq!(archive.remove().await, 0, "once");
    assert_eq!(archive.texts().await, ["news of today"]);
    let removed_through = archive.general().await.removed_through;
    assert!(old.sequence < removed_through, "{removed_through:?}");
    assert_eq!(archive.found("heirloom").await, 0);
    assert_eq!(archive.found("today").await, 2);
    assert!(room.message("alice", &old.message_id).await.is_err());
    let before = answers(&room.workspace).await;

    let room = archive.room.reopen().await;
    assert_eq!(answers(&room.workspace).await, before);
    for secret in ["an heirloom of the family", "a whisper of old", "heirloom"] {
        assert_nowhere(room.directory.path(), secret.as_bytes());
    }
    let room = room
        .reopen_after(async |directory, settings| {
            Workspace::rebuild(directory, settings, |_, _, _| ())
                .await
                .unwrap();
        })
        .await;
    assert_eq!(answers(&room.workspace).await, before);
    assert_eq!(general(&room.workspace).await.removed_through, removed_through);
    room.workspace.close().await;
}

#[tokio::test]
async fn a_backup_of_what_is_left_is_restored_as_it_is_and_up_to_a_sequence() {
    let archive = Archive::keeping(|retention| retention.workspace = keep_days(60)).await;
    let room = &archive.room;
    for number in 0..20 {
        room.post("alice", &format!("old {number}")).await;
    }
    archive.pass_days(61);
    let young = room.post("alice", "young").await;
    assert_eq!(archive.remove().await, 20);
    room.post("alice", "younger").await;
    let before = answers(&room.workspace).await;

    let shelf = tempfile::tempdir().unwrap();
    let copy = shelf.path().join("copy");
    Workspace::backup(room.directory.path(), &copy, |_| ())
        .await
        .unwrap();
    let restore = async |name: &str, through: Option<Sequence>| {
        let data = shelf.path().join(name);
        let restore = Restore {
            backup: copy.clone(),
            data: data.clone(),
            through,
            occupied: Occupied::Refuse,
        };
        Workspace::restore(restore, Settings::default(), |_| ())
            .await
            .unwrap();
        data
    };
    let whole = restore("whole", None).await;
    let workspace = open(&whole).await;
    assert_eq!(answers(&workspace).await, before);
    workspace.close().await;

    // Back to a moment at which the old ones were there, which are gone all the same.
    let part = restore("part", young.sequence).await;
    let workspace = open(&part).await;
    let restored = general(&workspace).await;
    assert_eq!(texts(&restored), ["young"]);
    assert!(
        restored
            .removed_through
            .is_some_and(|through| Some(through) < young.sequence),
        "{restored:?}"
    );
    workspace.close().await;
    let repaired = Workspace::repair(
        &copy,
        openagents_workspace::Repair::Look,
        Settings::default(),
        |_| (),
    );
    assert!(
        repaired.await.unwrap().is_log_sound(),
        "what was removed is not lost"
    );
}

#[tokio::test]
async fn what_an_agent_seen_within_thirty_days_has_not_acknowledged_stays() {
    let archive = Archive::keeping(|retention| {
        retention.workspace = keep_days(5);
    })
    .await;
    let room = &archive.room;
    room.post("alice", "for nobody").await;
    archive.pass_days(10);
    let mut bob = room.attach("bob").await;
    room.post("alice", "read by bob").await;
    assert_eq!(bob.text().await, "read by bob");
    room.post("alice", "missed by bob").await;
    room.tell("alice", "bob", "whispered to bob").await;
    bob.session.leave(None).await;
    drop(bob);
    // Everybody else is away for good, but bob was here 20 days ago.
    archive.pass_days(20);
    let carol = room.attach("carol").await;
    carol.session.acknowledge(carol.session.served_through());
    carol.session.leave(None).await;
    drop(carol);
    archive.pass_days(9);
    archive.remove().await;
    let kept = archive.texts().await;
    assert!(kept.contains(&"missed by bob".to_owned()), "{kept:?}");

    let mut bob = room.attach("bob").await;
    assert_eq!(bob.texts(2).await, ["missed by bob", "whispered to bob"]);
    bob.session.acknowledge(bob.session.served_through());
    archive.remove().await;
    assert_eq!(archive.texts().await, Vec::<String>::new(), "read, and old");
}

#[tokio::test]
async fn an_agent_that_was_away_for_longer_is_told_what_is_gone() {
    let archive = Archive::keeping(|retention| retention.workspace = keep_days(5)).await;
    let room = &archive.room;
    let bob = room.attach("bob").await;
    let cursor = bob.session.start();
    bob.session.leave(None).await;
    drop(bob);
    room.post("alice", "gone 1").await;
    let last = room.post("alice", "gone 2").await;
    let whispered = room.tell("alice", "bob", "gone 3").await;
    archive.pass_days(31);
    room.post("alice", "still here").await;
    assert_eq!(archive.remove().await, 3);

    // Told again as long as it has not gone on from there.
    for _ in 0..2 {
        let mut bob = room.attach("bob").await;
        let told = bob.read().await;
        assert_eq!(told.event_name, "system.history.removed");
        assert_eq!(told.payload["after"], cursor.get());
        assert_eq!(told.payload["through"], whispered.sequence.unwrap().get());
        let places = told.payload["places"].as_array().unwrap();
        assert_eq!(
            *places,
            [
                serde_json::json!({"place": "channel:general", "through": last.sequence.unwrap().get()}),
                serde_json::json!({"place": "agent:bob", "through": whispered.sequence.unwrap().get()}),
            ]
        );
        assert_eq!(bob.read().await.text(), Some("still here"));
    }
    let mut bob = room.attach("bob").await;
    assert_eq!(bob.texts(2).await, ["system.history.removed", "still here"]);
    bob.session.leave(None).await;
    drop(bob);
    room.post("alice", "later").await;
    let mut bob = room.attach("bob").await;
    assert_eq!(
        bob.text().await,
        "later",
        "it went on, so there is nothing to be told"
    );
    let mut fresh = room.attach("fresh").await;
    room.post("alice", "for all").await;
    assert_eq!(fresh.text().await, "for all", "who is new misses nothing");
}

#[tokio::test]
async fn where_a_setting_says_so_what_is_unread_goes_too_and_its_reader_is_told() {
    let archive = Archive::keeping(|retention| {
        retention.workspace = keep_days(5);
        retention.unread = Unread::Removed;
    })
    .await;
    let room = &archive.room;
    let bob = room.attach("bob").await;
    bob.session.leave(None).await;
    drop(bob);
    room.post("alice", "unread").await;
    archive.pass_days(6);
    assert_eq!(archive.remove().await, 1);
    let mut bob = room
        .attach_with(Some("bob"), None, Backlog::default())
        .await
        .unwrap();
    assert_eq!(bob.text().await, "system.history.removed");
}

#[test]
fn what_is_removed_while_its_reader_catches_up_is_told_before_what_is_left() {
    // One thread does all the waiting for the disk, so that the test decides when something is read.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut archive = Archive::keeping(|retention| {
            retention.workspace = keep_days(5);
            retention.unread = Unread::Removed;
        })
        .await;
        archive.room.attach("bob").await.session.leave(None).await;
        archive.room.post("alice", "unread").await;
        archive
            .room
            .change(|settings| settings.execution = openagents_workspace::Execution::Blocking);
        // What a workspace has not in memory is read from the disk.
        archive.room = archive.room.reopen().await;
        let mut bob = archive.room.attach("bob").await;
        let (busy, is_busy) = tokio::sync::oneshot::channel();
        let (free, is_free) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || {
            busy.send(()).unwrap();
            is_free.recv().unwrap_err();
        });
        is_busy.await.unwrap();
        let mut texts = Box::pin(bob.texts(2));
        tokio::select! {
            biased;
            texts = &mut texts => panic!("nobody waited for the disk: {texts:?}"),
            () = std::future::ready(()) => drop(free),
        }
        archive.pass_days(6);
        archive.room.post("alice", "still here").await;
        // The workspace looks by itself when it was opened; whoever comes first removes it.
        archive.remove().await;
        assert_eq!(texts.await, ["system.history.removed", "still here"]);
    });
}

#[tokio::test]
async fn what_is_too_many_goes_by_channel_and_altogether_but_nothing_young() {
    let archive = Archive::keeping(|retention| {
        retention.each_channel = keep_events(3);
        retention
            .channels
            .insert("audit".parse().unwrap(), Keep::default());
        retention.channels.insert(
            "small".parse().unwrap(),
            Keep {
                max_bytes: Some(2_000),
                ..Keep::default()
            },
        );
        retention.away = Duration::from_hours(24);
    })
    .await;
    let room = &archive.room;
    for channel in ["general", "audit", "small"] {
        for number in 0..10 {
            let posted = Event::new("channel.message.posted").to(format!("channel:{channel}"));
            let posted = posted.payload(serde_json::json!({"content": format!("{channel} {number}")}));
            room.publish("alice", posted).await.unwrap();
        }
    }
    archive.pass_days(6);
    assert_eq!(archive.remove().await, 0, "too many, and not a week old");
    archive.pass_days(2);
    archive.remove().await;
    assert_eq!(archive.texts().await, ["general 7", "general 8", "general 9"]);
    let count = async |channel: &str| {
        let page = ListMessages {
            channel: Some(channel.to_owned()),
            limit: Some(100),
            ..ListMessages::default()
        };
        let page = room.workspace.list_messages(&caller("alice"), page).await;
        page.unwrap().messages.len()
    };
    assert_eq!(count("audit").await, 10, "it says so itself");
    let small = count("small").await;
    assert!(0 < small && small < 5, "about 2,000 bytes are {small}");
    let events = room.workspace.list_channels(&caller("alice")).channels;
    let events: Vec<u64> = events
        .iter()
        .filter(|channel| channel.name == "general")
        .map(|channel| channel.events)
        .collect();
    assert_eq!(events, [3]);
}

#[tokio::test]
async fn all_together_are_no_more_than_the_workspace_keeps() {
    let archive = Archive::keeping(|retention| {
        retention.workspace = keep_events(1_000);
        retention.away = Duration::from_hours(24);
    })
    .await;
    let room = &archive.room;
    room.attach("bob").await.session.leave(None).await;
    for number in 0..1_500 {
        if number % 3 == 0 {
            room.tell("alice", "bob", &format!("whisper {number}")).await;
        } else {
            room.post("alice", &format!("post {number}")).await;
        }
    }
    archive.pass_days(8);
    let removed = archive.remove().await;
    assert!((500..520).contains(&removed), "{removed}");
    let first = archive.general().await.removed_through;
    assert!(first.is_some_and(|through| Sequence::new(400) < through));
}

#[tokio::test]
async fn files_go_with_the_messages_of_their_time() {
    let archive = Archive::keeping(|retention| {
        retention.workspace = keep_days(60);
        retention.files = Some(Duration::from_hours(24 * 10));
    })
    .await;
    let room = &archive.room;
    room.post("alice", "see the file").await;
    room.upload("alice", in_general("report.csv"), "1,2,3")
        .await
        .unwrap();
    archive.pass_days(11);
    archive.remove().await;
    room.workspace.searchable_through(room.workspace.head()).await;
    assert_eq!(
        archive.texts().await,
        ["see the file"],
        "files have their own time"
    );
    let answers = answers(&room.workspace).await;
    assert!(answers.files.is_empty(), "{:?}", answers.files);
    let room = archive.room.reopen().await;
    assert_eq!(blobs(room.directory.path()), 0);
}

#[tokio::test]
async fn what_is_to_go_is_told_before_with_who_holds_it_up_and_afterwards_what_went() {
    let archive = Archive::keeping(|retention| retention.workspace = keep_days(60)).await;
    let room = &archive.room;
    room.attach("carol").await.session.leave(None).await;
    let bob = room.attach("bob").await;
    let cursor = bob.session.start();
    for number in 0..10 {
        room.post("alice", &format!("post {number}")).await;
    }
    room.tell("alice", "carol", "a whisper").await;
    archive.pass_days(31);
    room.post("alice", "of today").await;
    room.workspace.searchable_through(room.workspace.head()).await;
    let admin = Caller::new("operator".parse().unwrap(), Role::Admin);
    let ask = async |asked: GetRetention| room.workspace.get_retention(&admin, &asked).await.unwrap();

    let told = ask(GetRetention::default()).await;
    assert_eq!(told.limits.workspace.max_age_seconds, Some(60 * 24 * 60 * 60));
    assert_eq!(
        (told.due_events, told.waiting_events, told.places.len()),
        (0, 0, 0)
    );

    // With other limits: bob is connected and has read nothing, carol is away for too long.
    let month = GetRetention {
        keep_for_seconds: Some(30 * 24 * 60 * 60),
        ..GetRetention::default()
    };
    let told = ask(month).await;
    assert_eq!((told.due_events, told.waiting_events), (1, 10));
    let places: Vec<&str> = told.places.iter().map(|place| place.place.as_str()).collect();
    assert_eq!(places, ["agent:carol", "channel:general"]);
    let held = told.places[1].held_up_by.as_ref().unwrap();
    assert_eq!(
        (held.agent_id.as_str(), held.acknowledged, held.online),
        ("bob", cursor, true)
    );
    assert!(held.last_seen <= held.since, "it was sent after bob came");

    bob.session.leave(None).await;
    drop(bob);
    archive.pass_days(31);
    let few = GetRetention {
        keep_events: Some(4),
        ..GetRetention::default()
    };
    assert_eq!(
        ask(few).await.due_events,
        11,
        "the old ones, of which four are too few to add any"
    );
    let few = GetRetention {
        keep_events: Some(0),
        ..GetRetention::default()
    };
    assert_eq!(ask(few).await.due_events, 12);
    let told = ask(GetRetention::default()).await;
    assert_eq!(
        (told.due_events, told.waiting_events, told.removed_events),
        (11, 0, 0)
    );
    assert_eq!(archive.remove().await, told.due_events);
    let after = ask(GetRetention::default()).await;
    assert_eq!((after.due_events, after.removed_events), (0, told.due_events));
    assert_eq!(after.removed_bytes, told.due_bytes);
    assert!(after.last_run.is_some());
    assert_eq!(after.held_up_by, 0);
    assert!(after.places.iter().all(|place| place.removed_through.is_some()));

    let member = Caller::new("alice".parse().unwrap(), Role::Member);
    let refused = room
        .workspace
        .get_retention(&member, &GetRetention::default())
        .await;
    assert_eq!(
        refused.unwrap_err().code,
        openagents_protocol::ErrorCode::Forbidden
    );
}
