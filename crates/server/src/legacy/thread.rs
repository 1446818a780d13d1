//! The extension `openagents.mods.workspace.messaging`: channels, messages, reactions and files, named `thread.*`.

mod channels;
pub(super) mod files;
mod history;
pub(super) mod levels;
mod posts;
pub(super) mod reactions;
mod tree;

use std::sync::Arc;

use openagents_workspace::Caller;

use super::answer::Answer;
use super::request::Request;
use crate::host::Host;

pub(super) const MOD: &str = "openagents.mods.workspace.messaging";

/// Answers a request to the extension; none where it handles no event of this name.
pub(super) async fn answer(host: &Arc<Host>, caller: &Caller, request: &mut Request) -> Option<Answer> {
    Some(match request.event_name.as_str() {
        "thread.channel_message.post" => posts::post(host, caller, request).await,
        "thread.reply.post" | "thread.reply.sent" => posts::reply(host, caller, request).await,
        "thread.direct_message.send" => posts::send(host, caller, request).await,
        "agent.message" => return posts::agent_message(host, caller, request).await,
        "thread.channels.list" | "thread.channels.info" => channels::list(host, request).await,
        "thread.channel_messages.retrieve" | "thread.messages.retrieve" => {
            history::of_channel(host, caller, request).await
        }
        "thread.direct_messages.retrieve" => history::of_conversation(host, caller, request).await,
        "thread.conversations.list" => history::conversations(host, caller, request).await,
        "thread.reaction.add" | "thread.reaction.remove" | "thread.reaction.toggle" | "thread.reaction" => {
            reactions::react(host, caller, request).await
        }
        "thread.file.upload" | "thread.file.upload_requested" => files::upload(host, caller, request).await,
        "thread.file.download" => files::download(host, caller, request).await,
        "thread.file.operation" => Answer::invalid(
            "thread.file.operation",
            "Could not infer action from event name: thread.file.operation",
        ),
        "thread.announcement.set" => channels::announce(host, caller, request).await,
        "thread.announcement.get" => channels::announcement(host, request).await,
        _ => return None,
    })
}

/// A request that breaks a rule, in the way that its address wants it said.
fn unusable(request: &Request, reason: &str) -> Answer {
    if request.addressed_mod() == Some(MOD) {
        return Answer::refused(format!("Event not processed by mod {MOD}, mod returns None"));
    }
    Answer::invalid(request.event_name.as_str(), reason)
}
