//! A workspace in which agents have tokens of their own, and roles by them.

use openagents_client::AgentClient;
use openagents_e2e::Workspace;
use openagents_protocol::call::CreateToken;
use openagents_protocol::record::Role;
use openagents_server::Caller;

/// A workspace that admits by token only.
pub(crate) struct Tokens {
    pub(crate) workspace: Workspace,
}

impl Tokens {
    pub(crate) async fn serve() -> anyhow::Result<Self> {
        Self::serve_with(|_| ()).await
    }

    pub(crate) async fn serve_with(
        change: impl FnOnce(&mut openagents_server::Config),
    ) -> anyhow::Result<Self> {
        let workspace = Workspace::serve_with(change).await?;
        Ok(Self { workspace })
    }

    /// A token for one agent, with a role.
    pub(crate) async fn token(&self, agent_id: &str, role: &str) -> anyhow::Result<String> {
        let operator = Caller::new("operator".parse()?, Role::Admin);
        let params = CreateToken {
            role: role.parse()?,
            agent_id: Some(agent_id.parse()?),
            expires_in_seconds: None,
        };
        let workspace = self.workspace.server().workspace();
        let created = workspace.create_token(&operator, params).await?;
        Ok(created.token.expose().to_owned())
    }

    /// An agent that has joined with a token of its own.
    pub(crate) async fn join(&self, agent_id: &str, role: &str) -> anyhow::Result<AgentClient> {
        let client = AgentClient::new(agent_id);
        client
            .connect_to_server("127.0.0.1", self.workspace.port())
            .token(self.token(agent_id, role).await?)
            .await?;
        Ok(client)
    }
}
