//! The loop guard: agents that answer each other for ever are held, told of and released.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;
use openagents_client::{AgentClient, Event};
use openagents_e2e::{SOON, Stage, Workspace, check_event, keys, within};
use openagents_protocol::ErrorCode;
use openagents_protocol::call::{ListHeld, Unblock};
use serde_json::json;
use tokio::sync::mpsc;

use crate::tokens::Tokens;

/// Keys of the notice.
const NOTICE: &str = "destination_id limit message_id root sender_id text";

/// An agent that answers whatever it hears in the same way, and tells when an answer was held.
fn echo(client: &AgentClient, patterns: &[&str]) -> anyhow::Result<(mpsc::Receiver<String>, Arc<AtomicU64>)> {
    let (sender, held) = mpsc::channel(100);
    let sent = Arc::new(AtomicU64::new(0));
    let (echoing, counter) = (client.downgrade(), Arc::clone(&sent));
    client.register_event_handler(patterns, move |event: Event| {
        let (echoing, sender, counter) = (echoing.clone(), sender.clone(), Arc::clone(&counter));
        async move {
            let Some(client) = echoing.upgrade() else { return };
            let workspace = client.workspace();
            let answer = match event.event_name.as_str() {
                "direct.message.received" => workspace.agent(&event.source_id).send("echo").await,
                "agent.message" => {
                    client
                        .send_agent_message(&event.source_id, json!({"text": "echo"}))
                        .await
                }
                "channel.message.replied" => {
                    workspace.channel("general").reply(&event.event_id, "echo").await
                }
                _ => workspace.channel("general").post("echo").await,
            };
            counter.fetch_add(1, Ordering::SeqCst);
            let receipt = answer.data.expect("accepted");
            if receipt.held {
                sender
                    .send(receipt.message_id.to_string())
                    .await
                    .expect("the test listens");
            }
        }
    })?;
    Ok((held, sent))
}

async fn held_of(one: &mut mpsc::Receiver<String>, other: &mut mpsc::Receiver<String>) -> String {
    within(SOON, async {
        tokio::select! {
            id = one.recv() => id,
            id = other.recv() => id,
        }
    })
    .await
    .expect("one of them is held")
}

#[tokio::test]
async fn two_echoing_agents_are_held_within_fifty_exchanges_however_they_talk() -> anyhow::Result<()> {
    for way in [
        "direct.message.received",
        "agent.message",
        "channel.message.posted",
        "channel.message.replied",
    ] {
        let mut stage = Stage::of(&["watcher"]).await?;
        let (first, second) = (
            stage.workspace().join("ping").await?,
            stage.workspace().join("pong").await?,
        );
        let (mut first_held, first_sent) = echo(&first, &[way])?;
        let (mut second_held, second_sent) = echo(&second, &[way])?;
        stage.heard().await?;
        let begun = match way {
            "direct.message.received" => first.workspace().agent("pong").send("begin").await,
            "agent.message" => first.send_agent_message("pong", json!({"text": "begin"})).await,
            "channel.message.posted" => first.workspace().channel("general").post("begin").await,
            _ => {
                let root = first.workspace().channel("general").post("begin").await;
                first
                    .workspace()
                    .channel("general")
                    .reply(root.message_id().expect("accepted"), "begin")
                    .await
            }
        };
        assert!(begun.success);
        let id = held_of(&mut first_held, &mut second_held).await;
        let sent = first_sent.load(Ordering::SeqCst) + second_sent.load(Ordering::SeqCst);
        assert!(sent < 100, "{way}: {sent} messages");
        let listed = stage.agent("watcher").call(ListHeld {}).await?.held;
        assert_eq!(
            (
                listed.len(),
                listed[0].message_id.as_str(),
                listed[0].limit.as_str()
            ),
            (1, &*id, "hops"),
            "{way}"
        );

        // The channel is told once; what two say to each other is told to these two.
        let heard = stage.heard().await?;
        let notices: Vec<_> = heard
            .get("watcher")
            .into_iter()
            .flatten()
            .filter(|event| event.event_name == "system.loop.held")
            .collect();
        let public = way.starts_with("channel.");
        assert_eq!(notices.len(), usize::from(public), "{way}");
        for notice in notices {
            check_event(notice, "system.loop.held", NOTICE);
            assert_eq!(notice.payload["message_id"], id);
        }
        stage.end().await;
    }
    Ok(())
}

