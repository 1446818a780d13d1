//! Who is to be given what, worked out anew from the log: a second opinion, which shares no code with the workspace.

use std::collections::{BTreeMap, BTreeSet};

use openagents_protocol::record::{Act, Record};
use openagents_protocol::{Address, Pattern, Visibility};

/// What the log says of agents, channels and subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Agents by the sequence at which they became known.
    known: BTreeMap<String, u64>,
    /// Comings and goings by agent and channel. Who never left is a member.
    moves: BTreeMap<(String, String), Vec<(u64, Move)>>,
    /// Subscriptions by agent. In these rounds they are made once and stay.
    subscriptions: BTreeMap<String, (u64, Vec<Pattern>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    In,
    Out,
}

/// Who is concerned by a record.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Audience {
    /// They get it, sooner or later.
    pub(crate) must: BTreeSet<String>,
    /// They and nobody else may get it.
    pub(crate) may: BTreeSet<String>,
}

impl Model {
    pub(crate) fn of(log: &[Record]) -> Self {
        let mut model = Self::default();
        for record in log {
            let (at, author) = (record.sequence.get(), record.header.source.to_string());
            match &record.header.act {
                Act::AgentJoined { .. } | Act::AgentRegistered {} => {
                    model.known.entry(author).or_insert(at);
                }
                Act::ChannelJoined { channel } => model.moved(author, channel.as_str(), at, Move::In),
                Act::ChannelLeft { channel } => model.moved(author, channel.as_str(), at, Move::Out),
                Act::Subscribed { patterns, .. } => {
                    model
                        .subscriptions
                        .entry(author)
                        .or_insert((at, patterns.clone()));
                }
                _ => {}
            }
        }
        model
    }

    fn moved(&mut self, agent: String, channel: &str, at: u64, moved: Move) {
        let key = (agent, channel.to_owned());
        self.moves.entry(key).or_default().push((at, moved));
    }

    /// Who is concerned by an event that an agent sent.
    pub(crate) fn audience(&self, record: &Record) -> Audience {
        let header = &record.header;
        let mut audience = Audience::default();
        if !matches!(header.act, Act::Message { .. } | Act::Event {}) {
            return audience;
        }
        let at = record.sequence.get();
        for (agent, known) in &self.known {
            let agent = agent.as_str();
            let echo = header.source.as_str() == agent;
            let unknown = at <= *known;
            let allowed = header.allowed_agents.as_ref();
            let hidden = header.visibility == Visibility::Restricted
                && !allowed.is_some_and(|allowed| allowed.iter().any(|name| name.as_str() == agent));
            if echo || unknown || hidden {
                continue;
            }
            let (may, must) = match &header.destination {
                Address::Agent(addressee) => {
                    let is_for_it = addressee.as_str() == agent;
                    (is_for_it, is_for_it)
                }
                Address::Channel(channel) => self.membership(agent, channel.as_str(), at),
                Address::Everyone => (true, true),
                Address::System | Address::Mod(_) => (false, false),
            };
            let selected = self.selected(agent, record);
            if may && selected != Some(false) {
                audience.may.insert(agent.to_owned());
            }
            if must && selected == Some(true) {
                audience.must.insert(agent.to_owned());
            }
        }
        audience
    }

    /// Whether an agent was in a channel then, and whether it stayed.
    fn membership(&self, agent: &str, channel: &str, at: u64) -> (bool, bool) {
        let moves = self.moves.get(&(agent.to_owned(), channel.to_owned()));
        let moves = moves.map_or(&[][..], Vec::as_slice);
        let before = moves.iter().rev().find(|(when, _)| *when < at);
        let inside = before.is_none_or(|(_, moved)| *moved == Move::In);
        let stayed = !moves
            .iter()
            .any(|(when, moved)| at < *when && *moved == Move::Out);
        (inside, inside && stayed)
    }

    /// Whether the subscriptions of an agent select a record; none while that depends on when it is delivered.
    fn selected(&self, agent: &str, record: &Record) -> Option<bool> {
        let Some((since, patterns)) = self.subscriptions.get(agent) else {
            return Some(true);
        };
        let header = &record.header;
        let answers = header.answers.iter().any(|asker| asker.as_str() == agent);
        let matches = patterns
            .iter()
            .any(|pattern| pattern.matches(header.name.as_str()));
        match (answers || matches, record.sequence.get() < *since) {
            (true, _) => Some(true),
            (false, true) => None,
            (false, false) => Some(false),
        }
    }
}
