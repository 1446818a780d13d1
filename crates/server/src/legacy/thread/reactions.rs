//! Reactions: twenty names on this wire, any emoji or short name in the workspace.

use std::sync::Arc;

use openagents_protocol::call::{GetMessage, React, ReactAction, Reaction};
use openagents_protocol::record::Record;
use openagents_protocol::{Address, ErrorCode, EventId};
use openagents_workspace::Caller;
use serde_json::{Map, Value, json};

use crate::host::Host;
use crate::legacy::answer::Answer;
use crate::legacy::event::Event;
use crate::legacy::request::Request;
use crate::legacy::tell::REACTED;

/// The names that this wire knows.
const NAMES: [&str; 20] = [
    "+1",
    "-1",
    "like",
    "heart",
    "laugh",
    "wow",
    "sad",
    "angry",
    "thumbs_up",
    "thumbs_down",
    "smile",
    "ok",
    "done",
    "fire",
    "party",
    "clap",
    "check",
    "cross",
    "eyes",
    "thinking",
];

/// What others write for some of them.
const SPELLED: [(&str, &str); 21] = [
    ("👍", "+1"),
    ("👎", "-1"),
    ("❤️", "heart"),
    ("❤", "heart"),
    ("😂", "laugh"),
    ("😮", "wow"),
    ("😢", "sad"),
    ("😠", "angry"),
    ("🔥", "fire"),
    ("🎉", "party"),
    ("👏", "clap"),
    ("✅", "check"),
    ("❌", "cross"),
    ("👀", "eyes"),
    ("🤔", "thinking"),
    ("😊", "smile"),
    ("👌", "ok"),
    ("thumbsup", "+1"),
    ("thumbsdown", "-1"),
    ("tada", "party"),
    ("joy", "laugh"),
];

/// A reaction of the workspace as this wire says it.
fn named(reaction: &str) -> &str {
    let spelled = SPELLED.iter().find(|(spelling, _)| *spelling == reaction);
    spelled.map_or(reaction, |(_, name)| name)
}

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Add,
    Remove,
    Toggle,
}

/// Reacts to a message, takes the reaction back, or does what is not done yet.
pub(super) async fn react(host: &Arc<Host>, caller: &Caller, request: &Request) -> Answer {
    let name = request.event_name.as_str();
    let removes = match request.payload.get("action") {
        None | Some(Value::Null) => false,
        Some(action) if action == "add" => false,
        Some(action) if action == "remove" => true,
        Some(_) => return Answer::invalid(name, "action must be 'add' or 'remove'"),
    };
    let (operation, lenient) = match name {
        "thread.reaction.add" => (Operation::Add, false),
        "thread.reaction.remove" => (Operation::Remove, false),
        "thread.reaction.toggle" => (Operation::Toggle, false),
        _ if removes => (Operation::Remove, true),
        _ => (Operation::Add, true),
    };
    let Some(target) = request.text("target_message_id") else {
        return Answer::invalid(name, "target_message_id is required");
    };
    let written = request.text("reaction_type").unwrap_or_default();
    let reaction = if lenient { named(written) } else { written };
    if !NAMES.contains(&reaction) {
        let reason = format!("reaction_type must be one of: {}", NAMES.join(", "));
        return Answer::invalid(name, &reason);
    }
    let outcome = match target.parse() {
        Ok(target) => change(host, caller, &target, reaction, operation).await,
        Err(_) => Err(ErrorCode::MessageNotFound),
    };
    let mut data = json!({
        "success": false,
        "target_message_id": target,
        "reaction_type": reaction,
        "request_id": request.request_id(),
    });
    match outcome {
        Ok((added, changed, total)) => {
            let (taken, done, reason) = if added {
                ("add", "added", "the reaction is there already")
            } else {
                ("remove", "removed", "there is no such reaction of this agent")
            };
            data["action_taken"] = taken.into();
            data["total_reactions"] = total.into();
            if !changed {
                data["error"] = reason.into();
                return Answer::done(reason, data);
            }
            data["success"] = true.into();
            let done = if operation == Operation::Toggle {
                "toggled"
            } else {
                done
            };
            Answer::done(format!("Reaction {done} successfully"), data)
        }
        Err(ErrorCode::MessageNotFound) => {
            let error = format!("Target message {target} not found");
            data["error"] = error.as_str().into();
            Answer::done(error, data)
        }
        Err(code) => Answer::refused(format!("the reaction was refused: {code}")),
    }
}

/// Whether it was added or removed, whether that changed anything, and how many there are then.
async fn change(
    host: &Arc<Host>,
    caller: &Caller,
    target: &EventId,
    reaction: &str,
    operation: Operation,
) -> Result<(bool, bool, u64), ErrorCode> {
    let workspace = host.workspace();
    let first = match operation {
        Operation::Remove => ReactAction::Remove,
        Operation::Add | Operation::Toggle => ReactAction::Add,
    };
    let react = async |action| {
        let params = React {
            message_id: target.clone(),
            reaction: reaction.to_owned(),
            action,
        };
        let receipt = workspace.react(caller, params).await;
        receipt
            .map(|receipt| receipt.sequence.is_some())
            .map_err(|error| error.code)
    };
    let mut action = first;
    let mut changed = react(first).await?;
    if !changed && operation == Operation::Toggle {
        action = ReactAction::Remove;
        changed = react(action).await?;
    }
    let total = total(host, caller, target, reaction).await;
    Ok((action == ReactAction::Add, changed, total))
}

/// How many agents reacted like this, in any spelling.
async fn total(host: &Arc<Host>, reader: &Caller, target: &EventId, reaction: &str) -> u64 {
    let params = GetMessage {
        message_id: target.clone(),
    };
    match host.workspace().get_message(reader, params).await {
        Ok(message) => {
            let same = message
                .reactions
                .iter()
                .filter(|known| named(&known.reaction) == named(reaction));
            same.map(|known| known.count).sum()
        }
        Err(_) => 0,
    }
}

/// How many there are of each.
pub(super) fn counted(reactions: &[Reaction]) -> Value {
    let mut counts: Map<String, Value> = Map::new();
    for reaction in reactions {
        let name = named(&reaction.reaction).to_owned();
        let before = counts.get(&name).and_then(Value::as_u64).unwrap_or_default();
        counts.insert(name, (before + reaction.count).into());
    }
    Value::Object(counts)
}

/// Tells a reaction: once to each reader.
pub(crate) async fn told(
    host: &Arc<Host>,
    reader: &Caller,
    record: &Record,
    target: &EventId,
    reaction: &str,
    action: &str,
) -> Event {
    let name = named(reaction);
    let reactor = record.header.source.as_str();
    let total = total(host, reader, target, reaction).await;
    let short = if action == "added" { "add" } else { "remove" };
    let payload = json!({
        "target_message_id": target.as_str(),
        "reaction_type": name,
        "reacting_agent": reactor,
        "action": action,
        "total_reactions": total,
        "reaction": {
            "target_message_id": target.as_str(),
            "sender_id": reactor,
            "reaction_type": name,
            "action": short,
        },
    });
    let mut event = Event::of(record, REACTED, payload.as_object().cloned().unwrap_or_default());
    event.destination_id = Some(match &record.header.destination {
        Address::Channel(channel) => format!("channel:{channel}"),
        _ => reader.agent_id.to_string(),
    });
    event
}
