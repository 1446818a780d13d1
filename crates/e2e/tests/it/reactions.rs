//! Reactions: added and removed once, counted with who.

use openagents_client::{AgentClient, ReactAction};
use openagents_e2e::{Stage, check_event};
use serde_json::json;

async fn reactions_of(client: &AgentClient, id: &str) -> anyhow::Result<String> {
    let message = client.workspace().get_message(id).await?;
    let shown = message
        .reactions
        .iter()
        .map(|one| format!("{} {} {}", one.reaction, one.count, one.agents.join("+")));
    Ok(shown.collect::<Vec<_>>().join(", "))
}

#[tokio::test]
async fn reactions_are_told_once_and_counted_with_who() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob", "carol"]).await?;
    let general = |agent: &str| stage.agent(agent).workspace().channel("general");
    let (alice, bob, carol) = (general("alice"), general("bob"), general("carol"));
    let id = alice
        .post("lunch?")
        .await
        .message_id()
        .expect("accepted")
        .to_owned();
    stage.heard().await?;

    let reacted = bob.react(&id, "thumbsup").await;
    assert!(reacted.success && reacted.data.expect("a receipt").sequence.is_some());
    let event = stage.heard_once_by(&["alice", "carol"]).await?;
    check_event(
        &event,
        "workspace.reaction.added",
        "agent_id channel message_id reaction",
    );
    assert_eq!(
        event.payload.value(),
        &json!({"channel": "general", "message_id": id, "reaction": "thumbsup", "agent_id": "bob"})
    );
    assert_ne!(event.event_id, id);
    let again = bob.react(&id, ":thumbsup:").await;
    assert!(
        again.success && again.data.expect("a receipt").sequence.is_none(),
        "it is there already"
    );
    stage.silence().await?;
    for reaction in ["🎉", "👩‍💻", "ну-да", "+1"] {
        assert!(carol.react(&id, reaction).await.success, "{reaction}");
    }
    assert!(carol.react(&id, "thumbsup").await.success);
    stage.heard().await?;
    assert_eq!(
        reactions_of(&stage.agent("alice"), &id).await?,
        "thumbsup 2 bob+carol, 🎉 1 carol, 👩‍💻 1 carol, ну-да 1 carol, +1 1 carol"
    );

    assert!(
        bob.react_to_message(&id, "thumbsup", ReactAction::Remove)
            .await
            .success
    );
    let event = stage.heard_once_by(&["alice", "carol"]).await?;
    check_event(
        &event,
        "workspace.reaction.removed",
        "agent_id channel message_id reaction",
    );
    assert!(
        bob.react_to_message(&id, "thumbsup", ReactAction::Remove)
            .await
            .success
    );
    assert!(
        bob.react_to_message(&id, "never", ReactAction::Remove)
            .await
            .success
    );
    stage.silence().await?;
    assert!(
        reactions_of(&stage.agent("alice"), &id)
            .await?
            .ends_with(", thumbsup 1 carol")
    );
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn reactions_to_a_direct_message_go_to_the_other_side_only() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob", "carol"]).await?;
    let sent = stage.agent("alice").workspace().agent("bob").send("hello").await;
    let id = sent.message_id().expect("accepted").to_owned();
    stage.heard().await?;
    let in_no_channel = |agent: &str| stage.agent(agent).workspace().channel("general");
    let (alice, bob, carol) = (
        in_no_channel("alice"),
        in_no_channel("bob"),
        in_no_channel("carol"),
    );
    assert!(bob.react(&id, "wave").await.success);
    let event = stage.heard_once_by(&["alice"]).await?;
    check_event(&event, "workspace.reaction.added", "agent_id message_id reaction");
    assert!(alice.react(&id, "smile").await.success);
    assert_eq!(stage.heard_once_by(&["bob"]).await?.payload["reaction"], "smile");
    let refused = carol.react(&id, "eyes").await.error.expect("refused");
    assert_eq!(
        (refused.code.as_str(), refused.field.as_deref()),
        ("message_not_found", Some("message_id"))
    );
    stage.silence().await?;
    let conversation = stage
        .agent("bob")
        .workspace()
        .agent("alice")
        .get_messages(1)
        .await?;
    assert_eq!(conversation[0].reactions.len(), 2);
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn what_is_no_reaction_is_refused_and_there_are_so_many_of_each_agent() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob"]).await?;
    let general = stage.agent("bob").workspace().channel("general");
    let id = general
        .post("hm")
        .await
        .message_id()
        .expect("accepted")
        .to_owned();
    stage.heard().await?;
    for wrong in ["", "two words", "a\nb", &"x".repeat(65)] {
        let refused = general.react(&id, wrong).await.error.expect("refused");
        assert_eq!(
            (refused.code.as_str(), refused.field.as_deref()),
            ("invalid_field", Some("reaction")),
            "{wrong:?}"
        );
    }
    let refused = general.react("no such id", "ok").await.error.expect("refused");
    assert_eq!(
        (refused.code.as_str(), refused.field.as_deref()),
        ("message_not_found", Some("message_id"))
    );
    stage.silence().await?;
    for number in 0..20 {
        assert!(general.react(&id, &format!("r{number}")).await.success);
    }
    let refused = general.react(&id, "one-more").await.error.expect("refused");
    assert_eq!(
        (refused.code.as_str(), refused.field.as_deref()),
        ("limit_reached", Some("reaction"))
    );
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn reactions_over_rest() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["bob"]).await?;
    let workspace = stage.workspace();
    let rest = |method, path: &str| workspace.request(method, path, "alice");
    let post = json!({"content": "lunch?", "event_id": "m"});
    rest("POST", "channels/general/messages")
        .json(&post)
        .send()
        .await?
        .ok()?;
    rest("PUT", "messages/m/reactions/%F0%9F%8E%89")
        .send()
        .await?
        .ok()?;
    rest("PUT", "messages/m/reactions/%F0%9F%8E%89")
        .send()
        .await?
        .ok()?;
    let told = rest("GET", "messages/m").send().await?.ok()?;
    assert_eq!(
        told["reactions"],
        json!([{"reaction": "🎉", "count": 1, "agents": ["alice"]}])
    );
    rest("DELETE", "messages/m/reactions/%F0%9F%8E%89")
        .send()
        .await?
        .ok()?;
    assert_eq!(
        rest("GET", "messages/m").send().await?.ok()?["reactions"],
        json!([])
    );
    let refused = rest("PUT", "messages/m/reactions/a%20b")
        .send()
        .await?
        .refusal()?;
    assert_eq!(
        refused,
        (
            400,
            openagents_protocol::ErrorCode::InvalidField,
            Some("reaction".into())
        )
    );
    let names: Vec<String> = stage.heard().await?["bob"]
        .iter()
        .map(|event| event.event_name.clone())
        .collect();
    assert_eq!(
        names,
        [
            "channel.message.posted",
            "workspace.reaction.added",
            "workspace.reaction.removed"
        ]
    );
    stage.end().await;
    Ok(())
}
