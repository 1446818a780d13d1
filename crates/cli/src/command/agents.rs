//! `openagents agents`.

use clap::Args;
use openagents_client::AgentInfo;
use openagents_protocol::call::ListAgents;

use crate::connect::Connection;
use crate::output::{self, Output};

/// List the agents that are online
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  openagents agents\n  openagents agents --all --json")]
pub(crate) struct Arguments {
    /// Also those that are known and away
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let client = arguments.connection.watch().await?;
    let answer = client
        .call(ListAgents {
            all: arguments.all,
            capability: None,
        })
        .await?;
    client.disconnect().await;
    match output {
        Output::Json => output::json(&answer)?,
        Output::Human if answer.agents.is_empty() => {
            output::note("nobody is online; --all lists those that are away");
        }
        Output::Human => {
            let rows: Vec<_> = answer.agents.iter().map(row).collect();
            output::table(["AGENT", "STATUS", "SINCE", "NAME"], &rows)?;
        }
    }
    Ok(())
}

fn row(agent: &AgentInfo) -> [String; 4] {
    [
        output::printable_line(&agent.id),
        agent.status.clone(),
        output::moment(agent.last_seen),
        agent
            .name
            .as_deref()
            .map(output::printable_line)
            .unwrap_or_default(),
    ]
}
