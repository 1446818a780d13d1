//! `openagents send`.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use openagents_client::protocol::RecipientState;
use openagents_client::{AgentClient, AskError, ErrorBody, ErrorCode, Event, Receipt};
use openagents_protocol::call::ListAgents;

use crate::connect::Connection;
use crate::output::{self, Output};
use crate::{outcome, text};

const EXAMPLES: &str = "\
With --wait the answer is printed; no answer in time is an error. Without --agent the
question comes from an agent that is made for it and leaves afterwards.

Examples:
  openagents send reviewer 'The branch is ready'
  openagents send reviewer 'Shall I merge?' --wait 5m";

/// Send a message to one agent
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Id of the agent
    #[arg(value_name = "AGENT")]
    to: String,
    /// What to say; - reads it from stdin
    text: String,
    /// A JSON object to go with it
    #[arg(long, value_name = "JSON", conflicts_with = "wait")]
    metadata: Option<String>,
    /// Wait so long for the answer, such as 30s or 5m
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let Arguments {
        to,
        text,
        metadata,
        wait,
        connection,
    } = arguments;
    let text = text::given(text)?;
    let metadata = metadata.as_deref().map(text::object).transpose()?;
    let Some(limit) = wait else {
        let client = connection.watch().await?;
        let mut message = client.workspace().agent(&to).send(text);
        if let Some(metadata) = metadata {
            message = message.metadata(metadata);
        }
        let response = message.await;
        client.disconnect().await;
        if output == Output::Json {
            output::json(&response)?;
        }
        let receipt = outcome::receipt(response)?;
        outcome::note_if_held(&receipt);
        return if output == Output::Human {
            Ok(output::line(sent(&receipt, &to))?)
        } else {
            Ok(())
        };
    };
    let client = join_to_ask(&connection).await?;
    let answer = client.workspace().agent(&to).ask(text, limit).await;
    client.disconnect().await;
    print_answer(&answer.map_err(|error| explain(error, &to))?, output)
}

/// Joins in a way that an answer reaches: an agent that is known is looked over the shoulder, so that it neither
/// loses its place nor what waits for it; any other joins.
async fn join_to_ask(connection: &Connection) -> anyhow::Result<AgentClient> {
    let Some(agent) = &connection.agent else {
        return connection.join().await;
    };
    let client = connection.watch().await?;
    let known = client
        .call(ListAgents {
            all: true,
            capability: None,
        })
        .await?
        .agents;
    if known.iter().any(|known| known.id == client.agent_id()) {
        return Ok(client);
    }
    client.disconnect().await;
    connection
        .join()
        .await
        .with_context(|| format!("cannot become agent {agent}"))
}

fn explain(error: AskError, to: &str) -> anyhow::Error {
    match error {
        // The same words as for a message without waiting.
        AskError::Unknown => {
            ErrorBody::new(ErrorCode::AgentNotFound, format!("no agent {to} was ever here")).into()
        }
        other => anyhow::Error::new(other),
    }
}

fn sent(receipt: &Receipt, to: &str) -> String {
    let recipient = receipt.recipients.first();
    let away = recipient
        .filter(|recipient| recipient.state == RecipientState::Away)
        .map(|recipient| {
            let seen = recipient
                .last_seen
                .map(|seen| format!(" since {}", output::moment(seen)));
            let unread = recipient.unread.map(|unread| format!(", {unread} unread"));
            format!(
                " (away{}{})",
                seen.unwrap_or_default(),
                unread.unwrap_or_default()
            )
        });
    format!("sent {} to {to}{}", receipt.message_id, away.unwrap_or_default())
}

fn print_answer(answer: &Event, output: Output) -> anyhow::Result<()> {
    match (output, answer.text()) {
        (Output::Json, _) => output::json(answer)?,
        (Output::Human, Some(text)) => output::line(output::printable(text))?,
        (Output::Human, None) => output::line(output::printable(answer.payload.as_str()))?,
    }
    Ok(())
}
