//! Decides what a wish comes to, against the state that will hold when it is committed.

use std::collections::HashMap;

use openagents_protocol::record::{Act, Body, Digest, FORMAT_VERSION, Header, Role, TokenGrant};
use openagents_protocol::{
    Address, AgentId, ChannelName, Draft, ErrorBody, ErrorCode, EventId, EventName, Intent, Json,
    MessageTarget, Pattern, Recipient, RecipientState, Sequence, Source, Visibility,
};
use openagents_store::Entry;

use crate::known::Known;
use crate::settings::{FirstPost, Settings};
use crate::state::{Presence, State};

/// What somebody wants of the workspace.
#[derive(Debug)]
pub(crate) enum Wish {
    Publish(Box<Draft>),
    Join {
        metadata: Option<Json>,
        generated: bool,
    },
    Leave {
        reason: String,
    },
    CreateChannel {
        channel: ChannelName,
        description: String,
    },
    JoinChannel {
        channel: ChannelName,
    },
    LeaveChannel {
        channel: ChannelName,
    },
    Subscribe {
        id: EventId,
        patterns: Vec<Pattern>,
        channels: Option<Vec<ChannelName>>,
    },
    Unsubscribe {
        id: EventId,
    },
    GrantToken(TokenGrant),
    RevokeToken {
        id: EventId,
    },
}

/// What a wish comes to.
#[derive(Debug)]
pub(crate) enum Decision {
    /// These records, in this order; the last one is the one that was wished for.
    Append {
        entries: Vec<Entry>,
        unknown: Vec<Recipient>,
    },
    /// Told to those concerned, stored nowhere.
    Tell(Box<Entry>),
    /// The same event was accepted before, at this sequence.
    Duplicate { event_id: EventId, sequence: Sequence },
    /// It is so already.
    Nothing,
}

/// What decisions are made from.
pub(crate) struct Context<'a> {
    pub(crate) state: &'a State,
    pub(crate) settings: &'a Settings,
    pub(crate) known: &'a dyn Fn(&EventId) -> Option<Known>,
    pub(crate) now_ms: u64,
}

