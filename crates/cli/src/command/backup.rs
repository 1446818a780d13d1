//! `openagents backup`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use openagents_protocol::EventId;
use openagents_server::Workspace;
use serde_json::json;

use crate::meter::Meter;
use crate::output::{self, Output, count};
use crate::settings::default_data;

const EXAMPLES: &str = "\
The server may go on meanwhile: the backup has everything that was acknowledged before it
began. It is a workspace by itself, and `openagents restore` makes one of it. What is in
it is as confidential as the workspace. The certificate in tls/ is not in it.

Examples:
  openagents backup backups/monday
  openagents backup /mnt/backups/$(date +%F) --data team/data";

/// Copy a workspace into a new directory, also while a server uses it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The directory to make
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    /// Directory of the workspace [default: .openagents]
    #[arg(long, value_name = "DIR", env = "OPENAGENTS_DATA", hide_env_values = true)]
    data: Option<PathBuf>,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let data = arguments.data.unwrap_or_else(default_data);
    let into = arguments.backup;
    let mut meter = Meter::new();
    let made = Workspace::backup(&data, &into, |progress| meter.show_progress(progress)).await;
    drop(meter);
    let made = made.with_context(|| format!("cannot back up {}", data.display()))?;
    tell_files("the content of this file is lost", &made.missing_files);
    tell_files(
        "the content of this file is not what was uploaded",
        &made.damaged_files,
    );
    match output {
        Output::Human => output::line(format!(
            "backed up {} into {}: {} up to sequence {}, {}",
            data.display(),
            into.display(),
            count(made.records, "record"),
            made.head,
            count(made.files as u64, "file"),
        ))?,
        Output::Json => output::json(&json!({
            "event": "backed_up",
            "data": data.display().to_string(),
            "backup": into.display().to_string(),
            "head": made.head,
            "records": made.records,
            "files": made.files,
            "file_bytes": made.file_bytes,
            "missing_files": made.missing_files,
            "damaged_files": made.damaged_files,
        }))?,
    }
    Ok(())
}

/// Names files that something is wrong with.
pub(crate) fn tell_files(what: &str, files: &[EventId]) {
    for file_id in files {
        output::note(format!("{what}: {}", output::printable_line(file_id.as_str())));
    }
}
