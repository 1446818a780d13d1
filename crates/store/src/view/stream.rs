//! The sequences that belong together.

use std::hash::{Hash, Hasher};

use openagents_protocol::{AgentId, ChannelName, EventId};

/// A selection of the log that can be read and counted without looking at the rest of it.
#[derive(Clone, Debug)]
pub enum Stream {
    /// What was sent to a channel.
    Channel(ChannelName),
    /// What was sent to an agent.
    Inbox(AgentId),
    /// What mentions an agent.
    Mentions(AgentId),
    /// What two agents sent each other; their order is of no account.
    Conversation(AgentId, AgentId),
    /// What was sent to everyone.
    Everyone,
    /// The replies in the thread that a message begins.
    Thread(EventId),
    /// The files that were shared, wherever.
    Files,
    /// The messages that the loop guard held.
    Held,
}

impl Stream {
    /// The name in the database, different for different streams.
    ///
    /// Ids may hold any sign that could separate two of them, so the length of the first one says where it ends.
    pub(super) fn stored_name(&self) -> String {
        match self.parts() {
            (_, kind, "", "") => kind.to_owned(),
            (_, kind, name, "") => format!("{kind}:{name}"),
            (_, kind, first, second) => format!("{kind}:{}:{first}:{second}", first.len()),
        }
    }

    /// The stream of a name in the database, where it is one of what was sent to a place.
    pub(super) fn of_place(stored_name: &str) -> Option<Self> {
        match stored_name.split_once(':') {
            None if stored_name == "everyone" => Some(Self::Everyone),
            Some(("channel", channel)) => Some(Self::Channel(channel.parse().ok()?)),
            Some(("inbox", agent)) => Some(Self::Inbox(agent.parse().ok()?)),
            _ => None,
        }
    }

    /// What streams are compared by.
    fn parts(&self) -> (u8, &'static str, &str, &str) {
        match self {
            Self::Channel(channel) => (0, "channel", channel.as_str(), ""),
            Self::Inbox(agent) => (1, "inbox", agent.as_str(), ""),
            Self::Mentions(agent) => (2, "mentions", agent.as_str(), ""),
            Self::Conversation(one, other) => {
                let (first, second) = if one <= other { (one, other) } else { (other, one) };
                (3, "conversation", first.as_str(), second.as_str())
            }
            Self::Everyone => (4, "everyone", "", ""),
            Self::Thread(root) => (5, "thread", root.as_str(), ""),
            Self::Files => (6, "files", "", ""),
            Self::Held => (7, "held", "", ""),
        }
    }
}

impl PartialEq for Stream {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Stream {}

impl Hash for Stream {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (kind, _, first, second) = self.parts();
        (kind, first, second).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn different_streams_have_different_names() {
        let agent = |id: &str| id.parse::<AgentId>().unwrap();
        let conversation = |one, other| Stream::Conversation(agent(one), agent(other));
        let streams = [
            Stream::Everyone,
            Stream::Channel("everyone".parse().unwrap()),
            Stream::Inbox(agent("everyone")),
            Stream::Mentions(agent("everyone")),
            conversation("a", "b"),
            conversation("a:b", "c"),
            conversation("a", "b:c"),
            conversation("a", "a"),
        ];
        let names: HashSet<String> = streams.iter().map(Stream::stored_name).collect();
        assert_eq!(names.len(), streams.len());
        for (stream, index) in streams.iter().zip(0..) {
            let found = Stream::of_place(&stream.stored_name());
            assert_eq!(found.as_ref(), Some(stream).filter(|_| index < 3));
        }
    }

    #[test]
    fn a_conversation_is_the_same_from_both_sides() {
        let (alice, bob): (AgentId, AgentId) = ("alice".parse().unwrap(), "bob".parse().unwrap());
        let one = Stream::Conversation(alice.clone(), bob.clone());
        let other = Stream::Conversation(bob, alice);
        assert_eq!(one, other);
        assert_eq!(one.stored_name(), other.stored_name());
        assert_eq!(HashSet::from([one, other]).len(), 1);
    }
}
