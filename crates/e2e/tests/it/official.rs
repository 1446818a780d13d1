//! The official client, unmodified, against a real server.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use openagents_e2e::{Official, SOON, TRANSPORTS, Workspace, memory_kib, within};
use openagents_protocol::call::CreateToken;
use openagents_protocol::record::Role;
use openagents_server::{Caller, Config, Group, Tls};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Hex SHA-256 of "admin".
const ADMIN: &str = "8c6976e5b5410415bde908bd4dee15dfb167a9c873fc4bb8a81f6f2ab448a918";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_of_the_official_client_does_what_it_says() -> Result<()> {
    for transport in TRANSPORTS {
        let workspace = Workspace::serve().await?;
        Official::run("calls.py", &[&workspace.port().to_string(), transport])
            .await
            .with_context(|| format!("over {transport}"))?;
        workspace.stop().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hook_of_an_official_worker_is_called_once() -> Result<()> {
    for transport in TRANSPORTS {
        let recommend = |config: &mut Config| config.legacy.recommended = Some(transport.to_owned());
        let workspace = Workspace::serve_with(recommend).await?;
        Official::run("worker.py", &[&workspace.port().to_string(), transport])
            .await
            .with_context(|| format!("over {transport}"))?;
        workspace.stop().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn official_clients_go_on_after_a_restart_as_if_nothing_had_happened() -> Result<()> {
    let mut workspace = Workspace::serve().await?;
    let port = workspace.port();
    let mut alice = Official::join(port, "http", "alice", "").await?;
    let mut bob = Official::join(port, "grpc", "bob", "").await?;
    alice
        .does(json!({"do": "send", "to": "bob", "text": "before"}))
        .await?;
    bob.gets("thread.direct_message.notification", "before").await?;
    for round in 0..2 {
        workspace = workspace.restart_at(port).await?;
        let native = workspace.join("native").await?;
        let text = format!("while they are away {round}");
        ensure!(native.workspace().agent("bob").send(text.as_str()).await.success);
        ensure!(
            native
                .workspace()
                .agent("alice")
                .send(text.as_str())
                .await
                .success
        );
        for agent in [&mut alice, &mut bob] {
            agent.gets("thread.direct_message.notification", &text).await?;
        }
        // Their secrets are good still.
        let text = format!("again {round}");
        alice
            .does(json!({"do": "send", "to": "bob", "text": text}))
            .await?;
        let told = bob.gets("thread.direct_message.notification", &text).await?;
        ensure!(told["source"] == "alice");
        native.disconnect().await;
    }
    // What was told before is not told again.
    bob.does(json!({"do": "post", "channel": "general", "text": "last"}))
        .await?;
    alice.gets("thread.channel_message.notification", "last").await?;
    ensure!(bob.untold("before") == 0 && bob.untold("again 0") == 0);
    workspace.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_crashed_comes_back_and_gets_what_it_missed() -> Result<()> {
    let workspace = Workspace::serve().await?;
    let native = workspace.join("native").await?;
    for transport in TRANSPORTS {
        let agent = format!("fragile-{transport}");
        let first = Official::join(workspace.port(), transport, &agent, "").await?;
        first.kill().await?;
        let text = format!("for {agent}");
        ensure!(native.workspace().agent(&agent).send(text.as_str()).await.success);
        let mut second = Official::join(workspace.port(), transport, &agent, "").await?;
        second.gets("thread.direct_message.notification", &text).await?;
    }
    workspace.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_joined_by_the_hash_of_their_password_and_tokens_count_by_theirs() -> Result<()> {
    let grouped = |config: &mut Config| {
        let mut admin = Group::open("admin");
        admin.password_hash = Some(ADMIN.to_owned());
        config.workspace.groups = vec![admin];
    };
    let workspace = Workspace::serve_with(grouped).await?;
    for transport in TRANSPORTS {
        let boss = format!("boss-{transport}");
        let _boss = Official::join(workspace.port(), transport, &boss, ADMIN).await?;
        ensure!(workspace.server().workspace().group_name(&boss.parse()?) == "admin");
        let guest = format!("guest-{transport}");
        let _guest = Official::join(workspace.port(), transport, &guest, "").await?;
        ensure!(workspace.server().workspace().group_name(&guest.parse()?) == "guest");
    }
    workspace.stop().await;

    let workspace = Workspace::serve().await?;
    let operator = Caller::new("operator".parse()?, Role::Admin);
    let params = CreateToken {
        role: Role::Member,
        agent_id: None,
        expires_in_seconds: None,
    };
    let created = workspace
        .server()
        .workspace()
        .create_token(&operator, params)
        .await?;
    let hash = openagents_workspace::password_hash(created.token.expose());
    for transport in TRANSPORTS {
        let id = format!("member-{transport}");
        let _member = Official::join(workspace.port(), transport, &id, &hash).await?;
        let refused = Official::join(workspace.port(), transport, "stranger", "").await;
        ensure!(refused.is_err(), "nobody comes in without a token");
    }
    workspace.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_official_client_speaks_tls_over_grpc() -> Result<()> {
    let secure = |config: &mut Config| {
        config.tls = Some(Tls::SelfSigned {
            names: vec!["localhost".to_owned()],
        });
    };
    let workspace = Workspace::serve_with(secure).await?;
    let certificate = workspace.data().join("tls/certificate.pem");
    let certificate = certificate.to_str().context("a path of text")?;
    Official::run("secure.py", &[&workspace.port().to_string(), certificate]).await?;
    workspace.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_has_a_port_of_its_own_where_that_is_wanted() -> Result<()> {
    let apart = |config: &mut Config| config.legacy.grpc = Some(([127, 0, 0, 1], 0).into());
    let workspace = Workspace::serve_with(apart).await?;
    let own = workspace.server().grpc_addr().context("it listens")?.port();
    ensure!(own != workspace.port());
    let mut alice = Official::join(workspace.port(), "grpc", "alice", "").await?;
    let mut bob = Official::join(workspace.port(), "http", "bob", "").await?;
    alice
        .does(json!({"do": "send", "to": "bob", "text": "over there"}))
        .await?;
    bob.gets("thread.direct_message.notification", "over there")
        .await?;
    workspace.stop().await;
    Ok(())
}

/// Whether there is time for the long ones; `cargo xtask check --full` says so.
fn full() -> bool {
    std::env::var_os("OPENAGENTS_FULL").is_some()
}

/// Time between two looks at the memory.
const LOOK: Duration = Duration::from_secs(1);

/// Growth of memory in a minute that is none, in kB: less than is left behind by a fresh page here and there.
const MOST_GROWTH: f64 = 6_000.0;

/// What server and test may take at most, in kB. In a minute caches still fill: a trend says nothing then.
const MOST_MEMORY: f64 = 200_000.0;

/// Looks at the memory of this process until something is done: seconds since the beginning, and kB; and what came of it.
async fn watched<T>(work: impl Future<Output = Result<T>>) -> Result<(Vec<(f64, f64)>, T)> {
    let began = Instant::now();
    let mut looks = tokio::time::interval(LOOK);
    let mut found = Vec::new();
    let mut work = pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done.map(|done| (found, done)),
            _ = looks.tick() => {
                let kilobytes = u32::try_from(memory_kib("self", "VmRSS")?)?;
                found.push((began.elapsed().as_secs_f64(), f64::from(kilobytes)));
            }
        }
    }
}

/// By how many kB memory grows in a minute, as a line through what was seen after the first half of the time: until then
/// caches fill.
fn growth(seen: &[(f64, f64)]) -> f64 {
    let seen = &seen[seen.len() / 2..];
    let count = f64::from(u32::try_from(seen.len()).unwrap_or(u32::MAX));
    let mean = |of: fn(&(f64, f64)) -> f64| seen.iter().map(of).sum::<f64>() / count;
    let (time, memory) = (mean(|look| look.0), mean(|look| look.1));
    let together: f64 = seen.iter().map(|look| (look.0 - time) * (look.1 - memory)).sum();
    let alone: f64 = seen.iter().map(|look| (look.0 - time).powi(2)).sum();
    60.0 * together / alone
}

#[test]
fn growth_is_a_trend_and_no_difference_of_two_looks() {
    let flat: Vec<(f64, f64)> = (0..60)
        .map(|n| (f64::from(n), 1000.0 + f64::from(n % 2)))
        .collect();
    assert!(growth(&flat).abs() < 1.0, "{}", growth(&flat));
    let filling: Vec<(f64, f64)> = (0..60).map(|n| (f64::from(n), f64::from(n.min(20)))).collect();
    assert!(growth(&filling).abs() < 1e-9);
    let leaking: Vec<(f64, f64)> = (0..60).map(|n| (f64::from(n), 2.0 * f64::from(n))).collect();
    assert!((growth(&leaking) - 120.0).abs() < 1e-9);
}

/// How many there are, in how many processes, and for how long they write.
const CROWD: usize = 200;
const PROCESSES: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_official_clients_lose_and_double_nothing() -> Result<()> {
    let seconds = if full() { 600 } else { 60 };
    let limit = Duration::from_secs(seconds) + SOON * 4;
    let workspace = Workspace::serve().await?;
    let share = CROWD / PROCESSES;
    let mut crowd = Vec::new();
    for process in 0..PROCESSES {
        let numbers = [
            workspace.port().to_string(),
            TRANSPORTS[process % 2].to_owned(),
            (process * share).to_string(),
            share.to_string(),
            CROWD.to_string(),
            seconds.to_string(),
        ];
        let arguments: Vec<&str> = numbers.iter().map(String::as_str).collect();
        crowd.push(Official::start("crowd.py", &arguments)?);
    }
    for part in &mut crowd {
        let joined = within(limit, part.next()).await?;
        ensure!(joined["joined"] == share, "{joined}");
    }
    let go = json!({});
    for part in &mut crowd {
        part.hear(&go).await?;
    }
    let traffic = async {
        let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for part in &mut crowd {
            let told = within(limit, part.next()).await?;
            for sent in told["sent"].as_array().context("what was sent")? {
                let texts = [0, 1, 2].map(|index| sent[index].as_str().unwrap_or_default().to_owned());
                let [to, from, text] = texts;
                let readers: Vec<String> = match to.as_str() {
                    "*" => (0..CROWD).map(|number| format!("crowd-{number}")).collect(),
                    _ => vec![to],
                };
                for reader in readers.into_iter().filter(|reader| *reader != from) {
                    expected.entry(reader).or_default().insert(text.clone());
                }
            }
        }
        Ok::<_, anyhow::Error>(expected)
    };
    let (memory, expected) = watched(traffic).await?;
    let due: BTreeMap<&String, usize> = expected
        .iter()
        .map(|(reader, texts)| (reader, texts.len()))
        .collect();
    let mut got: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in &mut crowd {
        part.hear(&json!(due)).await?;
    }
    for part in &mut crowd {
        let told = within(limit, part.next()).await?;
        for (reader, texts) in told["got"].as_object().context("what was got")? {
            let texts = texts.as_array().into_iter().flatten();
            let texts = texts.filter_map(serde_json::Value::as_str);
            got.insert(reader.clone(), texts.map(str::to_owned).collect());
        }
    }
    for (reader, texts) in &expected {
        let told = got
            .get(reader)
            .with_context(|| format!("{reader} told nothing"))?;
        let once: BTreeSet<String> = told.iter().cloned().collect();
        ensure!(told.len() == once.len(), "{reader} got something twice");
        let lost: Vec<&String> = texts.difference(&once).take(3).collect();
        ensure!(lost.is_empty(), "{reader} did not get {lost:?}");
    }
    let total: usize = got.values().map(Vec::len).sum();
    ensure!(10 * CROWD < total, "there was traffic: {total}");
    let growth = growth(&memory);
    ensure!(
        memory.iter().all(|(_, kilobytes)| *kilobytes < MOST_MEMORY),
        "memory has a bound: {memory:.0?}"
    );
    ensure!(
        !full() || growth < MOST_GROWTH,
        "memory grows by {growth:.0} kB a minute: {memory:.0?}"
    );
    for part in &mut crowd {
        part.hear(&go).await?;
    }
    for part in &mut crowd {
        let done: Value = within(limit, part.next()).await?;
        ensure!(done["done"] == true, "{done}");
    }
    workspace.stop().await;
    Ok(())
}