/// Decides a wish of an author.
///
/// # Errors
///
/// The reason for the author; nothing happens then.
pub(crate) fn decide(
    context: &Context<'_>,
    author: &Source,
    role: Role,
    wish: Wish,
) -> Result<Decision, ErrorBody> {
    let state = context.state;
    if let (Role::Observer, Wish::Publish(_) | Wish::CreateChannel { .. }) = (role, &wish) {
        return Err(ErrorBody::new(
            ErrorCode::Forbidden,
            "an observer reads and does not write",
        ));
    }
    let (name, act, destination) = match wish {
        Wish::Publish(draft) => return publish(context, author, *draft),
        Wish::Join { metadata, generated } => match join(context, author, metadata, generated)? {
            Some(act) => ("agent.joined", act, Address::Everyone),
            None => return Ok(Decision::Nothing),
        },
        Wish::Leave { reason } => {
            let known = author.agent().and_then(|agent| state.agents.get(agent));
            if known.is_none_or(|agent| agent.presence == Presence::Offline) {
                return Ok(Decision::Nothing);
            }
            ("agent.left", Act::AgentLeft { reason }, Address::Everyone)
        }
        Wish::CreateChannel { channel, description } => {
            if state.channels.contains_key(&channel) {
                let message = format!("there is a channel {channel} already");
                return Err(ErrorBody::field(ErrorCode::ChannelExists, "name", message));
            }
            check_channels(context)?;
            let mut entries = registration(context, author)?;
            entries.push(created(context, author, channel, description));
            return Ok(Decision::Append {
                entries,
                unknown: Vec::new(),
            });
        }
        Wish::JoinChannel { channel } => {
            require_channel(state, &channel)?;
            if author
                .agent()
                .is_none_or(|agent| state.is_member(agent, &channel))
            {
                return Ok(Decision::Nothing);
            }
            (
                "channel.joined",
                Act::ChannelJoined {
                    channel: channel.clone(),
                },
                Address::Channel(channel),
            )
        }
        Wish::LeaveChannel { channel } => {
            require_channel(state, &channel)?;
            if author
                .agent()
                .is_none_or(|agent| !state.is_member(agent, &channel))
            {
                return Ok(Decision::Nothing);
            }
            (
                "channel.left",
                Act::ChannelLeft {
                    channel: channel.clone(),
                },
                Address::Channel(channel),
            )
        }
        Wish::Subscribe {
            id,
            patterns,
            channels,
        } => {
            let agent = author.agent().and_then(|agent| state.agents.get(agent));
            if agent.is_some_and(|agent| context.settings.max_subscriptions <= agent.subscriptions.len()) {
                let message = format!(
                    "an agent has at most {} subscriptions",
                    context.settings.max_subscriptions
                );
                return Err(ErrorBody::new(ErrorCode::LimitReached, message));
            }
            (
                "agent.subscribed",
                Act::Subscribed {
                    id,
                    patterns,
                    channels,
                },
                Address::System,
            )
        }
        Wish::Unsubscribe { id } => {
            let agent = author.agent().and_then(|agent| state.agents.get(agent));
            if !agent.is_some_and(|agent| agent.subscriptions.iter().any(|own| own.id == id)) {
                let message = format!("there is no subscription {id} of this agent");
                return Err(ErrorBody::field(
                    ErrorCode::SubscriptionNotFound,
                    "subscription_id",
                    message,
                ));
            }
            ("agent.unsubscribed", Act::Unsubscribed { id }, Address::System)
        }
        Wish::GrantToken(grant) => ("system.token.created", Act::TokenCreated(grant), Address::System),
        Wish::RevokeToken { id } => {
            if !state.tokens.values().any(|token| token.grant.id == id) {
                let message = format!("there is no token {id}");
                return Err(ErrorBody::field(ErrorCode::TokenNotFound, "token_id", message));
            }
            ("system.token.revoked", Act::TokenRevoked { id }, Address::System)
        }
    };
    let mut entries = match act {
        Act::AgentJoined { .. } | Act::AgentLeft { .. } => Vec::new(),
        _ => registration(context, author)?,
    };
    entries.push(entry(context, author, name, destination, act));
    Ok(Decision::Append {
        entries,
        unknown: Vec::new(),
    })
}

fn join(
    context: &Context<'_>,
    author: &Source,
    metadata: Option<Json>,
    generated: bool,
) -> Result<Option<Act>, ErrorBody> {
    let Some(known) = author.agent().and_then(|agent| context.state.agents.get(agent)) else {
        check_agents(context)?;
        let metadata = metadata.unwrap_or_else(Json::empty_object);
        return Ok(Some(Act::AgentJoined { metadata, generated }));
    };
    let metadata = metadata.unwrap_or_else(|| known.metadata.clone());
    if known.presence == Presence::Online && known.metadata == metadata {
        return Ok(None);
    }
    Ok(Some(Act::AgentJoined {
        metadata,
        generated: known.generated,
    }))
}

