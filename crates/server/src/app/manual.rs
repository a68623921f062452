//! What operators do for customers who pay by invoice: sell, take money, give it back, change and end.
//!
//! Everything is written in the manual provider's book first, under the customer's lease. What came of it is learned by the look
//! that follows, as with every provider; where that look fails, or never happens, the sweep of the worker does it.

use counterfoil_core::manual::price_of;
use counterfoil_core::{
    CustomerId, ExternalCustomerId, ExternalSubscriptionId, IdempotencyKey, Interval, PlanCode, Refusal, Subscription,
    Timestamp,
};

use super::closing::Checkouts;
use super::customers::find_subscription;
use super::leases::Lease;
use super::operators::By;
use super::plan_changes::Shown;
use super::sync::Synced;
use super::{App, Error, Failure};
use crate::providers::manual::{Due, ManualError, NewPayment, NewRefund, Sale, Statement};
use crate::providers::{Change, PaymentProvider as _};
use crate::store;
use crate::store::customers::Customer;

/// Subscriptions looked at in one round of the sweep.
const SWEEP_MAX: i64 = 100;

/// When a look that failed is tried again.
const AGAIN_SECONDS: i64 = 300;

/// The longest reference, in characters.
const REFERENCE_CHARS_MAX: usize = 200;

/// How far from today a first day may be: far enough for every contract, near enough to find a mistyped year.
const START_DAYS_MAX: i64 = 3660;

/// What an operator wants done.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sells a plan.
    Start {
        plan: PlanCode,
        interval: Interval,
        /// The first day; now where nothing is said.
        starts_at: Option<Timestamp>,
        /// None where the invoice is not paid yet.
        payment: Option<NewPayment>,
    },
    /// Records money that came.
    Pay(NewPayment),
    /// Records money that went back.
    Refund(NewRefund),
    /// Another plan or interval; the present interval where none is given.
    Change { plan: PlanCode, interval: Option<Interval>, at_period_end: bool },
    /// Ends it, with the running period or at once.
    Cancel { now: bool },
    /// Takes a planned end back.
    Resume,
}

/// What there is of a customer after a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManualFile {
    pub shown: Shown,
    /// The oldest first.
    pub statements: Vec<Statement>,
    /// False where the step is written and our book does not show it yet, because another provider of the customer's did not
    /// answer. It follows by itself.
    pub looked: bool,
}

impl From<ManualError> for Error {
    fn from(error: ManualError) -> Self {
        match error {
            ManualError::Refused(refusal) => refusal.into(),
            ManualError::Failed(failure) => failure.into(),
        }
    }
}

impl App {
    /// Does what an operator wants, and looks at what came of it.
    ///
    /// # Errors
    /// Refusals that say what to correct; failures, after which the same step may be repeated: a payment and a refund are
    /// recorded once a reference.
    pub async fn keep_manually(&self, customer_id: &CustomerId, step: &Step, by: &By) -> Result<ManualFile, Error> {
        check(self, step)?;
        self.load_customer(customer_id).await?;
        let lease = self.lease(customer_id).await?;
        let result = self.keep_under(&lease, step, by).await;
        self.release(lease).await;
        result
    }

