//! The daily comparison of all subscriptions, both ways: what the provider lists against the book, and what the book holds
//! against the list.
//!
//! It is the net under all others: it needs no event at all. Whatever does not fit leads to a look at the customer, and the
//! look decides. Subscriptions of other programs on the account are passed over.

use counterfoil_core::comparison::calls_for_look;
use counterfoil_core::{CustomerId, ExternalCustomerId, Refusal, Timestamp};

use super::sweep_runs::{Held, Step};
use super::{App, Error, Failure};
use crate::db::Tx;
use crate::providers::ListedSubscription;
use crate::store;
use crate::store::sweeps::{Run, Sweep};

/// How often.
pub(super) const EVERY_SECONDS: i64 = 86_400;

/// Customers of the book that are gone through at once.
const BOOK_PAGE: i64 = 100;

/// Where a comparison is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Position {
    /// In the provider's list, after this row.
    List(Option<String>),
    /// In the book, after this customer.
    Book(String),
}

impl Position {
    fn parse(text: Option<&str>) -> Self {
        match text.and_then(|text| text.split_once(':')) {
            Some(("book", after)) => Self::Book(after.to_owned()),
            Some((_list, after)) => Self::List(Some(after.to_owned())),
            None => Self::List(None),
        }
    }

    fn text(&self) -> Option<String> {
        match self {
            Self::List(after) => after.as_ref().map(|after| format!("list:{after}")),
            Self::Book(after) => Some(format!("book:{after}")),
        }
    }
}

/// A customer to be looked at.
pub(super) struct Suspect {
    pub(super) customer_id: CustomerId,
    /// The provider's customer that claims to be ours and is linked to nobody.
    pub(super) unlinked: Option<ExternalCustomerId>,
}

impl App {
    /// Compares all subscriptions where that is due. Answers how many customers were repaired; `None` where it is not due, or
    /// somebody else does it.
    ///
    /// # Errors
    /// Failures; the next try goes on where this one stopped.
    pub async fn compare_subscriptions(&self) -> Result<Option<i64>, Error> {
        let Some(held) = self.take_sweep(Sweep::Comparison, EVERY_SECONDS).await? else { return Ok(None) };
        let started = held.taken.run.clone();
        let mut run = started.unwrap_or_else(|| Run { until: self.now(), position: None, found: 0 });
        loop {
            match self.compare_page(&held, &mut run).await {
                Ok(Step::GoOn) => {}
                Ok(Step::Over) => return Ok(Some(run.found)),
                Err(error) => {
                    self.put_sweep_off(&held, &error).await;
                    return Err(error);
                }
            }
        }
    }

    async fn compare_page(&self, held: &Held, run: &mut Run) -> Result<Step, Error> {
        if self.keep_sweep(held, run).await? == Step::Over {
            return Ok(Step::Over);
        }
        let (suspects, next) = match Position::parse(run.position.as_deref()) {
            Position::List(after) => {
                let page = self.provider.list_subscriptions(after.as_deref()).await?;
                let suspects = self.suspects_of_list(&page.items, run.until).await?;
                (suspects, page.next.map_or(Position::Book(String::new()), |next| Position::List(Some(next))))
            }
            Position::Book(after) => {
                let suspects = self.suspects_of_book(&after, run.until).await?;
                let Some(last) = suspects.last() else {
                    self.finish_sweep(held, run.until, run.until.plus_seconds(EVERY_SECONDS)).await?;
                    return Ok(Step::Over);
                };
                let next = Position::Book(last.customer_id.to_string());
                (suspects, next)
            }
        };
        for suspect in &suspects {
            if self.keep_sweep(held, run).await? == Step::Over {
                return Ok(Step::Over);
            }
            run.found += i64::from(self.look_at(suspect).await?);
        }
        run.position = next.text();
        Ok(Step::GoOn)
    }

