//! The host of the server.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use openagents_server::{Config, Server};
use openagents_store::{Execution, Options, Store};

use crate::journal::Fact;
use crate::network::{PORT, Socket};
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
        };
        server.shutdown().await;
        if last {
            scene.stopped.store(true, Ordering::Relaxed);
            return Ok(());
        }
        tokio::time::sleep(dice.milliseconds(1, 2_000)).await;
    }
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
