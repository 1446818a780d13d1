//! What a workspace may remove, and whom it has to tell: held against a log that still has everything.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use openagents_protocol::record::{Act, Record};
use openagents_protocol::{Address, ChannelName, Sequence};
use openagents_server::{Keep, Retention, Unread};

use crate::journal::{Entry, Fact};
use crate::model::Model;

/// What was removed from the log of a round.
#[derive(Debug)]
pub(crate) struct Removals<'a> {
    log: &'a [Record],
    left: BTreeMap<Sequence, &'a Record>,
    retention: Retention,
    /// Records that move a horizon, in order.
    moves: Vec<Move<'a>>,
    told: Vec<Told<'a>>,
}

/// A horizon that was moved.
#[derive(Clone, Copy, Debug)]
struct Move<'a> {
    record: &'a Record,
    place: &'a Address,
    through: Sequence,
}

/// An agent was told that something is gone.
#[derive(Debug)]
struct Told<'a> {
    agent: &'a str,
    after: u64,
    places: &'a [(String, u64)],
}

impl<'a> Removals<'a> {
    /// What a log has no more: `log` is everything there ever was, `left` what there is now.
    pub(crate) fn of(
        log: &'a [Record],
        left: &'a [Record],
        entries: &'a [Entry],
        retention: Retention,
    ) -> Self {
        let moves = log.iter().filter_map(|record| match &record.header.act {
            Act::HistoryRemoved { place, through, .. } => Some(Move {
                record,
                place,
                through: *through,
            }),
            _ => None,
        });
        let told = entries.iter().filter_map(|entry| match &entry.fact {
            Fact::Told { after, places } => Some(Told {
                agent: &entry.who,
                after: *after,
                places,
            }),
            _ => None,
        });
        Self {
            log,
            left: left.iter().map(|record| (record.sequence, record)).collect(),
            retention,
            moves: moves.collect(),
            told: told.collect(),
        }
    }

    /// How many records are gone.
    pub(crate) fn count(&self) -> usize {
        self.gone().count()
    }

