//! The host of the server.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openagents_server::{Config, Server, Unread};
use openagents_store::{Execution, Options, Store};

use crate::archive::Archivist;
use crate::journal::Fact;
use crate::network::{PORT, Socket};
use crate::plan::Flaw;
use crate::scene::Scene;

const NAME: &str = "server";

/// One life of the server's process: serves until it is stopped or crashes.
pub(crate) async fn live(scene: Arc<Scene>) -> turmoil::Result {
    let host = scene.plan.agents.len();
    let life = scene.begin(host);
    let outcome = serve(&scene, life, host).await;
    if let Err(error) = &outcome {
        scene.tell(NAME, life, Fact::Broken(format!("it does not start: {error:#}")));
    }
    Ok(())
}

async fn serve(scene: &Arc<Scene>, life: u32, host: usize) -> anyhow::Result<()> {
    let mut dice = scene.dice(host as u64, life);
    loop {
        scene.tell(NAME, life, Fact::Cursors(cursors(scene)?));
        let server = Server::serve(config(scene), Socket::bind().await?).await?;
        let last = tokio::select! {
            () = scene.stop.cancelled() => true,
            () = scene.restart.notified() => false,
            Err(error) = archive(scene, life, &server) => return Err(error),
        };
        server.shutdown().await;
        if last {
            scene.stopped.store(true, Ordering::Relaxed);
            return Ok(());
        }
        tokio::time::sleep(dice.milliseconds(1, 2_000)).await;
    }
}

/// Keeps what the server is going to remove.
async fn archive(scene: &Arc<Scene>, life: u32, server: &Server) -> anyhow::Result<()> {
    if scene.plan.retention.is_some() {
        Archivist::begin(scene, life)?.follow(&server.workspace()).await?;
    }
    std::future::pending().await
}

pub(crate) fn config(scene: &Arc<Scene>) -> Config {
    let mut config = Config::new(&scene.data);
    config.listen.set_port(PORT);
    config.workspace.durability = scene.durability();
    config.workspace.execution = Execution::Inline;
    config.workspace.clock = scene.clock();
    if !scene.plan.guarded {
        config.workspace.loop_guard = None;
    }
    if let Some(retention) = scene.plan.retention.clone() {
        config.workspace.retention = retention;
        // Who is killed is away soon.
        config.workspace.lease = Duration::from_secs(1);
        if scene.plan.flaw == Some(Flaw::RemovesUnread) {
            config.workspace.retention.unread = Unread::Removed;
        }
    }
    config
}

/// How far each agent is, as the disk knows it.
fn cursors(scene: &Scene) -> anyhow::Result<Vec<(String, u64)>> {
    let options = Options {
        durability: scene.durability(),
        execution: Execution::Inline,
    };
    let (_, loaded) = Store::open(&scene.data, options)?;
    let cursors = loaded.cursors.into_iter();
    let mut cursors: Vec<_> = cursors
        .map(|(agent, cursor)| (agent.to_string(), cursor.get()))
        .collect();
    cursors.sort();
    Ok(cursors)
}
