//! Decisions about messages that are there: editing, deleting, reacting.

use openagents_protocol::call::ReactAction;
use openagents_protocol::record::{Act, Body};
use openagents_protocol::{Address, ErrorBody, ErrorCode, EventId, Header, Json, Source};
use openagents_store::Entry;
use openagents_store::view::{EventKind, ReactionKey};

use super::{Context, Decision, change, writable_channel};
use crate::known::Known;
use crate::rights::permission::{DELETE_POSTS, POST_MESSAGES};

/// Longest reaction, in bytes.
const MAX_REACTION: usize = 64;

pub(super) fn edit(
    context: &Context<'_>,
    author: &Source,
    message_id: EventId,
    written: &Json,
) -> Result<Decision, ErrorBody> {
    let known = message(context, author, &message_id)?;
    if known.source != *author {
        let message = "only its author edits a message";
        return Err(ErrorBody::field(ErrorCode::Forbidden, "message_id", message));
    }
    context.rights.require(POST_MESSAGES)?;
    if let Address::Channel(channel) = &known.destination {
        writable_channel(context, channel)?;
    }
    let name = about(&known, "channel.message.edited", "direct.message.edited");
    let payload = format!("{{\"content\":{written}}}");
    let body = Body {
        payload: payload.parse().expect("an object around JSON is JSON"),
        ..Body::empty()
    };
    let act = Act::MessageEdited { message_id };
    let mut decision = change(context, author, name, known.destination, act)?;
    if let Decision::Append { entries, .. } = &mut decision
        && let Some(edit) = entries.last_mut()
    {
        edit.body = body;
    }
    Ok(decision)
}

pub(super) fn delete(
    context: &Context<'_>,
    author: &Source,
    message_id: EventId,
) -> Result<Decision, ErrorBody> {
    let moderates = context.rights.has(DELETE_POSTS);
    let known = match (context.known)(&message_id) {
        // Moderators delete what they cannot read, too.
        Some(known) if moderates && known.kind == EventKind::Message && !known.deleted => known,
        _ => message(context, author, &message_id)?,
    };
    if known.source != *author && !moderates {
        let message = "only its author and moderators delete a message";
        return Err(ErrorBody::field(ErrorCode::Forbidden, "message_id", message));
    }
    let name = about(&known, "channel.message.deleted", "direct.message.deleted");
    change(
        context,
        author,
        name,
        known.destination,
        Act::MessageDeleted { message_id },
    )
}

pub(super) fn react(
    context: &Context<'_>,
    author: &Source,
    message_id: EventId,
    written: &str,
    action: ReactAction,
) -> Result<Decision, ErrorBody> {
    let reaction = reaction(written)?;
    let known = message(context, author, &message_id)?;
    context.rights.require(POST_MESSAGES)?;
    if let Address::Channel(channel) = &known.destination {
        writable_channel(context, channel)?;
    }
    let Some(agent) = author.agent().cloned() else {
        return Err(ErrorBody::new(ErrorCode::Forbidden, "only agents react"));
    };
    let key = ReactionKey {
        message: message_id.clone(),
        reaction: reaction.clone(),
        agent: agent.clone(),
    };
    let adds = action == ReactAction::Add;
    if (context.reacted)(&key) == adds {
        return Ok(Decision::Nothing);
    }
    let (name, act) = if adds {
        (
            "workspace.reaction.added",
            Act::ReactionAdded { message_id, reaction },
        )
    } else {
        (
            "workspace.reaction.removed",
            Act::ReactionRemoved { message_id, reaction },
        )
    };
    // What was sent to this agent is answered to its sender.
    let destination = match (&known.destination, known.source.agent()) {
        (Address::Agent(addressee), Some(sender)) if *addressee == agent => Address::Agent(sender.clone()),
        (destination, _) => destination.clone(),
    };
    let mut decision = change(context, author, name, destination, act)?;
    if let Decision::Append { entries, .. } = &mut decision
        && let Some(reacted) = entries.last_mut()
    {
        reacted.header.answers.extend(known.source.agent().cloned());
    }
    Ok(decision)
}

/// Delivers a message that is held, under the same id.
pub(super) fn release(context: &Context<'_>, held: Entry) -> Decision {
    let known = (context.known)(&held.header.event_id);
    let (true, Act::Held { reply_to, .. }) = (
        known.is_some_and(|known| known.kind == EventKind::Held),
        held.header.act.clone(),
    ) else {
        return Decision::Nothing;
    };
    let header = Header {
        act: Act::Message { reply_to },
        time_ms: context.now_ms,
        root: None,
        hops: 0,
        ..held.header
    };
    Decision::Append {
        entries: vec![Entry { header, ..held }],
        unknown: Vec::new(),
    }
}

/// The message of this id, if the asker may know of it: it stands in a channel of its, or between it and another.
fn message(context: &Context<'_>, author: &Source, id: &EventId) -> Result<Known, ErrorBody> {
    let found = (context.known)(id).filter(|known| {
        known.kind == EventKind::Message
            && !known.deleted
            && match &known.destination {
                Address::Channel(channel) => context.state.channels.get(channel).is_some_and(|there| {
                    let inside = author
                        .agent()
                        .is_none_or(|agent| context.state.in_channel(agent, there));
                    inside && there.created_at <= known.sequence
                }),
                Address::Agent(addressee) => known.source == *author || author.agent() == Some(addressee),
                _ => false,
            }
    });
    found.ok_or_else(|| {
        let message = format!("there is no message {id} for this agent");
        ErrorBody::field(ErrorCode::MessageNotFound, "message_id", message)
    })
}

/// The name of an event about a message in a channel, or between two agents.
fn about(known: &Known, in_channel: &'static str, direct: &'static str) -> &'static str {
    match known.destination {
        Address::Channel(_) => in_channel,
        _ => direct,
    }
}

/// A reaction as it is stored.
pub(crate) fn reaction(written: &str) -> Result<String, ErrorBody> {
    let named = written
        .strip_prefix(':')
        .and_then(|rest| rest.strip_suffix(':'))
        .filter(|name| !name.is_empty());
    let reaction = named.unwrap_or(written);
    let wrong = |character: char| character.is_whitespace() || character.is_control();
    if reaction.is_empty() || MAX_REACTION < reaction.len() || reaction.contains(wrong) {
        let message = format!(
            "a reaction is an emoji or a short name such as `thumbsup`: 1 to {MAX_REACTION} bytes without blanks"
        );
        return Err(ErrorBody::field(ErrorCode::InvalidField, "reaction", message));
    }
    Ok(reaction.to_owned())
}
