//! Holds what everybody saw in a round against the log, and names every promise that was broken.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use openagents_protocol::record::Record;

use crate::journal::{Entry, Fact};
use crate::model::Model;
use crate::removals::Removals;

/// One life of an agent's process.
type Life<'a> = (&'a str, u32);

/// Every promise that was broken.
///
/// - What was acknowledged is in the log, once, at the sequence that was acknowledged, as it was sent.
/// - What was refused for good is not.
/// - Events that one life sent are in the log in the order in which it sent them.
/// - An event is handled at the sequence it has in the log, once in a life at most, and those of one source in log order.
///   (Who leaves a channel and comes back is given then what was held back meanwhile; and a session that begins after a
///   power cut may begin a little earlier than the last one ended.)
/// - Every event was handled to its end, in one life at least, by everybody it is for, and seen by nobody else.
/// - What the disk knows of how far an agent is never goes back, and nothing before it was left unhandled.
/// - Some seconds after the last event was handled, not even a power cut takes that away.
/// - A wait for an answer returns the answer to that question, of the agent that was asked.
///
/// The log is all that was ever in it. What was removed of it since need not have been handled by those who were told so,
/// and is not known again when it is sent again; what else holds for it, [`Removals::check`] says.
pub(crate) fn check(log: &[Record], removals: Option<&Removals<'_>>, entries: &[Entry]) -> Vec<String> {
    let mut broken: Vec<String> = entries
        .iter()
        .filter_map(|entry| match &entry.fact {
            Fact::Broken(what) => Some(format!("{}: {what}", entry.who)),
            _ => None,
        })
        .collect();
    let model = Model::of(log);
    let mut places = Places::new();
    for record in log {
        let id = record.header.event_id.as_str();
        let known = places.entry(id).or_default();
        let forgotten = |before: &Record| {
            removals.is_some_and(|removals| removals.is_gone_before(before, record.sequence))
        };
        if let Some(before) = known.last().filter(|before| !forgotten(before)) {
            let (first, second) = (before.sequence, record.sequence);
            broken.push(format!("{id} is in the log at {first} and at {second}"));
        }
        known.push(record);
    }
    check_sent(&places, entries, &mut broken);
    check_lives(&places, &model, entries, &mut broken);
    check_deliveries(log, removals, &model, entries, &mut broken);
    check_answers(log, entries, &mut broken);
    broken.extend(removals.into_iter().flat_map(|removals| removals.check(entries)));
    broken
}

/// Where the log has each event; more than once where it was removed meanwhile.
type Places<'a> = HashMap<&'a str, Vec<&'a Record>>;

fn check_sent(places: &Places<'_>, entries: &[Entry], broken: &mut Vec<String>) {
    let mut last: HashMap<Life<'_>, u64> = HashMap::new();
    for entry in entries {
        match &entry.fact {
            Fact::Sent {
                id,
                destination,
                text,
            } => {
                let Some(record) = places.get(id.as_str()).and_then(|known| known.first()) else {
                    continue;
                };
                let stored = text_of(record).unwrap_or_default();
                let header = &record.header;
                if stored != text || header.destination.to_string() != *destination {
                    broken.push(format!("{id} is in the log with another content or destination"));
                }
                if header.source.as_str() != entry.who {
                    broken.push(format!(
                        "{id} of {} is in the log as of {}",
                        entry.who, header.source
                    ));
                }
                let (place, last) = (
                    record.sequence.get(),
                    last.entry((entry.who.as_str(), entry.life)).or_default(),
                );
                if place < *last {
                    broken.push(format!("{id} was sent later than what is behind it in the log"));
                }
                *last = place;
            }
            Fact::Accepted { id, sequence } => match places.get(id.as_str()) {
                None => broken.push(format!(
                    "{id} was acknowledged at {sequence} and is not in the log"
                )),
                Some(known) if known.iter().all(|record| record.sequence.get() != *sequence) => {
                    let place = known[0].sequence;
                    broken.push(format!("{id} was acknowledged at {sequence} and is at {place}"));
                }
                Some(_) => {}
            },
            Fact::Refused {
                id,
                code,
                nothing_happened: true,
            } if places.contains_key(id.as_str()) => {
                broken.push(format!("{id} was refused ({code}) and is in the log"));
            }
            _ => {}
        }
    }
}

