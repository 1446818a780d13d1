//! `openagents token`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use openagents_client::AgentClient;
use openagents_protocol::call::{Call, CreateToken, ListTokens, RevokeToken, TokenInfo};
use openagents_protocol::record::Role;
use openagents_protocol::{AgentId, EventId, Json};
use openagents_server::{Caller, Settings, StoreError, Workspace};

use crate::connect::Endpoint;
use crate::output::{self, Output};
use crate::settings::default_data;

const EXAMPLES: &str = "\
With --data the directory of the workspace is used directly, as long as no server uses
it. Otherwise the server at --url is asked, which wants an admin token unless it is open
and on this machine. Without either, .openagents is used if it is there.

Examples:
  openagents token create --agent bob --data team/data   only for the agent bob
  openagents token create --role admin --expires 30d     for thirty days
  openagents token list
  openagents token revoke 01990f3c-…";

/// Make, list and revoke tokens
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Directory of the workspace
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "OPENAGENTS_DATA",
        hide_env_values = true
    )]
    data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a token and print it, this once
    Create(Box<Create>),
    /// List the tokens, without the tokens
    List {
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Revoke a token: sessions that use it end at once
    Revoke {
        /// Id of the token, as `token list` shows it
        #[arg(value_name = "ID")]
        token_id: EventId,
        #[command(flatten)]
        endpoint: Endpoint,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// The only agent it admits, and under its name nobody else
    #[arg(long, value_name = "ID")]
    agent: Option<AgentId>,
    /// What it allows: admin, moderator, member or observer
    #[arg(long, default_value_t)]
    role: Role,
    /// It ends after so long, such as 12h or 30d [default: never]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    expires: Option<Duration>,
    #[command(flatten)]
    endpoint: Endpoint,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let Arguments { command, data } = arguments;
    match command {
        Command::Create(create) => {
            let Create {
                agent,
                role,
                expires,
                endpoint,
            } = *create;
            let access = Access::open(data, &endpoint, Missing::IsMade).await?;
            let expires_in_seconds = expires.map(|expires| expires.as_secs());
            let call = CreateToken {
                role,
                agent_id: agent,
                expires_in_seconds,
            };
            let created = access.call(call).await?;
            match output {
                Output::Json => output::json(&created)?,
                Output::Human => {
                    output::line(created.token.expose())?;
                    output::note(format!("{}; it is not shown again", describe(&created.info)));
                }
            }
        }
        Command::List { endpoint } => {
            let access = Access::open(data, &endpoint, Missing::IsAnError).await?;
            let answer = access.call(ListTokens::default()).await?;
            match output {
                Output::Json => output::json(&answer)?,
                Output::Human if answer.tokens.is_empty() => output::note("there are no tokens"),
                Output::Human => {
                    let rows: Vec<_> = answer.tokens.iter().map(row).collect();
                    output::table(["TOKEN ID", "ROLE", "AGENT", "EXPIRES"], &rows)?;
                }
            }
        }
        Command::Revoke { token_id, endpoint } => {
            let access = Access::open(data, &endpoint, Missing::IsAnError).await?;
            let shown = token_id.to_string();
            let answer = access.call(RevokeToken { token_id }).await?;
            match output {
                Output::Json => output::json(&answer)?,
                Output::Human => output::line(format!("revoked {shown}"))?,
            }
        }
    }
    Ok(())
}

fn describe(token: &TokenInfo) -> String {
    let who = token
        .agent_id
        .as_ref()
        .map_or("any agent".to_owned(), |agent| format!("agent {agent}"));
    let end = token
        .expires_at
        .map(|end| format!(", until {}", output::moment(end)));
    format!(
        "token {} for {who} as {}{}",
        token.token_id,
        token.role,
        end.unwrap_or_default()
    )
}

fn row(token: &TokenInfo) -> [String; 4] {
    [
        token.token_id.clone(),
        token.role.to_string(),
        token
            .agent_id
            .as_ref()
            .map_or("any".to_owned(), |agent| output::printable_line(agent.as_str())),
        token.expires_at.map_or("never".to_owned(), output::moment),
    ]
}

/// What a directory that does not exist means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    IsMade,
    IsAnError,
}

/// The way to the tokens of a workspace.
enum Access {
    /// Through its directory; whoever may read that may do everything.
    Directory(Workspace),
    /// Through its server.
    Server(AgentClient),
}

impl Access {
    async fn open(data: Option<PathBuf>, endpoint: &Endpoint, missing: Missing) -> anyhow::Result<Self> {
        let directory = match data {
            Some(data) => data,
            None if endpoint.url.is_none() && default_data().is_dir() => default_data(),
            None => return Ok(Self::Server(endpoint.watch().await?)),
        };
        if let Some(workspace) = open_directory(&directory, missing).await? {
            return Ok(Self::Directory(workspace));
        }
        let (shown, url) = (directory.display(), endpoint.url());
        output::note(format!("a server uses {shown}; asking the one at {url}"));
        Ok(Self::Server(endpoint.watch().await?))
    }

    /// Makes one call, and leaves.
    async fn call<C: Call>(self, call: C) -> anyhow::Result<C::Reply> {
        match self {
            Self::Server(client) => {
                let reply = client.call(call).await;
                client.disconnect().await;
                Ok(reply?)
            }
            Self::Directory(workspace) => {
                let agent_id = "openagents-cli".parse().context("cannot act as an agent")?;
                let caller = Caller::new(agent_id, Role::Admin);
                let params = Json::encode(&call)?;
                let reply = workspace.call(&caller, C::METHOD, &params).await;
                workspace.close().await;
                Ok(serde_json::from_str(reply?.as_str())?)
            }
        }
    }
}

/// Opens the workspace of a directory; none while a server has it.
async fn open_directory(directory: &Path, missing: Missing) -> anyhow::Result<Option<Workspace>> {
    if !directory.is_dir() {
        if missing == Missing::IsAnError {
            bail!("there is no workspace in {}", directory.display());
        }
        output::note(format!("made a workspace in {}", directory.display()));
    }
    let mut settings = Settings::default();
    // Which channels there are is for the settings of the server to say.
    settings.channels.clear();
    match Workspace::open(directory, settings).await {
        Ok(workspace) => Ok(Some(workspace)),
        Err(StoreError::Locked { .. }) => Ok(None),
        Err(error) => {
            Err(error).with_context(|| format!("cannot open the workspace in {}", directory.display()))
        }
    }
}
