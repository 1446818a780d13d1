//! Processes die; nothing acknowledged is lost, and no life handles anything twice.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use openagents_client::AgentClient;
use openagents_e2e::{Dice, Disk, Peer, ledger, within};

use crate::load::{LIMIT, PEER, Scene, text};

#[tokio::test]
async fn fifty_kills_lose_nothing_that_was_acknowledged_and_double_nothing() -> anyhow::Result<()> {
    const ROUNDS: u32 = 50;
    let mut dice = Dice::new(0x5eed_0001);
    let mut scene = Scene::begin("fsync").await?;
    let mut rounds_in_flight = 0;
    for round in 0..ROUNDS {
        tokio::time::sleep(dice.milliseconds(0, 400)).await;
        // In turn the server, the receiver, the sender, the server with the receiver, and all of them.
        let victims = [
            (true, false, false),
            (false, true, false),
            (false, false, true),
            (true, true, false),
            (true, true, true),
        ];
        let (server, receiver, sender) = victims[round as usize % victims.len()];
        rounds_in_flight += u32::from(0 < scene.in_flight()?);
        if server && let Some(server) = scene.server.take() {
            server.kill().await?;
        }
        if receiver && let Some(receiver) = scene.receiver.take() {
            receiver.kill().await?;
        }
        if sender && let Some(sender) = scene.sender.take() {
            sender.kill().await?;
        }
        if server {
            scene.serve().await?;
        }
        if receiver {
            scene.receive().await?;
        }
        if sender {
            scene.send().await?;
        }
    }
    let broken = scene.end().await?;
    let messages = scene.log().await?.len();
    assert!(
        broken.is_empty(),
        "{} of {messages}: {:#?}",
        broken.len(),
        &broken[..broken.len().min(20)]
    );
    assert!(
        30 <= rounds_in_flight,
        "only {rounds_in_flight} rounds had unacknowledged events in flight"
    );
    assert!(1000 < messages, "there was hardly any load: {messages} messages");
    Ok(())
}

#[tokio::test]
async fn the_checker_catches_a_server_that_acknowledges_before_the_commit() -> anyhow::Result<()> {
    // Durability `memory` is exactly that; a slow disk leaves it no chance to be lucky.
    let broken = one_kill_on_a_slow_disk("memory").await?;
    assert!(
        broken.iter().any(|promise| promise.contains("is not in the log")),
        "{broken:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_server_that_acknowledges_after_the_commit_loses_nothing_on_a_slow_disk() -> anyhow::Result<()> {
    let broken = one_kill_on_a_slow_disk("os").await?;
    assert!(broken.is_empty(), "{broken:?}");
    Ok(())
}

/// Kills the server once something is acknowledged, and holds the sender's ledger against the log.
async fn one_kill_on_a_slow_disk(durability: &'static str) -> anyhow::Result<Vec<String>> {
    let disk_directory = tempfile::tempdir()?;
    let disk = Disk::build(disk_directory.path()).await?;
    let mut scene = Scene::begin_with(durability, &disk.slow()?).await?;
    let ledger = scene.ledger("sender", scene.senders);
    within(LIMIT, async {
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        while !std::fs::read_to_string(&ledger).is_ok_and(|text| text.contains("acked")) {
            ticks.tick().await;
        }
    })
    .await;
    scene.server.take().context("it is running")?.kill().await?;
    scene.sender.take().context("it is running")?.kill().await?;
    let mut broken = ledger::check(&scene.log().await?, &scene.ledgers("sender", scene.senders)?, &[]);
    // Nobody received anything yet; only what was acknowledged matters here.
    broken.retain(|promise| !promise.contains("was never handled"));
    Ok(broken)
}

#[tokio::test]
async fn a_sync_completes_between_receipt_and_acknowledgement() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let disk = Disk::build(directory.path()).await?;
    for (durability, syncs) in [("fsync", true), ("os", false)] {
        let data = directory.path().join(durability);
        let arguments = ["serve", text(&data), durability, "0"];
        let (server, port) = within(
            LIMIT,
            Peer::start_with(Path::new(PEER), &arguments, &disk.watched()?),
        )
        .await?;
        let client = AgentClient::new("careful");
        client.connect_to_server("127.0.0.1", port.parse()?).await?;
        for number in 0..50 {
            let before = disk.syncs()?;
            assert!(
                client
                    .workspace()
                    .channel("general")
                    .post(format!("{number}"))
                    .await
                    .success
            );
            let synced = before < disk.syncs()?;
            assert_eq!(synced, syncs, "post {number} with durability {durability}");
        }
        server.kill().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_failed_sync_is_never_acknowledged_and_the_workspace_opens_again() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let disk = Disk::build(directory.path()).await?;
    let data = directory.path().join("data");
    let arguments = ["serve", text(&data), "fsync", "0"];
    let (server, port) = within(
        LIMIT,
        Peer::start_with(Path::new(PEER), &arguments, &disk.failing()?),
    )
    .await?;
    let client = AgentClient::new("careful");
    client.connect_to_server("127.0.0.1", port.parse()?).await?;
    let general = client.workspace().channel("general");
    assert!(general.post("before").await.success);
    for failure in 0..3 {
        disk.fail()?;
        let refused = within(LIMIT, async { general.post(format!("lost {failure}")).await }).await;
        assert!(!refused.success, "acknowledged without a sync: {refused:?}");
        assert!(refused.error.is_some_and(|error| error.is_retryable()));
        disk.mend()?;
        // The same process opens its store again, and the client comes back by itself.
        within(LIMIT, async {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            while !general.post(format!("after {failure}")).await.success {
                ticks.tick().await;
            }
        })
        .await;
    }
    let history = general.get_messages(100).await?;
    let texts: Vec<_> = history.iter().filter_map(|message| message.text()).collect();
    for kept in ["before", "after 0", "after 1", "after 2"] {
        assert_eq!(
            texts.iter().filter(|text| **text == kept).count(),
            1,
            "{kept} in {texts:?}"
        );
    }
    server.signal("TERM").await?;
    assert!(within(LIMIT, server.ended()).await?.success());
    Ok(())
}
