//! Which event ids were used before, without a look at the disk for most new ones.

use std::collections::{HashMap, VecDeque};

use openagents_protocol::record::Digest;
use openagents_protocol::{Address, AgentId, EventId, Header, Sequence, Source};
use openagents_store::view::{Chain, EventKind, Found};

use crate::follower::{chain, kind};

/// Ids kept in memory.
const KEPT: usize = 8192;

/// The newest event ids, and a watermark that proves most other new ids to be new.
///
/// Ids of version 7 UUIDs carry the time they were made. The watermark is the latest such time among all ids
/// that are *not* in memory any more, so an id made later than that is in memory or was never used. Everything
/// else (older ids, ids of another form) has to be looked up in the view.
#[derive(Debug)]
pub(crate) struct KnownIds {
    ids: HashMap<EventId, Known>,
    /// With the sequence that each had when it came.
    order: VecDeque<(Sequence, EventId)>,
    watermark: u64,
}

/// What is known of an event by its id.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) sequence: Sequence,
    pub(crate) source: Source,
    pub(crate) digest: Digest,
    pub(crate) destination: Address,
    pub(crate) thread: Option<EventId>,
    pub(crate) kind: EventKind,
    /// Whether it began a thread, by its title or because somebody replied to it.
    pub(crate) threaded: bool,
    /// The only agents that may see it; none: whoever its destination reaches.
    pub(crate) audience: Option<Vec<AgentId>>,
    pub(crate) chain: Chain,
    pub(crate) deleted: bool,
}

impl Known {
    /// Whether its audience includes somebody; the workspace itself sees everything.
    pub(crate) fn is_for(&self, reader: &Source) -> bool {
        match (&self.audience, reader.agent()) {
            (Some(audience), Some(agent)) => audience.contains(agent),
            _ => true,
        }
    }

    pub(crate) fn of(header: &Header, sequence: Sequence) -> Self {
        Self {
            sequence,
            source: header.source.clone(),
            digest: header.digest,
            destination: header.destination.clone(),
            thread: header.thread.clone(),
            kind: kind(&header.act),
            threaded: header.titled,
            audience: header.audience(),
            chain: chain(header),
            deleted: false,
        }
    }
}

impl From<Found> for Known {
    fn from(found: Found) -> Self {
        let Found {
            sequence,
            source,
            digest,
            destination,
            thread,
            kind,
            threaded,
            audience,
            chain,
            deleted,
            ..
        } = found;
        Self {
            sequence,
            source,
            digest,
            destination,
            thread,
            kind,
            threaded,
            audience,
            chain,
            deleted,
        }
    }
}

impl KnownIds {
    pub(crate) fn new(watermark: u64) -> Self {
        Self {
            ids: HashMap::new(),
            order: VecDeque::new(),
            watermark,
        }
    }

    pub(crate) fn get(&self, id: &EventId) -> Option<&Known> {
        self.ids.get(id)
    }

    /// Somebody replied to a message; nothing to do where its id is not in memory.
    pub(crate) fn begin_thread(&mut self, id: &EventId) {
        if let Some(known) = self.ids.get_mut(id) {
            known.threaded = true;
        }
    }

    /// An event was deleted; nothing to do where its id is not in memory.
    pub(crate) fn delete(&mut self, id: &EventId) {
        if let Some(known) = self.ids.get_mut(id) {
            known.deleted = true;
        }
    }

    /// Whether this id has to be looked up: it is not in memory, and may have been used before.
    pub(crate) fn is_uncertain(&self, id: &EventId) -> bool {
        !self.ids.contains_key(id) && made_at(id).is_none_or(|time| time <= self.watermark)
    }

    /// Remembers an id; the oldest may be forgotten once the view has everything up to `indexed`.
    pub(crate) fn insert(&mut self, id: EventId, known: Known, indexed: Sequence) {
        let sequence = known.sequence;
        if self.ids.insert(id.clone(), known).is_none() {
            self.order.push_back((sequence, id));
        }
        while KEPT < self.order.len() {
            let Some((_, oldest)) = self.order.pop_front_if(|(sequence, _)| *sequence <= indexed) else {
                break;
            };
            self.forget(oldest, indexed);
        }
    }

