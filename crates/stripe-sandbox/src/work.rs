//! Work that may wait for the disk, off the threads that answer.

/// The work panicked, or the program is ending.
#[derive(Debug)]
pub(crate) struct BrokenOff;

/// Does the work on a thread that may wait. A simulated world has one thread, and its state is in memory.
pub(crate) async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, BrokenOff> {
    #[cfg(feature = "simulation")]
    if crate::simulation::is_entered() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| BrokenOff)
}
