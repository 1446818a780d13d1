//! `openagents post`.

use clap::Args;
use openagents_client::protocol::RecipientState;

use crate::connect::{Connection, receipt};
use crate::output::{self, Output};

const EXAMPLES: &str = "\
The channel is made by the first post to it. An agent is mentioned by @ and its id.

Examples:
  openagents post general 'Good morning, @reviewer'
  openagents post general --reply-to 01990f3c-… 'Agreed'";

/// Post to a channel
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The channel, with or without #
    channel: String,
    /// What to say
    text: String,
    /// Id of the message to reply to
    #[arg(long, value_name = "ID")]
    reply_to: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let Arguments {
        channel,
        text,
        reply_to,
        connection,
    } = arguments;
    let client = connection.watch().await?;
    let channel = client.workspace().channel(&channel);
    let response = match reply_to {
        Some(message_id) => channel.reply(&message_id, text).await,
        None => channel.post(text).await,
    };
    client.disconnect().await;
    if output == Output::Json {
        output::json(&response)?;
    }
    let receipt = receipt(response)?;
    for recipient in &receipt.recipients {
        if recipient.state == RecipientState::Unknown {
            output::note(format!("no agent {} was ever here", recipient.agent_id));
        }
    }
    if output == Output::Human {
        let reach = receipt.counts.map(|counts| {
            format!(
                " ({}, {} online)",
                output::count(counts.members, "other member"),
                counts.live
            )
        });
        let (id, name, reach) = (&receipt.message_id, channel.name(), reach.unwrap_or_default());
        output::line(format!("posted {id} to #{name}{reach}"))?;
    }
    Ok(())
}
