//! Polls of the 0.9 interface: they wait, and what they hand out is not lost on the way.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::select_all;
use futures_util::stream::FuturesUnordered;
use openagents_protocol::legacy::prost::Message;
use openagents_protocol::legacy::{Event, EventResponse, RegisterAgentRequest, RegisterAgentResponse};
use openagents_server::Clock;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{LIMIT, Running, within};
use crate::legacy::{Agent, Caller, Grpc, impatient};

#[tokio::test]
async fn a_poll_waits_until_something_comes() {
    let running = Running::start().await;
    let mut alice = Agent::join(&running, "alice").await;
    let mut bob = Agent::join(&running, "bob").await;
    let (texts, ()) = tokio::join!(bob.poll(), alice.say("bob", "now"));
    assert_eq!(texts, ["now"]);
}

#[tokio::test]
async fn a_newer_poll_ends_an_older_one_with_nothing() {
    let running = Running::start().await;
    let mut alice = Agent::join(&running, "alice").await;
    let mut bob = Agent::join(&running, "bob").await;
    let mut other = bob.again(&running).await;
    let polls = [bob.poll(), other.poll()].map(Box::pin);
    // Whichever of the two was the older has ended by then.
    let (older, _, mut waiting) = within(LIMIT, select_all(polls)).await;
    assert!(older.is_empty(), "{older:?}");
    let newer = waiting.pop().unwrap();
    let (newer, ()) = tokio::join!(newer, alice.say("bob", "for the newer one"));
    assert_eq!(newer, ["for the newer one"]);
}

#[tokio::test]
async fn of_a_hundred_polls_at_once_one_is_answered_with_what_comes() {
    let running = Running::start().await;
    let mut alice = Agent::join(&running, "alice").await;
    let bob = Agent::join(&running, "bob").await;
    let mut bobs = Vec::new();
    for _ in 0..100 {
        bobs.push(bob.again(&running).await);
    }
    let mut polls: FuturesUnordered<_> = bobs.iter_mut().map(Agent::poll).collect();
    for _ in 0..99 {
        let ended = within(LIMIT, polls.next()).await.unwrap();
        assert!(ended.is_empty(), "{ended:?}");
    }
    let (last, ()) = tokio::join!(polls.next(), alice.say("bob", "for the last one"));
    assert_eq!(last.unwrap(), ["for the last one"]);
}

/// Sends an event over gRPC.
async fn send(grpc: &mut Grpc, name: &str, source: &str, secret: &str) -> EventResponse {
    let event = Event {
        event_name: name.to_owned(),
        source_id: source.to_owned(),
        secret: secret.to_owned(),
        ..Event::default()
    };
    let rpc = "/openagents.AgentService/SendEvent";
    grpc.call(rpc, &event.encode_to_vec()).await.unwrap()
}

/// The gRPC library of the official client has one connection for all agents of a process.
#[tokio::test]
async fn agents_that_share_a_connection_do_not_wait_for_each_others_polls() {
    let running = Running::with(|config| config.legacy.hold = Duration::from_hours(1)).await;
    let mut caller = Caller::of(&running).await;
    let mut secrets = Vec::new();
    for number in 0..300 {
        let request = RegisterAgentRequest {
            agent_id: format!("member-{number}"),
            ..RegisterAgentRequest::default()
        };
        let rpc = "/openagents.AgentService/RegisterAgent";
        let answer: RegisterAgentResponse = caller.grpc(rpc, &request.encode_to_vec()).await.unwrap();
        secrets.push((request.agent_id, answer.secret));
    }
    let mut polls: FuturesUnordered<_> = secrets
        .iter()
        .map(|(agent_id, secret)| {
            let mut grpc = caller.grpc.clone();
            async move { send(&mut grpc, "system.poll_messages", agent_id, secret).await }
        })
        .collect();
    // More than find a place: those that waited longest are told that there is nothing.
    for _ in 0..100 {
        let answer = within(LIMIT, polls.next()).await.unwrap();
        assert_eq!(answer.message, "Retrieved 0 messages");
    }
    // And everything else has its answer while the others wait.
    let (agent_id, secret) = &secrets[0];
    let answer = within(
        LIMIT,
        send(&mut caller.grpc, "system.list_agents", agent_id, secret),
    );
    assert!(answer.await.success);
}

