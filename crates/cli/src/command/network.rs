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

/// What is written into a new folder.
const TEMPLATE: &str = include_str!("network/network.yaml");

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
    Ok(TEMPLATE.replacen("NAME", &name, 1))
}

#[cfg(test)]
mod tests {
    use openagents_server::Config;

    use super::*;
    use crate::network_file::NetworkFile;

    fn read(text: &str) -> (NetworkFile, Config) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        fs::write(&path, text).unwrap();
        let mut config = Config::new("data");
        let file = NetworkFile::read(&path, &mut config).unwrap();
        (file, config)
    }

    /// A line without the `#` in front, if that makes a key or an entry of it.
    fn uncommented(line: &str) -> String {
        let Some((indent, rest)) = line
            .split_once("# ")
            .filter(|(indent, _)| indent.trim().is_empty())
        else {
            return line.to_owned();
        };
        let entry = rest.trim_start().trim_start_matches("- ");
        let is_key = entry
            .split_once(':')
            .is_some_and(|(key, _)| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        if is_key {
            format!("{indent}{rest}")
        } else {
            line.to_owned()
        }
    }

    #[test]
    fn every_key_that_the_template_shows_has_an_effect() {
        let (plain, _) = read(&template("a \"team\"").unwrap());
        assert_eq!(plain.without_effect, [""; 0]);
        let lines: Vec<String> = TEMPLATE.lines().map(uncommented).collect();
        let text = lines
            .join("\n")
            .replace("\"...\"", &format!("\"{}\"", "0".repeat(64)));
        let (file, config) = read(&text);
        assert_eq!(file.without_effect, [""; 0], "{text}");
        assert_eq!(config.workspace.channels.len(), 4, "{text}");
        assert_eq!(config.workspace.groups.len(), 2);
        assert!(config.tls.is_some());
        assert!(file.runtime.is_some());
    }

    #[test]
    fn the_defaults_that_the_template_shows_are_the_defaults() {
        let same = [
            "workspace:",
            "durability:",
            "first_post:",
            "default_membership:",
            "observers:",
            "max_stored_size:",
            "backlog:",
            "loop_guard:",
            "max_hops:",
            "max_turns:",
            "max_in_thread:",
            "max_in_chain:",
            "forget_after:",
            "agent_timeout:",
            "heartbeat_interval:",
            "max_connections:",
            "max_file_size:",
            "max_request_size:",
            "enable_reactions:",
            "enable_mentions:",
            "allowed_file_types:",
            "shutdown_timeout:",
        ];
        let uncomment = |line: &str| {
            let shown = uncommented(line);
            if same.iter().any(|key| shown.trim_start().starts_with(key)) {
                shown
            } else {
                line.to_owned()
            }
        };
        let lines: Vec<String> = TEMPLATE.lines().map(uncomment).collect();
        let (_, config) = read(&lines.join("\n"));
        let default = Config::new("data");
        let (shown, default) = (config.workspace, default.workspace);
        // Two of them in one key: the others are that of `system.heartbeat`, and that of official clients.
        assert_eq!(config.limits.ping_after.as_secs(), 15);
        let told = |settings: &openagents_server::Settings| {
            let mut settings = settings.clone();
            settings.name.clear();
            settings.heartbeat = std::time::Duration::ZERO;
            settings.agent_timeout = std::time::Duration::ZERO;
            format!("{settings:?}")
        };
        assert_eq!(told(&shown), told(&default));
    }
}
