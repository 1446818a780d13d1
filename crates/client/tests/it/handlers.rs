use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use openagents_client::Event;
use openagents_protocol::frame::ClientFrame;
use tokio::sync::{Semaphore, mpsc};

use crate::peer::{LIMIT, Peer, direct, event, within};

/// Handlers write what they did here; tests read it in order.
fn journal() -> (mpsc::Sender<String>, mpsc::Receiver<String>) {
    mpsc::channel(1000)
}

async fn read(journal: &mut mpsc::Receiver<String>) -> String {
    within(LIMIT, journal.recv()).await.unwrap()
}

#[tokio::test]
async fn nothing_is_dispatched_or_acknowledged_before_the_first_handler() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    for sequence in 1..=3 {
        line.event(event(sequence, "test.event", "bob")).await;
    }
    line.quiet().await;
    let (write, mut journal) = journal();
    client
        .register_event_handler((), move |event: Event| {
            let write = write.clone();
            async move { write.send(event.event_id).await.unwrap() }
        })
        .unwrap();
    for expected in ["e1", "e2", "e3"] {
        assert_eq!(read(&mut journal).await, expected);
    }
    line.acknowledged(3).await;
}

#[tokio::test]
async fn events_of_one_source_are_handled_in_order_and_sources_do_not_wait_for_each_other() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let (write, mut journal) = journal();
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    client
        .register_event_handler("test.*", move |event: Event| {
            let (write, gate) = (write.clone(), Arc::clone(&gate));
            async move {
                write.send(format!("begin {}", event.event_id)).await.unwrap();
                if event.source_id == "slow" {
                    gate.acquire().await.unwrap().forget();
                }
                write.send(format!("end {}", event.event_id)).await.unwrap();
            }
        })
        .unwrap();
    line.event(event(1, "test.event", "slow")).await;
    assert_eq!(read(&mut journal).await, "begin e1");
    line.event(event(2, "test.event", "slow")).await;
    line.event(event(3, "test.event", "quick")).await;
    assert_eq!(read(&mut journal).await, "begin e3");
    assert_eq!(read(&mut journal).await, "end e3");
    line.quiet().await;
    opened.add_permits(2);
    for expected in ["end e1", "begin e2", "end e2"] {
        assert_eq!(read(&mut journal).await, expected);
    }
    line.acknowledged(3).await;
}

#[tokio::test]
async fn every_handler_and_every_stream_gets_all_of_the_event() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let (write, mut heard) = mpsc::channel(10);
    for pattern in ["test.*", "test.other", "*"] {
        let write = write.clone();
        client
            .register_event_handler(pattern, move |event: Event| {
                let write = write.clone();
                async move { write.send(event).await.unwrap() }
            })
            .unwrap();
    }
    let mut stream = client.events();
    let sent = [1, 2, 3].map(|sequence| event(sequence, "test.event", "bob"));
    line.events(sent.clone()).await;
    for expected in &sent {
        for _ in ["test.*", "*"] {
            assert_eq!(within(LIMIT, heard.recv()).await.as_ref(), Some(expected));
        }
        assert_eq!(within(LIMIT, stream.next()).await.as_ref(), Some(expected));
    }
}

#[tokio::test]
async fn what_waits_behind_a_busy_source_keeps_its_order_and_what_comes_with_it_goes_on() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let (write, mut journal) = journal();
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    client
        .register_event_handler("test.*", move |event: Event| {
            let (write, gate) = (write.clone(), Arc::clone(&gate));
            async move {
                if event.source_id == "slow" {
                    gate.acquire().await.unwrap().forget();
                }
                write.send(event.event_id).await.unwrap();
            }
        })
        .unwrap();
    // In one piece: every other one of a source that is stuck.
    let sources = ["slow", "quick"].into_iter().cycle();
    line.events(
        (1..=100)
            .zip(sources)
            .map(|(sequence, source)| event(sequence, "test.event", source)),
    )
    .await;
    for sequence in (1..=100).filter(|sequence| sequence % 2 == 0) {
        assert_eq!(read(&mut journal).await, format!("e{sequence}"));
    }
    line.quiet().await;
    opened.add_permits(50);
    for sequence in (1..=100).filter(|sequence| sequence % 2 == 1) {
        assert_eq!(read(&mut journal).await, format!("e{sequence}"));
    }
    line.acknowledged(100).await;
}

