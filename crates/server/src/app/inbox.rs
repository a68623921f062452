//! Working the inbox off: find out whose customer an event is about, then look at the provider once for all of them.
//!
//! Events of one customer are claimed together and cost one look. An event that matches nobody yet stays: the row it speaks of
//! may not be committed, or may come back with a restored backup.

use std::collections::BTreeMap;
use std::sync::Arc;

use counterfoil_core::link::{Verdict, judge};
use counterfoil_core::{CustomerId, ExternalCustomerId, Refusal, planted, probe};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::sync::Synced;
use super::{App, Error, Failure};
use crate::db::Tx;
use crate::providers::PaymentRef;
use crate::store;
use crate::store::inbox::Claimed;
use crate::tasks;

/// Rows claimed at once.
const CLAIM_MAX: i64 = 200;

/// Customers looked at side by side.
const LOOKS_AT_ONCE: usize = 8;

/// A claimed row comes back after this long where its worker died: a paying customer waits for it. A worker that is only slow
/// still holds the customer's lease then, so the row is put back and nothing is done twice.
const HIDDEN_SECONDS: i64 = 15;

/// How soon a row is tried again whose customer is being looked at by somebody else.
const BUSY_MILLIS: i64 = 150;

/// The longest pause between two tries. It is also how long a paying customer may have to wait once the provider is back.
const BACKOFF_SECONDS_MAX: i64 = 300;

/// The pause where trying again cannot help until somebody changes something: an API key that is refused, say. Any other look at the
/// customer finishes the row sooner.
const HOPELESS_MILLIS: i64 = 3_600_000;

/// How long an event may wait for its customer to be in the book before somebody has to be told.
pub(super) const UNMATCHED_SECONDS: i64 = 86_400;

/// How long a row is tried before it is set aside for an operator: as long as the sender itself would.
const GIVE_UP_DAYS: i64 = 3;

/// Age alone gives nothing up: after days without a worker, the first try would be the last one.
pub(super) const GIVE_UP_TRIES: i64 = 10;

