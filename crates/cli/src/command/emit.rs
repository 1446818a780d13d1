//! `openagents emit`.

use clap::Args;
use openagents_client::Event;

use crate::connect::Connection;
use crate::output::{self, Output};
use crate::{outcome, text};

const EXAMPLES: &str = "\
For events of any name that is not the workspace's own; messages are sent by `post` and
`send`.

Examples:
  openagents emit task.delegate agent:worker '{\"task\": \"review\", \"branch\": \"main\"}'
  openagents emit build.finished channel:dev '{\"ok\": true}'
  openagents emit draft.progress channel:dev '{\"percent\": 40}' --ephemeral";

/// Send an event
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Name of the event: parts of small letters, digits and _, with dots between
    #[arg(value_name = "NAME")]
    name: String,
    /// Where it goes: channel:NAME, agent:ID, or agent:broadcast for everybody
    #[arg(value_name = "ADDRESS")]
    to: String,
    /// What it carries, a JSON object
    #[arg(default_value = "{}")]
    payload: String,
    /// Tell those who are connected, and store it nowhere
    #[arg(long)]
    ephemeral: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let Arguments {
        name,
        to,
        payload,
        ephemeral,
        connection,
    } = arguments;
    let mut event = Event::new(&name).to(&to).payload(text::object(&payload)?);
    event.ephemeral = ephemeral;
    let client = connection.watch().await?;
    let response = client.send_event(event).await;
    client.disconnect().await;
    if output == Output::Json {
        output::json(&response)?;
    }
    let receipt = outcome::receipt(response)?;
    if output == Output::Human {
        output::line(format!(
            "sent {} to {}",
            receipt.event_id,
            output::printable_line(&to)
        ))?;
    }
    Ok(())
}
