//! Whatever comes over the 0.9 interface, the answer is one that its clients can read, and the server goes on.

use openagents_protocol::legacy::prost::Message;
use openagents_protocol::legacy::prost_types::Any;
use openagents_protocol::legacy::{Event, EventResponse, RegisterAgentRequest, RegisterAgentResponse};
use serde_json::{Map, Value, json};

use crate::harness::{LIMIT, Running, within};
use crate::legacy::{Agent, Caller, impatient};

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.roll(all.len())]
    }
}

const NAMES: [&str; 46] = [
    "thread.channel_message.post",
    "thread.reply.post",
    "thread.reply.sent",
    "thread.direct_message.send",
    "thread.channels.list",
    "thread.channels.info",
    "thread.channel_messages.retrieve",
    "thread.messages.retrieve",
    "thread.direct_messages.retrieve",
    "thread.conversations.list",
    "thread.reaction.add",
    "thread.reaction.remove",
    "thread.reaction.toggle",
    "thread.reaction",
    "thread.file.upload",
    "thread.file.download",
    "thread.file.operation",
    "thread.announcement.set",
    "thread.announcement.get",
    "agent.message",
    "agent.broadcast_message.sent",
    "discovery.capabilities.set",
    "discovery.capabilities.get",
    "discovery.agents.search",
    "shared_cache.create",
    "shared_cache.get",
    "shared_cache.update",
    "shared_cache.delete",
    "shared_cache.file.upload",
    "shared_cache.file.download",
    "simple_messaging.get_file",
    "simple_messaging.delete_file",
    "system.list_agents",
    "system.list_mods",
    "system.get_mod_manifest",
    "system.get_network_info",
    "system.subscribe_events",
    "system.unsubscribe_events",
    "system.claim_agent_id",
    "system.add_channel_member",
    "system.remove_channel_member",
    "system.get_channel_members",
    "system.remove_channel",
    "system.kick_agent",
    "system.verify_password",
    "demo.own.event",
];

const KEYS: [&str; 33] = [
    "channel",
    "content",
    "text",
    "message_type",
    "mentioned_agent_id",
    "reply_to_id",
    "thread_level",
    "quoted_message_id",
    "quoted_text",
    "target_agent_id",
    "target_message_id",
    "reaction_type",
    "action",
    "limit",
    "offset",
    "include_threads",
    "request_id",
    "filename",
    "file_content",
    "mime_type",
    "file_size",
    "file_id",
    "files",
    "capabilities",
    "filter",
    "value",
    "cache_id",
    "allowed_agent_groups",
    "event_patterns",
    "subscription_id",
    "channel_id",
    "agent_id",
    "reactions",
];

const TARGETS: [&str; 16] = [
    "",
    "channel:general",
    "channel:",
    "channel:new",
    "agent:bob",
    "bob",
    "agent:broadcast",
    "broadcast",
    "all",
    "group:guest",
    "group:",
    "mod:openagents.mods.workspace.messaging",
    "mod:",
    "system:system",
    "unknown:x",
    "agent",
];

/// Something that may stand anywhere.
fn anything(dice: &mut Dice, known: &[String], depth: u32) -> Value {
    match dice.roll(if depth < 3 { 16 } else { 13 }) {
        0 => Value::Null,
        1 => true.into(),
        2 => (-1).into(),
        3 => u64::MAX.into(),
        4 => 1e308.into(),
        5 => 0.5.into(),
        6 => "".into(),
        7 => "general".into(),
        8 => "x".repeat(3000).into(),
        9 => "\u{0}\u{202e}\u{1f44d} @bob \u{ffff}".into(),
        10 => "YWFh".into(),
        11 => dice
            .pick(&[
                "add",
                "remove",
                "list_channels",
                "+1",
                "get_file",
                "bob",
                "*",
                "a*b",
            ])
            .to_owned()
            .into(),
        12 if !known.is_empty() => dice.pick(known).as_str().into(),
        13 => (0..dice.roll(3))
            .map(|_| anything(dice, known, depth + 1))
            .collect(),
        14 => Value::Object(some_payload(dice, known, depth + 1)),
        _ => json!({"text": "some text"}),
    }
}

