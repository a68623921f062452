//! Comparing the book with the provider for an operator: what each says of each customer, page by page.
//!
//! Nothing is written here. What a look would make of a customer is found out by the same functions that a look uses, and thrown
//! away; bringing it about is [`App::sync_by`], like everything else.

use counterfoil_core::facts::Facts;
use counterfoil_core::link::{Link, LinkState};
use counterfoil_core::reduce::reduce_all;
use counterfoil_core::{CustomerId, ExternalCustomerId, Refusal, Subscription, Timestamp};

use super::customers::find_subscription;
use super::operators::By;
use super::{App, Error};
use crate::store;

/// Customers of one page: each costs a look at the provider.
const PAGE: i64 = 20;

/// What is left of a page once it was gone through.
const PROVIDER: &str = "provider:";
const BOOK: &str = "book:";

/// What is not the same on both sides.
#[derive(Clone, Debug)]
pub struct Difference {
    pub customer_id: CustomerId,
    /// The provider's customer.
    pub external_customer: Option<ExternalCustomerId>,
    /// What it is about, and what each side says.
    pub fields: Vec<Field>,
    /// Whether it was brought in line.
    pub fixed: bool,
}

/// One thing that the two sides see differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    pub book: String,
    pub provider: String,
}

/// One page of a comparison.
#[derive(Clone, Debug)]
pub struct Compared {
    /// Customers, or rows of the provider's list, that were gone through.
    pub looked_at: usize,
    pub differences: Vec<Difference>,
    /// What to give for the next page; `None` on the last one.
    pub next: Option<String>,
}

/// Where a comparison is.
enum Place {
    /// In the book, after this customer.
    Book(String),
    /// In the provider's list, after this row.
    Provider(Option<String>),
}

impl Place {
    fn parse(cursor: Option<&str>) -> Result<Self, Refusal> {
        let Some(cursor) = cursor else { return Ok(Self::Book(String::new())) };
        if let Some(after) = cursor.strip_prefix(BOOK) {
            Ok(Self::Book(after.to_owned()))
        } else if let Some(after) = cursor.strip_prefix(PROVIDER) {
            Ok(Self::Provider(Some(after.to_owned()).filter(|after| !after.is_empty())))
        } else {
            Err(Refusal::InvalidField { field: "cursor", reason: "give `next_cursor` of the page before" })
        }
    }
}

impl App {
    /// One page of the comparison, first through the book, then through the provider's list. `fix` says who wants what differs to be
    /// looked at and written.
    ///
    /// # Errors
    /// [`Refusal::InvalidField`] for a cursor that is none, or failures.
    pub async fn reconcile(&self, cursor: Option<&str>, fix: Option<&By>) -> Result<Compared, Error> {
        let mut page = match Place::parse(cursor)? {
            Place::Book(after) => self.compare_book(&after).await?,
            Place::Provider(after) => self.compare_listed(after.as_deref()).await?,
        };
        let Some(by) = fix else { return Ok(page) };
        for difference in &mut page.differences {
            self.fix(difference, by).await?;
        }
        let fixed = page.differences.iter().filter(|each| each.fixed).count();
        let told = format!("{} compared, {} differed, {fixed} brought in line", page.looked_at, page.differences.len());
        let mut tx = self.db.begin().await?;
        store::audit::insert_by(&mut tx, by.entry(), "reconciled", None, &told, self.now()).await?;
        tx.commit().await?;
        Ok(page)
    }

    async fn fix(&self, difference: &mut Difference, by: &By) -> Result<(), Error> {
        let customer_id = &difference.customer_id;
        if let Some(external) = &difference.external_customer {
            let lease = self.lease(customer_id).await?;
            let adopted = self.adopt_external_customer(customer_id, external).await;
            self.release(lease).await;
            adopted?;
        }
        self.sync_by(customer_id, by).await?;
        difference.fixed = match self.compare_customer(customer_id).await? {
            Some(left) => left.fields.is_empty(),
            None => true,
        };
        Ok(())
    }

