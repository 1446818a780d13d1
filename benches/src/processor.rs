//! The time of processors that a process has taken, as Linux tells it.

use std::time::Duration;

use anyhow::{Context, Result};

/// How many of its units Linux has in a second, on every architecture.
const TICKS: u32 = 100;

/// The time of a process (`self` for this one) in its own code and in the kernel.
pub(crate) fn time_of(process: &str) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    parse(&text).context("what Linux says of a process")
}

/// The name of the program is in brackets and may have anything in it; the 12th and 13th words after it are the times.
fn parse(text: &str) -> Option<Duration> {
    let (_, words) = text.rsplit_once(") ")?;
    let mut times = words.split(' ').skip(11).map(str::parse::<u32>);
    let ticks = times.next()?.ok()? + times.next()?.ok()?;
    Some(Duration::from_secs(1) / TICKS * ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_times_are_added() {
        let text = "7 (a (strange) name) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 1 1 1 1";
        assert_eq!(parse(text), Some(Duration::from_secs(2)));
        assert_eq!(parse(""), None);
    }
}
