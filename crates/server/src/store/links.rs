//! Billing links: the thread between our customer and its counterpart at a provider, one row a generation.
//!
//! At most one generation of a customer is not retired, and an external id belongs to one row only; both are unique indexes.

use std::collections::BTreeMap;

use counterfoil_core::link::{Link, LinkState};
use counterfoil_core::{CustomerId, ExternalCustomerId, IdempotencyKey, Timestamp};

use super::batch::{Batch, nothing};
use super::customers::{self, Customer};
use crate::db::{DbError, Row, Tx};

fn from_row(row: &Row) -> Result<Link, DbError> {
    let state: String = row.get("state")?;
    let external_id: Option<String> = row.get("external_id")?;
    let poisoned_at: Option<Timestamp> = row.get("poisoned_at")?;
    let state = match (state.as_str(), external_id, poisoned_at) {
        ("creating", None, None) => LinkState::Creating,
        ("creating", None, Some(at)) => LinkState::Poisoned { at },
        ("active", Some(id), _) => LinkState::Active(ExternalCustomerId::new(id)),
        ("retired", _, _) => LinkState::Retired,
        _ => return Err(DbError::other("a billing link is in no state that makes sense")),
    };
    Ok(Link {
        generation: row.get("generation")?,
        key: IdempotencyKey::from_stored(row.get("idempotency_key")?),
        email: row.get("email")?,
        frozen: row.get("frozen_params")?,
        opened_at: row.get("opened_at")?,
        state,
    })
}

/// The newest generation of the customer's link.
pub async fn find_newest(tx: &mut Tx, customer_id: &CustomerId, provider: &str) -> Result<Option<Link>, DbError> {
    tx.query(
        "select generation, idempotency_key, email, frozen_params, opened_at, poisoned_at, external_id, state \
         from billing_links where customer_id = $1 and provider = $2 order by generation desc limit 1",
    )
    .bind(customer_id)
    .bind(provider)
    .optional()
    .await?
    .as_ref()
    .map(from_row)
    .transpose()
}

/// A customer, and where its links stand that are not retired.
#[derive(Clone, Debug)]
pub struct Linked {
    pub customer: Customer,
    pub links: Vec<Current>,
    /// A checkout is not over.
    pub has_attempts: bool,
}

/// A link that is not retired: at most one a provider.
#[derive(Clone, Debug)]
pub struct Current {
    pub provider: String,
    /// The counterpart; none where it is still in the making.
    pub external_id: Option<ExternalCustomerId>,
    /// The only currency that the provider takes from it, once it has settled on one.
    pub currency: Option<String>,
}

static LIST_CURRENT: Batch = Batch::about(
    "select c.customer_id, c.email, c.email_verified_at, c.company_name, c.stripe_customer_id, c.created_at, \
     l.provider, l.external_id, l.currency, (select min(a.state) from checkout_attempts a \
     where a.customer_id = c.customer_id and a.state in ('opening', 'open', 'paying')) as unfinished \
     from customers c left join billing_links l on l.customer_id = c.customer_id and l.state in ('creating', 'active') \
     where c.customer_id in ({@1}) and c.deleted_at is null order by c.customer_id, l.id",
);

/// These customers with their links, the deleted ones left out.
pub async fn list_current(tx: &mut Tx, customers: &[&CustomerId]) -> Result<BTreeMap<CustomerId, Linked>, DbError> {
    let mut found = BTreeMap::<CustomerId, Linked>::new();
    for row in LIST_CURRENT.all(tx, customers, nothing, |query, customer_id| query.bind(*customer_id)).await? {
        let customer = customers::from_row(&row)?;
        let has_attempts = row.get::<Option<String>>("unfinished")?.is_some();
        let key = customer.customer_id.clone();
        let linked = found.entry(key).or_insert(Linked { customer, links: Vec::new(), has_attempts });
        let Some(provider) = row.get::<Option<String>>("provider")? else { continue };
        let external_id = row.get::<Option<String>>("external_id")?.map(ExternalCustomerId::new);
        linked.links.push(Current { provider, external_id, currency: row.get("currency")? });
    }
    Ok(found)
}

/// Commits to creating a counterpart. False where somebody else opened this generation first, or the account is deleted.
pub async fn open(
    tx: &mut Tx,
    customer_id: &CustomerId,
    provider: &str,
    livemode: bool,
    link: &Link,
) -> Result<bool, DbError> {
    let inserted = tx
        .query(
            "insert into billing_links (customer_id, provider, generation, state, idempotency_key, email, frozen_params, \
             opened_at, livemode, created_at, updated_at) \
             select $1, $2, $3, 'creating', $4, $5, $6, $7, $8, $7, $7 from customers \
             where customer_id = $1 and deleted_at is null /* for no key update */ on conflict do nothing",
        )
        .bind(customer_id)
        .bind(provider)
        .bind(link.generation)
        .bind(&link.key)
        .bind(&link.email)
        .bind(&link.frozen)
        .bind(link.opened_at)
        .bind(livemode)
        .execute()
        .await?;
    Ok(inserted == 1)
}

/// Sets the external id where this generation has none yet. False where that is not so any more.
pub async fn activate(
    tx: &mut Tx,
    customer_id: &CustomerId,
    provider: &str,
    generation: i64,
    external_id: &ExternalCustomerId,
    now: Timestamp,
) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "update billing_links set external_id = $4, state = 'active', poisoned_at = null, updated_at = $5 \
             where customer_id = $1 and provider = $2 and generation = $3 and state = 'creating' and external_id is null",
        )
        .bind(customer_id)
        .bind(provider)
        .bind(generation)
        .bind(external_id)
        .bind(now)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Notes that the key of this generation answers with an error that will not go away.
