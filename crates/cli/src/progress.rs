//! How far a transfer is, for people who wait for it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytesize::ByteSize;
use tokio::time::Instant;

use crate::meter::Meter;
use crate::output::Output;

/// A transfer that takes less is not told of.
const PATIENCE: Duration = Duration::from_millis(500);

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// A transfer, told of on a terminal while it lasts.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Guards the line; held while it is written.
    meter: Mutex<Meter>,
    /// For people, and not for programs.
    visible: bool,
    started: Instant,
    /// When it was last told, in milliseconds since the start.
    told_ms: AtomicU64,
}

impl Progress {
    pub(crate) fn new(output: Output) -> Self {
        Self {
            meter: Mutex::new(Meter::new()),
            visible: output == Output::Human,
            started: Instant::now(),
            told_ms: AtomicU64::new(0),
        }
    }

    /// So many bytes of so many went.
    pub(crate) fn tell(&self, done: u64, all: u64) {
        let elapsed = self.started.elapsed();
        let (now_ms, before_ms) = (milliseconds(elapsed), self.told_ms.load(Ordering::Relaxed));
        if !self.visible || elapsed < PATIENCE || now_ms < before_ms + milliseconds(PAUSE) {
            return;
        }
        self.told_ms.store(now_ms, Ordering::Relaxed);
        self.meter
            .lock()
            .expect("poisoned")
            .write(line(done, all, elapsed));
    }
}

fn line(done: u64, all: u64, elapsed: Duration) -> String {
    let percent = u128::from(done) * 100 / u128::from(all.max(1));
    let per_second = u128::from(done) * 1000 / elapsed.as_millis().max(1);
    let rate = u64::try_from(per_second).unwrap_or(u64::MAX);
    format!(
        "{percent:>3} %  {} of {}, {}/s",
        size(done),
        size(all),
        size(rate)
    )
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A number of bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_part_whole_and_rate() {
        let check = |done, all, milliseconds, expected: &str| {
            assert_eq!(line(done, all, Duration::from_millis(milliseconds)), expected);
        };
        check(512 << 10, 1 << 20, 500, " 50 %  512.0 KiB of 1.0 MiB, 1.0 MiB/s");
        check(0, 0, 0, "  0 %  0 B of 0 B, 0 B/s");
        check(u64::MAX, u64::MAX, 1, "100 %  16.0 EiB of 16.0 EiB, 16.0 EiB/s");
    }
}
