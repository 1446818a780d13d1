//! What a round consists of: all of it follows from its seed.

use std::time::Duration;

use openagents_e2e::Dice;
use openagents_server::Durability;

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
}

impl Flaw {
    pub(crate) const ALL: [(&str, Self); 6] = [
        ("acknowledges_too_early", Self::AcknowledgesTooEarly),
        ("loses_deliveries", Self::LosesDeliveries),
        ("doubles_deliveries", Self::DoublesDeliveries),
        ("leaks_messages", Self::LeaksMessages),
        ("mixes_answers", Self::MixesAnswers),
        ("forgets_cursors", Self::ForgetsCursors),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, flaw)| *flaw)
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
    pub(crate) flaw: Option<Flaw>,
}

impl Plan {
    pub(crate) fn new(seed: u64, flaw: Option<Flaw>) -> Self {
        let mut dice = Dice::new(seed);
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
            flaw,
        }
    }
}
