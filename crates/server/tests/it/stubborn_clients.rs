//! Clients that hold on to a connection, come in floods or take nothing.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use openagents_protocol::ErrorCode;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;

use crate::harness::{Client, LIMIT, Running, exchange, post, within};

#[tokio::test]
async fn a_connection_without_a_hello_is_ended_in_time() {
    let running = Running::with(|config| config.limits.hello_timeout = Duration::from_millis(200)).await;
    let mut silent = running.websocket().await;
    assert_eq!(silent.goodbye().await, ErrorCode::HelloExpected);
}

#[tokio::test]
async fn a_connection_that_says_nothing_at_all_is_closed_in_time() {
    let running = Running::with(|config| config.limits.hello_timeout = Duration::from_millis(200)).await;
    let mut stream = running.connect().await;
    let read = within(LIMIT, stream.read(&mut [0; 64])).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

#[tokio::test]
async fn a_silent_session_is_asked_and_then_given_up() {
    let running = Running::with(|config| {
        config.limits.ping_after = Duration::from_millis(100);
        config.workspace.lease = Duration::from_millis(100);
    })
    .await;
    let mut alice = running.join("alice").await;
    let _silent = running.join("silent").await;
    let left = alice.event_named("agent.left").await;
    assert_eq!(left.payload["agent_id"], "silent");
    assert_eq!(left.payload["reason"], "lease_expired");
}

#[tokio::test]
async fn a_flood_of_connections_is_closed_and_sessions_go_on() {
    let running = Running::with(|config| {
        config.limits.max_connections = 50;
        config.limits.hello_timeout = LIMIT * 2;
    })
    .await;
    let (mut alice, mut bob) = (running.join("alice").await, running.join("bob").await);
    let mut streams = Vec::new();
    for _ in 0..300 {
        streams.push(running.connect().await);
    }
    let mut ends: FuturesUnordered<_> = streams
        .iter_mut()
        .map(async |stream| matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_)))
        .collect();
    for _ in 0..300 - 48 {
        assert_eq!(within(LIMIT, ends.next()).await, Some(true));
    }
    exchange(&mut alice, &mut bob).await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off_and_costs_nobody_else() {
    let running = Running::with(|config| {
        config.limits.write_timeout = Duration::from_millis(200);
        config.workspace.lease = Duration::from_millis(100);
    })
    .await;
    let (mut alice, mut bob) = (running.join("alice").await, running.join("bob").await);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = within(LIMIT, socket.connect(running.server.local_addr()))
        .await
        .unwrap();
    let deaf = Client::over(stream)
        .await
        .hello(json!({"agent_id": "deaf"}))
        .await
        .unwrap();
    let text = "x".repeat(500_000);
    let mut left = Vec::new();
    for _ in 0..20 {
        assert!(alice.publish(post("general", &text)).await.success);
        left.extend(bob.events_until(&text).await);
    }
    left.retain(|event| event.event_name == "agent.left");
    if left.is_empty() {
        left.push(bob.event_named("agent.left").await);
    }
    assert_eq!(left[0].payload["agent_id"], "deaf");
    exchange(&mut alice, &mut bob).await;
    drop(deaf);
}

#[tokio::test]
async fn a_request_whose_body_does_not_come_is_given_up() {
    let running = Running::with(|config| config.limits.request_timeout = Duration::from_millis(200)).await;
    let mut stream = running.connect().await;
    let head = "POST /rest/v1/events HTTP/1.1\r\nhost: localhost\r\nx-agent-id: alice\r\ncontent-length: 100\r\n\r\n{";
    within(
        LIMIT,
        tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()),
    )
    .await
    .unwrap();
    let mut answer = String::new();
    within(LIMIT, stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn a_shutdown_tells_every_session_and_waits_for_none_for_long() {
    let running = Running::start().await;
    let (mut alice, _idle) = (running.join("alice").await, running.connect().await);
    let Running { server, directory } = running;
    let (reason, ()) = tokio::join!(alice.goodbye(), within(LIMIT, server.shutdown()));
    assert_eq!(reason, ErrorCode::ShuttingDown);
    drop(directory);
}
