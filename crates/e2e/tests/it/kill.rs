//! Processes die; nothing acknowledged is lost, and no life handles anything twice.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use openagents_client::AgentClient;
use openagents_e2e::ledger::{self, Line};
use openagents_e2e::{Dice, Disk, Peer, within};
use openagents_protocol::Sequence;
use openagents_store::{EventLog, Options, Store};

const PEER: &str = env!("CARGO_BIN_EXE_peer");

/// Longer than any recovery takes.
const LIMIT: Duration = Duration::from_mins(2);

/// A workspace whose server, sender and receiver are processes.
struct Scene {
    directory: tempfile::TempDir,
    durability: &'static str,
    port: String,
    server: Option<Peer>,
    sender: Option<Peer>,
    receiver: Option<Peer>,
    senders: u32,
    receivers: u32,
}

impl Scene {
    async fn begin(durability: &'static str) -> anyhow::Result<Self> {
        Self::begin_with(durability, &[]).await
    }

    async fn begin_with(durability: &'static str, environment: &[(&str, &str)]) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut scene = Self {
            directory,
            durability,
            port: "0".to_owned(),
            server: None,
            sender: None,
            receiver: None,
            senders: 0,
            receivers: 0,
        };
        scene.serve_with(environment).await?;
        scene.receive().await?;
        scene.send().await?;
        Ok(scene)
    }

    async fn serve(&mut self) -> anyhow::Result<()> {
        self.serve_with(&[]).await
    }

    async fn serve_with(&mut self, environment: &[(&str, &str)]) -> anyhow::Result<()> {
        let data = self.directory.path().join("data");
        let arguments = ["serve", text(&data), self.durability, &self.port];
        let (server, port) =
            within(LIMIT, Peer::start_with(Path::new(PEER), &arguments, environment)).await?;
        self.port = port;
        self.server = Some(server);
        Ok(())
    }

    /// Starts a sender that goes on until it is killed.
    async fn send(&mut self) -> anyhow::Result<()> {
        self.senders += 1;
        let (name, ledger) = (
            format!("sender{}", self.senders),
            self.ledger("sender", self.senders),
        );
        let arguments = ["send", &self.port, &name, "receiver", text(&ledger)];
        self.sender = Some(within(LIMIT, Peer::start(Path::new(PEER), &arguments)).await?.0);
        Ok(())
    }

    async fn receive(&mut self) -> anyhow::Result<()> {
        self.receivers += 1;
        let ledger = self.ledger("receiver", self.receivers);
        let arguments = ["receive", &self.port, "receiver", text(&ledger)];
        self.receiver = Some(within(LIMIT, Peer::start(Path::new(PEER), &arguments)).await?.0);
        Ok(())
    }

    fn ledger(&self, kind: &str, life: u32) -> PathBuf {
        self.directory.path().join(format!("{kind}{life}"))
    }

    fn ledgers(&self, kind: &str, lives: u32) -> anyhow::Result<Vec<Vec<Line>>> {
        (1..=lives)
            .map(|life| self.ledger(kind, life))
            .filter(|path| path.exists())
            .map(|path| ledger::read(&path))
            .collect()
    }

    /// How many events of the current sender were sent and not acknowledged yet.
    fn in_flight(&self) -> anyhow::Result<usize> {
        let path = self.ledger("sender", self.senders);
        let lines = if path.exists() {
            ledger::read(&path)?
        } else {
            Vec::new()
        };
        let sent = lines.iter().filter(|line| matches!(line, Line::Sent(_))).count();
        let acked = lines
            .iter()
            .filter(|line| matches!(line, Line::Acked(..)))
            .count();
        Ok(sent - acked)
    }

    /// Kills the sender for good, lets the receiver handle everything that is in the log, and stops the rest.
    async fn end(&mut self) -> anyhow::Result<Vec<String>> {
        if let Some(sender) = self.sender.take() {
            sender.kill().await?;
        }
        self.stop_server().await?;
        let log = self.log().await?;
        self.serve().await?;
        // Handlers of different senders run side by side: only the whole log says that the receiver is through.
        let everything = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(50));
            loop {
                ticks.tick().await;
                let lives = self.ledgers("receiver", self.receivers)?;
                let handled_lines = lives.iter().flatten();
                let handled: HashSet<&str> = handled_lines.filter_map(Line::handled).collect();
                if log.iter().all(|(id, _)| handled.contains(id.as_str())) {
                    return anyhow::Ok(());
                }
            }
        };
        // What is missing when the time is up is for the checker to name.
        if let Ok(read) = tokio::time::timeout(LIMIT, everything).await {
            read?;
        }
        if let Some(receiver) = self.receiver.take() {
            receiver.kill().await?;
        }
        self.stop_server().await?;
        assert_eq!(self.log().await?, log, "nobody wrote to the log since");
        Ok(ledger::check(
            &log,
            &self.ledgers("sender", self.senders)?,
            &self.ledgers("receiver", self.receivers)?,
        ))
    }

    async fn stop_server(&mut self) -> anyhow::Result<()> {
        if let Some(server) = self.server.take() {
            server.signal("TERM").await?;
            assert!(within(LIMIT, server.ended()).await?.success());
        }
        Ok(())
    }

    /// The direct messages of the log.
    async fn log(&self) -> anyhow::Result<Vec<(String, u64)>> {
        let (store, _) = Store::open(&self.directory.path().join("data"), Options::default())?;
        let mut messages = Vec::new();
        let mut after = Sequence::ZERO;
        loop {
            let records = store.log.read(after, 10_000).await?;
            let Some(last) = records.last() else {
                return Ok(messages);
            };
            after = last.sequence;
            let found = records.iter().filter(|record| record.is_message());
            messages.extend(found.map(|record| (record.header.event_id.to_string(), record.sequence.get())));
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}

#[tokio::test]
async fn fifty_kills_lose_nothing_that_was_acknowledged_and_double_nothing() -> anyhow::Result<()> {
    const ROUNDS: u32 = 50;
    let mut dice = Dice::new(0x5eed_0001);
    let mut scene = Scene::begin("fsync").await?;
    let mut rounds_in_flight = 0;
    for round in 0..ROUNDS {
        tokio::time::sleep(dice.milliseconds(0, 400)).await;
        // In turn the server, the receiver, the sender, and the server with the receiver.
        let victims = [
            (true, false, false),
            (false, true, false),
            (false, false, true),
            (true, true, false),
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