fn check_lives(places: &Places<'_>, model: &Model, entries: &[Entry], broken: &mut Vec<String>) {
    let mut handled: HashSet<(Life<'_>, &str)> = HashSet::new();
    let mut last: HashMap<(Life<'_>, &str), u64> = HashMap::new();
    let mut durable: HashMap<&str, u64> = HashMap::new();
    let mut highest: HashMap<&str, u64> = HashMap::new();
    let mut settled = false;
    // Lives whose next session may begin earlier.
    let mut cut: HashSet<Life<'_>> = HashSet::new();
    for entry in entries {
        let life = (entry.who.as_str(), entry.life);
        match &entry.fact {
            Fact::Handling { id, sequence, source } => {
                let (who, number) = life;
                if !handled.insert((life, id)) {
                    broken.push(format!("{id} was handled twice by {who} in life {number}"));
                }
                let known = places.get(id.as_str()).map_or(&[][..], Vec::as_slice);
                let here = known.iter().find(|record| record.sequence.get() == *sequence);
                let record = here.or(known.first());
                let place = record.map(|record| record.sequence.get());
                if place != Some(*sequence) {
                    broken.push(format!(
                        "{id} was handled by {who} at {sequence}, in the log it is at {place:?}"
                    ));
                }
                if record.is_some_and(|record| model.audience(record).must.contains(who)) {
                    let highest = highest.entry(who).or_default();
                    *highest = (*highest).max(*sequence);
                    let before = last.insert((life, source), *sequence).unwrap_or(0);
                    if *sequence < before {
                        broken.push(format!("{id} at {sequence} was handled by {who} after {before}"));
                    }
                }
            }
            // Cursors do not wait for the disk: a power cut may take their last moments.
            Fact::PowerCut => {
                durable.clear();
                cut.extend(last.keys().map(|(life, _)| *life));
            }
            Fact::Connected { .. } if cut.remove(&life) => last.retain(|(whose, _), _| *whose != life),
            Fact::Settled => settled = true,
            Fact::Cursors(cursors) => {
                let now: HashMap<&str, u64> = cursors
                    .iter()
                    .map(|(agent, cursor)| (agent.as_str(), *cursor))
                    .collect();
                for (agent, before) in &durable {
                    let cursor = now.get(agent).copied().unwrap_or(0);
                    if cursor < *before {
                        broken.push(format!(
                            "the cursor of {agent} went back from {before} to {cursor}"
                        ));
                    }
                }
                durable = now;
                for (agent, highest) in std::mem::take(&mut settled)
                    .then_some(&highest)
                    .into_iter()
                    .flatten()
                {
                    let cursor = durable.get(agent).copied().unwrap_or(0);
                    if cursor < *highest {
                        broken.push(format!(
                            "{agent} handled {highest} long ago, and its cursor is {cursor} after a power cut"
                        ));
                    }
                }
            }
            _ => {}
        }
    }
}

fn check_deliveries(
    log: &[Record],
    removals: Option<&Removals<'_>>,
    model: &Model,
    entries: &[Entry],
    broken: &mut Vec<String>,
) {
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    // When each agent was through with an event, as a place in the journal.
    let mut through: HashMap<(&str, &str), usize> = HashMap::new();
    let mut cursors: Vec<(usize, &str, u64)> = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        let who = entry.who.as_str();
        match &entry.fact {
            Fact::Handling { id, .. } => {
                seen.entry(id).or_default().insert(who);
            }
            Fact::Handled { id } => {
                through.entry((who, id)).or_insert(place);
            }
            Fact::Connected { cursor } => cursors.push((place, who, *cursor)),
            Fact::Cursors(durable) => {
                cursors.extend(
                    durable
                        .iter()
                        .map(|(agent, cursor)| (place, agent.as_str(), *cursor)),
                );
            }
            _ => {}
        }
    }
    for record in log {
        let (id, at) = (record.header.event_id.as_str(), record.sequence.get());
        let audience = model.audience(record);
        for agent in &audience.must {
            let end = through.get(&(agent.as_str(), id));
            if let Some(removals) = removals.filter(|removals| removals.is_gone(record)) {
                if end.is_none() && !removals.was_told(agent, record) {
                    broken.push(format!(
                        "{id} at {at} was removed before {agent} had handled it, which was never told so"
                    ));
                }
                // How far it is taken to be passes what is gone.
                continue;
            }
            if end.is_none() {
                broken.push(format!("{id} at {at} was never handled by {agent}"));
            }
            let early = cursors.iter().find(|(place, whose, cursor)| {
                whose == agent && at <= *cursor && end.is_none_or(|end| place < end)
            });
            if let Some((_, _, cursor)) = early {
                broken.push(format!(
                    "{agent} was taken to be at {cursor} before it had handled {id} at {at}"
                ));
            }
        }
        let concerned = !audience.may.is_empty() || is_event(record);
        for agent in seen
            .get(id)
            .into_iter()
            .flatten()
            .filter(|agent| concerned && !audience.may.contains(**agent))
        {
            broken.push(format!("{agent} was given {id} at {at}, which is not for it"));
        }
    }
}

fn check_answers(log: &[Record], entries: &[Entry], broken: &mut Vec<String>) {
    let mut questions: HashMap<&str, &Record> = HashMap::new();
    for record in log {
        if let Some(text) = text_of(record) {
            questions.entry(text).or_insert(record);
        }
    }
    let mut asked: HashMap<&str, &str> = HashMap::new();
    for entry in entries {
        match &entry.fact {
            Fact::Asked { text, whom } => {
                asked.insert(text, whom);
            }
            Fact::Answered { question, answer } => {
                let whom = asked.get(question.as_str()).copied().unwrap_or_default();
                if answer.source != whom {
                    broken.push(format!(
                        "{question} was asked of {whom} and answered by {}",
                        answer.source
                    ));
                }
                // What is said outside of a handler is linked to nothing, and counts as an answer all the same.
                let expected = crate::agent::answer_to(question);
                if (answer.linked || crate::agent::is_answer(&answer.text)) && answer.text != expected {
                    broken.push(format!("{question} was answered with {}", answer.text));
                }
                match questions.get(question.as_str()) {
                    None => broken.push(format!("{question} was answered and is not in the log")),
                    Some(record) if answer.sequence <= record.sequence.get() => {
                        broken.push(format!("{question} was answered by what was said before it"));
                    }
                    Some(_) => {}
                }
            }
            _ => {}
        }
    }
}

/// Whether an agent sent it, to be delivered.
fn is_event(record: &Record) -> bool {
    use openagents_protocol::record::Act;
    matches!(
        record.header.act,
        Act::Message { .. } | Act::Event {} | Act::Held { .. }
    )
}

/// What the rounds write into their events.
fn text_of(record: &Record) -> Option<&str> {
    let payload = &record.body.as_ref()?.payload;
    let content = payload.get("content").and_then(|content| content.get("text"));
    content.or_else(|| payload.get("text"))?.as_str()
}

#[cfg(test)]
pub(crate) mod tests {
    use openagents_protocol::record::{Act, Body};
    use openagents_protocol::{Header, Json, Sequence, Source};
    use serde_json::json;

    use super::*;
    use crate::journal::Answer;

    /// Record 1 and 2: `one` and `other` come. Then these messages, from `one` unless it is an answer.
    pub(crate) fn log(messages: &[(&str, &str, &str)]) -> Vec<Record> {
        let joined = |_| Act::AgentJoined {
            metadata: Json::empty_object(),
            generated: false,
        };
        let mut log: Vec<Record> = ["one", "other"]
            .iter()
            .map(|agent| record("agent.joined", agent, "agent:broadcast", joined(agent), ""))
            .collect();
        log.extend(messages.iter().map(|(id, to, text)| {
            let author = if crate::agent::is_answer(text) {
                "other"
            } else {
                "one"
            };
            let mut record = record("test.event", author, to, Act::Message { reply_to: None }, text);
            record.header.event_id = id.parse().expect("a legal id");
            record
        }));
        for (record, sequence) in log.iter_mut().zip(1..) {
            record.sequence = Sequence::new(sequence);
        }
        log
    }

    pub(crate) fn record(name: &str, author: &str, to: &str, act: Act, text: &str) -> Record {
        let body = Body {
            payload: json!({"text": text}).into(),
            ..Body::empty()
        };
        let header = Header::new(
            name.parse().expect("a legal name"),
            Source::Agent(author.parse().expect("a legal id")),
            to.parse().expect("a legal address"),
            0,
            act,
            &body,
        );
        Record {
            sequence: Sequence::ZERO,
            header,
            body: Some(body),
        }
    }

    pub(crate) fn of(who: &str, life: u32, fact: Fact) -> Entry {
        Entry {
            at_ms: 0,
            who: who.to_owned(),
            life,
            fact,
        }
    }

    pub(crate) fn handled(who: &str, life: u32, id: &str, sequence: u64) -> [Entry; 2] {
        let (id, source) = (id.to_owned(), "one".to_owned());
        let end = Fact::Handled { id: id.clone() };
        [
            of(who, life, Fact::Handling { id, sequence, source }),
            of(who, life, end),
        ]
    }

    fn sent(id: &str) -> Entry {
        let sent = Fact::Sent {
            id: id.to_owned(),
            destination: "agent:other".to_owned(),
            text: "hello".to_owned(),
        };
        of("one", 1, sent)
    }

    fn accepted(id: &str, sequence: u64) -> Entry {
        let id = id.to_owned();
        of("one", 1, Fact::Accepted { id, sequence })
    }

    /// Two messages to `other`, at 3 and 4, which it handled; and what happened beside.
    fn check_beside(entries: &[Entry], expected: &[&str]) {
        let log = log(&[("a", "agent:other", "hello"), ("b", "agent:other", "hello")]);
        let mut all: Vec<Entry> = [handled("other", 1, "a", 3), handled("other", 1, "b", 4)]
            .into_iter()
            .flatten()
            .collect();
        all.extend_from_slice(entries);
        assert_eq!(check(&log, None, &all), expected);
    }

    #[test]
    fn what_is_as_promised_is_left_alone() {
        check_beside(&[sent("a"), sent("b"), accepted("a", 3), accepted("b", 4)], &[]);
        check_beside(&handled("other", 2, "a", 3), &[]);
        let cursors = |cursor| of("server", 1, Fact::Cursors(vec![("other".to_owned(), cursor)]));
        check_beside(
            &[cursors(3), cursors(4), of("stage", 0, Fact::PowerCut), cursors(3)],
            &[],
        );
    }

    #[test]
    fn what_was_lost_moved_or_changed_is_named() {
        check_beside(
            &[accepted("c", 5)],
            &["c was acknowledged at 5 and is not in the log"],
        );
        check_beside(&[accepted("a", 4)], &["a was acknowledged at 4 and is at 3"]);
        check_beside(
            &[sent("b"), sent("a")],
            &["a was sent later than what is behind it in the log"],
        );
        let refused = Fact::Refused {
            id: "a".to_owned(),
            code: "invalid_field".to_owned(),
            nothing_happened: true,
        };
        check_beside(
            &[of("one", 1, refused)],
            &["a was refused (invalid_field) and is in the log"],
        );
        let twice = log(&[("a", "agent:none", "hello"), ("a", "agent:none", "hello")]);
        assert_eq!(check(&twice, None, &[]), ["a is in the log at 3 and at 4"]);
    }

    #[test]
    fn what_was_handled_twice_out_of_order_or_by_others_is_named() {
        check_beside(
            &handled("other", 1, "b", 4),
            &["b was handled twice by other in life 1"],
        );
        let backwards = [handled("other", 2, "b", 4), handled("other", 2, "a", 3)];
        check_beside(backwards.as_flattened(), &["a at 3 was handled by other after 4"]);
        check_beside(
            &handled("third", 1, "a", 3),
            &["third was given a at 3, which is not for it"],
        );
    }

    #[test]
    fn what_was_passed_over_is_named() {
        let log = log(&[("a", "agent:other", "hello")]);
        assert_eq!(check(&log, None, &[]), ["a at 3 was never handled by other"]);
        let cursors = |cursor| of("server", 1, Fact::Cursors(vec![("other".to_owned(), cursor)]));
        let mut early = vec![cursors(3)];
        early.extend(handled("other", 1, "a", 3));
        assert_eq!(
            check(&log, None, &early),
            ["other was taken to be at 3 before it had handled a at 3"]
        );
        check_beside(
            &[cursors(4), cursors(3)],
            &["the cursor of other went back from 4 to 3"],
        );
    }

    #[test]
    fn an_answer_to_something_else_or_of_somebody_else_is_named() {
        let log = log(&[
            ("q", "agent:none", "question 1"),
            ("r", "agent:none", "answer to question 1"),
            ("s", "agent:none", "answer to question 2"),
        ]);
        let verdict = |source: &str, text: &str, sequence| {
            let asked = Fact::Asked {
                text: "question 1".to_owned(),
                whom: "other".to_owned(),
            };
            let answered = Fact::Answered {
                question: "question 1".to_owned(),
                answer: Answer {
                    id: String::new(),
                    sequence,
                    source: source.to_owned(),
                    linked: true,
                    text: text.to_owned(),
                },
            };
            check(&log, None, &[of("one", 1, asked), of("one", 1, answered)])
        };
        assert!(verdict("other", "answer to question 1", 4).is_empty());
        assert_eq!(
            verdict("other", "answer to question 2", 5),
            ["question 1 was answered with answer to question 2"]
        );
        assert_eq!(
            verdict("third", "answer to question 1", 4),
            ["question 1 was asked of other and answered by third"]
        );
        assert_eq!(
            verdict("other", "answer to question 1", 3),
            ["question 1 was answered by what was said before it"]
        );
    }
}
