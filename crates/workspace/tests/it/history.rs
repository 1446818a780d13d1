//! What was said before.

use openagents_protocol::call::{ListMessages, ReadEvents};

use crate::room::{Room, caller};

/// More than are kept in memory, so that pages come from there and from the index.
const MESSAGES: usize = 3000;

#[tokio::test]
async fn pages_join_without_gap_or_overlap_in_both_directions() {
    let room = Room::open().await;
    for number in 0..MESSAGES {
        room.post("alice", &number.to_string()).await;
    }
    let page = async |before: Option<u64>, after: Option<u64>| {
        let params = ListMessages {
            channel: Some("general".to_owned()),
            limit: Some(77),
            before,
            after,
            ..Default::default()
        };
        room.workspace
            .list_messages(&caller("alice"), params)
            .await
            .unwrap()
    };
    let mut backward = Vec::new();
    let mut before = None;
    loop {
        let found = page(before, None).await;
        before = found.messages.last().map(|message| message.sequence.get());
        backward.extend(
            found
                .messages
                .into_iter()
                .map(|message| message.text().unwrap().to_owned()),
        );
        if !found.has_more {
            break;
        }
    }
    backward.reverse();
    let expected: Vec<String> = (0..MESSAGES).map(|number| number.to_string()).collect();
    assert_eq!(backward, expected);
    let mut forward = Vec::new();
    let mut after = Some(0);
    loop {
        let found = page(None, after).await;
        after = found.messages.last().map(|message| message.sequence.get());
        forward.extend(
            found
                .messages
                .into_iter()
                .map(|message| message.text().unwrap().to_owned()),
        );
        if !found.has_more {
            break;
        }
    }
    assert_eq!(forward, expected);
    let skipped = ListMessages {
        channel: Some("general".to_owned()),
        limit: Some(2),
        offset: Some(2500),
        ..Default::default()
    };
    let found = room
        .workspace
        .list_messages(&caller("alice"), skipped)
        .await
        .unwrap();
    let texts: Vec<_> = found
        .messages
        .iter()
        .filter_map(|message| message.text())
        .collect();
    assert_eq!(texts, ["499", "498"]);
    assert_eq!(found.total_count, None, "nobody asked");
    room.workspace.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_read_that_waits_ends_with_the_first_event() {
    let room = Room::open().await;
    let bob = room.attach("bob").await;
    let wait = ReadEvents {
        wait: Some(20),
        ..Default::default()
    };
    let who = caller("bob");
    let (read, receipt) = tokio::join!(
        room.workspace.read_events(&who, wait.clone()),
        room.tell("alice", "bob", "wake up")
    );
    let read = read.unwrap();
    assert_eq!(read.events.len(), 1);
    assert_eq!(Some(read.through), receipt.sequence);
    let nothing = ReadEvents {
        after: Some(read.through.get()),
        ..wait
    };
    assert!(
        room.workspace
            .read_events(&who, nothing)
            .await
            .unwrap()
            .events
            .is_empty()
    );
    drop(bob);
    room.workspace.close().await;
}

#[tokio::test]
async fn how_many_there_are_is_told_where_it_is_asked_for() {
    let room = Room::open().await;
    for number in 0..5 {
        room.post("alice", &number.to_string()).await;
    }
    let counted = async |channel: Option<&str>, agent_id: Option<&str>, limit, offset| {
        let params = ListMessages {
            channel: channel.map(str::to_owned),
            agent_id: agent_id.map(str::to_owned),
            limit: Some(limit),
            offset: Some(offset),
            count: Some(true),
            ..Default::default()
        };
        let found = room.workspace.list_messages(&caller("alice"), params).await;
        let found = found.unwrap();
        (found.messages.len(), found.total_count)
    };
    for (limit, offset, messages) in [(2, 0, 2), (2, 4, 1), (5, 0, 5), (2, 9, 0)] {
        assert_eq!(
            counted(Some("general"), None, limit, offset).await,
            (messages, Some(5)),
            "{limit} after {offset}"
        );
    }
    assert_eq!(counted(None, Some("alice"), 2, 0).await, (0, Some(0)));
    room.workspace.close().await;
}
