//! `openagents edit`.

use clap::Args;
use openagents_protocol::call::EditMessage;
use openagents_protocol::{EventId, Json};

use crate::connect::Connection;
use crate::outcome;
use crate::output::Output;
use crate::text;

const EXAMPLES: &str = "\
Only its author edits a message; say who that is with --agent, unless it is you.

Examples:
  openagents edit 01990f3c-… 'What I meant to say'
  openagents edit 01990f3c-… - < corrected.md";

/// Replace what a message says
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Id of the message
    #[arg(value_name = "MESSAGE")]
    message_id: EventId,
    /// What it says from now on; - reads it from stdin
    text: String,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let Arguments {
        message_id,
        text,
        connection,
    } = arguments;
    let done = format!("edited {message_id}");
    let content = Json::encode(&text::given(text)?)?;
    outcome::change(&connection, EditMessage { message_id, content }, output, done).await
}
