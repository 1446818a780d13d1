//! How long to wait before the next attempt.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(15);

/// Doubles from 100 ms to 15 s; each delay is cut by a random part of up to a half, so that the clients of a
/// server that restarts do not all return at the same moment.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    pub(crate) fn next_delay(&mut self) -> Duration {
        let longest = self.next;
        self.next = (longest * 2).min(LONGEST);
        // Without randomness there is still a delay, only one that others may share.
        let random = f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX);
        longest.mul_f64(1.0 - random / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_limit_and_differ() {
        let mut backoff = Backoff::new();
        let delays: Vec<Duration> = (0..20).map(|_| backoff.next_delay()).collect();
        for (attempt, delay) in delays.iter().enumerate() {
            let longest = (FIRST * 2_u32.pow(u32::try_from(attempt).unwrap())).min(LONGEST);
            assert!(
                longest / 2 <= *delay && *delay <= longest,
                "attempt {attempt}: {delay:?}"
            );
        }
        assert!(delays[10..].windows(2).any(|pair| pair[0] != pair[1]));
    }
}
