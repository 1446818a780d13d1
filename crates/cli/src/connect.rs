//! Joining a workspace from the command line.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use openagents_client::{AgentClient, ConnectError, ErrorBody, ErrorCode, Secret};

/// Where `serve` listens when nothing else is said.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8700";

/// How long a connection may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where the workspace is, and what admits to it.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Endpoint {
    /// The workspace [default: http://127.0.0.1:8700]
    #[arg(long, env = "OPENAGENTS_URL", hide_env_values = true)]
    pub(crate) url: Option<String>,
    /// What admits to the workspace: a token, or the password of a group
    #[arg(long, env = "OPENAGENTS_TOKEN", hide_env_values = true)]
    token: Option<Secret>,
    /// Certificates to trust besides those of this machine, in PEM
    #[arg(long, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
}

/// Where the workspace is, and who asks.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    #[command(flatten)]
    endpoint: Endpoint,
    /// The agent to act as [default: the one of the token, else `cli-` and the name of the user]
    #[arg(long, value_name = "ID", env = "OPENAGENTS_AGENT", hide_env_values = true)]
    pub(crate) agent: Option<String>,
}

/// Whether others see the agent come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// Any number at once, and the agent itself neither comes online nor misses anything by it.
    Watching,
    /// The agent is online, once, and what it gets counts as read.
    Consuming,
}

impl Connection {
    /// The workspace that is meant.
    pub(crate) fn url(&self) -> &str {
        self.endpoint.url()
    }

    /// Looks in: publishes, calls and watches as the agent, which does not come online by it.
    pub(crate) async fn watch(&self) -> anyhow::Result<AgentClient> {
        match &self.agent {
            Some(agent) => {
                self.endpoint
                    .connect(AgentClient::new(agent), Presence::Watching)
                    .await
            }
            None => self.endpoint.watch().await,
        }
    }

    /// Joins as the agent, which is online until it leaves; without one, under an id made for this once.
    pub(crate) async fn join(&self) -> anyhow::Result<AgentClient> {
        match &self.agent {
            Some(agent) => {
                self.endpoint
                    .connect(AgentClient::new(agent), Presence::Consuming)
                    .await
            }
            None => self.endpoint.join().await,
        }
    }
}

impl Endpoint {
    /// The workspace that is meant.
    pub(crate) fn url(&self) -> &str {
        self.url
            .as_deref()
            .filter(|url| !url.is_empty())
            .unwrap_or(DEFAULT_URL)
    }

    /// Looks in as the person at the keyboard, or as the agent of the token.
    pub(crate) async fn watch(&self) -> anyhow::Result<AgentClient> {
        match self
            .connect(AgentClient::new(user_agent()), Presence::Watching)
            .await
        {
            // The token is for one agent only: be that one.
            Err(error) if is_other_agent(&error) => {
                self.connect(AgentClient::anonymous(), Presence::Watching).await
            }
            outcome => outcome,
        }
    }

    /// Joins under an id made for this once, or as the agent of the token.
    pub(crate) async fn join(&self) -> anyhow::Result<AgentClient> {
        self.connect(AgentClient::anonymous(), Presence::Consuming).await
    }

    async fn connect(&self, client: AgentClient, presence: Presence) -> anyhow::Result<AgentClient> {
        let url = self.url();
        let port =
            port(url).with_context(|| format!("{url:?} is no URL of a workspace, such as {DEFAULT_URL}"))?;
        let mut connect = client.connect_to_server(url, port).timeout(TIMEOUT);
        if let Some(token) = self.token.clone().filter(|token| !token.expose().is_empty()) {
            connect = connect.token(token);
        }
        if let Some(path) = &self.ca_cert {
            connect = connect.ca_certificate(path);
        }
        if presence == Presence::Watching {
            connect = connect.watching();
        }
        connect.await.map_err(|error| explain(error, url))?;
        Ok(client)
    }
}

fn explain(error: ConnectError, url: &str) -> anyhow::Error {
    let nobody = matches!(
        &error,
        ConnectError::Unreachable { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused
    );
    let context = if nobody {
        format!("no workspace at {url}: start one with `openagents serve`")
    } else {
        format!("cannot join the workspace at {url}")
    };
    anyhow::Error::new(error).context(context)
}

fn is_other_agent(error: &anyhow::Error) -> bool {
    let refused = error.chain().find_map(|cause| cause.downcast_ref::<ErrorBody>());
    refused.is_some_and(|error| error.code == ErrorCode::Forbidden)
}

/// The person at the keyboard as an agent.
fn user_agent() -> String {
    let user = ["USER", "LOGNAME", "USERNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok());
    let legal = |character: &char| character.is_alphanumeric() || "_-.".contains(*character);
    let user: String = user.unwrap_or_default().chars().filter(legal).take(32).collect();
    if user.is_empty() {
        "cli".to_owned()
    } else {
        format!("cli-{user}")
    }
}

/// The port of a URL: as written, else the one of its scheme, else that of `serve`.
fn port(url: &str) -> Option<u16> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let written = match authority.rsplit_once(']') {
        Some((_, after)) => after.strip_prefix(':'),
        None => authority.rsplit_once(':').map(|(_, port)| port),
    };
    match (written, scheme) {
        (Some(written), _) => written.parse().ok(),
        (None, "https" | "wss") => Some(443),
        (None, "http" | "ws") => Some(80),
        (None, _) => Some(8700),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_the_written_one_or_that_of_the_scheme() {
        let check = |url: &str, expected: Option<u16>| assert_eq!(port(url), expected, "{url}");
        check("http://127.0.0.1:8700", Some(8700));
        check("https://example.org/", Some(443));
        check("http://example.org", Some(80));
        check("http://[::1]:9000/ws", Some(9000));
        check("localhost", Some(8700));
        check("localhost:9000", Some(9000));
        check("http://localhost:nine", None);
    }
}
