//! `openagents retention`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use bytesize::ByteSize;
use clap::Args;
use openagents_protocol::call::{GetRetention, HoldUp, Kept, RetainedPlace, RetentionInfo};
use openagents_server::{Config, Retention, Settings, Workspace};

use crate::connect::Connection;
use crate::network_file::NetworkFile;
use crate::outcome;
use crate::output::{self, AGENT, CHANNEL, DIM, Output, count};
use crate::settings::time;

const EXAMPLES: &str = "\
Shows what the workspace keeps, through where it has removed what was older, what goes with the
next removal, and which agent holds that up: what somebody has not read yet who was here within
30 days stays. Nothing is removed by asking. For admins, unless --data names the directory of a
workspace that no server uses; its limits are those of --config.

Limits are set where the server is started: `openagents serve --keep-for 90days`, or for each
channel in a network.yaml, as `workspace: {retention: {channels: {general: {max_events: 1000}}}}`.

Examples:
  openagents retention                                what holds, and what is due
  openagents retention --dry-run --keep-for 30days    what would go if this held
  openagents retention --data team/data --config team/network.yaml
  openagents retention --json | jq '.places[] | select(.held_up_by)'";

/// Tell what is kept and removed, and who has not read what is to go
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Tell what other limits would remove: those given here, beside those that hold
    #[arg(long)]
    dry_run: bool,
    /// Remove what is older, such as 90days
    #[arg(long, value_name = "DURATION", value_parser = time, requires = "dry_run")]
    keep_for: Option<Duration>,
    /// Keep at most so many events in the workspace
    #[arg(long, value_name = "NUMBER", requires = "dry_run")]
    keep_events: Option<u64>,
    /// Keep about so much in the log, such as 10GiB
    #[arg(long, value_name = "SIZE", requires = "dry_run")]
    keep_size: Option<ByteSize>,
    /// Look into the directory of a workspace that no server uses
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The network.yaml with the limits of that workspace
    #[arg(long, value_name = "FILE", requires = "data")]
    config: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let Arguments {
        dry_run,
        keep_for,
        keep_events,
        keep_size,
        data,
        config,
        connection,
    } = arguments;
    if dry_run && keep_for.is_none() && keep_events.is_none() && keep_size.is_none() {
        bail!("--dry-run wants a limit: --keep-for, --keep-events or --keep-size");
    }
    let asked = GetRetention {
        keep_for_seconds: keep_for.map(|age| age.as_secs()),
        keep_events,
        keep_bytes: keep_size.map(|size| size.as_u64()),
    };
    let told = match data {
        None => outcome::ask(connection.watch().await?, asked).await?,
        Some(data) => look(&data, config.as_deref(), &asked).await?,
    };
    match output {
        Output::Json => output::json(&told)?,
        Output::Human => show(&told, dry_run)?,
    }
    Ok(())
}

/// Asks a workspace that nobody serves.
async fn look(data: &Path, config: Option<&Path>, asked: &GetRetention) -> anyhow::Result<RetentionInfo> {
    if !data.join("log.db").is_file() {
        bail!("there is no workspace in {}: it has no log.db", data.display());
    }
    let mut resolved = Config::new(data);
    if let Some(path) = config {
        NetworkFile::read(path, &mut resolved)?;
    }
    let mut retention = resolved.workspace.retention;
    let keep = &mut retention.workspace;
    keep.max_age = asked.keep_for_seconds.map(Duration::from_secs).or(keep.max_age);
    keep.max_events = asked.keep_events.or(keep.max_events);
    keep.max_bytes = asked.keep_bytes.or(keep.max_bytes);
    let mut settings = Settings::default();
    settings.channels.clear();
    // Nothing is removed while it is open.
    settings.retention = Retention::default();
    let workspace = Workspace::open(data, settings).await;
    let workspace = workspace.with_context(|| format!("cannot open the workspace in {}", data.display()))?;
    workspace.searchable_through(workspace.head()).await;
    let told = workspace.describe_retention(&retention).await;
    workspace.close().await;
    Ok(told?)
}

fn show(told: &RetentionInfo, dry_run: bool) -> anyhow::Result<()> {
    let limits = &told.limits;
    let mut shown = vec![("workspace", keeps(&limits.workspace))];
    if limits.each_channel != Kept::default() {
        shown.push(("each channel", keeps(&limits.each_channel)));
    }
    for (name, kept) in &limits.channels {
        shown.push((
            "channel",
            format!(
                "{CHANNEL}#{}{CHANNEL:#} {}",
                output::printable_line(name),
                keeps(kept)
            ),
        ));
    }
    let away = span(limits.away_seconds);
    shown.push((
        "not read yet",
        match limits.unread.as_str() {
            "kept" => format!("stays for agents that were here within {away}"),
            _ => "goes with the rest, and its reader is told".to_owned(),
        },
    ));
    let due = format!(
        "{}, about {}",
        count(told.due_events, "event"),
        size(told.due_bytes)
    );
    shown.push((
        if dry_run {
            "would be removed"
        } else {
            "to be removed"
        },
        due,
    ));
    if told.waiting_events != 0 {
        let waiting = format!(
            "{} that somebody has not read",
            count(told.waiting_events, "event")
        );
        shown.push(("held up", waiting));
    }
    if let Some(last_run) = told.last_run {
        let removed = count(told.removed_events, "event");
        let bytes = size(told.removed_bytes);
        let since = format!("{removed}, about {bytes}; last look {}", output::moment(last_run));
        shown.push(("removed since start", since));
    }
    output::fields(&shown)?;
    for place in &told.places {
        output::line(place_line(place))?;
    }
    Ok(())
}

fn place_line(place: &RetainedPlace) -> String {
    let name = output::printable_line(&place.place);
    let gone = match place.removed_through {
        Some(through) => format!("removed through {through}"),
        None => "nothing removed yet".to_owned(),
    };
    let due = format!(
        "{}, about {}",
        count(place.due_events, "event"),
        size(place.due_bytes)
    );
    let held = place.held_up_by.as_ref().map(|held| {
        let waiting = count(place.waiting_events, "event");
        format!("; {waiting} wait for {}", holder(held))
    });
    format!(
        "{CHANNEL}{name}{CHANNEL:#} {DIM}{gone}{DIM:#} to go: {due}{}",
        held.unwrap_or_default()
    )
}

fn holder(held: &HoldUp) -> String {
    let agent = output::printable_line(&held.agent_id);
    let since = output::moment(held.since);
    let seen = if held.online {
        "online".to_owned()
    } else {
        format!("last seen {}", output::moment(held.last_seen))
    };
    let acknowledged = held.acknowledged;
    format!(
        "{AGENT}{agent}{AGENT:#}, which has read through {acknowledged} and nothing since {since} ({seen})"
    )
}

fn keeps(kept: &Kept) -> String {
    let age = kept
        .max_age_seconds
        .map(|seconds| format!("for {}", span(seconds)));
    let events = kept
        .max_events
        .map(|most| format!("the last {}", count(most, "event")));
    let bytes = kept.max_bytes.map(|most| format!("about {}", size(most)));
    let all: Vec<String> = [age, events, bytes].into_iter().flatten().collect();
    if all.is_empty() {
        "keeps everything".to_owned()
    } else {
        format!("keeps what is sent {}", all.join(", "))
    }
}

fn span(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}
