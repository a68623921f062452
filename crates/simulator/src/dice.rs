//! The only source of chance: a sequence that its seed determines.

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast, and good enough to choose what goes wrong.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The sequence of this seed; each purpose has one of its own, so that a draw more here changes nothing there.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ hash(0, purpose.as_bytes()));
        dice.draw();
        dice
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` up to and with `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        debug_assert!(low <= high);
        low + self.draw() % (high - low + 1)
    }

    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.draw() % length.max(1) as u64).unwrap_or(0)
    }

    /// Yes, so many times in ten thousand.
    pub fn of_ten_thousand(&mut self, times: u64) -> bool {
        times > 0 && self.draw() % 10_000 < times
    }

    pub fn percent(&mut self, times: u64) -> bool {
        self.of_ten_thousand(times * 100)
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let drawn = self.draw().to_le_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.index(last + 1);
            items.swap(last, other);
        }
    }
}

/// FNV-1a: tells one trace from another.
pub fn hash(before: u64, bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(before ^ 0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_determines_its_sequence_and_a_purpose_has_its_own() {
        let draw = |seed, purpose| {
            let mut dice = Dice::new(seed, purpose);
            [dice.draw(), dice.draw(), dice.draw()]
        };
        assert_eq!(draw(7, "users"), draw(7, "users"));
        assert_ne!(draw(7, "users"), draw(8, "users"));
        assert_ne!(draw(7, "users"), draw(7, "faults"));
    }

    #[test]
    fn bounds_are_kept() {
        let mut dice = Dice::new(1, "bounds");
        assert!((0..1000).all(|_| (3..=5).contains(&dice.between(3, 5))));
        assert!(!(0..1000).any(|_| dice.of_ten_thousand(0)));
    }
}
