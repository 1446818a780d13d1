//! `openagents rebuild`.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use openagents_server::{Derived, Settings, Workspace};
use serde_json::json;

use crate::output::{self, Output};
use crate::settings::default_data;

/// The log of a workspace, from which everything else follows.
const LOG: &str = "log.db";

const EXAMPLES: &str = "\
Builds the search index as well. Needed when one of them is damaged, or lost by a restored
backup. The server has to be stopped.

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
    let on_terminal = std::io::stderr().is_terminal();
    let head = Workspace::rebuild(&data, settings, |what, done, all| {
        if on_terminal {
            let what = match what {
                Derived::View => "view",
                Derived::SearchIndex => "search index",
            };
            let percent = done.get() * 100 / all.get().max(1);
            eprint!("\r{what}: {percent:>3} % of {all} records");
        }
    })
    .await;
    if on_terminal {
        eprintln!();
    }
    let head = head.with_context(|| format!("cannot rebuild the workspace in {}", data.display()))?;
    match output {
        Output::Human => output::line(format!("rebuilt {} up to sequence {head}", data.display()))?,
        Output::Json => {
            output::json(&json!({"event": "rebuilt", "data": data.display().to_string(), "head": head}))?;
        }
    }
    Ok(())
}
