//! The workers: loops around use cases that decide nothing but when.
//!
//! Each loop works until there is nothing due, then sleeps until it is woken in this process or the poll interval is over;
//! other replicas' rows are found by polling.

mod chores;

use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{App, Error};
use crate::mail::Mailer;
use crate::tasks;

pub use chores::Chore;

/// How long a row that another replica stored waits at most.
const POLL_EVERY: Duration = Duration::from_millis(500);

/// The pause after a failure of the database, so that a broken one is not hammered.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// How often open checkouts are looked at again, and how often it is asked whether another sweep is due.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Loops over the inbox side by side: while one waits for the database, the other goes on.
const INBOX_LOOPS: usize = 2;

/// What is being done when the service is told to stop has this long to come to its end. What has not is safe to drop, like
/// everything here: claims and leases run out, and somebody does it again.
pub(crate) const FINISH_MAX: Duration = Duration::from_secs(10);

/// Starts all workers; they end when `shutdown` is cancelled, after what they are doing.
pub fn start(app: &App, mailer: Mailer, tasks: &TaskTracker, shutdown: &CancellationToken) {
    let (stopping, stop) = (app.signals.stopping.clone(), shutdown.clone());
    tasks.spawn(async move {
        stop.cancelled().await;
        stopping.cancel();
    });
    for _ in 0..INBOX_LOOPS {
        let (inbox, stop) = (app.clone(), shutdown.clone());
        tasks.spawn(async move {
            let round = || {
                let app = inbox.clone();
                async move { app.work_inbox().await }
            };
            work("inbox", &inbox.signals.inbox, &stop, round).await;
        });
    }
    let (outbox, stop) = (app.clone(), shutdown.clone());
    tasks.spawn(async move {
        let round = || {
            let (app, mailer) = (outbox.clone(), mailer.clone());
            async move { app.work_outbox(&mailer).await }
        };
        work("outbox", &outbox.signals.outbox, &stop, round).await;
    });
    let (effects, stop) = (app.clone(), shutdown.clone());
    tasks.spawn(async move {
        let round = || {
            let app = effects.clone();
            async move { app.work_effects().await }
        };
        work("effects", &effects.signals.effects, &stop, round).await;
    });
    // What has an appointment may be overdue since an outage.
    let begin: [(&'static [Chore], Duration); 2] =
        [(&Chore::EACH_ROUND, SWEEP_EVERY), (&Chore::BY_APPOINTMENT, Duration::ZERO)];
    for (chores, first) in begin {
        let (app, stop) = (app.clone(), shutdown.clone());
        tasks.spawn(async move { again_and_again(first, SWEEP_EVERY, &stop, || do_all(chores, &app, &stop)).await });
    }
}

async fn work<F, W>(name: &'static str, wake: &Notify, stop: &CancellationToken, round: F)
where
    F: Fn() -> W,
    W: Future<Output = Result<usize, Error>> + Send + 'static,
{
    while !stop.is_cancelled() {
        let pause = match finish(name, stop, round()).await {
            Some(0) => POLL_EVERY,
            Some(_worked) => continue,
            None => PAUSE_AFTER_FAILURE,
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Does one round in a task of its own, so that one that panics ends nothing but itself. `None` where it came to nothing.
async fn finish<T: Send + 'static>(
    name: &'static str,
    stop: &CancellationToken,
    round: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Option<T> {
    finish_within(FINISH_MAX, name, stop, round).await
}

async fn finish_within<T: Send + 'static>(
    finish_max: Duration,
    name: &'static str,
    stop: &CancellationToken,
    round: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Option<T> {
    let mut running = tokio::spawn(round);
    let time_is_up = async {
        stop.cancelled().await;
        tokio::time::sleep(finish_max).await;
    };
    let ended = tokio::select! {
        biased;
        ended = &mut running => ended,
        () = time_is_up => {
            running.abort();
            tracing::warn!(worker = name, "a round is cut short, because the service stops");
            return None;
        }
    };
    match ended {
        Ok(Ok(done)) => Some(done),
        Ok(Err(error)) => {
            tracing::error!(worker = name, %error, "a round failed");
            None
        }
        Err(error) => {
            tracing::error!(worker = name, why = tasks::why_it_broke_off(&error), "a round broke off");
            None
        }
    }
}

/// Rounds that begin after `first`, with a pause between each two, until the service stops.
async fn again_and_again<W: Future<Output = ()>>(
    first: Duration,
    every: Duration,
    stop: &CancellationToken,
    round: impl Fn() -> W,
) {
    let mut pause = first;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        round().await;
        pause = every;
    }
}

async fn do_all(chores: &[Chore], app: &App, stop: &CancellationToken) {
    for chore in chores {
        let (chore, app) = (*chore, app.clone());
        finish(chore.name(), stop, async move { chore.run(&app).await }).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::app::Failure;

    #[tokio::test]
    async fn a_round_that_panics_or_fails_ends_nothing_but_itself() {
        let stop = CancellationToken::new();
        assert_eq!(finish("test", &stop, async { Ok(7) }).await, Some(7));
        let failing = async { Err::<usize, Error>(Failure::CustomerBusy.into()) };
        assert_eq!(finish("test", &stop, failing).await, None);
        let panicking = async {
            assert!(std::hint::black_box(false), "a bug");
            Ok(1)
        };
        assert_eq!(finish("test", &stop, panicking).await, None);
    }

    #[tokio::test]
    async fn a_round_that_does_not_end_does_not_hold_up_the_stop() {
        let stop = CancellationToken::new();
        stop.cancel();
        let (soon, slow) = (Duration::from_millis(200), Duration::from_millis(20));
        let finishing = async move {
            tokio::time::sleep(slow).await;
            Ok(1)
        };
        assert_eq!(finish_within(soon, "test", &stop, finishing).await, Some(1), "it has time to finish");
        let endless = std::future::pending::<Result<usize, Error>>();
        assert_eq!(finish_within(soon, "test", &stop, endless).await, None);
    }

    #[tokio::test]
    async fn rounds_go_on_until_the_stop_and_the_first_one_waits_where_it_is_to() {
        let (an_hour, a_moment) = (Duration::from_secs(3600), Duration::from_millis(1));
        for (first, every, rounds) in [(Duration::ZERO, a_moment, 3), (a_moment, an_hour, 1), (an_hour, a_moment, 0)] {
            let (stop, done) = (CancellationToken::new(), Cell::new(0));
            let round = async || {
                done.set(done.get() + 1);
                if done.get() == 3 {
                    stop.cancel();
                }
            };
            let running = again_and_again(first, every, &stop, round);
            let ended = tokio::time::timeout(Duration::from_millis(300), running).await.is_ok();
            assert_eq!((done.get(), ended), (rounds, rounds == 3), "{first:?}, then every {every:?}");
        }
    }
}
