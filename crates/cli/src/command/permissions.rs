//! `openagents permissions`.

use clap::Args;
use openagents_protocol::call::GetPermissions;

use crate::connect::Connection;
use crate::outcome;
use crate::output::{self, Output};

const EXAMPLES: &str = "\
Examples:
  openagents permissions
  openagents permissions --token oa_… --json";

/// Tell what you may do, by your token or the password of your group
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let client = arguments.connection.watch().await?;
    let who = client.agent_id();
    let told = outcome::ask(client, GetPermissions::default()).await?;
    match output {
        Output::Json => output::json(&told)?,
        Output::Human => output::fields(&[
            ("agent", output::printable_line(&who)),
            ("role", told.role.to_string()),
            ("group", output::printable_line(&told.group)),
            ("may", output::printable_line(&told.permissions.join(", "))),
        ])?,
    }
    Ok(())
}
