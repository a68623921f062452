//! Tasks that belong to this process. A simulated process can be killed with all its tasks; in the real world the kernel does
//! that, and nothing is needed.

#[cfg(feature = "simulation")]
pub use crate::simulation::own;

/// Makes a future part of this process.
#[cfg(not(feature = "simulation"))]
pub fn own<F: Future>(work: F) -> F {
    work
}
