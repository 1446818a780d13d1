//! Decides what a wish comes to, against the state that will hold when it is committed.

use std::collections::HashMap;

use openagents_protocol::record::{Act, Body, FORMAT_VERSION, Header, Role, TokenGrant};
use openagents_protocol::{
    Address, AgentId, ChannelName, Draft, ErrorBody, ErrorCode, EventId, EventName, Intent, Json,
    MessageTarget, Pattern, Recipient, RecipientState, Sequence, Source,
};
use openagents_store::Entry;

use crate::entitlement::is_visible;
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
    match wish {
        Wish::Publish(draft) => publish(context, author, *draft),
        Wish::Join { metadata, generated } => join(context, author, metadata, generated),
        Wish::Leave { reason } => Ok(leave(context, author, reason)),
        Wish::CreateChannel { channel, description } => create_channel(context, author, channel, description),
        Wish::JoinChannel { channel } => {
            require_channel(state, &channel)?;
            if author
                .agent()
                .is_none_or(|agent| state.is_member(agent, &channel))
            {
                return Ok(Decision::Nothing);
            }
            let act = Act::ChannelJoined {
                channel: channel.clone(),
            };
            change(context, author, "channel.joined", Address::Channel(channel), act)
        }
        Wish::LeaveChannel { channel } => {
            require_channel(state, &channel)?;
            if author
                .agent()
                .is_none_or(|agent| !state.is_member(agent, &channel))
            {
                return Ok(Decision::Nothing);
            }
            let act = Act::ChannelLeft {
                channel: channel.clone(),
            };
            change(context, author, "channel.left", Address::Channel(channel), act)
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
            let act = Act::Subscribed {
                id,
                patterns,
                channels,
            };
            change(context, author, "agent.subscribed", Address::System, act)
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
            change(
                context,
                author,
                "agent.unsubscribed",
                Address::System,
                Act::Unsubscribed { id },
            )
        }
        Wish::GrantToken(grant) => change(
            context,
            author,
            "system.token.created",
            Address::System,
            Act::TokenCreated(grant),
        ),
        Wish::RevokeToken { id } => {
            if !state.has_token(&id) {
                let message = format!("there is no token {id}");
                return Err(ErrorBody::field(ErrorCode::TokenNotFound, "token_id", message));
            }
            change(
                context,
                author,
                "system.token.revoked",
                Address::System,
                Act::TokenRevoked { id },
            )
        }
    }
}

/// A change of state by an author, who becomes known by it.
fn change(
    context: &Context<'_>,
    author: &Source,
    name: &'static str,
    destination: Address,
    act: Act,
) -> Result<Decision, ErrorBody> {
    let mut entries = registration(context, author)?;
    entries.push(entry(context, author, name, destination, act));
    Ok(Decision::Append {
        entries,
        unknown: Vec::new(),
    })
}

fn create_channel(
    context: &Context<'_>,
    author: &Source,
    channel: ChannelName,
    description: String,
) -> Result<Decision, ErrorBody> {
    if context.state.channels.contains_key(&channel) {
        let message = format!("there is a channel {channel} already");
        return Err(ErrorBody::field(ErrorCode::ChannelExists, "name", message));
    }
    check_channels(context)?;
    let mut entries = registration(context, author)?;
    entries.push(created(context, author, channel, description));
    Ok(Decision::Append {
        entries,
        unknown: Vec::new(),
    })
}

fn leave(context: &Context<'_>, author: &Source, reason: String) -> Decision {
    let known = author.agent().and_then(|agent| context.state.agents.get(agent));
    if known.is_none_or(|agent| agent.presence == Presence::Offline) {
        return Decision::Nothing;
    }
    let left = entry(
        context,
        author,
        "agent.left",
        Address::Everyone,
        Act::AgentLeft { reason },
    );
    Decision::Append {
        entries: vec![left],
        unknown: Vec::new(),
    }
}

