//! Agents that answer each other for ever are stopped; others are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openagents_protocol::call::{DeleteMessage, Explain, Unblock};
use openagents_protocol::frame::{Backlog, SessionKind};
use openagents_protocol::record::Role;
use openagents_protocol::{ErrorCode, Event, EventId, Receipt};
use openagents_workspace::{Attach, Caller, Clock, Durability, Principal};
use serde_json::json;

use crate::room::{Reader, Room, assert_nowhere, caller, payload_keys, post};

const AGENTS: [&str; 2] = ["ping", "pong"];

fn to(agent: &str, text: &str) -> Event {
    Event::new("direct.message.received")
        .to(format!("agent:{agent}"))
        .payload(json!({"content": text}))
}

fn answering(mut event: Event, cause: &EventId) -> Event {
    event.response_to = Some(cause.to_string());
    event
}

fn replying(mut event: Event, parent: &EventId) -> Event {
    event.reply_to_id = Some(parent.to_string());
    event
}

fn caused(mut event: Event, cause: &EventId) -> Event {
    event.caused_by = Some(cause.to_string());
    event
}

impl Room {
    /// A workspace whose time is what the number says.
    async fn with_a_clock() -> (Self, Arc<AtomicU64>) {
        let now = Arc::new(AtomicU64::new(1_700_000_000_000));
        let clock = Arc::clone(&now);
        let room = Self::open_with(move |settings| {
            settings.clock = Clock::new(move || clock.load(Ordering::Relaxed));
            settings.durability = Durability::Memory;
        });
        (room.await, now)
    }

    /// Two agents answer each other until one of them is held; the number of messages before, and the held one.
    async fn echo(&self, say: impl Fn(usize, Option<&EventId>) -> Event) -> (usize, Receipt) {
        let mut cause = None;
        for count in 0..2000 {
            let event = say(count, cause.as_ref());
            let receipt = self.publish(AGENTS[count % 2], event).await.unwrap();
            if receipt.held {
                return (count, receipt);
            }
            cause = Some(receipt.message_id);
        }
        panic!("they were never held");
    }

    async fn explain(&self, event: &EventId, agent: &str) -> String {
        let params = Explain {
            event_id: event.clone(),
            agent_id: agent.to_owned(),
        };
        self.workspace
            .explain(&caller("admin"), params)
            .await
            .unwrap()
            .verdict
    }
}

async fn names(reader: &mut Reader, count: usize) -> Vec<String> {
    let mut names = Vec::new();
    for _ in 0..count {
        names.push(reader.read().await.event_name);
    }
    names
}

#[tokio::test]
async fn echoing_agents_are_held_within_fifty_exchanges_and_released() {
    let room = Room::open().await;
    let pong = room.attach("pong").await;
    drop(pong);
    room.attach("ping").await;
    let (count, held) = room
        .echo(|count, cause| {
            let event = to(AGENTS[(count + 1) % 2], &count.to_string());
            match cause {
                Some(cause) => answering(event, cause),
                None => event,
            }
        })
        .await;
    assert!(count / 2 < 50, "{count} messages went through");
    assert!(held.recipients.is_empty());
    let id = held.message_id.clone();
    let room = room.reopen().await;
    let mut member = Caller::new("ping".parse().unwrap(), Role::Member);
    let refused = room.workspace.unblock(&member, Unblock::default()).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::Forbidden);
    member.role = Role::Moderator;
    let listed = room.workspace.list_held(&member).await.unwrap().held;
    assert_eq!(
        (
            listed.len(),
            listed[0].message_id.as_str(),
            listed[0].limit.as_str()
        ),
        (1, id.as_str(), "hops")
    );
    assert!(
        room.explain(&id, AGENTS[(count + 1) % 2])
            .await
            .contains("loop guard")
    );

    let addressee = AGENTS[(count + 1) % 2];
    let mut reader = room.attach(addressee).await;
    let unblocked = room.workspace.unblock(
        &member,
        Unblock {
            message_id: Some(id.clone()),
        },
    );
    assert_eq!(unblocked.await.unwrap().released, 1);
    let delivered = loop {
        let event = reader.read().await;
        if event.event_id == id.as_str() {
            break event;
        }
        reader.session.acknowledge(event.sequence.unwrap());
    };
    assert_eq!(delivered.event_name, "direct.message.received");
    assert!(room.workspace.list_held(&member).await.unwrap().held.is_empty());
    let again = room
        .workspace
        .unblock(
            &member,
            Unblock {
                message_id: Some(id.clone()),
            },
        )
        .await;
    assert_eq!(again.unwrap_err().code, ErrorCode::MessageNotFound);
    let room = room.reopen().await;
    assert!(room.workspace.list_held(&member).await.unwrap().held.is_empty());
    let answer = answering(to(AGENTS[count % 2], "on we go"), &id);
    assert!(!room.publish(addressee, answer).await.unwrap().held);
}

