//! What the newest records say of earlier ones, as long as the view does not know it yet.

use std::collections::HashSet;

use imbl::HashMap;
use openagents_protocol::record::Act;
use openagents_protocol::{AgentId, EventId, Header, Sequence};
use openagents_store::view::{Note, Reacted};

use crate::follower::note;

/// The newest word on each of a few reactions.
type News = Vec<(String, Sequence, Reacted)>;

/// Reactions, deletions and replies that the view may lack. Cloning shares everything, for the writer to decide against.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    /// By message and agent.
    reactions: HashMap<(EventId, AgentId), News>,
    deleted: HashMap<EventId, Sequence>,
    /// Messages that somebody replied to.
    threads: HashMap<EventId, Sequence>,
}

impl Notes {
    /// Takes a record into account.
    pub(crate) fn take(&mut self, header: &Header, at: Sequence) {
        match note(header) {
            Some(Note::Reacted(key, reacted)) => {
                let news = self.reactions.entry((key.message, key.agent)).or_default();
                news.retain(|(reaction, ..)| *reaction != key.reaction);
                news.push((key.reaction, at, reacted));
            }
            Some(Note::Deleted(event)) => drop(self.deleted.insert(event, at)),
            Some(Note::Edited(_)) | None => {}
        }
        if let (Act::Message { .. }, Some(root)) = (&header.act, &header.thread) {
            self.threads.insert(root.clone(), at);
        }
    }

    /// The reactions of an agent to a message, where the view has these.
    pub(crate) fn reactions(
        &self,
        of: &(EventId, AgentId),
        in_view: Option<&HashSet<String>>,
    ) -> HashSet<String> {
        let mut reactions = in_view.cloned().unwrap_or_default();
        for (reaction, _, reacted) in self.reactions.get(of).into_iter().flatten() {
            match reacted {
                Reacted::Added => reactions.insert(reaction.clone()),
                Reacted::Removed => reactions.remove(reaction),
            };
        }
        reactions
    }

    /// Whether an event was deleted just now.
    pub(crate) fn is_deleted(&self, event: &EventId) -> bool {
        self.deleted.contains_key(event)
    }

    /// Whether somebody replied to a message just now.
    pub(crate) fn is_threaded(&self, message: &EventId) -> bool {
        self.threads.contains_key(message)
    }

    /// The view knows everything up to here.
    pub(crate) fn forget_through(&mut self, applied: Sequence) {
        if !self.reactions.is_empty() {
            self.reactions = std::mem::take(&mut self.reactions)
                .into_iter()
                .filter_map(|(of, mut news)| {
                    news.retain(|(_, at, _)| applied < *at);
                    (!news.is_empty()).then_some((of, news))
                })
                .collect();
        }
        if !self.deleted.is_empty() {
            self.deleted.retain(|_, at| applied < *at);
        }
        if !self.threads.is_empty() {
            self.threads.retain(|_, at| applied < *at);
        }
    }
}
