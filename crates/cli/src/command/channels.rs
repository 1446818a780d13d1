//! `openagents channels`: what there is, and everything that is done to a channel.

mod rules;

use clap::{Args, Subcommand};
use openagents_client::ChannelInfo;
use openagents_protocol::call::{
    ArchiveChannel, CreateChannel, DeleteChannel, JoinChannel, LeaveChannel, ListChannels, ListMembers,
    SetTopic,
};

use self::rules::{PermissionChanges, RuleChanges};
use crate::command::agents;
use crate::connect::Connection;
use crate::outcome;
use crate::output::{self, Output};

const EXAMPLES: &str = "\
Examples:
  openagents channels
  openagents channels create dev --description 'Where we build'
  openagents channels topic dev 'Release 2'
  openagents channels configure dev --allowed-file-types csv,md --auto-archive-days 30
  openagents channels permissions dev --post agents,admin --manage admin
  openagents channels members dev";

/// List the channels, make them, change them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the channels, as without a subcommand
    List {
        #[command(flatten)]
        connection: Connection,
    },
    /// Make a channel; the maker is a member
    Create {
        /// Its name
        #[arg(value_name = "CHANNEL")]
        name: String,
        /// What it is for, at most 1,000 bytes
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Tell everything about a channel
    Describe(Named),
    /// Say what a channel is about now
    Topic {
        /// The channel, with or without #
        channel: String,
        /// The topic, at most 1,000 bytes; '' for none
        topic: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Change the rules of a channel; for who manages it
    Configure {
        /// The channel, with or without #
        channel: String,
        #[command(flatten)]
        settings: RuleChanges,
        #[command(flatten)]
        connection: Connection,
    },
    /// Change who may do what in a channel; for who manages it
    Permissions {
        /// The channel, with or without #
        channel: String,
        #[command(flatten)]
        permissions: PermissionChanges,
        #[command(flatten)]
        connection: Connection,
    },
    /// Let a channel be read and not written; for who manages it
    Archive(Named),
    /// Open an archived channel again; for who manages it
    Unarchive(Named),
    /// Delete a channel: what was said there cannot be read any more; for who manages it
    Delete(Named),
    /// Become a member of a channel
    Join(Named),
    /// Stop being a member of a channel
    Leave(Named),
    /// List the members of a channel, which its members may
    Members {
        #[command(flatten)]
        named: Named,
        /// At most so many, 1 to 1000
        #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
        limit: u32,
        /// Only those whose id sorts after this one
        #[arg(long, value_name = "ID")]
        after: Option<String>,
    },
}

/// A channel, and who asks.
#[derive(Debug, Args)]
struct Named {
    /// The channel, with or without #
    channel: String,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let Arguments { command, connection } = arguments;
    match command {
        None => list(&connection, output).await,
        Some(Command::List { connection }) => list(&connection, output).await,
        Some(Command::Create {
            name,
            description,
            connection,
        }) => {
            let client = connection.watch().await?;
            let made = outcome::ask(client, CreateChannel { name, description }).await?;
            tell(&made, output, "made")
        }
        Some(Command::Describe(named)) => describe(named, output).await,
        Some(Command::Join(Named { channel, connection })) => {
            let client = connection.watch().await?;
            let joined = outcome::ask(client, JoinChannel { channel }).await?;
            tell(&joined, output, "joined")
        }
        Some(Command::Leave(Named { channel, connection })) => {
            let client = connection.watch().await?;
            let left = outcome::ask(client, LeaveChannel { channel }).await?;
            tell(&left, output, "left")
        }
        Some(Command::Members { named, limit, after }) => members(named, limit, after, output).await,
        Some(Command::Topic {
            channel,
            topic,
            connection,
        }) => {
            let done = format!("changed the topic of {}", shown(&channel));
            outcome::change(&connection, SetTopic { channel, topic }, output, done).await
        }
        Some(Command::Configure {
            channel,
            settings,
            connection,
        }) => {
            let done = format!("changed the rules of {}", shown(&channel));
            outcome::change(&connection, settings.of(channel)?, output, done).await
        }
        Some(Command::Permissions {
            channel,
            permissions,
            connection,
        }) => {
            let done = format!("changed the permissions of {}", shown(&channel));
            outcome::change(&connection, permissions.of(channel)?, output, done).await
        }
        Some(Command::Archive(named)) => archive(named, true, output).await,
        Some(Command::Unarchive(named)) => archive(named, false, output).await,
        Some(Command::Delete(Named { channel, connection })) => {
            let done = format!("deleted {}", shown(&channel));
            outcome::change(&connection, DeleteChannel { channel }, output, done).await
        }
    }
}

async fn list(connection: &Connection, output: Output) -> anyhow::Result<()> {
    let client = connection.watch().await?;
    let answer = outcome::ask(client, ListChannels::default()).await?;
    match output {
        Output::Json => output::json(&answer)?,
        Output::Human => {
            let rows: Vec<_> = answer.channels.iter().map(row).collect();
            output::table(["CHANNEL", "MEMBERS", "EVENTS", "TOPIC", "DESCRIPTION"], &rows)?;
        }
    }
    Ok(())
}

fn row(channel: &ChannelInfo) -> [String; 5] {
    let mark = if channel.archived { " (archived)" } else { "" };
    [
        format!("{}{mark}", shown(&channel.name)),
        channel.members.to_string(),
        channel.events.to_string(),
        output::cut(&output::printable_line(&channel.topic), 40),
        output::printable_line(&channel.description),
    ]
}

async fn describe(named: Named, output: Output) -> anyhow::Result<()> {
    let Named { channel, connection } = named;
    let client = connection.watch().await?;
    // The name as the workspace has it.
    let name = client.workspace().channel(&channel).name().to_owned();
    let all = outcome::ask(client, ListChannels::default()).await?.channels;
    let Some(found) = all.into_iter().find(|channel| channel.name == name) else {
        return Err(rules::no_channel(&name).into());
    };
    if output == Output::Json {
        return Ok(output::json(&found)?);
    }
    let text = |text: &str| output::printable_line(text);
    output::fields(&[
        ("channel", shown(&found.name)),
        ("description", text(&found.description)),
        ("topic", text(&found.topic)),
        ("archived", if found.archived { "yes" } else { "" }.to_owned()),
        ("creator", text(&found.creator_id)),
        ("created", output::moment(found.created_at)),
        ("members", found.members.to_string()),
        ("joined", if found.joined { "yes" } else { "no" }.to_owned()),
        ("events", found.events.to_string()),
        ("rules", rules::show(&found.settings)?),
        ("permissions", rules::show(&found.permissions)?),
    ])?;
    Ok(())
}

async fn archive(named: Named, archived: bool, output: Output) -> anyhow::Result<()> {
    let Named { channel, connection } = named;
    let what = if archived { "archived" } else { "opened" };
    let done = format!("{what} {}", shown(&channel));
    outcome::change(&connection, ArchiveChannel { channel, archived }, output, done).await
}

async fn members(named: Named, limit: u32, after: Option<String>, output: Output) -> anyhow::Result<()> {
    let Named { channel, connection } = named;
    let client = connection.watch().await?;
    let params = ListMembers {
        channel,
        limit: Some(limit),
        after,
    };
    let page = outcome::ask(client, params).await?;
    match output {
        Output::Json => output::json(&page)?,
        Output::Human if page.members.is_empty() => output::note("there are none"),
        Output::Human => {
            output::table(agents::HEADING, &agents::rows(&page.members))?;
            if let (true, Some(last)) = (page.has_more, page.members.last()) {
                output::note(format!(
                    "further ones: --after {}",
                    output::printable_line(&last.id)
                ));
            }
        }
    }
    Ok(())
}

fn tell(channel: &ChannelInfo, output: Output, what: &str) -> anyhow::Result<()> {
    match output {
        Output::Json => output::json(channel)?,
        Output::Human => {
            let members = output::count(channel.members, "member");
            output::line(format!("{what} {} ({members})", shown(&channel.name)))?;
        }
    }
    Ok(())
}

/// A channel as it was written, with one `#` in front.
fn shown(channel: &str) -> String {
    let name = channel.strip_prefix("channel:").unwrap_or(channel);
    format!(
        "#{}",
        output::printable_line(name.strip_prefix('#').unwrap_or(name))
    )
}
