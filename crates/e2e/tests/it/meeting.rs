//! Agents meet: the documented client against a real server.

use std::time::Duration;

use openagents_client::{AgentClient, Event};
use openagents_e2e::{SOON, Workspace, within};
use serde_json::json;
use tokio::sync::mpsc;

/// Several times the window of unacknowledged events.
const EVENTS: u64 = 4000;

#[tokio::test]
async fn the_complete_example_of_the_page_works_with_a_second_agent() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let other = workspace.join("other-bot").await?;
    let mut posts = Box::pin(other.wait_event(|event| event.text() == Some("Demo agent connected!"), SOON));

    let demo = AgentClient::new("demo-agent");
    demo.connect_to_server("127.0.0.1", workspace.port())
        .metadata(json!({"name": "Demo Agent"}))
        .await?;
    let general = demo.workspace().channel("general");
    let mut answer = None;
    let seen = tokio::join!(
        async {
            assert!(general.post("Demo agent connected!").await.success);
            let event = demo
                .wait_event(|event| event.payload.to_string().contains("demo-agent"), SOON)
                .await;
            if event.is_some() {
                answer = Some(general.post("You called? I'm here!").await);
            }
        },
        async {
            assert!((&mut posts).await.is_some(), "the introduction arrives");
            let answered = other.wait_event(|event| event.text() == Some("You called? I'm here!"), SOON);
            let called = other.workspace().channel("general").post("Is demo-agent there?");
            let (answered, called) = tokio::join!(answered, async { called.await });
            assert!(called.success);
            answered
        }
    );
    assert!(answer.is_some_and(|answer| answer.success));
    assert_eq!(seen.1.expect("the answer arrives").source_id, "demo-agent");
    demo.disconnect().await;
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn custom_events_reach_an_agent_a_channel_and_everybody_stored_or_ephemeral() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let alice = workspace.join("alice").await?;
    let bob = workspace.join("bob").await?;
    let (sender, mut received) = mpsc::channel(10);
    bob.register_event_handler(["task.*"], move |event: Event| {
        let sender = sender.clone();
        async move { sender.send(event).await.expect("the test listens") }
    })?;
    for destination in ["agent:bob", "bob", "channel:general", "agent:broadcast"] {
        for ephemeral in [false, true] {
            let mut event = Event::new("task.step")
                .to(destination)
                .payload(json!({"ephemeral": ephemeral}));
            event.ephemeral = ephemeral;
            let response = alice.send_event(event).await;
            assert!(response.success, "{destination}: {response:?}");
            let event = within(SOON, received.recv()).await.expect("an event");
            assert_eq!(
                (event.source_id.as_str(), event.ephemeral),
                ("alice", ephemeral),
                "{destination}"
            );
            assert_eq!(event.sequence.is_none(), ephemeral);
        }
    }
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_message_to_nobody_is_refused_and_one_to_somebody_away_waits() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let alice = workspace.join("alice").await?;
    let refused = alice.workspace().agent("nobody").send("hello?").await;
    assert!(!refused.success);
    assert_eq!(refused.error.expect("a reason").code.as_str(), "agent_not_found");
    assert!(
        alice
            .workspace()
            .agent("nobody")
            .send_and_wait("hello?", SOON)
            .await
            .is_none()
    );

    let bob = workspace.join("bob").await?;
    bob.disconnect().await;
    for unread in 1..=3 {
        let sent = alice.workspace().agent("bob").send("for later").await;
        let recipient = serde_json::to_value(&sent.data.expect("accepted").recipients[0])?;
        assert_eq!(recipient["state"], "away");
        assert_eq!(recipient["unread"], unread);
        assert!(recipient["last_seen"].is_f64());
    }
    let workspace = workspace.restart().await?;
    let bob = AgentClient::new("bob");
    let (sender, mut received) = mpsc::channel(10);
    bob.register_event_handler(["direct.*"], move |event: Event| {
        let sender = sender.clone();
        async move { drop(sender.send(event).await) }
    })?;
    bob.connect_to_server("127.0.0.1", workspace.port()).await?;
    for _ in 0..3 {
        let event = within(SOON, received.recv()).await.expect("a message");
        assert_eq!(event.text(), Some("for later"));
    }
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_fresh_agent_starts_at_the_head_and_hears_no_echo_of_itself() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let alice = workspace.join("alice").await?;
    assert!(
        alice
            .workspace()
            .channel("general")
            .post("before bob")
            .await
            .success
    );
    let bob = AgentClient::new("bob");
    let (sender, mut received) = mpsc::channel(10);
    bob.register_event_handler((), move |event: Event| {
        let sender = sender.clone();
        async move { drop(sender.send(event).await) }
    })?;
    bob.connect_to_server("127.0.0.1", workspace.port()).await?;
    assert!(bob.workspace().channel("general").post("from bob").await.success);
    assert!(
        alice
            .workspace()
            .channel("general")
            .post("after bob")
            .await
            .success
    );
    let first = within(SOON, received.recv()).await.expect("an event");
    assert_eq!(
        first.text(),
        Some("after bob"),
        "neither what was before, nor its own joining, nor its own post"
    );
    let history = bob.workspace().channel("general").get_messages(10).await?;
    let texts: Vec<_> = history.iter().filter_map(|message| message.text()).collect();
    assert_eq!(texts, ["after bob", "from bob", "before bob"]);
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_thousand_missed_events_and_more_are_limited_and_summed_up() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let alice = workspace.join("alice").await?;
    let bob = workspace.join("bob").await?;
    bob.disconnect().await;
    let general = alice.workspace().channel("general");
    assert!(alice.workspace().agent("bob").send("personal").await.success);
    for number in 0..1100 {
        assert!(general.post(format!("{number}").as_str()).await.success);
    }
    let bob = AgentClient::new("bob");
    let (sender, mut received) = mpsc::channel(2000);
    bob.register_event_handler((), move |event: Event| {
        let sender = sender.clone();
        async move { drop(sender.send(event).await) }
    })?;
    bob.connect_to_server("127.0.0.1", workspace.port()).await?;
    let mut names = Vec::new();
    let mut texts = Vec::new();
    while texts.last().map(String::as_str) != Some("1099") {
        let event = within(SOON, received.recv()).await.expect("an event");
        names.push(event.event_name.clone());
        if event.event_name == "system.backlog.skipped" {
            assert_eq!(event.payload["skipped"], 100);
        } else {
            texts.push(event.text().expect("a message").to_owned());
        }
    }
    assert!(names.contains(&"system.backlog.skipped".to_owned()));
    assert_eq!(texts.len(), 1001);
    assert_eq!(texts[0], "personal");
    assert_eq!(texts[1], "100");
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn presence_tells_others_who_comes_and_goes() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let alice = workspace.join("alice").await?;
    let (sender, mut received) = mpsc::channel(10);
    alice.register_event_handler(["agent.*"], move |event: Event| {
        let sender = sender.clone();
        async move { drop(sender.send(event).await) }
    })?;
    let bob = AgentClient::new("bob");
    let metadata = json!({"name": "Bob", "capabilities": ["coding"]});
    bob.connect_to_server("127.0.0.1", workspace.port())
        .metadata(metadata.clone())
        .await?;
    let joined = within(SOON, received.recv()).await.expect("an event");
    assert_eq!(
        (joined.event_name.as_str(), &joined.payload["agent_id"]),
        ("agent.joined", &json!("bob"))
    );
    assert_eq!(joined.payload["metadata"], metadata);
    let agents = alice.list_agents().await?;
    let ids: Vec<&str> = agents.iter().map(|agent| agent.id.as_str()).collect();
    assert_eq!(ids, ["alice", "bob"], "oneself included");
    assert_eq!(agents[1].name.as_deref(), Some("Bob"));
    bob.disconnect().await;
    let left = within(SOON, received.recv()).await.expect("an event");
    assert_eq!(
        (left.event_name.as_str(), &left.payload["reason"]),
        ("agent.left", &json!("disconnected"))
    );
    assert_eq!(alice.workspace().agents().await?, ["alice"]);
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn subscriptions_narrow_what_comes_and_answers_always_pass() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    // First bob, so that alice is not told of his joining.
    let bob = workspace.join("bob").await?;
    let alice = workspace.join("alice").await?;
    let (sender, mut received) = mpsc::channel(10);
    alice.register_event_handler((), move |event: Event| {
        let sender = sender.clone();
        async move { drop(sender.send(event).await) }
    })?;
    let subscription = alice.subscribe_events(&["task.*"], None).await?;
    let task = || {
        Event::new("task.done")
            .to("channel:general")
            .payload(json!({"n": 1}))
    };
    assert!(
        bob.workspace()
            .channel("general")
            .post("not for alice")
            .await
            .success
    );
    assert!(bob.send_event(task()).await.success);
    let event = within(SOON, received.recv()).await.expect("an event");
    assert_eq!(event.event_name, "task.done");

    let asked = alice.workspace().channel("general").post("who?").await;
    let question = asked.message_id().expect("accepted");
    assert!(
        bob.workspace()
            .channel("general")
            .reply(question, "me")
            .await
            .success
    );
    let event = within(SOON, received.recv()).await.expect("an event");
    assert_eq!(event.text(), Some("me"), "an answer to its own message");

    alice.unsubscribe_events(&subscription.subscription_id).await?;
    assert!(
        bob.workspace()
            .channel("general")
            .post("for alice again")
            .await
            .success
    );
    let event = within(SOON, received.recv()).await.expect("an event");
    assert_eq!(event.text(), Some("for alice again"));
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_slow_handler_holds_up_nobody_else() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let (slow, quick, busy) = (
        workspace.join("slow").await?,
        workspace.join("quick").await?,
        workspace.join("busy").await?,
    );
    let (release, gate) = tokio::sync::watch::channel(false);
    let (sender, mut slow_received) = mpsc::channel(5000);
    slow.register_event_handler(["task.*"], move |event: Event| {
        let (mut gate, sender) = (gate.clone(), sender.clone());
        async move {
            gate.wait_for(|open| *open).await.expect("the gate stays");
            sender
                .send(event.payload["n"].as_u64())
                .await
                .expect("the test listens");
        }
    })?;
    let (sender, mut quick_received) = mpsc::channel(5000);
    quick.register_event_handler(["task.*"], move |event: Event| {
        let sender = sender.clone();
        async move {
            sender
                .send(event.payload["n"].as_u64())
                .await
                .expect("the test listens");
        }
    })?;
    for number in 0..EVENTS {
        let event = Event::new("task.step")
            .to("channel:general")
            .payload(json!({"n": number}));
        assert!(busy.send_event(event).await.success);
    }
    for number in 0..EVENTS {
        assert_eq!(within(SOON, quick_received.recv()).await.flatten(), Some(number));
    }
    release.send_replace(true);
    for number in 0..EVENTS {
        assert_eq!(
            within(Duration::from_mins(1), slow_received.recv())
                .await
                .flatten(),
            Some(number)
        );
    }
    workspace.stop().await;
    Ok(())
}
