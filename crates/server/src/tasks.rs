//! Tasks that belong to this process. A simulated process can be killed with all its tasks; in the real world the kernel does
//! that, and nothing is needed.

#[cfg(feature = "simulation")]
pub use crate::simulation::own;

use tokio::task::JoinError;

/// Why a task did not come to its end. The error itself may repeat what the task had in hand; where it happened is told by the panic's
/// own line.
#[must_use]
pub fn why_it_broke_off(error: &JoinError) -> &'static str {
    if error.is_panic() { "it panicked" } else { "it was canceled" }
}

/// Makes a future part of this process.
#[cfg(not(feature = "simulation"))]
pub fn own<F: Future>(work: F) -> F {
    work
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_task_had_in_hand_when_it_broke_off_is_not_told() {
        let address = "ada@example.com".to_owned();
        let panicked = tokio::spawn(async move { assert!(address.is_empty(), "cannot go on with {address}") });
        let panicked = panicked.await.unwrap_err();
        assert!(panicked.to_string().contains("ada@example.com"), "the error itself repeats it");
        assert_eq!(why_it_broke_off(&panicked), "it panicked");
        let endless = tokio::spawn(std::future::pending::<()>());
        endless.abort();
        assert_eq!(why_it_broke_off(&endless.await.unwrap_err()), "it was canceled");
    }
}