    fn forget(&mut self, id: EventId, indexed: Sequence) {
        if let Some(known) = self.ids.remove(&id)
            && indexed < known.sequence
        {
            // It came again since, as something that was held and is released does.
            self.order.push_back((known.sequence, id.clone()));
            self.ids.insert(id, known);
            return;
        }
        self.watermark = self.watermark.max(made_at(&id).unwrap_or(0));
    }
}

/// When a version 7 UUID was made, in milliseconds since 1970.
pub(crate) fn made_at(id: &EventId) -> Option<u64> {
    let bytes = id.as_str().as_bytes();
    let shaped = bytes.len() == 36 && bytes[8] == b'-' && bytes[13] == b'-' && bytes[14] == b'7';
    if !shaped {
        return None;
    }
    let digits = id.as_str().get(..8).zip(id.as_str().get(9..13));
    let (high, low) = digits?;
    let digit = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    if !digit(high) || !digit(low) {
        return None;
    }
    Some(u64::from_str_radix(high, 16).ok()? << 16 | u64::from_str_radix(low, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(sequence: u64) -> Known {
        Known {
            sequence: Sequence::new(sequence),
            source: Source::System,
            digest: Digest::from_bytes([0; 16]),
            destination: Address::Everyone,
            thread: None,
            kind: EventKind::Other,
            threaded: false,
            audience: None,
            chain: Chain::default(),
            deleted: false,
        }
    }

    #[test]
    fn a_forgotten_id_is_always_looked_up() {
        let mut ids = KnownIds::new(0);
        let all: Vec<EventId> = (0..KEPT + 100).map(|_| EventId::new()).collect();
        for (sequence, id) in all.iter().enumerate() {
            ids.insert(id.clone(), known(sequence as u64), Sequence::MAX);
        }
        for id in &all {
            assert!(ids.get(id).is_some() || ids.is_uncertain(id), "{id}");
        }
        assert!(ids.get(&all[0]).is_none());
    }

    #[test]
    fn an_id_that_came_again_is_known_until_the_view_has_it_anew() {
        let mut ids = KnownIds::new(0);
        let released = EventId::new();
        ids.insert(released.clone(), known(1), Sequence::ZERO);
        // It was held and comes anew, which the view lacks while many others come.
        ids.insert(released.clone(), known(2), Sequence::new(1));
        for sequence in 3..KEPT as u64 + 100 {
            ids.insert(EventId::new(), known(sequence), Sequence::new(1));
        }
        assert_eq!(
            ids.get(&released).map(|known| known.sequence),
            Some(Sequence::new(2))
        );
        // Now the view has everything.
        let head = KEPT as u64 + 100;
        for sequence in head..head + 2 * KEPT as u64 {
            ids.insert(EventId::new(), known(sequence), Sequence::MAX);
        }
        assert!(ids.get(&released).is_none() && ids.is_uncertain(&released));
        assert!(ids.order.len() <= KEPT);
    }

    #[test]
    fn an_id_that_the_view_lacks_is_never_forgotten() {
        let mut ids = KnownIds::new(0);
        let all: Vec<EventId> = (0..KEPT + 100).map(|_| EventId::new()).collect();
        for (sequence, id) in all.iter().enumerate() {
            ids.insert(id.clone(), known(sequence as u64 + 1), Sequence::ZERO);
        }
        assert!(all.iter().all(|id| ids.get(id).is_some()));
    }

    #[test]
    fn ids_of_another_form_are_uncertain() {
        let ids = KnownIds::new(0);
        assert!(ids.is_uncertain(&"my-own-id".parse().unwrap()));
        assert!(ids.is_uncertain(&"0e2a8c1e-7f3a-4b6e-9d55-1c2f3a4b5c6d".parse().unwrap()));
        assert!(!ids.is_uncertain(&EventId::new()));
    }
}
