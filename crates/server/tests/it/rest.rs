//! The calls over HTTP.

use openagents_protocol::ErrorCode;
use openagents_protocol::record::Role;
use serde_json::{Value, json};

use crate::harness::{Running, post};

const GENERAL: &str = "/rest/v1/channels/general/messages";

#[tokio::test]
async fn a_message_is_posted_answered_and_found_again() {
    let running = Running::start().await;
    let mut bob = running.join("bob").await;
    let message = json!({"content": "hello", "metadata": {"mood": "calm"}, "event_id": "m-1"});
    let posted = running
        .request("POST", GENERAL)
        .acting_as("alice")
        .json(&message)
        .send()
        .await;
    assert_eq!(posted.status, 200);
    assert_eq!(posted.ok()["data"]["message_id"], "m-1");
    let event = bob.event_named("channel.message.posted").await;
    assert_eq!((event.text(), event.source_id.as_str()), (Some("hello"), "alice"));
    assert_eq!(event.metadata.unwrap()["mood"], "calm");

    let reply = json!({"content": {"text": "hi", "tone": "warm"}, "reply_to_id": "m-1"});
    let replied = running
        .request("POST", GENERAL)
        .acting_as("alice")
        .json(&reply)
        .send()
        .await
        .ok();
    assert_eq!(replied["success"], true);
    let event = bob.event_named("channel.message.replied").await;
    assert_eq!(event.reply_to_id.as_deref(), Some("m-1"));

    let page = async |query: &str| {
        let request = running
            .request("GET", &format!("{GENERAL}{query}"))
            .acting_as("carol");
        let page = request.send().await.ok();
        let messages = page["messages"].as_array().unwrap().iter();
        let texts: Vec<String> = messages
            .map(|message| message["content"]["text"].as_str().unwrap().to_owned())
            .collect();
        (texts.join(" "), page["has_more"].as_bool().unwrap())
    };
    assert_eq!(page("").await, ("hi hello".to_owned(), false));
    assert_eq!(page("?limit=1").await, ("hi".to_owned(), true));
    assert_eq!(page("?limit=1&offset=1").await, ("hello".to_owned(), false));
    assert_eq!(page("?after=0").await, ("hello hi".to_owned(), false));
    assert_eq!(page("?before=1").await, (String::new(), false));
}

#[tokio::test]
async fn a_direct_message_and_its_answer_make_a_conversation() {
    let running = Running::start().await;
    let mut bob = running.join("bob").await;
    let path = "/rest/v1/agents/bob/messages";
    let sent = running
        .request("POST", path)
        .acting_as("alice")
        .json(&json!({"content": "psst"}))
        .send()
        .await
        .ok();
    assert_eq!(sent["data"]["recipients"][0]["state"], "live");
    assert_eq!(
        bob.event_named("direct.message.received").await.text(),
        Some("psst")
    );
    let mut answer = crate::harness::direct("alice", "what?");
    answer["response_to"] = sent["data"]["message_id"].clone();
    assert!(bob.publish(answer).await.success);
    let page = running.request("GET", path).acting_as("alice").send().await.ok();
    assert_eq!(page["messages"].as_array().unwrap().len(), 2);
    assert_eq!(page["messages"][0]["response_to"], sent["data"]["message_id"]);

    let unknown = running
        .request("POST", "/rest/v1/agents/nobody/messages")
        .acting_as("alice");
    let unknown = unknown.json(&json!({"content": "anyone?"})).send().await;
    assert_eq!(
        unknown.refusal(),
        (404, ErrorCode::AgentNotFound, Some("agent_id".into()))
    );
    assert_eq!(unknown.json()["success"], false);
}

