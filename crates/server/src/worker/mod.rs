//! The workers: loops around use cases that decide nothing but when.
//!
//! Each loop works until there is nothing due, then sleeps until it is woken in this process or the poll interval is over;
//! other replicas' rows are found by polling.

use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{App, Error};
use crate::mail::Mailer;

/// How long a row that another replica stored waits at most.
const POLL_EVERY: Duration = Duration::from_millis(500);

/// The pause after a failure of the database, so that a broken one is not hammered.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// How often open checkouts are looked at again.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// How old an open checkout is before it is looked at without a webhook.
const SWEEP_AFTER_SECONDS: i64 = 300;

/// Starts all workers; they end when `shutdown` is cancelled, after what they are doing.
pub fn start(app: &App, mailer: Mailer, tasks: &TaskTracker, shutdown: &CancellationToken) {
    let (inbox, stop) = (app.clone(), shutdown.clone());
    tasks.spawn(async move {
        let round = || {
            let app = inbox.clone();
            async move { app.work_inbox().await }
        };
        work("inbox", &inbox.signals.inbox, &stop, round).await;
    });
    let (outbox, stop) = (app.clone(), shutdown.clone());
    tasks.spawn(async move {
        let round = || {
            let (app, mailer) = (outbox.clone(), mailer.clone());
            async move { app.work_outbox(&mailer).await }
        };
        work("outbox", &outbox.signals.outbox, &stop, round).await;
    });
    let (sweep_app, stop) = (app.clone(), shutdown.clone());
    tasks.spawn(async move { sweep(&sweep_app, &stop).await });
}

async fn work<F, W>(name: &'static str, wake: &Notify, stop: &CancellationToken, round: F)
where
    F: Fn() -> W,
    W: Future<Output = Result<usize, Error>>,
{
    while !stop.is_cancelled() {
        let pause = match round().await {
            Ok(0) => POLL_EVERY,
            Ok(_worked) => continue,
            Err(error) => {
                tracing::error!(worker = name, %error, "a round failed");
                PAUSE_AFTER_FAILURE
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn sweep(app: &App, stop: &CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
        let older_than = app.now().plus_seconds(-SWEEP_AFTER_SECONDS);
        if let Err(error) = app.sweep_open(older_than).await {
            tracing::error!(%error, "the sweep of open checkouts failed");
        }
        if let Err(error) = app.forget_ended_sessions().await {
            tracing::error!(%error, "ended sessions could not be removed");
        }
    }
}
