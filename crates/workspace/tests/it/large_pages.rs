//! Pages of large messages: each stays small, and together they are everything, once.

use openagents_protocol::Sequence;
use openagents_protocol::call::{
    EditMessage, ListConversations, ListMessages, Message, ReadEvents, SearchMessages,
};

use crate::room::{Room, caller};

/// Large messages, and small ones that become large; more than are kept in memory.
const MESSAGES: usize = 60;

/// The largest page, with what stands around the messages.
const LARGEST: usize = 1_100_000;

fn large(number: usize) -> String {
    format!("apple {number} {}", "x ".repeat(50_000))
}

/// A room in which all was said, and the sequences at which.
async fn filled() -> (Room, Vec<Sequence>) {
    let room = Room::open().await;
    let mut said = Vec::new();
    for number in 0..MESSAGES {
        let edited = number % 3 == 0;
        let text = if edited { "apple".to_owned() } else { large(number) };
        let receipt = room.post("alice", &text).await;
        said.push(receipt.sequence.unwrap());
        if edited {
            let edit = EditMessage {
                message_id: receipt.message_id,
                content: serde_json::json!(large(number)).into(),
            };
            room.workspace.edit_message(&caller("alice"), edit).await.unwrap();
        }
    }
    (room, said)
}

fn check_page(messages: &[Message]) {
    let bytes: usize = messages
        .iter()
        .map(|message| message.content.as_str().len())
        .sum();
    assert!(bytes < LARGEST, "{bytes} bytes");
    assert!(messages.len() < MESSAGES);
}

#[tokio::test]
async fn a_history_ends_its_pages_early_in_both_directions_and_with_an_offset() {
    let (room, said) = filled().await;
    let page = async |before: Option<u64>, after: Option<u64>, offset: Option<u64>| {
        let params = ListMessages {
            channel: Some("general".to_owned()),
            limit: Some(1000),
            before,
            after,
            offset,
            ..Default::default()
        };
        let page = room
            .workspace
            .list_messages(&caller("bob"), params)
            .await
            .unwrap();
        check_page(&page.messages);
        let at: Vec<_> = page.messages.iter().map(|message| message.sequence).collect();
        (at, page.has_more)
    };
    let backward: Vec<_> = said.iter().rev().copied().collect();
    for way in ["before", "after", "offset"] {
        let mut found: Vec<Sequence> = Vec::new();
        loop {
            let last = found.last().map(|last| last.get());
            let (at, has_more) = match way {
                "before" => page(last, None, None).await,
                "after" => page(None, Some(last.unwrap_or(0)), None).await,
                _ => page(None, None, Some(found.len() as u64)).await,
            };
            found.extend(at);
            if !has_more {
                break;
            }
        }
        assert_eq!(
            found,
            if way == "after" { &said[..] } else { &backward[..] },
            "by {way}"
        );
    }
    room.workspace.close().await;
}

#[tokio::test]
async fn a_search_ends_its_pages_early() {
    let (room, said) = filled().await;
    for _ in 0..2 {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let search = SearchMessages {
                query: "apple".to_owned(),
                limit: Some(100),
                before,
                ..Default::default()
            };
            let page = room
                .workspace
                .search_messages(&caller("bob"), search)
                .await
                .unwrap();
            let messages: Vec<_> = page.results.into_iter().map(|found| found.message).collect();
            check_page(&messages);
            found.extend(messages.iter().map(|message| message.sequence));
            before = page.before.map(Sequence::get);
            if !page.has_more {
                break;
            }
        }
        assert!(found.iter().eq(said.iter().rev()), "{found:?}");
        // And once more from the index alone.
        room.workspace.searchable_through(room.workspace.head()).await;
    }
    room.workspace.close().await;
}

#[tokio::test]
async fn events_and_conversations_end_their_pages_early() {
    let room = Room::open().await;
    let mut readers = vec![room.attach("bob").await];
    let mut told = Vec::new();
    for number in 0..MESSAGES {
        let other = format!("other{number}");
        readers.push(room.attach(&other).await);
        told.push(room.tell(&other, "bob", &large(number)).await.sequence.unwrap());
    }
    let (mut found, mut after) = (Vec::new(), 0);
    while found.len() < MESSAGES {
        let read = ReadEvents {
            after: Some(after),
            limit: Some(1000),
            ..Default::default()
        };
        let page = room.workspace.read_events(&caller("bob"), read).await.unwrap();
        let bytes: usize = page.events.iter().map(|event| event.as_str().len()).sum();
        // An event of a message tells its text twice, and the one with which the page is full is in it.
        assert!(bytes < 3 * LARGEST, "{bytes} bytes");
        assert_ne!(page.events.len(), 0);
        let at = page
            .events
            .iter()
            .filter_map(|event| event.get("sequence")?.as_u64());
        found.extend(at.map(Sequence::new).filter(|at| told.contains(at)));
        after = page.through.get();
    }
    assert_eq!(found, told);

    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let params = ListConversations {
            limit: Some(1000),
            before,
        };
        let page = room
            .workspace
            .list_conversations(&caller("bob"), params)
            .await
            .unwrap();
        let newest: Vec<_> = page
            .conversations
            .into_iter()
            .filter_map(|it| it.last_message)
            .collect();
        check_page(&newest);
        found.extend(newest.iter().map(|message| message.sequence));
        before = found.last().map(|last| last.get());
        if !page.has_more {
            break;
        }
    }
    assert!(found.iter().eq(told.iter().rev()), "{found:?}");
    room.workspace.close().await;
}
