//! `openagents explain`.

use clap::Args;
use openagents_protocol::EventId;
use openagents_protocol::call::Explain;

use crate::connect::Connection;
use crate::outcome;
use crate::output::{self, Output, STRONG};

const EXAMPLES: &str = "\
The agent itself may ask, the author of the event, and moderators.

Examples:
  openagents explain 01990f3c-… reviewer
  openagents explain 01990f3c-… reviewer --json | jq -r '.checks[] | select(.passed | not).detail'";

/// Tell why an agent got an event, or did not
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Id of the event; of a message, the message id
    #[arg(value_name = "EVENT")]
    event_id: EventId,
    /// Id of the agent that got it, or did not
    #[arg(value_name = "OF")]
    of: String,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let Arguments {
        event_id,
        of: agent_id,
        connection,
    } = arguments;
    let client = connection.watch().await?;
    let explained = outcome::ask(client, Explain { event_id, agent_id }).await?;
    match output {
        Output::Json => output::json(&explained)?,
        Output::Human => {
            let verdict = output::printable_line(&explained.verdict);
            output::line(format!("{STRONG}{verdict}{STRONG:#}"))?;
            for check in &explained.checks {
                let mark = if check.passed { "✓" } else { "✗" };
                let detail = output::printable_line(&check.detail);
                output::line(format!("  {mark} {:<12} {detail}", check.name))?;
            }
        }
    }
    Ok(())
}
