//! The one clock. Whoever needs to know the time is given it; only the shell's edge asks here.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use counterfoil_core::Timestamp;

/// The machine's clock, moved by an offset that the sandbox controls: with it renewals and trial ends can be watched
/// without waiting. In every other mode the offset is zero for ever.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset_seconds: Arc<AtomicI64>,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// The machine's clock plus an offset that somebody else moves.
    #[must_use]
    pub fn with_offset(offset_seconds: Arc<AtomicI64>) -> Self {
        Self { offset_seconds }
    }

    /// The time now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    pub fn now(&self) -> Timestamp {
        #[cfg(feature = "simulation")]
        if let Some(world) = crate::simulation::world() {
            return Timestamp::from_micros(world.now_micros());
        }
        let micros = jiff::Timestamp::now().as_microsecond();
        Timestamp::from_micros(micros).plus_seconds(self.offset_seconds.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_moves_the_offset_moves_every_clock_that_has_it() {
        let offset = Arc::new(AtomicI64::new(0));
        let clock = Clock::with_offset(Arc::clone(&offset));
        let (other, ours) = (clock.clone(), Clock::system());
        let ahead = || [&clock, &other].map(|clock| clock.now().as_unix_seconds() - ours.now().as_unix_seconds());
        assert!(ahead().iter().all(|seconds| (0..60).contains(seconds)));
        offset.store(86_400, Ordering::Relaxed);
        assert!(ahead().iter().all(|seconds| (86_400..86_460).contains(seconds)));
    }
}