fn join(
    context: &Context<'_>,
    author: &Source,
    metadata: Option<Json>,
    generated: bool,
) -> Result<Decision, ErrorBody> {
    let known = author.agent().and_then(|agent| context.state.agents.get(agent));
    let name = match known {
        Some(agent) if agent.presence == Presence::Online => "agent.metadata.updated",
        _ => "agent.joined",
    };
    let act = match known {
        None => {
            check_agents(context)?;
            Act::AgentJoined {
                metadata: metadata.unwrap_or_else(Json::empty_object),
                generated,
            }
        }
        Some(known) => {
            let metadata = metadata.unwrap_or_else(|| known.metadata.clone());
            if known.presence == Presence::Online && known.metadata == metadata {
                return Ok(Decision::Nothing);
            }
            Act::AgentJoined {
                metadata,
                generated: known.generated,
            }
        }
    };
    let joined = entry(context, author, name, Address::Everyone, act);
    Ok(Decision::Append {
        entries: vec![joined],
        unknown: Vec::new(),
    })
}

fn publish(context: &Context<'_>, author: &Source, draft: Draft) -> Result<Decision, ErrorBody> {
    if let Some(known) = (context.known)(&draft.event_id) {
        return repeated(author, draft, &known);
    }
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
        root: None,
        hops: 0,
    };
    if let Address::Agent(addressee) = &header.destination
        && !is_visible(addressee, &header)
    {
        let message = format!("this visibility keeps the event from {addressee}, to whom it goes");
        return Err(ErrorBody::field(ErrorCode::InvalidField, "visibility", message));
    }
    let mut entries = registration(context, author)?;
    entries.extend(admit(context, author, &header.destination, &draft.intent)?);
    let mut unknown = Vec::new();
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
        (header.mentions, unknown) = mentions(context, author, mentioned, &draft.body);
        header.act = Act::Message { reply_to };
    }
    let answered = header.response_to.as_ref().and_then(|id| (context.known)(id));
    if let Some(asker) = answered.as_ref().and_then(|known| known.source.agent())
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

/// Whether an author may write there; the record that makes the channel, if the first post does.
fn admit(
    context: &Context<'_>,
    author: &Source,
    destination: &Address,
    intent: &Intent,
) -> Result<Option<Entry>, ErrorBody> {
    let state = context.state;
    match destination {
        Address::Agent(addressee)
            if !state.agents.contains_key(addressee) && author.agent() != Some(addressee) =>
        {
            let message = format!("no agent {addressee} was ever here");
            Err(ErrorBody::field(
                ErrorCode::AgentNotFound,
                "destination_id",
                message,
            ))
        }
        Address::Channel(channel) if state.channels.contains_key(channel) => {
            if author.agent().is_none_or(|agent| state.is_member(agent, channel)) {
                return Ok(None);
            }
            let message = format!("join channel {channel} first");
            Err(ErrorBody::field(ErrorCode::NotAMember, "destination_id", message))
        }
        Address::Channel(channel) => {
            let post = matches!(intent, Intent::Message { .. });
            if !post || context.settings.first_post == FirstPost::IsRefused {
                return Err(no_channel(channel));
            }
            check_channels(context)?;
            Ok(Some(created(context, author, channel.clone(), String::new())))
        }
        _ => Ok(None),
    }
}

/// The agents mentioned, and the one that the sender named although nobody knows it.
fn mentions(
    context: &Context<'_>,
    author: &Source,
    mentioned: Vec<AgentId>,
    body: &Body,
) -> (Vec<AgentId>, Vec<Recipient>) {
    let others = mentioned
        .into_iter()
        .filter(|agent| author.agent() != Some(agent));
    let (known, unknown): (Vec<_>, Vec<_>) =
        others.partition(|agent| context.state.agents.contains_key(agent));
    let named = |agent: &AgentId| {
        body.payload
            .get("mentioned_agent_id")
            .and_then(|named| named.as_str())
            == Some(agent.as_str())
    };
    let unknown = unknown.into_iter().filter(named).map(|agent_id| Recipient {
        agent_id,
        state: RecipientState::Unknown,
        last_seen: None,
        unread: None,
    });
    (known, unknown.collect())
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
    let header = Header::new(name, author.clone(), destination, context.now_ms, act, &body);
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
