//! What the log says is true now: agents, channels, memberships, subscriptions, tokens.
//!
//! State is built from headers alone and changed by [`State::apply`] alone. Cloning shares everything, so the
//! writer decides against a private copy while readers keep the committed one.

use std::sync::Arc;

use crate::rights::Group;
use crate::rights::permission::READ_CHANNELS;
use crate::settings::Settings;
use imbl::{HashMap, HashSet, OrdMap};
use openagents_protocol::call::{ChannelPermissions, ChannelSettings};
use openagents_protocol::record::{Act, AgentKey, TokenGrant};
use openagents_protocol::{Address, AgentId, ChannelName, EventId, Header, Json, Pattern, Sequence, Source};
use openagents_store::view::{
    AgentRow, ChannelRow, Loaded, MembershipRow, Span, StateChange, SubscriptionRow, TokenRow,
};

/// Who is a member of a channel that it neither joined nor left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DefaultMembership {
    /// Everybody, from the moment they became known.
    #[default]
    Everyone,
    /// Nobody.
    Nobody,
}

/// The status of an agent that is connected and said nothing else.
pub(crate) const ONLINE: &str = "online";

/// What the log says is true now.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) default_membership: DefaultMembership,
    pub(crate) agents: HashMap<AgentId, Arc<Agent>>,
    pub(crate) channels: OrdMap<ChannelName, Arc<Channel>>,
    /// By hash.
    pub(crate) tokens: HashMap<String, Arc<TokenRow>>,
    /// Agents that are online.
    pub(crate) online: usize,
    /// Bytes that all files have.
    pub(crate) file_bytes: u64,
    /// Groups whose agents may not read channels.
    pub(crate) blind_groups: Arc<HashSet<String>>,
    /// How far what was sent is removed.
    pub(crate) horizons: Horizons,
    /// How long an agent is away before it counts as gone for good, in milliseconds.
    pub(crate) away_ms: u64,
    /// How often an agent came back that had been away for longer than that.
    pub(crate) returned: u64,
}

/// Through where what was sent to each place is removed. Nothing of a place before its horizon is listed any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Horizons {
    channels: OrdMap<ChannelName, Sequence>,
    inboxes: HashMap<AgentId, Sequence>,
    everyone: Sequence,
    /// How often one of them moved.
    pub(crate) moves: u64,
}

impl Horizons {
    /// That of a place; zero where nothing was ever removed.
    pub(crate) fn of(&self, place: &Address) -> Sequence {
        let found = match place {
            Address::Channel(channel) => self.channels.get(channel),
            Address::Agent(agent) => self.inboxes.get(agent),
            Address::Everyone => Some(&self.everyone),
            Address::System | Address::Mod(_) => None,
        };
        found.copied().unwrap_or_default()
    }

    /// The channels of which something is removed.
    pub(crate) fn channels(&self) -> impl Iterator<Item = (&ChannelName, Sequence)> {
        self.channels.iter().map(|(channel, through)| (channel, *through))
    }

    /// All places of which something is removed.
    pub(crate) fn all(&self) -> Vec<(Address, Sequence)> {
        let channels = self
            .channels()
            .map(|(name, through)| (Address::Channel(name.clone()), through));
        let inboxes = self
            .inboxes
            .iter()
            .map(|(id, through)| (Address::Agent(id.clone()), *through));
        let everyone = (self.everyone != Sequence::ZERO).then_some((Address::Everyone, self.everyone));
        channels.chain(inboxes).chain(everyone).collect()
    }

