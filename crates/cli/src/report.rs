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
    let field = refusal(error).and_then(unnamed_field);
    let field = field.map(|field| format!("{field}: ")).unwrap_or_default();
    anstream::eprintln!("{ERROR}error:{ERROR:#} {field}{error:#}");
    if let Some(hint) = hint(error) {
        anstream::eprintln!("{HINT}hint:{HINT:#} {hint}");
    }
    ExitCode::FAILURE
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}

/// What the workspace said no with.
fn refusal(error: &anyhow::Error) -> Option<&ErrorBody> {
    error.chain().find_map(|cause| cause.downcast_ref::<ErrorBody>())
}

/// The field that is to blame, where the message does not name it.
fn unnamed_field(refused: &ErrorBody) -> Option<&str> {
    if !matches!(refused.code, ErrorCode::InvalidField | ErrorCode::TooLarge) {
        return None;
    }
    let field = refused.field.as_deref()?;
    let word = field.rsplit('.').next().unwrap_or(field);
    let named = word.split('_').any(|part| refused.message.contains(part));
    (!named).then_some(field)
}

/// What to do about the answers of a workspace.
fn hint(error: &anyhow::Error) -> Option<&'static str> {
    Some(match refusal(error)?.code {
        ErrorCode::AgentNotFound => "`openagents agents --all` lists the known agents",
        ErrorCode::ChannelNotFound => "`openagents channels` lists the channels",
        ErrorCode::NotAMember => "`openagents channels join CHANNEL` makes you a member",
        ErrorCode::ChannelArchived => {
            "who manages the channel opens it again with `openagents channels unarchive CHANNEL`"
        }
        ErrorCode::ChannelExists => "`openagents channels describe CHANNEL` tells about it",
        ErrorCode::MessageNotFound => {
            "`openagents history CHANNEL --ids` shows the ids of messages, `openagents held` of those that are held"
        }
        ErrorCode::FileNotFound => "`openagents files` lists the files that you may read",
        ErrorCode::RateLimited => "wait a moment, or ask the operator for a higher limit",
        ErrorCode::TokenNotFound => "`openagents token list` lists the tokens",
        ErrorCode::Unauthenticated | ErrorCode::TokenExpired => {
            "show a token with --token or OPENAGENTS_TOKEN; the operator makes one with `openagents token create`"
        }
        ErrorCode::Forbidden => {
            "`openagents permissions` tells what you may do; --agent acts as another agent, --token with other rights"
        }
        ErrorCode::AgentIdInUse => "choose another id with --agent, or end the other program first",
        _ => return None,
    })
}
