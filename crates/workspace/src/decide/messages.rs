//! Decisions about messages that are there: editing, deleting, reacting.

use openagents_protocol::call::ReactAction;
use openagents_protocol::record::{Act, Body};
use openagents_protocol::{Address, ErrorBody, ErrorCode, EventId, Header, Json, Source, Visibility};
use openagents_store::Entry;
use openagents_store::view::EventKind;

use super::channels::{is_moderated, writable};
use super::{Context, Decision, entry, place_of, registration};
use crate::known::Known;
use crate::rights::permission::{DELETE_POSTS, POST_MESSAGES, READ_CHANNELS};

/// Longest reaction, in bytes.
const MAX_REACTION: usize = 64;

/// Most reactions of one agent to one message.
const MAX_REACTIONS: usize = 20;

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
    check_writable(context, author, &known)?;
    if let Address::Channel(channel) = &known.destination
        && is_moderated(context, author, channel)
    {
        let message =
            format!("channel {channel} is moderated: write a new message, which waits for a moderator");
        return Err(ErrorBody::field(ErrorCode::Forbidden, "message_id", message));
    }
    context.settings.content.check_edit(written)?;
    let name = about(&known, "channel.message.edited", "direct.message.edited");
    let payload = format!("{{\"content\":{written}}}");
    let body = Body {
        payload: payload.parse().expect("an object around JSON is JSON"),
        ..Body::empty()
    };
    let destination = known.destination.clone();
    let mut edit = event_about(
        context,
        author,
        &known,
        name,
        destination,
        Act::MessageEdited { message_id },
    );
    edit.body = body;
    append(context, author, edit)
}

pub(super) fn delete(
    context: &Context<'_>,
    author: &Source,
    message_id: EventId,
) -> Result<Decision, ErrorBody> {
    let moderates = context.rights.has(DELETE_POSTS);
    let known = match (context.known)(&message_id) {
        // Authors and moderators delete what they cannot read any more, too.
        Some(known) if (moderates || known.source == *author) && is_standing(&known) => known,
        _ => message(context, author, &message_id)?,
    };
    if known.source != *author && !moderates {
        let message = "only its author and moderators delete a message";
        return Err(ErrorBody::field(ErrorCode::Forbidden, "message_id", message));
    }
    let name = about(&known, "channel.message.deleted", "direct.message.deleted");
    // Nobody knows of a message that is held.
    let destination = match known.kind {
        EventKind::Held => Address::System,
        _ => place_of(context, &known),
    };
    let act = Act::MessageDeleted { message_id };
    let mut deletion = event_about(context, author, &known, name, destination, act);
    deletion.header.thread = known.thread.filter(|_| known.kind == EventKind::Message);
    append(context, author, deletion)
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
    if !context.settings.reactions {
        let message = "this workspace has no reactions: its operator switched them off";
        return Err(ErrorBody::new(ErrorCode::Forbidden, message));
    }
    if let Address::Channel(_) = &known.destination {
        context.rights.require(READ_CHANNELS)?;
    }
    check_writable(context, author, &known)?;
    let Some(agent) = author.agent().cloned() else {
        return Err(ErrorBody::new(ErrorCode::Forbidden, "only agents react"));
    };
    let before = (context.reactions)(&(message_id.clone(), agent.clone()));
    let adds = action == ReactAction::Add;
    if before.contains(&reaction) == adds {
        return Ok(Decision::Nothing);
    }
    if adds && MAX_REACTIONS <= before.len() {
        let message = format!("an agent has at most {MAX_REACTIONS} reactions to a message");
        return Err(ErrorBody::field(ErrorCode::LimitReached, "reaction", message));
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
    let mut reacted = event_about(context, author, &known, name, destination, act);
    reacted.header.answers.extend(known.source.agent().cloned());
    append(context, author, reacted)
}

/// Delivers a message that is held, under the same id.
pub(super) fn release(context: &Context<'_>, held: Entry) -> Decision {
    let known = (context.known)(&held.header.event_id);
    let (true, Act::Held { reply_to, .. }) = (
        known.is_some_and(|known| known.kind == EventKind::Held && !known.deleted),
        held.header.act.clone(),
    ) else {
        return Decision::Nothing;
    };
    // Events of the sender's own have other names than messages.
    let act = if held.header.is_named_as_message() {
        Act::Message { reply_to }
    } else {
        Act::Event {}
    };
    let header = Header {
        act,
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

/// An event about a message, for nobody who may not see the message.
fn event_about(
    context: &Context<'_>,
    author: &Source,
    known: &Known,
    name: &'static str,
    destination: Address,
    act: Act,
) -> Entry {
    let mut event = entry(context, author, name, destination, act);
    if known.audience.is_some() {
        event.header.visibility = Visibility::Restricted;
        event.header.allowed_agents.clone_from(&known.audience);
    }
    event
}

fn append(context: &Context<'_>, author: &Source, event: Entry) -> Result<Decision, ErrorBody> {
    let mut entries = registration(context, author)?;
    entries.push(event);
    Ok(Decision::Append {
        entries,
        unknown: Vec::new(),
    })
}

/// The message of this id, if the asker may know of it: it stands in a channel of its, or between it and another.
fn message(context: &Context<'_>, author: &Source, id: &EventId) -> Result<Known, ErrorBody> {
    let found = (context.known)(id).filter(|known| {
        known.kind == EventKind::Message
            && !known.deleted
            && known.is_for(author)
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

/// Whether it is a message that is not deleted, delivered or not.
fn is_standing(known: &Known) -> bool {
    matches!(known.kind, EventKind::Message | EventKind::Held) && !known.deleted
}

/// Makes sure that the author may write where a message stands.
fn check_writable(context: &Context<'_>, author: &Source, known: &Known) -> Result<(), ErrorBody> {
    context.rights.require(POST_MESSAGES)?;
    match &known.destination {
        Address::Channel(name) => writable(context, author, name, "message_id"),
        _ => Ok(()),
    }
}

/// The name of an event about a message in a channel, or between two agents.
fn about(known: &Known, in_channel: &'static str, direct: &'static str) -> &'static str {
    match known.destination {
        Address::Channel(_) => in_channel,
        _ => direct,
    }
}

/// A reaction as it is stored.
fn reaction(written: &str) -> Result<String, ErrorBody> {
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
