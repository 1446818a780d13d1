//! Agents that answer each other for ever are stopped; others are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openagents_protocol::call::{Explain, Unblock};
use openagents_protocol::record::Role;
use openagents_protocol::{ErrorCode, Event, EventId, Receipt};
use openagents_workspace::{Caller, Clock, Durability};
use serde_json::json;

use crate::room::{Reader, Room, caller, post};

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

fn caused(mut event: Event, cause: &EventId) -> Event {
    event.caused_by = Some(cause.to_string());
    event
}

impl Room {
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

/// A room in which no time passes.
async fn unhurried() -> Room {
    Room::open_with(|settings| {
        settings.clock = Clock::new(|| 1_700_000_000_000);
        settings.durability = Durability::Memory;
    })
    .await
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
    let room = unhurried().await;
    for agent in AGENTS {
        room.post(agent, "hi").await;
    }
    let (count, _) = room.echo(|count, _| to(AGENTS[(count + 1) % 2], "again")).await;
    assert_eq!(count, 1001, "the first message is no turn");
}

#[tokio::test]
async fn who_asks_and_is_answered_is_never_held_however_fast() {
    let room = unhurried().await;
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
    let room = unhurried().await;
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
        4 + 4 * 100,
        "answers to the first, and a hundred of each agent"
    );
}

#[tokio::test]
async fn twenty_busy_agents_are_never_held() {
    let now = Arc::new(AtomicU64::new(1_700_000_000_000));
    let clock = Arc::clone(&now);
    let room = Room::open_with(move |settings| {
        settings.clock = Clock::new(move || clock.load(Ordering::Relaxed));
        settings.durability = Durability::Memory;
    })
    .await;
    let agents: Vec<String> = (0..20).map(|number| format!("agent{number}")).collect();
    for agent in &agents {
        room.post(agent, "hi").await;
    }
    // Five minutes, five messages a second each, half in the channel and half in pairs that write in turn.
    for tick in 0..5 * 60 * 5 {
        for (number, agent) in agents.iter().enumerate() {
            let event = if tick % 2 == 0 {
                post("busy")
            } else {
                to(&agents[number ^ 1], "busy")
            };
            let receipt = room.publish(agent, event).await.unwrap();
            assert!(!receipt.held, "{agent} was held at tick {tick}");
        }
        now.fetch_add(200, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_chain_that_rested_begins_anew_and_without_a_guard_nothing_is_held() {
    let now = Arc::new(AtomicU64::new(1_700_000_000_000));
    let clock = Arc::clone(&now);
    let room = Room::open_with(move |settings| {
        settings.clock = Clock::new(move || clock.load(Ordering::Relaxed));
    })
    .await;
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
