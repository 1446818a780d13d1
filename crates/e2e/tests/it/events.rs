//! Events of an agent's own, who may see them, and selecting them by name.

use futures_util::StreamExt;
use openagents_client::{AgentClient, Event, Visibility};
use openagents_e2e::{SOON, Stage, check_event, within};
use serde_json::json;
use tokio::sync::mpsc;

#[tokio::test]
async fn every_field_of_an_event_arrives_as_it_was_sent() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob", "carol"]).await?;
    let alice = stage.agent("alice");
    let payload = json!({"task": "data processing", "big": 12_345_678_901_234_567_890_u64, "deep": {"a": [null, 1.5, "é"]}});
    let mut event = Event::new("custom.task.completed")
        .to("agent:bob")
        .payload(payload.clone())
        .metadata(json!({"in_reply_to": "x"}));
    event.source_id = "agent:mallory".to_owned();
    event.requires_response = true;
    event.thread_name = Some("Tasks".to_owned());
    event.text_representation = Some("It is done.".to_owned());
    event.relevant_mod = Some("openagents.mods.workspace.messaging".to_owned());
    event.visibility = Visibility::Direct;
    let sent = alice.send_event(event.clone()).await;
    let id = sent.message_id().expect("accepted").to_owned();
    let told = stage.heard_once_by(&["bob"]).await?;
    check_event(&told, "custom.task.completed", "big deep task");
    assert_eq!(told.payload, payload.into());
    assert_eq!(
        (told.source_id.as_str(), &told.event_id),
        ("alice", &id),
        "who sent it is known by the session"
    );
    assert_eq!(told.metadata, event.metadata);
    assert_eq!(
        (told.requires_response, told.visibility),
        (true, Visibility::Direct)
    );
    assert_eq!(told.sequence, sent.data.and_then(|receipt| receipt.sequence));
    assert!(1_700_000_000.0 < told.timestamp());
    assert_eq!(
        (told.thread_name, told.text_representation, told.relevant_mod),
        (event.thread_name, event.text_representation, event.relevant_mod)
    );

    let answer = Event::new("custom.task.seen")
        .to("agent:alice")
        .in_response_to(&id);
    assert!(stage.agent("bob").send_event(answer).await.success);
    let told = stage.heard_once_by(&["alice"]).await?;
    assert_eq!(told.response_to, Some(id));
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn visibility_narrows_what_the_destination_says() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob", "carol"]).await?;
    let alice = stage.agent("alice");
    for destination in ["channel:general", "agent:broadcast"] {
        let event = |visibility: Visibility| {
            let mut event = Event::new("report.done").to(destination);
            event.visibility = visibility;
            event.allowed_agents = Some(vec!["agent:carol".to_owned()]);
            event
        };
        let sent = alice.send_event(event(Visibility::Restricted)).await;
        let counts = sent.data.expect("accepted").counts.expect("counted");
        assert_eq!((counts.members, counts.live), (1, 1));
        stage.heard_once_by(&["carol"]).await?;
        for open in [Visibility::Public, Visibility::Network, Visibility::Channel] {
            assert!(alice.send_event(event(open)).await.success);
            stage.heard_once_by(&["bob", "carol"]).await?;
        }
        assert!(alice.send_event(event(Visibility::ModOnly)).await.success);
        stage.silence().await?;
    }
    let mut contradiction = Event::new("report.done").to("agent:bob");
    contradiction.visibility = Visibility::Restricted;
    let refused = alice.send_event(contradiction).await.error.expect("refused");
    assert_eq!(
        (refused.code.as_str(), refused.field.as_deref()),
        ("invalid_field", Some("visibility"))
    );
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn what_is_said_of_a_restricted_message_is_for_the_same_agents() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob", "carol"]).await?;
    let general = |agent: &str| stage.agent(agent).workspace().channel("general");
    let (alice, bob, carol) = (general("alice"), general("bob"), general("carol"));
    let mut secret = alice.post("for bob").into_event();
    secret.visibility = Visibility::Restricted;
    secret.allowed_agents = Some(vec!["bob".to_owned()]);
    let id = stage
        .agent("alice")
        .send_event(secret)
        .await
        .message_id()
        .expect("accepted")
        .to_owned();
    stage.heard_once_by(&["bob"]).await?;
    assert!(bob.react(&id, "ok").await.success);
    assert_eq!(
        stage.heard_once_by(&["alice"]).await?.event_name,
        "workspace.reaction.added"
    );
    assert!(alice.edit(&id, "still for bob").await.success);
    assert_eq!(
        stage.heard_once_by(&["bob"]).await?.event_name,
        "channel.message.edited"
    );
    for refused in [carol.react(&id, "eyes").await, carol.reply(&id, "what?").await] {
        assert_eq!(
            refused.error.expect("not for carol").code.as_str(),
            "message_not_found"
        );
    }
    assert!(carol.get_messages(10).await?.is_empty());
    assert!(alice.delete_message(&id).await.success);
    assert_eq!(
        stage.heard_once_by(&["bob"]).await?.event_name,
        "channel.message.deleted"
    );
    stage.end().await;
    Ok(())
}