#[tokio::test]
async fn a_held_message_is_told_to_its_sender_and_to_nobody_else_until_it_is_released() -> anyhow::Result<()>
{
    let tokens = Tokens::serve().await?;
    let (first, second) = (
        tokens.join("ping", "member").await?,
        tokens.join("pong", "member").await?,
    );
    let judge = tokens.join("judge", "moderator").await?;
    let (mut first_held, _) = echo(&first, &["direct.message.received"])?;
    let (mut second_held, _) = echo(&second, &["direct.message.received"])?;
    let mut notices = [first.events(), second.events()];
    assert!(first.workspace().agent("pong").send("begin").await.success);
    let id = held_of(&mut first_held, &mut second_held).await;
    for notices in &mut notices {
        let told = within(SOON, async {
            loop {
                let event = notices.next().await.expect("an event");
                assert_ne!(event.event_id, id, "it is not delivered");
                if event.event_name == "system.loop.held" {
                    break event;
                }
            }
        });
        check_event(&told.await, "system.loop.held", NOTICE);
    }
    let refused = first.call(Unblock::default()).await.expect_err("members do not");
    assert_eq!(refused.code(), "forbidden");
    assert_eq!(
        first.call(ListHeld {}).await.expect_err("members do not").code(),
        "forbidden"
    );
    let listed = judge.call(ListHeld {}).await?.held.remove(0);
    assert_eq!(
        keys(&serde_json::to_value(&listed)?).replace("content ", ""),
        "destination_id limit message_id sender_id sequence timestamp"
    );
    let unknown = Unblock {
        message_id: Some("no-such-message".parse()?),
    };
    assert_eq!(
        judge.call(unknown).await.expect_err("it is not held").code(),
        "message_not_found"
    );

    // Released, it comes under the id that its sender was told, and the two go on until they are held again.
    let unblock = Unblock {
        message_id: Some(id.parse()?),
    };
    assert_eq!(judge.call(unblock.clone()).await?.released, 1);
    let addressee = usize::from(listed.sender_id == "ping");
    let released = within(SOON, async {
        loop {
            let event = notices[addressee].next().await.expect("an event");
            if event.event_id == id {
                break event;
            }
        }
    })
    .await;
    check_event(
        &released,
        "direct.message.received",
        "content message_id sender_id text",
    );
    let again = held_of(&mut first_held, &mut second_held).await;
    assert_ne!(again, id);
    assert_eq!(
        judge.call(unblock).await.expect_err("not held any more").code(),
        "message_not_found"
    );
    assert_eq!(judge.call(Unblock::default()).await?.released, 1);
    tokens.workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn held_messages_over_rest_and_after_a_restart() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    workspace.join("pong").await?.disconnect().await;
    let mut cause = None;
    let mut ids = Vec::new();
    for number in 0..43 {
        let mut event = json!({"event_name": "direct.message.received", "destination_id": "agent:pong",
                               "event_id": format!("m-{number}"), "payload": {"content": "again"}});
        event["caused_by"] = json!(cause);
        let answer = workspace
            .request("POST", "events", "ping")
            .json(&event)
            .send()
            .await?
            .ok()?;
        if answer["data"]["held"] == true {
            ids.push(format!("m-{number}"));
        }
        cause = Some(format!("m-{number}"));
    }
    assert_eq!(
        ids,
        ["m-41", "m-42"],
        "after forty that were caused by the one before"
    );
    let workspace = workspace.restart().await?;
    let listed = workspace.get("held", "judge").await?.ok()?;
    let listed: Vec<_> = listed["held"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|held| held["message_id"].clone())
        .collect();
    assert_eq!(listed, ids, "oldest first");
    let release = |body: serde_json::Value| {
        workspace
            .request("POST", "held/release", "judge")
            .json(&body)
            .send()
    };
    assert_eq!(release(json!({"message_id": "m-42"})).await?.ok()?["released"], 1);
    let refused = release(json!({"message_id": "m-42"})).await?.refusal()?;
    assert_eq!(
        refused,
        (404, ErrorCode::MessageNotFound, Some("message_id".into()))
    );
    assert_eq!(release(json!({})).await?.ok()?["released"], 1);
    assert_eq!(workspace.get("held", "judge").await?.ok()?["held"], json!([]));
    let messages = workspace
        .get("agents/ping/messages?limit=2", "pong")
        .await?
        .ok()?;
    let newest: Vec<_> = messages["messages"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|message| message["id"].clone())
        .collect();
    assert_eq!(newest, ["m-41", "m-42"], "in the order of their release");
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn without_a_guard_nothing_is_held() -> anyhow::Result<()> {
    let workspace = Workspace::serve_with(|config| config.workspace.loop_guard = None).await?;
    let (first, second) = (workspace.join("ping").await?, workspace.join("pong").await?);
    let (mut first_held, first_sent) = echo(&first, &["direct.*"])?;
    let (_second_held, _) = echo(&second, &["direct.*"])?;
    assert!(first.workspace().agent("pong").send("begin").await.success);
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(1));
    within(SOON, async {
        while first_sent.load(Ordering::SeqCst) < 200 {
            ticks.tick().await;
        }
    })
    .await;
    assert!(first_held.try_recv().is_err());
    first.disconnect().await;
    workspace.stop().await;
    Ok(())
}
