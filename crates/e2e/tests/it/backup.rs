//! A backup is taken while processes send and receive, and a workspace restored from it keeps every promise.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use openagents_e2e::ledger::{self, Line};
use openagents_e2e::{Peer, within};
use openagents_protocol::Sequence;
use openagents_protocol::record::Record;
use openagents_server::{Occupied, Restore, Settings, Workspace};
use openagents_store::{EventLog, Options, Store};

const PEER: &str = env!("CARGO_BIN_EXE_peer");

const LIMIT: Duration = Duration::from_mins(2);

struct Scene(tempfile::TempDir);

impl Scene {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        let path = self.path(name);
        path.to_str()
            .expect("temporary directories have plain names")
            .to_owned()
    }

    async fn start(&self, arguments: &[&str]) -> anyhow::Result<(Peer, String)> {
        within(LIMIT, Peer::start(Path::new(PEER), arguments)).await
    }

    async fn serve(&self, data: &str) -> anyhow::Result<(Peer, String)> {
        self.start(&["serve", &self.text(data), "fsync", "0"]).await
    }

    async fn receive(&self, port: &str, name: &str) -> anyhow::Result<Peer> {
        let arguments = ["receive", port, "receiver", &self.text(name)];
        Ok(self.start(&arguments).await?.0)
    }

    /// Waits until a ledger says something.
    async fn wait(&self, names: &[&str], enough: impl Fn(&[Line]) -> bool) -> anyhow::Result<Vec<Vec<Line>>> {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        within(LIMIT, async {
            loop {
                ticks.tick().await;
                let present = names
                    .iter()
                    .map(|name| self.path(name))
                    .filter(|path| path.exists());
                let ledgers: Vec<_> = present
                    .map(|path| ledger::read(&path))
                    .collect::<Result<_, _>>()?;
                if enough(&ledgers.concat()) {
                    return Ok(ledgers);
                }
            }
        })
        .await
    }

    async fn records(&self, data: &str) -> anyhow::Result<Vec<Record>> {
        let (store, _) = Store::open(&self.path(data), Options::default())?;
        Ok(store.log.read(Sequence::ZERO, usize::MAX).await?)
    }
}

fn acked(lines: &[Line]) -> Vec<(String, u64)> {
    let acked = |line: &Line| match line {
        Line::Acked(id, sequence) => Some((id.clone(), *sequence)),
        _ => None,
    };
    lines.iter().filter_map(acked).collect()
}

fn messages(records: &[Record]) -> Vec<(String, u64)> {
    let messages = records.iter().filter(|record| record.is_message());
    messages
        .map(|record| (record.header.event_id.to_string(), record.sequence.get()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_backup_of_a_server_under_load_passes_the_same_checker() -> anyhow::Result<()> {
    let scene = Scene(tempfile::tempdir()?);
    let (server, port) = scene.serve("data").await?;
    let receiver = scene.receive(&port, "received").await?;
    let arguments = ["send", &port, "sender", "receiver", &scene.text("sent")];
    let (sender, _) = scene.start(&arguments).await?;

    let mut backups = Vec::new();
    for round in 0..4 {
        let enough = |lines: &[Line]| 2_000 * (round + 1) < acked(lines).len();
        let before = acked(&scene.wait(&["sent"], enough).await?.concat());
        let name = format!("backup-{round}");
        let made = Workspace::backup(&scene.path("data"), &scene.path(&name), |_| ()).await?;
        backups.push((name, before, made));
    }
    sender.kill().await?;
    receiver.kill().await?;
    server.signal("TERM").await?;
    assert!(within(LIMIT, server.ended()).await?.success());

    let all = scene.records("data").await?;
    for (name, before, made) in &backups {
        let copied = scene.records(name).await?;
        assert!(
            copied[..] == all[..copied.len()],
            "{name} is not the beginning of the log"
        );
        assert_eq!(copied.last().map(|record| record.sequence), Some(made.head));
        let there: HashSet<_> = messages(&copied).into_iter().collect();
        let lost = before.iter().filter(|message| !there.contains(*message));
        assert_eq!(lost.count(), 0, "acknowledged before {name} began");
    }

    // The last one goes on as a workspace, whole and up to a message in the middle of what was sent.
    let middle = Sequence::new(backups[1].1.last().expect("something was acknowledged").1);
    let whole = backups[3].2.head;
    for (name, through, head) in [("whole", None, whole), ("half", Some(middle), middle)] {
        let restore = Restore {
            backup: scene.path("backup-3"),
            data: scene.path(name),
            through,
            occupied: Occupied::Refuse,
        };
        Workspace::restore(restore, Settings::default(), |_| ()).await?;
        let broken = scene.go_on(name, head).await?;
        assert!(broken.is_empty(), "{name}: {broken:#?}");
    }
    Ok(())
}

impl Scene {
    /// Has a further sender and receiver in a restored workspace that ends with this sequence, and returns every promise
    /// that was broken.
    async fn go_on(&self, data: &str, head: Sequence) -> anyhow::Result<Vec<String>> {
        let restored = messages(&self.records(data).await?);
        assert!(restored.iter().all(|(_, sequence)| *sequence <= head.get()));
        let [outbox, inbox] = ["sent", "received"].map(|kind| format!("{kind}-{data}"));
        let (server, port) = self.serve(data).await?;
        let receiver = self.receive(&port, &inbox).await?;
        let sender = format!("sender-{data}");
        let arguments = ["send", &port, &sender, "receiver", &self.text(&outbox)];
        let (sender, _) = self.start(&arguments).await?;
        self.wait(&[&outbox], |lines| 200 < acked(lines).len()).await?;
        sender.kill().await?;
        server.signal("TERM").await?;
        assert!(within(LIMIT, server.ended()).await?.success());
        receiver.kill().await?;
        let log = messages(&self.records(data).await?);
        assert_eq!(log[..restored.len()], restored);

        let (server, port) = self.serve(data).await?;
        let again = format!("{inbox}-again");
        let receiver = self.receive(&port, &again).await?;
        let everything = |lines: &[Line]| {
            let handled: HashSet<&str> = lines.iter().filter_map(Line::handled).collect();
            log.iter().all(|(id, _)| handled.contains(id.as_str()))
        };
        let mut lives = self.wait(&["received", &inbox, &again], everything).await?;
        receiver.kill().await?;
        server.kill().await?;
        let mut first = ledger::read(&self.path("sent"))?;
        // What came later than what was restored never happened.
        first.retain(|line| !matches!(line, Line::Acked(_, sequence) if head.get() < *sequence));
        lives[0].retain(|line| !matches!(line, Line::Handled(_, sequence) if head.get() < *sequence));
        let senders = [first, ledger::read(&self.path(&outbox))?];
        Ok(ledger::check(&log, &senders, &lives))
    }
}
