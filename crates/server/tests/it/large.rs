//! Large things over the 0.9 interface: they pass up to their limits, and take no more memory than there is for them.

use std::io::ErrorKind;

use openagents_protocol::legacy::prost::Message;
use openagents_protocol::legacy::{Event, EventResponse};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{LIMIT, Running, within};
use crate::legacy::{Agent, impatient};

/// `RESOURCE_EXHAUSTED`.
const EXHAUSTED: u32 = 8;

/// A text of so many bytes.
fn text(bytes: usize) -> String {
    "x".repeat(bytes)
}

/// Begins a request that is nearly as large as all together may be, and never ends.
async fn endless(running: &Running) -> TcpStream {
    let mut slow = running.connect().await;
    let head = "POST /api/send_event HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n";
    let request = [head, &text(900_000)].concat();
    // Where it is refused, the rest of it finds no reader.
    slow.write_all(request.as_bytes()).await.unwrap_or_default();
    slow
}

#[tokio::test]
async fn requests_that_are_large_together_are_refused_and_small_ones_are_not() {
    let running = Running::with(|config| {
        impatient(config);
        config.legacy.max_message_bytes = 1 << 20;
        config.legacy.max_requests_bytes = 1 << 20;
    })
    .await;
    let mut alice = Agent::join(&running, "alice").await;
    let mut bob = Agent::join(&running, "bob").await;
    let mut slow = endless(&running).await;

    let payload = json!({"target_agent_id": "bob", "content": {"text": text(500_000)}});
    let refusal = within(LIMIT, async {
        loop {
            // The server reads what the slow one sends as it comes: it has done so when it has answered others since.
            for _ in 0..3 {
                alice.say("bob", "small").await;
            }
            let answer = alice
                .send("thread.direct_message.send", "bob", payload.clone())
                .await;
            if answer["success"] == false {
                break answer;
            }
            let waits = |error: std::io::Error| error.kind() == ErrorKind::WouldBlock;
            if !slow.try_read(&mut [0]).is_err_and(waits) {
                // The message was first, and the slow one was refused.
                slow = endless(&running).await;
            }
        }
    })
    .await;
    let message =
        "the requests that are under way have 1048576 bytes together, and no more is taken now; try again";
    assert_eq!(refusal["error_message"], message);
    let event = Event {
        event_name: "thread.direct_message.send".to_owned(),
        source_id: text(500_000),
        ..Event::default()
    };
    let rpc = "/openagents.AgentService/SendEvent";
    let refused: Result<EventResponse, u32> = alice.caller.grpc(rpc, &event.encode_to_vec()).await;
    assert_eq!(refused.unwrap_err(), EXHAUSTED);
    alice.say("bob", "small").await;

    drop(slow);
    within(LIMIT, async {
        while alice
            .send("thread.direct_message.send", "bob", payload.clone())
            .await["success"]
            == false
        {}
    })
    .await;
    let mut got = Vec::new();
    while got.last().map(String::len) != Some(500_000) || !got.contains(&"small".to_owned()) {
        got.extend(bob.poll().await);
    }
}

#[tokio::test]
async fn what_is_too_much_for_one_answer_comes_with_the_next_ones() {
    let running = Running::with(impatient).await;
    let mut alice = Agent::join(&running, "alice").await;
    let mut bob = Agent::join(&running, "bob").await;
    for letter in ["a", "b", "c"] {
        alice.say("bob", &letter.repeat(5 << 20)).await;
    }
    for letter in ["a", "b", "c"] {
        let texts = bob.poll().await;
        assert_eq!(texts.len(), 1);
        assert!(texts[0].len() == 5 << 20 && texts[0].starts_with(letter));
    }
    assert!(bob.poll().await.is_empty());
}

