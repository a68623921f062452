//! Whose an event is: by our own links, by what the event claims, or by asking the provider.

use std::collections::{BTreeMap, BTreeSet};

use counterfoil_core::link::{Verdict, judge};
use counterfoil_core::{CustomerId, ExternalCustomerId};

use super::{App, Error, Failure};
use crate::db::Tx;
use crate::providers::PaymentRef;
use crate::store;
use crate::store::inbox::Claimed;

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
pub(super) struct Sorted {
    pub(super) ours: BTreeMap<CustomerId, Vec<Claimed>>,
    pub(super) strangers: BTreeMap<ExternalCustomerId, Vec<Claimed>>,
    pub(super) payers: BTreeMap<PaymentRef, Vec<Claimed>>,
    pub(super) early: Vec<Claimed>,
}

impl App {
    /// Finds out whose claimed rows are without asking anybody, and notes it, in the transaction that claimed them.
    ///
    /// # Errors
    /// Failures of the database.
    pub(super) async fn sort_by_book(&self, tx: &mut Tx, claimed: Vec<Claimed>) -> Result<Sorted, Error> {
        let unlinked = claimed.iter().filter(|row| row.customer_id.is_none());
        let named: BTreeSet<CustomerId> = unlinked.filter_map(|row| self.claimed_customer(row)).collect();
        let named: Vec<CustomerId> = named.into_iter().collect();
        // A deleted account is known, too: what comes about it is finished and not waited for.
        let known = store::customers::list_known(tx, &named).await?;
        let mut sorted = Sorted::default();
        for row in claimed {
            match self.owner_by_book(&row, &known) {
                Owner::Customer(customer_id) => {
                    if row.customer_id.is_none() {
                        store::inbox::assign(tx, row.id, &customer_id, None).await?;
                    }
                    sorted.ours.entry(customer_id).or_default().push(row);
                }
                Owner::Nobody(because) => store::inbox::ignore(tx, row.id, because, self.now()).await?,
                Owner::NotYet => sorted.early.push(row),
                Owner::Stranger(external) => sorted.strangers.entry(external).or_default().push(row),
                Owner::Payer(payment) => sorted.payers.entry(payment).or_default().push(row),
            }
        }
        Ok(sorted)
    }

    /// Whose customer the event is about by our own link, or by what the event claims. A claim is believed only as far as
    /// naming a customer of ours to look at.
    fn owner_by_book(&self, row: &Claimed, known: &BTreeSet<CustomerId>) -> Owner {
        if let Some(customer_id) = &row.customer_id {
            return Owner::Customer(customer_id.clone());
        }
        match (self.claimed_customer(row), &row.external_customer) {
            (Some(customer_id), _) if known.contains(&customer_id) => Owner::Customer(customer_id),
            (Some(_), _) => Owner::NotYet,
            (None, Some(external)) => Owner::Stranger(external.clone()),
            (None, None) => match &row.external_payment {
                Some(payment) => Owner::Payer(PaymentRef::new(payment.clone())),
                None => Owner::Nobody("no_customer"),
            },
        }
    }

    /// The customer that an event of this instance claims to be about.
    fn claimed_customer(&self, row: &Claimed) -> Option<CustomerId> {
        let ours = row.claimed_instance.as_deref() == Some(self.instance.instance_id.as_str());
        row.claimed_customer.as_deref().filter(|_| ours)?.parse().ok()
    }

    /// Whose customer this is by what the provider's customer says of itself now.
    async fn owner_by_provider(&self, external: &ExternalCustomerId) -> Result<Owner, Error> {
        let Some(found) = self.provider.find_customer(external).await? else {
            self.require_our_account().await?;
            return Ok(Owner::Nobody("customer_unknown_at_provider"));
        };
        let claimed = found.customer_id.as_deref().and_then(|text| text.parse::<CustomerId>().ok());
        let Some(customer_id) = claimed else { return Ok(Owner::Nobody("ignored_foreign")) };
        if judge(std::slice::from_ref(&found), &customer_id, &self.instance.instance_id) == Verdict::None {
            return Ok(Owner::Nobody("ignored_foreign"));
        }
        let mut tx = self.db.begin_read().await?;
        let known = store::customers::list_known(&mut tx, std::slice::from_ref(&customer_id)).await?;
        tx.rollback().await?;
        Ok(if known.contains(&customer_id) { Owner::Customer(customer_id) } else { Owner::NotYet })
    }

    /// Asks the provider once for all rows about one payment, and goes on with the customer who made it.
    pub(super) async fn ask_who_paid(&self, payment: &PaymentRef, rows: &[Claimed]) -> Result<(), Error> {
        let external = match self.provider.find_customer_of_payment(payment).await {
            Ok(Some(external)) => external,
            Ok(None) => return self.ignore_rows(rows, "no_customer").await,
            Err(error) => return self.fail_rows(rows, &error.into()).await,
        };
        let mut tx = self.db.begin_read().await?;
        let ours = store::links::find_customer(&mut tx, self.provider.name(), &external).await?;
        tx.rollback().await?;
        match ours {
            Some(customer_id) => self.assign_and_sync(&customer_id, &external, rows).await,
            None => self.ask_whose(&external, rows).await,
        }
    }

    /// Asks the provider once for all rows of one of its customers, and goes on with what it says.
    pub(super) async fn ask_whose(&self, external: &ExternalCustomerId, rows: &[Claimed]) -> Result<(), Error> {
        let customer_id = match self.owner_by_provider(external).await {
            Ok(Owner::Customer(customer_id)) => customer_id,
            Ok(Owner::Nobody(because)) => return self.ignore_rows(rows, because).await,
            Ok(Owner::NotYet | Owner::Stranger(_) | Owner::Payer(_)) => {
                return self.fail_rows(rows, &not_in_the_book()).await;
            }
            Err(error) => return self.fail_rows(rows, &error).await,
        };
        self.assign_and_sync(&customer_id, external, rows).await
    }

    async fn assign_and_sync(
        &self,
        customer_id: &CustomerId,
        external: &ExternalCustomerId,
        rows: &[Claimed],
    ) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        for row in rows {
            store::inbox::assign(&mut tx, row.id, customer_id, Some(external)).await?;
        }
        tx.commit().await?;
        self.sync_for(customer_id, rows).await
    }
}

/// The error of rows whose customer is not there.
pub(super) fn not_in_the_book() -> Error {
    Failure::NotInBook.into()
}
