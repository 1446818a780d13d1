//! Finding what was said.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openagents_protocol::call::{
    CreateChannel, DeleteChannel, DeleteMessage, EditMessage, FoundMessages, JoinChannel, LeaveChannel,
    SearchMessages, Unblock,
};
use openagents_protocol::record::Role;
use openagents_protocol::{ErrorCode, Event, EventId};
use openagents_workspace::{Caller, Clock, Group, Workspace};
use serde_json::json;

use crate::room::{Room, caller, post};

fn query(query: &str) -> SearchMessages {
    SearchMessages {
        query: query.to_owned(),
        ..SearchMessages::default()
    }
}

fn in_channel(channel: &str, text: &str) -> Event {
    Event::new("channel.message.posted")
        .to(format!("channel:{channel}"))
        .payload(json!({"content": text}))
}

fn texts(found: &FoundMessages) -> Vec<&str> {
    let results = found.results.iter();
    results.map(|found| found.message.text().unwrap()).collect()
}

impl Room {
    async fn search(&self, asker: &str, params: SearchMessages) -> FoundMessages {
        self.workspace
            .search_messages(&caller(asker), params)
            .await
            .unwrap()
    }

    /// What an agent finds, newest first.
    async fn found(&self, asker: &str, params: SearchMessages) -> Vec<String> {
        let found = self.search(asker, params).await;
        texts(&found).into_iter().map(str::to_owned).collect()
    }

    async fn refused(&self, asker: &Caller, params: SearchMessages) -> (ErrorCode, Option<String>) {
        let refused = self.workspace.search_messages(asker, params).await;
        let error = refused.unwrap_err();
        (error.code, error.field)
    }

    /// From here on the index answers alone.
    async fn indexed(&self) {
        self.workspace.searchable_through(self.workspace.head()).await;
    }

    async fn say_instead(&self, agent: &str, message_id: &EventId, text: &str) {
        let (message_id, content) = (message_id.clone(), json!(text).into());
        let params = EditMessage { message_id, content };
        self.workspace.edit_message(&caller(agent), params).await.unwrap();
    }

    async fn take_back(&self, agent: &str, message_id: &EventId) {
        let message_id = message_id.clone();
        let params = DeleteMessage { message_id };
        self.workspace
            .delete_message(&caller(agent), params)
            .await
            .unwrap();
    }

