//! Threads that keep to one processor.
//!
//! The simulated thread and the database's driver take turns: while one works the other sleeps, some ten thousand times for a seed.
//! To wake a thread of the same processor costs a fraction of what it costs to wake one of another.

#[cfg(target_os = "linux")]
pub use linux::{available, keep_to};

#[cfg(target_os = "linux")]
mod linux {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    /// The processors on which this process may run.
    pub fn available() -> Vec<usize> {
        let allowed = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
        (0..CpuSet::MAX_CPU).filter(|number| allowed.is_set(*number)).collect()
    }

    /// This thread, and each that it will start, stays on the processor of its job.
    pub fn keep_to(job: usize) {
        let all = available();
        let Some(number) = all.get(job % all.len().max(1)) else { return };
        let mut only = CpuSet::new();
        only.set(*number);
        // Where the system does not allow it, everything is slower and nothing else.
        let _slower = sched_setaffinity(None, &only);
    }
}

/// The processors on which this process may run.
#[cfg(not(target_os = "linux"))]
pub fn available() -> Vec<usize> {
    (0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get)).collect()
}

/// Only Linux is asked for it.
#[cfg(not(target_os = "linux"))]
pub fn keep_to(_job: usize) {}
