//! A command beside a server that is never idle: how it gets a turn on a SQLite file.
//!
//! SQLite lets whoever asks at the right moment have the write lock, and who waits sleeps up to a tenth of a second between two
//! questions. A server that begins again as soon as it has committed would be the one that asks at the right moment, always. So a
//! command holds a lock on a file of its own while it waits, and the server looks at it before it begins.

use std::fs::{File, TryLockError};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// How long one stands back at most; as long as SQLite waits for a lock.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a server does not look again at a question that nobody took back in that time: whoever asked hangs.
const DEAF: Duration = Duration::from_secs(60);

/// Between two looks at the lock.
const PAUSE: Duration = Duration::from_millis(1);

/// Which of the two this process is, with the file.
pub(super) enum Beside {
    /// Stands back while somebody asks.
    Server { file: Arc<File>, deaf_until: Option<Instant> },
    /// Asks.
    Command { file: Arc<File> },
}

/// The question, until it is dropped.
pub(super) struct Asking(Option<Arc<File>>);

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            // The lock ends with the process at the latest.
            let _ = file.unlock();
        }
    }
}

impl Beside {
    pub(super) fn server(file: File) -> Self {
        Self::Server { file: Arc::new(file), deaf_until: None }
    }

    pub(super) fn command(file: File) -> Self {
        Self::Command { file: Arc::new(file) }
    }

    /// Before a transaction begins. What comes back is dropped when it has begun. A lock that does not work is no reason to wait:
    /// SQLite's own lock is what keeps writers apart.
    pub(super) async fn turn(&mut self) -> Asking {
        match self {
            Self::Server { deaf_until: Some(until), .. } if Instant::now() < *until => Asking(None),
            Self::Server { file, deaf_until } => {
                let is_free = wait(|| file.try_lock_shared()).await;
                *deaf_until = (!is_free).then(|| Instant::now() + DEAF);
                drop(Asking(Some(Arc::clone(file))));
                Asking(None)
            }
            Self::Command { file } => {
                wait(|| file.try_lock()).await;
                Asking(Some(Arc::clone(file)))
            }
        }
    }
}

/// Tries until nobody else has the lock; false where somebody has it for too long.
async fn wait(attempt: impl Fn() -> Result<(), TryLockError>) -> bool {
    let began = Instant::now();
    while matches!(attempt(), Err(TryLockError::WouldBlock)) {
        if began.elapsed() > PATIENCE {
            return false;
        }
        sleep(PAUSE).await;
    }
    true
}
