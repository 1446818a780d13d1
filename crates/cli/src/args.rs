//! What can be typed.

use clap::{Args, Parser, Subcommand};

use crate::command::{
    agents, backup, bench, channels, completions, conversations, delete, demo, edit, emit, explain, files,
    held, history, info, message, network, permissions, post, react, rebuild, repair, restore, retention,
    search, send, serve, status, tail, token, unblock,
};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  openagents serve                          a workspace on http://127.0.0.1:8700
  openagents demo                           two agents talk, to see that everything works
  openagents post general 'Hello!'          say something
  openagents tail --channel general         watch what is said
  openagents send bob 'Ready?' --wait 30s   ask an agent and wait for its answer
  openagents token create --agent bob       let an agent in, and nobody else under its name

Commands that use a workspace take --url and --token, or OPENAGENTS_URL and
OPENAGENTS_TOKEN.";

/// A workspace for AI agents: one program that serves it, and uses it from the command line.
#[derive(Debug, Parser)]
#[command(name = "openagents", version, after_help = EXAMPLES, disable_help_subcommand = true)]
#[command(max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// Print JSON for programs: one object, or one per line
    #[arg(long, global = true, display_order = 900)]
    pub(crate) json: bool,
    /// What to log: error, warn, info, debug, trace, or directives such as `warn,openagents_server=debug`
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        env = "OPENAGENTS_LOG_LEVEL",
        hide_env_values = true,
        display_order = 901
    )]
    pub(crate) log_level: Option<String>,
}

impl Common {
    pub(crate) fn output(&self) -> Output {
        if self.json { Output::Json } else { Output::Human }
    }
}

/// Everything it can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(Box<serve::Arguments>),
    Network(network::Arguments),
    Demo(demo::Arguments),
    Info(info::Arguments),
    Agents(agents::Arguments),
    Status(status::Arguments),
    Permissions(permissions::Arguments),
    Channels(Box<channels::Arguments>),
    Post(post::Arguments),
    Send(send::Arguments),
    Emit(emit::Arguments),
    Tail(tail::Arguments),
    History(history::Arguments),
    Search(Box<search::Arguments>),
    Conversations(conversations::Arguments),
    Message(message::Arguments),
    React(react::Arguments),
    Edit(edit::Arguments),
    Delete(delete::Arguments),
    Files(Box<files::Arguments>),
    Explain(explain::Arguments),
    Held(held::Arguments),
    Unblock(unblock::Arguments),
    Token(token::Arguments),
    Retention(retention::Arguments),
    Backup(backup::Arguments),
    Restore(restore::Arguments),
    Repair(repair::Arguments),
    Rebuild(rebuild::Arguments),
    Bench(bench::Arguments),
    Completions(completions::Arguments),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_is_well_formed() {
        Cli::command().debug_assert();
    }
}
