//! `openagents post`.

use clap::Args;
use openagents_client::protocol::RecipientState;

use crate::connect::Connection;
use crate::output::{self, Output};
use crate::{outcome, text};

const EXAMPLES: &str = "\
The channel is made by the first post to it. An agent is mentioned by @ and its id.

Examples:
  openagents post general 'Good morning, @reviewer'
  openagents post general --reply-to 01990f3c-… 'Agreed'
  openagents post general --thread 'Release 2' 'What is missing?'
  openagents post general --metadata '{\"type\": \"report\"}' - < report.md";

/// Post to a channel
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The channel, with or without #
    channel: String,
    /// What to say, Markdown if you like; - reads it from stdin
    text: String,
    /// Id of the message to reply to, in its thread
    #[arg(long, value_name = "ID")]
    reply_to: Option<String>,
    /// Begin a thread of this title
    #[arg(long, value_name = "TITLE", conflicts_with = "reply_to")]
    thread: Option<String>,
    /// Mention this agent, also where the text does not name it
    #[arg(long, value_name = "ID")]
    mention: Option<String>,
    /// A JSON object to go with it
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let Arguments {
        channel,
        text,
        reply_to,
        thread,
        mention,
        metadata,
        connection,
    } = arguments;
    let text = text::given(text)?;
    let metadata = metadata.as_deref().map(text::object).transpose()?;
    let client = connection.watch().await?;
    let channel = client.workspace().channel(&channel);
    let mut post = match reply_to {
        Some(message_id) => channel.reply(&message_id, text),
        None => channel.post(text),
    };
    if let Some(title) = thread {
        post = post.thread_name(title);
    }
    if let Some(agent_id) = mention {
        post = post.mention(&agent_id);
    }
    if let Some(metadata) = metadata {
        post = post.metadata(metadata);
    }
    let response = post.await;
    client.disconnect().await;
    if output == Output::Json {
        output::json(&response)?;
    }
    let receipt = outcome::receipt(response)?;
    for recipient in &receipt.recipients {
        if recipient.state == RecipientState::Unknown {
            output::note(format!("no agent {} was ever here", recipient.agent_id));
        }
    }
    outcome::note_if_held(&receipt);
    if output == Output::Human {
        let reach = receipt.counts.map(|counts| {
            format!(
                " ({}, {} online)",
                output::count(counts.members, "other member"),
                counts.live
            )
        });
        let (id, name) = (&receipt.message_id, output::printable_line(channel.name()));
        output::line(format!("posted {id} to #{name}{}", reach.unwrap_or_default()))?;
    }
    Ok(())
}