#[tokio::test]
async fn a_handler_that_fails_or_panics_stops_nobody() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let (write, mut journal) = journal();
    client
        .register_event_handler((), |_| async { Err::<(), _>("it failed") })
        .unwrap();
    client
        .register_event_handler((), |event: Event| async move {
            assert!(event.event_id.is_empty(), "while it ran");
        })
        .unwrap();
    client
        .register_event_handler((), |event: Event| {
            assert!(event.event_id.is_empty(), "before it ran");
            async {}
        })
        .unwrap();
    client
        .register_event_handler((), move |event: Event| {
            let write = write.clone();
            async move { write.send(event.event_id).await.unwrap() }
        })
        .unwrap();
    for sequence in 1..=2 {
        line.event(event(sequence, "test.event", "bob")).await;
        assert_eq!(read(&mut journal).await, format!("e{sequence}"));
        line.acknowledged(sequence).await;
    }
}

#[tokio::test]
async fn what_nobody_wants_is_acknowledged_up_to_the_first_that_is_still_handled() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    client
        .register_event_handler("test.slow", move |_| {
            let gate = Arc::clone(&gate);
            async move { gate.acquire().await.unwrap().forget() }
        })
        .unwrap();
    line.event(event(1, "test.other", "bob")).await;
    line.acknowledged(1).await;
    line.event(event(2, "test.slow", "bob")).await;
    line.event(event(3, "test.other", "carol")).await;
    line.quiet().await;
    opened.add_permits(1);
    line.acknowledged(3).await;
}

#[tokio::test]
async fn handlers_run_once_each_in_the_order_of_registration_until_they_are_unregistered() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let (write, mut journal) = journal();
    let mut handles = Vec::new();
    for (name, patterns) in [
        ("first", vec!["channel.*", "channel.message.mentioned"]),
        ("second", vec!["*.mentioned"]),
        ("third", vec!["direct.*"]),
    ] {
        let write = write.clone();
        let handle = client.register_event_handler(patterns, move |event: Event| {
            let write = write.clone();
            async move { write.send(format!("{name} {}", event.event_id)).await.unwrap() }
        });
        handles.push(handle.unwrap());
    }
    let mut mention = event(1, "channel.message.posted", "bob");
    mention.also.push("channel.message.mentioned".into());
    line.event(mention).await;
    assert_eq!(read(&mut journal).await, "first e1");
    assert_eq!(read(&mut journal).await, "second e1");
    assert!(handles[0].unregister() && !handles[0].unregister());
    line.event(event(2, "channel.message.mentioned", "bob")).await;
    assert_eq!(read(&mut journal).await, "second e2");
    assert!(client.register_event_handler(["ok.*", ""], |_| async {}).is_err());
}

#[tokio::test]
async fn a_message_to_the_source_of_the_event_is_its_answer_by_itself() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let weak = client.downgrade();
    client
        .register_event_handler((), move |_| {
            let client = weak.upgrade().unwrap();
            async move {
                let bob = client.workspace().agent("bob");
                let linked = client.publish(bob.send("linked").into_event()).unwrap();
                let own = bob.send("own link").into_event().in_response_to("other");
                let own = client.publish(own).unwrap();
                let unlinked = client
                    .workspace()
                    .channel("general")
                    .post("unlinked")
                    .into_event();
                let unlinked = client.publish(unlinked).unwrap();
                tokio::join!(linked, own, unlinked);
            }
        })
        .unwrap();
    line.event(event(7, "test.event", "bob")).await;
    for expected in [Some("e7"), Some("other"), None] {
        let publish = line.publish().await;
        assert_eq!(publish.event.response_to.as_deref(), expected);
        line.accepted(&publish, 8).await;
    }
}

#[tokio::test]
async fn an_event_of_a_stream_is_handled_when_the_next_one_is_asked_for() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let mut events = client.events();
    for sequence in 1..=4 {
        line.event(event(sequence, "test.event", "bob")).await;
    }
    assert_eq!(within(LIMIT, events.next()).await.unwrap().event_id, "e1");
    line.quiet().await;
    assert_eq!(within(LIMIT, events.next()).await.unwrap().event_id, "e2");
    line.acknowledged(1).await;
    drop(events);
    line.acknowledged(4).await;
    line.event(event(5, "test.event", "bob")).await;
    line.acknowledged(5).await;
}

