//! What the workspace tells of itself, and to whom.

use std::time::Duration;

use futures_util::StreamExt;
use openagents_client::{AgentClient, Event};
use openagents_e2e::{SOON, Stage, Workspace, check_event, within};
use serde_json::json;
use tokio::sync::mpsc;

/// The keys of the payload of a system event that agents may follow.
const DOCUMENTED: [(&str, &str); 5] = [
    ("system.network.started", "name network_id"),
    ("system.mod.loaded", "mod_name"),
    ("system.heartbeat", "timestamp"),
    ("system.mod.unloaded", "mod_name"),
    ("system.network.stopped", "network_id reason"),
];

async fn named(events: &mut mpsc::Receiver<Event>, name: &str) -> Event {
    loop {
        let event = within(SOON, events.recv()).await.expect("an event");
        if event.event_name == name {
            return event;
        }
    }
}

#[tokio::test]
async fn who_has_a_handler_for_them_is_told_of_start_heartbeat_and_stop() -> anyhow::Result<()> {
    let workspace = Workspace::serve_with(|config| {
        config.workspace.name = "team".to_owned();
        config.workspace.heartbeat = Duration::from_millis(20);
    })
    .await?;
    let watcher = AgentClient::new("watcher");
    let (sender, mut events) = mpsc::channel(1000);
    watcher.register_event_handler("system.*", move |event: Event| {
        let sender = sender.clone();
        async move { drop(sender.send(event).await) }
    })?;
    watcher.connect_to_server("127.0.0.1", workspace.port()).await?;
    let other = workspace.join("other").await?;
    let mut heard_by_other = other.events();
    for (name, keys) in &DOCUMENTED[..3] {
        let event = named(&mut events, name).await;
        check_event(&event, name, keys);
        assert_eq!((event.source_id.as_str(), event.sequence), ("system", None));
    }
    assert!(other.workspace().channel("general").post("a mark").await.success);
    let posting = watcher.workspace().channel("general").post("for the other").await;
    assert!(posting.success);
    let stopping = workspace.stop();
    let told = async {
        for (name, keys) in &DOCUMENTED[3..] {
            check_event(&named(&mut events, name).await, name, keys);
        }
    };
    tokio::join!(stopping, told);
    let heard = within(SOON, heard_by_other.next()).await.expect("the post");
    assert_eq!(
        heard.text(),
        Some("for the other"),
        "and nothing of the workspace itself"
    );
    Ok(())
}

#[tokio::test]
async fn a_handler_registered_later_follows_from_then_on() -> anyhow::Result<()> {
    let workspace = Workspace::serve_with(|config| config.workspace.name = "team".to_owned()).await?;
    let watcher = workspace.join("watcher").await?;
    let (sender, mut events) = mpsc::channel(1000);
    watcher.register_event_handler(
        ["system.network.started", "system.mod.loaded"],
        move |event: Event| {
            let sender = sender.clone();
            async move { drop(sender.send(event).await) }
        },
    )?;
    let started = named(&mut events, "system.network.started").await;
    assert_eq!(
        started.payload.value(),
        &json!({"network_id": "team", "name": "team"})
    );
    let loaded = named(&mut events, "system.mod.loaded").await;
    assert_eq!(loaded.payload["mod_name"], "openagents.mods.workspace.messaging");
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn direct_messages_are_told_to_observers_with_the_right_and_to_nobody_by_default() -> anyhow::Result<()>
{
    let mut stage = Stage::with(&["alice", "auditor", "bob", "carol"], |config| {
        config.workspace.observers = vec!["auditor".parse().expect("a valid id")];
    })
    .await?;
    let sent = stage.agent("alice").workspace().agent("bob").send("hello").await;
    let heard = stage.heard().await?;
    assert_eq!(heard.keys().collect::<Vec<_>>(), ["auditor", "bob"]);
    let event = &heard["auditor"][0];
    check_event(
        event,
        "direct.message.sent",
        "content message_id sender_id target_agent_id target_id",
    );
    assert_eq!(
        event.payload.value(),
        &json!({"sender_id": "alice", "target_id": "bob", "target_agent_id": "bob",
                "message_id": sent.message_id(), "content": {"text": "hello"}})
    );
    assert!(
        stage
            .agent("alice")
            .workspace()
            .agent("auditor")
            .send("to you")
            .await
            .success
    );
    let event = stage.heard_once_by(&["auditor"]).await?;
    assert_eq!(event.event_name, "direct.message.received", "and not twice");
    stage.end().await;

    let mut unobserved = Stage::of(&["alice", "bob", "carol"]).await?;
    assert!(
        unobserved
            .agent("alice")
            .workspace()
            .agent("bob")
            .send("hello")
            .await
            .success
    );
    unobserved.heard_once_by(&["bob"]).await?;
    unobserved.end().await;
    Ok(())
}

#[tokio::test]
async fn nobody_speaks_for_the_workspace() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob"]).await?;
    for name in [
        "system.heartbeat",
        "system.network.stopped",
        "agent.joined",
        "agent.status.changed",
        "agent.group.changed",
        "channel.created",
        "channel.message.edited",
        "direct.message.deleted",
        "workspace.file.uploaded",
        "workspace.reaction.added",
    ] {
        let event = Event::new(name)
            .to("agent:broadcast")
            .payload(json!({"agent_id": "bob"}));
        let refused = stage
            .agent("alice")
            .send_event(event)
            .await
            .error
            .expect("refused");
        assert_eq!(
            (refused.code.as_str(), refused.field.as_deref()),
            ("reserved_event_name", Some("event_name"))
        );
    }
    stage.silence().await?;
    stage.end().await;
    Ok(())
}
