//! Logging to stderr.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

/// Starts logging at a level, or as directives say. Works once per process.
pub(crate) fn start(written: &str) -> anyhow::Result<()> {
    let directives = directives(written);
    let filter = EnvFilter::try_new(&directives).with_context(|| {
        format!("{written:?} is no log level: use error, warn, info, debug, trace, off or directives")
    })?;
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && colours())
        .with_env_filter(filter)
        .try_init()
        .map_err(|error| anyhow::anyhow!(error))
        .context("cannot start logging")
}

fn colours() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}

/// A bare level is for our own crates; libraries speak up only when they are asked by name.
fn directives(written: &str) -> String {
    let level = match written.trim().to_ascii_lowercase().as_str() {
        "off" => return "off".to_owned(),
        "error" | "critical" | "fatal" => return "error".to_owned(),
        "warn" | "warning" => "warn",
        "info" => "info",
        "debug" => "debug",
        "trace" | "notset" => "trace",
        _ => return written.to_owned(),
    };
    format!("warn,openagents={level}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_as_python_writes_them_too() {
        let check = |written: &str, expected: &str| assert_eq!(directives(written), expected);
        check("INFO", "warn,openagents=info");
        check("WARNING", "warn,openagents=warn");
        check("critical", "error");
        check("hyper=trace", "hyper=trace");
    }
}
