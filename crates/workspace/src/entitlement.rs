//! Who may read what. This is the only place that decides it.

use openagents_protocol::record::{Act, Record};
use openagents_protocol::{Address, AgentId, ChannelName, Header, Sequence, Visibility};

use crate::rights::permission::READ_CHANNELS;
use crate::state::{Agent, State};
use crate::workspace::Caller;

/// What the rights of a reader let it read, whoever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Whatever its agent may.
    Everything,
    /// Nothing that is said in channels.
    NoChannels,
}

impl Reading {
    /// Whether a record is among it.
    pub(crate) fn includes(self, header: &Header) -> bool {
        self == Self::Everything || !matches!(header.destination, Address::Channel(_))
    }
}

/// Whether an agent may be given a record: addressed to it, to a channel of which it was a member then and is
/// one now, or to everyone since it became known. Nobody gets an echo of what it sent, except what it sent to itself.
pub(crate) fn may_receive(state: &State, agent_id: &AgentId, record: &Record) -> bool {
    let header = &record.header;
    let echo =
        header.source.agent() == Some(agent_id) && header.destination != Address::Agent(agent_id.clone());
    !echo && may_read(state, agent_id, header, moment(record))
}

/// When a record happened, for questions of membership: an ephemeral one has no sequence and happens now.
pub(crate) fn moment(record: &Record) -> Sequence {
    if record.sequence == Sequence::ZERO {
        Sequence::MAX
    } else {
        record.sequence
    }
}

/// [`may_receive`], for readers that look at everything the agent may see, its own events included.
pub(crate) fn may_read(state: &State, agent_id: &AgentId, header: &Header, at: Sequence) -> bool {
    if !is_delivered(&header.act) || !is_visible(agent_id, header) {
        return false;
    }
    match &header.destination {
        Address::Agent(addressee) => addressee == agent_id,
        Address::Channel(channel) => {
            !state.is_blind(agent_id)
                && state.was_member(agent_id, channel, at)
                && state.is_member(agent_id, channel)
        }
        Address::Everyone => state
            .agents
            .get(agent_id)
            .is_none_or(|agent| agent.first_sequence <= at),
        Address::System | Address::Mod(_) => false,
    }
}

/// Whether an agent may read the history of a channel: who is a member reads all of it that is not restricted to
/// others.
pub(crate) fn may_read_history(state: &State, agent_id: &AgentId, channel: &ChannelName) -> bool {
    !state.is_blind(agent_id) && state.is_member(agent_id, channel)
}

/// Whether a record is a message, or a file that was shared, that somebody may read: in a channel whose history it may
/// read, or as one of the two sides.
pub(crate) fn may_read_message(state: &State, caller: &Caller, record: &Record) -> bool {
    let header = &record.header;
    let reads_channels = || caller.rights().require(READ_CHANNELS).is_ok();
    let is_message = record.is_message() || matches!(header.act, Act::FileShared { .. });
    is_message
        && is_visible(&caller.agent_id, header)
        && match &header.destination {
            Address::Channel(name) => {
                let channel = state.channels.get(name);
                channel.is_some_and(|channel| channel.created_at <= record.sequence)
                    && may_read_history(state, &caller.agent_id, name)
                    && reads_channels()
            }
            Address::Agent(addressee) => {
                header.source.agent() == Some(&caller.agent_id) || *addressee == caller.agent_id
            }
            _ => false,
        }
}

/// Whether one of the agent's subscriptions selects a record. Without any, everything is selected; answers to
/// its own messages always are.
pub(crate) fn is_selected(agent: &Agent, agent_id: &AgentId, header: &Header) -> bool {
    if agent.subscriptions.is_empty() || header.answers.contains(agent_id) {
        return true;
    }
    let mentioned = header.mentions.contains(agent_id);
    agent.subscriptions.iter().any(|subscription| {
        let here = match (&subscription.channels, &header.destination) {
            (None, _) => true,
            (Some(channels), Address::Channel(channel)) => channels.contains(channel),
            (Some(_), _) => false,
        };
        here && subscription.patterns.iter().any(|pattern| {
            pattern.matches(header.name.as_str())
                || (mentioned && pattern.matches(openagents_protocol::frame::MENTIONED))
        })
    })
}

/// Whether records of this kind are events for anybody.
pub(crate) fn is_delivered(act: &Act) -> bool {
    match act {
        Act::Message { .. }
        | Act::MessageEdited { .. }
        | Act::MessageDeleted { .. }
        | Act::ReactionAdded { .. }
        | Act::ReactionRemoved { .. }
        | Act::FileShared { .. }
        | Act::FileDeleted { .. }
        | Act::Event {}
        | Act::AgentJoined { .. }
        | Act::AgentLeft { .. }
        | Act::AgentStatusChanged { .. }
        | Act::AgentMetadataUpdated { .. }
        | Act::AgentGroupChanged { .. }
        | Act::ChannelCreated { .. }
        | Act::ChannelTopicChanged { .. }
        | Act::ChannelConfigured { .. }
        | Act::ChannelPermissionsChanged { .. }
        | Act::ChannelArchived { .. }
        | Act::ChannelDeleted { .. }
        | Act::ChannelJoined { .. }
        | Act::ChannelLeft { .. } => true,
        // Registrations, subscriptions and tokens concern nobody else, and what is held is for nobody yet; later kinds
        // are not known here.
        _ => false,
    }
}

/// Whether the visibility of a record includes an agent.
pub(crate) fn is_visible(agent_id: &AgentId, header: &Header) -> bool {
    match header.visibility {
        Visibility::Restricted => {
            let allowed = header.allowed_agents.as_ref();
            header.source.agent() == Some(agent_id) || allowed.is_some_and(|agents| agents.contains(agent_id))
        }
        Visibility::ModOnly => false,
        Visibility::Public | Visibility::Network | Visibility::Channel | Visibility::Direct => true,
    }
}
