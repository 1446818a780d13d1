//! `openagents delete`.

use clap::Args;
use openagents_protocol::EventId;
use openagents_protocol::call::DeleteMessage;

use crate::connect::Connection;
use crate::outcome;
use crate::output::Output;

const EXAMPLES: &str = "\
What it said is erased for good, also from the log. Its author deletes a message, and so do
moderators.

Examples:
  openagents delete 01990f3c-…
  openagents delete 01990f3c-… --agent reviewer";

/// Delete a message
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Id of the message
    #[arg(value_name = "MESSAGE")]
    message_id: EventId,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let Arguments {
        message_id,
        connection,
    } = arguments;
    let done = format!("deleted {message_id}");
    outcome::change(&connection, DeleteMessage { message_id }, output, done).await
}