    /// Whose rows do not go with the book. Every row that is ours is noted as listed.
    async fn suspects_of_list(&self, rows: &[ListedSubscription], started: Timestamp) -> Result<Vec<Suspect>, Error> {
        let mut suspects: Vec<Suspect> = Vec::new();
        let mut tx = self.db.begin().await?;
        for row in rows {
            let Some(suspect) = self.owner_of_row(&mut tx, row).await? else { continue };
            store::subscriptions::set_listed(&mut tx, &row.facts.id, started).await?;
            let Some(book) = store::subscriptions::find(&mut tx, &suspect.customer_id).await? else { continue };
            let known = suspects.iter().any(|each| each.customer_id == suspect.customer_id);
            if !known && calls_for_look(&book, &row.facts, &self.catalog, self.now()) {
                suspects.push(suspect);
            }
        }
        tx.commit().await?;
        Ok(suspects)
    }

    /// Whose subscription this is: by our own link, or by what its metadata claims.
    pub(super) async fn owner_of_row(&self, tx: &mut Tx, row: &ListedSubscription) -> Result<Option<Suspect>, Error> {
        let Some(external) = &row.external_customer else { return Ok(None) };
        if let Some(customer_id) = store::links::find_customer(tx, self.provider.name(), external).await? {
            return Ok(Some(Suspect { customer_id, unlinked: None }));
        }
        let ours = row.instance.as_deref() == Some(self.instance.instance_id.as_str());
        let claimed = row.customer_id.as_deref().filter(|_| ours).and_then(|text| text.parse::<CustomerId>().ok());
        let Some(customer_id) = claimed else { return Ok(None) };
        let is_deleted = store::customers::find_tombstone(tx, &customer_id).await?.is_some();
        if !is_deleted && store::customers::find(tx, &customer_id).await?.is_none() {
            tracing::error!(%customer_id, "the provider has a subscription of a customer that is not in the book");
            return Ok(None);
        }
        Ok(Some(Suspect { customer_id, unlinked: Some(external.clone()) }))
    }

    async fn suspects_of_book(&self, after: &str, started: Timestamp) -> Result<Vec<Suspect>, Error> {
        let mut tx = self.db.begin_read().await?;
        let provider = self.provider.name();
        let unlisted = store::subscriptions::list_unlisted(&mut tx, provider, started, after, BOOK_PAGE).await?;
        tx.rollback().await?;
        Ok(unlisted.into_iter().map(|customer_id| Suspect { customer_id, unlinked: None }).collect())
    }

    /// Looks, and says whether that repaired something. One customer whose look fails for good does not keep us from the
    /// others; a provider that is down keeps us from all.
    async fn look_at(&self, suspect: &Suspect) -> Result<bool, Error> {
        let customer_id = &suspect.customer_id;
        match self.sync_found(suspect).await {
            Ok(true) => {
                self.note_repair("comparison", customer_id).await?;
                Ok(true)
            }
            Ok(false) | Err(Error::Failed(Failure::CustomerBusy)) => Ok(false),
            // It was in the list, so the account is deleted, and an operator has to know what still runs.
            Err(Error::Refused(Refusal::CustomerUnknown)) => {
                self.report_if_paid(customer_id, suspect.unlinked.as_slice()).await?;
                Ok(false)
            }
            Err(Error::Failed(failure)) if failure.is_transient() => Err(failure.into()),
            Err(error) => {
                tracing::error!(%customer_id, %error, "the comparison could not look at a customer");
                Ok(false)
            }
        }
    }

    async fn sync_found(&self, suspect: &Suspect) -> Result<bool, Error> {
        let lease = self.lease(&suspect.customer_id).await?;
        let result = async {
            if let Some(external) = &suspect.unlinked {
                self.adopt_external_customer(&suspect.customer_id, external).await?;
            }
            self.sync_and_keep(&lease).await
        }
        .await;
        self.release(lease).await;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written() {
        for position in [
            Position::List(None),
            Position::List(Some("sub_1".to_owned())),
            Position::Book(String::new()),
            Position::Book("cust_1".to_owned()),
        ] {
            assert_eq!(Position::parse(position.text().as_deref()), position);
        }
    }
}
