//! Agents of every kind in one channel: what one does the others see, each in its own words.

use anyhow::{Context, Result, ensure};
use openagents_client::{AgentClient, Event};
use openagents_e2e::{Official, SOON, TRANSPORTS, Workspace, within};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// An agent of one kind.
enum Agent {
    Native {
        client: AgentClient,
        got: mpsc::Receiver<Event>,
        before: Vec<Event>,
    },
    Official(Box<Official>),
}

/// What an agent sees of what another one does.
#[derive(Clone, Copy)]
enum Seen<'a> {
    Post(&'a str),
    Reply(&'a str),
    Direct(&'a str),
    /// To this message.
    Reaction(&'a str),
    File(&'a str),
}

impl Agent {
    async fn native(workspace: &Workspace, agent_id: &str) -> Result<Self> {
        let client = workspace.join(agent_id).await?;
        let (sender, got) = mpsc::channel(1000);
        client.register_event_handler(["*"], move |event: Event| {
            let sender = sender.clone();
            async move { drop(sender.send(event).await) }
        })?;
        Ok(Self::Native {
            client,
            got,
            before: Vec::new(),
        })
    }

    /// Posts, and tells the id of the message.
    async fn post(&mut self, text: &str) -> Result<String> {
        match self {
            Self::Native { client, .. } => {
                let posted = client.workspace().channel("general").post(text).await;
                Ok(posted.message_id().context("the post is refused")?.to_owned())
            }
            Self::Official(agent) => {
                let wish = json!({"do": "post", "channel": "general", "text": text});
                id(&agent.does(wish).await?)
            }
        }
    }

    async fn reply(&mut self, message_id: &str, text: &str) -> Result<()> {
        match self {
            Self::Native { client, .. } => {
                let general = client.workspace().channel("general");
                ensure!(general.reply(message_id, text).await.success);
            }
            Self::Official(agent) => {
                let wish = json!({"do": "reply", "channel": "general", "id": message_id, "text": text});
                agent.does(wish).await?;
            }
        }
        Ok(())
    }

    async fn react(&mut self, message_id: &str) -> Result<()> {
        match self {
            Self::Native { client, .. } => {
                let general = client.workspace().channel("general");
                ensure!(general.react(message_id, "👍").await.success);
            }
            Self::Official(agent) => {
                let wish = json!({"do": "react", "channel": "general", "id": message_id, "reaction": "+1"});
                agent.does(wish).await?;
            }
        }
        Ok(())
    }

    async fn send(&mut self, to: &str, text: &str) -> Result<()> {
        match self {
            Self::Native { client, .. } => {
                ensure!(client.workspace().agent(to).send(text).await.success);
            }
            Self::Official(agent) => {
                agent.does(json!({"do": "send", "to": to, "text": text})).await?;
            }
        }
        Ok(())
    }

    async fn upload(&mut self, filename: &str) -> Result<()> {
        match self {
            Self::Native { client, .. } => {
                let folder = tempfile::tempdir()?;
                let path = folder.path().join(filename);
                std::fs::write(&path, "content")?;
                let general = client.workspace().channel("general");
                ensure!(general.upload_file(&path).await.is_ok());
            }
            Self::Official(agent) => {
                let wish = json!({
                    "do": "upload", "channel": "general", "filename": filename, "text": "content",
                });
                agent.does(wish).await?;
            }
        }
        Ok(())
    }

    /// Whom it finds.
    async fn agents(&mut self) -> Result<Vec<String>> {
        match self {
            Self::Native { client, .. } => Ok(client.workspace().agents().await?),
            Self::Official(agent) => {
                let told = agent
                    .hear(&json!({"do": "agents"}))
                    .await?
                    .tells("agents")
                    .await?;
                Ok(serde_json::from_value(told["agents"].clone())?)
            }
        }
    }

    /// Waits until it sees something.
    async fn sees(&mut self, seen: Seen<'_>) -> Result<()> {
        let (native, official, text) = match seen {
            Seen::Post(text) => (
                "channel.message.posted",
                "thread.channel_message.notification",
                text,
            ),
            Seen::Reply(text) => ("channel.message.replied", "thread.reply.notification", text),
            Seen::Direct(text) => (
                "direct.message.received",
                "thread.direct_message.notification",
                text,
            ),
            Seen::Reaction(id) => ("workspace.reaction.added", "thread.reaction.notification", id),
            Seen::File(name) => ("workspace.file.uploaded", "thread.file.upload_response", name),
        };
        match self {
            Self::Official(agent) => drop(agent.gets(official, text).await?),
            Self::Native { got, before, .. } => {
                let wanted =
                    |event: &Event| event.event_name == native && event.payload.to_string().contains(text);
                if before.iter().any(wanted) {
                    return Ok(());
                }
                within(SOON, async {
                    loop {
                        let event = got.recv().await.context("no more events")?;
                        let found = wanted(&event);
                        before.push(event);
                        if found {
                            return Ok::<_, anyhow::Error>(());
                        }
                    }
                })
                .await
                .with_context(|| format!("waiting for {native} with {text}"))?;
            }
        }
        Ok(())
    }
}

fn id(answered: &Value) -> Result<String> {
    let id = answered["data"]["message_id"].as_str();
    Ok(id.context("an answer with an id")?.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_of_every_kind_see_each_other_s_doings_in_their_own_words() -> Result<()> {
    let workspace = Workspace::serve().await?;
    let port = workspace.port();
    let mut agents: Vec<(String, Agent)> =
        vec![("rust".to_owned(), Agent::native(&workspace, "rust").await?)];
    for transport in TRANSPORTS {
        let official = Official::join(port, transport, transport, "").await?;
        agents.push((transport.to_owned(), Agent::Official(Box::new(official))));
    }
    let names: Vec<String> = agents.iter().map(|(name, _)| name.clone()).collect();
    for (_, agent) in &mut agents {
        let mut found = agent.agents().await?;
        found.sort_unstable();
        let mut all = names.clone();
        all.sort_unstable();
        assert_eq!(found, all, "everybody finds everybody");
    }
    for one in 0..agents.len() {
        let actor = names[one].clone();
        let (posted, replied, file) = (
            format!("posted by {actor}"),
            format!("replied by {actor}"),
            format!("{actor}.txt"),
        );
        let message_id = agents[one].1.post(&posted).await?;
        for (other, name) in names.iter().enumerate().filter(|(other, _)| *other != one) {
            let context = || format!("{name} looks at {actor}");
            agents[other]
                .1
                .sees(Seen::Post(&posted))
                .await
                .with_context(context)?;
            agents[other].1.react(&message_id).await.with_context(context)?;
            agents[one]
                .1
                .sees(Seen::Reaction(&message_id))
                .await
                .with_context(context)?;
            let text = format!("{actor} to {name}");
            agents[one].1.send(name, &text).await.with_context(context)?;
            agents[other]
                .1
                .sees(Seen::Direct(&text))
                .await
                .with_context(context)?;
        }
        agents[one].1.reply(&message_id, &replied).await?;
        agents[one].1.upload(&file).await?;
        for (other, name) in names.iter().enumerate().filter(|(other, _)| *other != one) {
            let context = || format!("{name} looks at {actor}");
            agents[other]
                .1
                .sees(Seen::Reply(&replied))
                .await
                .with_context(context)?;
            agents[other]
                .1
                .sees(Seen::File(&file))
                .await
                .with_context(context)?;
        }
    }
    workspace.stop().await;
    Ok(())
}
