use std::time::Duration;

use futures_util::future::join_all;
use openagents_client::{AgentClient, Event, PublishError};
use openagents_protocol::{ErrorBody, ErrorCode, Sequence};
use serde_json::json;

use crate::peer::{LIMIT, Peer, within};

fn numbered(number: u64) -> Event {
    Event::new("test.event")
        .to("agent:bob")
        .payload(json!({ "number": number }))
}

#[tokio::test]
async fn an_event_gets_an_id_and_no_forged_source() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let mut event = numbered(1);
    event.source_id = "agent:mallory".into();
    let server = async {
        let publish = line.publish().await;
        assert_eq!(
            (publish.event.source_id.as_str(), publish.event.event_id.len()),
            ("", 36)
        );
        line.accepted(&publish, 1).await;
        publish.event.event_id
    };
    let (response, event_id) = tokio::join!(client.send_event(event), server);
    assert_eq!(response.message_id(), Some(event_id.as_str()));
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_no_error() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let server = async {
        let publish = line.publish().await;
        let error = ErrorBody::new(ErrorCode::ChannelNotFound, "there is no such channel");
        line.answer(publish.id, Err(error).into()).await;
    };
    let posting = client
        .workspace()
        .channel("#nowhere")
        .post("hello")
        .metadata(json!({"a": 1}));
    let (response, ()) = tokio::join!(posting, server);
    assert_eq!(
        (response.success, response.error.unwrap().code),
        (false, ErrorCode::ChannelNotFound)
    );
    assert_eq!(response.message.as_deref(), Some("there is no such channel"));
}

#[tokio::test]
async fn sending_does_not_wait_for_earlier_acknowledgements() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let sending = join_all((0..100).map(|number| client.send_event(numbered(number))));
    let server = async {
        let mut publishes = Vec::new();
        for number in 0..100_u64 {
            publishes.push(line.publish().await);
            assert_eq!(publishes.last().unwrap().event.payload["number"], number);
        }
        for (publish, sequence) in publishes.iter().rev().zip(1..) {
            line.accepted(publish, sequence).await;
        }
    };
    let (responses, ()) = tokio::join!(sending, server);
    assert!(responses.iter().all(|response| response.success));
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_in_order_with_the_same_id() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let waiting: Vec<_> = (0..4)
        .map(|number| client.publish(numbered(number)).unwrap())
        .collect();
    let mut ids = Vec::new();
    for number in 0..4 {
        let publish = line.publish().await;
        if number == 1 {
            line.accepted(&publish, 1).await;
        }
        ids.push(publish.event.event_id);
    }
    drop(line);
    let mut line = peer.welcome().await;
    for (expected, sequence) in [0, 2, 3].into_iter().zip(2..) {
        let publish = line.publish().await;
        assert_eq!(publish.event.event_id, ids[expected]);
        line.accepted(&publish, sequence).await;
    }
    for answer in waiting {
        assert!(within(LIMIT, answer).await.success);
    }
}

#[tokio::test]
async fn a_send_during_a_break_waits_and_is_taken_back_when_it_takes_too_long() {
    let peer = Peer::bind().await;
    let (client, line) = peer.joined("me").await;
    drop(line);
    // The break is known once the client is back at the door.
    let mut line = peer.accept().await;
    let response = client
        .send_event(numbered(1))
        .timeout(Duration::from_millis(20))
        .await;
    assert_eq!(response.error.unwrap().code, ErrorCode::TimedOut);
    let later = client.publish(numbered(2)).unwrap();
    line.welcome(0.into_sequence(), 0.into_sequence()).await;
    let publish = line.publish().await;
    assert_eq!(publish.event.payload["number"], 2);
    line.accepted(&publish, 1).await;
    assert!(within(LIMIT, later).await.success);
}

trait IntoSequence {
    fn into_sequence(self) -> openagents_client::Sequence;
}

impl IntoSequence for u64 {
    fn into_sequence(self) -> openagents_client::Sequence {
        openagents_client::Sequence::new(self)
    }
}

#[tokio::test]
async fn the_queue_has_a_bound_and_send_waits_for_room() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let waiting: Vec<_> = (0..1024)
        .map(|number| client.publish(numbered(number)).unwrap())
        .collect();
    assert!(matches!(
        client.publish(numbered(0)),
        Err(PublishError::QueueFull { limit: 1024 })
    ));
    let server = async {
        let first = line.publish().await;
        line.accepted(&first, 1).await;
        for _ in 1..1024 {
            line.publish().await;
        }
        let waited = line.publish().await;
        assert_eq!(waited.event.payload["number"], 5000);
        line.accepted(&waited, 2).await;
    };
    let (response, ()) = tokio::join!(client.send_event(numbered(5000)), server);
    assert!(response.success);
    drop(waiting);
}

