//! Programs in Python that tell what they see: `python/official` with the official client, unmodified, and `python/ours`
//! with the client of this project.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::{SOON, within};

/// How the official client connects.
pub const TRANSPORTS: [&str; 2] = ["http", "grpc"];

/// Which package `openagents` a program imports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Package {
    /// That of the official client.
    Official,
    /// That of this project.
    Ours,
}

impl Package {
    /// The folder of its programs, below `python`.
    fn folder(self) -> &'static str {
        match self {
            Self::Official => "official",
            Self::Ours => "ours",
        }
    }

    /// An interpreter that finds the package.
    fn interpreter(self) -> Result<Command> {
        match self {
            Self::Official => Ok(Command::new(named("OPENAGENTS_TEST_OFFICIAL_PYTHON")?)),
            Self::Ours => {
                let mut python = Command::new(named("OPENAGENTS_TEST_PYTHON")?);
                python.env("PYTHONPATH", named("OPENAGENTS_TEST_PACKAGE")?);
                Ok(python)
            }
        }
    }
}

/// What `cargo xtask check` prepared and says in a variable.
fn named(variable: &str) -> Result<OsString> {
    std::env::var_os(variable).with_context(|| {
        format!("{variable} is not set: run `cargo xtask check`, which prepares what it names and sets it")
    })
}

/// A program that runs, and what it tells: a line of JSON for each thing.
#[derive(Debug)]
pub struct Program {
    child: Child,
    says: Lines<BufReader<ChildStdout>>,
    hears: Option<ChildStdin>,
    /// What it told, and nobody asked for yet.
    told: Vec<Value>,
}

impl Program {
    /// Starts a program.
    ///
    /// # Errors
    ///
    /// Where there is no interpreter with the package; `cargo xtask check` prepares one.
    pub fn start(package: Package, program: &str, arguments: &[&str]) -> Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
        let mut child = package
            .interpreter()?
            .arg(folder.join(package.folder()).join(program))
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

    /// The agent, once it has joined.
    async fn joined(mut self) -> Result<Self> {
        let joined = self.tells("joined").await?;
        ensure!(joined["joined"] == true, "it could not join: {joined}");
        Ok(self)
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

    /// How often something with this text was told that nobody asked for.
    pub fn untold(&self, text: &str) -> usize {
        let with_text = |told: &&Value| told.to_string().contains(text);
        self.told.iter().filter(with_text).count()
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

/// Programs that use the official client.
#[derive(Clone, Copy, Debug)]
pub struct Official;

impl Official {
    /// Starts a program of `python/official`.
    ///
    /// # Errors
    ///
    /// Where there is no interpreter with the client; `cargo xtask check` prepares one.
    pub fn start(program: &str, arguments: &[&str]) -> Result<Program> {
        Program::start(Package::Official, program, arguments)
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
    pub async fn join(port: u16, transport: &str, agent_id: &str, password_hash: &str) -> Result<Program> {
        let port = port.to_string();
        let person = Self::start("person.py", &[&port, transport, agent_id, password_hash])?;
        person.joined().await
    }
}

/// Programs that use the Python client of this project.
#[derive(Clone, Copy, Debug)]
pub struct Ours;

impl Ours {
    /// An agent that does what it is told.
    ///
    /// # Errors
    ///
    /// Where it cannot join.
    pub async fn join(port: u16, agent_id: &str) -> Result<Program> {
        let person = Program::start(Package::Ours, "person.py", &[&port.to_string(), agent_id])?;
        person.joined().await
    }
}
