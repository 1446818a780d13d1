//! `openagents repair`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use openagents_protocol::Sequence;
use openagents_server::{Gap, Repair, Repaired, Settings, Workspace};
use serde_json::json;

use crate::command::backup::tell_files;
use crate::meter::Meter;
use crate::output::{self, Output, count};
use crate::settings::default_data;

/// Most ranges of lost sequences that are written out for people; JSON has them all.
const SHOWN_GAPS: usize = 20;

const EXAMPLES: &str = "\
Every record and every file is read and compared with its checksum. Of a damaged log
every sound record is saved, and the sequences of the lost ones are told; the damaged
files are kept in a folder beside. No server may use the directory. Where a backup has
what is lost, `openagents restore` is the better way.

With --dry-run the exit code is 0 if nothing is wrong and 1 otherwise.

Examples:
  openagents repair --dry-run             is everything sound?
  openagents repair --data team/data";

/// Look for damage, and save what can be saved of a damaged log
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Directory of the workspace [default: .openagents]
    #[arg(long, value_name = "DIR", env = "OPENAGENTS_DATA", hide_env_values = true)]
    data: Option<PathBuf>,
    /// Only look, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let data = arguments.data.unwrap_or_else(default_data);
    let repair = if arguments.dry_run {
        Repair::Look
    } else {
        Repair::Save
    };
    let mut meter = Meter::new();
    let settings = Settings::default();
    let found = Workspace::repair(&data, repair, settings, |progress| meter.show_progress(progress)).await;
    drop(meter);
    let shown = data.display().to_string();
    let found = found.with_context(|| format!("cannot repair the workspace in {shown}"))?;
    match output {
        Output::Human => tell(&shown, &found)?,
        Output::Json => output::json(&json!({
            "event": if found.replaced.is_some() { "repaired" } else { "checked" },
            "data": shown,
            "sound": is_sound(&found),
            "head": found.head,
            "records": found.records,
            "lost_records": found.lost_records(),
            "lost": found.lost.iter().map(|gap| [gap.first, gap.last]).collect::<Vec<[Sequence; 2]>>(),
            "damage": found.damage,
            "missing_files": found.missing_files,
            "damaged_files": found.damaged_files,
            "replaced": found.replaced.as_ref().map(|path| path.display().to_string()),
        }))?,
    }
    if found.replaced.is_none() && !is_sound(&found) {
        bail!("the workspace in {shown} is damaged");
    }
    Ok(())
}

fn is_sound(found: &Repaired) -> bool {
    found.is_log_sound() && found.missing_files.is_empty() && found.damaged_files.is_empty()
}

fn tell(data: &str, found: &Repaired) -> anyhow::Result<()> {
    for damage in &found.damage {
        output::note(output::printable_line(damage));
    }
    tell_files("the content of this file is lost", &found.missing_files);
    tell_files(
        "the content of this file is not what was uploaded",
        &found.damaged_files,
    );
    let records = count(found.records, "record");
    let head = found.head;
    if found.is_log_sound() {
        output::line(format!(
            "the log of {data} is sound: {records} up to sequence {head}"
        ))?;
        return Ok(());
    }
    let verb = if found.replaced.is_some() {
        "saved"
    } else {
        "can be saved"
    };
    output::line(format!(
        "{records} up to sequence {head} {verb}, {} lost",
        found.lost_records()
    ))?;
    if !found.lost.is_empty() {
        let shown = found.lost.iter().take(SHOWN_GAPS).map(Gap::to_string);
        let more = found.lost.len().saturating_sub(SHOWN_GAPS);
        let more = if more == 0 {
            String::new()
        } else {
            format!(" and {more} more ranges")
        };
        let lost = shown.collect::<Vec<_>>().join(", ");
        output::line(format!("lost: {lost}{more}"))?;
    }
    match &found.replaced {
        Some(replaced) => output::note(format!("the damaged log is in {}", replaced.display())),
        None => output::note("`openagents repair` saves it, without --dry-run"),
    }
    Ok(())
}
