//! The order in which the events of a source are handled, whatever connections and sessions bring them.

use std::sync::Arc;

use openagents_client::{AgentClient, Event};
use openagents_protocol::Sequence;
use openagents_protocol::frame::ClientFrame;
use tokio::sync::{Semaphore, mpsc};

use crate::peer::{LIMIT, Line, Peer, event, within};

/// A client whose handler waits for a permit before it is through with an event of `slow`.
struct Worker {
    client: AgentClient,
    permits: Arc<Semaphore>,
    begun: mpsc::Receiver<String>,
}

impl Worker {
    /// A worker, and the other end of its first connection, which begins after a sequence of this log.
    async fn joined(peer: &Peer, log: Option<&str>, cursor: u64) -> (Self, Line) {
        let client = AgentClient::new("me");
        let (write, begun) = mpsc::channel(1000);
        let permits = Arc::new(Semaphore::new(0));
        let worker = Self {
            client: client.clone(),
            permits: Arc::clone(&permits),
            begun,
        };
        client
            .register_event_handler((), move |event: Event| {
                let (write, permits) = (write.clone(), Arc::clone(&permits));
                async move {
                    write.send(event.event_id).await.unwrap();
                    if event.source_id == "slow" {
                        permits.acquire().await.unwrap().forget();
                    }
                }
            })
            .unwrap();
        let line = worker.connect(peer, log, cursor).await;
        (worker, line)
    }

    async fn connect(&self, peer: &Peer, log: Option<&str>, cursor: u64) -> Line {
        let welcome = async {
            let mut line = peer.accept().await;
            line.welcome_to(log, Sequence::new(cursor), Sequence::new(1_000))
                .await;
            line
        };
        let connect = self.client.connect_to_server("127.0.0.1", peer.port);
        let (connected, line) = tokio::join!(connect, welcome);
        connected.unwrap();
        line
    }

    async fn begins(&mut self, expected: &[&str]) {
        for expected in expected {
            let begun = within(LIMIT, self.begun.recv()).await.unwrap();
            assert_eq!(begun, *expected);
        }
    }
}

/// An event that nobody stores.
fn typing(id: &str) -> Event {
    let mut typing = event(1, "test.typing", "slow");
    (typing.sequence, typing.event_id) = (None, id.to_owned());
    typing
}

#[tokio::test]
async fn a_connection_that_is_restored_brings_nothing_twice_and_nothing_before_what_waits() {
    let peer = Peer::bind().await;
    let (mut worker, mut line) = Worker::joined(&peer, Some("log"), 0).await;
    for (sequence, source) in [(1, "slow"), (2, "slow"), (3, "quick"), (4, "slow")] {
        line.event(event(sequence, "test.event", source)).await;
    }
    worker.begins(&["e1", "e3"]).await;
    drop(line);

    // The client reconnects by itself: 1 runs, 2 and 4 wait, 3 is handled. 5 was on its way and got lost.
    let mut line = peer.accept().await;
    assert_eq!(line.hello.after, Some(Sequence::ZERO));
    line.welcome_to(Some("log"), Sequence::ZERO, Sequence::new(1_000))
        .await;
    for (sequence, source) in [
        (1, "slow"),
        (2, "slow"),
        (3, "quick"),
        (4, "slow"),
        (5, "slow"),
        (6, "quick"),
    ] {
        line.event(event(sequence, "test.event", source)).await;
    }
    worker.begins(&["e6"]).await;
    worker.permits.add_permits(4);
    worker.begins(&["e2", "e4", "e5"]).await;
    line.acknowledged(6).await;
}

#[tokio::test]
async fn what_is_not_stored_is_handled_in_its_turn() {
    let peer = Peer::bind().await;
    let (mut worker, mut line) = Worker::joined(&peer, None, 0).await;
    line.event(event(1, "test.event", "slow")).await;
    line.event(typing("typing")).await;
    line.event(event(2, "test.event", "slow")).await;
    worker.begins(&["e1"]).await;
    worker.permits.add_permits(3);
    worker.begins(&["typing", "e2"]).await;
    line.acknowledged(2).await;
}

#[tokio::test]
async fn another_session_begins_where_this_process_is_also_where_the_workspace_forgot_that() {
    let peer = Peer::bind().await;
    let (mut worker, mut line) = Worker::joined(&peer, Some("log"), 5).await;
    line.event(event(6, "test.event", "quick")).await;
    worker.begins(&["e6"]).await;
    line.acknowledged(6).await;
    leave(&worker.client, line).await;

    // It says how far it is, so that nobody sends it 5 again, which another process of it handled.
    let line = worker.connect(&peer, Some("log"), 6).await;
    assert_eq!(line.hello.after, Some(Sequence::new(6)));
    assert_eq!(line.hello.log.as_deref(), Some("log"));
    leave(&worker.client, line).await;

    let watching = worker.client.connect_to_server("127.0.0.1", peer.port).watching();
    let (watching, line) = tokio::join!(watching, peer.welcome());
    watching.unwrap();
    assert_eq!(line.hello.after, None, "who watches begins at the end of the log");
    leave(&worker.client, line).await;

    let line = worker.connect(&peer, None, 0).await;
    assert_eq!(line.hello.after, Some(Sequence::new(6)), "watching moved nothing");
    leave(&worker.client, line).await;
    let line = worker.connect(&peer, None, 0).await;
    assert_eq!(line.hello.after, None, "nobody knows in which log that counts");
    leave(&worker.client, line).await;
}

async fn leave(client: &AgentClient, mut line: Line) {
    let answer = async {
        while !matches!(line.next().await, Some(ClientFrame::Goodbye(_)) | None) {}
        drop(line);
    };
    within(LIMIT, async { tokio::join!(client.disconnect(), answer) }).await;
}
