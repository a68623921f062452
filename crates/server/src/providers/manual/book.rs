//! Writing in the book: what is sold, paid, given back, changed and ended. One transaction each, and each asks for a look.

use counterfoil_core::manual::{Account, Agreement, Planned, read_price};
use counterfoil_core::{ExternalCustomerId, ExternalSubscriptionId, Interval, PlanCode, PriceId, Refusal, Timestamp};

use super::records::{self, Held, Receipt, Recorded};
use super::{Manual, broken, rejected, unknown};
use crate::db::{DbError, Tx};
use crate::providers::{Change, ProviderError};

/// What is sold.
#[derive(Clone, Debug)]
pub struct Sale {
    pub plan: PlanCode,
    pub interval: Interval,
    pub starts_at: Timestamp,
    /// None where the invoice is not paid yet.
    pub payment: Option<NewPayment>,
}

/// Money that came.
#[derive(Clone, Debug)]
pub struct NewPayment {
    /// The number of the invoice or the transfer; each is taken once a customer.
    pub reference: String,
    /// In the smallest unit of the currency.
    pub amount: i64,
    pub currency: String,
    /// How many periods it pays.
    pub periods: i64,
}

/// Money that went back.
#[derive(Clone, Debug)]
pub struct NewRefund {
    /// The reference of the payment.
    pub payment: String,
    /// The number of the refund itself; each is taken once a customer.
    pub reference: String,
    /// All that is left of the payment where nothing is said.
    pub amount: Option<i64>,
}

/// Everything about one subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub account: Account,
    pub payments: Vec<Recorded>,
}

/// A subscription that wants a look.
#[derive(Clone, Debug)]
pub struct Due {
    pub customer: ExternalCustomerId,
    held: Held,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum ManualError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Failed(#[from] ProviderError),
}

const TOO_LONG: Refusal =
    Refusal::InvalidField { field: "periods", reason: "an agreement lasts at most a hundred years" };

impl Manual {
    /// Writes a new subscription, with its first payment where one is given.
    ///
    /// # Errors
    /// [`Refusal::AlreadyRecorded`] for a known reference; failures.
    pub async fn sell(
        &self,
        customer: &ExternalCustomerId,
        sale: &Sale,
    ) -> Result<ExternalSubscriptionId, ManualError> {
        let now = self.clock.now();
        let id = ExternalSubscriptionId::new(self.new_id("subscription"));
        let agreement = Agreement {
            id: id.clone(),
            created_at: now,
            starts_at: sale.starts_at,
            plan: sale.plan.clone(),
            interval: sale.interval,
            planned: None,
            cancel_at: None,
            ended_at: None,
        };
        let held = Held { customer: customer.clone(), agreement, revision: 1 };
        let mut tx = self.db.begin().await.map_err(broken)?;
        let known = records::find_customer(&mut tx, customer).await.map_err(broken)?;
        if known.is_none_or(|known| known.deleted) {
            return Err(ProviderError::CustomerMissing.into());
        }
        records::insert(&mut tx, &held, now).await.map_err(broken)?;
        if let Some(payment) = &sale.payment {
            take(&mut tx, &held, &[], payment, now).await?;
        }
        tx.commit().await.map_err(broken)?;
        Ok(id)
    }

    /// Writes a payment; it pays the first periods that are open.
    ///
    /// # Errors
    /// [`Refusal::AlreadyRecorded`] for a known reference, [`Refusal::ChangeNotPossible`] where an end is planned,
    /// [`Refusal::NoAgreement`] where it has ended; failures.
    pub async fn record_payment(&self, id: &ExternalSubscriptionId, payment: &NewPayment) -> Result<(), ManualError> {
        let now = self.clock.now();
        let (mut tx, held, payments) = self.open(id).await?;
        if payments.iter().any(|each| each.reference == payment.reference) {
            return Err(Refusal::AlreadyRecorded.into());
        }
        if records::account(&held, &payments).ended_at(now).is_some() {
            return Err(Refusal::NoAgreement.into());
        }
        if held.agreement.cancel_at.is_some() {
            return Err(Refusal::ChangeNotPossible { reason: "its end is planned. Resume it first" }.into());
        }
        save(&mut tx, &held, now).await?;
        take(&mut tx, &held, &payments, payment, now).await?;
        tx.commit().await.map_err(broken)?;
        Ok(())
    }

