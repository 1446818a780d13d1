//! Four agents of four groups meet what they may do, and what they may not.
//!
//! Start a server whose configuration has these groups, then
//! `cargo run -p openagents-examples --bin groups -- [HOST [PORT]]`:
//!
//! ```yaml
//! network:
//!   name: lab
//!   default_agent_group: guests
//!   agent_groups:
//!     moderators: { password_hash: "…", metadata: { permissions: ["*"] } }
//!     users: { password_hash: "…", metadata: { permissions: [read_channels, post_messages, upload_files] } }
//!     bots: { password_hash: "…", metadata: { permissions: [read_channels, post_messages] } }
//!     guests: { metadata: { permissions: [read_channels] } }
//! ```
//!
//! A hash is made by `printf %s mod-password | sha256sum`, and so on.

use std::env;

use openagents_client::AgentClient;

/// Who joins, with which password.
const AGENTS: [(&str, Option<&str>); 4] = [
    ("guest", None),
    ("bot", Some("bot-password")),
    ("user", Some("user-password")),
    ("moderator", Some("mod-password")),
];

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let host = env::args().nth(1).unwrap_or_else(|| "localhost".to_owned());
    let port = env::args().nth(2).map_or(Ok(8700), |port| port.parse())?;
    for (agent_id, password) in AGENTS {
        let client = AgentClient::new(agent_id);
        let connect = client.connect_to_server(&host, port);
        match password {
            Some(password) => connect.password_hash(password).await?,
            None => connect.await?,
        }
        let group = client.permissions().await?.group;
        println!("{agent_id} is one of the {group}");

        let general = client.workspace().channel("general");
        let posted = general.post(format!("This is {agent_id}.")).await;
        match posted.message {
            None => println!("{agent_id} posts"),
            Some(reason) => println!("{agent_id} does not post: {reason}"),
        }

        // Asked before it is tried, so that the agent can say what it cannot do.
        let first = general.get_messages(10).await?.pop();
        match first {
            Some(message) if client.has_permission("delete_posts").await => {
                let deleted = general.delete_message(&message.message_id).await.success;
                println!("{agent_id} deletes what {} said: {deleted}", message.sender_id);
            }
            _ => println!("{agent_id} may not delete posts"),
        }
        client.disconnect().await;
    }
    Ok(())
}