#[tokio::test]
async fn the_workspace_is_described_without_an_agent() {
    let running = Running::start().await;
    let _alice = running.join("alice").await;
    running
        .request("POST", GENERAL)
        .acting_as("away")
        .json(&json!({"content": "bye"}))
        .send()
        .await
        .ok();
    let get = async |path: &str| running.request("GET", path).send().await.ok();
    assert_eq!(get("/rest/v1/workspace").await["agents_online"], 1);
    assert_eq!(get("/rest/v1/mods").await["mods"][0]["requires_adapter"], false);
    assert_eq!(get("/rest/v1/channels").await["channels"][0]["name"], "general");
    let ids = async |path: &str| {
        let agents = get(path).await;
        let agents = agents["agents"].as_array().unwrap().iter();
        agents
            .map(|agent| agent["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids("/rest/v1/agents").await, ["alice"]);
    assert_eq!(ids("/rest/v1/agents?all").await, ["alice", "away"]);
    assert_eq!(ids("/rest/v1/agents?all=true").await, ["alice", "away"]);
}

#[tokio::test]
async fn channels_are_made_joined_and_left() {
    let running = Running::start().await;
    let request = running.request("POST", "/rest/v1/channels").acting_as("alice");
    let made = request
        .json(&json!({"name": "#team", "description": "us"}))
        .send()
        .await;
    assert_eq!(made.status, 201);
    assert_eq!(
        (&made.ok()["name"], &made.ok()["joined"]),
        (&json!("team"), &json!(true))
    );
    let again = running.request("POST", "/rest/v1/channels").acting_as("alice");
    let again = again.json(&json!({"name": "team"})).send().await;
    assert_eq!(
        again.refusal(),
        (409, ErrorCode::ChannelExists, Some("name".into()))
    );
    let step = async |what: &str, channel: &str| {
        let path = format!("/rest/v1/channels/{channel}/{what}");
        running.request("POST", &path).acting_as("bob").send().await
    };
    assert_eq!(step("leave", "team").await.ok()["joined"], false);
    assert_eq!(step("join", "%23team").await.ok()["joined"], true);
    assert_eq!(
        step("join", "none").await.refusal(),
        (404, ErrorCode::ChannelNotFound, Some("channel".into()))
    );
}

#[tokio::test]
async fn events_are_read_from_a_position_and_waited_for() {
    let running = Running::start().await;
    let head = running.server.workspace().head().get();
    running
        .request("POST", GENERAL)
        .acting_as("bob")
        .json(&json!({"content": "first"}))
        .send()
        .await
        .ok();
    let read = async |query: String| {
        let request = running
            .request("GET", &format!("/rest/v1/events?{query}"))
            .acting_as("alice");
        request.send().await.ok()
    };
    let page = read(format!("after={head}&limit=1")).await;
    assert_eq!(page["events"][0]["payload"]["content"]["text"], "first");
    let through = page["through"].as_u64().unwrap();
    let event = json!({"event_name": "my.event", "destination_id": "channel:general", "payload": {"n": 1}});
    let (waited, published) = tokio::join!(
        read(format!("after={through}&wait=30")),
        running
            .request("POST", "/rest/v1/events")
            .acting_as("bob")
            .json(&event)
            .send()
    );
    published.ok();
    assert_eq!(waited["events"][0]["event_name"], "my.event");
}

#[tokio::test]
async fn subscriptions_narrow_what_is_read() {
    let running = Running::start().await;
    let head = running.server.workspace().head().get();
    let subscribe = running
        .request("POST", "/rest/v1/subscriptions")
        .acting_as("alice");
    let made = subscribe.json(&json!({"patterns": ["my.*"]})).send().await;
    assert_eq!(made.status, 201);
    for event in [
        post("general", "hidden"),
        json!({"event_name": "my.event", "destination_id": "channel:general"}),
    ] {
        running
            .request("POST", "/rest/v1/events")
            .acting_as("bob")
            .json(&event)
            .send()
            .await
            .ok();
    }
    let names = async || {
        let request = running.request("GET", &format!("/rest/v1/events?after={head}"));
        let page = request.acting_as("alice").send().await.ok();
        let events = page["events"].as_array().unwrap().iter();
        events
            .map(|event| event["event_name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["my.event"]);
    let path = format!(
        "/rest/v1/subscriptions/{}",
        made.json()["subscription_id"].as_str().unwrap()
    );
    running
        .request("DELETE", &path)
        .acting_as("alice")
        .send()
        .await
        .ok();
    assert_eq!(names().await, ["channel.message.posted", "my.event"]);
    let again = running.request("DELETE", &path).acting_as("alice").send().await;
    assert_eq!(again.refusal().1, ErrorCode::SubscriptionNotFound);
}

#[tokio::test]
async fn tokens_are_made_shown_once_and_revoked() {
    let running = Running::start().await;
    let request = running.request("POST", "/rest/v1/tokens");
    let admin = request.json(&json!({"role": "admin"})).send().await;
    assert_eq!(admin.status, 201);
    let admin = admin.ok()["token"].as_str().unwrap().to_owned();
    let anonymous = running.request("GET", "/rest/v1/tokens").send().await;
    assert_eq!(
        anonymous.refusal(),
        (401, ErrorCode::Unauthenticated, Some("authorization".into()))
    );
    assert_eq!(anonymous.header("www-authenticate"), Some("bearer"));
    let wrong = running
        .request("GET", "/rest/v1/tokens")
        .header("authorization", "Basic YTpi")
        .send()
        .await;
    assert_eq!(
        wrong.refusal(),
        (401, ErrorCode::Unauthenticated, Some("authorization".into()))
    );

    let request = running.request("POST", "/rest/v1/tokens").token(&admin);
    let made = request
        .json(&json!({"agent_id": "bob", "expires_in_seconds": 60}))
        .send()
        .await
        .ok();
    let list = running
        .request("GET", "/rest/v1/tokens")
        .token(&admin)
        .send()
        .await
        .ok();
    assert_eq!(list["tokens"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&list["tokens"][1]["agent_id"], &list["tokens"][1]["token"]),
        (&json!("bob"), &Value::Null)
    );
    let member = running
        .request("GET", "/rest/v1/tokens")
        .token(made["token"].as_str().unwrap());
    assert_eq!(member.send().await.refusal().1, ErrorCode::Forbidden);

    let path = format!("/rest/v1/tokens/{}", made["token_id"].as_str().unwrap());
    running.request("DELETE", &path).token(&admin).send().await.ok();
    let gone = running.request("DELETE", &path).token(&admin).send().await;
    assert_eq!(
        gone.refusal(),
        (404, ErrorCode::TokenNotFound, Some("token_id".into()))
    );
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong_and_where() {
    let running = Running::with(|config| config.limits.max_frame_bytes = 10_000).await;
    let field = |name: &str| Some(name.to_owned());
    let send = async |path: &str, body: &str| {
        running
            .request("POST", path)
            .acting_as("alice")
            .text(body)
            .send()
            .await
            .refusal()
    };
    let events = "/rest/v1/events";
    assert_eq!(send(events, "{").await, (400, ErrorCode::InvalidJson, None));
    assert_eq!(send(events, "").await, (400, ErrorCode::InvalidJson, None));
    assert_eq!(
        send(events, "{}").await,
        (400, ErrorCode::InvalidField, Some("event_name".into()))
    );
    assert_eq!(
        send(events, r#"{"event_name": 7}"#).await,
        (400, ErrorCode::InvalidField, field("event_name"))
    );
    assert_eq!(
        send(events, r#"{"event_name": "Bad", "destination_id": "bob"}"#).await,
        (400, ErrorCode::InvalidName, field("event_name"))
    );
    assert_eq!(
        send(GENERAL, r#"{"content": 7}"#).await,
        (400, ErrorCode::InvalidField, field("content"))
    );
    assert_eq!(
        send(GENERAL, r#"{"content": "x", "reply_to_id": "none"}"#).await,
        (404, ErrorCode::MessageNotFound, field("reply_to_id"))
    );
    assert_eq!(
        send("/rest/v1/channels/%20x/messages", r#"{"content": "x"}"#).await,
        (400, ErrorCode::InvalidName, field("channel"))
    );
    assert_eq!(
        send("/rest/v1/channels/%ff/messages", r#"{"content": "x"}"#).await,
        (400, ErrorCode::InvalidField, field("path"))
    );
    assert_eq!(
        send(events, &"x".repeat(3_000_000)).await,
        (413, ErrorCode::TooLarge, None)
    );

    let get = async |path: &str| {
        running
            .request("GET", path)
            .acting_as("alice")
            .send()
            .await
            .refusal()
    };
    assert_eq!(get("/rest/v1/nothing").await, (404, ErrorCode::NotFound, None));
    assert_eq!(get("/nothing").await, (404, ErrorCode::NotFound, None));
    assert_eq!(
        get("/rest/v1/subscriptions").await,
        (405, ErrorCode::UnknownMethod, None)
    );
    assert_eq!(
        get(&format!("{GENERAL}?limit=ten")).await,
        (400, ErrorCode::InvalidField, field("limit"))
    );
    assert_eq!(
        get(&format!("{GENERAL}?limit=0")).await,
        (400, ErrorCode::InvalidField, field("limit"))
    );
    assert_eq!(
        get("/rest/v1/events?wait=31").await,
        (400, ErrorCode::InvalidField, field("wait"))
    );
    assert_eq!(
        get("/rest/v1/agents?all=perhaps").await,
        (400, ErrorCode::InvalidField, field("all"))
    );

    let nobody = running
        .request("POST", GENERAL)
        .json(&json!({"content": "x"}))
        .send()
        .await;
    assert_eq!(
        nobody.refusal(),
        (400, ErrorCode::InvalidField, field("X-Agent-Id"))
    );
    let misnamed = running.request("GET", events).acting_as("system").send().await;
    assert_eq!(
        misnamed.refusal(),
        (400, ErrorCode::InvalidName, field("X-Agent-Id"))
    );
}

#[tokio::test]
async fn a_token_that_identifies_needs_no_header() {
    let running = Running::start().await;
    let token = running.token(Role::Member, Some("alice")).await.token;
    let posted = running
        .request("POST", GENERAL)
        .token(token.expose())
        .json(&json!({"content": "me"}));
    posted.send().await.ok();
    let page = running
        .request("GET", GENERAL)
        .token(token.expose())
        .send()
        .await
        .ok();
    assert_eq!(page["messages"][0]["sender_id"], "alice");
}
