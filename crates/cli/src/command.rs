//! The commands, a module each.

pub(crate) mod agents;
pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod channels;
pub(crate) mod completions;
pub(crate) mod conversations;
pub(crate) mod delete;
pub(crate) mod demo;
pub(crate) mod edit;
pub(crate) mod emit;
pub(crate) mod explain;
pub(crate) mod files;
pub(crate) mod held;
pub(crate) mod history;
pub(crate) mod info;
pub(crate) mod message;
pub(crate) mod network;
pub(crate) mod permissions;
pub(crate) mod post;
pub(crate) mod react;
pub(crate) mod rebuild;
pub(crate) mod repair;
pub(crate) mod restore;
pub(crate) mod retention;
pub(crate) mod search;
pub(crate) mod send;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod tail;
pub(crate) mod token;
pub(crate) mod unblock;

use crate::args::{Cli, Command};
use crate::logging;

/// Does what was typed.
pub(crate) async fn run(cli: Cli) -> anyhow::Result<()> {
    let Cli { common, command } = cli;
    let output = common.output();
    match &command {
        // A server has more to tell, and its file may say how much; it sets up logging by itself.
        Command::Serve(_) | Command::Network(_) => {}
        _ => logging::start(common.log_level.as_deref().unwrap_or("warn"))?,
    }
    match command {
        Command::Serve(arguments) => Box::pin(serve::run(*arguments, common)).await,
        Command::Network(arguments) => Box::pin(network::run(arguments, common)).await,
        Command::Demo(arguments) => Box::pin(demo::run(arguments, output)).await,
        Command::Info(arguments) => info::run(arguments, output).await,
        Command::Agents(arguments) => agents::run(arguments, output).await,
        Command::Status(arguments) => status::run(arguments, output).await,
        Command::Permissions(arguments) => permissions::run(arguments, output).await,
        Command::Channels(arguments) => Box::pin(channels::run(*arguments, output)).await,
        Command::Post(arguments) => post::run(arguments, output).await,
        Command::Send(arguments) => Box::pin(send::run(arguments, output)).await,
        Command::Emit(arguments) => emit::run(arguments, output).await,
        Command::Tail(arguments) => tail::run(arguments, output).await,
        Command::History(arguments) => history::run(arguments, output).await,
        Command::Search(arguments) => Box::pin(search::run(*arguments, output)).await,
        Command::Conversations(arguments) => conversations::run(arguments, output).await,
        Command::Message(arguments) => message::run(arguments, output).await,
        Command::React(arguments) => react::run(arguments, output).await,
        Command::Edit(arguments) => edit::run(arguments, output).await,
        Command::Delete(arguments) => delete::run(arguments, output).await,
        Command::Files(arguments) => Box::pin(files::run(*arguments, output)).await,
        Command::Explain(arguments) => explain::run(arguments, output).await,
        Command::Held(arguments) => held::run(arguments, output).await,
        Command::Unblock(arguments) => unblock::run(arguments, output).await,
        Command::Token(arguments) => Box::pin(token::run(arguments, output)).await,
        Command::Backup(arguments) => backup::run(arguments, output).await,
        Command::Restore(arguments) => restore::run(arguments, output).await,
        Command::Repair(arguments) => repair::run(arguments, output).await,
        Command::Retention(arguments) => Box::pin(retention::run(arguments, output)).await,
        Command::Rebuild(arguments) => rebuild::run(arguments, output).await,
        Command::Bench(arguments) => Box::pin(bench::run(arguments, output)).await,
        Command::Completions(arguments) => completions::run(&arguments),
    }
}