fn some_payload(dice: &mut Dice, known: &[String], depth: u32) -> Map<String, Value> {
    let mut payload = Map::new();
    for _ in 0..dice.roll(8) {
        let key = (*dice.pick(&KEYS)).to_owned();
        payload.insert(key, anything(dice, known, depth));
    }
    payload
}

#[tokio::test]
async fn every_event_is_answered_whatever_is_in_it() {
    let running = Running::with(impatient).await;
    let mut alice = Agent::join(&running, "alice").await;
    let mut bob = Agent::join(&running, "bob").await;
    let mut dice = Dice(20_260_101);
    let mut known = Vec::new();
    for _ in 0..1500 {
        let name = *dice.pick(&NAMES);
        let target = *dice.pick(&TARGETS);
        let payload = some_payload(&mut dice, &known, 0);
        let shown = format!("{name} to {target:?}: {}", Value::Object(payload.clone()));
        let answer = alice.send(name, target, payload.into()).await;
        assert!(answer["success"].is_boolean(), "{shown}: {answer}");
        assert!(
            !answer["message"]
                .as_str()
                .unwrap_or_default()
                .contains("panicked"),
            "{shown}: {answer}"
        );
        for key in ["message_id", "file_id", "cache_id", "subscription_id"] {
            known.extend(answer["data"][key].as_str().map(str::to_owned));
        }
        if known.len() % 50 == 0 {
            // What was taken can be told.
            assert!(
                bob.events()
                    .await
                    .iter()
                    .all(|event| event["payload"].is_object())
            );
        }
    }
    let ended = alice.send("system.unsubscribe_events", "", json!({})).await;
    assert_eq!(ended["success"], true, "{ended}");
    let mut carol = Agent::join(&running, "carol").await;
    carol.say("alice", "still here").await;
    within(LIMIT, async {
        while !alice.poll().await.contains(&"still here".to_owned()) {}
    })
    .await;
}

#[tokio::test]
async fn every_field_of_an_event_may_have_any_type() {
    let running = Running::with(impatient).await;
    let mut alice = Agent::join(&running, "alice").await;
    let mut dice = Dice(7);
    let fields = [
        "event_id",
        "event_name",
        "source_id",
        "target_agent_id",
        "payload",
        "metadata",
        "visibility",
        "secret",
        "allowed_agents",
    ];
    for round in 0..600 {
        let mut body = json!({
            "event_id": format!("e-{round}"),
            "event_name": dice.pick(&NAMES),
            "source_id": "alice",
            "target_agent_id": "",
            "payload": {},
            "metadata": {},
            "visibility": "network",
            "secret": alice.secret,
        });
        let field = *dice.pick(&fields);
        body[field] = anything(&mut dice, &[], 0);
        let answer = alice.caller.post("/api/send_event", &body).await;
        let told = answer.json();
        assert!(
            matches!(answer.status, 200 | 400 | 500),
            "{body}: {}",
            answer.status
        );
        assert!(told["success"].is_boolean(), "{body}: {told}");
        let path = *dice.pick(&["/api/register", "/api/unregister"]);
        let mut body = json!({"agent_id": format!("agent-{round}"), "metadata": {}, "password_hash": ""});
        let field = *dice.pick(&[
            "agent_id",
            "metadata",
            "password_hash",
            "agent_group",
            "certificate",
            "secret",
        ]);
        body[field] = anything(&mut dice, &[], 0);
        let answer = alice.caller.post(path, &body).await;
        assert!(
            matches!(answer.status, 200 | 400 | 500),
            "{body}: {}",
            answer.status
        );
        assert!(answer.json()["success"].is_boolean(), "{body}");
    }
    for text in [
        "",
        "{",
        "[]",
        "\"x\"",
        "{\"a\": 1e999}",
        &"[".repeat(100_000),
        "{\"payload\": \u{0}}",
    ] {
        let answer = alice
            .caller
            .http("POST", "/api/send_event", "application/json", text.to_owned())
            .await;
        assert_eq!((answer.status, &answer.json()["success"]), (500, &json!(false)));
    }
    for query in [
        "?agent_id=%00",
        "?agent_id=alice&agent_id=bob",
        "?secret=%ff",
        "?limit=-1",
        "?q=%F0%9F",
    ] {
        for path in [
            "/api/poll",
            "/api/events",
            "/api/events/search",
            "/api/cache/info/x",
            "/api/cache/download/%2e",
        ] {
            let answer = alice.caller.get(&format!("{path}{query}")).await;
            assert!(
                matches!(answer.status, 200 | 400 | 403 | 404),
                "{path}{query}: {}",
                answer.status
            );
        }
    }
    alice.say("alice", "still here").await;
}