    async fn compare_book(&self, after: &str) -> Result<Compared, Error> {
        let mut tx = self.db.begin_read().await?;
        let customers = store::links::list_linked(&mut tx, self.provider.name(), after, PAGE).await?;
        tx.rollback().await?;
        let mut differences = Vec::new();
        for customer_id in &customers {
            differences.extend(self.compare_customer(customer_id).await?);
        }
        let next = customers.last().map_or_else(|| PROVIDER.to_owned(), |last| format!("{BOOK}{last}"));
        Ok(Compared { looked_at: customers.len(), differences, next: Some(next) })
    }

    /// What a look would change; `None` where nothing, or the customer has no counterpart.
    async fn compare_customer(&self, customer_id: &CustomerId) -> Result<Option<Difference>, Error> {
        let mut counterparts = Vec::new();
        let mut tx = self.db.begin_read().await?;
        let book = find_subscription(&mut tx, customer_id).await?;
        for provider in self.providers() {
            let link = store::links::find_newest(&mut tx, customer_id, provider.name()).await?;
            if let Some(Link { state: LinkState::Active(external), .. }) = link {
                counterparts.push((provider, external));
            }
        }
        tx.rollback().await?;
        let mut looks = Vec::new();
        for (provider, external) in &counterparts {
            looks.push(self.fetch_facts(*provider, external, &[]).await?);
        }
        let fields = self.fields(&book, &looks);
        let differs = !fields.is_empty();
        let external_customer = counterparts.into_iter().next().map(|(_, external)| external);
        Ok(differs.then(|| Difference { customer_id: customer_id.clone(), external_customer, fields, fixed: false }))
    }

    fn fields(&self, book: &Subscription, looks: &[Facts]) -> Vec<Field> {
        let now = self.now();
        let next = reduce_all(book, looks, &self.catalog, now);
        let none = || "-".to_owned();
        let both = sides(book, now).into_iter().zip(sides(&next, now));
        let mut fields: Vec<Field> = both
            .filter(|((_, ours), (_, theirs))| ours != theirs)
            .map(|((name, ours), (_, theirs))| Field {
                name,
                book: ours.unwrap_or_else(none),
                provider: theirs.unwrap_or_else(none),
            })
            .collect();
        if looks.iter().any(|look| look.customer_deleted) {
            fields.push(Field { name: "customer", book: "linked".to_owned(), provider: "deleted".to_owned() });
        }
        fields
    }

    /// What the provider lists as ours and the book has no link for.
    async fn compare_listed(&self, after: Option<&str>) -> Result<Compared, Error> {
        let page = self.provider.list_subscriptions(after).await?;
        let mut differences: Vec<Difference> = Vec::new();
        let mut tx = self.db.begin_read().await?;
        for row in &page.items {
            let Some(found) = self.owner_of_row(&mut tx, row).await? else { continue };
            let Some(external) = found.unlinked else { continue };
            // Nobody links a deleted account again; the daily comparison tells of what still runs.
            if store::customers::find(&mut tx, &found.customer_id).await?.is_none() {
                continue;
            }
            if differences.iter().any(|each| each.customer_id == found.customer_id) {
                continue;
            }
            let fields =
                vec![Field { name: "customer", book: "not linked".to_owned(), provider: external.to_string() }];
            let external_customer = Some(external);
            differences.push(Difference { customer_id: found.customer_id, external_customer, fields, fixed: false });
        }
        tx.rollback().await?;
        let next = page.next.map(|next| format!("{PROVIDER}{next}"));
        Ok(Compared { looked_at: page.items.len(), differences, next })
    }
}

/// What is compared, by name.
fn sides(subscription: &Subscription, now: Timestamp) -> [(&'static str, Option<String>); 10] {
    let record = subscription.to_record();
    let time = |at: Option<Timestamp>| at.map(Timestamp::date_time_in_words);
    [
        ("plan", Some(record.plan.to_string())),
        ("status", Some(subscription.status_word(now).to_owned())),
        ("subscription", record.external_id.map(|id| id.to_string())),
        ("interval", record.interval.map(|interval| interval.as_str().to_owned())),
        ("period ends", time(record.current_period_ends_at)),
        ("paid until", time(record.paid_until)),
        ("money back", record.money_back),
        ("ends by plan", time(record.cancel_at)),
        ("ended", time(record.ended_at)),
        ("attention", record.attention),
    ]
}
