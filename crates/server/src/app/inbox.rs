//! Working the inbox off: find out whose customer an event is about, then look at the provider once for all of them.
//!
//! Events of one customer are claimed together and cost one look. Customers whose turn it is at the same moment share what the
//! database has to do for each: one transaction takes their leases and marks what waits, one writes what their looks showed.
//! Nobody waits for anybody else's look: while some are under way, more is claimed. An event that matches nobody yet stays: the
//! row it speaks of may not be committed, or may come back with a restored backup.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use counterfoil_core::{CustomerId, Refusal, planted};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use super::leases::{Afterwards, Lease};
use super::owners::{Sorted, not_in_the_book};
use super::saving::{Saved, Seen};
use super::sync::{Before, Begun, Sight, Synced};
use super::{App, Error, Failure};
use crate::points;
use crate::store;
use crate::store::inbox::Claimed;
use crate::tasks;

/// Rows claimed at once.
const CLAIM_MAX: usize = 32;

/// Customers looked at side by side, and strangers asked about.
const LOOKS_AT_ONCE: usize = 24;

/// More is claimed while fewer customers than this wait for their look or its write.
const LOOKS_WAITING: usize = 16;

/// More is claimed while fewer questions about strangers than this are under way.
const ASIDE_MAX: usize = 200;

/// How long rows of other replicas, and rows that come back, wait while looks are under way.
const CLAIM_EVERY: Duration = Duration::from_millis(500);

/// A claimed row comes back after this long where its worker died: a paying customer waits for it. A worker that is only slow
/// still holds the customer's lease then, so the row is put back and nothing is done twice.
pub(super) const HIDDEN_SECONDS: i64 = 15;

/// A look that is to be written.
struct Ready {
    lease: Lease,
    before: Before,
    sight: Sight,
    rows: Vec<Claimed>,
}

/// What is under way.
struct Round {
    /// Looks: each ends with what is to be written, or with nothing where it came to nothing.
    looking: JoinSet<Option<Ready>>,
    places: Arc<Semaphore>,
    /// Everything else that takes its time.
    aside: JoinSet<()>,
    /// Places of their own: another program on the same account may send many, and our customers do not wait for them.
    strange_places: Arc<Semaphore>,
    /// More may be due.
    is_due: bool,
    count: usize,
}

impl Round {
    fn new() -> Self {
        Self {
            looking: JoinSet::new(),
            places: Arc::new(Semaphore::new(LOOKS_AT_ONCE)),
            aside: JoinSet::new(),
            strange_places: Arc::new(Semaphore::new(LOOKS_AT_ONCE)),
            is_due: true,
            count: 0,
        }
    }

    fn has_room(&self) -> bool {
        self.looking.len() < LOOKS_WAITING && self.aside.len() < ASIDE_MAX
    }

    fn is_empty(&self) -> bool {
        self.looking.is_empty() && self.aside.is_empty()
    }

    /// This look, and all others that are ready by now, in the order of the customers.
    fn take_ready(&mut self, first: Result<Option<Ready>, JoinError>) -> Vec<Ready> {
        let mut ready = BTreeMap::new();
        let mut next = Some(first);
        while let Some(done) = next {
            match done {
                Ok(Some(one)) => drop(ready.insert(one.lease.customer_id.clone(), one)),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(why = tasks::why_it_broke_off(&error), "a look at the provider broke off")
                }
            }
            next = self.looking.try_join_next();
        }
        ready.into_values().collect()
    }
}