#[tokio::test]
async fn every_call_is_answered_whatever_its_bytes_are() {
    let running = Running::with(impatient).await;
    let mut caller = Caller::of(&running).await;
    let join = RegisterAgentRequest {
        agent_id: "alice".to_owned(),
        ..RegisterAgentRequest::default()
    };
    let rpc = |name: &str| format!("/openagents.AgentService/{name}");
    let joined: RegisterAgentResponse = caller
        .grpc(&rpc("RegisterAgent"), &join.encode_to_vec())
        .await
        .unwrap();
    let mut dice = Dice(99);
    for _ in 0..400 {
        let noise: Vec<u8> = (0..dice.roll(64))
            .map(|_| u8::try_from(dice.roll(256)).unwrap())
            .collect();
        for name in [
            "SendEvent",
            "RegisterAgent",
            "UnregisterAgent",
            "Heartbeat",
            "StreamEvents",
        ] {
            // Either it is understood, or refused with a status; the connection stays.
            caller.grpc::<()>(&rpc(name), &noise).await.ok();
        }
        let event = Event {
            event_name: (*dice.pick(&NAMES)).to_owned(),
            source_id: "alice".to_owned(),
            secret: joined.secret.clone(),
            target_agent_id: (*dice.pick(&TARGETS)).to_owned(),
            payload: Some(Any {
                type_url: "type.googleapis.com/google.protobuf.Struct".to_owned(),
                value: noise,
            }),
            ..Event::default()
        };
        let answer: EventResponse = caller
            .grpc(&rpc("SendEvent"), &event.encode_to_vec())
            .await
            .unwrap();
        assert_eq!(answer.event_name, event.event_name);
    }
}

#[tokio::test]
async fn a_struct_that_is_nested_without_end_is_refused_or_cut() {
    use openagents_protocol::legacy::prost_types::value::Kind;
    use openagents_protocol::legacy::prost_types::{ListValue, Struct, Value as ProtoValue};

    let running = Running::with(impatient).await;
    let mut alice = Agent::join(&running, "alice").await;
    let mut value = ProtoValue {
        kind: Some(Kind::BoolValue(true)),
    };
    for _ in 0..40 {
        let values = vec![value];
        value = ProtoValue {
            kind: Some(Kind::ListValue(ListValue { values })),
        };
    }
    for layers in [1, 2, 50] {
        let mut nested = value.clone();
        for _ in 1..layers {
            let fields = [("deeper".to_owned(), nested)].into_iter().collect();
            nested = ProtoValue {
                kind: Some(Kind::StructValue(Struct { fields })),
            };
        }
        let payload = Struct {
            fields: [("deep".to_owned(), nested)].into_iter().collect(),
        };
        let event = Event {
            event_name: "demo.deep.event".to_owned(),
            source_id: "alice".to_owned(),
            secret: alice.secret.clone(),
            target_agent_id: "alice".to_owned(),
            payload: Some(Any {
                type_url: "type.googleapis.com/google.protobuf.Struct".to_owned(),
                value: payload.encode_to_vec(),
            }),
            ..Event::default()
        };
        let rpc = "/openagents.AgentService/SendEvent";
        let answer: EventResponse = alice.caller.grpc(rpc, &event.encode_to_vec()).await.unwrap();
        assert!(answer.success || !answer.message.is_empty());
    }
    alice.say("alice", "still here").await;
}
