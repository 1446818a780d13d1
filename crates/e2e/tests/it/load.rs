//! A server under load, a sender and a receiver as processes, and the checker at the end.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use openagents_e2e::ledger::{self, Line};
use openagents_e2e::{Peer, within};
use openagents_protocol::Sequence;
use openagents_store::{EventLog, Options, Store};

pub(crate) const PEER: &str = env!("CARGO_BIN_EXE_peer");

/// Longer than any recovery takes.
pub(crate) const LIMIT: Duration = Duration::from_mins(2);

/// A workspace whose server, sender and receiver are processes.
pub(crate) struct Scene {
    directory: tempfile::TempDir,
    durability: &'static str,
    pub(crate) port: String,
    pub(crate) server: Option<Peer>,
    pub(crate) sender: Option<Peer>,
    pub(crate) receiver: Option<Peer>,
    pub(crate) senders: u32,
    receivers: u32,
}

impl Scene {
    pub(crate) async fn begin(durability: &'static str) -> anyhow::Result<Self> {
        Self::begin_with(durability, &[]).await
    }

    pub(crate) async fn begin_with(
        durability: &'static str,
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
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

    pub(crate) async fn serve(&mut self) -> anyhow::Result<()> {
        self.serve_with(&[]).await
    }

    pub(crate) async fn serve_with(&mut self, environment: &[(&str, &str)]) -> anyhow::Result<()> {
        let data = self.directory.path().join("data");
        let arguments = ["serve", text(&data), self.durability, &self.port];
        let (server, port) =
            within(LIMIT, Peer::start_with(Path::new(PEER), &arguments, environment)).await?;
        self.port = port;
        self.server = Some(server);
        Ok(())
    }

    /// Starts a sender that goes on until it is killed.
    pub(crate) async fn send(&mut self) -> anyhow::Result<()> {
        self.senders += 1;
        let (name, ledger) = (
            format!("sender{}", self.senders),
            self.ledger("sender", self.senders),
        );
        let arguments = ["send", &self.port, &name, "receiver", text(&ledger)];
        self.sender = Some(within(LIMIT, Peer::start(Path::new(PEER), &arguments)).await?.0);
        Ok(())
    }

    pub(crate) async fn receive(&mut self) -> anyhow::Result<()> {
        self.receivers += 1;
        let ledger = self.ledger("receiver", self.receivers);
        let arguments = ["receive", &self.port, "receiver", text(&ledger)];
        self.receiver = Some(within(LIMIT, Peer::start(Path::new(PEER), &arguments)).await?.0);
        Ok(())
    }

    pub(crate) fn ledger(&self, kind: &str, life: u32) -> PathBuf {
        self.directory.path().join(format!("{kind}{life}"))
    }

    pub(crate) fn ledgers(&self, kind: &str, lives: u32) -> anyhow::Result<Vec<Vec<Line>>> {
        (1..=lives)
            .map(|life| self.ledger(kind, life))
            .filter(|path| path.exists())
            .map(|path| ledger::read(&path))
            .collect()
    }

    /// How many events of the current sender were sent and not acknowledged yet.
    pub(crate) fn in_flight(&self) -> anyhow::Result<usize> {
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

    /// How many events of the current sender were acknowledged.
    pub(crate) fn acknowledged(&self) -> anyhow::Result<usize> {
        let path = self.ledger("sender", self.senders);
        if !path.exists() {
            return Ok(0);
        }
        let lines = ledger::read(&path)?;
        let acked = lines.iter().filter(|line| matches!(line, Line::Acked(..)));
        Ok(acked.count())
    }

    /// Waits until so many more events of the current sender are acknowledged.
    pub(crate) async fn wait_for_acknowledged(&self, more: usize) -> anyhow::Result<()> {
        let before = self.acknowledged()?;
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        within(LIMIT, async {
            while self.acknowledged()? < before + more {
                ticks.tick().await;
            }
            Ok(())
        })
        .await
    }

    /// Kills the sender for good, lets the receiver handle everything that is in the log, and stops the rest.
    pub(crate) async fn end(&mut self) -> anyhow::Result<Vec<String>> {
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

    pub(crate) async fn stop_server(&mut self) -> anyhow::Result<()> {
        if let Some(server) = self.server.take() {
            server.signal("TERM").await?;
            assert!(within(LIMIT, server.ended()).await?.success());
        }
        Ok(())
    }

    /// The direct messages of the log.
    pub(crate) async fn log(&self) -> anyhow::Result<Vec<(String, u64)>> {
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

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}
