//! Percentiles, medians and ratios.

use std::time::Duration;

/// The value at a share of the values, which are not empty.
pub(crate) fn percentile(samples: &mut [Duration], share: f64) -> Duration {
    samples.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a few thousand values"
    )]
    let index = (samples.len() as f64 * share) as usize;
    samples[index.min(samples.len() - 1)]
}

/// The middle of the values; of two in the middle the upper. None of no values.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// The median over the runs of one divided by the other in the same run.
pub(crate) fn ratio(values: &[f64], beside: &[f64]) -> Option<f64> {
    let ratios: Vec<f64> = values
        .iter()
        .zip(beside)
        .map(|(value, beside)| value / beside)
        .collect();
    median(&ratios)
}

/// So many in that time, a second.
pub(crate) fn per_second(number: u64, time: Duration) -> f64 {
    float(number) / time.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "no count here is that large")]
pub(crate) const fn float(number: u64) -> f64 {
    number as f64
}

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let check = |share, expected| {
            let mut samples: Vec<Duration> = (1..=1000).rev().map(Duration::from_millis).collect();
            assert_eq!(
                percentile(&mut samples, share),
                Duration::from_millis(expected),
                "{share}"
            );
        };
        check(0.0, 1);
        check(0.5, 501);
        check(0.999, 1000);
        check(1.0, 1000);
    }

    #[test]
    fn a_ratio_compares_what_was_measured_together() {
        assert_eq!(ratio(&[2.0, 30.0, 8.0], &[1.0, 10.0, 2.0]), Some(3.0));
        assert_eq!(ratio(&[], &[]), None);
    }
}
