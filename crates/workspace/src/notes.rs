//! What the newest records say of earlier ones, as long as the view does not know it yet.

use openagents_protocol::{EventId, Header, Sequence};
use openagents_store::view::{Note, Reacted, ReactionKey};

use imbl::HashMap;

use crate::follower::note;

/// Reactions and deletions that the view may lack. Cloning shares everything, for the writer to decide against.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    reactions: HashMap<ReactionKey, (Sequence, Reacted)>,
    deleted: HashMap<EventId, Sequence>,
}

impl Notes {
    /// Takes a record into account.
    pub(crate) fn take(&mut self, header: &Header, at: Sequence) {
        match note(header) {
            Some(Note::Reacted(key, reacted)) => drop(self.reactions.insert(key, (at, reacted))),
            Some(Note::Deleted(event)) => drop(self.deleted.insert(event, at)),
            Some(Note::Edited(_)) | None => {}
        }
    }

    /// Whether a reaction is there; none where only the view knows.
    pub(crate) fn reacted(&self, key: &ReactionKey) -> Option<bool> {
        self.reactions
            .get(key)
            .map(|(_, reacted)| *reacted == Reacted::Added)
    }

    /// Whether an event was deleted just now.
    pub(crate) fn is_deleted(&self, event: &EventId) -> bool {
        self.deleted.contains_key(event)
    }

    /// The view knows everything up to here.
    pub(crate) fn forget_through(&mut self, applied: Sequence) {
        if !self.reactions.is_empty() {
            self.reactions.retain(|_, (at, _)| applied < *at);
        }
        if !self.deleted.is_empty() {
            self.deleted.retain(|_, at| applied < *at);
        }
    }
}
