//! `openagents`: serves a workspace, and uses one from the command line.
//!
//! This file is wiring. [`args`] says what can be typed, each module under [`command`] does one of it, [`connect`]
//! joins a workspace for those that need one, [`network_file`] and [`settings`] make a server's configuration of
//! file, environment and flags, [`output`] prints for people and programs, [`meter`] shows how far something is, `allocator` manages
//! the memory on Linux, [`report`] tells what went wrong and what to do next.

#[cfg(target_os = "linux")]
mod allocator;
mod args;
mod command;
mod connect;
mod logging;
mod meter;
mod network_file;
mod outcome;
mod output;
mod progress;
mod report;
mod settings;
mod signals;
mod text;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use crate::args::Cli;

fn main() -> ExitCode {
    output::choose_colours();
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report::report(&error),
    }
}

/// The most threads that wait for the disk at once; what else has to waits for one of them.
const DISK_THREADS: usize = 48;

fn run(cli: Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(DISK_THREADS)
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(Box::pin(command::run(cli)));
    // What still runs belongs to a command that has ended; nobody waits for it.
    runtime.shutdown_background();
    outcome
}
