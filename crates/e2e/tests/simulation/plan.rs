//! What a round consists of: all of it follows from its seed.

use std::time::Duration;

use openagents_e2e::Dice;
use openagents_server::{Durability, Keep, Retention, Unread};

/// A way in which a build could be broken; the checker must find each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Says that the disk has what it has not.
    AcknowledgesTooEarly,
    /// Hands over all events but some.
    LosesDeliveries,
    /// Hands over some events twice, as if they were others.
    DoublesDeliveries,
    /// Gives to one agent what is for another.
    LeaksMessages,
    /// Links answers to other questions.
    MixesAnswers,
    /// Forgets how far agents are.
    ForgetsCursors,
    /// Removes what agents have not read that were there lately.
    RemovesUnread,
    /// Does not tell what is removed.
    KeepsSilent,
    /// Forgets a record, and says nothing about it.
    LosesRecords,
}

impl Flaw {
    pub(crate) const ALL: [(&str, Self); 9] = [
        ("acknowledges_too_early", Self::AcknowledgesTooEarly),
        ("loses_deliveries", Self::LosesDeliveries),
        ("doubles_deliveries", Self::DoublesDeliveries),
        ("leaks_messages", Self::LeaksMessages),
        ("mixes_answers", Self::MixesAnswers),
        ("forgets_cursors", Self::ForgetsCursors),
        ("removes_unread", Self::RemovesUnread),
        ("keeps_silent", Self::KeepsSilent),
        ("loses_records", Self::LosesRecords),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, flaw)| *flaw)
    }

    /// What a workspace has to say of unread events for the flaw to matter; none: it need not remove anything.
    fn matters_where(self) -> Option<Unread> {
        match self {
            Self::RemovesUnread | Self::LosesRecords => Some(Unread::Kept),
            Self::KeepsSilent => Some(Unread::Removed),
            _ => None,
        }
    }
}

/// Which rounds have a workspace that removes what is old or too much. The others are played as if there were no such
/// thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Removing {
    /// Those of every third seed.
    #[default]
    Some,
    All,
    None,
}

impl Removing {
    /// As `SIMULATION_RETENTION` says: `some`, `all` or `none`.
    pub(crate) fn as_told() -> anyhow::Result<Self> {
        match std::env::var("SIMULATION_RETENTION").as_deref() {
            Err(_) | Ok("some") => Ok(Self::Some),
            Ok("all") => Ok(Self::All),
            Ok("none") => Ok(Self::None),
            Ok(other) => anyhow::bail!("SIMULATION_RETENTION is {other}, and none of some, all, none"),
        }
    }

    fn is_in(self, seed: u64) -> bool {
        match self {
            Self::Some => seed.is_multiple_of(3),
            Self::All => true,
            Self::None => false,
        }
    }
}

/// An agent of a round.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) name: String,
    /// How long its handlers take: most of the time, and now and then.
    pub(crate) pace: (Duration, Duration),
    /// What it does at the same time.
    pub(crate) hands: u64,
    /// Pause between two things it does, at most.
    pub(crate) rest_ms: u64,
    /// It wants `task.*` and nothing else.
    pub(crate) picky: bool,
}

/// A round.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) agents: Vec<Agent>,
    pub(crate) durability: Durability,
    /// Whether loops are stopped.
    pub(crate) guarded: bool,
    /// The latency of the network, at most.
    pub(crate) latency: Duration,
    /// How long there are faults.
    pub(crate) active: Duration,
    /// Pause between two faults, at most.
    pub(crate) calm_ms: u64,
    /// What is removed; none: nothing is.
    pub(crate) retention: Option<Retention>,
    pub(crate) flaw: Option<Flaw>,
}

impl Plan {
    pub(crate) fn new(seed: u64, flaw: Option<Flaw>, removing: Removing) -> Self {
        let mut dice = Dice::new(seed);
        let wanted = flaw.and_then(Flaw::matters_where);
        let retention = (wanted.is_some() || removing.is_in(seed)).then(|| retention(seed, wanted));
        let agents = (0..4 + dice.roll(4)).map(|number| Agent {
            name: format!("agent{number}"),
            pace: match dice.roll(5) {
                0 => (Duration::ZERO, Duration::from_millis(500)),
                1 => (Duration::from_millis(3), Duration::from_millis(50)),
                2 => (Duration::from_millis(20), Duration::from_secs(3)),
                _ => (Duration::ZERO, Duration::ZERO),
            },
            hands: 1 + dice.roll(3),
            rest_ms: dice.pick(&[50, 200, 1000]),
            picky: number == 3 && dice.once_in(2),
        });
        Self {
            seed,
            agents: agents.collect(),
            durability: if dice.once_in(3) {
                Durability::Os
            } else {
                Durability::Fsync
            },
            guarded: dice.once_in(2),
            latency: Duration::from_millis(dice.pick(&[2, 10, 60])),
            active: dice.milliseconds(8_000, 20_000),
            calm_ms: dice.pick(&[500, 2_000, 5_000]),
            retention,
            flaw,
        }
    }
}

/// Little is kept, so that much is removed. It has dice of its own: the rest of the round is what it is without it.
fn retention(seed: u64, unread: Option<Unread>) -> Retention {
    const DAY: Duration = Duration::from_hours(24);
    let mut dice = Dice::new(seed ^ 0x0bb_e15);
    let mut retention = Retention::default();
    let aged = |max_age| Keep {
        max_age: Some(max_age),
        ..Keep::default()
    };
    let counted = |max_events| Keep {
        max_events: Some(max_events),
        ..Keep::default()
    };
    match dice.roll(4) {
        0 => retention.workspace = aged(5 * DAY),
        1 => retention.workspace = counted(50 + dice.roll(200)),
        2 => retention.workspace.max_bytes = Some(100_000 + dice.roll(200_000)),
        _ => retention.each_channel = counted(5 + dice.roll(40)),
    }
    if dice.once_in(2) {
        retention.each_channel.max_bytes = Some(5_000 + dice.roll(20_000));
    }
    let own = match dice.roll(3) {
        0 => Keep::default(),
        1 => counted(5),
        _ => aged(DAY / 24),
    };
    let room = "room0".parse().expect("a legal name");
    retention.channels.insert(room, own);
    retention.unread = match unread {
        Some(unread) => unread,
        None if dice.once_in(3) => Unread::Removed,
        None => Unread::Kept,
    };
    retention.at_least = Duration::from_secs(1);
    retention.every = dice.milliseconds(200, 2_000);
    retention
}
