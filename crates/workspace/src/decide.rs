//! Decides what a wish comes to, against the state that will hold when it is committed.

mod channels;
mod files;
mod messages;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use openagents_protocol::call::{ChannelPermissions, ChannelSettings, ReactAction};
use openagents_protocol::record::{
    Act, AgentKey, Body, FORMAT_VERSION, Header, MODERATION, Role, SharedFile, TokenGrant,
};
use openagents_protocol::{
    Address, AgentId, ChannelName, Draft, ErrorBody, ErrorCode, EventId, EventName, Intent, Json,
    MessageTarget, Pattern, Recipient, RecipientState, Sequence, Source,
};
use openagents_store::Entry;

use crate::entitlement::is_visible;
use crate::known::Known;
use crate::rates::Rates;
use crate::rights::Rights;
use crate::rights::permission::POST_MESSAGES;
use crate::settings::{DefaultMembership, FirstPost, Settings};
use crate::state::{ONLINE, Presence, State};

/// What somebody wants of the workspace.
#[derive(Debug)]
pub(crate) enum Wish {
    Publish(Box<Draft>),
    Join {
        metadata: Option<Json>,
        generated: bool,
        /// The group that it is in from here on; none where there are no groups.
        group: Option<String>,
    },
    Leave {
        reason: String,
    },
    SetStatus {
        status: String,
    },
    SetMetadata {
        metadata: Json,
    },
    SetKey {
        key: Option<AgentKey>,
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
    SetTopic {
        channel: ChannelName,
        topic: String,
    },
    ConfigureChannel {
        channel: ChannelName,
        settings: ChannelSettings,
    },
    SetPermissions {
        channel: ChannelName,
        permissions: ChannelPermissions,
    },
    ArchiveChannel {
        channel: ChannelName,
        archived: bool,
    },
    DeleteChannel {
        channel: ChannelName,
    },
    EditMessage {
        message_id: EventId,
        content: Json,
    },
    DeleteMessage {
        message_id: EventId,
    },
    ShareFile {
        file_id: EventId,
        file: SharedFile,
        destination: Address,
        /// Only asks whether it could be shared.
        rehearsal: bool,
    },
    DeleteFile {
        file_id: EventId,
        size: u64,
    },
    /// Delivers a message that is held.
    Release(Box<Entry>),
    React {
        message_id: EventId,
        reaction: String,
        action: ReactAction,
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
    /// Removes what was sent to a place.
    RemoveHistory {
        place: Address,
        through: Sequence,
        records: u64,
        /// What [`State::returned`] was when it was found that nobody needs it.
        returned: u64,
    },
}

impl Wish {
    /// About how much memory it takes beyond a few hundred bytes.
    pub(crate) fn bytes(&self) -> usize {
        let length = |json: &Option<Json>| json.as_ref().map_or(0, |json| json.as_str().len());
        match self {
            Self::Publish(draft) => {
                let body = &draft.body;
                let words = body.text_representation.as_ref().map_or(0, String::len);
                body.payload.as_str().len() + length(&body.metadata) + words
            }
            Self::Join { metadata, .. } => length(metadata),
            _ => 0,
        }
    }

    /// Whether it changes what others see, beyond who is there.
    fn writes(&self) -> bool {
        !matches!(
            self,
            Self::Join { .. }
                | Self::Leave { .. }
                | Self::SetStatus { .. }
                | Self::SetMetadata { .. }
                | Self::SetKey { .. }
                | Self::JoinChannel { .. }
                | Self::LeaveChannel { .. }
                | Self::Subscribe { .. }
                | Self::Unsubscribe { .. }
                | Self::GrantToken(_)
                | Self::RevokeToken { .. }
        )
    }
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
    /// What the author may do.
    pub(crate) rights: &'a Rights,
    pub(crate) known: &'a dyn Fn(&EventId) -> Option<Known>,
    /// The reactions of an agent to a message.
    pub(crate) reactions: &'a dyn Fn(&(EventId, AgentId)) -> HashSet<String>,
    /// What each agent may still do in this minute or hour.
    pub(crate) rates: &'a Rates,
    pub(crate) now_ms: u64,
}

/// Decides a wish of an author.
///
/// # Errors
///
/// The reason for the author; nothing happens then.
pub(crate) fn decide(context: &Context<'_>, author: &Source, wish: Wish) -> Result<Decision, ErrorBody> {
    let state = context.state;
    if context.rights.role == Role::Observer && wish.writes() {
        return Err(ErrorBody::new(
            ErrorCode::Forbidden,
            "an observer reads and does not write",
        ));
    }
    match wish {
        Wish::Publish(draft) => publish(context, author, *draft),
        Wish::Join {
            metadata,
            generated,
            group,
        } => join(context, author, metadata, generated, group),
        Wish::Leave { reason } => Ok(leave(context, author, reason)),
        Wish::SetStatus { status } => set_status(context, author, status),
        Wish::SetMetadata { metadata } => set_metadata(context, author, metadata),
        Wish::SetKey { key } => set_key(context, author, key),
        Wish::CreateChannel { channel, description } => {
            channels::create(context, author, channel, description)
        }
        Wish::JoinChannel { channel } => channels::join(context, author, channel),
        Wish::LeaveChannel { channel } => channels::leave(context, author, channel),
        Wish::SetTopic { channel, topic } => channels::set_topic(context, author, channel, topic),
        Wish::ConfigureChannel { channel, settings } => {
            channels::configure(context, author, channel, settings)
        }
        Wish::SetPermissions { channel, permissions } => {
            channels::set_permissions(context, author, channel, permissions)
        }
        Wish::ArchiveChannel { channel, archived } => channels::archive(context, author, channel, archived),
        Wish::DeleteChannel { channel } => channels::delete(context, author, channel),
        Wish::EditMessage { message_id, content } => messages::edit(context, author, message_id, &content),
        Wish::DeleteMessage { message_id } => messages::delete(context, author, message_id),
        Wish::ShareFile {
            file_id,
            file,
            destination,
            rehearsal,
        } => files::share(context, author, file_id, &file, destination, rehearsal),
        Wish::DeleteFile { file_id, size } => files::delete(context, author, file_id, size),
        Wish::Release(held) => Ok(messages::release(context, *held)),
        Wish::React {
            message_id,
            reaction,
            action,
        } => messages::react(context, author, message_id, &reaction, action),
        Wish::Subscribe {
            id,
            patterns,
            channels,
        } => subscribe(context, author, id, patterns, channels),
        Wish::Unsubscribe { id } => unsubscribe(context, author, id),
        Wish::GrantToken(grant) => change(
            context,
            author,
            "system.token.created",
            Address::System,
            Act::TokenCreated(grant),
        ),
        Wish::RemoveHistory { returned, .. } if returned != state.returned => Ok(Decision::Nothing),
        Wish::RemoveHistory {
            place,
            through,
            records,
            ..
        } => {
            let act = Act::HistoryRemoved {
                place,
                through,
                records,
            };
            change(context, author, "system.history.removed", Address::System, act)
        }
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

fn subscribe(
    context: &Context<'_>,
    author: &Source,
    id: EventId,
    patterns: Vec<Pattern>,
    channels: Option<Vec<ChannelName>>,
) -> Result<Decision, ErrorBody> {
    let known = author.agent().and_then(|agent| context.state.agents.get(agent));
    let limit = context.settings.max_subscriptions;
    if known.is_some_and(|agent| limit <= agent.subscriptions.len()) {
        let message = format!("an agent has at most {limit} subscriptions");
        return Err(ErrorBody::new(ErrorCode::LimitReached, message));
    }
    let act = Act::Subscribed {
        id,
        patterns,
        channels,
    };
    change(context, author, "agent.subscribed", Address::System, act)
}

fn unsubscribe(context: &Context<'_>, author: &Source, id: EventId) -> Result<Decision, ErrorBody> {
    let known = author.agent().and_then(|agent| context.state.agents.get(agent));
    if !known.is_some_and(|agent| agent.subscriptions.iter().any(|own| own.id == id)) {
        let message = format!("there is no subscription {id} of this agent");
        return Err(ErrorBody::field(
            ErrorCode::SubscriptionNotFound,
            "subscription_id",
            message,
        ));
    }
    let act = Act::Unsubscribed { id };
    change(context, author, "agent.unsubscribed", Address::System, act)
}

fn set_status(context: &Context<'_>, author: &Source, status: String) -> Result<Decision, ErrorBody> {
    let known = author.agent().and_then(|agent| context.state.agents.get(agent));
    let before = known.and_then(|agent| agent.status.as_deref()).unwrap_or(ONLINE);
    if before == status {
        return Ok(Decision::Nothing);
    }
    let act = Act::AgentStatusChanged { status };
    change(context, author, "agent.status.changed", Address::Everyone, act)
}

fn set_metadata(context: &Context<'_>, author: &Source, metadata: Json) -> Result<Decision, ErrorBody> {
    let known = author.agent().and_then(|agent| context.state.agents.get(agent));
    if known.is_some_and(|agent| agent.metadata == metadata) {
        return Ok(Decision::Nothing);
    }
    let act = Act::AgentMetadataUpdated { metadata };
    change(context, author, "agent.metadata.updated", Address::Everyone, act)
}

/// The record that puts an agent into another group and tells it so. Its first group is no change, and nothing is told
/// of it.
fn regrouping(context: &Context<'_>, author: &Source, group: Option<String>) -> Option<Entry> {
    let (agent_id, group) = author.agent().zip(group)?;
    let known = context.state.agents.get(agent_id);
    let before = known.and_then(|agent| agent.group.as_ref());
    if before == Some(&group) {
        return None;
    }
    let destination = match before {
        Some(_) => Address::Agent(agent_id.clone()),
        None => Address::System,
    };
    let act = Act::AgentGroupChanged { group };
    Some(entry(context, author, "agent.group.changed", destination, act))
}

fn set_key(context: &Context<'_>, author: &Source, key: Option<AgentKey>) -> Result<Decision, ErrorBody> {
    let known = author.agent().and_then(|agent| context.state.agents.get(agent));
    if known.is_none_or(|agent| agent.key == key) && key.is_none() {
        return Ok(Decision::Nothing);
    }
    change(
        context,
        author,
        "agent.keyed",
        Address::System,
        Act::AgentKeyed { key },
    )
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
    group: Option<String>,
) -> Result<Decision, ErrorBody> {
    let known = author.agent().and_then(|agent| context.state.agents.get(agent));
    // Both at once, so that nothing is delivered to an agent by the rights of the group that it left.
    let regrouping = regrouping(context, author, group);
    let act = match known {
        None => {
            check_agents(context)?;
            Act::AgentJoined {
                metadata: metadata.unwrap_or_else(Json::empty_object),
                generated,
            }
        }
        Some(known) if known.presence == Presence::Online => {
            let metadata = metadata.unwrap_or_else(|| known.metadata.clone());
            return Ok(match (set_metadata(context, author, metadata)?, regrouping) {
                (unchanged, None) => unchanged,
                (Decision::Append { mut entries, unknown }, Some(regrouping)) => {
                    entries.push(regrouping);
                    Decision::Append { entries, unknown }
                }
                (_, Some(regrouping)) => Decision::Append {
                    entries: vec![regrouping],
                    unknown: Vec::new(),
                },
            });
        }
        Some(known) => Act::AgentJoined {
            metadata: metadata.unwrap_or_else(|| known.metadata.clone()),
            generated: known.generated,
        },
    };
    let joined = entry(context, author, "agent.joined", Address::Everyone, act);
    Ok(Decision::Append {
        entries: std::iter::once(joined).chain(regrouping).collect(),
        unknown: Vec::new(),
    })
}

fn publish(context: &Context<'_>, author: &Source, draft: Draft) -> Result<Decision, ErrorBody> {
    context.rights.require(POST_MESSAGES)?;
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
        titled: false,
        relevant_mod: draft.relevant_mod,
        root: None,
        hops: 0,
    };
    let cause = draft.caused_by.as_ref().or(header.response_to.as_ref());
    if let Some(cause) = cause.cloned() {
        continue_chain(context, &mut header, cause);
    }
    if let Address::Agent(addressee) = &header.destination
        && !is_visible(addressee, &header)
    {
        let message = format!("this visibility keeps the event from {addressee}, to whom it goes");
        return Err(ErrorBody::field(ErrorCode::InvalidField, "visibility", message));
    }
    let mut entries = registration(context, author)?;
    let inside = if draft.from_outside {
        Insider::NotNeeded
    } else {
        Insider::Needed
    };
    entries.extend(admit(
        context,
        author,
        &header.destination,
        &draft.intent,
        inside,
    )?);
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
        header.titled = reply_to.is_none() && draft.body.thread_name.is_some();
        context.settings.content.check_message(&draft.body.payload)?;
        let mut held = false;
        if let MessageTarget::Channel(channel) = &target {
            if header.titled {
                channels::check_beginner(context, author, channel)?;
            }
            (header.mentions, unknown) = mentions(context, author, channel, mentioned, &draft.body);
            held = channels::is_moderated(context, author, channel);
        }
        context.rates.take_message(author)?;
        header.act = if held {
            let limit = MODERATION.to_owned();
            Act::Held { reply_to, limit }
        } else {
            Act::Message { reply_to }
        };
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

/// Makes an event the next one in the chain of its cause, unless that rested for long or a human goes on.
fn continue_chain(context: &Context<'_>, header: &mut Header, cause: EventId) {
    let author = header
        .source
        .agent()
        .and_then(|agent| context.state.agents.get(agent));
    if author.is_some_and(|agent| agent.is_human()) {
        return;
    }
    let (Some(guard), Some(known)) = (&context.settings.loop_guard, (context.known)(&cause)) else {
        return;
    };
    let rested = Duration::from_millis(context.now_ms.saturating_sub(known.chain.time_ms));
    if rested < guard.forget_after {
        header.hops = known.chain.hops.saturating_add(1);
        header.root = Some(known.chain.root.unwrap_or(cause));
    }
}

/// Whether an author has to be a member of the channel that it writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Insider {
    Needed,
    NotNeeded,
}

/// Whether an author may write there; the record that makes the channel, if the first post does.
fn admit(
    context: &Context<'_>,
    author: &Source,
    destination: &Address,
    intent: &Intent,
    inside: Insider,
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
            if inside == Insider::Needed
                && author
                    .agent()
                    .is_some_and(|agent| !state.is_member(agent, channel))
            {
                let message = format!("join channel {channel} first");
                return Err(ErrorBody::field(ErrorCode::NotAMember, "destination_id", message));
            }
            channels::check_rules(context, author, channel, intent)?;
            Ok(None)
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

/// Makes sure that an author may share something there.
fn admit_to(context: &Context<'_>, author: &Source, destination: &Address) -> Result<(), ErrorBody> {
    let intent = Intent::Event {
        destination: destination.clone(),
    };
    admit(context, author, destination, &intent, Insider::Needed).map(drop)
}

/// The agents mentioned that are in the channel, and the one that the sender named although nobody knows it.
fn mentions(
    context: &Context<'_>,
    author: &Source,
    channel: &ChannelName,
    mentioned: Vec<AgentId>,
    body: &Body,
) -> (Vec<AgentId>, Vec<Recipient>) {
    if !context.settings.mentions {
        return (Vec::new(), Vec::new());
    }
    let others = mentioned
        .into_iter()
        .filter(|agent| author.agent() != Some(agent));
    let (mut known, unknown): (Vec<_>, Vec<_>) =
        others.partition(|agent| context.state.agents.contains_key(agent));
    let state = context.state;
    known.retain(|agent| match state.channels.get(channel) {
        Some(channel) => state.in_channel(agent, channel) && !state.is_blind(agent),
        // The message makes the channel.
        None => state.default_membership == DefaultMembership::Everyone,
    });
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
    let standing = (context.known)(parent).filter(|known| !known.deleted && known.is_for(author));
    let found = standing.filter(|known| match (target, &known.destination) {
        (MessageTarget::Channel(channel), Address::Channel(there)) => {
            let since = context
                .state
                .channels
                .get(channel)
                .map(|channel| channel.created_at);
            channel == there && since.is_some_and(|since| since <= known.sequence)
        }
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
pub(crate) fn referenced(wish: &Wish) -> Vec<&EventId> {
    match wish {
        Wish::Publish(draft) => std::iter::once(&draft.event_id)
            .chain(draft.intent.reply_to())
            .chain(&draft.response_to)
            .chain(&draft.caused_by)
            .collect(),
        Wish::DeleteFile { file_id, .. } => vec![file_id],
        Wish::Release(held) => vec![&held.header.event_id],
        Wish::EditMessage { message_id, .. }
        | Wish::DeleteMessage { message_id }
        | Wish::React { message_id, .. } => vec![message_id],
        _ => Vec::new(),
    }
}

/// The message and the agent whose reactions a decision looks up.
pub(crate) fn reacting(author: &Source, wish: &Wish) -> Option<(EventId, AgentId)> {
    match wish {
        Wish::React { message_id, .. } => Some((message_id.clone(), author.agent()?.clone())),
        _ => None,
    }
}

/// Where an event about an earlier one goes: to nobody, where the channel of that one is deleted, also if another one has
/// its name now.
fn place_of(context: &Context<'_>, known: &Known) -> Address {
    let gone = match &known.destination {
        Address::Channel(name) => {
            let channel = context.state.channels.get(name);
            channel.is_none_or(|channel| known.sequence < channel.created_at)
        }
        _ => false,
    };
    if gone {
        Address::System
    } else {
        known.destination.clone()
    }
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
#[derive(Debug, Default)]
pub(crate) struct LookedUp {
    pub(crate) known: HashMap<EventId, Known>,
    pub(crate) reactions: HashMap<(EventId, AgentId), HashSet<String>>,
}
