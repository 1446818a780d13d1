//! `openagents message`.

use clap::Args;
use openagents_protocol::EventId;
use openagents_protocol::call::GetMessage;

use crate::command::history::show;
use crate::connect::Connection;
use crate::outcome;
use crate::output::{self, Output};

const EXAMPLES: &str = "\
Examples:
  openagents message 01990f3c-…
  openagents message 01990f3c-… --json | jq .reactions";

/// Read one message
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
    let client = connection.watch().await?;
    let message = outcome::ask(client, GetMessage { message_id }).await?;
    match output {
        Output::Json => output::json(&message)?,
        Output::Human => output::line(show(&message, false))?,
    }
    Ok(())
}
