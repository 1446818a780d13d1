//! Agents that do everything that agents do, by chance.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use openagents_client::{AgentClient, Backlog, Event, EventResponse, WeakAgentClient};
use openagents_e2e::{Dice, Prose};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Agents in this process.
pub(crate) const AGENTS: u64 = 12;

/// Channels; the first is there from the beginning.
pub(crate) const ROOMS: [&str; 4] = ["general", "room1", "room2", "room3"];

/// How long an agent rests between two things, in milliseconds.
const REST: (u64, u64) = (20, 180);

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What all agents saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Guards the books; held for a few lines only.
    books: Mutex<Books>,
    /// Things that were done.
    pub(crate) done: AtomicU64,
}

#[derive(Debug, Default)]
struct Books {
    /// Direct messages that were acknowledged and not handled yet, with their addressees.
    open: HashMap<String, String>,
    /// Direct messages that were handled before they were acknowledged to their authors.
    early: HashSet<String>,
    /// Times that posts took.
    waits: Vec<Duration>,
    /// What should not happen.
    wrong: Vec<String>,
}

impl Seen {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("poisoned")
    }

    /// The times that posts took since the last call.
    pub(crate) fn take_waits(&self) -> Vec<Duration> {
        std::mem::take(&mut self.books().waits)
    }

    /// What should not have happened up to now.
    pub(crate) fn wrong(&self) -> Vec<String> {
        self.books().wrong.clone()
    }

    /// Direct messages that were acknowledged and that nobody has handled.
    pub(crate) fn open(&self) -> usize {
        self.books().open.len()
    }

    pub(crate) fn blame(&self, what: String) {
        self.books().wrong.push(what);
    }

    fn sent(&self, response: &EventResponse, to: Option<&str>, took: Duration) {
        let mut books = self.books();
        match (&response.data, to) {
            (Some(receipt), Some(to)) => {
                let id = receipt.event_id.to_string();
                if !books.early.remove(&id) {
                    books.open.insert(id, to.to_owned());
                }
            }
            (Some(_), None) => {}
            (None, _) => books.wrong.push(format!("refused: {:?}", response.error)),
        }
        books.waits.push(took);
    }

    fn handled(&self, id: &str) {
        let mut books = self.books();
        if books.open.remove(id).is_none() && !books.early.insert(id.to_owned()) {
            books.wrong.push(format!("{id} was handled twice"));
        }
    }
}

/// One agent.
pub(crate) struct Agent {
    client: AgentClient,
    name: String,
    port: u16,
    dice: Dice,
    prose: Prose,
    seen: Arc<Seen>,
    scratch: PathBuf,
}

fn name(number: u64) -> String {
    format!("agent{number}")
}

impl Agent {
    pub(crate) fn new(
        seed: u64,
        number: u64,
        port: u16,
        scratch: PathBuf,
        shared: &Arc<Seen>,
    ) -> anyhow::Result<Self> {
        let name = name(number);
        let client = AgentClient::new(&name);
        let (weak, books) = (client.downgrade(), Arc::clone(shared));
        client.register_event_handler(["direct.message.received"], move |event: Event| {
            let (weak, books) = (weak.clone(), Arc::clone(&books));
            async move { handle(&weak, &books, event).await }
        })?;
        Ok(Self {
            client,
            name,
            port,
            dice: Dice::new(seed.wrapping_mul(1_000).wrapping_add(number)),
            prose: Prose::new(seed.wrapping_add(number)),
            seen: Arc::clone(shared),
            scratch,
        })
    }

    /// Does one thing after the other until it is told to stop, and stays for what still comes.
    pub(crate) async fn live(
        mut self,
        stop: CancellationToken,
        end: CancellationToken,
    ) -> anyhow::Result<()> {
        self.connect().await?;
        while !stop.is_cancelled() {
            if let Err(error) = self.act().await {
                self.seen.blame(format!("{}: {error:#}", self.name));
            }
            self.seen.done.fetch_add(1, Ordering::Relaxed);
            sleep(self.dice.milliseconds(REST.0, REST.1)).await;
        }
        end.cancelled().await;
        self.client.disconnect().await;
        Ok(())
    }

    async fn connect(&self) -> anyhow::Result<()> {
        let connect = self.client.connect_to_server("127.0.0.1", self.port);
        Ok(connect.backlog(Backlog::All).timeout(PATIENCE).await?)
    }

