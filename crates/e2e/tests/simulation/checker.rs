//! Holds what everybody saw in a round against the log, and names every promise that was broken.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use openagents_protocol::record::Record;

use crate::journal::{Entry, Fact};
use crate::model::Model;

/// One life of an agent's process.
type Life<'a> = (&'a str, u32);

/// Every promise that was broken.
///
/// - What was acknowledged is in the log, once, at the sequence that was acknowledged, as it was sent.
/// - What was refused for good is not.
/// - Events that one life sent are in the log in the order in which it sent them.
/// - An event is handled at the sequence it has in the log, once in a life at most, and those of one source in log order.
/// - Every event was handled to its end, in one life at least, by everybody it is for, and seen by nobody else.
/// - What the disk knows of how far an agent is never goes back, and nothing before it was left unhandled.
/// - A wait for an answer returns the answer to that question, of the agent that was asked.
pub(crate) fn check(log: &[Record], entries: &[Entry]) -> Vec<String> {
    let mut broken: Vec<String> = entries
        .iter()
        .filter_map(|entry| match &entry.fact {
            Fact::Broken(what) => Some(format!("{}: {what}", entry.who)),
            _ => None,
        })
        .collect();
    let mut places: HashMap<&str, &Record> = HashMap::new();
    for record in log {
        let id = record.header.event_id.as_str();
        if let Some(before) = places.insert(id, record) {
            let (first, second) = (before.sequence, record.sequence);
            broken.push(format!("{id} is in the log at {first} and at {second}"));
        }
    }
    check_sent(&places, entries, &mut broken);
    check_lives(&places, entries, &mut broken);
    check_deliveries(log, entries, &mut broken);
    check_answers(log, entries, &mut broken);
    broken
}

fn check_sent(places: &HashMap<&str, &Record>, entries: &[Entry], broken: &mut Vec<String>) {
    let mut last: HashMap<Life<'_>, u64> = HashMap::new();
    for entry in entries {
        match &entry.fact {
            Fact::Sent {
                id,
                destination,
                text,
            } => {
                let Some(record) = places.get(id.as_str()) else {
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
                Some(record) if record.sequence.get() != *sequence => {
                    let place = record.sequence;
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

fn check_lives(places: &HashMap<&str, &Record>, entries: &[Entry], broken: &mut Vec<String>) {
    let mut handled: HashSet<(Life<'_>, &str)> = HashSet::new();
    let mut last: HashMap<(Life<'_>, &str), u64> = HashMap::new();
    let mut durable: HashMap<&str, u64> = HashMap::new();
    for entry in entries {
        let life = (entry.who.as_str(), entry.life);
        match &entry.fact {
            Fact::Handling { id, sequence, source } => {
                let (who, number) = life;
                if !handled.insert((life, id)) {
                    broken.push(format!("{id} was handled twice by {who} in life {number}"));
                }
                let place = places.get(id.as_str()).map(|record| record.sequence.get());
                if place != Some(*sequence) {
                    broken.push(format!(
                        "{id} was handled by {who} at {sequence}, in the log it is at {place:?}"
                    ));
                }
                let before = last.insert((life, source), *sequence).unwrap_or(0);
                if *sequence < before {
                    broken.push(format!("{id} at {sequence} was handled by {who} after {before}"));
                }
            }
            // Cursors do not wait for the disk: a power cut may take their last moments.
            Fact::PowerCut => durable.clear(),
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
            }
            _ => {}
        }
    }
}

fn check_deliveries(log: &[Record], entries: &[Entry], broken: &mut Vec<String>) {
    let model = Model::of(log);
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
    let questions: HashMap<&str, &Record> = log
        .iter()
        .filter_map(|record| Some((text_of(record)?, record)))
        .collect();
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