fn publish(context: &Context<'_>, author: &Source, draft: Draft) -> Result<Decision, ErrorBody> {
    let state = context.state;
    if let Some(known) = (context.known)(&draft.event_id) {
        return repeated(author, draft, &known);
    }
    let mut entries = registration(context, author)?;
    let mut unknown = Vec::new();
    let mut header = Header {
        version: FORMAT_VERSION,
        event_id: draft.event_id,
        name: draft.name,
        source: author.clone(),
        destination: draft.intent.destination(),
        time_ms: context.now_ms,
        act: Act::Event {},
        digest: draft.digest,
        mentions: Vec::new(),
        thread: None,
        answers: Vec::new(),
        response_to: draft.response_to,
        visibility: draft.visibility,
        allowed_agents: draft.allowed_agents,
        requires_response: draft.requires_response,
        thread_name: draft.thread_name,
        relevant_mod: draft.relevant_mod,
    };
    if let Address::Agent(addressee) = &header.destination
        && !state.agents.contains_key(addressee)
        && author.agent() != Some(addressee)
    {
        let message = format!("no agent {addressee} was ever here");
        return Err(ErrorBody::field(
            ErrorCode::AgentNotFound,
            "destination_id",
            message,
        ));
    }
    if let Address::Channel(channel) = &header.destination {
        if state.channels.contains_key(channel) {
            if author
                .agent()
                .is_some_and(|agent| !state.is_member(agent, channel))
                && !will_register(context, author)
            {
                let message = format!("join channel {channel} first");
                return Err(ErrorBody::field(ErrorCode::NotAMember, "destination_id", message));
            }
        } else {
            let creates = matches!(draft.intent, Intent::Message { .. });
            if !creates || context.settings.first_post == FirstPost::IsRefused {
                return Err(no_channel(channel));
            }
            check_channels(context)?;
            entries.push(created(context, author, channel.clone(), String::new()));
        }
    }
    if let Intent::Message {
        target,
        reply_to,
        mentioned,
    } = draft.intent
    {
        if let Some(parent) = &reply_to {
            let known = parent_of(context, author, &target, parent)?;
            header.thread = Some(known.thread.unwrap_or_else(|| parent.clone()));
            header.answers.extend(known.source.agent().cloned());
        }
        for agent in mentioned {
            if author.agent() == Some(&agent) {
                continue;
            }
            if state.agents.contains_key(&agent) {
                header.mentions.push(agent);
            } else if draft
                .body
                .payload
                .get("mentioned_agent_id")
                .and_then(|named| named.as_str())
                == Some(agent.as_str())
            {
                unknown.push(Recipient {
                    agent_id: agent,
                    state: RecipientState::Unknown,
                    last_seen: None,
                    unread: None,
                });
            }
        }
        header.act = Act::Message { reply_to };
    }
    if let Some(known) = header.response_to.as_ref().and_then(|id| (context.known)(id))
        && let Some(asker) = known.source.agent()
        && !header.answers.contains(asker)
    {
        header.answers.push(asker.clone());
    }
    let entry = Entry {
        header,
        body: draft.body,
    };
    if draft.ephemeral {
        return Ok(Decision::Tell(Box::new(entry)));
    }
    entries.push(entry);
    Ok(Decision::Append { entries, unknown })
}

fn repeated(author: &Source, draft: Draft, known: &Known) -> Result<Decision, ErrorBody> {
    let id = draft.event_id;
    if known.source != *author {
        let message = format!("event id {id} belongs to another author");
        return Err(ErrorBody::field(ErrorCode::EventIdConflict, "event_id", message));
    }
    if known.digest != draft.digest {
        let message = format!("event id {id} was used for another event");
        return Err(ErrorBody::field(ErrorCode::EventIdReused, "event_id", message));
    }
    Ok(Decision::Duplicate {
        event_id: id,
        sequence: known.sequence,
    })
}

/// The message that a reply names, if it stands where the reply goes.
fn parent_of(
    context: &Context<'_>,
    author: &Source,
    target: &MessageTarget,
    parent: &EventId,
) -> Result<Known, ErrorBody> {
    let found = (context.known)(parent).filter(|known| match (target, &known.destination) {
        (MessageTarget::Channel(channel), Address::Channel(there)) => channel == there,
        (MessageTarget::Agent(agent), Address::Agent(addressee)) => {
            let sent = Some(addressee) == Some(agent) && known.source == *author;
            let received = Some(addressee) == author.agent() && known.source.agent() == Some(agent);
            sent || received
        }
        _ => false,
    });
    found.ok_or_else(|| {
        let message = format!("there is no message {parent} in this channel or conversation");
        ErrorBody::field(ErrorCode::MessageNotFound, "reply_to_id", message)
    })
}

