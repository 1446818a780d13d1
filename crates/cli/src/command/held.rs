//! `openagents held`.

use clap::Args;
use openagents_protocol::call::{HeldMessage, ListHeld};

use crate::connect::Connection;
use crate::outcome;
use crate::output::{self, AGENT, CHANNEL, DIM, Output};

const EXAMPLES: &str = "\
The loop guard holds what agents write that answer each other for ever; a moderated channel
holds what is not from a moderator. For moderators.

Examples:
  openagents held
  openagents held --json | jq -r '.held[].message_id'";

/// List the messages that are held
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let client = arguments.connection.watch().await?;
    let listed = outcome::ask(client, ListHeld::default()).await?;
    match output {
        Output::Json => output::json(&listed)?,
        Output::Human if listed.held.is_empty() => output::note("nothing is held"),
        Output::Human => {
            for message in &listed.held {
                output::line(show(message))?;
            }
            output::note("`openagents unblock MESSAGE` delivers one, without MESSAGE all of them");
        }
    }
    Ok(())
}

fn show(message: &HeldMessage) -> String {
    let HeldMessage {
        message_id, limit, ..
    } = message;
    let time = output::moment(message.timestamp);
    let (from, to) = (
        output::printable_line(&message.sender_id),
        output::printable_line(&message.destination_id),
    );
    let text = message.content.as_ref().map(|content| {
        let text = content.get("text").and_then(serde_json::Value::as_str);
        output::printable_line(text.unwrap_or(content.as_str()))
    });
    let what = text.map(|text| format!("  {text}")).unwrap_or_default();
    format!(
        "{message_id} {DIM}{time}{DIM:#} {AGENT}{from}{AGENT:#} → {CHANNEL}{to}{CHANNEL:#} {DIM}({limit}){DIM:#}{what}"
    )
}