    fn advance(&mut self, place: &Address, through: Sequence) {
        let through = through.max(self.of(place));
        self.moves += 1;
        match place {
            Address::Channel(channel) => drop(self.channels.insert(channel.clone(), through)),
            Address::Agent(agent) => drop(self.inboxes.insert(agent.clone(), through)),
            Address::Everyone => self.everyone = through,
            Address::System | Address::Mod(_) => {}
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) first_sequence: Sequence,
    pub(crate) metadata: Json,
    pub(crate) generated: bool,
    pub(crate) presence: Presence,
    pub(crate) joined_ms: u64,
    pub(crate) last_seen_ms: u64,
    /// What it does, where it said so.
    pub(crate) status: Option<String>,
    /// The group it is in; none: the default group.
    pub(crate) group: Option<String>,
    /// What proves it when it comes by without a connection of its own.
    pub(crate) key: Option<AgentKey>,
    pub(crate) subscriptions: Vec<Subscription>,
}

impl Agent {
    /// Whether it says of itself that it is a human.
    pub(crate) fn is_human(&self) -> bool {
        self.metadata.get("type").and_then(|kind| kind.as_str()) == Some("human")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Online,
    Offline,
}

#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) id: EventId,
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) channels: Option<Vec<ChannelName>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Channel {
    pub(crate) description: String,
    pub(crate) creator: Source,
    pub(crate) created_ms: u64,
    /// What was sent to a channel of this name before belongs to one that was deleted.
    pub(crate) created_at: Sequence,
    pub(crate) topic: String,
    pub(crate) settings: ChannelSettings,
    pub(crate) permissions: ChannelPermissions,
    pub(crate) archived: bool,
    /// Those that joined or left by themselves; everybody else follows the default.
    pub(crate) spans: HashMap<AgentId, Arc<Vec<Span>>>,
}

/// Why a committed record changes nothing: its precondition did not hold at its sequence.
///
/// With a log that several nodes append to, this is the same on every node; with an exclusive one it does not
/// happen, because the decision was made against the very same state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Void(pub(crate) &'static str);

impl State {
    /// The state that the view kept.
    pub(crate) fn load(loaded: &Loaded, settings: &Settings) -> Self {
        let default_membership = settings.default_membership;
        let blind = |group: &&Group| group.permissions.is_some() && !group.names(READ_CHANNELS);
        let blind_groups = settings
            .groups
            .iter()
            .filter(blind)
            .map(|group| group.name.clone());
        let mut state = Self {
            default_membership,
            file_bytes: loaded.file_bytes,
            blind_groups: Arc::new(blind_groups.collect()),
            away_ms: u64::try_from(settings.retention.away.as_millis()).unwrap_or(u64::MAX),
            ..Self::default()
        };
        for (place, through) in &loaded.horizons {
            state.horizons.advance(place, *through);
        }
        for row in &loaded.agents {
            let presence = if row.online {
                Presence::Online
            } else {
                Presence::Offline
            };
            state.online += usize::from(row.online);
            let agent = Agent {
                first_sequence: row.first_sequence,
                metadata: row.metadata.clone(),
                generated: row.generated,
                presence,
                joined_ms: row.joined_ms,
                last_seen_ms: row.last_seen_ms,
                status: row.status.clone(),
                group: row.group.clone(),
                key: row.key.clone(),
                subscriptions: Vec::new(),
            };
            state.agents.insert(row.agent_id.clone(), Arc::new(agent));
        }
        for row in &loaded.channels {
            let channel = Channel {
                description: row.description.clone(),
                creator: row.creator.clone(),
                created_ms: row.created_ms,
                created_at: row.created_at,
                topic: row.topic.clone(),
                settings: row.settings.clone(),
                permissions: row.permissions.clone(),
                archived: row.archived,
                spans: HashMap::new(),
            };
            state.channels.insert(row.channel.clone(), Arc::new(channel));
        }
        for row in &loaded.memberships {
            if let Some(channel) = state.channels.get_mut(&row.channel) {
                Arc::make_mut(channel)
                    .spans
                    .insert(row.agent_id.clone(), Arc::new(row.spans.clone()));
            }
        }
        for row in &loaded.subscriptions {
            if let Some(agent) = state.agents.get_mut(&row.agent_id) {
                let (id, patterns, channels) = (row.id.clone(), row.patterns.clone(), row.channels.clone());
                Arc::make_mut(agent).subscriptions.push(Subscription {
                    id,
                    patterns,
                    channels,
                });
            }
        }
        for row in &loaded.tokens {
            state.tokens.insert(row.grant.hash.clone(), Arc::new(row.clone()));
        }
        state
    }

