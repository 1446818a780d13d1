//! `openagents agents`.

use clap::Args;
use openagents_client::AgentInfo;
use openagents_protocol::call::{GetAgent, ListAgents};

use crate::connect::Connection;
use crate::outcome;
use crate::output::{self, Output};

const EXAMPLES: &str = "\
Examples:
  openagents agents
  openagents agents --all --capability rust --json
  openagents agents reviewer            everything about one agent";

/// List the agents that are online, or tell about one
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Only this agent, online or not
    #[arg(value_name = "ID", conflicts_with_all = ["all", "capability"])]
    one: Option<String>,
    /// Also those that are known and away
    #[arg(long)]
    all: bool,
    /// Only those that have this among their capabilities
    #[arg(long, value_name = "NAME")]
    capability: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let Arguments {
        one,
        all,
        capability,
        connection,
    } = arguments;
    let client = connection.watch().await?;
    if let Some(agent_id) = one {
        let told = outcome::ask(client, GetAgent { agent_id }).await?;
        return show(&told, output);
    }
    let answer = outcome::ask(client, ListAgents { all, capability }).await?;
    match output {
        Output::Json => output::json(&answer)?,
        Output::Human if answer.agents.is_empty() && all => output::note("there is no such agent"),
        Output::Human if answer.agents.is_empty() => {
            output::note("nobody is online; --all lists those that are away");
        }
        Output::Human => output::table(HEADING, &rows(&answer.agents))?,
    }
    Ok(())
}

/// Over the columns of [`rows`].
pub(crate) const HEADING: [&str; 4] = ["AGENT", "STATUS", "SINCE", "NAME"];

/// Agents as rows of a table.
pub(crate) fn rows(agents: &[AgentInfo]) -> Vec<[String; 4]> {
    agents.iter().map(row).collect()
}

fn row(agent: &AgentInfo) -> [String; 4] {
    [
        output::printable_line(&agent.id),
        output::printable_line(&agent.status),
        output::moment(agent.last_seen),
        agent
            .name
            .as_deref()
            .map(output::printable_line)
            .unwrap_or_default(),
    ]
}

/// Prints everything about one agent.
pub(crate) fn show(agent: &AgentInfo, output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        return Ok(output::json(agent)?);
    }
    let [id, status, since, name] = row(agent);
    output::fields(&[
        ("agent", id),
        ("name", name),
        ("status", status),
        ("since", since),
        (
            "capabilities",
            output::printable_line(&agent.capabilities.join(", ")),
        ),
        ("metadata", output::printable_line(agent.metadata.as_str())),
    ])?;
    Ok(())
}
