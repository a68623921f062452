//! The one source of chance: ids, tokens, jitter.

use rand::Rng as _;

/// Random bytes from the operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entropy;

impl Entropy {
    /// `N` random bytes.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that draws random numbers")]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        #[cfg(feature = "simulation")]
        if let Some(world) = crate::simulation::world() {
            world.fill(&mut bytes);
            return bytes;
        }
        rand::rng().fill_bytes(&mut bytes);
        bytes
    }

    /// A number from 0 up to, but not including, 1: for jitter.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        // 53 bits fill the mantissa of a double exactly.
        let bits = u64::from_be_bytes(self.bytes()) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }

    /// `millis` spread between half and one and a half of itself, so that waiters do not wake together.
    #[must_use]
    pub fn around_millis(&self, millis: i64) -> i64 {
        (millis as f64 * (0.5 + self.fraction())) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What all of these miss is missed once in more draws than a universe has time for.
    const DRAWS: usize = 2_000;

    #[test]
    fn fractions_fill_the_range_from_nothing_to_less_than_one() {
        let drawn: Vec<f64> = (0..DRAWS).map(|_| Entropy.fraction()).collect();
        assert!(drawn.iter().all(|fraction| (0.0..1.0).contains(fraction)));
        for tenth in 0..10 {
            let low = f64::from(tenth) / 10.0;
            assert!(drawn.iter().any(|fraction| (low..low + 0.1).contains(fraction)), "none from {low} on");
        }
    }

    #[test]
    fn waiters_are_spread_from_half_to_one_and_a_half() {
        let drawn: Vec<i64> = (0..DRAWS).map(|_| Entropy.around_millis(1_000)).collect();
        assert!(drawn.iter().all(|millis| (500..1_500).contains(millis)));
        for low in (500..1_500).step_by(100) {
            assert!(drawn.iter().any(|millis| (low..low + 100).contains(millis)), "none from {low} on");
        }
        assert_eq!(Entropy.around_millis(0), 0);
    }
}