/// Whose event it is.
enum Owner {
    Customer(CustomerId),
    /// Not one of ours, for this reason.
    Nobody(&'static str),
    /// Ours by its metadata, but not in our book (yet).
    NotYet,
    /// The book does not know this customer of the provider's, and the provider has to be asked.
    Stranger(ExternalCustomerId),
    /// The event names a payment and no customer, and the provider has to be asked who made it.
    Payer(PaymentRef),
}

/// Claimed rows by whose they are, as far as our book tells.
#[derive(Default)]
struct Sorted {
    ours: BTreeMap<CustomerId, Vec<Claimed>>,
    strangers: BTreeMap<ExternalCustomerId, Vec<Claimed>>,
    payers: BTreeMap<PaymentRef, Vec<Claimed>>,
    early: Vec<Claimed>,
}

impl App {
    /// Claims due events and works them off. Answers how many there were: none means that one can sleep.
    ///
    /// # Errors
    /// Failures of the database in claiming; what fails later is written to its row.
    pub async fn work_inbox(&self) -> Result<usize, Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let claimed = store::inbox::claim(&mut tx, now, now.plus_seconds(HIDDEN_SECONDS), CLAIM_MAX).await?;
        tx.commit().await?;
        let count = claimed.len();
        let Sorted { ours, strangers, payers, early } = self.sort_by_book(claimed).await?;
        let mut work = JoinSet::new();
        let places = Arc::new(Semaphore::new(LOOKS_AT_ONCE));
        for (customer_id, rows) in ours {
            let (app, places) = (self.clone(), Arc::clone(&places));
            work.spawn(tasks::own(async move {
                let _place = places.acquire_owned().await;
                app.sync_for(&customer_id, &rows).await
            }));
        }
        // Places of their own: another program on the same account may send many, and our customers do not wait for them.
        let places = Arc::new(Semaphore::new(LOOKS_AT_ONCE));
        for (external, rows) in strangers {
            let (app, places) = (self.clone(), Arc::clone(&places));
            work.spawn(tasks::own(async move {
                let _place = places.acquire_owned().await;
                app.ask_whose(&external, &rows).await
            }));
        }
        for (payment, rows) in payers {
            let (app, places) = (self.clone(), Arc::clone(&places));
            work.spawn(tasks::own(async move {
                let _place = places.acquire_owned().await;
                app.ask_who_paid(&payment, &rows).await
            }));
        }
        let app = self.clone();
        work.spawn(tasks::own(async move { app.fail_rows(&early, &not_in_the_book()).await }));
        while let Some(done) = work.join_next().await {
            match done {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(%error, "an inbox row could not be put back; it comes back by itself")
                }
                Err(error) => tracing::error!(%error, "a look at the provider broke off"),
            }
        }
        Ok(count)
    }

    /// Finds out whose the rows are without asking anybody, and notes it, in one transaction.
    async fn sort_by_book(&self, claimed: Vec<Claimed>) -> Result<Sorted, Error> {
        let mut sorted = Sorted::default();
        if claimed.is_empty() {
            return Ok(sorted);
        }
        let mut tx = self.db.begin().await?;
        for row in claimed {
            match self.owner_by_book(&mut tx, &row).await? {
                Owner::Customer(customer_id) => {
                    store::inbox::assign(&mut tx, row.id, &customer_id).await?;
                    sorted.ours.entry(customer_id).or_default().push(row);
                }
                Owner::Nobody(because) => store::inbox::ignore(&mut tx, row.id, because, self.now()).await?,
                Owner::NotYet => sorted.early.push(row),
                Owner::Stranger(external) => sorted.strangers.entry(external).or_default().push(row),
                Owner::Payer(payment) => sorted.payers.entry(payment).or_default().push(row),
            }
        }
        tx.commit().await?;
        Ok(sorted)
    }

    async fn sync_for(&self, customer_id: &CustomerId, rows: &[Claimed]) -> Result<(), Error> {
        match self.sync_customer(customer_id).await {
            Ok(Synced::Done { changed: true }) if rows.iter().any(|row| row.found_by_sweep) => {
                self.note_repair("events", customer_id).await
            }
            Ok(Synced::Done { .. }) => Ok(()),
            Ok(Synced::Busy) => {
                probe!("F52");
                let run_at = self.now().plus_millis(self.entropy.around_millis(BUSY_MILLIS));
                let mut tx = self.db.begin().await?;
                for row in rows {
                    store::inbox::put_back(&mut tx, row.id, run_at).await?;
                }
                tx.commit().await?;
                Ok(())
            }
            // Known a moment ago, so the account is deleted.
            Err(Error::Refused(Refusal::CustomerUnknown)) => self.finish_for_deleted(customer_id, rows).await,
            Err(_) if planted!("failed-look-drops-events") => self.ignore_rows(rows, "look_failed").await,
            Err(error) => self.fail_rows(rows, &error).await,
        }
    }

    /// Whose customer the event is about by our own link, or by what the event claims. A claim is believed only as far as
    /// naming a customer of ours to look at.
    async fn owner_by_book(&self, tx: &mut Tx, row: &Claimed) -> Result<Owner, Error> {
        if let Some(customer_id) = &row.customer_id {
            return Ok(Owner::Customer(customer_id.clone()));
        }
        if let Some(external) = &row.external_customer
            && let Some(customer_id) = store::links::find_customer(tx, self.provider.name(), external).await?
        {
            return Ok(Owner::Customer(customer_id));
        }
        let ours = row.claimed_instance.as_deref() == Some(self.instance.instance_id.as_str());
        let claimed = row.claimed_customer.as_deref().and_then(|text| text.parse::<CustomerId>().ok());
        match (claimed.filter(|_| ours), &row.external_customer) {
            (Some(customer_id), _) => known(tx, customer_id).await,
            (None, Some(external)) => Ok(Owner::Stranger(external.clone())),
            (None, None) => Ok(match &row.external_payment {
                Some(payment) => Owner::Payer(PaymentRef::new(payment.clone())),
                None => Owner::Nobody("no_customer"),
            }),
        }
    }

    /// Whose customer this is by what the provider's customer says of itself now.
    async fn owner_by_provider(&self, external: &ExternalCustomerId) -> Result<Owner, Error> {
        let Some(found) = self.provider.find_customer(external).await? else {
            return Ok(Owner::Nobody("customer_unknown_at_provider"));
        };
        let claimed = found.customer_id.as_deref().and_then(|text| text.parse::<CustomerId>().ok());
        let Some(customer_id) = claimed else { return Ok(Owner::Nobody("ignored_foreign")) };
        if judge(std::slice::from_ref(&found), &customer_id, &self.instance.instance_id) == Verdict::None {
            return Ok(Owner::Nobody("ignored_foreign"));
        }
        let mut tx = self.db.begin_read().await?;
        known(&mut tx, customer_id).await
    }

    /// Asks the provider once for all rows about one payment, and goes on with the customer who made it.
    async fn ask_who_paid(&self, payment: &PaymentRef, rows: &[Claimed]) -> Result<(), Error> {
        let external = match self.provider.find_customer_of_payment(payment).await {
            Ok(Some(external)) => external,
            Ok(None) => return self.ignore_rows(rows, "no_customer").await,
            Err(error) => return self.fail_rows(rows, &error.into()).await,
        };
        let mut tx = self.db.begin_read().await?;
        let ours = store::links::find_customer(&mut tx, self.provider.name(), &external).await?;
        tx.rollback().await?;
        match ours {
            Some(customer_id) => self.assign_and_sync(&customer_id, rows).await,
            None => self.ask_whose(&external, rows).await,
        }
    }

    /// Asks the provider once for all rows of one of its customers, and goes on with what it says.
    async fn ask_whose(&self, external: &ExternalCustomerId, rows: &[Claimed]) -> Result<(), Error> {
        let customer_id = match self.owner_by_provider(external).await {
            Ok(Owner::Customer(customer_id)) => customer_id,
            Ok(Owner::Nobody(because)) => return self.ignore_rows(rows, because).await,
            Ok(Owner::NotYet | Owner::Stranger(_) | Owner::Payer(_)) => {
                return self.fail_rows(rows, &not_in_the_book()).await;
            }
            Err(error) => return self.fail_rows(rows, &error).await,
        };
        self.assign_and_sync(&customer_id, rows).await
    }

    async fn assign_and_sync(&self, customer_id: &CustomerId, rows: &[Claimed]) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        for row in rows {
            store::inbox::assign(&mut tx, row.id, customer_id).await?;
        }
        tx.commit().await?;
        self.sync_for(customer_id, rows).await
    }

    async fn ignore_rows(&self, rows: &[Claimed], because: &str) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        for row in rows {
            store::inbox::ignore(&mut tx, row.id, because, self.now()).await?;
        }
        Ok(tx.commit().await?)
    }

    pub(super) async fn fail_rows(&self, rows: &[Claimed], error: &Error) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let text = error.to_string();
        let failure = if is_transient(error) { "transient" } else { "permanent" };
        metrics::counter!("counterfoil_inbox_failures_total", "failure" => failure).increment(rows.len() as u64);
        let mut tx = self.db.begin().await?;
        for row in rows {
            probe!("F31", matches!(error, Error::Failed(Failure::NotInBook)));
            let unmatched = matches!(error, Error::Failed(Failure::NotInBook));
            let long = unmatched && now >= row.received_at.plus_seconds(UNMATCHED_SECONDS);
            if row.attempts >= GIVE_UP_TRIES && now >= row.received_at.plus_days(GIVE_UP_DAYS) {
                store::inbox::bury(&mut tx, row.id, failure, &text, now).await?;
                let event_id = &row.event_id;
                tracing::error!(event_id, error = text, "an event was given up; an operator has to look");
                continue;
            }
            let run_at = match error {
                Error::Failed(Failure::ProviderKeyPoisoned { until }) => (*until).max(now),
                _ if long || !is_transient(error) => now.plus_millis(self.entropy.around_millis(HOPELESS_MILLIS)),
                _ => now.plus_millis(self.backoff_millis(row.attempts)),
            };
            store::inbox::postpone(&mut tx, row.id, run_at, failure, &text).await?;
            let (event_id, attempts) = (&row.event_id, row.attempts);
            if long {
                probe!("F33");
                tracing::error!(
                    event_id,
                    attempts,
                    "an event has waited for a day for a customer that is not in the book"
                );
            } else {
                tracing::warn!(event_id, attempts, failure, error = text, "an event has to wait");
            }
        }
        tx.commit().await?;
        Ok(())
    }

    /// The pause after this many tries: doubling from half a second, with jitter.
    #[must_use]
    pub fn backoff_millis(&self, attempts: i64) -> i64 {
        let doublings = u32::try_from(attempts.clamp(1, 20) - 1).unwrap_or(0);
        let millis = (500_i64 << doublings).min(BACKOFF_SECONDS_MAX * 1000);
        self.entropy.around_millis(millis)
    }
}

/// A deleted account is known, too: what comes about it is finished and not waited for.
async fn known(tx: &mut Tx, customer_id: CustomerId) -> Result<Owner, Error> {
    let known = store::customers::find(tx, &customer_id).await?.is_some()
        || store::customers::find_tombstone(tx, &customer_id).await?.is_some();
    Ok(if known { Owner::Customer(customer_id) } else { Owner::NotYet })
}

fn not_in_the_book() -> Error {
    Failure::NotInBook.into()
}

/// Whether it may go well by itself. A refusal is an answer, and stays the same until somebody changes something.
fn is_transient(error: &Error) -> bool {
    match error {
        Error::Refused(_) => false,
        Error::Failed(failure) => failure.is_transient(),
    }
}