#[tokio::test]
async fn ephemeral_events_are_handled_and_never_acknowledged() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let (write, mut journal) = journal();
    client
        .register_event_handler((), move |event: Event| {
            let write = write.clone();
            async move { write.send(event.event_name).await.unwrap() }
        })
        .unwrap();
    let mut typing = event(1, "test.typing", "bob");
    typing.sequence = None;
    line.event(typing).await;
    assert_eq!(read(&mut journal).await, "test.typing");
    line.quiet().await;
}

#[tokio::test]
async fn many_events_are_handled_in_order_and_acknowledged_in_few_frames() {
    const EVENTS: u64 = 1000;
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let handled = Arc::clone(&seen);
    client
        .register_event_handler((), move |event: Event| {
            handled.lock().unwrap().push(event.sequence.unwrap().get());
            async {}
        })
        .unwrap();
    for sequence in 1..=EVENTS {
        line.event(event(sequence, "test.event", "bob")).await;
    }
    let mut frames = 0;
    loop {
        match line.next().await {
            Some(ClientFrame::Ack(ack)) if ack.through.get() == EVENTS => break,
            Some(ClientFrame::Ack(_)) => frames += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(frames < EVENTS / 4, "{frames} acknowledgements");
    assert_eq!(*seen.lock().unwrap(), (1..=EVENTS).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_a_later_session_brings_again_is_not_handled_again() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let (write, mut journal) = journal();
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    client
        .register_event_handler((), move |event: Event| {
            let (write, gate) = (write.clone(), Arc::clone(&gate));
            async move {
                write.send(format!("begin {}", event.event_id)).await.unwrap();
                if event.event_id == "e1" {
                    gate.acquire().await.unwrap().forget();
                }
                write.send(format!("end {}", event.event_id)).await.unwrap();
            }
        })
        .unwrap();
    line.event(event(1, "test.event", "slow")).await;
    assert_eq!(read(&mut journal).await, "begin e1");
    line.event(event(2, "test.event", "slow")).await;
    line.event(event(3, "test.event", "quick")).await;
    assert_eq!(read(&mut journal).await, "begin e3");
    assert_eq!(read(&mut journal).await, "end e3");
    drop(line);

    // Nothing was acknowledged, so everything comes again: what runs, what has not begun and what was handled.
    let again = client.connect_to_server("127.0.0.1", peer.port);
    let (connected, mut line) = tokio::join!(again, peer.welcome());
    connected.unwrap();
    for (sequence, source) in [(1, "slow"), (2, "slow"), (3, "quick")] {
        line.event(event(sequence, "test.event", source)).await;
    }
    line.event(event(4, "test.event", "quick")).await;
    assert_eq!(read(&mut journal).await, "begin e4");
    assert_eq!(read(&mut journal).await, "end e4");
    line.quiet().await;
    opened.add_permits(1);
    for expected in ["end e1", "begin e2", "end e2"] {
        assert_eq!(read(&mut journal).await, expected);
    }
    line.acknowledged(4).await;
}

#[tokio::test]
async fn a_client_that_is_drained_handles_what_runs_leaves_the_rest_and_can_still_ask() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let (write, mut journal) = journal();
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    client
        .register_event_handler("test.*", move |event: Event| {
            let (write, gate) = (write.clone(), Arc::clone(&gate));
            async move {
                write.send(event.event_id).await.unwrap();
                gate.acquire().await.unwrap().forget();
            }
        })
        .unwrap();
    line.event(event(1, "test.event", "bob")).await;
    line.event(event(2, "test.event", "bob")).await;
    assert_eq!(read(&mut journal).await, "e1");
    let asking = async {
        // The drain has begun: it is polled first.
        line.event(event(3, "test.event", "carol")).await;
        let bob = client.workspace().agent("bob");
        let answering = async {
            let question = line.publish().await;
            line.accepted(&question, 4).await;
            let answer = direct(5, "bob", "yes").in_response_to(question.event.event_id);
            line.event(answer).await;
        };
        let (answer, ()) = tokio::join!(bob.send_and_wait("Still there?", LIMIT), answering);
        assert_eq!(answer.unwrap().text(), Some("yes"));
        opened.add_permits(3);
    };
    within(LIMIT, async { tokio::join!(client.drain(), asking) }).await;
    line.acknowledged(1).await;
    line.quiet().await;
    assert!(journal.try_recv().is_err(), "only the first was handled");
}
