//! How much one answer holds.

use openagents_protocol::Json;
use openagents_protocol::call::Message;

/// The most bytes of events or messages in an answer with more than one: a page of large messages ends early.
pub(crate) const PAGE_BYTES: usize = 1024 * 1024;

/// Annotations, names and numbers of a message, about.
const AROUND: usize = 512;

/// What is left of an answer. The first thing always has room.
#[derive(Debug, Default)]
pub(crate) struct Room {
    taken: usize,
}

impl Room {
    /// Takes room for so many bytes; false where there is none.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let fits = self.taken == 0 || self.taken.saturating_add(bytes) <= PAGE_BYTES;
        if fits {
            self.taken += bytes.max(1);
        }
        fits
    }
}

/// About how many bytes a message takes in an answer.
pub(super) fn bytes_of(message: &Message) -> usize {
    let names = message.mentions.iter();
    let reactions = message.reactions.iter().flat_map(|reaction| &reaction.agents);
    let names: usize = names.chain(reactions).map(String::len).sum();
    let metadata = message
        .metadata
        .as_ref()
        .map_or(0, |json: &Json| json.as_str().len());
    AROUND + message.content.as_str().len() + metadata + names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_always_has_room_and_the_others_as_long_as_there_is() {
        let mut room = Room::default();
        assert!(room.take(10 * PAGE_BYTES));
        assert!(!room.take(1));

        let mut room = Room::default();
        assert!(room.take(PAGE_BYTES - 1));
        assert!(room.take(1));
        assert!(!room.take(1));
    }
}
