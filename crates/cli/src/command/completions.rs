//! `openagents completions`.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Cli;

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  openagents completions bash > ~/.local/share/bash-completion/completions/openagents"
)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "openagents", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(())
}