    /// Writes that a payment went back, in part or all of it; also after the subscription has ended.
    ///
    /// # Errors
    /// [`Refusal::AlreadyRecorded`] for a known reference, [`Refusal::InvalidField`] where there is no such payment or less left
    /// of it; failures.
    pub async fn refund(&self, customer: &ExternalCustomerId, refund: &NewRefund) -> Result<i64, ManualError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await.map_err(broken)?;
        // First of all whether it is the same refund again: there may be nothing left of the payment after it.
        if records::is_refund(&mut tx, customer, &refund.reference).await.map_err(broken)? {
            return Err(Refusal::AlreadyRecorded.into());
        }
        let payments = records::list_payments(&mut tx, customer).await.map_err(broken)?;
        let payment = payments.iter().find(|each| each.reference == refund.payment).ok_or(Refusal::InvalidField {
            field: "payment",
            reason: "no payment with this reference is recorded for this customer",
        })?;
        let left = payment.payment.amount - payment.payment.refunded;
        let amount = refund.amount.unwrap_or(left);
        if amount < 1 || amount > left {
            let reason = "it is more than what is left of the payment";
            return Err(Refusal::InvalidField { field: "amount", reason }.into());
        }
        let held = records::find(&mut tx, &payment.subscription).await.map_err(broken)?;
        let held = held.ok_or_else(|| unknown(&payment.subscription))?;
        save(&mut tx, &held, now).await?;
        records::insert_refund(&mut tx, customer, payment, &refund.reference, amount, now)
            .await
            .map_err(|error| known_reference(error, "manual_refunds.external_customer,reference"))?;
        tx.commit().await.map_err(broken)?;
        Ok(amount)
    }

    /// All that is recorded of a customer, the oldest subscription first.
    ///
    /// # Errors
    /// Failures.
    pub async fn statements(&self, customer: &ExternalCustomerId) -> Result<Vec<Statement>, ProviderError> {
        let mut tx = self.db.begin_read().await.map_err(broken)?;
        let held = records::list(&mut tx, customer).await.map_err(broken)?;
        let payments = records::list_payments(&mut tx, customer).await.map_err(broken)?;
        tx.rollback().await.map_err(broken)?;
        let own = |each: &Held| {
            payments.iter().filter(|payment| payment.subscription == each.agreement.id).cloned().collect()
        };
        Ok(held
            .iter()
            .map(|each| Statement { account: records::account(each, &payments), payments: own(each) })
            .collect())
    }

    /// Deletes a customer: its subscriptions are over, and who it was is gone. What was paid stays for the books.
    ///
    /// # Errors
    /// Failures.
    pub(super) async fn forget_customer(&self, customer: &ExternalCustomerId) -> Result<(), ProviderError> {
        let mut tx = self.db.begin().await.map_err(broken)?;
        records::delete_customer(&mut tx, customer, self.clock.now()).await.map_err(broken)?;
        tx.commit().await.map_err(broken)
    }

    /// Subscriptions that somebody has to look at: something was written, or the clock has changed their facts.
    ///
    /// # Errors
    /// Failures.
    pub async fn list_due(&self, now: Timestamp, limit: i64) -> Result<Vec<Due>, ProviderError> {
        let mut tx = self.db.begin_read().await.map_err(broken)?;
        let held = records::list_due(&mut tx, now, limit).await.map_err(broken)?;
        tx.rollback().await.map_err(broken)?;
        Ok(held.into_iter().map(|held| Due { customer: held.customer.clone(), held }).collect())
    }

    /// Somebody has looked since `now`, when this was due. What was written in the meantime stays due.
    ///
    /// # Errors
    /// Failures.
    pub async fn looked(&self, due: &Due, now: Timestamp) -> Result<(), ProviderError> {
        let mut tx = self.db.begin().await.map_err(broken)?;
        let payments = records::list_payments(&mut tx, &due.customer).await.map_err(broken)?;
        let next = records::account(&due.held, &payments).next_turn(now);
        records::set_look(&mut tx, &due.held, next).await.map_err(broken)?;
        tx.commit().await.map_err(broken)
    }

    /// The look came to nothing: it is due again then.
    ///
    /// # Errors
    /// Failures.
    pub async fn put_off(&self, due: &Due, until: Timestamp) -> Result<(), ProviderError> {
        let mut tx = self.db.begin().await.map_err(broken)?;
        records::set_look(&mut tx, &due.held, Some(until)).await.map_err(broken)?;
        tx.commit().await.map_err(broken)
    }

    pub(super) async fn end_now(&self, id: &ExternalSubscriptionId) -> Result<(), ProviderError> {
        self.alter(id, |account, now| match account.ended_at(now) {
            Some(_) => Ok(None),
            None => Ok(Some(Agreement { ended_at: Some(now), ..account.agreement.clone() })),
        })
        .await
    }

