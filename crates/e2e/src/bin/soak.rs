//! Hours of mixed traffic at one server: `soak [--seed N] [--seconds N] [--sample SECONDS]`.
//!
//! The server is a process; agents in this process do everything that agents do, further ones are processes that are
//! killed, and one is the official client where its interpreter is there. Prints a table of what the server takes, and
//! whether that stays where it is once it is warm. Fails when it does not, when something that was acknowledged is not
//! handled, and when anything is refused.

#[path = "soak/sample.rs"]
mod sample;
#[path = "soak/traffic.rs"]
mod traffic;
#[path = "soak/trend.rs"]
mod trend;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use openagents_client::AgentClient;
use openagents_e2e::{Dice, Official, Peer};
use serde_json::json;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use sample::Sample;
use traffic::{AGENTS, Agent, ROOMS, Seen};

/// The part of the samples that is left out of the trends: caches fill at first.
const WARM_UP: usize = 5;

/// Fewer samples say nothing about a trend.
const FEWEST: usize = 8;

/// How long what is on its way at the end may take.
const SETTLE: Duration = Duration::from_mins(2);

/// What is old goes by age, by number and by size, in the workspace and in channels by themselves.
const SETTINGS: &str = "
network: {name: soak}
workspace:
  retention:
    max_age: 20m
    max_size: 40MiB
    at_least: 5m
    channels:
      room1: {max_events: 2000}
      room2: {max_age: 5m}
";

/// What is asked for.
struct Wish {
    seed: u64,
    time: Duration,
    sample: Duration,
}

impl Wish {
    fn read(arguments: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut wish = Self {
            seed: 1,
            time: Duration::from_mins(15),
            sample: Duration::from_mins(1),
        };
        let arguments: Vec<String> = arguments.collect();
        for pair in arguments.chunks(2) {
            let [name, value] = pair else {
                bail!("{} wants a number", pair[0]);
            };
            let value = value.parse().with_context(|| format!("{name} {value}"))?;
            match name.as_str() {
                "--seed" => wish.seed = value,
                "--seconds" => wish.time = Duration::from_secs(value),
                "--sample" => wish.sample = Duration::from_secs(value.max(1)),
                _ => bail!("soak [--seed N] [--seconds N] [--sample SECONDS]"),
            }
        }
        Ok(wish)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let wish = Wish::read(std::env::args().skip(1))?;
    TaskTracker::new().spawn(soak(wish)).await?
}

async fn soak(wish: Wish) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let data = scratch.path().join("data");
    let peer = std::env::current_exe()?.with_file_name("peer");
    let (server, port) = serve(&data, scratch.path())
        .await
        .context("build `openagents` and the whole package first")?;
    let observer = AgentClient::new("observer");
    // It acknowledges what it is given: an agent that never does keeps everything from being removed.
    observer.register_event_handler("*", |_| std::future::ready(()))?;
    observer.connect_to_server("127.0.0.1", port).await?;
    for room in &ROOMS[1..] {
        observer.workspace().create_channel(room, "").await?;
    }
    let seen = Arc::new(Seen::default());
    let (stop, end) = (CancellationToken::new(), CancellationToken::new());
    let agents = TaskTracker::new();
    let mut running = Vec::new();
    for number in 0..AGENTS {
        let agent = Agent::new(wish.seed, number, port, scratch.path().to_owned(), &seen)?;
        running.push(agents.spawn(agent.live(stop.clone(), end.clone())));
    }
    let mortals = mortals(wish.seed, port, peer, scratch.path().to_owned(), stop.clone());
    running.push(agents.spawn(mortals));
    running.push(agents.spawn(official(port, Arc::clone(&seen), stop.clone())));

    let samples = watch(&wish, &server, &observer, &data, &seen).await?;
    stop.cancel();
    let mut ticks = interval(Duration::from_millis(50));
    let settled = async {
        while 0 < seen.open() {
            ticks.tick().await;
        }
    };
    let settled = timeout(SETTLE, settled).await;
    end.cancel();
    for task in running {
        task.await??;
    }
    observer.disconnect().await;
    server.signal("TERM").await?;
    anyhow::ensure!(server.ended().await?.success(), "the server did not end in order");
    let mut wrong = seen.wrong();
    if settled.is_err() {
        wrong.push(format!(
            "{} acknowledged messages were never handled",
            seen.open()
        ));
    }
    judge(&samples, &wrong)
}

/// Starts the server as everybody does, and tells its port. It removes what is old meanwhile.
async fn serve(data: &Path, scratch: &Path) -> anyhow::Result<(Peer, u16)> {
    let program =
        std::env::current_exe()?.with_file_name(format!("openagents{}", std::env::consts::EXE_SUFFIX));
    let settings = scratch.join("network.yaml");
    std::fs::write(&settings, SETTINGS)?;
    let arguments = [
        "serve",
        "--json",
        "--port",
        "0",
        "--durability",
        "fsync",
        "--data",
        plain(data)?,
    ];
    let arguments = [&arguments[..], &["--config", plain(&settings)?]].concat();
    let (server, ready) = Peer::start(&program, &arguments).await?;
    let ready: serde_json::Value = serde_json::from_str(&ready)?;
    let port = ready["url"].as_str().and_then(|url| url.rsplit(':').next());
    Ok((
        server,
        port.with_context(|| format!("{ready} tells no port"))?.parse()?,
    ))
}

