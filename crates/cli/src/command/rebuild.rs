//! `openagents rebuild`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use openagents_protocol::Sequence;
use openagents_server::{Derived, Settings, Workspace};
use serde_json::json;

use crate::meter::Meter;
use crate::output::{self, Output};
use crate::settings::default_data;

/// The log of a workspace, from which everything else follows.
const LOG: &str = "log.db";

const EXAMPLES: &str = "\
Builds the search index as well. Needed when one of them is damaged and the server does not
notice. The server has to be stopped.

Examples:
  openagents rebuild
  openagents rebuild --data team/data";

/// Build the view of a workspace anew from its log
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Directory of the workspace [default: .openagents]
    #[arg(long, value_name = "DIR", env = "OPENAGENTS_DATA", hide_env_values = true)]
    data: Option<PathBuf>,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let data = arguments.data.unwrap_or_else(default_data);
    if !data.join(LOG).is_file() {
        bail!("there is no workspace in {}: it has no {LOG}", data.display());
    }
    let mut settings = Settings::default();
    settings.channels.clear();
    let mut meter = Meter::new();
    let show = |what, done: Sequence, all: Sequence| {
        let what = match what {
            Derived::View => "view",
            Derived::SearchIndex => "search index",
        };
        meter.show(what, done.get(), all.get());
    };
    let head = Workspace::rebuild(&data, settings, show).await;
    drop(meter);
    let head = head.with_context(|| format!("cannot rebuild the workspace in {}", data.display()))?;
    match output {
        Output::Human => output::line(format!("rebuilt {} up to sequence {head}", data.display()))?,
        Output::Json => {
            output::json(&json!({"event": "rebuilt", "data": data.display().to_string(), "head": head}))?;
        }
    }
    Ok(())
}
