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
        self.turn_within(PATIENCE).await
    }

    async fn turn_within(&mut self, patience: Duration) -> Asking {
        match self {
            Self::Server { deaf_until: Some(until), .. } if Instant::now() < *until => Asking(None),
            Self::Server { file, deaf_until } => {
                let is_free = wait(patience, || file.try_lock_shared()).await;
                *deaf_until = (!is_free).then(|| Instant::now() + DEAF);
                drop(Asking(Some(Arc::clone(file))));
                Asking(None)
            }
            Self::Command { file } => {
                wait(patience, || file.try_lock()).await;
                Asking(Some(Arc::clone(file)))
            }
        }
    }
}

/// Tries until nobody else has the lock; false where somebody has it for too long.
async fn wait(patience: Duration, attempt: impl Fn() -> Result<(), TryLockError>) -> bool {
    let began = Instant::now();
    while matches!(attempt(), Err(TryLockError::WouldBlock)) {
        if began.elapsed() > patience {
            return false;
        }
        sleep(PAUSE).await;
    }
    true
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::path::Path;
    use std::pin::Pin;
    use std::task::Poll;

    use super::*;

    fn turns(folder: &Path) -> File {
        let mut options = File::options();
        options.read(true).append(true).create(true).open(folder.join("counterfoil.db.turn")).unwrap()
    }

    fn both(folder: &Path) -> (Beside, Beside) {
        (Beside::command(turns(folder)), Beside::server(turns(folder)))
    }

    /// Whether it waits, having been asked once.
    async fn waits<T>(mut turn: Pin<&mut impl Future<Output = T>>) -> bool {
        poll_fn(|context| Poll::Ready(turn.as_mut().poll(context).is_pending())).await
    }

    #[tokio::test]
    async fn a_server_stands_back_for_each_question_until_it_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let (mut command, mut server) = both(folder.path());
        for _ in 0..2 {
            let asking = command.turn().await;
            let mut turn = Box::pin(server.turn());
            assert!(waits(turn.as_mut()).await, "somebody asks");
            drop(asking);
            turn.await;
        }
        assert!(!waits(Box::pin(server.turn()).as_mut()).await, "nobody asks");
    }

    #[tokio::test]
    async fn of_two_commands_one_asks_at_a_time_and_no_server_keeps_them_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let (mut first, mut server) = both(folder.path());
        let (mut second, _) = both(folder.path());
        drop(server.turn().await);
        let asking = first.turn().await;
        let mut turn = Box::pin(second.turn());
        assert!(waits(turn.as_mut()).await, "the first one still asks");
        drop(asking);
        drop(turn.await);
    }

    #[tokio::test]
    async fn a_server_hears_nothing_for_a_while_of_a_question_that_nobody_took_back() {
        let folder = tempfile::tempdir().unwrap();
        let (mut command, mut server) = both(folder.path());
        let _asking = command.turn().await;
        server.turn_within(Duration::ZERO).await;
        assert!(!waits(Box::pin(server.turn()).as_mut()).await, "it is deaf");
        let Beside::Server { deaf_until, .. } = &mut server else { panic!("a server") };
        *deaf_until = deaf_until.map(|until| until - DEAF);
        assert!(waits(Box::pin(server.turn()).as_mut()).await, "and hears it again later");
    }
}
