//! Bad input gets a coded answer, and nobody else notices.

use openagents_protocol::ErrorCode;
use openagents_protocol::frame::ServerFrame;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Client, Running, direct, exchange, post};

#[tokio::test]
async fn a_frame_that_cannot_be_understood_is_answered_and_disturbs_nobody() {
    let running = Running::start().await;
    let (mut alice, mut bob) = (running.join("alice").await, running.join("bob").await);
    let mut sloppy = running.join("sloppy").await;
    let cases = [
        ("{", ErrorCode::InvalidFrame, None),
        ("[1]", ErrorCode::InvalidFrame, Some("type")),
        ("{\"id\":1}", ErrorCode::InvalidFrame, Some("type")),
        ("{\"type\":\"dance\"}", ErrorCode::UnknownFrameType, Some("type")),
        (
            "{\"type\":\"ack\",\"through\":-1}",
            ErrorCode::InvalidField,
            Some("through"),
        ),
        (
            "{\"type\":\"hello\",\"protocol\":1}",
            ErrorCode::UnexpectedFrame,
            None,
        ),
        (
            "{\"type\":\"publish\",\"id\":1,\"event\":{\"event_name\":\"ab.cd\",\"visibility\":\"loud\"}}",
            ErrorCode::InvalidField,
            Some("event.visibility"),
        ),
        (
            "{\"type\":\"request\",\"id\":1,\"method\":7}",
            ErrorCode::InvalidField,
            Some("method"),
        ),
    ];
    for (text, code, field) in cases {
        sloppy.send_message(Message::text(text)).await;
        assert_eq!(sloppy.error().await, (code, field.map(str::to_owned)), "{text}");
    }
    sloppy.send_message(Message::binary(vec![0, 159, 146, 150])).await;
    assert_eq!(sloppy.error().await, (ErrorCode::InvalidFrame, None));
    exchange(&mut alice, &mut bob).await;
    exchange(&mut sloppy, &mut alice).await;
}

#[tokio::test]
async fn an_unknown_method_and_wrong_parameters_are_answered_with_their_field() {
    let running = Running::start().await;
    let mut alice = running.join("alice").await;
    let mut refused = async |method: &str, params: Value| {
        let error = alice.call(method, params).await.unwrap_err();
        (error.code, error.field)
    };
    assert_eq!(
        refused("dance", json!({})).await,
        (ErrorCode::UnknownMethod, Some("method".into()))
    );
    assert_eq!(
        refused("list_messages", json!({"channel": "general", "limit": "ten"})).await,
        (ErrorCode::InvalidField, Some("limit".into()))
    );
    assert_eq!(
        refused("list_messages", json!({})).await,
        (ErrorCode::InvalidField, Some("channel".into()))
    );
    assert_eq!(
        refused("create_channel", json!({"name": " padded"})).await,
        (ErrorCode::InvalidName, Some("name".into()))
    );
}

#[tokio::test]
async fn an_oversized_frame_ends_only_the_connection_it_came_over() {
    let running = Running::with(|config| config.limits.max_frame_bytes = 10_000).await;
    let (mut alice, mut bob) = (running.join("alice").await, running.join("bob").await);

    let mut large = running.join("large").await;
    assert_eq!(large.welcome.as_ref().unwrap().max_frame_bytes, 10_000);
    let text = Message::text("x".repeat(3_000_000));
    large.send_message(text.clone()).await;
    assert_eq!(large.goodbye().await, ErrorCode::TooLarge);

    let mut before_hello = running.websocket().await;
    before_hello.send_message(text).await;
    assert_eq!(before_hello.goodbye().await, ErrorCode::TooLarge);

    exchange(&mut alice, &mut bob).await;
}

#[tokio::test]
async fn twenty_frames_that_cannot_be_understood_end_the_connection() {
    let running = Running::start().await;
    let mut sloppy = running.join("sloppy").await;
    for _ in 1..20 {
        sloppy.send_message(Message::text("?")).await;
        assert_eq!(sloppy.error().await, (ErrorCode::InvalidFrame, None));
    }
    sloppy.send_message(Message::text("?")).await;
    assert_eq!(sloppy.goodbye().await, ErrorCode::InvalidFrame);
}

#[tokio::test]
async fn a_session_begins_with_a_hello_of_this_protocol() {
    let running = Running::start().await;
    let check = async |frame: Message, code: ErrorCode| {
        let mut client: Client = running.websocket().await;
        client.send_message(frame.clone()).await;
        assert_eq!(client.goodbye().await, code, "{frame}");
    };
    check(Message::text("{\"type\":\"ping\"}"), ErrorCode::HelloExpected).await;
    check(Message::text("nonsense"), ErrorCode::InvalidFrame).await;
    check(Message::binary(vec![1]), ErrorCode::InvalidFrame).await;
    check(
        Message::text("{\"type\":\"hello\",\"protocol\":2}"),
        ErrorCode::UnsupportedProtocol,
    )
    .await;
    check(
        Message::text("{\"type\":\"hello\",\"protocol\":1,\"agent_id\":\"a\\u0007b\"}"),
        ErrorCode::InvalidName,
    )
    .await;
    check(
        Message::text("{\"type\":\"hello\",\"protocol\":1,\"metadata\":[]}"),
        ErrorCode::InvalidField,
    )
    .await;
}

#[tokio::test]
async fn an_event_that_breaks_a_rule_is_refused_with_its_field() {
    let running = Running::start().await;
    let mut alice = running.join("alice").await;
    let long = "x".repeat(129);
    let cases = [
        (
            json!({"event_name": "Bad", "destination_id": "agent:alice"}),
            ErrorCode::InvalidName,
            "event_name",
        ),
        (
            json!({"event_name": "ab.cd"}),
            ErrorCode::InvalidDestination,
            "destination_id",
        ),
        (
            json!({"event_name": "ab.cd", "destination_id": "group:x"}),
            ErrorCode::InvalidName,
            "destination_id",
        ),
        (
            json!({"event_name": "ab.cd", "destination_id": format!("agent:{long}")}),
            ErrorCode::InvalidName,
            "destination_id",
        ),
        (
            json!({"event_name": "ab.cd", "destination_id": "channel:general", "event_id": long}),
            ErrorCode::InvalidName,
            "event_id",
        ),
        (
            json!({"event_name": "ab.cd", "destination_id": "channel:nowhere"}),
            ErrorCode::ChannelNotFound,
            "channel",
        ),
        (
            json!({"event_name": "system.ab", "destination_id": "channel:general"}),
            ErrorCode::ReservedEventName,
            "event_name",
        ),
        (
            json!({"event_name": "ab.cd", "destination_id": "channel:general", "payload": []}),
            ErrorCode::InvalidField,
            "payload",
        ),
        (
            direct("nobody", "hello"),
            ErrorCode::AgentNotFound,
            "destination_id",
        ),
    ];
    for (event, code, field) in cases {
        assert_eq!(
            alice.refused(event.clone()).await,
            (code, Some(field.to_owned())),
            "{event}"
        );
    }
    let surrogate = r#"{"type":"publish","id":900,"event":{"event_name":"ab.cd","destination_id":"channel:general","payload":{"x":"\ud800"}}}"#;
    alice.send_message(Message::text(surrogate)).await;
    let Some(ServerFrame::Published(published)) = alice.frame().await else {
        panic!("not answered")
    };
    assert_eq!(published.response.error.unwrap().code, ErrorCode::InvalidJson);
    assert!(alice.publish(post("general", "still here")).await.success);
}
