//! A process that can be killed.

use std::path::Path;
use std::process::{ExitStatus, Stdio};

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// A process of the suite: a server, a sender or a receiver. Dropping it kills it.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// How a process ended.
pub type Ended = ExitStatus;

impl Peer {
    /// Starts a program and waits for its first line, which says that it is ready.
    pub async fn start(program: &Path, arguments: &[&str]) -> anyhow::Result<(Self, String)> {
        Self::start_with(program, arguments, &[]).await
    }

    /// [`Peer::start`] with further environment variables.
    pub async fn start_with(
        program: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> anyhow::Result<(Self, String)> {
        let mut peer = Self::spawn(program, arguments, environment)?;
        let Some(line) = peer.line().await? else {
            bail!("{arguments:?} ended before it was ready")
        };
        Ok((peer, line))
    }

    /// Starts a program that says by other means when it is ready.
    pub fn spawn(program: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).envs(environment.iter().copied());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let stdout = child.stdout.take().context("the output is piped")?;
        Ok(Self {
            child,
            lines: BufReader::new(stdout).lines(),
        })
    }

    /// Its process id; none once it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The most memory that was ever resident of it, in KiB.
    pub fn peak_memory_kib(&self) -> anyhow::Result<u64> {
        memory_kib(&self.id().context("it runs")?.to_string(), "VmHWM")
    }

    /// The memory that is resident of it now, in KiB.
    pub fn memory_kib(&self) -> anyhow::Result<u64> {
        memory_kib(&self.id().context("it runs")?.to_string(), "VmRSS")
    }

    /// The next line it prints; none at its end.
    pub async fn line(&mut self) -> anyhow::Result<Option<String>> {
        Ok(self.lines.next_line().await?)
    }

    /// Ends it at once, as `kill -9` does.
    pub async fn kill(mut self) -> anyhow::Result<Ended> {
        self.child.start_kill()?;
        Ok(self.child.wait().await?)
    }

    /// Sends it a signal by its name, such as `STOP`, `CONT` or `TERM`.
    pub async fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.child.id().context("the process has ended")?;
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(id.to_string())
            .status()
            .await?;
        if !status.success() {
            bail!("kill -{name} {id} failed");
        }
        Ok(())
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> anyhow::Result<Ended> {
        Ok(self.child.wait().await?)
    }
}

/// A size of a process (`self` for this one) from what Linux says of it, in KiB.
pub fn memory_kib(process: &str, key: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
        .context("it is told")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
