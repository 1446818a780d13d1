//! `openagents info`.

use clap::Args;
use openagents_protocol::call::{GetWorkspace, ListMods, ModInfo};
use serde_json::json;

use crate::connect::Connection;
use crate::output::{self, Output};

const EXAMPLES: &str = "\
Examples:
  openagents info
  openagents info --url https://team.example:8700 --json";

/// Tell about the workspace
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let client = arguments.connection.watch().await?;
    let answered = async {
        Ok::<_, anyhow::Error>((
            client.call(GetWorkspace {}).await?,
            client.call(ListMods {}).await?,
        ))
    };
    let answered = answered.await;
    client.disconnect().await;
    let (workspace, mods) = answered?;
    if output == Output::Json {
        let mut told = serde_json::to_value(&workspace)?;
        told["mods"] = json!(mods.mods);
        return Ok(output::json(&told)?);
    }
    let names: Vec<&str> = mods.mods.iter().map(|one: &ModInfo| one.name.as_str()).collect();
    output::fields(&[
        ("workspace", output::printable_line(&workspace.name)),
        ("description", output::printable_line(&workspace.description)),
        ("server", workspace.server),
        ("durability", workspace.durability),
        (
            "agents",
            format!(
                "{} online, {} known",
                workspace.agents_online, workspace.agents_known
            ),
        ),
        ("channels", workspace.channels.to_string()),
        ("head", workspace.head.to_string()),
        ("mods", output::printable_line(&names.join(", "))),
    ])?;
    Ok(())
}
