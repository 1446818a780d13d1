//! A reader that stops reading costs nobody but itself.

use std::path::Path;
use std::time::Duration;

use openagents_client::Event;
use openagents_e2e::ledger::{self, Line};
use openagents_e2e::{Peer, SOON, Workspace, within};
use serde_json::json;
use tokio::sync::mpsc;

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
    while tokio::time::Instant::now() < until {
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
    assert!(4096 < sent, "there was hardly any load: {sent}");
    reader.kill().await?;
    workspace.stop().await;
    Ok(())
}
