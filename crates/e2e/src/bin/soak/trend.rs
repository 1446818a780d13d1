//! Whether a series of measurements stays where it is.

/// What a straight line through a series says, fitted by least squares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trend {
    /// The average.
    pub(crate) mean: f64,
    /// By how much the line rises from the first measurement to the last.
    pub(crate) rise: f64,
    /// How far off that may be: twice the standard error.
    pub(crate) error: f64,
}

impl Trend {
    /// The line through measurements taken at equal distances; none through fewer than three.
    pub(crate) fn of(series: &[f64]) -> Option<Self> {
        if series.len() < 3 {
            return None;
        }
        let count = number(series.len());
        let middle = (count - 1.0) / 2.0;
        let mean = series.iter().sum::<f64>() / count;
        let places = || (0..series.len()).map(|place| number(place) - middle);
        let spread: f64 = places().map(|place| place * place).sum();
        let slope = places()
            .zip(series)
            .map(|(place, value)| place * (value - mean))
            .sum::<f64>()
            / spread;
        let off = |(place, value): (f64, &f64)| (value - mean - slope * place).powi(2);
        let left = places().zip(series).map(off).sum::<f64>() / (count - 2.0);
        Some(Self {
            mean,
            rise: slope * (count - 1.0),
            error: 2.0 * (left / spread).sqrt() * (count - 1.0),
        })
    }

    /// Whether it surely rises by more than this part of the average, and by more than so much.
    pub(crate) fn rises(&self, part: f64, least: f64) -> bool {
        (self.mean * part).max(least) < self.rise - self.error
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "measurements are counted in thousands at most"
)]
fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(series: &[f64], rises: bool) {
        let trend = Trend::of(series).unwrap();
        assert_eq!(trend.rises(0.1, 1.0), rises, "{series:?}: {trend:?}");
    }

    #[test]
    fn what_rises_is_told_from_what_only_varies() {
        check(&[50.0, 50.0, 50.0, 50.0], false);
        check(&[50.0, 60.0, 70.0, 80.0], true);
        check(&[80.0, 70.0, 60.0, 50.0], false);
        // By less than a tenth.
        check(&[50.0, 51.0, 52.0, 53.0], false);
        // Higher at the end, and as high in between.
        check(&[50.0, 70.0, 50.0, 70.0, 50.0, 70.0], false);
        assert_eq!(Trend::of(&[1.0, 2.0]), None);
        let line = Trend::of(&[1.0, 3.0, 5.0]).unwrap();
        assert_eq!((line.mean, line.rise, line.error), (3.0, 4.0, 0.0));
    }
}