    /// Whether an agent is a member of a channel now.
    pub(crate) fn is_member(&self, agent_id: &AgentId, name: &ChannelName) -> bool {
        self.channels
            .get(name)
            .is_some_and(|channel| self.in_channel(agent_id, channel))
    }

    /// [`State::is_member`] with the channel at hand.
    pub(crate) fn in_channel(&self, agent_id: &AgentId, channel: &Channel) -> bool {
        match channel.spans.get(agent_id) {
            Some(spans) => spans.last().is_some_and(|span| span.to.is_none()),
            None => self.has_everyone(channel),
        }
    }

    /// Whether everybody is in a channel who neither joined nor left it.
    fn has_everyone(&self, channel: &Channel) -> bool {
        self.default_membership == DefaultMembership::Everyone && channel.settings.most_members().is_none()
    }

    /// Whether the group of an agent keeps it from reading channels.
    pub(crate) fn is_blind(&self, agent_id: &AgentId) -> bool {
        let group = || self.agents.get(agent_id)?.group.as_ref();
        !self.blind_groups.is_empty() && group().is_some_and(|group| self.blind_groups.contains(group))
    }

    /// Whether an agent was a member of a channel when this sequence was committed.
    pub(crate) fn was_member(&self, agent_id: &AgentId, name: &ChannelName, at: Sequence) -> bool {
        let Some(channel) = self.channels.get(name).filter(|channel| channel.created_at <= at) else {
            return false;
        };
        match channel.spans.get(agent_id) {
            Some(spans) => spans
                .iter()
                .any(|span| span.from <= at && span.to.is_none_or(|to| at < to)),
            None if self.has_everyone(channel) => self
                .agents
                .get(agent_id)
                .is_none_or(|agent| agent.first_sequence <= at),
            None => false,
        }
    }

    /// Whether there is a token of this id.
    pub(crate) fn has_token(&self, id: &EventId) -> bool {
        self.tokens.values().any(|token| token.grant.id == *id)
    }

    /// How many agents are members of a channel.
    pub(crate) fn members(&self, channel: &Channel) -> usize {
        let inside = |spans: &Arc<Vec<Span>>| spans.last().is_some_and(|span| span.to.is_none());
        if !self.has_everyone(channel) {
            return channel.spans.values().filter(|spans| inside(spans)).count();
        }
        let outside = channel
            .spans
            .iter()
            .filter(|(id, spans)| !inside(spans) && self.agents.contains_key(*id));
        self.agents.len() - outside.count()
    }

    /// Takes a committed record into account, and tells what the view has to keep.
    ///
    /// # Errors
    ///
    /// [`Void`] where the record's precondition does not hold; nothing is changed then.
    pub(crate) fn apply(&mut self, header: &Header, at: Sequence) -> Result<Vec<StateChange>, Void> {
        match (&header.act, header.source.agent()) {
            (act, _) if !is_built_from(act) => Ok(Vec::new()),
            (Act::FileShared { size }, _) => Ok(self.set_file_bytes(self.file_bytes.saturating_add(*size))),
            (Act::FileDeleted { size, .. }, _) => {
                Ok(self.set_file_bytes(self.file_bytes.saturating_sub(*size)))
            }
            (Act::ChannelTopicChanged { channel, topic }, _) => {
                self.change_channel(channel, |channel| channel.topic.clone_from(topic))
            }
            (Act::ChannelConfigured { channel, settings }, author) => {
                self.configure_channel(channel, settings, author, at)
            }
            (Act::ChannelPermissionsChanged { channel, permissions }, _) => {
                self.change_channel(channel, |channel| channel.permissions.clone_from(permissions))
            }
            (Act::ChannelArchived { channel, archived }, _) => {
                self.change_channel(channel, |channel| channel.archived = *archived)
            }
            (Act::ChannelDeleted { channel }, _) => {
                self.channels
                    .remove(channel)
                    .ok_or(Void("the channel does not exist"))?;
                Ok(vec![StateChange::RemoveChannel(channel.clone())])
            }
            (Act::HistoryRemoved { place, through, .. }, _) => {
                self.horizons.advance(place, *through);
                Ok(vec![StateChange::PutHorizon(
                    place.clone(),
                    self.horizons.of(place),
                )])
            }
            (Act::TokenCreated(grant), _) => Ok(self.put_token(grant, header.time_ms)),
            (Act::TokenRevoked { id }, _) => self.revoke_token(id),
            (Act::ChannelCreated { channel, description }, _) => {
                self.create_channel(header, channel, description, at)
            }
            (act, Some(agent)) => self.apply_agent_act(header, act, agent, at),
            (_, None) => Err(Void("only an agent does this")),
        }
    }

