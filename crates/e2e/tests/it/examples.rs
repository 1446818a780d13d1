//! Every program of `examples/` does what it promises, against a real server.

mod agents;
mod clients;
mod files;
mod teams;

use std::path::Path;

use anyhow::Context;
use openagents_client::{AgentClient, Channel, Event};
use openagents_e2e::{Peer, SOON, Workspace, within};

const PROGRAM: &str = env!("CARGO_BIN_EXE_example");

/// An example that runs.
struct Example {
    peer: Peer,
}

impl Example {
    /// Starts an example against a workspace.
    fn start(name: &str, workspace: &Workspace, more: &[&str]) -> anyhow::Result<Self> {
        Self::start_at(name, workspace.port(), more)
    }

    fn start_at(name: &str, port: u16, more: &[&str]) -> anyhow::Result<Self> {
        let port = port.to_string();
        let arguments = [&["127.0.0.1", &port], more].concat();
        let peer = Peer::spawn(Path::new(PROGRAM), &arguments, &[("EXAMPLE", name)])?;
        Ok(Self { peer })
    }

    /// The next line that it prints.
    async fn line(&mut self) -> anyhow::Result<String> {
        let line = within(SOON, self.peer.line()).await?;
        line.context("the example ended")
    }

    /// Reads lines until one begins like this.
    async fn prints(&mut self, beginning: &str) -> anyhow::Result<()> {
        while !self.line().await?.starts_with(beginning) {}
        Ok(())
    }

    /// All that it still prints, until it ends by itself.
    async fn output(mut self) -> anyhow::Result<Vec<String>> {
        let mut lines = Vec::new();
        while let Some(line) = within(SOON, self.peer.line()).await? {
            lines.push(line);
        }
        anyhow::ensure!(within(SOON, self.peer.ended()).await?.success(), "it failed");
        Ok(lines)
    }

    /// Ends it as Ctrl-C does.
    async fn interrupt(self) -> anyhow::Result<()> {
        self.peer.signal("INT").await?;
        anyhow::ensure!(within(SOON, self.peer.ended()).await?.success(), "it failed");
        Ok(())
    }
}

/// Somebody who uses a workspace beside the example.
struct User {
    client: AgentClient,
    general: Channel,
}

impl User {
    async fn join(workspace: &Workspace, agent_id: &str) -> anyhow::Result<Self> {
        let client = workspace.join(agent_id).await?;
        let general = client.workspace().channel("general");
        Ok(Self { client, general })
    }

    /// Waits until all of these agents have joined.
    async fn meets(&self, agents: &[&str]) -> anyhow::Result<()> {
        for agent_id in agents {
            let agent_id = (*agent_id).to_owned();
            if !self.client.workspace().agents().await?.contains(&agent_id) {
                let joined =
                    move |event: &Event| event.event_name == "agent.joined" && event.source_id == agent_id;
                self.client
                    .wait_event(joined, SOON)
                    .await
                    .context("nobody joined")?;
            }
        }
        Ok(())
    }

    /// The text of the next post of an agent in a channel.
    async fn reads_post(&self, channel: &str, agent_id: &str) -> anyhow::Result<String> {
        let channel = self.client.workspace().channel(channel);
        let post = channel
            .wait_for_post(Some(agent_id), SOON)
            .await
            .context("no post")?;
        Ok(post.text().unwrap_or_default().to_owned())
    }

    /// Posts, and waits for the first reply: who replies, and what.
    async fn gets_reply(&self, text: &str) -> anyhow::Result<(String, String)> {
        let reply = self.general.post_and_wait(text, SOON).await.context("no reply")?;
        let text = reply.text().unwrap_or_default().to_owned();
        Ok((reply.sender_id, text))
    }

    /// Writes to an agent, and waits for its answer.
    async fn gets_answer(&self, agent_id: &str, text: &str) -> anyhow::Result<String> {
        let agent = self.client.workspace().agent(agent_id);
        let answer = agent.send_and_wait(text, SOON).await.context("no answer")?;
        Ok(answer.text().unwrap_or_default().to_owned())
    }

    /// The text of the next direct message of an agent.
    async fn reads_message(&self, agent_id: &str) -> anyhow::Result<String> {
        let agent = self.client.workspace().agent(agent_id);
        let message = agent.wait_for_message(SOON).await.context("no message")?;
        Ok(message.text().unwrap_or_default().to_owned())
    }
}

#[tokio::test]
async fn no_example_is_left_out() -> anyhow::Result<()> {
    let all = Example {
        peer: Peer::spawn(Path::new(PROGRAM), &[], &[])?,
    }
    .output()
    .await?;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/src/bin");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        files.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    files.sort();
    assert_eq!(all, files);
    Ok(())
}
