//! `openagents history`.

use clap::Args;
use openagents_client::Message;
use openagents_protocol::EventId;
use openagents_protocol::call::ListMessages;

use crate::connect::Connection;
use crate::outcome;
use crate::output::{self, AGENT, DIM, Output, STRONG};

const EXAMPLES: &str = "\
The newest messages, oldest of them first; as JSON one per line. The sequence in front of
a message is what --before and --after take; --ids shows the ids that other commands take.

Examples:
  openagents history general --limit 20
  openagents history general --after 1200 --json
  openagents history --thread 01990f3c-…
  openagents history --agent alice --agent-with reviewer";

/// Read what was said
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The channel, with or without #
    #[arg(required_unless_present_any = ["agent_with", "thread"], conflicts_with_all = ["agent_with", "thread"])]
    channel: Option<String>,
    /// The conversation with this agent instead
    #[arg(long, value_name = "ID", conflicts_with = "thread")]
    agent_with: Option<String>,
    /// The replies in the thread that this message begins instead
    #[arg(long, value_name = "MESSAGE")]
    thread: Option<EventId>,
    /// Show the ids of messages
    #[arg(long)]
    ids: bool,
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
        thread,
        ids,
        limit,
        before,
        after,
        connection,
    } = arguments;
    let client = connection.watch().await?;
    let query = ListMessages {
        thread_id: thread,
        channel,
        agent_id: agent_with,
        limit: Some(limit),
        before,
        after,
        offset: None,
        count: None,
    };
    let page = outcome::ask(client, query).await?;
    let mut messages = page.messages;
    if after.is_none() {
        messages.reverse();
    }
    for message in &messages {
        match output {
            Output::Json => output::json(message)?,
            Output::Human => output::line(show(message, ids))?,
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

/// A message for people, with its id if asked for.
pub(crate) fn show(message: &Message, with_id: bool) -> String {
    let (sequence, time) = (message.sequence, output::moment(message.timestamp));
    let who = output::printable_line(&message.sender_id);
    let what = output::printable(message.text().unwrap_or(message.content.as_str()));
    let reply = if message.reply_to_id.is_some() { "↳ " } else { "" };
    let title = message.thread_name.as_deref().map(|title| {
        let title = output::printable_line(title);
        format!("{STRONG}{title}{STRONG:#}: ")
    });
    let id = if with_id {
        format!("{} ", message.message_id)
    } else {
        String::new()
    };
    format!(
        "{DIM}{sequence:>6} {time}{DIM:#} {id}{AGENT}{who}{AGENT:#} {reply}{}{what}{DIM}{}{DIM:#}",
        title.unwrap_or_default(),
        remarks(message)
    )
}

/// What else there is to say of a message.
fn remarks(message: &Message) -> String {
    let mut remarks = Vec::new();
    if message.edited_at.is_some() {
        remarks.push("edited".to_owned());
    }
    if 0 < message.reply_count {
        remarks.push(match message.reply_count {
            1 => "1 reply".to_owned(),
            count => format!("{count} replies"),
        });
    }
    remarks.extend(message.reactions.iter().map(|reaction| {
        let shown = output::printable_line(&reaction.reaction);
        format!("{shown} {}", reaction.count)
    }));
    if remarks.is_empty() {
        return String::new();
    }
    format!("  [{}]", remarks.join(", "))
}
