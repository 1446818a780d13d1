//! Programs in Python that use the official client, unmodified: `python/official`.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::{SOON, within};

/// Names the interpreter that has the official client.
const PYTHON: &str = "OPENAGENTS_TEST_OFFICIAL_PYTHON";

/// How the official client connects.
pub const TRANSPORTS: [&str; 2] = ["http", "grpc"];

/// A program that runs, and what it tells: a line of JSON for each thing.
#[derive(Debug)]
pub struct Official {
    child: Child,
    says: Lines<BufReader<ChildStdout>>,
    hears: Option<ChildStdin>,
    /// What it told, and nobody asked for yet.
    told: Vec<Value>,
}

impl Official {
    /// Starts a program of `python/official`.
    ///
    /// # Errors
    ///
    /// Where there is no interpreter with the client; `cargo xtask check` prepares one.
    pub fn start(program: &str, arguments: &[&str]) -> Result<Self> {
        let python = std::env::var_os(PYTHON).with_context(|| {
            format!("{PYTHON} names no interpreter: run `cargo xtask check`, which prepares one and sets it")
        })?;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/official");
        let mut child = Command::new(python)
            .arg(folder.join(program))
            .args(arguments)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        let says = child.stdout.take().context("its output")?;
        Ok(Self {
            hears: child.stdin.take(),
            says: BufReader::new(says).lines(),
            told: Vec::new(),
            child,
        })
    }

    /// Runs a program to its end, which has to be a good one.
    ///
    /// # Errors
    ///
    /// What went wrong in it.
    pub async fn run(program: &str, arguments: &[&str]) -> Result<()> {
        let mut running = Self::start(program, arguments)?;
        let told = within(SOON * 12, running.next()).await?;
        ensure!(told.get("done").is_some(), "{program} {arguments:?}: {told}");
        Ok(())
    }

    /// An agent that does what it is told.
    ///
    /// # Errors
    ///
    /// Where it cannot join.
    pub async fn join(port: u16, transport: &str, agent_id: &str, password_hash: &str) -> Result<Self> {
        let mut agent = Self::start(
            "person.py",
            &[&port.to_string(), transport, agent_id, password_hash],
        )?;
        let joined = agent.tells("joined").await?;
        ensure!(joined["joined"] == true, "{agent_id} could not join: {joined}");
        Ok(agent)
    }

    /// The next line.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub async fn next(&mut self) -> Result<Value> {
        let line = self.says.next_line().await?.context("the program ended")?;
        let told: Value = serde_json::from_str(&line).with_context(|| format!("a line of JSON: {line}"))?;
        if let Some(reason) = told.get("failed") {
            bail!("the program failed: {reason}");
        }
        Ok(told)
    }

    /// The first line with this key, told before or to come.
    ///
    /// # Errors
    ///
    /// Where the program ends first.
    pub async fn tells(&mut self, key: &str) -> Result<Value> {
        self.tells_that(|told| told.get(key).is_some()).await
    }

    /// The first event of this name that carries this text anywhere.
    ///
    /// # Errors
    ///
    /// Where the program ends first.
    pub async fn gets(&mut self, event_name: &str, text: &str) -> Result<Value> {
        self.tells_that(|told| told["event"] == event_name && told["payload"].to_string().contains(text))
            .await
            .with_context(|| format!("waiting for {event_name} with {text}"))
    }

    async fn tells_that(&mut self, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        if let Some(index) = self.told.iter().position(&wanted) {
            return Ok(self.told.remove(index));
        }
        within(SOON, async {
            loop {
                let told = self.next().await?;
                if wanted(&told) {
                    return Ok(told);
                }
                self.told.push(told);
            }
        })
        .await
    }

    /// Tells it to do something, and waits for what comes of it.
    ///
    /// # Errors
    ///
    /// Where it refuses or ends.
    pub async fn does(&mut self, wish: Value) -> Result<Value> {
        let answered = self.hear(&wish).await?.tells("answered").await?;
        ensure!(answered["success"] == true, "{wish}: {answered}");
        Ok(answered)
    }

    /// Says a line to it.
    ///
    /// # Errors
    ///
    /// Where it is gone.
    pub async fn hear(&mut self, wish: &Value) -> Result<&mut Self> {
        let hears = self.hears.as_mut().context("it hears nothing")?;
        hears.write_all(format!("{wish}\n").as_bytes()).await?;
        hears.flush().await?;
        Ok(self)
    }

    /// Ends it as a crash would.
    ///
    /// # Errors
    ///
    /// Where it cannot be killed.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}

impl Official {
    /// How often something with this text was told that nobody asked for.
    pub fn untold(&self, text: &str) -> usize {
        let with_text = |told: &&Value| told.to_string().contains(text);
        self.told.iter().filter(with_text).count()
    }
}