#[tokio::test]
async fn agents_that_post_because_of_each_other_are_held_and_the_channel_is_told_once() {
    let room = Room::open().await;
    let mut watcher = room.attach("watcher").await;
    let say = |count: usize, cause: Option<&EventId>| {
        let event = post(&count.to_string());
        match cause {
            Some(cause) => caused(event, cause),
            None => event,
        }
    };
    let (count, held) = room.echo(say).await;
    assert!(count / 2 < 50, "{count} messages went through");
    let last = room.workspace.head();
    let mut seen = names(&mut watcher, count + 1).await;
    assert_eq!(seen.pop().as_deref(), Some("system.loop.held"));
    assert!(seen.iter().all(|name| name == "channel.message.posted"));
    // The same event again is the same answer, and another one of the chain is held without a word.
    let mut same = caused(post("more"), &held.message_id);
    same.caused_by = Some(held.message_id.to_string());
    let more = room.publish("ping", same).await.unwrap();
    assert!(more.held);
    assert_eq!(room.workspace.head(), last.next(), "one record, the held one");
}

#[tokio::test]
async fn fast_turns_of_two_agents_are_held_also_without_a_known_cause() {
    let (room, _) = Room::with_a_clock().await;
    for agent in AGENTS {
        room.post(agent, "hi").await;
    }
    let (count, _) = room.echo(|count, _| to(AGENTS[(count + 1) % 2], "again")).await;
    assert_eq!(count, 1001, "the first message is no turn");
    let first = room.post("ping", "so").await.message_id;
    let say =
        |count: usize, cause: Option<&EventId>| replying(post(&count.to_string()), cause.unwrap_or(&first));
    let (count, _) = room.echo(say).await;
    assert_eq!(count, 1001, "in a thread as well");
}

#[tokio::test]
async fn who_asks_and_is_answered_is_never_held_however_fast() {
    let (room, _) = Room::with_a_clock().await;
    for agent in AGENTS {
        room.post(agent, "hi").await;
    }
    for _ in 0..1500 {
        let question = room.publish("ping", to("pong", "how many?")).await.unwrap();
        let answer = answering(to("ping", "three"), &question.message_id);
        let answer = room.publish("pong", answer).await.unwrap();
        assert!(!question.held && !answer.held);
    }
}

#[tokio::test]
async fn many_agents_that_answer_everybody_are_stopped() {
    let (room, _) = Room::with_a_clock().await;
    let agents: Vec<String> = (0..4).map(|number| format!("agent{number}")).collect();
    let mut due = vec![room.post("agent0", "begin").await.message_id];
    let mut posts = 0;
    while !due.is_empty() {
        let mut next = Vec::new();
        for cause in &due {
            for agent in &agents {
                let receipt = room.publish(agent, caused(post("me too"), cause)).await.unwrap();
                if !receipt.held {
                    posts += 1;
                    next.push(receipt.message_id);
                }
            }
        }
        due = next;
    }
    assert_eq!(
        posts,
        4 + 4 * 4 + 4 * 4 * 4 + 4 * 100,
        "answers, answers to those and so on, and then a hundred of each agent"
    );
}

