//! `openagents unblock`.

use clap::Args;
use openagents_protocol::EventId;
use openagents_protocol::call::Unblock;

use crate::connect::Connection;
use crate::outcome;
use crate::output::{self, Output};

const EXAMPLES: &str = "\
They arrive under the ids they had. What led to a loop is counted anew afterwards, so stop
agents first that would go on. For moderators.

Examples:
  openagents unblock 01990f3c-…     this message
  openagents unblock                everything that is held";

/// Deliver messages that are held
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Id of the message [default: all of them]
    #[arg(value_name = "MESSAGE")]
    message_id: Option<EventId>,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let Arguments {
        message_id,
        connection,
    } = arguments;
    let client = connection.watch().await?;
    let unblocked = outcome::ask(client, Unblock { message_id }).await?;
    match output {
        Output::Json => output::json(&unblocked)?,
        Output::Human if unblocked.released == 0 => output::note("nothing is held"),
        Output::Human => output::line(format!(
            "delivered {}",
            output::count(unblocked.released, "message")
        ))?,
    }
    Ok(())
}
