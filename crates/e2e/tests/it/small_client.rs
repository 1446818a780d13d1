//! What `docs/protocol.md` says is enough to write a client: a small one in Python speaks to a real server, and the
//! documents name everything there is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use openagents_protocol::{ErrorCode, call};
use openagents_server::{Config, Server};

/// What "small" means, in lines.
const MAX_LINES: usize = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_python_client_speaks_the_protocol() -> Result<()> {
    let python = std::env::var_os("OPENAGENTS_TEST_PYTHON").context(
        "OPENAGENTS_TEST_PYTHON names no interpreter: run `cargo xtask check`, which prepares one and sets it",
    )?;
    let directory = tempfile::tempdir()?;
    let mut config = Config::new(directory.path());
    config.listen = "127.0.0.1:0".parse()?;
    let server = Server::bind(config).await?;
    let url = format!("ws://{}/ws", server.local_addr());

    let mut program = Command::new(python);
    program
        .arg(python_folder().join("test_small_client.py"))
        .arg(url)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let output = tokio::task::spawn_blocking(move || program.output())
        .await?
        .context("starting the interpreter")?;
    server.shutdown().await;
    ensure!(
        output.status.success(),
        "the program failed ({})\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    Ok(())
}

#[test]
fn the_small_client_is_small_and_needs_websockets_only() -> Result<()> {
    let source = fs::read_to_string(python_folder().join("small_client.py"))?;
    let lines = source.lines().count();
    ensure!(lines <= MAX_LINES, "it has {lines} lines");
    let imports: Vec<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("import "))
        .collect();
    assert_eq!(
        imports.join(" "),
        "asyncio itertools json os random sys uuid websockets"
    );
    assert!(
        !source.lines().any(|line| line.starts_with("from ")),
        "every import is listed above"
    );
    Ok(())
}

#[test]
fn the_documents_name_every_code_and_method() -> Result<()> {
    let page = fs::read_to_string(docs().join("protocol.md"))?;
    let document = fs::read_to_string(docs().join("asyncapi.yaml"))?;
    for code in ErrorCode::ALL {
        let retryable = if code.is_retryable() { "yes" } else { "no" };
        ensure!(
            page.lines().any(|line| line.starts_with(&format!("| `{code}` |"))
                && line.ends_with(&format!("| {retryable} |"))),
            "protocol.md does not say that {code} is retryable: {retryable}"
        );
        ensure!(lists(&document, code.as_str()), "asyncapi.yaml lacks {code}");
    }
    for method in call::METHODS {
        ensure!(
            page.lines()
                .any(|line| line.starts_with(&format!("| `{method}` |"))),
            "protocol.md lacks {method}"
        );
        ensure!(lists(&document, method), "asyncapi.yaml lacks {method}");
    }
    Ok(())
}

fn lists(document: &str, word: &str) -> bool {
    document.lines().any(|line| line.trim() == format!("- {word}"))
}

fn python_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python")
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}
