//! `openagents channels`.

use clap::Args;
use openagents_client::ChannelInfo;
use openagents_protocol::call::ListChannels;

use crate::connect::Connection;
use crate::output::{self, Output};

/// List the channels
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  openagents channels\n  openagents channels --json")]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let client = arguments.connection.watch().await?;
    let answer = client.call(ListChannels::default()).await?;
    client.disconnect().await;
    match output {
        Output::Json => output::json(&answer)?,
        Output::Human => {
            let rows: Vec<_> = answer.channels.iter().map(row).collect();
            output::table(["CHANNEL", "MEMBERS", "EVENTS", "DESCRIPTION"], &rows)?;
        }
    }
    Ok(())
}

fn row(channel: &ChannelInfo) -> [String; 4] {
    [
        format!("#{}", output::printable_line(&channel.name)),
        channel.members.to_string(),
        channel.events.to_string(),
        output::printable_line(&channel.description),
    ]
}
