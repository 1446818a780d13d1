//! `openagents serve`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use openagents_server::{Server, Tls};
use serde_json::json;

use crate::args::Common;
use crate::output::{self, Output};
use crate::settings::{Resolved, ServeFlags};
use crate::signals::Signals;
use crate::{logging, report};

/// The longest a stop takes, from the signal to the end of the process, where the file says nothing else.
const LEAVE_WITHIN: Duration = Duration::from_millis(4500);

const EXAMPLES: &str = "\
When it takes connections it prints one line, `ready http://127.0.0.1:8700`; everything
else goes to stderr. SIGTERM and Ctrl-C end it within 5 seconds, and nothing acknowledged
is lost; a second one ends it at once.

Examples:
  openagents serve                                  for this machine
  openagents serve --port 0 --data /tmp/try --json  any free port, told as JSON
  openagents serve --host 0.0.0.0 --token-file tokens --tls-cert c.pem --tls-key k.pem
  openagents token create --agent bob               a token for one agent";

/// Serve a workspace
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    flags: ServeFlags,
}

pub(crate) async fn run(arguments: Arguments, common: Common) -> anyhow::Result<()> {
    serve(arguments.flags, common).await
}

/// Serves until a signal comes.
pub(crate) async fn serve(flags: ServeFlags, common: Common) -> anyhow::Result<()> {
    let output = common.output();
    let Resolved {
        config,
        log_level,
        warnings,
        runtime,
        leave_within,
    } = flags.resolve().await?;
    logging::start(common.log_level.or(log_level).as_deref().unwrap_or("info"))?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    raise_descriptor_limit();
    let mut signals = Signals::listen()?;
    let data = config.data.clone();
    let self_signed = matches!(config.tls, Some(Tls::SelfSigned { .. }));
    let server = tokio::select! {
        server = Box::pin(Server::bind(config)) => server?,
        // Nothing was acknowledged yet, so there is nothing to wait for.
        () = signals.next() => return Ok(()),
    };
    if self_signed {
        let certificate = data.join("tls").join("certificate.pem");
        tracing::info!(certificate = %certificate.display(), "clients trust this with --ca-cert");
    }
    announce(&server, &data, output)?;
    tokio::select! {
        () = signals.next() => {}
        () = end(runtime) => tracing::info!("the time is over"),
    }
    tracing::info!("shutting down");
    tokio::select! {
        () = Box::pin(server.shutdown()) => {}
        () = tokio::time::sleep(leave_within.unwrap_or(LEAVE_WITHIN)) => tracing::warn!("leaving before everybody was told"),
        () = signals.next() => leave_at_once(),
    }
    Ok(())
}

/// Resolves when the server has run for long enough.
async fn end(runtime: Option<Duration>) {
    match runtime {
        Some(runtime) => tokio::time::sleep(runtime).await,
        None => std::future::pending().await,
    }
}

fn announce(server: &Server, data: &std::path::Path, output: Output) -> anyhow::Result<()> {
    let url = server.url();
    let workspace = server.workspace();
    let (name, durability) = (
        &workspace.settings().name,
        workspace.settings().durability.to_string(),
    );
    match output {
        Output::Human => output::line(format!("ready {url}"))?,
        Output::Json => output::json(&json!({
            "event": "ready",
            "url": url,
            "data": data.display().to_string(),
            "workspace": name,
            "durability": durability,
        }))?,
    }
    let open = server.is_open();
    tracing::info!(%url, network = %name, data = %data.display(), %durability, open, "serving");
    Ok(())
}

/// Every connection is a descriptor, and the usual limit of 1,024 of them is for programs of another kind.
fn raise_descriptor_limit() {
    #[cfg(unix)]
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::debug!(limit, "descriptors"),
        Err(error) => tracing::warn!(%error, "could not raise the limit of descriptors"),
    }
}

fn leave_at_once() {
    let error = anyhow::anyhow!("stopped before everybody was told, by a second signal");
    let _: ExitCode = report::report(&error);
    std::process::exit(1);
}