    async fn keep_under(&self, lease: &Lease, step: &Step, by: &By) -> Result<ManualFile, Error> {
        let told = match step {
            Step::Start { plan, interval, starts_at, payment } => {
                let starts_at = starts_at.unwrap_or_else(|| self.now());
                let sale = Sale { plan: plan.clone(), interval: *interval, starts_at, payment: payment.clone() };
                self.start_manually(lease, &sale).await?
            }
            Step::Pay(payment) => {
                let running = self.running(lease).await?;
                self.close_before_payment(lease).await?;
                self.manual.record_payment(&running.id, payment).await?;
                told_payment(payment)
            }
            Step::Refund(refund) => {
                let external = self.counterpart(&lease.customer_id).await?.ok_or(Refusal::NoAgreement)?;
                let amount = self.manual.refund(&external, refund).await?;
                format!("{amount} of {} ({})", refund.payment, refund.reference)
            }
            Step::Change { plan, interval, at_period_end } => {
                self.change_manually(lease, plan, *interval, *at_period_end).await?
            }
            Step::Cancel { now } => self.cancel_manually(lease, *now).await?,
            Step::Resume => self.resume_manually(lease).await?,
        };
        let mut tx = self.db.begin().await?;
        let (action, customer_id) = (action(step), &lease.customer_id);
        store::audit::insert_by(&mut tx, by.entry(), action, Some(customer_id), &told, self.now()).await?;
        tx.commit().await?;
        // What is written is written: where another provider does not answer, the operator must not try again.
        let looked = match self.sync_and_keep(lease).await {
            Ok(_changed) => true,
            Err(Error::Failed(error @ (Failure::Provider(_) | Failure::OtherAccount))) => {
                tracing::warn!(%customer_id, %error, "a manual change is written; the look that shows it follows later");
                false
            }
            Err(error) => return Err(error),
        };
        self.manual_file_with(customer_id, looked).await
    }

    /// Everything that is recorded of a customer.
    ///
    /// # Errors
    /// [`Refusal::CustomerUnknown`]; failures of the database.
    pub async fn manual_file(&self, customer_id: &CustomerId) -> Result<ManualFile, Error> {
        self.load_customer(customer_id).await?;
        self.manual_file_with(customer_id, true).await
    }

    async fn manual_file_with(&self, customer_id: &CustomerId, looked: bool) -> Result<ManualFile, Error> {
        let statements = match self.counterpart(customer_id).await? {
            Some(external) => self.manual.statements(&external).await?,
            None => Vec::new(),
        };
        Ok(ManualFile { shown: self.shown_subscription(customer_id).await?, statements, looked })
    }

    async fn start_manually(&self, lease: &Lease, sale: &Sale) -> Result<String, Error> {
        self.sync_and_keep(lease).await?;
        let customer = self.refuse_if_subscribed(lease, sale).await?;
        let external = self.ensure_external_customer(self.manual.as_ref(), &customer).await?.id;
        let now = self.now();
        let goes_on = |each: &Statement| {
            let end = each.account.ended_at(now).or(each.account.agreement.cancel_at);
            end.is_none_or(|end| end > sale.starts_at.max(now))
        };
        if self.manual.statements(&external).await?.iter().any(goes_on) {
            return Err(Refusal::AlreadySubscribed.into());
        }
        // A page that is open in the customer's browser must not be paid beside what is sold here. Without an answer nothing is
        // sold: the licence would have to wait for the provider in any case.
        if self.close_checkouts(lease).await? == Checkouts::GoneThrough {
            self.refuse_if_subscribed(lease, sale).await?;
        }
        self.manual.sell(&external, sale).await?;
        let paid = sale.payment.as_ref().map_or_else(|| "not paid yet".to_owned(), told_payment);
        Ok(format!("{} per {} from {}, {paid}", sale.plan, sale.interval.as_str(), sale.starts_at.date_in_words()))
    }

    async fn refuse_if_subscribed(&self, lease: &Lease, sale: &Sale) -> Result<Customer, Error> {
        let mut tx = self.db.begin_read().await?;
        let customer = store::customers::find(&mut tx, &lease.customer_id).await?.ok_or(Refusal::CustomerUnknown)?;
        let subscription = find_subscription(&mut tx, &lease.customer_id).await?;
        tx.rollback().await?;
        if is_over_by(&subscription, sale.starts_at) { Ok(customer) } else { Err(Refusal::AlreadySubscribed.into()) }
    }

