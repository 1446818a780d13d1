//! What a process did, written down as it happens, and the checker that holds it against the log.
//!
//! A ledger is a file of lines, each written by one call before anything else happens, so that killing the
//! process loses no line that mattered: `sent ID`, `acked ID SEQUENCE`, `handled ID SEQUENCE`.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::Context;

/// Writes a ledger.
#[derive(Debug)]
pub struct Ledger(File);

impl Ledger {
    /// Opens a ledger, to go on at its end.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self(file.with_context(|| format!("opening {}", path.display()))?))
    }

    /// Writes one line.
    pub fn write(&self, line: &str) -> anyhow::Result<()> {
        (&self.0)
            .write_all(format!("{line}\n").as_bytes())
            .context("writing the ledger")
    }
}

/// A line of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The event was handed to the client library.
    Sent(String),
    /// The event was acknowledged at this sequence.
    Acked(String, u64),
    /// The event was handled; it came with this sequence.
    Handled(String, u64),
}

impl Line {
    /// The id of the event that this line says was handled.
    pub fn handled(&self) -> Option<&str> {
        match self {
            Self::Handled(id, _) => Some(id),
            Self::Sent(_) | Self::Acked(..) => None,
        }
    }
}

/// Reads a ledger. A last line that was cut off is left out.
pub fn read(path: &Path) -> anyhow::Result<Vec<Line>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["sent", id] => Ok(Line::Sent(id.to_owned())),
            ["acked", id, sequence] => Ok(Line::Acked(id.to_owned(), sequence.parse()?)),
            ["handled", id, sequence] => Ok(Line::Handled(id.to_owned(), sequence.parse()?)),
            _ => anyhow::bail!("not a line of a ledger: {line:?}"),
        }
    });
    lines.collect()
}

/// Holds what processes wrote down against the log, and returns every promise that was broken.
///
/// `log` has the ids of the log with their sequences, in order. Each ledger is that of one life of one process.
///
/// - An acknowledged event is in the log, once, at the sequence that was acknowledged.
/// - Events of one sender are in the log in the order in which it sent them.
/// - A life of a receiver handles no event twice, and handles the events of each sender in log order. (Handlers of
///   different senders run side by side.) An id is the sender's name and a number, with `-` between.
/// - Every event of the log was handled in at least one life of the receiver.
pub fn check(log: &[(String, u64)], senders: &[Vec<Line>], receivers: &[Vec<Line>]) -> Vec<String> {
    let mut broken = Vec::new();
    let mut places: HashMap<&str, u64> = HashMap::new();
    for (id, sequence) in log {
        if let Some(before) = places.insert(id, *sequence) {
            broken.push(format!("{id} is in the log at {before} and at {sequence}"));
        }
    }
    for lines in senders {
        let mut last = 0;
        for line in lines {
            match line {
                Line::Acked(id, sequence) => match places.get(id.as_str()) {
                    None => broken.push(format!(
                        "{id} was acknowledged at {sequence} and is not in the log"
                    )),
                    Some(place) if place != sequence => {
                        broken.push(format!("{id} was acknowledged at {sequence} and is at {place}"));
                    }
                    Some(_) => {}
                },
                Line::Sent(id) => {
                    let Some(place) = places.get(id.as_str()) else {
                        continue;
                    };
                    if *place < last {
                        broken.push(format!("{id} was sent later than what is behind it in the log"));
                    }
                    last = *place;
                }
                Line::Handled(..) => {}
            }
        }
    }
    let mut handled: HashSet<&str> = HashSet::new();
    for lines in receivers {
        let mut last: HashMap<&str, u64> = HashMap::new();
        let mut life: HashSet<&str> = HashSet::new();
        for line in lines {
            let Line::Handled(id, sequence) = line else {
                continue;
            };
            handled.insert(id);
            if !life.insert(id) {
                broken.push(format!("{id} was handled twice in the same life"));
                continue;
            }
            let sender = id.rsplit_once('-').map_or(id.as_str(), |(sender, _)| sender);
            let before = last.insert(sender, *sequence).unwrap_or(0);
            if *sequence < before {
                broken.push(format!(
                    "{id} at {sequence} was handled after {before} in the same life"
                ));
            }
        }
    }
    let missed = log.iter().filter(|(id, _)| !handled.contains(id.as_str()));
    broken.extend(missed.map(|(id, sequence)| format!("{id} at {sequence} was never handled")));
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(log: &[(&str, u64)], sender: &[Line], receiver: &[Line]) -> usize {
        let log: Vec<(String, u64)> = log
            .iter()
            .map(|(id, sequence)| ((*id).to_owned(), *sequence))
            .collect();
        check(&log, &[sender.to_vec()], &[receiver.to_vec()]).len()
    }

    fn acked(id: &str, sequence: u64) -> Line {
        Line::Acked(id.to_owned(), sequence)
    }

    fn sent(id: &str) -> Line {
        Line::Sent(id.to_owned())
    }

    fn handled(id: &str, sequence: u64) -> Line {
        Line::Handled(id.to_owned(), sequence)
    }

    #[test]
    fn the_checker_finds_every_kind_of_broken_promise() {
        let log = [("a", 1), ("b", 2)];
        let all = [handled("a", 1), handled("b", 2)];
        assert_eq!(
            verdict(&log, &[sent("a"), sent("b"), acked("a", 1), acked("b", 2)], &all),
            0
        );
        assert_eq!(verdict(&log, &[acked("c", 3)], &all), 1, "lost");
        assert_eq!(verdict(&log, &[acked("a", 2)], &all), 1, "moved");
        assert_eq!(verdict(&log, &[sent("b"), sent("a")], &all), 1, "out of order");
        assert_eq!(verdict(&[("a", 1), ("a", 2)], &[], &all), 1, "twice in the log");
        assert_eq!(
            verdict(&log, &[], &[handled("a", 1), handled("a", 1), handled("b", 2)]),
            1,
            "handled twice"
        );
        let log = [("s-1", 1), ("s-2", 2)];
        assert_eq!(
            verdict(&log, &[], &[handled("s-2", 2), handled("s-1", 1)]),
            1,
            "handled out of order"
        );
        assert_eq!(verdict(&log, &[], &[handled("s-1", 1)]), 1, "never handled");
    }
}