    pub(super) async fn end_with_period(&self, id: &ExternalSubscriptionId) -> Result<(), ProviderError> {
        self.alter(id, |account, now| {
            refuse_ended(account, now)?;
            let cancel_at = account.agreement.cancel_at.or_else(|| Some(account.month(account.running_months(now))));
            Ok(Some(Agreement { cancel_at, ..settled(account, now) }))
        })
        .await
    }

    pub(super) async fn go_on(&self, id: &ExternalSubscriptionId) -> Result<(), ProviderError> {
        self.alter(id, |account, now| {
            refuse_ended(account, now)?;
            Ok(Some(Agreement { cancel_at: None, ..account.agreement.clone() }))
        })
        .await
    }

    pub(super) async fn change(&self, id: &ExternalSubscriptionId, change: &Change) -> Result<(), ProviderError> {
        self.alter(id, |account, now| {
            refuse_ended(account, now)?;
            let agreement = settled(account, now);
            Ok(Some(match change {
                Change::Stay => agreement,
                Change::Now { price, prorated_from: _ } => {
                    let (plan, interval) = sold(price)?;
                    Agreement { plan, interval, ..agreement }
                }
                Change::AtPeriodEnd { price, interval: _ } => {
                    let (plan, interval) = sold(price)?;
                    let planned = Planned { plan, interval, from_month: account.running_months(now) };
                    Agreement { planned: Some(planned), ..agreement }
                }
            }))
        })
        .await
    }

    /// Reads, decides and saves; nothing is written where there is nothing to change.
    async fn alter(
        &self,
        id: &ExternalSubscriptionId,
        decide: impl FnOnce(&Account, Timestamp) -> Result<Option<Agreement>, ProviderError>,
    ) -> Result<(), ProviderError> {
        let now = self.clock.now();
        let (mut tx, held, payments) = self.open(id).await?;
        match decide(&records::account(&held, &payments), now)? {
            Some(agreement) if agreement != held.agreement => {
                save(&mut tx, &Held { agreement, ..held }, now).await?;
                tx.commit().await.map_err(broken)
            }
            Some(_) | None => tx.rollback().await.map_err(broken),
        }
    }

    async fn open(&self, id: &ExternalSubscriptionId) -> Result<(Tx, Held, Vec<Recorded>), ProviderError> {
        let mut tx = self.db.begin().await.map_err(broken)?;
        let held = records::find(&mut tx, id).await.map_err(broken)?.ok_or_else(|| unknown(id))?;
        let payments = records::list_payments(&mut tx, &held.customer).await.map_err(broken)?;
        Ok((tx, held, payments))
    }
}

/// The agreement with a planned change that has come made its own, and nothing planned any more: whatever is decided anew takes
/// the place of what was.
fn settled(account: &Account, now: Timestamp) -> Agreement {
    let (plan, interval) = account.terms(now);
    Agreement { plan: plan.clone(), interval, planned: None, ..account.agreement.clone() }
}

fn sold(price: &PriceId) -> Result<(PlanCode, Interval), ProviderError> {
    let missing = || ProviderError::PriceMissing { message: "it is no manual price".to_owned(), request_id: None };
    read_price(price).ok_or_else(missing)
}

fn refuse_ended(account: &Account, now: Timestamp) -> Result<(), ProviderError> {
    match account.ended_at(now) {
        Some(_) => Err(rejected("subscription_ended", "the subscription has ended")),
        None => Ok(()),
    }
}

async fn save(tx: &mut Tx, held: &Held, now: Timestamp) -> Result<(), ProviderError> {
    if records::save(tx, held, now).await.map_err(broken)? {
        Ok(())
    } else {
        let reason = "somebody else wrote at the same moment".to_owned();
        Err(ProviderError::Unavailable { reason, request_id: None })
    }
}

async fn take(
    tx: &mut Tx,
    held: &Held,
    payments: &[Recorded],
    payment: &NewPayment,
    now: Timestamp,
) -> Result<(), ManualError> {
    let months = records::account(held, payments).next_months(payment.periods).ok_or(TOO_LONG)?;
    let (reference, currency) = (payment.reference.as_str(), payment.currency.as_str());
    let receipt = Receipt { reference, amount: payment.amount, currency, months };
    records::insert_payment(tx, held, &receipt, now)
        .await
        .map_err(|error| known_reference(error, "manual_payments.external_customer,reference"))
}

fn known_reference(error: DbError, target: &str) -> ManualError {
    if error.is_unique(target) { Refusal::AlreadyRecorded.into() } else { broken(error).into() }
}
