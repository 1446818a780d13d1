//! Explanations: why an agent got an event, or did not.

use openagents_client::{AgentClient, CallError};
use openagents_e2e::{SOON, Stage, keys};
use openagents_protocol::call::{Explain, Explanation};
use openagents_protocol::{ErrorCode, Event, Visibility};
use serde_json::json;

use crate::tokens::Tokens;

async fn explain(asker: &AgentClient, event_id: &str, agent_id: &str) -> Result<Explanation, CallError> {
    let params = Explain {
        event_id: event_id.parse().expect("a valid id"),
        agent_id: agent_id.to_owned(),
    };
    asker.call(params).await
}

/// The verdict, and the first thing that speaks against it.
async fn why(
    asker: &AgentClient,
    event_id: &str,
    agent_id: &str,
) -> anyhow::Result<(String, Option<String>)> {
    let told = explain(asker, event_id, agent_id).await?;
    let against = told.checks.iter().find(|check| !check.passed);
    Ok((told.verdict, against.map(|check| check.name.clone())))
}

#[tokio::test]
async fn every_reason_is_told() -> anyhow::Result<()> {
    let stage = Stage::of(&["alice", "carol"]).await?;
    let alice = stage.agent("alice");
    let general = alice.workspace().channel("general");
    let early = general
        .post("before bob")
        .await
        .message_id()
        .expect("accepted")
        .to_owned();
    let bob = stage.workspace().join("bob").await?;
    let check = async |event_id: &str, agent: &str, against: Option<&str>, words: &str| {
        let (verdict, found) = why(&alice, event_id, agent).await?;
        assert_eq!(found.as_deref(), against, "{verdict}");
        assert!(verdict.contains(words), "{verdict}");
        anyhow::Ok(())
    };
    check(
        &early,
        "bob",
        Some("membership"),
        "not a member of general at sequence",
    )
    .await?;
    check(&early, "alice", Some("echo"), "wrote it itself").await?;
    check(&early, "nobody", Some("agent"), "no agent nobody was ever here").await?;
    check("no-such-event", "bob", Some("stored"), "never accepted").await?;
    let id = general
        .post("hello")
        .await
        .message_id()
        .expect("accepted")
        .to_owned();
    check(&id, "bob", None, "has not acknowledged it yet").await?;
    let read = bob
        .wait_event(|event| event.text() == Some("hello"), SOON)
        .await
        .expect("it arrives");
    assert_eq!(read.event_id, id);
    bob.disconnect().await;
    check(&id, "bob", None, "bob got it").await?;
    let later = general
        .post("while you were away")
        .await
        .message_id()
        .expect("accepted")
        .to_owned();
    check(&later, "bob", None, "gets it when it comes back").await?;
    let direct = alice
        .workspace()
        .agent("bob")
        .send("psst")
        .await
        .message_id()
        .expect("accepted")
        .to_owned();
    check(&direct, "carol", Some("destination"), "it goes to agent:bob").await?;
    let mut restricted = Event::new("task.assigned")
        .to("channel:general")
        .payload(json!({}));
    restricted.visibility = Visibility::Restricted;
    restricted.allowed_agents = Some(vec!["bob".to_owned()]);
    let sent = alice
        .send_event(restricted)
        .await
        .message_id()
        .expect("accepted")
        .to_owned();
    check(&sent, "carol", Some("visibility"), "its visibility is restricted").await?;

    let carol = stage.agent("carol");
    carol.workspace().channel("general").leave().await?;
    check(
        &later,
        "carol",
        Some("entitlement"),
        "not a member of general now",
    )
    .await?;
    carol.workspace().channel("general").join().await?;
    carol.subscribe_events(&["task.*"], None).await?;
    let unwanted = general
        .post("not a task")
        .await
        .message_id()
        .expect("accepted")
        .to_owned();
    check(
        &unwanted,
        "carol",
        Some("subscription"),
        "none of its 1 subscriptions",
    )
    .await?;
    assert!(general.delete_message(&unwanted).await.success);
    let told = explain(&alice, &unwanted, "carol").await?;
    assert!(told.checks[0].detail.contains("was deleted"), "{told:?}");
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn who_it_does_not_concern_learns_nothing() -> anyhow::Result<()> {
    let tokens = Tokens::serve().await?;
    let (alice, bob) = (
        tokens.join("alice", "member").await?,
        tokens.join("bob", "member").await?,
    );
    let (carol, judge) = (
        tokens.join("carol", "member").await?,
        tokens.join("judge", "moderator").await?,
    );
    let direct = alice
        .workspace()
        .agent("bob")
        .send("psst")
        .await
        .message_id()
        .expect("accepted")
        .to_owned();
    assert!(explain(&alice, &direct, "bob").await.is_ok(), "its author");
    assert!(explain(&bob, &direct, "bob").await.is_ok(), "the agent itself");
    assert!(explain(&judge, &direct, "bob").await.is_ok(), "moderators");
    assert_eq!(
        explain(&carol, &direct, "bob")
            .await
            .expect_err("not carol")
            .code(),
        "forbidden"
    );
    let own = explain(&carol, &direct, "carol").await?;
    let none = explain(&carol, "no-such-event", "carol").await?;
    assert_eq!((own.checks.len(), own.checks[0].passed), (1, false));
    assert!(!format!("{own:?}").contains("bob"), "{own:?}");
    assert_eq!(none.checks.len(), 1);
    tokens.workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn explanations_over_rest() -> anyhow::Result<()> {
    let stage = Stage::of(&["bob"]).await?;
    let workspace = stage.workspace();
    let post = json!({"content": "hello", "event_id": "m"});
    workspace
        .request("POST", "channels/general/messages", "alice")
        .json(&post)
        .send()
        .await?
        .ok()?;
    let told = workspace
        .get("explain?event_id=m&agent_id=bob", "alice")
        .await?
        .ok()?;
    assert_eq!(keys(&told), "checks verdict");
    assert_eq!(keys(&told["checks"][0]), "detail name passed");
    let names: Vec<_> = told["checks"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|check| check["name"].clone())
        .collect();
    assert_eq!(
        names,
        [
            "stored",
            "agent",
            "destination",
            "visibility",
            "membership",
            "entitlement",
            "subscription"
        ]
    );
    for (query, field) in [
        ("agent_id=bob", "event_id"),
        ("event_id=m", "agent_id"),
        ("event_id=m&agent_id=", "agent_id"),
    ] {
        let refused = workspace
            .get(&format!("explain?{query}"), "alice")
            .await?
            .refusal()?;
        assert_eq!((refused.0, refused.2.as_deref()), (400, Some(field)), "{query}");
        assert!(matches!(
            refused.1,
            ErrorCode::InvalidField | ErrorCode::InvalidName
        ));
    }
    stage.end().await;
    Ok(())
}
