//! What customers change about a running subscription: the plan, its end, and, on the provider's pages, the rest.
//!
//! Everything happens under the customer's lease and begins with a look, so a decision is never about yesterday's state. The
//! provider is asked to change, and what came of it is only ever learned by the look that follows. Repeating a request does no
//! harm: what is so already is not asked for again. How often a customer may ask is limited: the way to the provider is narrow,
//! and who only looks holds no lease. A step's idempotency key carries the lease's fencing number, because what
//! was done, taken back and is done again would otherwise be answered from the provider's memory.

use counterfoil_core::plan_change::{Decision, PlannedChange, Present, Target, changeable, decide, is_period_paid};
use counterfoil_core::subscription::{Record, Standing};
use counterfoil_core::{CustomerId, IdempotencyKey, Interval, PlanCode, Refusal, Subscription, Timestamp};

use super::customers::find_subscription;
use super::leases::Lease;
use super::revocation::refuse_if_held;
use super::subscriptions::shown;
use super::{App, Error, Failure};
use crate::providers::{Change, ChangePreview, ProviderError, Terms};
use crate::store;

/// How long the amount of a preview can be had.
const PREVIEW_SECONDS: i64 = 3600;

/// What a customer asks for, as it was written.
#[derive(Clone, Debug)]
pub struct ChangeWish {
    pub plan: PlanCode,
    pub interval: Option<Interval>,
    /// From the preview, so that what was shown is what is charged.
    pub prorated_from: Option<Timestamp>,
}

/// What a change would mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    pub target: Target,
    /// Charged at once, in the smallest unit of the currency.
    pub amount_due: i64,
    pub currency: String,
    /// When the plan changes.
    pub effective_at: Timestamp,
    /// Whether that is at once.
    pub at_once: bool,
    /// Whether nothing changes but that a planned change is taken back.
    pub takes_back: bool,
    /// Whether the plan stays, and only how often it is paid changes.
    pub keeps_plan: bool,
    /// What the next full period costs, by the catalogue.
    pub next_amount: i64,
    /// To be given back with the change.
    pub prorated_from: Timestamp,
}

/// A subscription as it is shown, with the change that is planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub record: Record,
    pub planned: Option<PlannedChange>,
    /// Whether the customer went through a checkout whose money is on its way.
    pub is_paying: bool,
    /// The only currency that the customer can pay in, once that is settled.
    pub currency: Option<String>,
}

/// What an undertaking under the lease needs, all of it just read.
struct Ready {
    subscription: Subscription,
    standing: Standing,
    terms: Terms,
}