#[tokio::test]
async fn an_event_that_no_answer_can_carry_is_told_without_what_is_large_in_it() {
    let running = Running::with(|config| {
        impatient(config);
        config.legacy.max_message_bytes = 256 * 1024;
    })
    .await;
    let mut alice = Agent::join(&running, "alice").await;
    let mut bob = Agent::join(&running, "bob").await;
    alice.say("bob", &text(200 * 1024)).await;
    alice.say("bob", "next").await;
    let mut events = bob.events().await;
    events.extend(bob.events().await);
    assert_eq!(events.len(), 2);
    let payload = &events[0]["payload"];
    assert_eq!(
        (&payload["left_out"], &payload["sender_id"]),
        (&json!(["content"]), &json!("alice"))
    );
    assert_eq!(payload["message_id"], events[0]["event_id"]);
    assert_eq!(events[1]["payload"]["content"]["text"], "next");
}

#[tokio::test]
async fn files_are_told_with_their_content_until_that_is_too_much() {
    let running = Running::with(impatient).await;
    let mut alice = Agent::join(&running, "alice").await;
    let mut bob = Agent::join(&running, "bob").await;
    let content = "YWFh".repeat(2 << 20);
    for number in 0..2 {
        let upload = json!({
            "filename": format!("{number}.txt"),
            "file_content": content,
            "mime_type": "text/plain",
            "file_size": 0,
            "channel": "general",
        });
        let answer = alice.send("thread.file.upload", "", upload).await;
        assert_eq!(answer["data"]["success"], true, "{}", answer["message"]);
    }
    let events = bob.events().await;
    let told: Vec<&str> = events
        .iter()
        .filter_map(|event| event["payload"]["file"]["file_content"].as_str())
        .collect();
    assert_eq!(
        told.iter().map(|told| told.len()).collect::<Vec<_>>(),
        [content.len(), 0]
    );
    let file_id = &events[1]["payload"]["file_id"];
    let answer = bob
        .send("thread.file.download", "", json!({"file_id": file_id}))
        .await;
    assert_eq!(answer["data"]["content"], content);
}

#[tokio::test]
async fn a_page_of_large_messages_ends_early_and_says_that_there_is_more() {
    let running = Running::with(impatient).await;
    let mut alice = Agent::join(&running, "alice").await;
    let bodies = ["a", "b", "c", "d", "e"].map(|letter| letter.repeat(8 << 20));
    for body in &bodies {
        let payload =
            json!({"channel": "general", "message_type": "channel_message", "content": {"text": body}});
        let answer = alice
            .send("thread.channel_message.post", "channel:general", payload)
            .await;
        assert_eq!(answer["success"], true, "{}", answer["message"]);
    }
    let mut read = Vec::new();
    let mut pages = 0;
    loop {
        let wanted = json!({"channel": "general", "limit": 100, "offset": read.len()});
        let answer = alice.send("thread.channel_messages.retrieve", "", wanted).await;
        let messages = answer["data"]["messages"].as_array().unwrap();
        let texts = messages
            .iter()
            .filter_map(|message| message["content"]["text"].as_str());
        read.extend(texts.map(str::to_owned));
        pages += 1;
        if answer["data"]["has_more"] == false {
            break;
        }
    }
    assert!(1 < pages, "{pages}");
    assert!(read.iter().eq(bodies.iter().rev()), "newest first");
}

#[tokio::test]
async fn a_call_whose_message_does_not_come_is_given_up() {
    use http_body_util::BodyExt;

    let running = Running::with(|config| {
        config.limits.request_timeout = std::time::Duration::from_millis(200);
    })
    .await;
    let body = http_body_util::StreamBody::new(futures_util::stream::pending::<
        Result<hyper::body::Frame<bytes::Bytes>, std::convert::Infallible>,
    >());
    let io = hyper_util::rt::TokioIo::new(running.connect().await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    let tracker = tokio_util::task::TaskTracker::new();
    tracker.spawn(connection);
    let request = hyper::Request::post("http://localhost/openagents.AgentService/SendEvent")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap();
    let response = within(LIMIT, sender.send_request(request)).await.unwrap();
    let (parts, body) = response.into_parts();
    let trailers = body
        .collect()
        .await
        .unwrap()
        .trailers()
        .cloned()
        .unwrap_or_default();
    let status = parts
        .headers
        .get("grpc-status")
        .or_else(|| trailers.get("grpc-status"));
    assert_eq!(status.unwrap(), "4", "DEADLINE_EXCEEDED");
}
