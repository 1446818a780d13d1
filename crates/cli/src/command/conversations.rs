//! `openagents conversations`.

use clap::Args;
use openagents_protocol::call::{Conversation, ListConversations};

use crate::connect::Connection;
use crate::outcome;
use crate::output::{self, Output};

const EXAMPLES: &str = "\
Unread is what the agent has not acknowledged yet. `openagents history --agent-with ID` reads
a conversation.

Examples:
  openagents conversations
  openagents conversations --agent reviewer --limit 10 --json";

/// List the agents that an agent writes with, the newest first
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// At most so many, 1 to 1000
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: u32,
    /// Only those whose newest message is before this sequence
    #[arg(long, value_name = "SEQUENCE")]
    before: Option<u64>,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let Arguments {
        limit,
        before,
        connection,
    } = arguments;
    let client = connection.watch().await?;
    let params = ListConversations {
        limit: Some(limit),
        before,
    };
    let who = client.agent_id();
    let page = outcome::ask(client, params).await?;
    match output {
        Output::Json => output::json(&page)?,
        Output::Human if page.conversations.is_empty() => {
            output::note(format!("{who} wrote with nobody yet"));
        }
        Output::Human => {
            let rows: Vec<_> = page.conversations.iter().map(row).collect();
            output::table(["AGENT", "UNREAD", "LAST", "MESSAGE"], &rows)?;
            let oldest = page
                .conversations
                .last()
                .and_then(|last| last.last_message.as_ref());
            if let (true, Some(oldest)) = (page.has_more, oldest) {
                output::note(format!("older ones: --before {}", oldest.sequence));
            }
        }
    }
    Ok(())
}

fn row(conversation: &Conversation) -> [String; 4] {
    let last = conversation.last_message.as_ref();
    let text = last.map(|message| message.text().unwrap_or(message.content.as_str()));
    [
        output::printable_line(&conversation.agent_id),
        match conversation.unread {
            10_000.. => "10000+".to_owned(),
            unread => unread.to_string(),
        },
        last.map(|message| output::moment(message.timestamp))
            .unwrap_or_default(),
        output::cut(&output::printable_line(text.unwrap_or_default()), 60),
    ]
}
