//! `openagents search`.

use std::time::{Duration, SystemTime};

use clap::Args;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use openagents_client::{FoundMessage, Sequence, SnippetPart};

use crate::connect::Connection;
use crate::output::{self, AGENT, CHANNEL, DIM, MATCH, Output};

const EXAMPLES: &str = "\
Every word has to occur; \"two words\" in quotes are a phrase, deploy* is a beginning. Case and
accents do not count. The newest messages come first; as JSON one per line.

Examples:
  openagents search deploy* failed
  openagents search '\"rolled back\"' --channel ops --since 2d
  openagents search invoice --sender alice --since 2026-01-01 --until 2026-02-01 --json";

/// Search what was said
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Words, phrases and beginnings
    #[arg(required = true)]
    query: Vec<String>,
    /// Only messages of this channel, with or without #
    #[arg(long, value_name = "NAME", conflicts_with = "agent_with")]
    channel: Option<String>,
    /// Only messages of the conversation with this agent
    #[arg(long, value_name = "ID")]
    agent_with: Option<String>,
    /// Only messages by this agent
    #[arg(long, value_name = "ID")]
    sender: Option<String>,
    /// Only messages since then: a time such as 2026-01-31 or 2026-01-31T12:00Z, or how long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<SystemTime>,
    /// Only messages before then
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<SystemTime>,
    /// At most so many messages, 1 to 100
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    limit: u32,
    /// Only messages before this sequence
    #[arg(long, value_name = "SEQUENCE")]
    before: Option<u64>,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let client = arguments.connection.watch().await?;
    let search = client
        .workspace()
        .search(arguments.query.join(" "))
        .limit(arguments.limit);
    let search = narrow(search, arguments.channel, openagents_client::Search::channel);
    let search = narrow(search, arguments.agent_with, openagents_client::Search::agent);
    let search = narrow(search, arguments.sender, openagents_client::Search::sender);
    let search = narrow(search, arguments.since, openagents_client::Search::since);
    let search = narrow(search, arguments.until, openagents_client::Search::until);
    let before = arguments.before.map(Sequence::new);
    let search = narrow(search, before, openagents_client::Search::before);
    let page = search.page().await?;
    client.disconnect().await;
    for found in &page.results {
        match output {
            Output::Json => output::json(found)?,
            Output::Human => output::line(show(found))?,
        }
    }
    match page.before {
        Some(before) => output::note(format!("older ones: --before {before}")),
        None if page.results.is_empty() => output::note("nothing found"),
        None => {}
    }
    Ok(())
}

/// Narrows a search by an option that was given.
fn narrow<S, T>(search: S, option: Option<T>, by: impl FnOnce(S, T) -> S) -> S {
    match option {
        Some(value) => by(search, value),
        None => search,
    }
}

fn show(found: &FoundMessage) -> String {
    let message = &found.message;
    let (sequence, time) = (message.sequence, output::moment(message.timestamp));
    let who = output::printable_line(&message.sender_id);
    let place = match (&message.channel, &message.target_id) {
        (Some(channel), _) => format!("{CHANNEL}#{}{CHANNEL:#} ", output::printable_line(channel)),
        (None, Some(target)) => format!("→ {AGENT}{}{AGENT:#} ", output::printable_line(target)),
        (None, None) => String::new(),
    };
    let what: String = found.snippet.iter().map(show_part).collect();
    format!("{DIM}{sequence:>6} {time}{DIM:#} {AGENT}{who}{AGENT:#} {place}{what}")
}

fn show_part(part: &SnippetPart) -> String {
    let text = output::printable_line(&part.text);
    if part.matched {
        format!("{MATCH}{text}{MATCH:#}")
    } else {
        text
    }
}

/// A time as people write it; without a zone it is that of this machine.
fn moment(written: &str) -> Result<SystemTime, String> {
    let ago = humantime::parse_duration(written).ok();
    if let Some(ago) = ago.filter(|ago| *ago < Duration::from_hours(24 * 365 * 100)) {
        return SystemTime::now()
            .checked_sub(ago)
            .ok_or_else(|| "that is too long ago".to_owned());
    }
    if let Ok(timestamp) = written.parse::<Timestamp>() {
        return Ok(timestamp.into());
    }
    let local = written.parse::<DateTime>();
    let local = local.and_then(|local| local.to_zoned(TimeZone::system()));
    let local =
        local.map_err(|_| "it is neither a time such as 2026-01-31T12:00 nor a duration such as 2h")?;
    Ok(local.timestamp().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let check = |written: &str, seconds: i64| {
            let read = Timestamp::try_from(moment(written).unwrap()).unwrap();
            assert_eq!(read.as_second(), seconds, "{written}");
        };
        check("2026-01-31T12:00:00Z", 1_769_860_800);
        check("2026-01-31T12:00Z", 1_769_860_800);
        check("2026-01-31T14:00+02:00", 1_769_860_800);
        let zoned = |text: &str| {
            let local: DateTime = text.parse().unwrap();
            local
                .to_zoned(TimeZone::system())
                .unwrap()
                .timestamp()
                .as_second()
        };
        check("2026-01-31", zoned("2026-01-31T00:00:00"));
        check("2026-01-31 12:30", zoned("2026-01-31T12:30:00"));
        let hour = Duration::from_hours(1);
        let earliest = SystemTime::now() - hour;
        let ago = moment("1h").unwrap();
        assert!((earliest..=SystemTime::now() - hour).contains(&ago));
        assert!(moment("yesterday").is_err());
        assert!(moment("").is_err());
        assert!(moment("100000000000y").is_err());
    }
}
