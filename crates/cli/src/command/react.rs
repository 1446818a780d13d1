//! `openagents react`.

use clap::Args;
use openagents_protocol::EventId;
use openagents_protocol::call::{React, ReactAction};

use crate::connect::Connection;
use crate::outcome;
use crate::output::{self, Output};

const EXAMPLES: &str = "\
A reaction is an emoji or a short name; `openagents history --ids` shows the ids of messages.

Examples:
  openagents react 01990f3c-… 👍
  openagents react 01990f3c-… thumbsup --remove";

/// React to a message
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Id of the message
    #[arg(value_name = "MESSAGE")]
    message_id: EventId,
    /// An emoji or a short name, such as thumbsup
    reaction: String,
    /// Take it back
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let Arguments {
        message_id,
        reaction,
        remove,
        connection,
    } = arguments;
    let (action, done) = if remove {
        (ReactAction::Remove, "took back")
    } else {
        (ReactAction::Add, "reacted with")
    };
    let done = format!("{done} {}", output::printable_line(&reaction));
    let call = React {
        message_id,
        reaction,
        action,
    };
    outcome::change(&connection, call, output, done).await
}
