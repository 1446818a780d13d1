//! Runs the program.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;

/// Longer than anything takes that works.
const LIMIT: Duration = Duration::from_mins(1);

/// Waits for something that has to happen.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    timeout(LIMIT, future).await.expect("it takes too long")
}

/// The program, in an environment that says nothing to it.
pub(crate) fn openagents() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_openagents"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OPENAGENTS_") {
            command.env_remove(name);
        }
    }
    command
        .env("NO_COLOR", "1")
        .env("USER", "tester")
        .env("TZ", "UTC")
        .env_remove("COLUMNS");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// How a program ended and what it said.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// What it printed, having succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// What it printed as JSON, having succeeded.
    #[track_caller]
    pub(crate) fn json(self) -> serde_json::Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Its complaint, having failed.
    #[track_caller]
    pub(crate) fn failed(self) -> String {
        assert_eq!(self.code, Some(1), "{}{}", self.stdout, self.stderr);
        self.stderr
    }
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs a command to its end.
pub(crate) async fn finish(command: &mut Command) -> Finished {
    within(command.output()).await.unwrap().into()
}

/// Runs the program to its end.
pub(crate) async fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Finished {
    finish(openagents().args(arguments)).await
}

/// A running program.
pub(crate) struct Running {
    child: Child,
    pub(crate) stdout: Lines<BufReader<ChildStdout>>,
    pub(crate) stderr: Lines<BufReader<ChildStderr>>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        Self {
            child,
            stdout,
            stderr,
        }
    }

    /// Asks it to leave.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        assert!(
            within(Command::new("kill").args(["-s", name, &id]).status())
                .await
                .unwrap()
                .success()
        );
    }

    /// Asks it to leave and waits until it has; returns what it still said on stdout and stderr.
    pub(crate) async fn terminate(self) -> (ExitStatus, String, String) {
        self.signal("TERM").await;
        self.wait().await
    }

    /// Waits until it ends.
    pub(crate) async fn wait(mut self) -> (ExitStatus, String, String) {
        within(async {
            let (stdout, stderr) = tokio::join!(rest(self.stdout), rest(self.stderr));
            (self.child.wait().await.unwrap(), stdout, stderr)
        })
        .await
    }
}

async fn rest<R: AsyncRead + Unpin>(lines: Lines<BufReader<R>>) -> String {
    let mut text = String::new();
    lines.into_inner().read_to_string(&mut text).await.unwrap();
    text
}

/// A running server.
pub(crate) struct Served {
    pub(crate) running: Running,
    pub(crate) url: String,
}

impl Served {
    /// Serves a directory on a free port.
    pub(crate) async fn start(data: &Path, more: &[&str]) -> Self {
        let mut command = openagents();
        command
            .args(["serve", "--port", "0", "--data"])
            .arg(data)
            .args(more);
        Self::of(&mut command).await
    }

    /// Waits until the server of this command is ready.
    pub(crate) async fn of(command: &mut Command) -> Self {
        let mut running = Running::start(command);
        match within(running.stdout.next_line()).await.unwrap() {
            Some(line) => {
                let url = line.strip_prefix("ready ").expect("the ready line").to_owned();
                Self { running, url }
            }
            None => panic!("{:?}", running.wait().await),
        }
    }

    /// A command that uses it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = openagents();
        command.env("OPENAGENTS_URL", &self.url).args(arguments);
        command
    }

    /// Runs a command that uses it.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Finished {
        finish(&mut self.command(arguments)).await
    }

    pub(crate) fn port(&self) -> u16 {
        self.url.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// Stops it; returns what it logged.
    pub(crate) async fn stop(self) -> String {
        let (status, stdout, stderr) = self.running.terminate().await;
        assert_eq!(status.code(), Some(0), "{stderr}");
        assert_eq!(stdout, "", "nothing but the ready line");
        stderr
    }
}

/// A server in a folder of its own.
pub(crate) async fn served() -> (TempDir, Served) {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&folder.path().join("data"), &[]).await;
    (folder, served)
}
