//! Measures the promises about speed and size, each beside its floor in the same run:
//! `cargo build --release --workspace && target/release/measure [latency|throughput|idle|size|file|search]`.
//!
//! Servers are processes of the real binary; the clients are in this one, on the same cores. Everything is bounded and ends
//! by itself.

#[path = "measure/search.rs"]
mod search;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyhow::Context;
use futures_util::{SinkExt, StreamExt};
use openagents_client::{AgentClient, Event};
use openagents_e2e::{Peer, Prose};
use openagents_protocol::EventId;
use openagents_protocol::Source;
use openagents_protocol::record::{Act, Body, Header};
use openagents_store::{Durability, Entry, EventLog, Options, Store};
use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::task::TaskTracker;

/// Round trips and messages per latency run.
const SAMPLES: usize = 3000;
/// Runs of which the median is told.
const RUNS: usize = 5;
/// How long throughput is measured.
const LOAD: Duration = Duration::from_secs(10);
/// Publishes in flight while throughput is measured.
const IN_FLIGHT: usize = 1000;
/// Events of the large log.
const MANY: u64 = 1_000_000;
/// Bytes of the large file.
const LARGE: u64 = 1 << 30;
/// Agents that are connected and idle.
const IDLE: usize = 1000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // As a task, where programs have their agents; the main thread would be woken from outside the runtime.
    TaskTracker::new().spawn(measure()).await?
}

async fn measure() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let only = std::env::args().nth(1);
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    if wanted("latency") {
        latency(scratch.path()).await?;
    }
    if wanted("throughput") {
        throughput(scratch.path()).await?;
    }
    if wanted("idle") {
        idle(scratch.path()).await?;
    }
    if wanted("size") {
        size(scratch.path()).await?;
    }
    if wanted("file") {
        file(scratch.path()).await?;
    }
    if wanted("search") {
        search::search(scratch.path()).await?;
    }
    Ok(())
}

/// A server as a process, and the port it listens on.
async fn serve(directory: &Path, durability: &str) -> anyhow::Result<(Peer, u16)> {
    let program = std::env::current_exe()?.with_file_name("openagents");
    let directory = directory.to_str().context("a plain path")?;
    let arguments = [
        "serve",
        "--port",
        "0",
        "--data",
        directory,
        "--durability",
        durability,
    ];
    let (server, ready) = Peer::start(&program, &arguments)
        .await
        .context("build the whole workspace first")?;
    let port = ready
        .rsplit(':')
        .next()
        .context("the ready line ends with the port")?;
    Ok((server, port.parse()?))
}

async fn join(agent_id: &str, port: u16) -> anyhow::Result<AgentClient> {
    let client = AgentClient::new(agent_id);
    client.connect_to_server("127.0.0.1", port).await?;
    Ok(client)
}

/// What is said, of words as people use them: the server has to index them.
static TEXTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut prose = Prose::new(1);
    (0..1000).map(|_| prose.text(200)).collect()
});

fn direct(to: &str) -> Event {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let next = usize::try_from(NEXT.fetch_add(1, Ordering::Relaxed)).unwrap_or_default();
    let mut event = Event::new("direct.message.received").to(format!("agent:{to}"));
    event.event_id = EventId::new().to_string();
    event.payload = json!({"content": {"text": TEXTS[next % TEXTS.len()]}}).into();
    event
}

/// Publishes one event after the other until there is none, many of them in flight, and waits until everything is
/// acknowledged.
async fn publish(sender: &AgentClient, mut next: impl FnMut(u64) -> Option<Event>) -> anyhow::Result<u64> {
    let (in_flight, mut settling) = mpsc::channel(IN_FLIGHT);
    let tasks = TaskTracker::new();
    let settled = tasks.spawn(async move {
        while let Some(pending) = settling.recv().await {
            let pending: openagents_client::PendingPublish = pending;
            anyhow::ensure!(pending.await.success, "a publish was refused");
        }
        Ok(())
    });
    let mut sent = 0;
    while let Some(event) = next(sent) {
        let room = in_flight.reserve().await?;
        room.send(sender.publish(event)?);
        sent += 1;
    }
    drop(in_flight);
    settled.await??;
    Ok(sent)
}

/// The value at a share of the sorted values.
fn percentile(sorted: &[Duration], share: f64) -> Duration {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a few thousand values"
    )]
    let index = ((sorted.len() as f64 * share) as usize).min(sorted.len() - 1);
    sorted[index]
}