    fn apply_agent_act(
        &mut self,
        header: &Header,
        act: &Act,
        agent_id: &AgentId,
        at: Sequence,
    ) -> Result<Vec<StateChange>, Void> {
        match act {
            Act::AgentRegistered {} => {
                if self.agents.contains_key(agent_id) {
                    return Err(Void("the agent is known"));
                }
                let agent = new_agent(Json::empty_object(), false, Presence::Offline, header.time_ms, at);
                Ok(vec![self.put_agent(agent_id, agent)])
            }
            Act::AgentJoined { metadata, generated } => {
                let known = self.agents.get(agent_id);
                let seen_ms = known
                    .filter(|known| known.presence == Presence::Offline)
                    .map(|known| known.last_seen_ms);
                if seen_ms.is_some_and(|seen_ms| self.away_ms <= header.time_ms.saturating_sub(seen_ms)) {
                    self.returned += 1;
                }
                let agent = match self.agents.get(agent_id) {
                    None => new_agent(metadata.clone(), *generated, Presence::Online, header.time_ms, at),
                    Some(known) => Agent {
                        metadata: metadata.clone(),
                        presence: Presence::Online,
                        joined_ms: match known.presence {
                            Presence::Online => known.joined_ms,
                            Presence::Offline => header.time_ms,
                        },
                        last_seen_ms: header.time_ms,
                        ..Agent::clone(known)
                    },
                };
                Ok(vec![self.put_agent(agent_id, agent)])
            }
            Act::AgentLeft { .. } => {
                let known = self.agents.get(agent_id).ok_or(Void("the agent is unknown"))?;
                if known.presence == Presence::Offline {
                    return Err(Void("the agent is offline"));
                }
                if known.generated {
                    return Ok(self.remove_agent(agent_id));
                }
                let agent = Agent {
                    presence: Presence::Offline,
                    last_seen_ms: header.time_ms,
                    ..Agent::clone(known)
                };
                Ok(vec![self.put_agent(agent_id, agent)])
            }
            Act::AgentGroupChanged { group } => {
                self.change_agent(agent_id, |agent| agent.group = Some(group.clone()))
            }
            Act::AgentKeyed { key } => self.change_agent(agent_id, |agent| agent.key.clone_from(key)),
            Act::AgentStatusChanged { status } => {
                let status = (status != ONLINE).then(|| status.clone());
                self.change_agent(agent_id, |agent| agent.status = status)
            }
            Act::AgentMetadataUpdated { metadata } => {
                self.change_agent(agent_id, |agent| agent.metadata = metadata.clone())
            }
            Act::ChannelJoined { channel } => self.set_membership(channel, agent_id, at, Membership::Inside),
            Act::ChannelLeft { channel } => self.set_membership(channel, agent_id, at, Membership::Outside),
            Act::Subscribed {
                id,
                patterns,
                channels,
            } => {
                let agent = self
                    .agents
                    .get_mut(agent_id)
                    .ok_or(Void("the agent is unknown"))?;
                let (patterns, channels) = (patterns.clone(), channels.clone());
                let row = SubscriptionRow {
                    id: id.clone(),
                    agent_id: agent_id.clone(),
                    patterns,
                    channels,
                };
                let (patterns, channels) = (row.patterns.clone(), row.channels.clone());
                Arc::make_mut(agent).subscriptions.push(Subscription {
                    id: id.clone(),
                    patterns,
                    channels,
                });
                Ok(vec![StateChange::PutSubscription(row)])
            }
            Act::Unsubscribed { id } => {
                let agent = self
                    .agents
                    .get_mut(agent_id)
                    .ok_or(Void("the agent is unknown"))?;
                Arc::make_mut(agent)
                    .subscriptions
                    .retain(|subscription| subscription.id != *id);
                Ok(vec![StateChange::RemoveSubscription(id.clone())])
            }
            _ => Err(Void("a record of a later version")),
        }
    }