pub async fn poison(
    tx: &mut Tx,
    customer_id: &CustomerId,
    provider: &str,
    generation: i64,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.query(
        "update billing_links set poisoned_at = $4, updated_at = $4 where customer_id = $1 and provider = $2 \
         and generation = $3 and state = 'creating' and poisoned_at is null",
    )
    .bind(customer_id)
    .bind(provider)
    .bind(generation)
    .bind(now)
    .execute()
    .await?;
    Ok(())
}

/// Retires a generation that came to nothing. False where it has an id by now, or somebody else was quicker.
pub async fn give_up(
    tx: &mut Tx,
    customer_id: &CustomerId,
    provider: &str,
    generation: i64,
    now: Timestamp,
) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "update billing_links set state = 'retired', updated_at = $4 where customer_id = $1 and provider = $2 \
             and generation = $3 and state = 'creating' and external_id is null",
        )
        .bind(customer_id)
        .bind(provider)
        .bind(generation)
        .bind(now)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Retires a generation whose counterpart is gone. False where somebody else has done that.
pub async fn retire(
    tx: &mut Tx,
    customer_id: &CustomerId,
    provider: &str,
    generation: i64,
    now: Timestamp,
) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "update billing_links set state = 'retired', updated_at = $4 \
             where customer_id = $1 and provider = $2 and generation = $3 and state <> 'retired'",
        )
        .bind(customer_id)
        .bind(provider)
        .bind(generation)
        .bind(now)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Whose counterpart this is, in whatever generation.
pub async fn find_customer(
    tx: &mut Tx,
    provider: &str,
    external_id: &ExternalCustomerId,
) -> Result<Option<CustomerId>, DbError> {
    let row = tx
        .query("select customer_id from billing_links where provider = $1 and external_id = $2")
        .bind(provider)
        .bind(external_id)
        .optional()
        .await?;
    row.map(|row| row.parse("customer_id")).transpose()
}

/// Customers whose link is in the making and was neither opened nor tried since `before`, the longest waiting first.
pub async fn list_creating(
    tx: &mut Tx,
    provider: &str,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<CustomerId>, DbError> {
    let rows = tx
        .query(
            "select customer_id from billing_links where provider = $1 and state = 'creating' and updated_at < $2 \
             order by updated_at, customer_id limit $3",
        )
        .bind(provider)
        .bind(before)
        .bind(limit)
        .all()
        .await?;
    rows.iter().map(|row| row.parse("customer_id")).collect()
}

/// Puts the customer's link in the making at the end of the queue of those that are looked at. When it was opened stays: the
/// window protocol goes by that.
pub async fn touch_creating(
    tx: &mut Tx,
    customer_id: &CustomerId,
    provider: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.query(
        "update billing_links set updated_at = $3 where customer_id = $1 and provider = $2 and state = 'creating'",
    )
    .bind(customer_id)
    .bind(provider)
    .bind(now)
    .execute()
    .await?;
    Ok(())
}

/// The currency that a provider holds its customer to: whose counterpart, where, which, and the currency.
pub type Settled<'a> = (&'a CustomerId, &'a str, &'a ExternalCustomerId, &'a str);

static SET_CURRENCY: Batch = Batch::about(
    "update billing_links set currency = case external_id [when @3 then @4] end, updated_at = $1 \
     where customer_id in ({@1}) and provider in ({@2}) and external_id in ({@3}) and state = 'active'",
);

/// Notes the currencies that the providers hold these counterparts to. An id of one provider is none of another's.
pub async fn set_currencies(tx: &mut Tx, settled: &[Settled<'_>], now: Timestamp) -> Result<(), DbError> {
    SET_CURRENCY
        .execute(
            tx,
            settled,
            |query| query.bind(now),
            |query, (customer_id, provider, external_id, currency)| {
                query.bind(*customer_id).bind(*provider).bind(*external_id).bind(*currency)
            },
        )
        .await?;
    Ok(())
}

/// The currency that the provider holds the customer's counterpart to. A new counterpart begins without one.
pub async fn find_currency(tx: &mut Tx, customer_id: &CustomerId, provider: &str) -> Result<Option<String>, DbError> {
    let row = tx
        .query("select currency from billing_links where customer_id = $1 and provider = $2 and state = 'active'")
        .bind(customer_id)
        .bind(provider)
        .optional()
        .await?;
    row.map_or(Ok(None), |row| row.get("currency"))
}

/// Customers after `after` with an active link, the deleted ones left out.
pub async fn list_linked(tx: &mut Tx, provider: &str, after: &str, limit: i64) -> Result<Vec<CustomerId>, DbError> {
    let rows = tx
        .query(
            "select l.customer_id from billing_links l join customers c on c.customer_id = l.customer_id \
             where l.provider = $1 and l.state = 'active' and l.customer_id > $2 and c.deleted_at is null \
             order by l.customer_id limit $3",
        )
        .bind(provider)
        .bind(after)
        .bind(limit)
        .all()
        .await?;
    rows.iter().map(|row| row.parse("customer_id")).collect()
}

/// Takes the address and the name out of the customer's links. The ids stay: what still comes about them has to find its customer.
pub async fn erase(tx: &mut Tx, customer_id: &CustomerId) -> Result<(), DbError> {
    tx.query("update billing_links set email = '', frozen_params = '' where customer_id = $1")
        .bind(customer_id)
        .execute()
        .await?;
    Ok(())
}