/// The medians over the runs of p50 and p99.
fn medians(mut runs: Vec<Vec<Duration>>) -> (Duration, Duration) {
    let mut at = |share| {
        let mut values: Vec<Duration> = runs
            .iter_mut()
            .map(|run| {
                run.sort_unstable();
                percentile(run, share)
            })
            .collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    (at(0.5), at(0.99))
}

async fn latency(scratch: &Path) -> anyhow::Result<()> {
    let (mut echo, mut memory, mut fsync, mut commit) = (vec![], vec![], vec![], vec![]);
    let echo_server = std::env::current_exe()?.with_file_name("peer");
    let (_echo, echo_port) = Peer::start(&echo_server, &["echo"]).await?;
    let (_memory, memory_port) = serve(&scratch.join("memory"), "memory").await?;
    let (_fsync, fsync_port) = serve(&scratch.join("fsync"), "fsync").await?;
    for run in 0..RUNS {
        echo.push(echo_round_trips(echo_port.parse()?).await?);
        memory.push(messages(memory_port, run).await?);
        fsync.push(messages(fsync_port, run).await?);
        commit.push(commits(&scratch.join(format!("commit{run}"))).await?);
    }
    let (echo, memory, fsync, commit) = (medians(echo), medians(memory), medians(fsync), medians(commit));
    tell("bare WebSocket echo, round trip", echo);
    tell("direct message, memory, publish to handler", memory);
    tell("bare commit of the log, fsync", commit);
    tell("direct message, fsync, publish to handler", fsync);
    println!(
        "memory / echo {:.2}",
        memory.0.as_secs_f64() / echo.0.as_secs_f64()
    );
    println!(
        "fsync / (memory + commit) {:.2}",
        fsync.0.as_secs_f64() / (memory.0 + commit.0).as_secs_f64()
    );
    Ok(())
}

fn tell(what: &str, (p50, p99): (Duration, Duration)) {
    println!(
        "{what:45} p50 {:7.1} µs   p99 {:7.1} µs",
        micros(p50),
        micros(p99)
    );
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

async fn echo_round_trips(port: u16) -> anyhow::Result<Vec<Duration>> {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let (mut socket, _) = tokio_tungstenite::client_async(format!("ws://127.0.0.1:{port}/"), stream).await?;
    let mut samples = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let begun = Instant::now();
        socket.send(Message::text("x".repeat(256))).await?;
        socket.next().await.context("the echo answers")??;
        samples.push(begun.elapsed());
    }
    Ok(samples)
}

async fn messages(port: u16, run: usize) -> anyhow::Result<Vec<Duration>> {
    let (sender, receiver) = (join("sender", port).await?, format!("receiver{run}"));
    let receiving = join(&receiver, port).await?;
    let (arrived, mut arrivals) = mpsc::channel(16);
    receiving.register_event_handler(["direct.*"], move |_: Event| {
        let arrived = arrived.clone();
        async move {
            arrived
                .send(Instant::now())
                .await
                .expect("the arrivals are counted");
        }
    })?;
    let mut samples = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let event = direct(&receiver);
        let begun = Instant::now();
        let pending = sender.publish(event)?;
        samples.push(arrivals.recv().await.context("the message arrives")? - begun);
        pending.await;
    }
    sender.disconnect().await;
    receiving.disconnect().await;
    Ok(samples)
}

async fn commits(directory: &Path) -> anyhow::Result<Vec<Duration>> {
    let (store, _) = Store::open(
        directory,
        Options {
            durability: Durability::Fsync,
            ..Options::default()
        },
    )?;
    let mut samples = Vec::with_capacity(SAMPLES / 4);
    for _ in 0..SAMPLES / 4 {
        let begun = Instant::now();
        store.log.append(vec![entry()?]).await?;
        samples.push(begun.elapsed());
    }
    store.log.close().await?;
    Ok(samples)
}

fn entry() -> anyhow::Result<Entry> {
    let body = Body {
        payload: json!({"content": {"text": "x".repeat(200)}}).into(),
        ..Body::empty()
    };
    let (name, destination) = ("direct.message.received".parse()?, "agent:receiver".parse()?);
    let source = Source::Agent("sender".parse()?);
    let header = Header::new(
        name,
        source,
        destination,
        0,
        Act::Message { reply_to: None },
        &body,
    );
    Ok(Entry { header, body })
}