    fn create_channel(
        &mut self,
        header: &Header,
        name: &ChannelName,
        description: &str,
        at: Sequence,
    ) -> Result<Vec<StateChange>, Void> {
        if self.channels.contains_key(name) {
            return Err(Void("the channel exists"));
        }
        let channel = Channel {
            description: description.to_owned(),
            creator: header.source.clone(),
            created_ms: header.time_ms,
            created_at: at,
            topic: String::new(),
            settings: ChannelSettings::default(),
            permissions: ChannelPermissions::default(),
            archived: false,
            spans: HashMap::new(),
        };
        let mut changes = vec![StateChange::PutChannel(channel_row(name, &channel))];
        self.channels.insert(name.clone(), Arc::new(channel));
        if let Some(creator) = header.source.agent()
            && self.default_membership == DefaultMembership::Nobody
        {
            changes.extend(self.set_membership(name, creator, at, Membership::Inside)?);
        }
        Ok(changes)
    }

    /// Changes the rules of a channel. Where they leave only those inside who join by themselves, who made these rules
    /// stays inside.
    fn configure_channel(
        &mut self,
        name: &ChannelName,
        settings: &ChannelSettings,
        author: Option<&AgentId>,
        at: Sequence,
    ) -> Result<Vec<StateChange>, Void> {
        let inside = author.filter(|author| self.is_member(author, name));
        let mut changes = self.change_channel(name, |channel| channel.settings.clone_from(settings))?;
        if let Some(author) = inside
            && !self.is_member(author, name)
        {
            changes.extend(self.set_membership(name, author, at, Membership::Inside)?);
        }
        Ok(changes)
    }

    fn set_membership(
        &mut self,
        name: &ChannelName,
        agent_id: &AgentId,
        at: Sequence,
        wanted: Membership,
    ) -> Result<Vec<StateChange>, Void> {
        let channel = self
            .channels
            .get(name)
            .ok_or(Void("the channel does not exist"))?;
        if self.in_channel(agent_id, channel) == (wanted == Membership::Inside) {
            return Err(Void("nothing changes"));
        }
        let mut spans = match channel.spans.get(agent_id) {
            Some(spans) => Vec::clone(spans),
            // The default becomes explicit: whoever leaves was inside since it became known.
            None if wanted == Membership::Outside => {
                let from = self
                    .agents
                    .get(agent_id)
                    .map_or(Sequence::ZERO, |agent| agent.first_sequence);
                vec![Span { from, to: None }]
            }
            None => Vec::new(),
        };
        match wanted {
            Membership::Inside => spans.push(Span { from: at, to: None }),
            Membership::Outside => {
                if let Some(open) = spans.last_mut() {
                    open.to = Some(at);
                }
            }
        }
        let row = MembershipRow {
            channel: name.clone(),
            agent_id: agent_id.clone(),
            spans: spans.clone(),
        };
        let channel = self
            .channels
            .get_mut(name)
            .ok_or(Void("the channel does not exist"))?;
        Arc::make_mut(channel)
            .spans
            .insert(agent_id.clone(), Arc::new(spans));
        Ok(vec![StateChange::PutMembership(row)])
    }

    fn change_channel(
        &mut self,
        name: &ChannelName,
        change: impl FnOnce(&mut Channel),
    ) -> Result<Vec<StateChange>, Void> {
        let channel = self
            .channels
            .get_mut(name)
            .ok_or(Void("the channel does not exist"))?;
        let channel = Arc::make_mut(channel);
        change(channel);
        Ok(vec![StateChange::PutChannel(channel_row(name, channel))])
    }

