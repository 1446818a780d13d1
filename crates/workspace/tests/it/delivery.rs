//! What readers get, whatever they do.

use std::time::Duration;

use openagents_protocol::call::{CreateChannel, CreateToken, JoinChannel, LeaveChannel, ListAgents};
use openagents_protocol::frame::Backlog;
use openagents_protocol::{ErrorCode, EventId, Sequence};
use openagents_workspace::{DefaultMembership, Durability, Workspace};
use serde_json::json;

use crate::room::{Room, caller, post};

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn a_lagging_reader_goes_on_from_the_log_and_misses_nothing() {
    for durability in [Durability::Os, Durability::Memory] {
        let room = Room::open_with(|settings| settings.durability = durability).await;
        let mut slow = room.attach("slow").await;
        let mut quick = room.attach("quick").await;
        slow.session.acknowledge(Sequence::ZERO);
        let mut expected = Vec::new();
        for round in 0..3 {
            // Each round overflows the queue of the one that does not read.
            for number in 0..2000 {
                let text = format!("{round}-{number}");
                room.post("alice", &text).await;
                assert_eq!(quick.text().await, text);
                expected.push(text);
            }
            let behind = expected.split_off(0);
            let mut got = slow.texts(behind.len() - 500).await;
            got.extend(slow.texts(500).await);
            // The joining of `quick` came first.
            got.retain(|text| text != "agent.joined");
            while got.len() < behind.len() {
                got.push(slow.text().await);
            }
            assert_eq!(got, behind, "round {round}");
        }
        room.workspace.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_window_is_sent_unacknowledged() {
    let room = Room::open().await;
    let mut bob = room.attach("bob").await;
    for text in numbered(1500) {
        room.post("alice", &text).await;
    }
    let mut last = Sequence::ZERO;
    for _ in 0..1024 {
        last = bob.read().await.sequence.unwrap();
    }
    // What is beyond the window has to wait; the future that waits is kept by giving room from another task.
    let session = bob.session.clone();
    let (next, ()) = tokio::join!(bob.read(), async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        session.acknowledge(last);
    });
    assert_eq!(next.text(), Some("1024"));
    room.workspace.close().await;
}

#[tokio::test]
async fn a_cursor_survives_reopening_and_unacknowledged_events_come_again() {
    let room = Room::open().await;
    let mut bob = room.attach("bob").await;
    for text in numbered(10) {
        room.post("alice", &text).await;
    }
    assert_eq!(bob.texts(4).await, ["0", "1", "2", "3"]);
    assert_eq!(bob.read().await.text(), Some("4"), "read and not acknowledged");
    drop(bob);
    let room = room.reopen().await;
    let mut bob = room.attach("bob").await;
    assert_eq!(bob.texts(6).await, ["4", "5", "6", "7", "8", "9"]);
    room.workspace.close().await;
}

#[tokio::test]
async fn a_rebuilt_or_lost_or_damaged_view_gives_the_same_answers() {
    let room = Room::open().await;
    let mut bob = room.attach("bob").await;
    for text in numbered(20) {
        room.post("alice", &text).await;
        room.tell("alice", "bob", &text).await;
    }
    bob.texts(10).await;
    let alice = caller("alice");
    let create = CreateChannel {
        name: "dev".to_owned(),
        description: "building".to_owned(),
    };
    room.workspace.create_channel(&alice, create).await.unwrap();
    room.workspace
        .leave_channel(
            &caller("bob"),
            LeaveChannel {
                channel: "dev".to_owned(),
            },
        )
        .await
        .unwrap();
    room.workspace
        .create_token(&alice, CreateToken::default())
        .await
        .unwrap();
    bob.session.leave(None).await;
    drop(bob);
    let answers = async |room: &Room| {
        let history = openagents_protocol::call::ListMessages {
            channel: Some("general".to_owned()),
            limit: Some(100),
            ..Default::default()
        };
        let unread = room.tell("alice", "bob", "one more").await.recipients[0]
            .unread
            .unwrap();
        (
            room.workspace
                .list_agents(&ListAgents {
                    all: true,
                    capability: None,
                })
                .agents,
            room.workspace.list_channels(&caller("bob")).channels,
            room.workspace
                .list_messages(&alice, history)
                .await
                .unwrap()
                .messages,
            room.workspace.list_tokens(&alice).unwrap().tokens.len(),
            unread,
        )
    };
    let before = answers(&room).await;
    assert_eq!(
        before.4, 16,
        "20 told, the first five of them acknowledged, and one more"
    );

    let room = room
        .reopen_after(async |directory, settings| {
            let head = Workspace::rebuild(directory, settings, |_, _, _| ())
                .await
                .unwrap();
            assert!(Sequence::new(40) < head);
        })
        .await;
    let rebuilt = answers(&room).await;
    assert_eq!(
        (&before.0, &before.1, &before.2, before.3),
        (&rebuilt.0, &rebuilt.1, &rebuilt.2, rebuilt.3)
    );
    assert_eq!(rebuilt.4, before.4 + 1, "cursors are kept");

    let room = room
        .reopen_after(async |directory, _| std::fs::remove_file(directory.join("view.db")).unwrap())
        .await;
    let lost = answers(&room).await;
    assert_eq!(
        (&before.0, &before.1, &before.2, before.3),
        (&lost.0, &lost.1, &lost.2, lost.3)
    );

    let garbage = async |directory: &std::path::Path, _| {
        for file in ["view.db", "view.db-wal"] {
            std::fs::write(directory.join(file), vec![0xA5; 8192]).unwrap();
        }
    };
    let room = room.reopen_after(garbage).await;
    let damaged = answers(&room).await;
    assert_eq!(
        (&before.0, &before.1, &before.2, before.3),
        (&damaged.0, &damaged.1, &damaged.2, damaged.3)
    );
    room.workspace.close().await;
}

#[tokio::test]
async fn whoever_left_a_channel_and_came_back_does_not_get_what_was_said_meanwhile() {
    let room = Room::open().await;
    let mut bob = room.attach("bob").await;
    room.post("alice", "before").await;
    assert_eq!(bob.text().await, "before");
    let general = || "general".to_owned();
    room.workspace
        .leave_channel(&caller("bob"), LeaveChannel { channel: general() })
        .await
        .unwrap();
    drop(bob);
    room.post("alice", "meanwhile").await;
    room.workspace
        .join_channel(&caller("bob"), JoinChannel { channel: general() })
        .await
        .unwrap();
    room.post("alice", "after").await;
    let room = room.reopen().await;
    let mut bob = room.attach("bob").await;
    assert_eq!(bob.text().await, "after");
    room.workspace.close().await;
}

#[tokio::test]
async fn with_nobody_inside_by_default_a_channel_is_for_those_who_joined() {
    let room = Room::open_with(|settings| settings.default_membership = DefaultMembership::Nobody).await;
    let refused = room.publish("alice", post("anybody?")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotAMember);
    let join = JoinChannel {
        channel: "general".to_owned(),
    };
    room.workspace.join_channel(&caller("alice"), join).await.unwrap();
    let receipt = room.post("alice", "anybody?").await;
    assert_eq!(receipt.counts.unwrap().members, 0);
    room.workspace.close().await;
}

#[tokio::test]
async fn an_event_id_is_known_for_ever() {
    let room = Room::open().await;
    let mut event = post("once");
    event.event_id = EventId::new().to_string();
    let first = room.publish("alice", event.clone()).await.unwrap();
    // More than are kept in memory.
    for text in numbered(9000) {
        room.post("bob", &text).await;
    }
    for reopened in [false, true] {
        let again = room.publish("alice", event.clone()).await.unwrap();
        assert!(again.duplicate);
        assert_eq!(again.sequence, first.sequence, "reopened: {reopened}");
        let stolen = room.publish("bob", event.clone()).await.unwrap_err();
        assert_eq!(stolen.code, ErrorCode::EventIdConflict);
        let other = event.clone().payload(json!({"content": "twice"}));
        assert_eq!(
            room.publish("alice", other).await.unwrap_err().code,
            ErrorCode::EventIdReused
        );
    }
    let room = room.reopen().await;
    assert_eq!(
        room.publish("alice", event).await.unwrap().sequence,
        first.sequence
    );
    room.workspace.close().await;
}

#[tokio::test]
async fn what_a_client_says_it_has_handled_is_known_after_a_restart() {
    let room = Room::open().await;
    drop(room.attach("bob").await);
    room.post("alice", "one").await;
    let last = room.post("alice", "two").await.sequence;
    // Its acknowledgement was lost with the connection before; it says where it is and has nothing to acknowledge.
    drop(room.attach_with(Some("bob"), last, Backlog::All).await.unwrap());
    let room = room.reopen().await;
    let bob = room.attach("bob").await;
    assert_eq!(Some(bob.session.start()), last);
    room.workspace.close().await;
}

#[tokio::test]
async fn a_backlog_is_what_was_asked_for() {
    let room = Room::open().await;
    let bob = room.attach("bob").await;
    bob.session.leave(None).await;
    drop(bob);
    room.tell("alice", "bob", "personal").await;
    for text in numbered(20) {
        room.post("alice", &text).await;
    }
    let last = room.post("alice", "hello @bob").await;
    let limited = Backlog::Limited {
        max_events: 3,
        max_age_seconds: 3600,
    };
    let mut bob = room.attach_with(Some("bob"), None, limited).await.unwrap();
    let texts: Vec<String> = vec![bob.text().await, bob.text().await, bob.text().await];
    assert_eq!(texts, ["system.backlog.skipped", "personal", "18"]);
    assert_eq!(bob.read().await.text(), Some("19"));
    let mention = bob.read().await;
    assert_eq!(mention.also, ["channel.message.mentioned"]);
    assert_eq!(mention.sequence, last.sequence);
    drop(bob);
    let mut none = room.attach_with(Some("bob"), None, Backlog::None).await.unwrap();
    room.post("alice", "now").await;
    assert_eq!(none.text().await, "now");
    room.workspace.close().await;
}