/// The record that makes an author known, if it is not.
fn registration(context: &Context<'_>, author: &Source) -> Result<Vec<Entry>, ErrorBody> {
    if !will_register(context, author) {
        return Ok(Vec::new());
    }
    check_agents(context)?;
    Ok(vec![entry(
        context,
        author,
        "agent.registered",
        Address::System,
        Act::AgentRegistered {},
    )])
}

fn will_register(context: &Context<'_>, author: &Source) -> bool {
    author
        .agent()
        .is_some_and(|agent| !context.state.agents.contains_key(agent))
}

fn created(context: &Context<'_>, author: &Source, channel: ChannelName, description: String) -> Entry {
    let act = Act::ChannelCreated { channel, description };
    entry(context, author, "channel.created", Address::Everyone, act)
}

/// A record that the workspace makes.
pub(crate) fn entry(
    context: &Context<'_>,
    author: &Source,
    name: &'static str,
    destination: Address,
    act: Act,
) -> Entry {
    let name: EventName = name.parse().expect("a valid name");
    let body = Body::empty();
    let header = Header {
        version: FORMAT_VERSION,
        event_id: EventId::new(),
        digest: Digest::of(&name, &destination, &body),
        name,
        source: author.clone(),
        destination,
        time_ms: context.now_ms,
        act,
        mentions: Vec::new(),
        thread: None,
        answers: Vec::new(),
        response_to: None,
        visibility: Visibility::Network,
        allowed_agents: None,
        requires_response: false,
        thread_name: None,
        relevant_mod: None,
    };
    Entry { header, body }
}

fn require_channel(state: &State, channel: &ChannelName) -> Result<(), ErrorBody> {
    if state.channels.contains_key(channel) {
        Ok(())
    } else {
        Err(no_channel(channel))
    }
}

/// The refusal for a channel that does not exist.
pub(crate) fn no_channel(channel: &ChannelName) -> ErrorBody {
    ErrorBody::field(
        ErrorCode::ChannelNotFound,
        "channel",
        format!("there is no channel {channel}"),
    )
}

fn check_channels(context: &Context<'_>) -> Result<(), ErrorBody> {
    let limit = context.settings.max_channels;
    if context.state.channels.len() < limit {
        return Ok(());
    }
    Err(ErrorBody::new(
        ErrorCode::LimitReached,
        format!("the workspace has its limit of {limit} channels"),
    ))
}

fn check_agents(context: &Context<'_>) -> Result<(), ErrorBody> {
    let limit = context.settings.max_agents;
    if context.state.agents.len() < limit {
        return Ok(());
    }
    Err(ErrorBody::new(
        ErrorCode::LimitReached,
        format!("the workspace has its limit of {limit} agents"),
    ))
}

/// Ids that a decision looks up, by wish.
pub(crate) fn referenced(wish: &Wish) -> impl Iterator<Item = &EventId> {
    let draft = match wish {
        Wish::Publish(draft) => Some(draft),
        _ => None,
    };
    draft.into_iter().flat_map(|draft| {
        let reply_to = match &draft.intent {
            Intent::Message { reply_to, .. } => reply_to.as_ref(),
            Intent::Event { .. } => None,
        };
        std::iter::once(&draft.event_id)
            .chain(reply_to)
            .chain(&draft.response_to)
    })
}

/// Agents named in a receipt: the addressee, and those mentioned.
pub(crate) fn named(header: &Header) -> impl Iterator<Item = &AgentId> {
    let addressee = match &header.destination {
        Address::Agent(agent) => Some(agent),
        _ => None,
    };
    addressee.into_iter().chain(
        header
            .mentions
            .iter()
            .filter(move |agent| Some(*agent) != addressee),
    )
}

/// What was looked up in the view for one batch.
pub(crate) type LookedUp = HashMap<EventId, Known>;