/// Samples the server until the time is up, and prints what it finds.
async fn watch(
    wish: &Wish,
    server: &Peer,
    observer: &AgentClient,
    data: &Path,
    seen: &Seen,
) -> anyhow::Result<Vec<Sample>> {
    say(&format!(
        "seed {}, {} s, a sample every {} s; sizes in KiB, times in ms",
        wish.seed,
        wish.time.as_secs(),
        wish.sample.as_secs()
    ));
    say(&format!("{:>8}{}", "second", Sample::head()));
    let begun = Instant::now();
    let mut ticks = interval(wish.sample);
    ticks.tick().await;
    let mut samples = Vec::new();
    while begun.elapsed() + wish.sample / 2 < wish.time {
        ticks.tick().await;
        let head = observer.workspace().get_network_info().await?.head.get();
        let sample = Sample::take(server, data, head, seen.take_waits())?;
        say(&format!("{:>8}{}", begun.elapsed().as_secs(), sample.row()));
        samples.push(sample);
    }
    Ok(samples)
}

fn judge(samples: &[Sample], wrong: &[String]) -> anyhow::Result<()> {
    let warm = &samples[(samples.len() / WARM_UP).min(samples.len())..];
    if let [first, .., last] = warm {
        say(&format!(
            "databases grow by {:.0} bytes an event",
            first.bytes_per_event(last)
        ));
    }
    let mut broken = false;
    if FEWEST <= warm.len() {
        for (line, breaks) in Sample::judge(warm) {
            say(&line);
            broken |= breaks;
        }
    } else {
        say(&format!("{} samples are too few for a trend", warm.len()));
    }
    anyhow::ensure!(
        wrong.is_empty(),
        "{} things went wrong: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(20)]
    );
    anyhow::ensure!(!broken, "a measure broke its rule");
    Ok(())
}

/// Processes that send to one another, are killed and come again.
async fn mortals(
    seed: u64,
    port: u16,
    peer: PathBuf,
    scratch: PathBuf,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut dice = Dice::new(seed ^ 0x6d6f_7274);
    let port = port.to_string();
    let mut life = 0_u32;
    while !stop.is_cancelled() {
        life += 1;
        let ledgers = ["sent", "received"].map(|kind| scratch.join(kind));
        let hear = ["receive", &port, "mortal", plain(&ledgers[1])?];
        let (hearer, _) = Peer::start(&peer, &hear).await?;
        // Its ids are not those of an earlier life.
        let name = format!("speaker{life}");
        let speak = ["send", &port, &name, "mortal", plain(&ledgers[0])?];
        let (speaker, _) = Peer::start(&peer, &speak).await?;
        sleep(dice.milliseconds(100, 1_000)).await;
        speaker.kill().await?;
        hearer.kill().await?;
        // Ledgers are of no use here.
        for ledger in ledgers {
            if ledger.exists() {
                std::fs::remove_file(ledger)?;
            }
        }
        let rest = sleep(dice.milliseconds(5_000, 20_000));
        if stop.run_until_cancelled(rest).await.is_none() {
            break;
        }
    }
    Ok(())
}

/// The official client, where its interpreter is there.
async fn official(port: u16, seen: Arc<Seen>, stop: CancellationToken) -> anyhow::Result<()> {
    if std::env::var_os("OPENAGENTS_TEST_OFFICIAL_PYTHON").is_none() {
        say("without the official client: OPENAGENTS_TEST_OFFICIAL_PYTHON names no interpreter");
        return Ok(());
    }
    let mut life = 0_u32;
    while !stop.is_cancelled() {
        // It tells everything it hears; a new one forgets that.
        life += 1;
        let transport = openagents_e2e::TRANSPORTS[life as usize % 2];
        let mut agent = Official::join(port, transport, "official", "").await?;
        for number in 0..30 {
            if stop.is_cancelled() {
                break;
            }
            let wish = match number % 2 {
                0 => json!({"do": "post", "channel": "general", "text": format!("official {life} {number}")}),
                _ => json!({"do": "send", "to": "observer", "text": format!("official {life} {number}")}),
            };
            if let Err(error) = agent.does(wish).await {
                seen.blame(format!("the official client: {error:#}"));
            }
            sleep(Duration::from_millis(500)).await;
        }
        agent.kill().await?;
    }
    Ok(())
}

fn plain(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("temporary directories have plain names")
}

#[expect(clippy::print_stdout, reason = "the table is what it is for")]
fn say(line: &str) {
    println!("{line}");
}
