//! Nobody reads what is not theirs.

use openagents_protocol::ErrorCode;
use openagents_server::DefaultMembership;
use serde_json::json;

use crate::harness::{Running, direct, post};

#[tokio::test]
async fn direct_messages_reach_their_two_sides_only() {
    let running = Running::start().await;
    let (mut alice, mut bob, mut carol) = (
        running.join("alice").await,
        running.join("bob").await,
        running.join("carol").await,
    );
    let mut bobs_tab = running
        .hello(json!({"agent_id": "bob", "session": "watching"}))
        .await
        .unwrap();
    let start = running.server.workspace().head().get();
    assert!(alice.publish(direct("carol", "secret")).await.success);
    let event =
        json!({"event_name": "my.secret", "destination_id": "agent:carol", "payload": {"text": "secret"}});
    assert!(alice.publish(event).await.success);
    assert!(alice.publish(post("general", "public")).await.success);

    for reader in [&mut bob, &mut bobs_tab] {
        let events = reader.events_until("public").await;
        assert!(
            events.iter().all(|event| event.text() != Some("secret")),
            "{events:?}"
        );
    }
    let events = carol.events_until("public").await;
    assert_eq!(
        events
            .iter()
            .filter(|event| event.text() == Some("secret"))
            .count(),
        2
    );

    // Later reads tell no more than what was pushed.
    let read = bob.call("read_events", json!({"after": start})).await.unwrap();
    assert_eq!(read["events"].as_array().unwrap().len(), 1, "{read}");
    let of_carol = bob
        .call("list_messages", json!({"agent_id": "carol"}))
        .await
        .unwrap();
    assert_eq!(of_carol["messages"], json!([]));
    let of_alice = bob
        .call("list_messages", json!({"agent_id": "alice"}))
        .await
        .unwrap();
    assert_eq!(of_alice["messages"], json!([]));
    for (asker, other) in [("alice", "carol"), ("carol", "alice")] {
        let rest = running.request("GET", &format!("/rest/v1/agents/{other}/messages"));
        let own = rest.acting_as(asker).send().await.ok();
        assert_eq!(own["messages"][0]["content"]["text"], "secret");
    }
}

#[tokio::test]
async fn a_restricted_event_reaches_the_allowed_agents_only() {
    let running = Running::start().await;
    let (mut alice, mut bob, mut carol) = (
        running.join("alice").await,
        running.join("bob").await,
        running.join("carol").await,
    );
    let start = running.server.workspace().head().get();
    let mut event = post("general", "restricted");
    event["visibility"] = "restricted".into();
    event["allowed_agents"] = json!(["carol"]);
    assert!(alice.publish(event).await.success);
    assert!(alice.publish(post("general", "public")).await.success);

    assert_eq!(
        bob.events_until("public")
            .await
            .iter()
            .filter(|event| event.text().is_some())
            .count(),
        0
    );
    let events = carol.events_until("public").await;
    assert!(events.iter().any(|event| event.text() == Some("restricted")));

    let read = bob.call("read_events", json!({"after": start})).await.unwrap();
    assert_eq!(read["events"].as_array().unwrap().len(), 1, "{read}");
    let texts = async |client: &mut crate::harness::Client| {
        let history = client
            .call("list_messages", json!({"channel": "general"}))
            .await
            .unwrap();
        let messages = history["messages"].as_array().unwrap();
        messages
            .iter()
            .map(|message| message["content"]["text"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(texts(&mut bob).await, ["public"]);
    assert_eq!(texts(&mut carol).await, ["public", "restricted"]);
    assert_eq!(texts(&mut alice).await, ["public", "restricted"]);
}

#[tokio::test]
async fn who_leaves_a_channel_misses_what_is_said_meanwhile() {
    let running = Running::start().await;
    let (mut alice, mut bob) = (running.join("alice").await, running.join("bob").await);
    alice
        .call("create_channel", json!({"name": "team"}))
        .await
        .unwrap();
    let start = running.server.workspace().head().get();
    let say = |text: &str| post("team", text);
    assert!(alice.publish(say("before")).await.success);
    bob.call("leave_channel", json!({"channel": "team"}))
        .await
        .unwrap();
    assert!(alice.publish(say("meanwhile")).await.success);
    assert_eq!(
        bob.refused(say("me too")).await,
        (ErrorCode::NotAMember, Some("destination_id".into()))
    );
    let refused = bob
        .call("list_messages", json!({"channel": "team"}))
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code, refused.field.as_deref()),
        (ErrorCode::NotAMember, Some("channel"))
    );
    let read = bob.call("read_events", json!({"after": start})).await.unwrap();
    assert_eq!(
        read["events"],
        json!([]),
        "who is no member now reads nothing of before either"
    );

    bob.call("join_channel", json!({"channel": "team"}))
        .await
        .unwrap();
    assert!(alice.publish(say("after")).await.success);
    let said: Vec<_> = bob.events_until("after").await.into_iter().collect();
    let said: Vec<_> = said.iter().filter_map(|event| event.text()).collect();
    assert_eq!(said, ["before"]);
}

#[tokio::test]
async fn where_nobody_is_a_member_by_default_only_members_read() {
    let running =
        Running::with(|config| config.workspace.default_membership = DefaultMembership::Nobody).await;
    let (mut alice, mut bob) = (running.join("alice").await, running.join("bob").await);
    alice
        .call("create_channel", json!({"name": "team"}))
        .await
        .unwrap();
    assert!(alice.publish(post("team", "for the team")).await.success);
    let everyone =
        json!({"event_name": "my.marker", "destination_id": "agent:broadcast", "payload": {"text": "end"}});
    assert!(alice.publish(everyone).await.success);
    let events = bob.events_until("end").await;
    assert!(events.iter().all(|event| event.text().is_none()), "{events:?}");
    assert_eq!(bob.refused(post("team", "hello")).await.0, ErrorCode::NotAMember);
    let rest = running.request("POST", "/rest/v1/channels/team/messages");
    let stranger = rest
        .acting_as("stranger")
        .json(&json!({"content": "hello"}))
        .send()
        .await;
    assert_eq!(
        stranger.refusal(),
        (403, ErrorCode::NotAMember, Some("channel".into()))
    );
}

#[tokio::test]
async fn the_sender_is_who_authenticated_whatever_the_event_says() {
    let running = Running::start().await;
    let (mut alice, mut bob) = (running.join("alice").await, running.join("bob").await);
    let mut event = post("general", "trust me");
    event["source_id"] = "carol".into();
    event["payload"]["sender_id"] = "carol".into();
    assert!(alice.publish(event).await.success);
    let event = bob.event_named("channel.message.posted").await;
    assert_eq!(event.source_id, "alice");
    assert_eq!(event.payload["sender_id"], "alice");
}
