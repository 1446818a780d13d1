//! `openagents network`: a workspace described by a `network.yaml`.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::args::Common;
use crate::command::serve::serve;
use crate::logging;
use crate::output::{self, Output};
use crate::settings::ServeFlags;

const FILE: &str = "network.yaml";

const EXAMPLES: &str = "\
Examples:
  openagents network init team          write team/network.yaml
  openagents network start team         serve it, with its data in team/data
  openagents network start --config team/network.yaml --port 0";

/// Set up a workspace in a folder, and serve it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a commented network.yaml into a folder; one that is there stays as it is
    Init {
        /// The folder, made when missing
        dir: PathBuf,
        /// Name of the workspace [default: that of the folder]
        #[arg(long)]
        name: Option<String>,
    },
    /// Serve what a network.yaml describes
    Start {
        /// The folder of the network.yaml, or the file itself
        #[arg(
            value_name = "DIR|FILE",
            required_unless_present = "config",
            conflicts_with = "config"
        )]
        target: Option<PathBuf>,
        #[command(flatten)]
        flags: Box<ServeFlags>,
    },
}

pub(crate) async fn run(arguments: Arguments, common: Common) -> anyhow::Result<()> {
    match arguments.command {
        Command::Init { dir, name } => {
            logging::start(common.log_level.as_deref().unwrap_or("warn"))?;
            init(&dir, name, common.output())
        }
        Command::Start { target, mut flags } => {
            if let Some(target) = target {
                let file = if target.is_dir() {
                    target.join(FILE)
                } else {
                    target
                };
                if !file.exists() {
                    bail!(
                        "there is no {}: make one with `openagents network init {}`",
                        file.display(),
                        file.parent().unwrap_or(Path::new(".")).display()
                    );
                }
                flags.config = Some(file);
            }
            serve(*flags, common).await
        }
    }
}

fn init(folder: &Path, name: Option<String>, output: Output) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(FILE);
    let name = name.map_or_else(|| name_of(folder), Ok)?;
    let mut file = match fs::OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!(
                "{} is there already and stays as it is; start it with `openagents network start {}`",
                path.display(),
                folder.display()
            );
        }
        Err(error) => return Err(error).with_context(|| format!("cannot write {}", path.display())),
    };
    file.write_all(template(&name)?.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))?;
    match output {
        Output::Human => {
            output::line(format!("wrote {}", path.display()))?;
            output::note(format!(
                "start it with: openagents network start {}",
                folder.display()
            ));
        }
        Output::Json => output::json(&json!({"event": "created", "config": path.display().to_string()}))?,
    }
    Ok(())
}

fn name_of(folder: &Path) -> anyhow::Result<String> {
    let folder = folder
        .canonicalize()
        .with_context(|| format!("cannot use {}", folder.display()))?;
    Ok(folder
        .file_name()
        .map_or("workspace".to_owned(), |name| name.to_string_lossy().into_owned()))
}

fn template(name: &str) -> anyhow::Result<String> {
    // A JSON string is a YAML string.
    let name = serde_json::to_string(name)?;
    Ok(format!(
        r#"# A workspace of OpenAgents. `openagents network start` serves it; flags and environment come before this file.
network:
  # Shown to everybody who joins.
  name: {name}
  # description: "What it is for"

  # One port for everything: agents, REST, and this machine only until it gets a host.
  transports:
    - type: http
      config:
        port: 8700
        # To be reached by others; wants a token (--token-file, or `openagents token create`) and TLS:
        # host: "0.0.0.0"
        # tls_enabled: true
        # tls_cert_path: "certificate.pem"
        # tls_key_path: "key.pem"

  mods:
    # Channels and direct messages.
    - name: openagents.mods.workspace.messaging
      enabled: true
      config:
        # Made at the start; others are made by the first message to them.
        default_channels:
          - name: general
            description: "Everybody is here"

# error, warn, info, debug or trace
log_level: info
"#
    ))
}
