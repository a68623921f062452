//! Percentiles, medians and ratios. Small, and tested by hand-made examples, because every number in the report goes through here.

/// How long requests took, in microseconds, sorted.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    pub fn new(mut micros: Vec<u32>) -> Self {
        micros.sort_unstable();
        Self(micros)
    }

    /// The smallest value that at least this share of all values does not exceed (nearest rank), in milliseconds. `per_mille` of
    /// 990 is p99. Zero where nothing was measured.
    pub fn percentile_millis(&self, per_mille: usize) -> f64 {
        let rank = (self.0.len() * per_mille).div_ceil(1000).max(1);
        self.0.get(rank - 1).map_or(0.0, |micros| f64::from(*micros) / 1000.0)
    }
}

/// The middle value; of an even number of values the mean of the two in the middle. `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// One number as a part of another. `None` where there is nothing to divide by.
pub fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0 && part.is_finite()).then(|| part / whole)
}

/// So many things in so much time, a second.
pub fn rate(count: u64, seconds: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
    let count = count as f64;
    if seconds > 0.0 { count / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let hundred = Latencies::new((1..=100).rev().map(|millis| millis * 1000).collect());
        for (per_mille, millis) in [(500, 50.0), (950, 95.0), (990, 99.0), (999, 100.0), (1000, 100.0), (0, 1.0)] {
            assert_eq!(hundred.percentile_millis(per_mille), millis, "{per_mille}");
        }
        let three = Latencies::new(vec![3000, 1000, 2000]);
        assert_eq!(three.percentile_millis(500), 2.0);
        assert_eq!(three.percentile_millis(990), 3.0, "the one slow request is the tail");
        assert_eq!(Latencies::default().percentile_millis(990), 0.0);
    }

    #[test]
    fn the_median_does_not_follow_the_one_bad_run() {
        assert_eq!(median(&[10.0, 11.0, 500.0]), Some(11.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        assert_eq!(ratio(6.0, 10.0), Some(0.6));
        assert_eq!(ratio(6.0, 0.0), None);
        assert_eq!(ratio(f64::NAN, 1.0), None);
        assert_eq!(rate(500, 2.0), 250.0);
        assert_eq!(rate(500, 0.0), 0.0);
    }
}