impl App {
    /// Claims due events and works them off, and goes on claiming for as long as looks are under way. Answers how many events
    /// there were: none means that one can sleep.
    ///
    /// # Errors
    /// Failures of the database in claiming, after what was under way has come to its end; what fails later is written to its row.
    pub async fn work_inbox(&self) -> Result<usize, Error> {
        let mut round = Round::new();
        let mut failed = None;
        loop {
            let may_claim = failed.is_none() && !self.signals.stopping.is_cancelled();
            if may_claim && round.is_due && round.has_room() {
                self.forget_signal().await;
                failed = self.claim_more(&mut round).await.err();
            }
            let may_wait = may_claim && !round.is_due && !round.is_empty();
            tokio::select! {
                biased;
                Some(done) = round.looking.join_next() => {
                    let ready = round.take_ready(done);
                    if !ready.is_empty() {
                        self.save_ready(&mut round, ready).await;
                    }
                }
                Some(done) = round.aside.join_next() => {
                    if let Err(error) = done {
                        let why = tasks::why_it_broke_off(&error);
                        tracing::error!(why, "what was done about inbox rows broke off; they come back by themselves");
                    }
                }
                () = self.signals.inbox.notified(), if may_wait => round.is_due = true,
                () = tokio::time::sleep(CLAIM_EVERY), if may_wait => round.is_due = true,
                else => break,
            }
        }
        failed.map_or(Ok(round.count), Err)
    }

    /// Whatever was told until now is in the table, and is found by the claim that follows.
    async fn forget_signal(&self) {
        tokio::select! {
            biased;
            () = self.signals.inbox.notified() => {}
            () = std::future::ready(()) => {}
        }
    }

    async fn claim_more(&self, round: &mut Round) -> Result<(), Error> {
        let (count, sorted) = self.again(|| self.claim()).await?;
        round.is_due = count == CLAIM_MAX;
        round.count += count;
        let Sorted { ours, strangers, payers, early } = sorted;
        for (external, rows) in strangers {
            let places = Arc::clone(&round.strange_places);
            self.aside(round, async move |app: App| {
                let _place = places.acquire_owned().await;
                app.ask_whose(&external, &rows).await
            });
        }
        for (payment, rows) in payers {
            let places = Arc::clone(&round.strange_places);
            self.aside(round, async move |app: App| {
                let _place = places.acquire_owned().await;
                app.ask_who_paid(&payment, &rows).await
            });
        }
        if !early.is_empty() {
            self.aside(round, async move |app: App| app.fail_rows(&early, &not_in_the_book()).await);
        }
        self.begin_all(round, ours).await
    }

