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
