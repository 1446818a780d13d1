//! How long a step took.

#![expect(
    clippy::disallowed_types,
    reason = "chores wait for real programs; there is no clock to pause"
)]

use std::time::{Duration, Instant};

/// Runs from the moment it is made.
#[derive(Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// The time since the start, as text.
    pub(crate) fn read(&self) -> String {
        written(self.0.elapsed())
    }
}

fn written(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds}.{} s", time.subsec_millis() / 100),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_appear_once_there_are_any() {
        let check =
            |milliseconds, expected| assert_eq!(written(Duration::from_millis(milliseconds)), expected);
        check(0, "0.0 s");
        check(59_999, "59.9 s");
        check(60_000, "1 min 00 s");
        check(754_000, "12 min 34 s");
    }
}