    fn change_agent(
        &mut self,
        agent_id: &AgentId,
        change: impl FnOnce(&mut Agent),
    ) -> Result<Vec<StateChange>, Void> {
        let mut agent = self
            .agents
            .get(agent_id)
            .map(|agent| Agent::clone(agent))
            .ok_or(Void("the agent is unknown"))?;
        change(&mut agent);
        Ok(vec![self.put_agent(agent_id, agent)])
    }

    fn set_file_bytes(&mut self, bytes: u64) -> Vec<StateChange> {
        self.file_bytes = bytes;
        vec![StateChange::PutFileBytes(bytes)]
    }

    fn put_agent(&mut self, agent_id: &AgentId, agent: Agent) -> StateChange {
        let row = AgentRow {
            agent_id: agent_id.clone(),
            first_sequence: agent.first_sequence,
            metadata: agent.metadata.clone(),
            generated: agent.generated,
            online: agent.presence == Presence::Online,
            joined_ms: agent.joined_ms,
            last_seen_ms: agent.last_seen_ms,
            status: agent.status.clone(),
            group: agent.group.clone(),
            key: agent.key.clone(),
        };
        let is_online = usize::from(agent.presence == Presence::Online);
        let before = self.agents.insert(agent_id.clone(), Arc::new(agent));
        let was_online = usize::from(before.is_some_and(|agent| agent.presence == Presence::Online));
        self.online = self.online + is_online - was_online;
        StateChange::PutAgent(row)
    }

    fn remove_agent(&mut self, agent_id: &AgentId) -> Vec<StateChange> {
        let Some(agent) = self.agents.remove(agent_id) else {
            return Vec::new();
        };
        self.online -= usize::from(agent.presence == Presence::Online);
        let ended = agent
            .subscriptions
            .iter()
            .map(|subscription| StateChange::RemoveSubscription(subscription.id.clone()));
        std::iter::once(StateChange::RemoveAgent(agent_id.clone()))
            .chain(ended)
            .collect()
    }

    fn put_token(&mut self, grant: &TokenGrant, created_ms: u64) -> Vec<StateChange> {
        let row = TokenRow {
            grant: grant.clone(),
            created_ms,
            revoked: false,
        };
        self.tokens.insert(grant.hash.clone(), Arc::new(row.clone()));
        vec![StateChange::PutToken(row)]
    }

    fn revoke_token(&mut self, id: &EventId) -> Result<Vec<StateChange>, Void> {
        let found = self.tokens.values().find(|token| token.grant.id == *id).cloned();
        let token = found.ok_or(Void("the token does not exist"))?;
        self.tokens.remove(&token.grant.hash);
        Ok(vec![StateChange::RemoveToken(id.clone())])
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Membership {
    Inside,
    Outside,
}

fn new_agent(metadata: Json, generated: bool, presence: Presence, time_ms: u64, at: Sequence) -> Agent {
    Agent {
        first_sequence: at,
        metadata,
        generated,
        presence,
        joined_ms: time_ms,
        last_seen_ms: time_ms,
        status: None,
        group: None,
        key: None,
        subscriptions: Vec::new(),
    }
}

fn channel_row(name: &ChannelName, channel: &Channel) -> ChannelRow {
    ChannelRow {
        channel: name.clone(),
        description: channel.description.clone(),
        creator: channel.creator.clone(),
        created_ms: channel.created_ms,
        created_at: channel.created_at,
        topic: channel.topic.clone(),
        settings: channel.settings.clone(),
        permissions: channel.permissions.clone(),
        archived: channel.archived,
    }
}

/// Whether the state is built from a record, so that the log has to keep it.
pub(crate) fn is_built_from(act: &Act) -> bool {
    !matches!(
        act,
        Act::Message { .. }
            | Act::Held { .. }
            | Act::MessageEdited { .. }
            | Act::MessageDeleted { .. }
            | Act::ReactionAdded { .. }
            | Act::ReactionRemoved { .. }
            | Act::Event {}
    )
}