    async fn act(&mut self) -> anyhow::Result<()> {
        let workspace = self.client.workspace();
        let room = self.dice.pick(&ROOMS);
        let bytes = usize::try_from(20 + self.dice.roll(400))?;
        let text = self.prose.text(bytes);
        match self.dice.roll(40) {
            0..=11 => {
                let begun = Instant::now();
                let posted = workspace.channel(room).post(text).await;
                self.seen.sent(&posted, None, begun.elapsed());
            }
            12..=21 => {
                let other = self.other();
                let begun = Instant::now();
                let sent = workspace.agent(&other).send(text).await;
                self.seen.sent(&sent, Some(&other), begun.elapsed());
            }
            22..=25 => {
                let other = self.other();
                let answer = workspace
                    .agent(&other)
                    .ask(format!("question: {text}"), PATIENCE)
                    .await?;
                let (said, expected) = (
                    answer.text().unwrap_or_default(),
                    format!("answer to question: {text}"),
                );
                // What is linked to nothing counts as an answer of who was asked, whatever it says.
                let linked = answer.response_to.is_some() || answer.reply_to_id.is_some();
                anyhow::ensure!(
                    said == expected || !linked && !said.starts_with("answer to "),
                    "{expected:?} was expected and {said:?} came"
                );
            }
            26..=29 => drop(workspace.channel(room).get_messages(50).await?),
            30..=31 => drop(
                workspace
                    .search(text.split(' ').next().unwrap_or("ba"))
                    .limit(20)
                    .await?,
            ),
            32..=34 => self.react(room).await?,
            35 => self.exchange_file(room, &text).await?,
            36 => {
                // The first room is nobody's to leave.
                let room = workspace.channel(self.dice.pick(&ROOMS[1..]));
                room.leave().await?;
                room.join().await?;
            }
            37 => drop(workspace.list_agents().await?),
            38 => drop(workspace.conversations(20).await?),
            _ => {
                if self.dice.once_in(4) {
                    self.client.disconnect().await;
                    sleep(self.dice.milliseconds(1, 1_000)).await;
                    self.connect().await?;
                }
            }
        }
        Ok(())
    }

    fn other(&mut self) -> String {
        loop {
            let other = name(self.dice.roll(AGENTS));
            if other != self.name {
                return other;
            }
        }
    }

    async fn react(&mut self, room: &str) -> anyhow::Result<()> {
        let channel = self.client.workspace().channel(room);
        let messages = channel.get_messages(10).await?;
        if messages.is_empty() {
            return Ok(());
        }
        let place = self.dice.roll(messages.len() as u64);
        let message = &messages[usize::try_from(place)?];
        let sign = self.dice.pick(&["+1", "eyes", "heart"]);
        let response = channel.react(&message.message_id, sign).await;
        anyhow::ensure!(response.success, "a reaction was refused: {:?}", response.error);
        Ok(())
    }

    /// Shares a file, fetches it and deletes it.
    async fn exchange_file(&self, room: &str, text: &str) -> anyhow::Result<()> {
        let path = self.scratch.join(&self.name);
        std::fs::write(&path, text.repeat(30))?;
        let workspace = self.client.workspace();
        let shared = workspace.channel(room).upload_file(&path).await?;
        let content = workspace.read_file(&shared.id).await?;
        anyhow::ensure!(
            content == text.repeat(30).into_bytes(),
            "a file came back changed"
        );
        let deleted = workspace.delete_file(&shared.id).await;
        anyhow::ensure!(
            deleted.success,
            "deleting a file was refused: {:?}",
            deleted.error
        );
        Ok(())
    }
}

/// Answers questions; books everything else.
async fn handle(client: &WeakAgentClient, seen: &Seen, event: Event) {
    let text = event.text().unwrap_or_default();
    if text.starts_with("question: ") {
        if let Some(client) = client.upgrade() {
            let answer = format!("answer to {text}");
            let sent = client.workspace().agent(&event.source_id).send(answer).await;
            if !sent.success {
                seen.blame(format!("an answer was refused: {:?}", sent.error));
            }
        }
    } else if !text.starts_with("answer to ") && event.source_id.starts_with("agent") {
        seen.handled(&event.event_id);
    }
}