#[tokio::test]
async fn without_a_connection_every_call_says_so_at_once() {
    let client = AgentClient::new("me");
    let response = client.send_agent_message("bob", json!({"text": "hello"})).await;
    assert_eq!(
        (response.success, response.error.unwrap().code),
        (false, ErrorCode::HelloExpected)
    );
    assert_eq!(client.list_agents().await.unwrap_err().code(), "not_connected");
    assert_eq!(client.publish(numbered(1)).unwrap_err().code(), "not_connected");
    assert_eq!(
        client
            .workspace()
            .agent("bob")
            .send_and_wait("hello", LIMIT)
            .await,
        None
    );
    assert!(client.welcome().is_none() && !client.is_connected());
}

#[tokio::test]
async fn calls_carry_the_documented_parameters() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let workspace = client.workspace();
    let general = workspace.channel("#general");
    assert_eq!(general.name(), "general");

    let page = json!({"messages": [], "has_more": false});
    let reading = general
        .get_messages(20)
        .offset(5)
        .before(900.into_sequence())
        .into_future();
    let (messages, (method, params)) = tokio::join!(reading, line.respond(page.clone()));
    assert!(messages.unwrap().is_empty());
    assert_eq!(
        (method.as_str(), params.as_str()),
        (
            "list_messages",
            r#"{"channel":"general","limit":20,"before":900,"offset":5}"#
        )
    );

    let (messages, (_, params)) = tokio::join!(
        workspace.agent("agent:bob").get_messages(1).page(),
        line.respond(page)
    );
    assert!(!messages.unwrap().has_more);
    assert_eq!(params.as_str(), r#"{"agent_id":"bob","limit":1}"#);

    let made = json!({"name": "dev", "description": "", "creator_id": "me", "created_at": 0.0, "joined": true, "members": 1, "events": 0});
    let (channel, (method, params)) =
        tokio::join!(workspace.create_channel("#dev", "code"), line.respond(made));
    assert_eq!(
        (channel.unwrap().name(), method.as_str()),
        ("dev", "create_channel")
    );
    assert_eq!(params.as_str(), r##"{"name":"#dev","description":"code"}"##);

    let subscribing = client.subscribe_events(["channel.*"], Some(&["#general"]));
    let (subscription, (_, params)) =
        tokio::join!(subscribing, line.respond(json!({"subscription_id": "s1"})));
    assert_eq!(subscription.unwrap().subscription_id, "s1");
    assert_eq!(
        params.as_str(),
        r#"{"patterns":["channel.*"],"channels":["general"]}"#
    );
    let (done, _) = tokio::join!(client.unsubscribe_events("s1"), line.respond(json!({})));
    done.unwrap();
    assert_eq!(
        client.subscribe_events("", None).await.unwrap_err().code(),
        "invalid_name"
    );
}

#[tokio::test]
async fn messages_are_written_as_documented() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let workspace = client.workspace();
    let (general, bob) = (workspace.channel("general"), workspace.agent("bob"));
    for (post, name, destination, payload) in [
        (
            general.post("hi"),
            "channel.message.posted",
            "channel:general",
            json!({"content": {"text": "hi"}}),
        ),
        (
            general.reply("m1", json!({"text": "yes", "n": 1})),
            "channel.message.replied",
            "channel:general",
            json!({"content": {"text": "yes", "n": 1}}),
        ),
        (
            general.post("look").mention("agent:bob"),
            "channel.message.posted",
            "channel:general",
            json!({"content": {"text": "look"}, "mentioned_agent_id": "bob"}),
        ),
        (
            bob.send("psst"),
            "direct.message.received",
            "agent:bob",
            json!({"content": {"text": "psst"}}),
        ),
    ] {
        let server = async {
            let publish = line.publish().await;
            line.accepted(&publish, 1).await;
            publish.event
        };
        let (response, event) = tokio::join!(post.into_future(), server);
        assert!(response.success);
        assert_eq!(
            (event.event_name.as_str(), event.destination_id.as_deref()),
            (name, Some(destination))
        );
        assert_eq!(event.payload.value(), &payload);
        assert_eq!(event.reply_to_id.is_some(), name == "channel.message.replied");
    }
}

#[tokio::test]
async fn many_events_are_sent_in_order_whatever_the_room() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let named = |number: u64| {
        let mut event = Event::new("test.event").to("agent:bob");
        event.event_id = format!("{number}");
        event
    };
    let (responses, ()) = tokio::join!(client.send_events((0..3000).map(named), LIMIT), async {
        for number in 0..3000 {
            let publish = line.publish().await;
            assert_eq!(publish.event.event_id, number.to_string());
            line.accepted(&publish, number + 1).await;
        }
    });
    let sequences = responses
        .iter()
        .map(|response| response.data.as_ref().unwrap().sequence);
    assert!(sequences.eq((1..=3000).map(|sequence| Some(Sequence::new(sequence)))));
}