impl App {
    /// The customer's subscription and what is planned for it.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn shown_subscription(&self, customer_id: &CustomerId) -> Result<Shown, Error> {
        let mut tx = self.db.begin_read().await?;
        let subscription = find_subscription(&mut tx, customer_id).await?;
        let planned = store::planned_changes::find(&mut tx, customer_id).await?;
        let is_paying = store::attempts::is_paying(&mut tx, customer_id).await?;
        let currency = store::links::find_currency(&mut tx, customer_id, self.provider.name()).await?;
        tx.rollback().await?;
        Ok(Shown { record: shown(self, &subscription), planned, is_paying, currency })
    }

    /// What a change would cost now and mean later. Nothing is changed.
    ///
    /// # Errors
    /// Refusals for what cannot be changed; failures.
    pub async fn preview_change(&self, customer_id: &CustomerId, wish: &ChangeWish) -> Result<Preview, Error> {
        let subscription = self.load_subscription(customer_id).await?;
        let (id, standing) = changeable(&subscription)?;
        self.limit_provider(customer_id).await?;
        let provider = self.keeper(id.as_str());
        let terms = provider.read_terms(id).await?;
        let ready = Ready { standing, terms, subscription };
        let decision = self.decide_change(&ready, wish)?;
        let (now, target) = (self.now(), decision.target().clone());
        let unchanged = Preview {
            amount_due: 0,
            currency: target.price.currency.clone(),
            effective_at: now,
            at_once: false,
            takes_back: false,
            keeps_plan: target.plan == ready.subscription.plan,
            next_amount: target.price.amount,
            prorated_from: prorated_from(wish, now)?,
            target,
        };
        Ok(match decision {
            Decision::Now(target) => {
                let (price, from) = (target.price.price_id(), unchanged.prorated_from);
                let ChangePreview { amount_due, currency } =
                    provider.preview_change(&ready.terms, &price, from).await?;
                Preview { amount_due, currency, at_once: true, ..unchanged }
            }
            Decision::AtPeriodEnd(_) | Decision::Planned(_) => {
                Preview { effective_at: ready.terms.period_ends_at, ..unchanged }
            }
            Decision::Stay(_) => Preview { takes_back: true, ..unchanged },
        })
    }

    /// Changes the plan: at once, or when the period ends.
    ///
    /// # Errors
    /// Refusals, [`Refusal::PaymentDeclined`] among them, after which nothing was changed; failures, after which the same
    /// request may be repeated.
    pub async fn change_plan(&self, customer_id: &CustomerId, wish: &ChangeWish) -> Result<Shown, Error> {
        self.limit_provider(customer_id).await?;
        let lease = self.lease(customer_id).await?;
        let result = self.change_under(&lease, wish).await;
        self.release(lease).await;
        result
    }

    async fn change_under(&self, lease: &Lease, wish: &ChangeWish) -> Result<Shown, Error> {
        let mut tx = self.db.begin_read().await?;
        refuse_if_held(&mut tx, &lease.customer_id).await?;
        tx.rollback().await?;
        let ready = self.ready_to_change(lease).await?;
        let change = match self.decide_change(&ready, wish)? {
            Decision::Planned(_) => return self.shown_subscription(&lease.customer_id).await,
            Decision::Stay(_) => Change::Stay,
            Decision::Now(target) => {
                Change::Now { price: target.price.price_id(), prorated_from: prorated_from(wish, self.now())? }
            }
            Decision::AtPeriodEnd(target) => {
                Change::AtPeriodEnd { price: target.price.price_id(), interval: target.price.interval }
            }
        };
        let (key, terms) = (self.step_key(lease, "change"), ready.terms);
        self.keeper(terms.subscription.as_str()).change_plan(&key, &terms, &change).await.map_err(declined)?;
        self.look_again(lease).await
    }

    /// Plans the end for the end of the period. A change that was planned is off with it.
    ///
    /// # Errors
    /// [`Refusal::NoSubscription`], [`Refusal::ChangeNotPossible`] where there is no period to wait for; failures.
    pub async fn cancel_subscription(&self, customer_id: &CustomerId) -> Result<Shown, Error> {
        self.limit_provider(customer_id).await?;
        let lease = self.lease(customer_id).await?;
        let result = self.cancel_under(&lease).await;
        self.release(lease).await;
        result
    }

    async fn cancel_under(&self, lease: &Lease) -> Result<Shown, Error> {
        let Ready { standing, terms, .. } = self.ready_to_change(lease).await?;
        if standing.cancel_at().is_some() {
            return self.shown_subscription(&lease.customer_id).await;
        }
        let key = self.step_key(lease, "cancel");
        self.keeper(terms.subscription.as_str()).cancel(&key, &terms).await?;
        self.look_again(lease).await
    }

    /// Takes a planned end back, or goes on with a paused subscription.
    ///
    /// # Errors
    /// [`Refusal::NothingToResume`], [`Refusal::NoSubscription`], [`Refusal::PaymentDeclined`]; failures.
    pub async fn resume_subscription(&self, customer_id: &CustomerId) -> Result<Shown, Error> {
        self.limit_provider(customer_id).await?;
        let lease = self.lease(customer_id).await?;
        let result = self.resume_under(&lease).await;
        self.release(lease).await;
        result
    }

    async fn resume_under(&self, lease: &Lease) -> Result<Shown, Error> {
        let Ready { standing, terms, .. } = self.ready_to_change(lease).await?;
        let paused = standing == Standing::Paused;
        if !paused && standing.cancel_at().is_none() {
            return Err(Refusal::NothingToResume.into());
        }
        let key = self.step_key(lease, "resume");
        self.keeper(terms.subscription.as_str()).resume(&key, &terms, paused).await.map_err(declined)?;
        self.look_again(lease).await
    }

    /// Opens the provider's page for cards and invoices. Where no way back is given, it is the account page.
    ///
    /// # Errors
    /// [`Refusal::ReturnUrlNotAllowed`], [`Refusal::NoBilling`] where the provider has never heard of the customer;
    /// [`ProviderError::NotOffered`] for a subscription that is paid by invoice; failures.
    pub async fn open_portal(&self, customer_id: &CustomerId, return_url: Option<&str>) -> Result<String, Error> {
        let own = format!("{}/account", self.settings.public_url);
        let back = match return_url {
            Some(url) => {
                let not_allowed = |_| Refusal::ReturnUrlNotAllowed { field: "return_url" };
                self.settings.return_urls.check(url).map_err(not_allowed)?.as_str().to_owned()
            }
            None => own,
        };
        let mut tx = self.db.begin_read().await?;
        let customer = store::customers::find(&mut tx, customer_id).await?.ok_or(Refusal::CustomerUnknown)?;
        let subscription = find_subscription(&mut tx, customer_id).await?;
        tx.rollback().await?;
        if subscription.is_manual() && subscription.is_live_at_provider() {
            return Err(ProviderError::NotOffered { what: "page for cards and invoices" }.into());
        }
        let external = customer.external_id.ok_or(Refusal::NoBilling)?;
        self.limit_provider(customer_id).await?;
        match self.provider.open_portal(&external, &back).await {
            Err(ProviderError::CustomerMissing) => Err(Refusal::NoBilling.into()),
            opened => Ok(opened?),
        }
    }

    /// Looks, and reads what a change starts from. A customer without a subscription costs the provider nothing.
    async fn ready_to_change(&self, lease: &Lease) -> Result<Ready, Error> {
        changeable(&self.load_subscription(&lease.customer_id).await?)?;
        self.sync_and_keep(lease).await?;
        let subscription = self.load_subscription(&lease.customer_id).await?;
        let (id, standing) = changeable(&subscription)?;
        let terms = self.keeper(id.as_str()).read_terms(id).await?;
        Ok(Ready { standing, terms, subscription })
    }

    fn decide_change(&self, ready: &Ready, wish: &ChangeWish) -> Result<Decision, Refusal> {
        let Ready { subscription, standing, terms } = ready;
        if terms.items != 1 {
            return Err(Refusal::ChangeNotPossible { reason: "more than a plan is sold in it. Ask for help" });
        }
        let schedule = terms.schedule.as_ref();
        let present = Present {
            standing: *standing,
            price: &terms.price,
            planned: schedule.and_then(|schedule| schedule.planned.as_ref()).map(|(price, _)| price),
            is_period_paid: terms.trialing || is_period_paid(subscription, terms.period_ends_at),
        };
        decide(&self.catalog, present, &wish.plan, wish.interval)
    }

    /// What came of it is in what the provider says now.
    async fn look_again(&self, lease: &Lease) -> Result<Shown, Error> {
        self.sync_and_keep(lease).await?;
        self.shown_subscription(&lease.customer_id).await
    }

    fn step_key(&self, lease: &Lease, what: &str) -> IdempotencyKey {
        IdempotencyKey::subscription_change(&self.instance.instance_id, &lease.customer_id, what, lease.fence)
    }
}

