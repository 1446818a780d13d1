//! Two agents of each kind: of the Rust client, of our Python client, and of the official client over HTTP and gRPC.

use anyhow::{Context, Result, ensure};
use openagents_client::{AgentClient, Event, ReactAction};
use openagents_e2e::{Official, Ours, Program, SOON, Workspace, within};
use openagents_server::Config;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Where they meet.
pub(crate) const CHANNEL: &str = "general";

/// Whose words an agent speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Rust,
    Python,
    Official(&'static str),
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [
        Self::Rust,
        Self::Python,
        Self::Official("http"),
        Self::Official("grpc"),
    ];

    /// One of the two words that there are for a thing: ours, or that of the official client.
    pub(crate) fn word<T>(self, ours: T, theirs: T) -> T {
        match self {
            Self::Rust | Self::Python => ours,
            Self::Official(_) => theirs,
        }
    }
}

/// An agent, and what it was told.
pub(crate) struct Agent {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    hands: Hands,
}

enum Hands {
    Rust(Box<Native>),
    Program(Box<Program>),
}

struct Native {
    client: AgentClient,
    got: mpsc::Receiver<Value>,
    /// What it was told, and nobody asked for yet.
    told: Vec<Value>,
}

impl Agent {
    pub(crate) async fn join(workspace: &Workspace, kind: Kind, id: &str) -> Result<Self> {
        let port = workspace.port();
        let hands = match kind {
            Kind::Rust => Hands::Rust(Box::new(Native::join(workspace, id).await?)),
            Kind::Python => Hands::Program(Box::new(Ours::join(port, id).await?)),
            Kind::Official(transport) => {
                Hands::Program(Box::new(Official::join(port, transport, id, "").await?))
            }
        };
        let id = id.to_owned();
        Ok(Self { id, kind, hands })
    }

    /// Posts, and tells the id of the message.
    pub(crate) async fn post(&mut self, text: &str) -> Result<String> {
        match &mut self.hands {
            Hands::Rust(native) => {
                let posted = native.general().post(text).await;
                Ok(posted.message_id().context("the post is refused")?.to_owned())
            }
            Hands::Program(program) => {
                let wish = json!({"do": "post", "channel": CHANNEL, "text": text});
                id_in(&program.does(wish).await?, "message_id")
            }
        }
    }

    /// Replies to a message of the channel, and tells the id of the reply.
    pub(crate) async fn reply(&mut self, message_id: &str, text: &str) -> Result<String> {
        match &mut self.hands {
            Hands::Rust(native) => {
                let replied = native.general().reply(message_id, text).await;
                Ok(replied.message_id().context("the reply is refused")?.to_owned())
            }
            Hands::Program(program) => {
                let wish = json!({"do": "reply", "channel": CHANNEL, "id": message_id, "text": text});
                id_in(&program.does(wish).await?, "message_id")
            }
        }
    }

    /// Writes to an agent, and tells the id of the message.
    pub(crate) async fn send(&mut self, to: &str, text: &str) -> Result<String> {
        match &mut self.hands {
            Hands::Rust(native) => {
                let sent = native.client.workspace().agent(to).send(text).await;
                Ok(sent.message_id().context("the message is refused")?.to_owned())
            }
            Hands::Program(program) => {
                let wish = json!({"do": "send", "to": to, "text": text});
                id_in(&program.does(wish).await?, "message_id")
            }
        }
    }

    /// Adds a reaction, or removes it.
    pub(crate) async fn react(&mut self, message_id: &str, reaction: &str, action: &str) -> Result<()> {
        match &mut self.hands {
            Hands::Rust(native) => {
                let action = match action {
                    "add" => ReactAction::Add,
                    _ => ReactAction::Remove,
                };
                let reacted = native
                    .general()
                    .react_to_message(message_id, reaction, action)
                    .await;
                ensure!(reacted.success, "the reaction is refused");
            }
            Hands::Program(program) => {
                let wish = json!({
                    "do": "react", "channel": CHANNEL, "id": message_id, "reaction": reaction, "action": action,
                });
                program.does(wish).await?;
            }
        }
        Ok(())
    }

    /// Shares a file in the channel, and tells its id.
    pub(crate) async fn upload(&mut self, filename: &str, content: &str) -> Result<String> {
        match &mut self.hands {
            Hands::Rust(native) => {
                let folder = tempfile::tempdir()?;
                let path = folder.path().join(filename);
                std::fs::write(&path, content)?;
                Ok(native.general().upload_file(&path).await?.file_id)
            }
            Hands::Program(program) => {
                let wish = json!({"do": "upload", "channel": CHANNEL, "filename": filename, "text": content});
                id_in(&program.does(wish).await?, "file_id")
            }
        }
    }

    /// The content of a file.
    pub(crate) async fn download(&mut self, file_id: &str) -> Result<String> {
        match &mut self.hands {
            Hands::Rust(native) => {
                let content = native.client.workspace().read_file(file_id).await?;
                Ok(String::from_utf8(content)?)
            }
            Hands::Program(program) => {
                let told = program.hear(&json!({"do": "download", "id": file_id})).await?;
                let told = told.tells("content").await?;
                Ok(told["content"].as_str().context("a content")?.to_owned())
            }
        }
    }

