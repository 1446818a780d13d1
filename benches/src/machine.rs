//! What the numbers were measured on and with.

use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::bench::Bench;

/// The machine and the versions, in the words of the systems themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    memory_gib: u64,
    kernel: String,
    file_system: String,
    nats: String,
    openagents: String,
    /// What the source is at.
    commit: String,
    day: String,
}

impl Machine {
    pub(crate) fn look(bench: &Bench) -> Result<Self> {
        let processors = std::fs::read_to_string("/proc/cpuinfo")?;
        let memory = std::fs::read_to_string("/proc/meminfo")?;
        let kib: u64 = after(&memory, "MemTotal:")
            .trim_end_matches(" kB")
            .parse()
            .context("the memory of the machine")?;
        Ok(Self {
            processor: after(&processors, "model name\t:").to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            memory_gib: (kib + (1 << 19)) >> 20,
            kernel: said("uname", &["-sr"])?,
            file_system: said("stat", &["--file-system", "--format=%T", &path(&bench.scratch)])?,
            nats: said(&path(&bench.nats_server), &["--version"])?,
            openagents: said(&path(&bench.openagents), &["--version"])?,
            commit: said("git", &["log", "-1", "--format=%h"]).unwrap_or_default(),
            day: said("date", &["+%Y-%m-%d"])?,
        })
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// What follows the first of these words, up to the end of its line.
fn after<'a>(text: &'a str, word: &str) -> &'a str {
    let found = text.lines().find_map(|line| line.strip_prefix(word));
    found.unwrap_or_default().trim()
}

/// What a program prints.
fn said(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("starting {program}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} cores, {} GiB, {}, data on {}; {} at {}; {}; {}",
            self.processor,
            self.cores,
            self.memory_gib,
            self.kernel,
            self.file_system,
            self.openagents,
            self.commit,
            self.nats,
            self.day
        )
    }
}