#[tokio::test]
async fn twenty_busy_agents_are_never_held() {
    let (room, now) = Room::with_a_clock().await;
    let agents: Vec<String> = (0..20).map(|number| format!("agent{number}")).collect();
    let mut thread = Vec::new();
    for agent in &agents {
        thread.push(room.post(agent, "hi").await.message_id);
    }
    // Five minutes, five messages a second each: posts, replies, and messages to each other, in turn.
    for tick in 0..5 * 60 * 5 {
        let events = agents.iter().enumerate().map(|(number, agent)| {
            let event = match tick % 4 {
                0 => post("busy"),
                1 => replying(post("busy"), &thread[tick % 20]),
                _ => to(&agents[number ^ 1], "busy"),
            };
            room.publish(agent, event)
        });
        for receipt in futures_util::future::join_all(events).await {
            let receipt = receipt.unwrap();
            assert!(!receipt.held, "tick {tick}");
            thread[tick % 20] = receipt.message_id;
        }
        now.fetch_add(200, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_human_in_the_chain_begins_it_anew() {
    let room = Room::open().await;
    let metadata = Some(json!({"type": "human"}).into());
    let ana = room.workspace.attach(Attach {
        principal: Principal::anyone(Role::Member),
        agent_id: Some("ana".parse().unwrap()),
        kind: SessionKind::Consuming,
        session_key: None,
        metadata,
        after: None,
        log: None,
        backlog: Backlog::All,
    });
    let _ana = ana.await.unwrap();
    let mut cause = room.post("ana", "let us begin").await.message_id;
    for count in 0..100 {
        let who = if count % 20 == 0 { "ana" } else { AGENTS[count % 2] };
        let receipt = room.publish(who, caused(post("on"), &cause)).await.unwrap();
        assert!(!receipt.held, "message {count}");
        cause = receipt.message_id;
    }
}

#[tokio::test]
async fn free_messages_that_answer_each_other_are_held_and_come_as_what_they_were() {
    let room = Room::open().await;
    for agent in AGENTS {
        room.post(agent, "hi").await;
    }
    let say = |count: usize, cause: Option<&EventId>| {
        let event = Event::new("agent.message")
            .to(format!("agent:{}", AGENTS[(count + 1) % 2]))
            .payload(json!({"count": count}));
        match cause {
            Some(cause) => caused(event, cause),
            None => event,
        }
    };
    let (count, held) = room.echo(say).await;
    assert!(count / 2 < 50, "{count} events went through");
    let mut reader = room
        .attach_with(Some(AGENTS[(count + 1) % 2]), None, Backlog::None)
        .await
        .unwrap();
    let unblock = Unblock::default();
    assert_eq!(
        room.workspace
            .unblock(&caller("admin"), unblock)
            .await
            .unwrap()
            .released,
        1
    );
    let event = reader.read().await;
    assert_eq!(
        (event.event_name.as_str(), event.event_id),
        ("agent.message", held.event_id.to_string())
    );
    assert_eq!(event.payload, json!({"count": count}).into());
}

#[tokio::test]
async fn who_answers_the_notice_of_a_loop_is_held_without_another_notice() {
    let room = Room::open().await;
    let mut watcher = room.attach("watcher").await;
    let say = |count: usize, cause: Option<&EventId>| match cause {
        Some(cause) => caused(post(&count.to_string()), cause),
        None => post("0"),
    };
    room.echo(say).await;
    let notice = loop {
        let event = watcher.read().await;
        if event.event_name == "system.loop.held" {
            break event;
        }
    };
    let keys = [
        "destination_id",
        "limit",
        "message_id",
        "root",
        "sender_id",
        "text",
    ];
    assert_eq!(payload_keys(&notice), keys);
    let head = room.workspace.head();
    let notice_id: EventId = notice.event_id.parse().unwrap();
    let answer = room
        .publish("ping", caused(post("what?"), &notice_id))
        .await
        .unwrap();
    assert!(answer.held);
    assert_eq!(room.workspace.head(), head.next());
}

#[tokio::test]
async fn people_learn_of_a_loop_between_two_agents_and_not_who_they_are() {
    let (room, _) = Room::with_a_clock().await;
    let metadata = Some(json!({"type": "human"}).into());
    let mut ana = Reader::of(
        room.workspace
            .attach(Attach {
                principal: Principal::anyone(Role::Member),
                agent_id: Some("ana".parse().unwrap()),
                kind: SessionKind::Consuming,
                session_key: None,
                metadata,
                after: None,
                log: None,
                backlog: Backlog::All,
            })
            .await
            .unwrap(),
    );
    for agent in AGENTS {
        room.post(agent, "hi").await;
        ana.read().await;
    }
    room.echo(|count, _| to(AGENTS[(count + 1) % 2], "again")).await;
    let notice = ana.read().await;
    assert_eq!(notice.event_name, "system.loop.held");
    assert_eq!(payload_keys(&notice), ["limit", "message_id", "text"]);
}

#[tokio::test]
async fn what_is_held_can_be_deleted_instead() {
    let (room, _) = Room::with_a_clock().await;
    for agent in AGENTS {
        room.post(agent, "hi").await;
    }
    let (_, held) = room
        .echo(|count, _| to(AGENTS[(count + 1) % 2], "the secret"))
        .await;
    let mut reader = room.attach_with(Some("pong"), None, Backlog::None).await.unwrap();
    let message_id = held.message_id.clone();
    let delete = DeleteMessage { message_id };
    room.workspace
        .delete_message(&caller("admin"), delete)
        .await
        .unwrap();
    let listed = room.workspace.list_held(&caller("admin")).await.unwrap();
    assert!(listed.held.is_empty());
    let unblock = Unblock {
        message_id: Some(held.message_id),
    };
    let refused = room.workspace.unblock(&caller("admin"), unblock).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::MessageNotFound);
    room.tell("ana", "pong", "hello").await;
    assert_eq!(reader.text().await, "hello", "nobody hears of it");
}

#[tokio::test]
async fn a_released_message_that_is_deleted_is_nowhere_on_the_disk() {
    let room = Room::open().await;
    for agent in AGENTS {
        room.post(agent, "hi").await;
    }
    let say = |count: usize, cause: Option<&EventId>| match cause {
        Some(cause) if count == 41 => caused(post("the secret"), cause),
        Some(cause) => caused(post("on"), cause),
        None => post("begin"),
    };
    let (count, held) = room.echo(say).await;
    assert_eq!(count, 41);
    room.workspace
        .unblock(&caller("admin"), Unblock::default())
        .await
        .unwrap();
    let message_id = held.message_id;
    assert_eq!(
        room.message("ping", &message_id).await.unwrap().text(),
        Some("the secret")
    );
    room.workspace
        .delete_message(&caller("admin"), DeleteMessage { message_id })
        .await
        .unwrap();
    room.reopen_after(async |directory, _| assert_nowhere(directory, b"the secret"))
        .await;
}

#[tokio::test]
async fn a_chain_that_rested_begins_anew_and_without_a_guard_nothing_is_held() {
    let (room, now) = Room::with_a_clock().await;
    let mut cause = room.post("ping", "begin").await.message_id;
    for _ in 0..100 {
        now.fetch_add(2 * 60 * 60 * 1000, Ordering::Relaxed);
        let receipt = room.publish("ping", caused(post("later"), &cause)).await.unwrap();
        assert!(!receipt.held);
        cause = receipt.message_id;
    }
    let unguarded = Room::open_with(|settings| settings.loop_guard = None).await;
    let mut cause = unguarded.post("ping", "begin").await.message_id;
    for _ in 0..100 {
        let receipt = unguarded
            .publish("ping", caused(post("on"), &cause))
            .await
            .unwrap();
        assert!(!receipt.held);
        cause = receipt.message_id;
    }
}

#[tokio::test]
async fn explanations_name_the_reason() {
    let room = Room::open().await;
    let early = room.post("alice", "before bob").await.message_id;
    let mut bob = room.attach("bob").await;
    let id = room.post("alice", "hello").await.message_id;
    assert!(
        room.explain(&early, "bob")
            .await
            .contains("not a member of general at sequence")
    );
    assert!(
        room.explain(&id, "bob")
            .await
            .contains("has not acknowledged it yet")
    );
    let event = bob.read().await;
    bob.session.acknowledge(event.sequence.unwrap());
    assert!(room.explain(&id, "bob").await.contains("bob got it"));
    assert!(room.explain(&id, "alice").await.contains("wrote it itself"));
    assert!(
        room.explain(&id, "nobody")
            .await
            .contains("no agent nobody was ever here")
    );
    let unknown: EventId = "never".parse().unwrap();
    assert!(
        room.explain(&unknown, "bob")
            .await
            .contains("no event never is stored")
    );
    drop(bob);
    let direct = room.tell("alice", "bob", "psst").await.message_id;
    assert!(room.explain(&direct, "carol").await.contains("no agent carol"));
    room.post("carol", "hi").await;
    assert!(
        room.explain(&direct, "carol")
            .await
            .contains("it goes to agent:bob")
    );
    let ask = |who: &str, agent: &str| {
        let caller = Caller::new(who.parse().unwrap(), Role::Member);
        let params = Explain {
            event_id: direct.clone(),
            agent_id: agent.to_owned(),
        };
        let workspace = room.workspace.clone();
        async move { workspace.explain(&caller, params).await }
    };
    assert_eq!(ask("carol", "bob").await.unwrap_err().code, ErrorCode::Forbidden);
    let own = ask("carol", "carol").await.unwrap();
    assert!(!format!("{own:?}").contains("bob"), "{own:?}");
    assert!(ask("alice", "bob").await.is_ok());
}
