//! What is due to be removed, and who needs it.

use std::collections::HashMap;
use std::time::Duration;

use openagents_protocol::record::Record;
use openagents_protocol::{Address, AgentId, Sequence};
use openagents_store::Error as StoreError;
use openagents_store::view::{Bounds, Direction, Stream};

use super::{BATCH, BATCH_BYTES, millis};
use crate::commit::bytes_of;
use crate::state::{Presence, State};
use crate::workspace::Inner;

/// What is too old or too much.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overdue {
    /// What was taken before this time is too old.
    pub(super) age: Option<u64>,
    /// So many are too many.
    pub(super) excess: u64,
    /// What is not after this sequence is too much.
    pub(super) beyond: Sequence,
    /// What was taken since this time is not too much.
    pub(super) at_least: u64,
}

impl Overdue {
    /// How many of the oldest records are due.
    pub(super) fn of(&self, records: &[Record]) -> usize {
        let time_of = |record: &Record| record.header.time_ms;
        let old = records
            .iter()
            .take_while(|record| self.age.is_some_and(|age| time_of(record) < age));
        let too_much = records.iter().zip(1..).take_while(|(record, number)| {
            time_of(record) < self.at_least && (*number <= self.excess || record.sequence <= self.beyond)
        });
        old.count().max(too_much.count())
    }
}

/// Agents that were seen lately and have not acknowledged everything.
#[derive(Debug, Default)]
pub(super) struct Laggards {
    cursors: HashMap<AgentId, Sequence>,
    /// The furthest behind first.
    order: Vec<AgentId>,
}

impl Laggards {
    pub(super) fn find(inner: &Inner, state: &State, away: Duration, now_ms: u64, reach: Sequence) -> Self {
        let away = millis(away);
        let mut cursors = HashMap::new();
        for (agent_id, agent) in &state.agents {
            let here = agent.presence == Presence::Online || inner.live.is_live(agent_id);
            if (here || now_ms.saturating_sub(agent.last_seen_ms) < away)
                && let Some(cursor) = inner.cursor(agent_id)
                && cursor < reach
            {
                cursors.insert(agent_id.clone(), cursor);
            }
        }
        let mut order: Vec<AgentId> = cursors.keys().cloned().collect();
        order.sort_unstable_by_key(|agent_id| cursors.get(agent_id).copied());
        Self { cursors, order }
    }

    /// The sequence after which nothing that was sent to a place may go, and the agent that has not read it.
    pub(super) fn floor(&self, state: &State, place: &Address) -> Option<(Sequence, &AgentId)> {
        let agent_id = match place {
            Address::Agent(addressee) => self.cursors.get_key_value(addressee)?.0,
            Address::Channel(channel) => {
                let reads =
                    |agent_id: &&AgentId| !state.is_blind(agent_id) && state.is_member(agent_id, channel);
                self.order.iter().find(reads)?
            }
            Address::Everyone | Address::System | Address::Mod(_) => self.order.first()?,
        };
        Some((*self.cursors.get(agent_id)?, agent_id))
    }
}

impl Inner {
    /// The oldest records of a stream, none after a sequence.
    pub(super) async fn oldest(&self, stream: Stream, reach: Sequence) -> Result<Vec<Record>, StoreError> {
        let bounds = Bounds {
            before: reach.next(),
            ..Bounds::default()
        };
        let page = self
            .view
            .page(stream, bounds, Direction::Forward, 0, BATCH)
            .await?;
        self.log.read_some(page, Direction::Forward, BATCH_BYTES).await
    }

    /// The last record of a stream after which there are about so many bytes of others; zero where it has fewer.
    pub(super) async fn last_beyond(
        &self,
        stream: Stream,
        reach: Sequence,
        bytes: u64,
    ) -> Result<Sequence, StoreError> {
        let mut before = reach.next();
        let mut passed = 0;
        loop {
            let bounds = Bounds {
                before,
                ..Bounds::default()
            };
            let page = self
                .view
                .page(stream.clone(), bounds, Direction::Backward, 0, BATCH);
            let records = self.log.read_some(page.await?, Direction::Backward, BATCH_BYTES);
            let records = records.await?;
            let Some(oldest) = records.last() else {
                return Ok(Sequence::ZERO);
            };
            before = oldest.sequence;
            for record in &records {
                passed += bytes_of(record) as u64;
                if bytes < passed {
                    return Ok(record.sequence);
                }
            }
        }
    }
}
