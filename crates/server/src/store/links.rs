//! Billing links: the thread between our customer and its counterpart at a provider, one row a generation.
//!
//! At most one generation of a customer is not retired, and an external id belongs to one row only; both are unique indexes.

use counterfoil_core::link::{Link, LinkState};
use counterfoil_core::{CustomerId, ExternalCustomerId, IdempotencyKey, Timestamp};

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

/// Commits to creating a counterpart. False where somebody else opened this generation first.
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
             opened_at, livemode, created_at, updated_at) values ($1, $2, $3, 'creating', $4, $5, $6, $7, $8, $7, $7) \
             on conflict do nothing",
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
             order by updated_at limit $3",
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

/// Notes the currency that the provider holds this counterpart to.
pub async fn set_currency(
    tx: &mut Tx,
    customer_id: &CustomerId,
    provider: &str,
    external_id: &ExternalCustomerId,
    currency: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.query(
        "update billing_links set currency = $4, updated_at = $5 where customer_id = $1 and provider = $2 \
         and external_id = $3 and state = 'active' and (currency is null or currency <> $4)",
    )
    .bind(customer_id)
    .bind(provider)
    .bind(external_id)
    .bind(currency)
    .bind(now)
    .execute()
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