    fn gone(&self) -> impl Iterator<Item = &'a Record> {
        let left = &self.left;
        self.log
            .iter()
            .filter(move |record| !left.contains_key(&record.sequence))
    }

    /// What removed a record that is gone.
    fn move_of(&self, record: &Record) -> Option<Move<'a>> {
        let reaches = |moved: &&Move<'_>| {
            *moved.place == record.header.destination
                && record.sequence <= moved.through
                && record.sequence < moved.record.sequence
        };
        self.moves.iter().find(reaches).copied()
    }

    /// Whether a record is gone since before that place in the log.
    pub(crate) fn is_gone_before(&self, record: &Record, at: Sequence) -> bool {
        self.is_gone(record)
            && self
                .move_of(record)
                .is_some_and(|moved| moved.record.sequence < at)
    }

    pub(crate) fn is_gone(&self, record: &Record) -> bool {
        !self.left.contains_key(&record.sequence)
    }

    /// Whether an agent was told that a record is gone.
    pub(crate) fn was_told(&self, agent: &str, record: &Record) -> bool {
        let (place, at) = (record.header.destination.to_string(), record.sequence.get());
        self.told.iter().any(|told| {
            let reaches = |(gone, through): &(String, u64)| *gone == place && at <= *through;
            told.agent == agent && told.after < at && told.places.iter().any(reaches)
        })
    }

    /// Every promise about removals that was broken.
    ///
    /// - What is removed is what was sent to a place, up to a sequence that a later record names, and nothing the state
    ///   is built from; the rest of the log is as it was.
    /// - What is kept whatever it is, and what is too young, is not removed.
    /// - Unless the settings say so, nothing is removed that an agent has not handled which was there within the time
    ///   after which agents count as gone.
    /// - Who is told that something is gone is told no more than that.
    pub(crate) fn check(&self, entries: &[Entry]) -> Vec<String> {
        let mut broken = Vec::new();
        self.check_log(&mut broken);
        self.check_horizons(&mut broken);
        self.check_told(&mut broken);
        if self.retention.unread == Unread::Kept {
            self.check_unread(entries, &mut broken);
        }
        broken
    }

    fn check_log(&self, broken: &mut Vec<String>) {
        let head = self.log.last().map_or(0, |record| record.sequence.get());
        let mut expected = 1;
        for record in self.log {
            let at = record.sequence.get();
            for missing in expected..at.min(head) {
                broken.push(format!(
                    "{missing} is not in the log, and nobody ever saw it there"
                ));
            }
            expected = at + 1;
        }
        for record in self.log {
            let left = self.left.get(&record.sequence);
            if left.is_some_and(|left| *left != record) {
                broken.push(format!("{} is not what it was", record.sequence));
            }
        }
    }

    fn check_horizons(&self, broken: &mut Vec<String>) {
        for record in self.gone() {
            let (at, place) = (record.sequence, &record.header.destination);
            let Some(moved) = self.move_of(record) else {
                broken.push(format!("{at}, sent to {place}, is gone, and no record says so"));
                continue;
            };
            let because = moved.record.sequence;
            if !is_removable(record) {
                broken.push(format!("{at} was removed at {because}, and the state needs it"));
            }
            if self.is_everything_kept(place) {
                broken.push(format!(
                    "{at} was removed at {because} from {place}, where everything is kept"
                ));
            }
            let age = moved.record.header.time_ms.saturating_sub(record.header.time_ms);
            if u128::from(age) < self.youngest(place).as_millis() {
                broken.push(format!(
                    "{at} was removed at {because} from {place}, and is {age} ms old"
                ));
            }
        }
        for record in self.left.values() {
            let held = matches!(record.header.act, Act::Held { .. });
            if is_removable(record)
                && !held
                && let Some(moved) = self.move_of(record)
            {
                let (at, place) = (record.sequence, &record.header.destination);
                let because = moved.record.sequence;
                broken.push(format!(
                    "{at} is in the log, and {because} says that it is gone from {place}"
                ));
            }
        }
    }

    fn own(&self, place: &Address) -> Option<&Keep> {
        let channel: &ChannelName = match place {
            Address::Channel(channel) => channel,
            _ => return None,
        };
        self.retention.channels.get(channel)
    }

    fn is_everything_kept(&self, place: &Address) -> bool {
        self.own(place).is_some_and(Keep::is_everything)
    }

    /// What is younger stays at this place, whatever there is.
    fn youngest(&self, place: &Address) -> Duration {
        let Retention {
            workspace,
            each_channel,
            at_least,
            ..
        } = &self.retention;
        let ages = match self.own(place) {
            Some(own) => [own.max_age, None],
            None => [workspace.max_age, each_channel.max_age],
        };
        ages.into_iter()
            .flatten()
            .chain([*at_least])
            .min()
            .unwrap_or_default()
    }

    fn check_told(&self, broken: &mut Vec<String>) {
        for Told { agent, after, places } in &self.told {
            let own = [format!("agent:{agent}"), "agent:broadcast".to_owned()];
            for (place, through) in *places {
                let is_so = self
                    .moves
                    .iter()
                    .any(|moved| moved.place.to_string() == *place && moved.through.get() == *through);
                if !is_so || through <= after {
                    broken.push(format!(
                        "{agent} was told that {place} is gone after {after} through {through}"
                    ));
                }
                if !own.contains(place) && !place.starts_with("channel:") {
                    broken.push(format!("{agent} was told what is gone of {place}"));
                }
            }
        }
    }

    fn check_unread(&self, entries: &[Entry], broken: &mut Vec<String>) {
        let mut handled: HashMap<(&str, &str), usize> = HashMap::new();
        let mut decided: HashMap<u64, usize> = HashMap::new();
        for (place, entry) in entries.iter().enumerate() {
            match &entry.fact {
                Fact::Handled { id } => drop(handled.entry((&entry.who, id)).or_insert(place)),
                Fact::Removed { sequence } => drop(decided.entry(*sequence).or_insert(place)),
                _ => {}
            }
        }
        let mut by_move: BTreeMap<Sequence, Vec<&Record>> = BTreeMap::new();
        for record in self.gone() {
            if let Some(moved) = self.move_of(record) {
                by_move.entry(moved.record.sequence).or_default().push(record);
            }
        }
        for (because, records) in by_move {
            let Some(decided) = decided.get(&because.get()) else {
                broken.push(format!("nobody saw {because} when it was stored"));
                continue;
            };
            let before = &self.log[..self.log.partition_point(|record| record.sequence < because)];
            let model = Model::of(before);
            let now_ms = self.log[before.len()].header.time_ms;
            for record in records {
                let (id, at) = (record.header.event_id.as_str(), record.sequence);
                let audience = model.audience(record);
                let unread = audience.must.iter().filter(|agent| {
                    let end = handled.get(&(agent.as_str(), id));
                    end.is_none_or(|end| decided < end) && self.was_here(agent, before, now_ms)
                });
                broken.extend(unread.map(|agent| {
                    format!("{id} at {at} was removed at {because}, before {agent}, who was there lately, had handled it")
                }));
            }
        }
    }

    /// Whether an agent is there or was not long ago, by the end of this part of the log.
    fn was_here(&self, agent: &str, log: &[Record], now_ms: u64) -> bool {
        let last = log.iter().rev().find(|record| {
            let presence = matches!(record.header.act, Act::AgentJoined { .. } | Act::AgentLeft { .. });
            presence && record.header.source.as_str() == agent
        });
        last.is_some_and(|record| {
            let away = u128::from(now_ms.saturating_sub(record.header.time_ms));
            matches!(record.header.act, Act::AgentJoined { .. }) || away < self.retention.away.as_millis()
        })
    }
}

/// Whether nothing is built from a record.
fn is_removable(record: &Record) -> bool {
    matches!(
        record.header.act,
        Act::Message { .. } | Act::Event {} | Act::Held { .. }
    )
}

#[cfg(test)]
mod tests {
    use openagents_protocol::Source;

    use super::*;
    use crate::checker::check;
    use crate::checker::tests::{handled, log, of, record};