/// The instant of the preview while it is fresh, else now: from old ones a customer could choose the cheapest.
fn prorated_from(wish: &ChangeWish, now: Timestamp) -> Result<Timestamp, Refusal> {
    match wish.prorated_from {
        None => Ok(now),
        Some(from) if from <= now && now.plus_seconds(-PREVIEW_SECONDS) <= from => Ok(from),
        Some(_) => Err(Refusal::InvalidField {
            field: "prorated_from",
            reason: "it is not that of a preview of the last hour",
        }),
    }
}

fn declined(error: ProviderError) -> Error {
    match error {
        ProviderError::CardDeclined { .. } => Refusal::PaymentDeclined.into(),
        other => Failure::from(other).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_amount_of_a_preview_can_be_had_for_an_hour() {
        let now = Timestamp::from_unix_seconds(1_790_000_000);
        let of = |seconds: Option<i64>| {
            let prorated_from = seconds.map(|seconds| now.plus_seconds(seconds));
            super::prorated_from(&ChangeWish { plan: PlanCode::new("starter"), interval: None, prorated_from }, now)
        };
        assert_eq!(of(None), Ok(now));
        assert_eq!(of(Some(0)), Ok(now));
        assert_eq!(of(Some(-PREVIEW_SECONDS)), Ok(now.plus_seconds(-PREVIEW_SECONDS)));
        assert!(of(Some(-PREVIEW_SECONDS - 1)).is_err());
        assert!(of(Some(1)).is_err());
    }
}