    /// Who is there, sorted.
    pub(crate) async fn agents(&mut self) -> Result<Vec<String>> {
        let mut found: Vec<String> = match &mut self.hands {
            Hands::Rust(native) => native.client.workspace().agents().await?,
            Hands::Program(program) => {
                let told = program
                    .hear(&json!({"do": "agents"}))
                    .await?
                    .tells("agents")
                    .await?;
                serde_json::from_value(told["agents"].clone())?
            }
        };
        found.sort_unstable();
        Ok(found)
    }

    /// Who wrote what in the channel, newest first.
    pub(crate) async fn history(&mut self) -> Result<Vec<(String, String)>> {
        match &mut self.hands {
            Hands::Rust(native) => {
                let messages = native.general().get_messages(50).await?;
                let said = messages.into_iter().map(|message| {
                    let text = message.text().unwrap_or_default().to_owned();
                    (message.sender_id, text)
                });
                Ok(said.collect())
            }
            Hands::Program(program) => {
                let told = program
                    .hear(&json!({"do": "history", "channel": CHANNEL}))
                    .await?;
                let told = told.tells("history").await?;
                Ok(serde_json::from_value(told["history"].clone())?)
            }
        }
    }

    /// Leaves for good.
    pub(crate) async fn leave(self) -> Result<()> {
        match self.hands {
            Hands::Rust(native) => ensure!(native.client.disconnect().await, "it was not connected"),
            Hands::Program(mut program) => {
                let told = program.hear(&json!({"do": "leave"})).await?.tells("left").await?;
                ensure!(told["left"] == true, "{told}");
            }
        }
        Ok(())
    }

    /// Waits for an event with this text anywhere in its payload, and for no other agent's: with `event`, `source`, `id`
    /// and `payload`. What it is called is said in our words and in those of the official client.
    pub(crate) async fn sees(&mut self, ours: &str, theirs: &str, text: &str) -> Result<Value> {
        let name = self.kind.word(ours, theirs);
        let seen = match &mut self.hands {
            Hands::Rust(native) => native.gets(name, text).await,
            Hands::Program(program) => program.gets(name, text).await,
        };
        seen.with_context(|| self.id.clone())
    }

    /// How many events with this text it was told that no test asked for.
    pub(crate) fn untold(&self, text: &str) -> usize {
        match &self.hands {
            Hands::Rust(native) => {
                let told = native.told.iter();
                told.filter(|told| told.to_string().contains(text)).count()
            }
            Hands::Program(program) => program.untold(text),
        }
    }
}

impl Native {
    async fn join(workspace: &Workspace, id: &str) -> Result<Self> {
        let client = workspace.join(id).await?;
        let (sender, got) = mpsc::channel(1000);
        client.register_event_handler(["*"], move |event: Event| {
            let sender = sender.clone();
            let told = json!({
                "event": event.event_name,
                "source": event.source_id,
                "id": event.event_id,
                "payload": event.payload.value(),
            });
            // Who does not listen any more misses nothing.
            async move { drop(sender.send(told).await) }
        })?;
        let told = Vec::new();
        Ok(Self { client, got, told })
    }

    fn general(&self) -> openagents_client::Channel {
        self.client.workspace().channel(CHANNEL)
    }

    async fn gets(&mut self, name: &str, text: &str) -> Result<Value> {
        let wanted = |told: &Value| told["event"] == name && told["payload"].to_string().contains(text);
        if let Some(index) = self.told.iter().position(wanted) {
            return Ok(self.told.remove(index));
        }
        let arrives = async {
            loop {
                let told = self.got.recv().await.context("no more events")?;
                if wanted(&told) {
                    return Ok::<Value, anyhow::Error>(told);
                }
                self.told.push(told);
            }
        };
        within(SOON, arrives)
            .await
            .with_context(|| format!("waiting for {name} with {text}"))
    }
}

fn id_in(answered: &Value, key: &str) -> Result<String> {
    let id = answered["data"][key].as_str();
    Ok(id.with_context(|| format!("{key} in {answered}"))?.to_owned())
}

/// Everybody, in one channel.
pub(crate) struct Cast {
    pub(crate) workspace: Workspace,
    pub(crate) agents: Vec<Agent>,
}

impl Cast {
    pub(crate) async fn gather() -> Result<Self> {
        // Official clients are told who comes and goes only where an operator wants that.
        let told = |config: &mut Config| {
            config.legacy.mods.broadcast_connection = true;
            config.legacy.mods.broadcast_disconnection = true;
        };
        let workspace = Workspace::serve_with(told).await?;
        let kinds = [
            ("rust-1", Kind::Rust),
            ("rust-2", Kind::Rust),
            ("python-1", Kind::Python),
            ("python-2", Kind::Python),
            ("http", Kind::Official("http")),
            ("grpc", Kind::Official("grpc")),
        ];
        let joining = kinds.map(|(id, kind)| Agent::join(&workspace, kind, id));
        let agents = futures_util::future::try_join_all(joining).await?;
        Ok(Self { workspace, agents })
    }

    /// Everybody's id, sorted.
    pub(crate) fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.agents.iter().map(|agent| agent.id.clone()).collect();
        ids.sort_unstable();
        ids
    }

    /// Whoever is not the one of this number.
    pub(crate) fn others(&mut self, one: usize) -> impl Iterator<Item = &mut Agent> {
        let others = self.agents.iter_mut().enumerate();
        others
            .filter(move |(other, _)| *other != one)
            .map(|(_, agent)| agent)
    }

    pub(crate) async fn part(self) {
        drop(self.agents);
        self.workspace.stop().await;
    }
}
