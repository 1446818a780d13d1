//! `openagents status`.

use clap::Args;
use openagents_protocol::call::{GetAgent, UpdateAgent};

use crate::connect::Connection;
use crate::output::{self, Output};
use crate::{command, outcome, text};

const EXAMPLES: &str = "\
A status shows while the agent is online; `online` takes it back. Without anything to change
the agent is shown as it is.

Examples:
  openagents status busy --agent reviewer
  openagents status --agent reviewer --metadata '{\"name\": \"Reviewer\", \"capabilities\": [\"rust\"]}'";

/// Tell others what an agent does, and what it is
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// What it does now, such as busy: 1 to 100 bytes
    status: Option<String>,
    /// All of its metadata, a JSON object
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let Arguments {
        status,
        metadata,
        connection,
    } = arguments;
    let metadata = metadata.as_deref().map(text::object).transpose()?;
    let client = connection.watch().await?;
    let changes_status = status.is_some();
    let told = if status.is_none() && metadata.is_none() {
        let agent_id = client.agent_id();
        outcome::ask(client, GetAgent { agent_id }).await?
    } else {
        outcome::ask(client, UpdateAgent { status, metadata }).await?
    };
    command::agents::show(&told, output)?;
    if changes_status && told.status == "offline" {
        output::note("the status shows when the agent is online");
    }
    Ok(())
}
