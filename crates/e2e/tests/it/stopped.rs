//! Processes are stopped and go on later: a reader that does costs nobody but itself, and nobody loses anything.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use openagents_client::{AgentClient, Event};
use openagents_e2e::ledger::{self, Line};
use openagents_e2e::{Peer, SOON, Workspace, within};
use serde_json::json;
use tokio::sync::mpsc;

use crate::load::{LIMIT, Scene};

/// How long the reader is stopped: twice the time after which the server gives up on a silent one.
const STOPPED: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_reader_stopped_for_a_minute_under_load_gets_everything_in_order() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("ledger");
    let port = workspace.port().to_string();
    let arguments = ["receive", &port, "receiver", path.to_str().expect("a plain name")];
    let (reader, _) = within(
        SOON,
        Peer::start(Path::new(env!("CARGO_BIN_EXE_peer")), &arguments),
    )
    .await?;

    let other = workspace.join("other").await?;
    let (told, mut heard) = mpsc::channel(16);
    other.register_event_handler(["task.*"], move |event: Event| {
        let told = told.clone();
        async move {
            told.send(event.payload["n"].as_u64())
                .await
                .expect("the test listens");
        }
    })?;
    let sender = workspace.join("sender").await?;
    reader.signal("STOP").await?;
    let until = tokio::time::Instant::now() + STOPPED;
    let mut sent = 0;
    // As many as do not fit in any queue, however long that takes.
    while tokio::time::Instant::now() < until || sent <= 4096 {
        // The reader gets the message; another agent gets the event at once, all the time.
        let mut message = Event::new("direct.message.received").to("agent:receiver");
        message.event_id = format!("sender-{sent}");
        message.payload = json!({"content": {"text": "x".repeat(200)}}).into();
        assert!(within(SOON, sender.send_event(message)).await.success);
        let step = Event::new("task.step")
            .to("agent:other")
            .payload(json!({"n": sent}));
        assert!(within(SOON, sender.send_event(step)).await.success);
        assert_eq!(within(SOON, heard.recv()).await.flatten(), Some(sent));
        sent += 1;
    }
    reader.signal("CONT").await?;
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    let last = format!("handled sender-{} ", sent - 1);
    within(Duration::from_mins(2), async {
        while !std::fs::read_to_string(&path).is_ok_and(|text| text.contains(&last)) {
            ticks.tick().await;
        }
    })
    .await;
    let handled = ledger::read(&path)?;
    let ids = handled.iter().filter_map(|line| match line {
        Line::Handled(id, _) => Some(id.clone()),
        _ => None,
    });
    let expected = (0..sent).map(|number| format!("sender-{number}"));
    assert!(ids.eq(expected), "{} of {sent}", handled.len());
    reader.kill().await?;
    workspace.stop().await;
    Ok(())
}

/// Events that have to be acknowledged to call it load.
const SOME: usize = 1_000;

/// Joins a workspace of processes.
async fn watch(scene: &Scene) -> anyhow::Result<AgentClient> {
    let watcher = AgentClient::new("watcher");
    let connect = watcher.connect_to_server("127.0.0.1", scene.port.parse()?);
    within(SOON, connect.into_future()).await?;
    Ok(watcher)
}

#[tokio::test]
async fn a_server_stopped_for_longer_than_clients_wait_loses_and_doubles_nothing() -> anyhow::Result<()> {
    let mut scene = Scene::begin("fsync").await?;
    scene.wait_for_acknowledged(SOME).await?;
    // Whoever came last gives up last.
    let watcher = watch(&scene).await?;
    let server = scene.server.as_ref().context("it runs")?;
    server.signal("STOP").await?;
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    within(LIMIT, async {
        while watcher.is_connected() {
            ticks.tick().await;
        }
    })
    .await;
    let in_flight = scene.in_flight()?;
    server.signal("CONT").await?;
    scene.wait_for_acknowledged(SOME).await?;
    // The watcher comes back as well, by itself.
    within(LIMIT, async {
        while !watcher.is_connected() {
            ticks.tick().await;
        }
    })
    .await;
    hold(&scene.end().await?);
    assert!(0 < in_flight, "nothing was on its way when the server stopped");
    Ok(())
}

/// Every promise.
fn hold(broken: &[String]) {
    let some = &broken[..broken.len().min(20)];
    assert!(broken.is_empty(), "{} broken: {some:#?}", broken.len());
}

#[tokio::test]
async fn clients_stopped_until_the_server_gave_them_up_come_back_and_lose_and_double_nothing()
-> anyhow::Result<()> {
    let mut scene = Scene::begin("fsync").await?;
    scene.wait_for_acknowledged(SOME).await?;
    let watcher = watch(&scene).await?;
    let clients = [&scene.sender, &scene.receiver].map(|client| client.as_ref().expect("it runs"));
    for client in clients {
        client.signal("STOP").await?;
    }
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    within(LIMIT, async {
        while 1 < watcher.list_agents().await?.len() {
            ticks.tick().await;
        }
        anyhow::Ok(())
    })
    .await?;
    for client in clients {
        client.signal("CONT").await?;
    }
    scene.wait_for_acknowledged(SOME).await?;
    hold(&scene.end().await?);
    Ok(())
}
