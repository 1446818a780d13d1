//! A server at the limits of its machine: no space left on the disk, no descriptors, no memory. It says so, serves those
//! it can serve, and goes on when there is room again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use openagents_client::{AgentClient, ErrorCode};
use openagents_e2e::{Disk, Peer, SOON, within};
use openagents_protocol::Sequence;
use openagents_store::{EventLog, Options, Store};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

mod histories;

const PEER: &str = env!("CARGO_BIN_EXE_peer");

/// Longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_mins(2);

/// Starts a server under a program that limits it; its port.
async fn serve(
    limiter: &[&str],
    data: &Path,
    durability: &str,
    environment: &[(&str, &str)],
) -> anyhow::Result<(Peer, u16)> {
    let data = data.to_str().context("a temporary directory has a plain name")?;
    let arguments = [limiter, &[PEER, "serve", data, durability, "0"]].concat();
    let started = Peer::start_with(Path::new(arguments[0]), &arguments[1..], environment);
    let (server, port) = within(LIMIT, started).await?;
    Ok((server, port.parse()?))
}

async fn join(port: u16, agent_id: &str) -> anyhow::Result<AgentClient> {
    let client = AgentClient::new(agent_id);
    within(SOON, client.connect_to_server("127.0.0.1", port).into_future()).await?;
    Ok(client)
}

async fn stop(server: Peer) -> anyhow::Result<()> {
    server.signal("TERM").await?;
    assert!(within(LIMIT, server.ended()).await?.success());
    Ok(())
}

#[tokio::test]
async fn a_full_disk_refuses_events_until_there_is_space_and_loses_none() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let disk = directory.path().join("disk");
    std::fs::create_dir(&disk)?;
    // A file system of its own, seen by the server only: mounting one needs a namespace and no rights.
    let mount = format!(
        "mount -t tmpfs -o size=6m none {} && exec \"$0\" \"$@\"",
        disk.display()
    );
    let limiter = ["unshare", "--mount", "--map-root-user", "sh", "-c", &mount];
    let (server, port) = serve(&limiter, &disk.join("data"), "fsync", &[]).await?;
    let seen_here = PathBuf::from(format!("/proc/{}/root", server.id().context("it runs")?))
        .join(disk.strip_prefix("/")?);
    let filler = seen_here.join("filler");
    std::fs::write(&filler, vec![0; 2 << 20])?;

    let client = join(port, "writer").await?;
    let general = client.workspace().channel("general");
    let mut acknowledged = Vec::new();
    let mut fill = async |until: ErrorCode| {
        loop {
            let response = within(LIMIT, general.post("x".repeat(20_000)).into_future()).await;
            match (response.data, response.error) {
                (Some(receipt), _) => acknowledged.push(receipt.event_id.to_string()),
                (None, Some(error)) if error.code == until => return,
                (None, error) => panic!("neither stored nor refused for want of space: {error:?}"),
            }
        }
    };
    fill(ErrorCode::StorageFull).await;
    // It still answers, and it is the same process that goes on when there is space.
    assert!(!general.get_messages(10).await?.is_empty());
    std::fs::remove_file(&filler)?;
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    within(LIMIT, async {
        while !general.post("after").await.success {
            ticks.tick().await;
        }
    })
    .await;
    fill(ErrorCode::StorageFull).await;

    // What a restart would find.
    server.signal("STOP").await?;
    let copy = directory.path().join("copy");
    std::fs::create_dir(&copy)?;
    for file in ["log.db", "log.db-wal"] {
        std::fs::copy(seen_here.join("data").join(file), copy.join(file))?;
    }
    server.kill().await?;
    let (store, _) = Store::open(&copy, Options::default())?;
    let records = store.log.read(Sequence::ZERO, 10_000).await?;
    let stored: Vec<String> = records
        .iter()
        .map(|record| record.header.event_id.to_string())
        .collect();
    assert!(100 < acknowledged.len(), "{}", acknowledged.len());
    let missing: Vec<_> = acknowledged.iter().filter(|id| !stored.contains(id)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    Ok(())
}

#[tokio::test]
async fn when_descriptors_run_out_those_inside_go_on_and_others_come_when_some_leave() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let limiter = ["prlimit", "--nofile=100:100"];
    let (server, port) = serve(&limiter, &directory.path().join("data"), "fsync", &[]).await?;
    let mut inside = Vec::new();
    let refused = loop {
        let client = AgentClient::new(format!("agent{}", inside.len()));
        let connect = client
            .connect_to_server("127.0.0.1", port)
            .timeout(Duration::from_secs(2));
        match within(SOON, connect.into_future()).await {
            Ok(()) => inside.push(client),
            Err(error) => break error,
        }
        assert!(inside.len() < 100, "there are more sessions than descriptors");
    };
    assert!(refused.is_retryable(), "{refused}");
    assert!(20 <= inside.len(), "only {} got in", inside.len());
    // Those inside are served in full: posts, and what has to read the disk.
    for client in &inside {
        let general = client.workspace().channel("general");
        let posted = within(SOON, general.post("here").into_future()).await;
        assert!(posted.success, "{posted:?}");
    }
    let reads = inside.iter().map(|client| {
        let general = client.workspace().channel("general");
        async move { general.get_messages(100).await }
    });
    for messages in within(SOON, join_all(reads)).await {
        assert_eq!(messages?.len(), inside.len());
    }
    for client in inside.drain(..5) {
        client.disconnect().await;
    }
    join(port, "newcomer").await?;
    stop(server).await
}

#[tokio::test]
async fn a_flood_of_large_frames_stays_within_bounds_and_costs_nobody_else() -> anyhow::Result<()> {
    const FLOODERS: usize = 16;
    const FRAMES: usize = 48;
    let directory = tempfile::tempdir()?;
    let disk = Disk::build(directory.path()).await?;
    // A slow disk, so that what is taken in piles up, and far less memory than what is sent.
    let limiter = ["prlimit", "--data=300000000:300000000"];
    let (server, port) = serve(&limiter, &directory.path().join("data"), "os", &disk.slow()?).await?;
    let client = join(port, "bystander").await?;
    let floods = (0..FLOODERS).map(|flooder| flood(port, flooder, FRAMES));
    for sent in within(LIMIT, join_all(floods)).await {
        assert!(0 < sent?);
    }
    // Who reads is served while the flood waits for the disk.
    assert_eq!(within(SOON, client.list_agents()).await?.len(), FLOODERS + 1);
    let peak = server.peak_memory_kib()?;
    assert!(peak < 300_000, "{peak} kB resident");
    server.kill().await?;
    Ok(())
}

/// Sends frames of a megabyte and reads nothing, until the server takes no more for a while; how many it took.
async fn flood(port: u16, flooder: usize, frames: usize) -> anyhow::Result<usize> {
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://127.0.0.1:{port}/ws")).await?;
    let hello = json!({"type": "hello", "protocol": 1, "agent_id": format!("flooder{flooder}")});
    socket.send(Message::text(hello.to_string())).await?;
    socket.next().await.context("a welcome")??;
    let text = "x".repeat(1_000_000);
    for number in 0..frames {
        let event = json!({
            "event_name": "direct.message.received",
            "destination_id": "agent:bystander",
            "payload": {"content": {"text": text}},
        });
        let publish = json!({"type": "publish", "id": number, "event": event});
        let sent = socket.send(Message::text(publish.to_string()));
        match tokio::time::timeout(Duration::from_secs(3), sent).await {
            Ok(sent) => sent?,
            Err(_) => return Ok(number),
        }
    }
    Ok(frames)
}
