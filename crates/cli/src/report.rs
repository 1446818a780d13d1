//! What went wrong, and what to do next.

use std::io;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use openagents_protocol::{ErrorBody, ErrorCode};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const HINT: Style = AnsiColor::Yellow.on_default();

/// Prints the chain of an error to stderr, and the way out where there is one.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        // The reader has seen enough, as `head` does.
        return ExitCode::SUCCESS;
    }
    anstream::eprintln!("{ERROR}error:{ERROR:#} {error:#}");
    if let Some(hint) = hint(error) {
        anstream::eprintln!("{HINT}hint:{HINT:#} {hint}");
    }
    ExitCode::FAILURE
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}

/// What to do about the answers of a workspace.
fn hint(error: &anyhow::Error) -> Option<&'static str> {
    let refused = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<ErrorBody>())?;
    Some(match refused.code {
        ErrorCode::AgentNotFound => "`openagents agents --all` lists the known agents",
        ErrorCode::ChannelNotFound => "`openagents channels` lists the channels",
        ErrorCode::TokenNotFound => "`openagents token list` lists the tokens",
        ErrorCode::Unauthenticated | ErrorCode::TokenExpired => {
            "show a token with --token or OPENAGENTS_TOKEN; the operator makes one with `openagents token create`"
        }
        ErrorCode::Forbidden => {
            "the token does not allow this: act as its own agent with --agent, or use an admin token; with the \
             server stopped, `openagents token … --data DIR` needs none"
        }
        ErrorCode::AgentIdInUse => "choose another id with --agent, or end the other program first",
        _ => return None,
    })
}