    async fn claim(&self) -> Result<(usize, Sorted), Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let hidden_until = now.plus_seconds(HIDDEN_SECONDS);
        let claimed = store::inbox::claim(&mut tx, now, hidden_until, CLAIM_MAX as i64).await?;
        let count = claimed.len();
        if count > 0 {
            points::next("W3");
        }
        let sorted = self.sort_by_book(&mut tx, claimed).await?;
        tx.commit().await?;
        Ok((count, sorted))
    }

    /// Does something about rows whose look is not begun here, beside everything else.
    fn aside<W>(&self, round: &mut Round, work: impl FnOnce(Self) -> W + Send + 'static)
    where
        W: Future<Output = Result<(), Error>> + Send,
    {
        let app = self.clone();
        round.aside.spawn(tasks::own(async move { note(work(app).await) }));
    }

    /// Begins the looks at these customers together. Where that fails for one of them, it is begun for each by itself.
    async fn begin_all(&self, round: &mut Round, mut ours: BTreeMap<CustomerId, Vec<Claimed>>) -> Result<(), Error> {
        let customers: Vec<CustomerId> = ours.keys().cloned().collect();
        let mut begun = match self.again(|| self.begin_looks(&customers)).await {
            Err(Error::Failed(Failure::Database(error))) if error.is_unavailable() => return Err(error.into()),
            Err(_) if customers.len() > 1 => Vec::new(),
            Err(error) => {
                let rows: Vec<Claimed> = ours.into_values().flatten().collect();
                return self.fail_rows(&rows, &error).await;
            }
            Ok(begun) => begun,
        };
        if begun.is_empty() {
            for customer_id in &customers {
                match self.again(|| self.begin_looks(std::slice::from_ref(customer_id))).await {
                    Ok(one) => begun.extend(one),
                    Err(error) => self.fail_rows(&ours.remove(customer_id).unwrap_or_default(), &error).await?,
                }
            }
        }
        let mut busy = Vec::new();
        for (customer_id, begun) in begun {
            let rows = ours.remove(&customer_id).unwrap_or_default();
            match begun {
                Begun::Busy => busy.extend(rows),
                Begun::Gone(lease) => self.aside(round, async move |app: App| {
                    app.release(lease).await;
                    app.finish_for_deleted(&customer_id, &rows).await
                }),
                Begun::Ready(lease, before) => {
                    let (app, places) = (self.clone(), Arc::clone(&round.places));
                    round.looking.spawn(tasks::own(async move { app.look_for(lease, *before, rows, places).await }));
                }
            }
        }
        self.put_back_rows(&busy).await
    }

    async fn look_for(self, lease: Lease, before: Before, rows: Vec<Claimed>, places: Arc<Semaphore>) -> Option<Ready> {
        let looking = async {
            let _place = places.acquire_owned().await;
            self.look(&before).await
        };
        match self.attend(&lease, looking).await {
            Ok(sight) => Some(Ready { lease, before, sight, rows }),
            Err(error) => {
                let customer_id = lease.customer_id.clone();
                self.release(lease).await;
                note(self.settle_rows(&customer_id, &rows, Err(error)).await);
                None
            }
        }
    }

    /// Writes what these looks showed, and what that means for the rows that asked for them.
    async fn save_ready(&self, round: &mut Round, ready: Vec<Ready>) {
        let afterwards = self.afterwards();
        let seen: Vec<Seen<'_>> =
            ready.iter().map(|Ready { lease, before, sight, .. }| Seen { lease, before, sight }).collect();
        let saved = self.save_looks(&seen, afterwards).await;
        for (Ready { lease, rows, .. }, saved) in ready.into_iter().zip(saved) {
            let is_repair = |saved: &Saved| saved.changed && rows.iter().any(|row| row.found_by_sweep);
            if afterwards == Afterwards::GiveBack && saved.as_ref().is_ok_and(|saved| !is_repair(saved)) {
                continue;
            }
            self.aside(round, async move |app: App| {
                let customer_id = lease.customer_id.clone();
                let synced = app.attend(&lease, app.conclude(&lease, saved)).await;
                if synced.is_err() || afterwards == Afterwards::Keep {
                    app.release(lease).await;
                }
                app.settle_rows(&customer_id, &rows, synced).await
            });
        }
    }

    /// Looks at a customer because of these rows.
    pub(super) async fn sync_for(&self, customer_id: &CustomerId, rows: &[Claimed]) -> Result<(), Error> {
        let synced = self.sync_customer(customer_id).await;
        self.settle_rows(customer_id, rows, synced).await
    }

    /// What a look came to, for the rows that asked for it. Where it was written, they are finished by it.
    async fn settle_rows(
        &self,
        customer_id: &CustomerId,
        rows: &[Claimed],
        synced: Result<Synced, Error>,
    ) -> Result<(), Error> {
        match synced {
            Ok(Synced::Done { changed: true }) if rows.iter().any(|row| row.found_by_sweep) => {
                self.note_repair("events", customer_id).await
            }
            Ok(Synced::Done { .. }) => Ok(()),
            Ok(Synced::Busy) => self.put_back_rows(rows).await,
            // Known a moment ago, so the account is deleted.
            Err(Error::Refused(Refusal::CustomerUnknown)) => self.finish_for_deleted(customer_id, rows).await,
            Err(_) if planted!("failed-look-drops-events") => self.ignore_rows(rows, "look_failed").await,
            Err(error) => self.fail_rows(rows, &error).await,
        }
    }
}

fn note(result: Result<(), Error>) {
    if let Err(error) = result {
        tracing::error!(%error, "an inbox row could not be put back; it comes back by itself");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_is_claimed_until_enough_looks_or_questions_about_strangers_are_under_way() {
        let mut round = Round::new();
        assert!(round.is_empty());
        for _ in 0..LOOKS_WAITING {
            assert!(round.has_room());
            round.looking.spawn(std::future::pending());
        }
        assert!(!round.has_room() && !round.is_empty());
        let mut round = Round::new();
        for _ in 0..ASIDE_MAX {
            assert!(round.has_room());
            round.aside.spawn(std::future::pending());
        }
        assert!(!round.has_room() && !round.is_empty());
    }
}
