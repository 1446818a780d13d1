//! Our Python package against our server, and the official package against its own.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};
use tokio::process::Command;

use super::{OFFICIAL_PYTHON, OUR_PYTHON, Section, latency};
use crate::bench::Bench;
use crate::book::{About, Book, Unit};
use crate::peers::ours::Ours;

const MESSAGE: &str = "a direct message to a handler, in memory";
const ASK: &str = "send_and_wait, answered by another process";

/// What the programs tell, and how it is called.
const TOLD: [(&str, &str, &str, Unit); 8] = [
    ("message_p50_us", MESSAGE, "p50", Unit::Micros),
    ("message_p99_us", MESSAGE, "p99", Unit::Micros),
    ("message_p999_us", MESSAGE, "p99.9", Unit::Micros),
    ("ask_p50_us", ASK, "p50", Unit::Micros),
    ("ask_p99_us", ASK, "p99", Unit::Micros),
    ("ask_p999_us", ASK, "p99.9", Unit::Micros),
    (
        "events_per_second",
        "small events into a handler",
        "events",
        Unit::PerSecond,
    ),
    ("import_ms", "import", "time", Unit::Millis),
];

pub(super) async fn measure(bench: &Bench, book: &mut Book) -> Result<()> {
    let official = std::env::var_os("OPENAGENTS_TEST_OFFICIAL_PYTHON")
        .context("an interpreter with the official package")?;
    for _ in 0..bench.runs() {
        let server = Ours::serve(bench, "memory").await?;
        let port = server.port.to_string();
        let program = bench.python_programs.join("ours.py");
        let told = run(bench, &bench.python, &program, &["measure", &port]).await?;
        note(book, OUR_PYTHON, &told, "")?;
        let load = latency::loaded(&server).await?;
        let told = run(bench, &bench.python, &program, &["message", &port]).await?;
        note(book, OUR_PYTHON, &told, latency::LOADED)?;
        load.end().await;
        server.kill().await?;
        let program = bench.python_programs.join("theirs.py");
        let told = run(bench, Path::new(&official), &program, &["measure"]).await?;
        note(book, OFFICIAL_PYTHON, &told, "")?;
    }
    Ok(())
}

/// What a program prints last: a JSON object.
async fn run(bench: &Bench, python: &Path, program: &Path, arguments: &[&str]) -> Result<Map<String, Value>> {
    let mut command = Command::new(python);
    command.arg(program).args(arguments);
    if python == bench.python {
        command.env("PYTHONPATH", &bench.python_package);
    }
    command.env("PYTHONDONTWRITEBYTECODE", "1").kill_on_drop(true);
    command.stderr(std::process::Stdio::inherit());
    let output = command.output().await?;
    ensure!(
        output.status.success(),
        "{} failed ({})",
        program.display(),
        output.status
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().context("it prints nothing")?;
    Ok(serde_json::from_str(last)?)
}

/// Notes what a program told; `besides` says what else went on.
fn note(book: &mut Book, system: &str, told: &Map<String, Value>, besides: &str) -> Result<()> {
    for (key, case, measure, unit) in TOLD {
        if let Some(value) = told.get(key) {
            let value = value.as_f64().with_context(|| format!("{key} is no number"))?;
            let case = format!("{case} {besides}");
            let about = About::new(Section::Python, case.trim_end(), system);
            book.note(about, measure, unit, value);
        }
    }
    Ok(())
}
