//! Measures OpenAgents for Rust beside its peers and its floors, in one run: `cargo xtask bench` prepares what is needed
//! and calls this.
//!
//! Servers are processes; the clients are in this one, on the same cores. What is compared is measured alternately, so that
//! what else happens on the machine happens to all alike. Everything is bounded and ends by itself.

mod bench;
mod book;
mod machine;
mod measures;
mod page;
mod peers;
mod plot;
mod processor;
mod statistics;
mod table;
mod targets;

use std::env::consts::EXE_SUFFIX;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use tokio_util::task::TaskTracker;

use bench::Bench;
use book::Book;
use machine::Machine;
use measures::Section;

/// The allocator of our command line, for the clients of all systems.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures the system beside its peers.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Measures, and prints what was found
    Measure(Measuring),
    /// Answers on a WebSocket with what comes: this program in another process
    Echo,
}

/// What is measured, and with what.
#[derive(Debug, Args)]
struct Measuring {
    /// Measures this section alone; may be given several times
    #[arg(long)]
    only: Vec<Section>,
    /// Three short runs in place of five, and smaller sizes: to see that all of it works
    #[arg(long)]
    quick: bool,
    /// Prints JSON for programs in place of tables
    #[arg(long)]
    json: bool,
    /// Brings the tables and plots of this page up to date; sections that are not measured stay as they are
    #[arg(long)]
    page: Option<PathBuf>,
    /// An interpreter that has the server of NATS beside it, and nothing of ours
    #[arg(long, env = "OPENAGENTS_BENCH_PYTHON")]
    python: PathBuf,
    /// The folder with our Python package
    #[arg(long)]
    python_package: PathBuf,
    /// The programs in Python
    #[arg(long)]
    python_programs: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // As a task, where programs have their agents; the main thread would be woken from outside the runtime.
    let tasks = TaskTracker::new();
    match arguments.part {
        Part::Measure(measuring) => tasks.spawn(run(measuring)).await?,
        Part::Echo => tasks.spawn(peers::echo::serve()).await?,
    }
}

async fn run(measuring: Measuring) -> anyhow::Result<()> {
    // Ten thousand connections have two ends.
    rlimit::increase_nofile_limit(u64::MAX).context("wanting more open files")?;
    let scratch = tempfile::tempdir()?;
    let bench = Bench {
        scratch: scratch.path().to_owned(),
        quick: measuring.quick,
        openagents: std::env::current_exe()?.with_file_name("openagents"),
        nats_server: measuring
            .python
            .with_file_name(format!("nats-server{EXE_SUFFIX}")),
        python: measuring.python,
        python_package: measuring.python_package,
        python_programs: measuring.python_programs,
    };
    let machine = Machine::look(&bench)?;
    let mut book = Book::default();
    let mut failed = Vec::new();
    for section in Section::ALL {
        if !measuring.only.is_empty() && !measuring.only.contains(&section) {
            continue;
        }
        eprintln!("measuring {section}");
        book.begin(section, machine.clone());
        // What the others came to is worth something without this one.
        if let Err(error) = measures::measure(section, &bench, &mut book).await {
            eprintln!("{section} failed: {error:#}");
            book.drop(section);
            failed.push(section.name());
        }
        if !measuring.json {
            println!("{}", table::markdown(&book, section));
        }
    }
    if measuring.json {
        println!("{}", serde_json::to_string_pretty(&book.told())?);
    } else {
        println!("{}\n{machine}", targets::markdown(&book));
    }
    if let Some(page) = &measuring.page {
        page::write(page, book)?;
    }
    anyhow::ensure!(failed.is_empty(), "could not measure {}", failed.join(", "));
    Ok(())
}