    async fn make_channel(&self, name: &str) {
        let params = CreateChannel {
            name: name.to_owned(),
            description: String::new(),
        };
        self.workspace
            .create_channel(&caller("admin"), params)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_found_at_once_and_ever_after() {
    let room = Room::open().await;
    room.post("alice", "The deployment of v2 failed").await;
    room.post("bob", "Deployed again: it works, DEPLOYMENT done")
        .await;
    room.post("bob", "nothing else").await;
    let check = async |room: &Room| {
        let found = room.search("carol", query("deploy*")).await;
        let newest = [
            "Deployed again: it works, DEPLOYMENT done",
            "The deployment of v2 failed",
        ];
        assert_eq!(texts(&found), newest);
        assert_eq!(found.indexed, room.workspace.head());
        assert!(!found.has_more && found.before.is_none());
        let pieces: Vec<_> = found.results[0]
            .snippet
            .iter()
            .map(|part| (part.text.as_str(), part.matched))
            .collect();
        let expected = [
            ("Deployed", true),
            (" again: it works, ", false),
            ("DEPLOYMENT", true),
            (" done", false),
        ];
        assert_eq!(pieces, expected);
        let phrase = room.found("carol", query("\"v2 failed\" deployment")).await;
        assert_eq!(phrase, ["The deployment of v2 failed"]);
        assert_eq!(room.found("carol", query("works failed")).await, [""; 0]);
    };
    check(&room).await;
    room.indexed().await;
    check(&room).await;
    let room = room.reopen().await;
    check(&room).await;
}

#[tokio::test]
async fn agents_find_what_they_may_read_and_nothing_else() {
    let room = Room::open().await;
    room.make_channel("ops").await;
    room.post("alice", "word in general").await;
    room.publish("alice", in_channel("ops", "word in ops"))
        .await
        .unwrap();
    for agent in ["bob", "carol"] {
        room.post(agent, "hello").await;
    }
    room.tell("alice", "bob", "word to bob").await;
    room.tell("bob", "bob", "word to himself").await;
    let mut restricted = post("word for carol");
    restricted.visibility = openagents_protocol::Visibility::Restricted;
    restricted.allowed_agents = Some(vec!["carol".to_owned()]);
    room.publish("alice", restricted).await.unwrap();
    let channel = "ops".to_owned();
    let left = LeaveChannel {
        channel: channel.clone(),
    };
    room.workspace
        .leave_channel(&caller("carol"), left)
        .await
        .unwrap();

    room.indexed().await;
    let of = |asker| room.found(asker, query("word"));
    let alice = ["word for carol", "word to bob", "word in ops", "word in general"];
    assert_eq!(of("alice").await, alice);
    let bob = ["word to himself", "word to bob", "word in ops", "word in general"];
    assert_eq!(of("bob").await, bob);
    assert_eq!(of("carol").await, ["word for carol", "word in general"]);
    assert_eq!(of("stranger").await, ["word in ops", "word in general"]);
    let joined = JoinChannel {
        channel: channel.clone(),
    };
    room.workspace
        .join_channel(&caller("carol"), joined)
        .await
        .unwrap();
    let carol = ["word for carol", "word in ops", "word in general"];
    assert_eq!(of("carol").await, carol);
}

#[tokio::test]
async fn what_is_not_indexed_yet_is_found_by_the_same_rules() {
    let room = Room::open().await;
    room.make_channel("ops").await;
    for agent in ["alice", "bob", "carol"] {
        room.post(agent, "hello").await;
    }
    let left = LeaveChannel {
        channel: "ops".to_owned(),
    };
    room.workspace
        .leave_channel(&caller("carol"), left)
        .await
        .unwrap();
    room.indexed().await;
    // All of it at once, so that the index has none of it.
    room.publish("alice", in_channel("ops", "word in ops"))
        .await
        .unwrap();
    room.tell("alice", "bob", "word to bob").await;
    let found = room.search("carol", query("word")).await;
    assert_eq!((texts(&found), found.indexed), (vec![], room.workspace.head()));
    assert_eq!(
        room.found("bob", query("word")).await,
        ["word to bob", "word in ops"]
    );
    let only = SearchMessages {
        channel: Some("ops".to_owned()),
        ..query("word")
    };
    assert_eq!(room.found("bob", only).await, ["word in ops"]);
}

#[tokio::test]
async fn a_group_without_the_permission_finds_no_channel() {
    let room = Room::open().await;
    room.post("alice", "word in general").await;
    room.post("bob", "hello").await;
    room.tell("alice", "bob", "word to bob").await;
    let mut group = Group::open("mute");
    group.permissions = Some(vec!["post_messages".to_owned()]);
    let bob = Caller {
        group: Some(Arc::new(group)),
        ..Caller::new("bob".parse().unwrap(), Role::Member)
    };
    for at_once in [true, false] {
        if !at_once {
            room.indexed().await;
        }
        let found = room.workspace.search_messages(&bob, query("word")).await.unwrap();
        assert_eq!(texts(&found), ["word to bob"]);
    }
    let general = SearchMessages {
        channel: Some("general".to_owned()),
        ..query("word")
    };
    assert_eq!(room.refused(&bob, general).await.0, ErrorCode::Forbidden);
}

#[tokio::test]
async fn a_channel_made_anew_does_not_bring_back_what_was_said_before() {
    let room = Room::open().await;
    room.make_channel("ops").await;
    room.publish("alice", in_channel("ops", "the old word"))
        .await
        .unwrap();
    let params = DeleteChannel {
        channel: "ops".to_owned(),
    };
    room.workspace
        .delete_channel(&caller("admin"), params)
        .await
        .unwrap();
    assert_eq!(room.found("alice", query("word")).await, [""; 0]);
    room.make_channel("ops").await;
    room.publish("alice", in_channel("ops", "the new word"))
        .await
        .unwrap();
    for at_once in [true, false] {
        if !at_once {
            room.indexed().await;
        }
        assert_eq!(room.found("alice", query("word")).await, ["the new word"]);
        let ops = SearchMessages {
            channel: Some("ops".to_owned()),
            ..query("word")
        };
        assert_eq!(room.found("alice", ops).await, ["the new word"]);
    }
}

#[tokio::test]
async fn filters_narrow_what_is_found() {
    let now = Arc::new(AtomicU64::new(1_700_000_000_000));
    let clock = Arc::clone(&now);
    let room = Room::open_with(move |settings| {
        settings.clock = Clock::new(move || clock.load(Ordering::Relaxed));
    })
    .await;
    room.make_channel("ops").await;
    room.post("bob", "hello").await;
    let mut sequences = Vec::new();
    for number in 0..6 {
        now.fetch_add(10_000, Ordering::Relaxed);
        let agent = ["alice", "bob"][number % 2];
        let channel = ["general", "ops"][number / 3];
        let text = format!("word {number}");
        let receipt = room.publish(agent, in_channel(channel, &text)).await.unwrap();
        sequences.push(receipt.sequence.unwrap().get());
    }
    room.tell("alice", "bob", "word 6").await;
    let text = |text: &str| Some(text.to_owned());
    for at_once in [true, false] {
        if !at_once {
            room.indexed().await;
        }
        let check = async |narrow: &dyn Fn(&mut SearchMessages), expected: &[u32]| {
            let mut params = query("word");
            narrow(&mut params);
            let expected: Vec<String> = expected.iter().map(|number| format!("word {number}")).collect();
            assert_eq!(room.found("alice", params).await, expected);
        };
        check(&|_| (), &[6, 5, 4, 3, 2, 1, 0]).await;
        check(&|all| all.channel = text("#ops"), &[5, 4, 3]).await;
        check(&|all| all.agent_id = text("agent:bob"), &[6]).await;
        check(&|all| all.sender = text("bob"), &[5, 3, 1]).await;
        check(
            &|all| (all.channel, all.sender) = (text("ops"), text("bob")),
            &[5, 3],
        )
        .await;
        check(&|all| all.sender = text("nobody"), &[]).await;
        check(&|all| all.before = Some(sequences[2]), &[1, 0]).await;
        check(&|all| all.after = Some(sequences[4]), &[6, 5]).await;
        let (early, late) = (Some(1_700_000_020.0), Some(1_700_000_050.0));
        check(&|all| all.since = late, &[6, 5, 4]).await;
        check(&|all| all.until = early, &[0]).await;
        check(&|all| (all.since, all.until) = (early, late), &[3, 2, 1]).await;
    }
}

#[tokio::test]
async fn pages_join_without_gap_or_overlap() {
    let room = Room::open().await;
    for number in 0..300 {
        room.post("alice", &format!("word {number}")).await;
        if number == 250 {
            room.indexed().await;
        }
    }
    let mut all = Vec::new();
    let mut before = None;
    loop {
        let params = SearchMessages {
            limit: Some(7),
            before,
            ..query("word")
        };
        let page = room.search("bob", params).await;
        assert!(page.results.len() <= 7);
        all.extend(texts(&page).into_iter().map(str::to_owned));
        before = page.before.map(openagents_protocol::Sequence::get);
        assert_eq!(page.has_more, before.is_some());
        if !page.has_more {
            break;
        }
    }
    let expected: Vec<String> = (0..300).rev().map(|number| format!("word {number}")).collect();
    assert_eq!(all, expected);
}

#[tokio::test]
async fn an_edited_message_is_found_by_its_new_words_and_a_deleted_one_not_at_all() {
    let room = Room::open().await;
    let edited = room.post("alice", "the first wording").await.message_id;
    let deleted = room.post("alice", "the xylophone secret").await.message_id;
    let twice = room
        .post("alice", "edited and deleted: xylophone")
        .await
        .message_id;
    room.indexed().await;
    room.say_instead("alice", &edited, "the second phrasing").await;
    room.say_instead("alice", &twice, "another xylophone").await;
    room.take_back("alice", &deleted).await;
    room.take_back("alice", &twice).await;
    assert_eq!(room.found("bob", query("wording")).await, [""; 0], "at once");
    assert_eq!(room.found("bob", query("xylophone")).await, [""; 0], "at once");
    room.indexed().await;
    let room = room.reopen().await;
    assert_eq!(room.found("bob", query("wording")).await, [""; 0]);
    assert_eq!(
        room.found("bob", query("phrasing")).await,
        ["the second phrasing"]
    );
    assert_eq!(room.found("bob", query("xylophone")).await, [""; 0]);
    room.reopen_after(async |directory, _| {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap_or_default();
            let found = bytes.windows(9).any(|window| window == b"xylophone");
            assert!(!found, "{} has it", path.display());
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_held_is_found_once_it_is_released() {
    let room = Room::open_with(|settings| {
        let mut guard = openagents_workspace::LoopGuard::default();
        guard.max_hops = 2;
        settings.loop_guard = Some(guard);
    })
    .await;
    let mut cause = room.post("ping", "begin").await.message_id;
    let held = loop {
        let mut event = post("a looping word");
        event.caused_by = Some(cause.to_string());
        let receipt = room.publish("ping", event).await.unwrap();
        if receipt.held {
            break receipt.message_id;
        }
        room.take_back("ping", &receipt.message_id).await;
        cause = receipt.message_id;
    };
    let found = async || room.found("pong", query("looping")).await;
    assert_eq!(found().await, [""; 0]);
    room.indexed().await;
    assert_eq!(found().await, [""; 0]);
    let params = Unblock {
        message_id: Some(held),
    };
    room.workspace.unblock(&caller("admin"), params).await.unwrap();
    assert_eq!(found().await, ["a looping word"]);
    room.indexed().await;
    assert_eq!(found().await, ["a looping word"]);
}

#[tokio::test]
async fn an_index_that_is_lost_damaged_or_rebuilt_finds_the_same() {
    type Harm = fn(&std::path::Path);
    const FILES: [&str; 2] = ["search.db", "search.db-wal"];

    let mut room = Room::open().await;
    for number in 0..3_000 {
        room.post("alice", &format!("word{number} here")).await;
    }
    room.tell("alice", "alice", "word1500 to myself").await;
    let harms: [Harm; 3] = [
        |_| (),
        |directory| {
            for file in FILES {
                std::fs::remove_file(directory.join(file)).unwrap_or_default();
            }
        },
        |directory| {
            for file in FILES {
                std::fs::write(directory.join(file), vec![0xA5; 8192]).unwrap();
            }
        },
    ];
    for harm in harms {
        room = room.reopen_after(async |directory, _| harm(directory)).await;
        room.indexed().await;
        let found = room.found("alice", query("word1500")).await;
        assert_eq!(found, ["word1500 to myself", "word1500 here"]);
    }
    let mut told = Vec::new();
    room = room
        .reopen_after(async |directory, settings| {
            Workspace::rebuild(directory, settings, |what, _, _| told.push(what))
                .await
                .unwrap();
        })
        .await;
    told.dedup();
    assert_eq!(
        told,
        [
            openagents_workspace::Derived::View,
            openagents_workspace::Derived::SearchIndex
        ]
    );
    // Nothing is left to be indexed.
    assert_eq!(
        room.search("alice", query("word7")).await.indexed,
        room.workspace.head()
    );
    assert_eq!(room.found("alice", query("word7")).await, ["word7 here"]);
}

#[tokio::test]
async fn a_search_that_makes_no_sense_is_told_why() {
    let room = Room::open().await;
    room.post("bob", "hello").await;
    let alice = caller("alice");
    let check = async |params: SearchMessages, code: ErrorCode, field: &str| {
        assert_eq!(room.refused(&alice, params).await, (code, Some(field.to_owned())));
    };
    let text = |text: &str| Some(text.to_owned());
    check(query(""), ErrorCode::InvalidField, "query").await;
    check(query("\"*\" -- ()"), ErrorCode::InvalidField, "query").await;
    check(query(&"x".repeat(1_001)), ErrorCode::InvalidField, "query").await;
    let many: Vec<String> = (0..33).map(|number| number.to_string()).collect();
    check(query(&many.join(" ")), ErrorCode::InvalidField, "query").await;
    let word = || query("word");
    check(
        SearchMessages {
            limit: Some(0),
            ..word()
        },
        ErrorCode::InvalidField,
        "limit",
    )
    .await;
    check(
        SearchMessages {
            limit: Some(101),
            ..word()
        },
        ErrorCode::InvalidField,
        "limit",
    )
    .await;
    check(
        SearchMessages {
            since: Some(-1.0),
            ..word()
        },
        ErrorCode::InvalidField,
        "since",
    )
    .await;
    check(
        SearchMessages {
            until: Some(f64::NAN),
            ..word()
        },
        ErrorCode::InvalidField,
        "until",
    )
    .await;
    check(
        SearchMessages {
            channel: text("gone"),
            ..word()
        },
        ErrorCode::ChannelNotFound,
        "channel",
    )
    .await;
    check(
        SearchMessages {
            agent_id: text("nobody"),
            ..word()
        },
        ErrorCode::AgentNotFound,
        "agent_id",
    )
    .await;
    check(
        SearchMessages {
            sender: text(""),
            ..word()
        },
        ErrorCode::InvalidName,
        "sender",
    )
    .await;
    let both = SearchMessages {
        channel: text("general"),
        agent_id: text("bob"),
        ..word()
    };
    check(both, ErrorCode::InvalidField, "channel").await;
    let left = LeaveChannel {
        channel: "general".to_owned(),
    };
    room.workspace.leave_channel(&alice, left).await.unwrap();
    check(
        SearchMessages {
            channel: text("general"),
            ..word()
        },
        ErrorCode::NotAMember,
        "channel",
    )
    .await;
}
