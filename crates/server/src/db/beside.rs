//! A command beside a server that is never idle: how it gets a turn on a SQLite file.
//!
//! SQLite lets whoever asks at the right moment have the write lock, and who waits sleeps up to a tenth of a second between two
//! questions. A server that begins again as soon as it has committed would be the one that asks at the right moment, always. So a
//! command holds a lock on a file of its own while it waits, and the server looks at it before it begins.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// How long one stands back at most; as long as SQLite waits for a lock.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks at the lock.
const PAUSE: Duration = Duration::from_millis(1);

/// Which of the two this process is, with the file.
#[derive(Clone)]
pub(super) enum Beside {
    /// Stands back while somebody asks.
    Server(Arc<File>),
    /// Asks.
    Command(Arc<File>),
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
    /// Before a transaction begins. What comes back is dropped when it has begun. A lock that does not work is no reason to wait:
    /// SQLite's own lock is what keeps writers apart.
    pub(super) async fn turn(&self) -> Asking {
        let until = Instant::now() + PATIENCE;
        match self {
            Self::Server(file) => {
                while matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)) && Instant::now() < until
                {
                    sleep(PAUSE).await;
                }
                drop(Asking(Some(Arc::clone(file))));
                Asking(None)
            }
            Self::Command(file) => {
                while matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock)) && Instant::now() < until {
                    sleep(PAUSE).await;
                }
                Asking(Some(Arc::clone(file)))
            }
        }
    }
}