#[tokio::test]
async fn what_was_on_its_way_when_the_connection_broke_is_handed_out_again() {
    let running = Running::with(impatient).await;
    let mut alice = Agent::join(&running, "alice").await;
    let mut bob = Agent::join(&running, "bob").await;
    alice.say("bob", "lost and found").await;

    let mut stream = TcpStream::connect(running.server.local_addr()).await.unwrap();
    let request = format!("GET {} HTTP/1.1\r\nhost: localhost\r\n\r\n", bob.poll_path());
    stream.write_all(request.as_bytes()).await.unwrap();
    // The answer is there, and is thrown away unread: the connection is reset.
    let mut first = [0];
    within(LIMIT, stream.peek(&mut first)).await.unwrap();
    drop(stream);

    assert_eq!(bob.poll().await, ["lost and found"]);
    assert!(
        bob.poll().await.is_empty(),
        "it arrived, and is not handed out again"
    );
}

#[tokio::test]
async fn a_poll_that_is_given_up_takes_nothing_with_it() {
    let running = Running::start().await;
    let mut alice = Agent::join(&running, "alice").await;
    let mut bob = Agent::join(&running, "bob").await;
    let mut stream = TcpStream::connect(running.server.local_addr()).await.unwrap();
    let request = format!("GET {} HTTP/1.1\r\nhost: localhost\r\n\r\n", bob.poll_path());
    stream.write_all(request.as_bytes()).await.unwrap();
    drop(stream);
    alice.say("bob", "still there").await;
    assert_eq!(bob.poll().await, ["still there"]);
}

#[tokio::test]
async fn who_was_handed_something_and_never_asked_again_gets_it_when_it_comes_back() {
    let running = Running::with(impatient).await;
    let mut alice = Agent::join(&running, "alice").await;
    let mut bob = Agent::join(&running, "bob").await;
    alice.say("bob", "once more").await;
    assert_eq!(bob.poll().await, ["once more"]);
    // Nothing says that the program did anything with it: it crashed, and begins anew.
    drop(bob);
    let mut bob = Agent::join(&running, "bob").await;
    alice.say("bob", "and this").await;
    let mut got = Vec::new();
    within(LIMIT, async {
        while got.last().map(String::as_str) != Some("and this") {
            got.extend(bob.poll().await);
        }
    })
    .await;
    assert!(got.len() <= 2, "{got:?}");
}

#[tokio::test]
async fn nobody_reads_what_is_for_another_agent() {
    let running = Running::with(impatient).await;
    let mut alice = Agent::join(&running, "alice").await;
    let mut bob = Agent::join(&running, "bob").await;
    let mut mallory = Agent::join(&running, "mallory").await;
    alice.say("bob", "for bob only").await;

    let refused = "Authentication failed: Invalid or missing secret";
    let path = format!("/api/poll?agent_id=bob&secret={}", mallory.secret);
    let answer = mallory.caller.get(&path).await.json();
    assert_eq!(
        (&answer["success"], &answer["error_message"]),
        (&json!(false), &json!(refused))
    );
    for (name, payload) in [
        ("system.poll_messages", json!({"agent_id": "bob"})),
        ("system.unregister_agent", json!({"agent_id": "bob"})),
        (
            "system.subscribe_events",
            json!({"agent_id": "bob", "event_patterns": ["*"]}),
        ),
    ] {
        let answer = mallory.send(name, "system:system", payload).await;
        assert_eq!(answer["message"], refused, "{name}");
    }
    let history = json!({"target_agent_id": "bob"});
    let answer = mallory.send("thread.direct_messages.retrieve", "", history).await;
    assert_eq!(answer["data"]["messages"], json!([]));
    let listed = mallory.send("thread.conversations.list", "", json!({})).await;
    assert_eq!(listed["data"]["conversations"], json!([]));
    assert_eq!(bob.poll().await, ["for bob only"]);
}

#[tokio::test]
async fn secrets_are_stored_as_hashes_and_outlive_a_restart() {
    let running = Running::with(impatient).await;
    let bob = Agent::join(&running, "bob").await;
    let Running { server, directory } = running;
    server.shutdown().await;
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let content = std::fs::read(&path).unwrap();
            let found = content
                .windows(bob.secret.len())
                .any(|part| part == bob.secret.as_bytes());
            assert!(!found, "{}", path.display());
        }
    }
    let config = crate::harness::config(&directory, impatient);
    let server = openagents_server::Server::bind(config).await.unwrap();
    let running = Running { server, directory };
    let mut bob = bob.again(&running).await;
    let mut alice = Agent::join(&running, "alice").await;
    alice.say("bob", "you are still you").await;
    assert_eq!(bob.poll().await, ["you are still you"]);
}

