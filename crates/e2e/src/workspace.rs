//! A server in this process.

use openagents_client::AgentClient;
use openagents_server::{Config, Server};
use tempfile::TempDir;

/// A workspace served on a port of its own, in a directory of its own.
#[derive(Debug)]
pub struct Workspace {
    server: Server,
    directory: TempDir,
}

impl Workspace {
    /// Serves a new workspace.
    pub async fn serve() -> anyhow::Result<Self> {
        Self::serve_with(|_| ()).await
    }

    /// Serves a new workspace with other settings.
    pub async fn serve_with(change: impl FnOnce(&mut Config)) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut config = Config::new(directory.path().join("data"));
        config.listen = "127.0.0.1:0".parse()?;
        change(&mut config);
        Ok(Self {
            server: Server::bind(config).await?,
            directory,
        })
    }

    /// Stops the server and serves the same directory again, on another port.
    pub async fn restart(self) -> anyhow::Result<Self> {
        self.restart_at(0).await
    }

    /// Stops the server and serves the same directory again, on this port.
    pub async fn restart_at(self, port: u16) -> anyhow::Result<Self> {
        let Self { server, directory } = self;
        server.shutdown().await;
        let mut config = Config::new(directory.path().join("data"));
        config.listen = ([127, 0, 0, 1], port).into();
        Ok(Self {
            server: Server::bind(config).await?,
            directory,
        })
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The directory that the workspace is kept in.
    pub fn data(&self) -> std::path::PathBuf {
        self.directory.path().join("data")
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.local_addr().port()
    }

    /// A client that has joined.
    pub async fn join(&self, agent_id: &str) -> anyhow::Result<AgentClient> {
        let client = AgentClient::new(agent_id);
        client.connect_to_server("127.0.0.1", self.port()).await?;
        Ok(client)
    }

    /// Stops the server.
    pub async fn stop(self) {
        drop(self.keep().await);
    }

    /// Stops the server, and keeps the directory until what is returned is dropped.
    pub async fn keep(self) -> TempDir {
        let Self { server, directory } = self;
        server.shutdown().await;
        directory
    }
}