async fn throughput(scratch: &Path) -> anyhow::Result<()> {
    for durability in ["memory", "fsync"] {
        let (_server, port) = serve(&scratch.join(format!("load-{durability}")), durability).await?;
        let load = Load::begin(port).await?;
        let begun = Instant::now();
        let sent = load.run(|_| begun.elapsed() < LOAD).await?;
        #[expect(clippy::cast_precision_loss, reason = "a count of events")]
        let rate = sent as f64 / begun.elapsed().as_secs_f64();
        println!(
            "{durability}: {rate:.0} events/s, 256 bytes, acknowledged one by one and handled, {sent} in all"
        );
        let (lag, caught_up) = search::catch_up(&load.sender, begun).await?;
        #[expect(clippy::cast_precision_loss, reason = "a count of events")]
        let rate = sent as f64 / caught_up.as_secs_f64();
        println!(
            "{durability}: the search lagged by {lag} events then; {rate:.0} a second became searchable"
        );
    }
    Ok(())
}

/// A sender that keeps many publishes in flight, and a receiver that counts.
struct Load {
    sender: AgentClient,
    _receiver: AgentClient,
    handled: Arc<AtomicU64>,
    handled_more: Arc<Notify>,
}

impl Load {
    async fn begin(port: u16) -> anyhow::Result<Self> {
        let (sender, receiver) = (join("sender", port).await?, join("receiver", port).await?);
        let (handled, handled_more) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
        let (count, more) = (Arc::clone(&handled), Arc::clone(&handled_more));
        receiver.register_event_handler(["direct.*"], move |_: Event| {
            count.fetch_add(1, Ordering::Relaxed);
            more.notify_one();
            async {}
        })?;
        Ok(Self {
            sender,
            _receiver: receiver,
            handled,
            handled_more,
        })
    }

    /// Publishes while the condition holds, then waits until everything is acknowledged and handled.
    async fn run(&self, go_on: impl Fn(u64) -> bool) -> anyhow::Result<u64> {
        let next = |sent| go_on(sent).then(|| direct("receiver"));
        let sent = publish(&self.sender, next).await?;
        while self.handled.load(Ordering::Relaxed) < sent {
            self.handled_more.notified().await;
        }
        Ok(sent)
    }
}

async fn idle(scratch: &Path) -> anyhow::Result<()> {
    let (server, port) = serve(&scratch.join("idle"), "fsync").await?;
    let empty = server.memory_kib()?;
    let mut clients = Vec::with_capacity(IDLE);
    for number in 0..IDLE {
        clients.push(join(&format!("idle-{number}"), port).await?);
    }
    let full = server.memory_kib()?;
    println!(
        "{IDLE} idle agents: {full} KiB resident, {empty} KiB before, {} KiB each",
        (full - empty) / IDLE as u64
    );
    Ok(())
}

async fn size(scratch: &Path) -> anyhow::Result<()> {
    let data: PathBuf = scratch.join("size");
    let (server, port) = serve(&data, "os").await?;
    let empty = server.memory_kib()?;
    Load::begin(port).await?.run(|sent| sent < MANY).await?;
    let full = server.memory_kib()?;
    println!("{MANY} events: {full} KiB resident after the load, {empty} KiB before it");
    server.signal("TERM").await?;
    server.ended().await?;
    let begun = Instant::now();
    let (server, _) = serve(&data, "os").await?;
    println!(
        "{MANY} events: ready after {:.1} ms, {} KiB resident",
        micros(begun.elapsed()) / 1e3,
        server.memory_kib()?
    );
    Ok(())
}

/// A large file goes from one process through the server and back, and is compared.
async fn file(scratch: &Path) -> anyhow::Result<()> {
    let path = scratch.join("large.bin");
    std::fs::File::create(&path)?.set_len(LARGE)?;
    let (server, port) = serve(&scratch.join("files"), "fsync").await?;
    let before = server.peak_memory_kib()?;
    let program = std::env::current_exe()?.with_file_name("peer");
    let arguments = [
        "transfer",
        &port.to_string(),
        path.to_str().context("a plain path")?,
    ];
    let (mut client, idle) = Peer::start(&program, &arguments).await?;
    let begun = Instant::now();
    let done = client.line().await?.context("it tells when it is done")?;
    let elapsed = begun.elapsed();
    println!(
        "{} MiB sent, fetched and compared in {:.1} s; at most resident, KiB: server {} ({before} before), client {done} ({idle} before)",
        LARGE >> 20,
        elapsed.as_secs_f64(),
        server.peak_memory_kib()?,
    );
    anyhow::ensure!(client.ended().await?.success(), "the copy differs");
    Ok(())
}
