//! `openagents history`.

use clap::Args;
use openagents_client::Message;
use openagents_protocol::call::ListMessages;

use crate::connect::Connection;
use crate::output::{self, AGENT, DIM, Output};

const EXAMPLES: &str = "\
The newest messages, oldest of them first; as JSON one per line. The sequence in front of
a message is what --before and --after take.

Examples:
  openagents history general --limit 20
  openagents history general --after 1200 --json
  openagents history --agent alice --agent-with reviewer";

/// Read what was said
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The channel, with or without #
    #[arg(required_unless_present = "agent_with", conflicts_with = "agent_with")]
    channel: Option<String>,
    /// The conversation with this agent instead
    #[arg(long, value_name = "ID")]
    agent_with: Option<String>,
    /// At most so many messages, 1 to 1000
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: u32,
    /// Only messages before this sequence
    #[arg(long, value_name = "SEQUENCE", conflicts_with = "after")]
    before: Option<u64>,
    /// Only messages after this sequence
    #[arg(long, value_name = "SEQUENCE")]
    after: Option<u64>,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let Arguments {
        channel,
        agent_with,
        limit,
        before,
        after,
        connection,
    } = arguments;
    let client = connection.watch().await?;
    let query = ListMessages {
        thread_id: None,
        channel,
        agent_id: agent_with,
        limit: Some(limit),
        before,
        after,
        offset: None,
    };
    let page = client.call(query).await?;
    client.disconnect().await;
    let mut messages = page.messages;
    if after.is_none() {
        messages.reverse();
    }
    for message in &messages {
        match output {
            Output::Json => output::json(message)?,
            Output::Human => output::line(show(message))?,
        }
    }
    if page.has_more {
        match (after, messages.first(), messages.last()) {
            (None, Some(oldest), _) => output::note(format!("older ones: --before {}", oldest.sequence)),
            (Some(_), _, Some(newest)) => output::note(format!("newer ones: --after {}", newest.sequence)),
            _ => {}
        }
    }
    Ok(())
}

fn show(message: &Message) -> String {
    let (sequence, time) = (message.sequence, output::moment(message.timestamp));
    let who = output::printable_line(&message.sender_id);
    let what = output::printable(message.text().unwrap_or(message.content.as_str()));
    let reply = if message.reply_to_id.is_some() { "↳ " } else { "" };
    format!("{DIM}{sequence:>6} {time}{DIM:#} {AGENT}{who}{AGENT:#} {reply}{what}")
}