#[tokio::test]
async fn an_id_is_taken_over_from_who_is_gone_and_from_nobody_else() {
    let running = Running::with(impatient).await;
    let alice = Agent::join(&running, "alice").await;
    let rpc = "/openagents.AgentService/RegisterAgent";
    let request = RegisterAgentRequest {
        agent_id: "alice".to_owned(),
        ..RegisterAgentRequest::default()
    };
    let mut other = Caller::of(&running).await;
    let answer: RegisterAgentResponse = other.grpc(rpc, &request.encode_to_vec()).await.unwrap();
    assert_eq!(
        answer.error_message,
        "Agent alice already registered with network"
    );
    drop(alice);
    // The server learns of it as soon as the connection ends.
    let answer = within(LIMIT, async {
        loop {
            let answer: RegisterAgentResponse = other.grpc(rpc, &request.encode_to_vec()).await.unwrap();
            if answer.success {
                break answer;
            }
        }
    })
    .await;
    assert_eq!(answer.secret.len(), 64);
}

#[tokio::test]
async fn a_silent_agent_counts_as_gone_and_is_there_again_with_its_next_poll() {
    let running = Running::with(|config| {
        impatient(config);
        config.workspace.agent_timeout = Duration::from_millis(200);
    })
    .await;
    let mut bob = Agent::join(&running, "bob").await;
    let id = "bob".parse().unwrap();
    let workspace = running.server.workspace();
    within(LIMIT, async {
        while workspace.is_online(&id) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut alice = Agent::join(&running, "alice").await;
    alice.say("bob", "wake up").await;
    assert_eq!(bob.poll().await, ["wake up"]);
    assert!(workspace.is_online(&id));
}

#[tokio::test]
async fn large_events_and_files_pass_up_to_their_limits() {
    let running = Running::start().await;
    let mut alice = Agent::join(&running, "alice").await;
    let mut bob = Agent::join(&running, "bob").await;
    let large = "x".repeat(12 << 20);
    alice.say("bob", &large).await;
    assert_eq!(bob.poll().await, std::slice::from_ref(&large));
    let uploaded = alice
        .send(
            "shared_cache.file.upload",
            "",
            json!({"filename": "large.txt", "file_data": large.replace('x', "YWFh")[..12 << 20], "mime_type": "text/plain"}),
        )
        .await;
    assert_eq!(uploaded["data"]["file_size"], 9 << 20, "{}", uploaded["message"]);
}

#[tokio::test]
async fn agents_are_listed_in_the_order_they_came_also_within_a_millisecond() {
    let running = Running::with(|config| {
        let now = Clock::system().now_ms();
        config.workspace.clock = Clock::new(move || now);
    })
    .await;
    for id in ["zoe", "adam", "mia"] {
        Agent::join(&running, id).await;
    }
    let mut bob = Agent::join(&running, "bob").await;
    let listed = bob.send("system.list_agents", "system:system", json!({})).await;
    let agents = listed["data"]["agents"].as_array().unwrap();
    let ids: Vec<&str> = agents
        .iter()
        .map(|agent| agent["agent_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["zoe", "adam", "mia", "bob"]);
}

#[tokio::test]
async fn who_subscribes_to_the_same_again_has_one_subscription_and_none_after_leaving() {
    let running = Running::with(impatient).await;
    let mut alice = Agent::join(&running, "alice").await;
    let mut bob = Agent::join(&running, "bob").await;
    let wanted = json!({"event_patterns": ["demo.only.*"]});
    let first = bob.send("system.subscribe_events", "", wanted.clone()).await;
    assert_eq!(first["success"], true, "{first}");
    // It crashed, and begins anew without having left.
    let mut bob = Agent::join(&running, "bob").await;
    let second = bob.send("system.subscribe_events", "", wanted).await;
    assert_eq!(
        second["data"]["subscription_id"],
        first["data"]["subscription_id"]
    );
    alice.say("bob", "not selected").await;
    assert!(bob.poll().await.is_empty());

    let left = json!({"agent_id": "bob", "secret": bob.secret});
    assert_eq!(
        bob.caller.post("/api/unregister", &left).await.json()["success"],
        true
    );
    let mut bob = Agent::join(&running, "bob").await;
    alice.say("bob", "everything again").await;
    assert!(bob.poll().await.contains(&"everything again".to_owned()));
}
