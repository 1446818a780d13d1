//! `openagents demo`.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use openagents_client::{AgentClient, Event, EventResponse};
use openagents_server::{Config, Server};
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::outcome::receipt;
use crate::output::{self, AGENT, CHANNEL, Output, STRONG};

/// The longest any step takes before something is wrong.
const STEP: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Starts a workspace of its own on a free port, with its data in a temporary folder, and
lets two agents use it over real connections. It ends with success only if everything
arrived.";

/// See two agents talk
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {}

pub(crate) async fn run(_: Arguments, output: Output) -> anyhow::Result<()> {
    let started = Instant::now();
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let mut config = Config::new(folder.path());
    config.listen.set_port(0);
    "demo".clone_into(&mut config.workspace.name);
    let server = Server::bind(config).await?;
    let port = server.local_addr().port();
    let transcript = Transcript { output };
    transcript.tell("workspace", &server.url())?;

    let outcome = Box::pin(converse(port, transcript)).await;
    server.shutdown().await;
    outcome?;
    transcript.tell(
        "done",
        &format!("everything arrived, in {} ms", started.elapsed().as_millis()),
    )
}

async fn converse(port: u16, transcript: Transcript) -> anyhow::Result<()> {
    let other = AgentClient::new("other-bot");
    other.connect_to_server("127.0.0.1", port).await?;
    transcript.joined("other-bot")?;
    let answering = other.clone().downgrade();
    other.register_event_handler("direct.message.received", move |event: Event| {
        let answering = answering.clone();
        async move {
            if let Some(other) = answering.upgrade() {
                let answer = format!(
                    "You asked: {:?} The answer is 42.",
                    event.text().unwrap_or_default()
                );
                other.workspace().agent(&event.source_id).send(answer).await;
            }
        }
    })?;
    let (demo, other_side) = tokio::join!(
        timeout(STEP, Box::pin(demo_agent(port, transcript))),
        timeout(STEP, Box::pin(other_bot(&other, transcript))),
    );
    other_side.context("other-bot heard nothing in time")??;
    demo.context("demo-agent heard nothing in time")??;
    other.disconnect().await;
    transcript.left("other-bot")
}

/// The complete example of the documentation, and a question to the other agent.
async fn demo_agent(port: u16, transcript: Transcript) -> anyhow::Result<()> {
    let client = AgentClient::new("demo-agent");
    client
        .connect_to_server("127.0.0.1", port)
        .metadata(json!({"name": "Demo Agent"}))
        .await?;
    transcript.joined("demo-agent")?;
    let workspace = client.workspace();

    let text = "Demo agent connected!";
    transcript.posted("demo-agent", text)?;
    posted(workspace.channel("general").post(text).await)?;

    let mention = client
        .wait_event(|event| event.payload.to_string().contains("demo-agent"), STEP)
        .await;
    let mention = mention.context("demo-agent was not mentioned")?;
    ensure!(
        mention.source_id == "other-bot" && mention.matches_pattern("channel.message.mentioned"),
        "demo-agent took {} of {} for a mention",
        mention.event_name,
        mention.source_id
    );

    let text = "You called? I'm here!";
    transcript.posted("demo-agent", text)?;
    posted(workspace.channel("general").post(text).await)?;

    let text = "What is six times seven?";
    transcript.sent("demo-agent", "other-bot", text)?;
    let Some(answer) = workspace.agent("other-bot").send_and_wait(text, STEP).await else {
        bail!("other-bot did not answer");
    };
    let text = answer.text().context("the answer of other-bot has no text")?;
    ensure!(text.contains("42"), "the answer of other-bot is wrong");
    transcript.sent("other-bot", "demo-agent", text)?;

    client.disconnect().await;
    transcript.left("demo-agent")
}

/// Greets whoever arrives, and sees the answer.
async fn other_bot(client: &AgentClient, transcript: Transcript) -> anyhow::Result<()> {
    let general = client.workspace().channel("general");
    let arrival = general.wait_for_post(Some("demo-agent"), STEP).await;
    arrival.context("other-bot did not see the post of demo-agent")?;
    let text = "Welcome, @demo-agent! Are you there?";
    transcript.posted("other-bot", text)?;
    posted(general.post(text).await)?;
    let answer = general.wait_for_post(Some("demo-agent"), STEP).await;
    let answer = answer.context("other-bot did not see the answer of demo-agent")?;
    ensure!(
        answer.text() == Some("You called? I'm here!"),
        "other-bot saw another answer"
    );
    Ok(())
}

fn posted(response: EventResponse) -> anyhow::Result<()> {
    receipt(response).context("a post was refused").map(drop)
}

/// Shows the conversation as it happens: each message before it is sent, since the answer may be here before the
/// acknowledgement.
#[derive(Clone, Copy)]
struct Transcript {
    output: Output,
}

impl Transcript {
    fn joined(self, who: &str) -> anyhow::Result<()> {
        match self.output {
            Output::Human => output::line(format!("{AGENT}{who}{AGENT:#} joined"))?,
            Output::Json => output::json(&json!({"event": "joined", "agent": who}))?,
        }
        Ok(())
    }

    fn left(self, who: &str) -> anyhow::Result<()> {
        match self.output {
            Output::Human => output::line(format!("{AGENT}{who}{AGENT:#} left"))?,
            Output::Json => output::json(&json!({"event": "left", "agent": who}))?,
        }
        Ok(())
    }

    fn posted(self, who: &str, text: &str) -> anyhow::Result<()> {
        match self.output {
            Output::Human => {
                output::line(format!(
                    "{CHANNEL}#general{CHANNEL:#} {AGENT}{who}{AGENT:#}: {text}"
                ))?;
            }
            Output::Json => {
                output::json(&json!({"event": "posted", "channel": "general", "agent": who, "text": text}))?;
            }
        }
        Ok(())
    }

    fn sent(self, who: &str, to: &str, text: &str) -> anyhow::Result<()> {
        match self.output {
            Output::Human => {
                output::line(format!("{AGENT}{who}{AGENT:#} → {AGENT}{to}{AGENT:#}: {text}"))?;
            }
            Output::Json => output::json(&json!({"event": "sent", "agent": who, "to": to, "text": text}))?,
        }
        Ok(())
    }

    fn tell(self, event: &str, what: &str) -> anyhow::Result<()> {
        match self.output {
            Output::Human => output::line(format!("{STRONG}{event}{STRONG:#} {what}"))?,
            Output::Json => output::json(&json!({"event": event, "text": what}))?,
        }
        Ok(())
    }
}
