//! `openagents restore`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use openagents_protocol::Sequence;
use openagents_server::{Occupied, Restore, Settings, Workspace};
use serde_json::json;

use crate::command::backup::tell_files;
use crate::meter::Meter;
use crate::output::{self, Output, count};
use crate::settings::default_data;

const EXAMPLES: &str = "\
No server may use the directory. With --through, what came after that sequence never
happened: `openagents history` and `openagents tail --json` show sequences. Clients notice
that they are in a restored workspace and go on from there.

Examples:
  openagents restore backups/monday --data team/data
  openagents restore backups/monday --data team/data --through 1200 --replace";

/// Make a workspace of a backup, or of its beginning
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Directory of the backup, which stays as it is
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    /// Directory of the workspace to make [default: .openagents]
    #[arg(long, value_name = "DIR", env = "OPENAGENTS_DATA", hide_env_values = true)]
    data: Option<PathBuf>,
    /// The last sequence that is wanted [default: all of them]
    #[arg(long, value_name = "SEQUENCE")]
    through: Option<u64>,
    /// Take the place of a workspace that is there; it is kept in a folder beside
    #[arg(long)]
    replace: bool,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let Arguments {
        backup,
        data,
        through,
        replace,
    } = arguments;
    let data = data.unwrap_or_else(default_data);
    let (from, into) = (backup.display().to_string(), data.display().to_string());
    let restore = Restore {
        backup,
        data,
        through: through.map(Sequence::new),
        occupied: if replace {
            Occupied::Replace
        } else {
            Occupied::Refuse
        },
    };
    let mut meter = Meter::new();
    let settings = Settings::default();
    let made = Workspace::restore(restore, settings, |progress| meter.show_progress(progress)).await;
    drop(meter);
    let made = made.with_context(|| format!("cannot restore {from} into {into}"))?;
    tell_files("the backup lacks the content of this file", &made.missing_files);
    tell_files(
        "the content of this file is not what was uploaded",
        &made.damaged_files,
    );
    let replaced = made.replaced.map(|path| path.display().to_string());
    match output {
        Output::Human => {
            output::line(format!(
                "restored {from} into {into}: {} up to sequence {}, {}",
                count(made.records, "record"),
                made.head,
                count(made.files as u64, "file"),
            ))?;
            if let Some(replaced) = replaced {
                output::note(format!("what was there before is in {replaced}"));
            }
        }
        Output::Json => output::json(&json!({
            "event": "restored",
            "backup": from,
            "data": into,
            "head": made.head,
            "records": made.records,
            "files": made.files,
            "file_bytes": made.file_bytes,
            "missing_files": made.missing_files,
            "damaged_files": made.damaged_files,
            "replaced": replaced,
        }))?,
    }
    Ok(())
}