fn listen(
    client: &AgentClient,
    patterns: &[&str],
) -> anyhow::Result<(openagents_client::HandlerHandle, mpsc::Receiver<String>)> {
    let (sender, names) = mpsc::channel(100);
    let handle = client
        .workspace()
        .subscribe_to_events(patterns, move |event: Event| {
            let sender = sender.clone();
            async move { drop(sender.send(event.event_name).await) }
        })?;
    Ok((handle, names))
}

async fn next(names: &mut mpsc::Receiver<String>) -> String {
    within(SOON, names.recv()).await.expect("an event")
}

#[tokio::test]
async fn handlers_select_by_pattern_with_the_prefix_of_the_page_or_without() -> anyhow::Result<()> {
    let stage = Stage::of(&["alice", "bob"]).await?;
    let (alice, bob) = (stage.agent("alice"), stage.agent("bob"));
    let (handle, mut of_channels) = listen(&bob, &["workspace.channel.*"])?;
    let (_, mut direct) = listen(&bob, &["workspace.direct.*", "workspace.reaction.*"])?;
    let (_, mut exact) = listen(&bob, &["report.done"])?;
    let (_, mut ends) = listen(&bob, &["*.done", "report.*"])?;
    let general = alice.workspace().channel("general");
    let id = general
        .post("hello")
        .await
        .message_id()
        .expect("accepted")
        .to_owned();
    assert_eq!(next(&mut of_channels).await, "channel.message.posted");
    assert!(alice.workspace().agent("bob").send("hello").await.success);
    assert_eq!(next(&mut direct).await, "direct.message.received");
    assert!(general.react(&id, "ok").await.success);
    assert_eq!(next(&mut direct).await, "workspace.reaction.added");
    for name in ["report.done_twice", "task.done", "report.done"] {
        assert!(
            alice
                .send_event(Event::new(name).to("channel:general"))
                .await
                .success
        );
    }
    assert_eq!(next(&mut exact).await, "report.done");
    let seen = [
        next(&mut ends).await,
        next(&mut ends).await,
        next(&mut ends).await,
    ];
    assert_eq!(
        seen,
        ["report.done_twice", "task.done", "report.done"],
        "each once, however many patterns match"
    );
    assert!(handle.unregister() && !handle.unregister());
    assert!(general.post("unheard").await.success);
    assert!(
        alice
            .send_event(Event::new("report.done").to("channel:general"))
            .await
            .success
    );
    assert_eq!(next(&mut exact).await, "report.done");
    assert!(of_channels.try_recv().is_err());
    assert!(bob.register_event_handler("", |_: Event| async {}).is_err());
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn a_subscription_is_kept_with_the_agent_and_may_name_channels() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob"]).await?;
    let (alice, bob) = (stage.agent("alice"), stage.agent("bob"));
    alice.workspace().create_channel("dev", "").await?;
    stage.heard().await?;
    let post = async |channel: &str, text: &str| {
        assert!(alice.workspace().channel(channel).post(text).await.success);
    };
    let fences = bob.subscribe_events(&["stage.fence"], None).await?;
    let subscription = bob
        .subscribe_events(&["channel.message.*"], Some(&["#dev"]))
        .await?;
    post("general", "not wanted").await;
    post("dev", "wanted").await;
    assert_eq!(stage.heard_once_by(&["bob"]).await?.text(), Some("wanted"));
    bob.disconnect().await;
    post("general", "not wanted").await;
    post("dev", "wanted later").await;
    let again = stage.enter("bob").await?;
    let heard = stage.heard().await?.remove("bob").expect("a backlog");
    let texts: Vec<_> = heard.iter().filter_map(Event::text).collect();
    assert_eq!(texts, ["wanted later"]);
    for ended in [&subscription, &fences] {
        again.unsubscribe_events(&ended.subscription_id).await?;
    }
    let unknown = again.unsubscribe_events(&subscription.subscription_id).await;
    assert_eq!(unknown.expect_err("ended").code(), "subscription_not_found");
    post("general", "wanted again").await;
    assert_eq!(stage.heard().await?["bob"][0].text(), Some("wanted again"));
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn a_stream_has_everything_in_the_order_of_the_log() -> anyhow::Result<()> {
    let stage = Stage::of(&["alice", "bob"]).await?;
    let mut events = stage.agent("bob").events();
    for number in 0..100 {
        let name = if number % 2 == 0 {
            "number.even"
        } else {
            "number.odd"
        };
        let event = Event::new(name)
            .to("channel:general")
            .payload(json!({"n": number}));
        assert!(stage.agent("alice").send_event(event).await.success);
    }
    for number in 0..100 {
        let event = within(SOON, events.next()).await.expect("an event");
        assert_eq!(event.payload["n"], number);
    }
    stage.end().await;
    Ok(())
}
