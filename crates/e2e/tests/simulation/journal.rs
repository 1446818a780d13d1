//! What happened in a round, in order, as those concerned saw it.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

/// Something that somebody saw or did.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fact {
    /// A process began; it is another life of the same agent or server.
    Began,
    /// A session began; everything up to this cursor counts as handled.
    Connected { cursor: u64 },
    /// An event was handed to the client library.
    Sent {
        id: String,
        destination: String,
        text: String,
    },
    /// It was acknowledged at this sequence; held events are not delivered.
    Accepted { id: String, sequence: u64 },
    /// It was refused; `nothing_happened` unless the outcome is unknown.
    Refused {
        id: String,
        code: String,
        nothing_happened: bool,
    },
    /// A handler was called.
    Handling {
        id: String,
        sequence: u64,
        source: String,
    },
    /// The handler returned.
    Handled { id: String },
    /// A question was sent, which says this.
    Asked { text: String, whom: String },
    /// The wait of a question returned an event.
    Answered { question: String, answer: Answer },
    /// The wait of a question returned nothing.
    Unanswered { question: String, why: String },
    /// A fault was made.
    Fault(String),
    /// The machine of the server lost its power: what the disk had not synced is gone.
    PowerCut,
    /// The faults are long over and everybody is through with everything: the next power cut takes nothing.
    Settled,
    /// What the disk knows of how far the agents are, when the server opens it.
    Cursors(Vec<(String, u64)>),
    /// A record was stored that says what is removed.
    Removed { sequence: u64 },
    /// An agent was told that events after this one are removed, by place.
    Told { after: u64, places: Vec<(String, u64)> },
    /// Something broke a rule the moment it happened.
    Broken(String),
}

/// The event that a wait returned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Answer {
    pub(crate) id: String,
    pub(crate) sequence: u64,
    pub(crate) source: String,
    pub(crate) linked: bool,
    pub(crate) text: String,
}

/// A fact, whose it is, and when.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) at_ms: u64,
    pub(crate) who: String,
    pub(crate) life: u32,
    pub(crate) fact: Fact,
}

impl fmt::Display for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at_ms,
            who,
            life,
            fact,
        } = self;
        write!(formatter, "{at_ms:>8} {who}/{life} {fact:?}")
    }
}

/// The facts of a round.
#[derive(Debug, Default)]
pub(crate) struct Journal(Mutex<Vec<Entry>>);

impl Journal {
    pub(crate) fn write(&self, entry: Entry) {
        self.0.lock().expect("poisoned").push(entry);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().expect("poisoned").len()
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.0.lock().expect("poisoned").clone()
    }
}

/// One number for a whole round: two runs that differ anywhere have different ones.
pub(crate) fn trace(entries: &[Entry]) -> u64 {
    // This hasher starts the same every time.
    let mut hasher = DefaultHasher::new();
    entries.hash(&mut hasher);
    hasher.finish()
}
