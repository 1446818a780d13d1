//! A committed record on its way to readers.

use std::sync::OnceLock;

use bytes::Bytes;
use openagents_protocol::frame::{Mentioned, encode_event};
use openagents_protocol::record::{Act, Record};
use openagents_protocol::{Address, AgentId, Header, Json, Sequence, Source};
use openagents_store::view::Stream;

use crate::entitlement::is_delivered;

/// A record that is committed, or ephemeral, with its wire form: built at most once per form and shared by all
/// readers.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) record: Record,
    plain: OnceLock<Bytes>,
    mention: OnceLock<Bytes>,
}

impl Commit {
    pub(crate) fn new(record: Record) -> Self {
        Self {
            record,
            plain: OnceLock::new(),
            mention: OnceLock::new(),
        }
    }

    pub(crate) fn sequence(&self) -> Sequence {
        self.record.sequence
    }

    pub(crate) fn header(&self) -> &Header {
        &self.record.header
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        bytes_of(&self.record)
    }

    /// The event frame as this agent gets it.
    pub(crate) fn frame(&self, reader: &AgentId) -> Bytes {
        if self.record.header.mentions.contains(reader) && self.record.is_message() {
            return self
                .mention
                .get_or_init(|| encode_event(&self.record, Mentioned::Yes).into())
                .clone();
        }
        self.plain
            .get_or_init(|| encode_event(&self.record, Mentioned::No).into())
            .clone()
    }
}

/// The streams through which a record is found again. Presence, in the workspace and in
/// channels, is in none: it is told live or not at all.
pub(crate) fn streams(header: &Header) -> Vec<Stream> {
    match &header.act {
        Act::AgentRegistered {} | Act::AgentKeyed { .. } => return Vec::new(),
        act if is_presence(act) => return Vec::new(),
        Act::Held { .. } => return vec![Stream::Held],
        act if !is_delivered(act) => return Vec::new(),
        _ => {}
    }
    let mut streams = Vec::with_capacity(2);
    match &header.destination {
        Address::Channel(channel) => streams.push(Stream::Channel(channel.clone())),
        Address::Everyone => streams.push(Stream::Everyone),
        Address::Agent(agent) => {
            streams.push(Stream::Inbox(agent.clone()));
            if let (Act::Message { .. }, Source::Agent(author)) = (&header.act, &header.source) {
                streams.push(Stream::Conversation(author.clone(), agent.clone()));
            }
        }
        Address::System | Address::Mod(_) => {}
    }
    streams.extend(header.mentions.iter().cloned().map(Stream::Mentions));
    match &header.act {
        Act::Message { .. } => streams.extend(header.thread.clone().map(Stream::Thread)),
        Act::FileShared { .. } => streams.push(Stream::Files),
        _ => {}
    }
    streams
}

/// Whether it tells who is there and what they are: worth knowing now, and not later.
pub(crate) fn is_presence(act: &Act) -> bool {
    matches!(
        act,
        Act::AgentJoined { .. }
            | Act::AgentLeft { .. }
            | Act::AgentStatusChanged { .. }
            | Act::AgentMetadataUpdated { .. }
            | Act::ChannelJoined { .. }
            | Act::ChannelLeft { .. }
    )
}

/// Whether a backlog always has this record for this agent, however old it is.
pub(crate) fn is_personal(header: &Header, agent_id: &AgentId) -> bool {
    header.destination == Address::Agent(agent_id.clone()) || header.mentions.contains(agent_id)
}

/// About how much memory a record takes.
pub(crate) fn bytes_of(record: &Record) -> usize {
    let length = |json: &Json| json.as_str().len();
    512 + record.body.as_ref().map_or(0, |body| {
        let beside = [&body.metadata, &body.aside].into_iter().flatten();
        length(&body.payload) + beside.map(length).sum::<usize>()
    })
}
