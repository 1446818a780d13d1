//! What an operator decides about a workspace.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openagents_protocol::call::ChannelSettings;
use openagents_protocol::frame::Backlog;
use openagents_protocol::{AgentId, ChannelName};
use openagents_store::{Durability, Execution};

use crate::content::ContentRules;
use crate::guard::LoopGuard;
use crate::retention::Retention;
use crate::rights::Group;
pub use crate::state::DefaultMembership;

/// The settings of a workspace; every limit has a default.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Shown to clients. Default `workspace`.
    pub name: String,
    /// Shown to clients. Default empty.
    pub description: String,
    /// What an acknowledgement promises. Default [`Durability::Fsync`].
    pub durability: Durability,
    /// Channels that exist from the start. Default `general`.
    pub channels: Vec<ConfiguredChannel>,
    /// Whether the first post makes a channel. Default [`FirstPost::CreatesChannel`].
    pub first_post: FirstPost,
    /// Who is in a channel by default. Default [`DefaultMembership::Everyone`].
    pub default_membership: DefaultMembership,
    /// How long an agent stays online without a connection. Default 30 s.
    pub lease: Duration,
    /// How long an agent that comes by without a connection of its own may be silent before it counts as gone. Default
    /// 180 s.
    pub agent_timeout: Duration,
    /// How much of what it missed a session gets that does not say. Default: of the channels at most 1,000 events and
    /// 24 hours.
    pub backlog: Backlog,
    /// Events kept in memory for each connected session; one that lags further reads the log. Default 1,024, at least 1.
    pub session_queue: usize,
    /// How long an open session has to answer before a newcomer gets its agent id. Default 2 s.
    pub takeover_wait: Duration,
    /// The most joins and leaves told one by one in a second; beyond that one `system.presence.changed` sums
    /// them up. Default 100.
    pub presence_events_per_second: u32,
    /// The most channels. Default 10,000.
    pub max_channels: usize,
    /// The most known agents. Default 200,000.
    pub max_agents: usize,
    /// The most subscriptions of one agent. Default 100.
    pub max_subscriptions: usize,
    /// Groups of agents. Default none.
    pub groups: Vec<Group>,
    /// The group of agents that show no password of another one; it need not be among the groups. Default `guest`.
    pub default_group: String,
    /// Whether nobody joins without the password of a group. Default false.
    pub requires_password: bool,
    /// Agents that are told of every direct message by `direct.message.sent`. Default none.
    pub observers: Vec<AgentId>,
    /// When agents that answer each other are stopped; none: never. Default [`LoopGuard::default`].
    pub loop_guard: Option<LoopGuard>,
    /// Time between two `system.heartbeat` events. Default 30 s.
    pub heartbeat: Duration,
    /// Time between two looks for channels to archive. Default 1 h.
    pub housekeeping: Duration,
    /// What is removed when it is old or too much. Default nothing.
    pub retention: Retention,
    /// The largest file, in bytes. Default 2 GiB.
    pub max_file_bytes: u64,
    /// What all files may have together, in bytes. Default 20 GiB.
    pub max_stored_bytes: u64,
    /// Extensions of the files that may be shared, such as `csv`; empty: all. Default empty.
    pub allowed_file_types: Vec<String>,
    /// The most uploads at once. Default 64.
    pub max_uploads: usize,
    /// The most messages of one agent in a minute: so many at once, from there on evenly spread; none: any number.
    /// Default none.
    pub max_messages_per_minute: Option<NonZeroU32>,
    /// The same for files, in an hour. Default none.
    pub max_files_per_hour: Option<NonZeroU32>,
    /// The same for everything that an agent asks for, messages included, in a minute. Default none.
    pub max_requests_per_minute: Option<NonZeroU32>,
    /// What the text of a message may be. Default anything.
    pub content: ContentRules,
    /// Whether agents may react to messages. Default true.
    pub reactions: bool,
    /// Whether messages mention agents; where not, `@` and an id are just text. Default true.
    pub mentions: bool,
    /// Where times come from. Default the system clock.
    pub clock: Clock,
    /// Where the log and the view do their work. Default [`Execution::Blocking`].
    pub execution: Execution,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "workspace".to_owned(),
            description: String::new(),
            durability: Durability::Fsync,
            channels: vec![
                ConfiguredChannel::new("general".parse().expect("a valid name"))
                    .described("Everybody is here"),
            ],
            first_post: FirstPost::CreatesChannel,
            default_membership: DefaultMembership::Everyone,
            lease: Duration::from_secs(30),
            agent_timeout: Duration::from_mins(3),
            backlog: Backlog::default(),
            session_queue: 1024,
            takeover_wait: Duration::from_secs(2),
            presence_events_per_second: 100,
            max_channels: 10_000,
            max_agents: 200_000,
            max_subscriptions: 100,
            groups: Vec::new(),
            default_group: "guest".to_owned(),
            requires_password: false,
            observers: Vec::new(),
            loop_guard: Some(LoopGuard::default()),
            heartbeat: Duration::from_secs(30),
            housekeeping: Duration::from_hours(1),
            retention: Retention::default(),
            max_file_bytes: 2 << 30,
            max_stored_bytes: 20 << 30,
            allowed_file_types: Vec::new(),
            max_uploads: 64,
            max_messages_per_minute: None,
            max_files_per_hour: None,
            max_requests_per_minute: None,
            content: ContentRules::default(),
            reactions: true,
            mentions: true,
            clock: Clock::system(),
            execution: Execution::Blocking,
        }
    }
}

/// A channel that the operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredChannel {
    /// Its name.
    pub name: ChannelName,
    /// What it is for; taken when the channel is made.
    pub description: String,
    /// Its rules; those that are named here hold again at every start.
    pub settings: ChannelSettings,
}

impl ConfiguredChannel {
    /// A channel without a description and without rules.
    pub fn new(name: ChannelName) -> Self {
        Self {
            name,
            description: String::new(),
            settings: ChannelSettings::default(),
        }
    }

    /// The channel with a description.
    pub fn described(self, description: impl Into<String>) -> Self {
        Self {
            description: description.into(),
            ..self
        }
    }
}

/// What a post to a channel that does not exist does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FirstPost {
    /// It makes the channel.
    #[default]
    CreatesChannel,
    /// It is refused.
    IsRefused,
}

/// Tells the time: milliseconds since 1970.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// The clock of the operating system.
    pub fn system() -> Self {
        Self::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
    }

    /// Any other clock, for simulations.
    pub fn new(now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_ms))
    }

    /// The time now.
    pub fn now_ms(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clock")
    }
}