    async fn change_manually(
        &self,
        lease: &Lease,
        plan: &PlanCode,
        interval: Option<Interval>,
        at_period_end: bool,
    ) -> Result<String, Error> {
        let Running { id, statement } = self.running(lease).await?;
        let (now, agreement) = (self.now(), &statement.account.agreement);
        let (present, present_interval) = statement.account.terms(now);
        let interval = interval.unwrap_or(present_interval);
        if agreement.cancel_at.is_some() {
            return Err(Refusal::ChangeNotPossible { reason: "its end is planned. Resume it first" }.into());
        }
        let is_same = present == plan && present_interval == interval;
        let is_planned =
            agreement.planned.as_ref().is_some_and(|planned| now < statement.account.month(planned.from_month));
        let price = price_of(plan, interval);
        let (change, when) = match (is_same, at_period_end) {
            (true, _) if is_planned => (Change::Stay, "stays, and nothing is planned any more"),
            (true, _) => return Err(Refusal::SamePlan.into()),
            (false, true) => (Change::AtPeriodEnd { price, interval }, "from the next period on"),
            (false, false) => (Change::Now { price, prorated_from: now }, "at once"),
        };
        let terms = self.manual.read_terms(&id).await?;
        self.manual.change_plan(&self.manual_key(lease, "change"), &terms, &change).await?;
        Ok(format!("{plan} per {} {when}", interval.as_str()))
    }

    async fn cancel_manually(&self, lease: &Lease, now: bool) -> Result<String, Error> {
        let Running { id, .. } = self.running(lease).await?;
        let key = self.manual_key(lease, "cancel");
        if now {
            self.manual.cancel_now(&key, &id).await?;
            return Ok("at once".to_owned());
        }
        let terms = self.manual.read_terms(&id).await?;
        self.manual.cancel(&key, &terms).await?;
        Ok("at the end of the period".to_owned())
    }

    async fn resume_manually(&self, lease: &Lease) -> Result<String, Error> {
        let Running { id, statement } = self.running(lease).await?;
        if statement.account.agreement.cancel_at.is_none() {
            return Err(Refusal::NothingToResume.into());
        }
        let terms = self.manual.read_terms(&id).await?;
        self.manual.resume(&self.manual_key(lease, "resume"), &terms, false).await?;
        Ok(String::new())
    }

    /// The agreement that has not ended; where one follows another, the one that runs now.
    async fn running(&self, lease: &Lease) -> Result<Running, Error> {
        let external = self.counterpart(&lease.customer_id).await?.ok_or(Refusal::NoAgreement)?;
        let now = self.now();
        let statements = self.manual.statements(&external).await?;
        let found = statements.into_iter().find(|each| each.account.ended_at(now).is_none());
        let statement = found.ok_or(Refusal::NoAgreement)?;
        Ok(Running { id: statement.account.agreement.id.clone(), statement })
    }

    async fn counterpart(&self, customer_id: &CustomerId) -> Result<Option<ExternalCustomerId>, Error> {
        self.active_counterpart(customer_id, self.manual.name()).await
    }

    fn manual_key(&self, lease: &Lease, what: &str) -> IdempotencyKey {
        IdempotencyKey::subscription_change(&self.instance.instance_id, &lease.customer_id, what, lease.fence)
    }

    /// Looks at customers in whose manual book something was written or has turned by the clock: this is how a period ends
    /// without anybody asking, and how a look is made up for that a crash has prevented.
    ///
    /// # Errors
    /// Failures of the database; a customer that fails is tried again later.
    pub async fn sweep_manual(&self) -> Result<usize, Error> {
        let now = self.now();
        let due = self.manual.list_due(now, SWEEP_MAX).await?;
        for each in &due {
            self.look_at_due(each, now).await?;
        }
        Ok(due.len())
    }

    async fn look_at_due(&self, due: &Due, now: Timestamp) -> Result<(), Error> {
        let mut tx = self.db.begin_read().await?;
        let owner = store::links::find_customer(&mut tx, self.manual.name(), &due.customer).await?;
        tx.rollback().await?;
        let synced = match &owner {
            Some(customer_id) => self.look_and_close(customer_id).await,
            None => Ok(Synced::Done { changed: false }),
        };
        match synced {
            Ok(Synced::Done { .. }) => self.manual.looked(due, now).await?,
            Ok(Synced::Busy) => {}
            // A customer that was erased since has nothing to look at.
            Err(Error::Refused(Refusal::CustomerUnknown)) => self.manual.looked(due, now).await?,
            Err(error) => {
                tracing::warn!(customer_id = ?owner, %error, "a manual subscription could not be looked at");
                self.manual.put_off(due, now.plus_seconds(AGAIN_SECONDS)).await?;
            }
        }
        Ok(())
    }
}