    const DAY_MS: u64 = 24 * 60 * 60 * 1000;

    /// `one` and `other` come, then two messages to `other` at 3 and 4, `other` leaves at 5 (or not), and a horizon at 6
    /// says that everything through 4 is gone, so many days later.
    struct Round {
        log: Vec<Record>,
        left: Vec<Record>,
        retention: Retention,
    }

    impl Round {
        fn after(days: u64) -> Self {
            let mut log = log(&[("a", "agent:other", "hello"), ("b", "agent:other", "hello")]);
            let left = Act::AgentLeft {
                reason: String::new(),
            };
            log.push(record("agent.left", "other", "agent:broadcast", left, ""));
            let removed = Act::HistoryRemoved {
                place: "agent:other".parse().expect("a legal address"),
                through: Sequence::new(4),
                records: 2,
            };
            let mut horizon = record("system.history.removed", "one", "system", removed, "");
            horizon.header.source = Source::System;
            horizon.header.time_ms = days * DAY_MS;
            log.push(horizon);
            for (record, sequence) in log.iter_mut().zip(1..) {
                record.sequence = Sequence::new(sequence);
            }
            let stays = |record: &&Record| !(3..=4).contains(&record.sequence.get());
            let mut retention = Retention::default();
            retention.at_least = Duration::from_secs(1);
            Self {
                left: log.iter().filter(stays).cloned().collect(),
                log,
                retention,
            }
        }

        fn check(&self, entries: &[Entry], expected: &[&str]) {
            let mut all = entries.to_vec();
            all.push(of("server", 1, Fact::Removed { sequence: 6 }));
            let removals = Removals::of(&self.log, &self.left, &all, self.retention.clone());
            assert_eq!(check(&self.log, Some(&removals), &all), expected);
        }
    }

    fn told(after: u64, place: &str, through: u64) -> Entry {
        let places = vec![(place.to_owned(), through)];
        of("other", 2, Fact::Told { after, places })
    }

    #[test]
    fn what_everybody_handled_or_was_told_of_may_be_gone() {
        let both = [handled("other", 1, "a", 3), handled("other", 1, "b", 4)].concat();
        Round::after(1).check(&both, &[]);
        Round::after(31).check(&[told(2, "agent:other", 4)], &[]);
        let mut one = handled("other", 1, "a", 3).to_vec();
        one.push(told(3, "agent:other", 4));
        Round::after(31).check(&one, &[]);
    }

    #[test]
    fn what_was_removed_too_early_or_without_a_word_is_named() {
        let after_three = [
            handled("other", 1, "a", 3).to_vec(),
            vec![told(3, "agent:other", 4)],
        ]
        .concat();
        Round::after(29).check(
            &after_three,
            &["b at 4 was removed at 6, before other, who was there lately, had handled it"],
        );
        let mut allowed = Round::after(29);
        allowed.retention.unread = Unread::Removed;
        allowed.check(&after_three, &[]);
        Round::after(31).check(
            &[told(3, "agent:other", 4)],
            &["a at 3 was removed before other had handled it, which was never told so"],
        );
        let mut young = Round::after(31);
        young.retention.at_least = Duration::from_hours(24 * 40);
        let both = [handled("other", 1, "a", 3), handled("other", 1, "b", 4)].concat();
        young.check(
            &both,
            &[
                "3 was removed at 6 from agent:other, and is 2678400000 ms old",
                "4 was removed at 6 from agent:other, and is 2678400000 ms old",
            ],
        );
    }

    #[test]
    fn what_is_gone_without_a_record_or_there_in_spite_of_one_is_named() {
        let both = [handled("other", 1, "a", 3), handled("other", 1, "b", 4)].concat();
        let mut lost = Round::after(31);
        lost.left.retain(|record| record.sequence.get() != 2);
        lost.check(
            &both,
            &["2, sent to agent:broadcast, is gone, and no record says so"],
        );
        let mut kept = Round::after(31);
        kept.left = kept.log.clone();
        kept.check(
            &both,
            &[
                "3 is in the log, and 6 says that it is gone from agent:other",
                "4 is in the log, and 6 says that it is gone from agent:other",
            ],
        );
        let mut unseen = Round::after(31);
        unseen.log.remove(4);
        unseen.left.retain(|record| record.sequence.get() != 5);
        unseen.check(&both, &["5 is not in the log, and nobody ever saw it there"]);
        let mut changed = Round::after(31);
        changed.left[0].header.time_ms = 1;
        changed.check(&both, &["1 is not what it was"]);
    }

    #[test]
    fn who_is_told_something_else_is_named() {
        let both = [handled("other", 1, "a", 3), handled("other", 1, "b", 4)].concat();
        let with = |told: Entry| [both.clone(), vec![told]].concat();
        Round::after(31).check(
            &with(told(2, "agent:other", 5)),
            &["other was told that agent:other is gone after 2 through 5"],
        );
        Round::after(31).check(
            &with(told(4, "agent:other", 4)),
            &["other was told that agent:other is gone after 4 through 4"],
        );
    }
}
