//! Starting other programs, and saying clearly which one failed.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fmt};

use anyhow::{Context, Result, bail};

/// A program about to be started. It inherits standard output and standard error unless it is read.
#[derive(Debug)]
pub(crate) struct Program(Command);

impl Program {
    /// A program that is started in `folder`.
    pub(crate) fn new(name: impl AsRef<OsStr>, folder: &Path) -> Self {
        let mut command = Command::new(name);
        command.current_dir(folder).stdin(Stdio::null());
        Self(command)
    }

    /// The cargo that started this program.
    ///
    /// What that cargo has set about xtask itself is taken out of the environment: build scripts that watch
    /// those variables would otherwise run again at every change between `cargo build` and `cargo xtask`.
    pub(crate) fn cargo(folder: &Path) -> Self {
        let mut program = Self::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), folder);
        for (name, _) in env::vars_os() {
            let about_xtask =
                |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
            if name.to_str().is_some_and(about_xtask) {
                program.0.env_remove(name);
            }
        }
        program
    }

    /// Adds arguments.
    pub(crate) fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, args: I) -> Self {
        self.0.args(args);
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Lets the program look for others in `folder` first.
    pub(crate) fn path_first(self, folder: &Path) -> Self {
        let rest = env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(folder.to_owned()).chain(env::split_paths(&rest));
        match env::join_paths(folders) {
            Ok(path) => self.env("PATH", path),
            // Only a folder with the separator in its name cannot be joined; the old path stands then.
            Err(_) => self,
        }
    }

    /// Runs the program to its end and wants success.
    pub(crate) fn run(mut self) -> Result<()> {
        let status = self
            .0
            .status()
            .with_context(|| format!("could not start `{self}`"))?;
        if !status.success() {
            bail!("`{self}` failed ({status})");
        }
        Ok(())
    }

    /// Runs the program to its end, wants success, and gives what it wrote to standard output.
    pub(crate) fn read(mut self) -> Result<String> {
        let output = self
            .0
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("could not start `{self}`"))?;
        if !output.status.success() {
            bail!("`{self}` failed ({})", output.status);
        }
        String::from_utf8(output.stdout)
            .with_context(|| format!("`{self}` wrote something that is not UTF-8"))
    }

    /// Like [`Program::read`], where failing is an answer too: nothing is printed and nothing is given.
    pub(crate) fn probe(mut self) -> Option<String> {
        let output = self.0.stderr(Stdio::null()).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The command as one would type it, without the folders of the program.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = Path::new(self.0.get_program());
        write!(
            f,
            "{}",
            program.file_name().unwrap_or(program.as_os_str()).display()
        )?;
        for argument in self.0.get_args() {
            write!(f, " {}", argument.display())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_named_with_its_arguments() {
        let error = Program::new("false", Path::new("."))
            .args(["--at", "once"])
            .run()
            .unwrap_err();
        assert_eq!(error.to_string(), "`false --at once` failed (exit status: 1)");
    }

    #[test]
    fn a_program_that_does_not_exist_probes_as_nothing() {
        assert_eq!(
            Program::new("no-such-program-anywhere", Path::new(".")).probe(),
            None
        );
    }
}
