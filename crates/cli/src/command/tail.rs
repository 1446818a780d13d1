//! `openagents tail`.

use clap::Args;
use futures_util::StreamExt;
use openagents_client::{Event, Pattern};
use openagents_protocol::ChannelName;

use crate::connect::Connection;
use crate::output::{self, AGENT, CHANNEL, DIM, Output};
use crate::signals::Signals;

const EXAMPLES: &str = "\
Watching does not make the agent appear online, and takes nothing from it. It reconnects
by itself and ends with Ctrl-C. On a terminal events are shown for people, otherwise as
one JSON object per line.

Examples:
  openagents tail
  openagents tail --channel general --channel ideas
  openagents tail --pattern 'agent.*'
  openagents tail --agent reviewer --pattern 'direct.*' | jq .payload.content.text";

/// Watch what happens
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Only events of this channel; may be given several times
    #[arg(long, value_parser = channel)]
    channel: Vec<ChannelName>,
    /// Only events of this name, where * stands for anything; may be given several times
    #[arg(long)]
    pattern: Vec<Pattern>,
    /// End after so many events
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
    #[command(flatten)]
    connection: Connection,
}

fn channel(written: &str) -> Result<ChannelName, String> {
    ChannelName::from_written(written).map_err(|error| error.to_string())
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let output = if output::is_terminal() {
        output
    } else {
        Output::Json
    };
    let mut signals = Signals::listen()?;
    let client = arguments.connection.watch().await?;
    let mut events = client.events();
    let workspace = client
        .welcome()
        .map(|welcome| welcome.workspace.clone())
        .unwrap_or_default();
    output::note(format!(
        "watching {} at {} as {}; Ctrl-C ends",
        output::printable_line(&workspace),
        arguments.connection.url(),
        client.agent_id()
    ));
    let mut left = arguments.count.unwrap_or(u64::MAX);
    while 0 < left {
        let event = tokio::select! {
            event = events.next() => event,
            () = signals.next() => break,
        };
        let Some(event) = event else {
            anyhow::bail!("the workspace ended the session");
        };
        if arguments.wants(&event) {
            match output {
                Output::Json => output::json(&event)?,
                Output::Human => output::line(show(&event))?,
            }
            left -= 1;
        }
    }
    drop(events);
    client.disconnect().await;
    Ok(())
}

impl Arguments {
    fn wants(&self, event: &Event) -> bool {
        let here = |channel: &ChannelName| {
            let channel_of = event
                .destination_id
                .as_deref()
                .and_then(|id| id.strip_prefix("channel:"));
            channel_of == Some(channel.as_str())
        };
        (self.channel.is_empty() || self.channel.iter().any(here))
            && (self.pattern.is_empty() || self.pattern.iter().any(|pattern| event.matches(pattern)))
    }
}

/// One event for people: messages as they read, others with their name and payload.
fn show(event: &Event) -> String {
    let time = output::time_of_day(event.timestamp());
    let who = output::printable_line(&event.source_id);
    let destination = event.destination_id.as_deref().unwrap_or_default();
    let place = match destination.split_once(':') {
        Some(("channel", channel)) => format!("#{channel}"),
        Some(("agent", "broadcast")) | None => String::new(),
        Some((_, agent)) => format!("→ {agent}"),
    };
    let place = output::printable_line(&place);
    let is_message = [
        "channel.message.posted",
        "channel.message.replied",
        "direct.message.received",
    ]
    .contains(&event.event_name.as_str());
    let what = match event.text() {
        Some(text) if is_message => output::printable(text),
        _ => {
            let (name, payload) = (&event.event_name, output::printable_line(event.payload.as_str()));
            format!("{DIM}{name} {payload}{DIM:#}")
        }
    };
    let place = if place.is_empty() {
        place
    } else {
        format!("{CHANNEL}{place}{CHANNEL:#} ")
    };
    format!("{DIM}{time}{DIM:#} {place}{AGENT}{who}{AGENT:#} {what}")
}