/// The agreement that a step is about.
struct Running {
    id: ExternalSubscriptionId,
    statement: Statement,
}

/// Whether what the customer has leaves room for another subscription from this day on.
fn is_over_by(subscription: &Subscription, starts_at: Timestamp) -> bool {
    let planned_end = || subscription.to_record().cancel_at;
    !subscription.is_live_at_provider() || planned_end().is_some_and(|end| end <= starts_at)
}

const fn action(step: &Step) -> &'static str {
    match step {
        Step::Start { .. } => "manual_started",
        Step::Pay(_) => "manual_payment",
        Step::Refund(_) => "manual_refund",
        Step::Change { .. } => "manual_changed",
        Step::Cancel { .. } => "manual_canceled",
        Step::Resume => "manual_resumed",
    }
}

fn told_payment(payment: &NewPayment) -> String {
    format!("{} {} ({})", payment.amount, payment.currency, payment.reference)
}

/// What can be refused without looking anything up.
fn check(app: &App, step: &Step) -> Result<(), Refusal> {
    match step {
        Step::Start { plan, starts_at, payment, interval: _ } => {
            check_plan(app, plan)?;
            let days = starts_at.map_or(0, |at| at.seconds_since(app.now()) / 86_400);
            if days.abs() > START_DAYS_MAX {
                return Err(Refusal::InvalidField { field: "starts_at", reason: "it is more than ten years away" });
            }
            payment.as_ref().map_or(Ok(()), check_payment)
        }
        Step::Pay(payment) => check_payment(payment),
        Step::Refund(refund) => {
            check_reference("payment", &refund.payment)?;
            check_reference("reference", &refund.reference)?;
            refund.amount.map_or(Ok(()), check_amount)
        }
        Step::Change { plan, .. } => check_plan(app, plan),
        Step::Cancel { .. } | Step::Resume => Ok(()),
    }
}

/// Any plan can be sold by hand, with a price in the catalogue or without one, but not what signing up starts.
fn check_plan(app: &App, plan: &PlanCode) -> Result<(), Refusal> {
    let trial = &app.catalog.trial().code;
    let known =
        || app.catalog.plans().iter().map(|each| &each.code).filter(|code| *code != trial).map(ToString::to_string);
    if app.catalog.find(plan).is_none() {
        return Err(Refusal::PlanUnknown { asked: plan.as_str().chars().take(64).collect(), known: known().collect() });
    }
    if plan == trial {
        return Err(Refusal::PlanNotForSale { plan: plan.to_string(), known: known().collect() });
    }
    Ok(())
}

fn check_payment(payment: &NewPayment) -> Result<(), Refusal> {
    check_reference("reference", &payment.reference)?;
    check_amount(payment.amount)?;
    if payment.currency.len() != 3 || !payment.currency.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Err(Refusal::InvalidField { field: "currency", reason: "write three small letters, such as eur" });
    }
    if payment.periods < 1 {
        return Err(Refusal::InvalidField { field: "periods", reason: "a payment pays at least one period" });
    }
    Ok(())
}

fn check_amount(amount: i64) -> Result<(), Refusal> {
    if amount >= 1 {
        return Ok(());
    }
    Err(Refusal::InvalidField { field: "amount", reason: "it is above zero, in the smallest unit of the currency" })
}

fn check_reference(field: &'static str, reference: &str) -> Result<(), Refusal> {
    let is_plain = !reference.is_empty()
        && reference.trim() == reference
        && reference.chars().count() <= REFERENCE_CHARS_MAX
        && !reference.chars().any(char::is_control);
    if is_plain {
        return Ok(());
    }
    Err(Refusal::InvalidField { field, reason: "it is one line of 1 to 200 characters, without spaces at its ends" })
}
