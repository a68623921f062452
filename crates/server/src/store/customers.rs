//! Customers. `stripe_customer_id` is a projection of the active billing link, for the people who read this table.

use std::collections::{BTreeMap, BTreeSet};

use counterfoil_core::{CustomerId, EmailAddress, ExternalCustomerId, Timestamp};

use super::batch::{Batch, nothing};
use crate::db::{DbError, Row, Tx};

/// A customer's row.
#[derive(Clone, Debug)]
pub struct Customer {
    pub customer_id: CustomerId,
    pub email: EmailAddress,
    /// When it was shown that the address is the customer's.
    pub email_verified_at: Option<Timestamp>,
    pub company_name: Option<String>,
    /// The provider's id; operators only.
    pub external_id: Option<ExternalCustomerId>,
    pub created_at: Timestamp,
}

pub(super) fn from_row(row: &Row) -> Result<Customer, DbError> {
    Ok(Customer {
        customer_id: row.parse("customer_id")?,
        email: row.parse("email")?,
        email_verified_at: row.get("email_verified_at")?,
        company_name: row.get("company_name")?,
        external_id: row.get::<Option<String>>("stripe_customer_id")?.map(ExternalCustomerId::new),
        created_at: row.get("created_at")?,
    })
}

/// Writes a new customer.
pub async fn insert(
    tx: &mut Tx,
    customer_id: &CustomerId,
    email: &EmailAddress,
    company_name: Option<&str>,
    password_hash: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.query(
        "insert into customers (customer_id, email, company_name, password_hash, created_at, updated_at) \
         values ($1, $2, $3, $4, $5, $5)",
    )
    .bind(customer_id)
    .bind(email.as_str())
    .bind(company_name)
    .bind(password_hash)
    .bind(now)
    .execute()
    .await?;
    Ok(())
}

/// The customer, unless deleted.
pub async fn find(tx: &mut Tx, customer_id: &CustomerId) -> Result<Option<Customer>, DbError> {
    tx.query(
        "select customer_id, email, email_verified_at, company_name, stripe_customer_id, created_at from customers \
         where customer_id = $1 and deleted_at is null",
    )
    .bind(customer_id)
    .optional()
    .await?
    .as_ref()
    .map(from_row)
    .transpose()
}

/// The customer with this address, unless deleted.
pub async fn find_by_email(tx: &mut Tx, email: &EmailAddress) -> Result<Option<Customer>, DbError> {
    tx.query(
        "select customer_id, email, email_verified_at, company_name, stripe_customer_id, created_at from customers \
         where email = $1 and deleted_at is null",
    )
    .bind(email.as_str())
    .optional()
    .await?
    .as_ref()
    .map(from_row)
    .transpose()
}

/// The customer whose link to any provider carries this id, in whatever generation.
pub async fn find_by_external_id(tx: &mut Tx, external_id: &str) -> Result<Option<Customer>, DbError> {
    tx.query(
        "select c.customer_id, c.email, c.email_verified_at, c.company_name, c.stripe_customer_id, c.created_at from customers c \
         join billing_links l on l.customer_id = c.customer_id \
         where l.external_id = $1 and c.deleted_at is null limit 1",
    )
    .bind(external_id)
    .optional()
    .await?
    .as_ref()
    .map(from_row)
    .transpose()
}

/// Id and password hash for a login.
pub async fn find_credentials(tx: &mut Tx, email: &EmailAddress) -> Result<Option<(CustomerId, String)>, DbError> {
    let row = tx
        .query("select customer_id, password_hash from customers where email = $1 and deleted_at is null")
        .bind(email.as_str())
        .optional()
        .await?;
    row.map(|row| Ok((row.parse("customer_id")?, row.get("password_hash")?))).transpose()
}

/// The password hash of a signed-in customer.
pub async fn find_password_hash(tx: &mut Tx, customer_id: &CustomerId) -> Result<Option<String>, DbError> {
    let row = tx
        .query("select password_hash from customers where customer_id = $1 and deleted_at is null")
        .bind(customer_id)
        .optional()
        .await?;
    row.map(|row| row.get("password_hash")).transpose()
}

/// Holds the customer's row to the end of the transaction if the password is still this one. Whoever changes it at the same
/// time comes before, and this says false, or after, and finds what was written here.
pub async fn hold_password(tx: &mut Tx, customer_id: &CustomerId, password_hash: &str) -> Result<bool, DbError> {
    let held = tx
        .query(
            "update customers set updated_at = updated_at \
             where customer_id = $1 and password_hash = $2 and deleted_at is null",
        )
        .bind(customer_id)
        .bind(password_hash)
        .execute()
        .await?;
    Ok(held == 1)
}

/// Writes the same password in another form; says whether it was still the one of `old_hash`.
pub async fn renew_password_hash(
    tx: &mut Tx,
    customer_id: &CustomerId,
    old_hash: &str,
    new_hash: &str,
) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "update customers set password_hash = $3 \
             where customer_id = $1 and password_hash = $2 and deleted_at is null",
        )
        .bind(customer_id)
        .bind(old_hash)
        .bind(new_hash)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Notes that the address was shown to be the customer's; says whether that is new.
pub async fn set_verified(tx: &mut Tx, customer_id: &CustomerId, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "update customers set email_verified_at = $2, updated_at = $2 \
             where customer_id = $1 and email_verified_at is null and deleted_at is null",
        )
        .bind(customer_id)
        .bind(now)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Whether the address is not verified and no licence was ever issued.
pub async fn is_unverified_without_license(tx: &mut Tx, customer_id: &CustomerId) -> Result<bool, DbError> {
    let row = tx
        .query(
            "select c.customer_id from customers c where c.customer_id = $1 and c.email_verified_at is null \
             and not exists (select 1 from licenses l where l.customer_id = c.customer_id)",
        )
        .bind(customer_id)
        .optional()
        .await?;
    Ok(row.is_some())
}

/// Sets another address, which was shown to be the customer's. The unique index on it speaks where somebody else has it.
pub async fn set_email(
    tx: &mut Tx,
    customer_id: &CustomerId,
    email: &EmailAddress,
    now: Timestamp,
) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "update customers set email = $2, email_verified_at = $3, updated_at = $3 \
             where customer_id = $1 and deleted_at is null",
        )
        .bind(customer_id)
        .bind(email.as_str())
        .bind(now)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Sets another password.
pub async fn set_password(
    tx: &mut Tx,
    customer_id: &CustomerId,
    password_hash: &str,
    now: Timestamp,
) -> Result<bool, DbError> {
    let changed = tx
        .query("update customers set password_hash = $2, updated_at = $3 where customer_id = $1 and deleted_at is null")
        .bind(customer_id)
        .bind(password_hash)
        .bind(now)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Shows the provider's id in the customer's row; says whether the row changed.
pub async fn project_external_id(
    tx: &mut Tx,
    customer_id: &CustomerId,
    external_id: Option<&ExternalCustomerId>,
    now: Timestamp,
) -> Result<bool, DbError> {
    let changed = tx
        .query("update customers set stripe_customer_id = $2, updated_at = $3 where customer_id = $1")
        .bind(customer_id)
        .bind(external_id)
        .bind(now)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Holds the customer's row to the end of the transaction. False where the account is deleted, or another transaction has just
/// deleted it.
pub async fn hold(tx: &mut Tx, customer_id: &CustomerId) -> Result<bool, DbError> {
    let held = tx
        .query(
            "select customer_id from customers where customer_id = $1 and deleted_at is null /* for no key update */",
        )
        .bind(customer_id)
        .optional()
        .await?;
    Ok(held.is_some())
}

static HOLD_ALL: Batch = Batch::about(
    "select customer_id, (select h.customer_id from license_holds h where h.customer_id = customers.customer_id) as held \
     from customers where customer_id in ({@1}) and deleted_at is null /* for no key update */",
);

/// Holds the rows of these customers to the end of the transaction, and answers those that are there with whether an operator
/// holds their licences back. One whose account is deleted, or has just been, is not among them.
pub async fn hold_all(tx: &mut Tx, customers: &[&CustomerId]) -> Result<BTreeMap<CustomerId, bool>, DbError> {
    let rows = HOLD_ALL.all(tx, customers, nothing, |query, customer_id| query.bind(*customer_id)).await?;
    rows.iter().map(|row| Ok((row.parse("customer_id")?, row.get::<Option<String>>("held")?.is_some()))).collect()
}

static LIST_KNOWN: Batch = Batch::about("select customer_id from customers where customer_id in ({@1})");

/// Which of these are customers of ours, or were.
pub async fn list_known(tx: &mut Tx, customers: &[CustomerId]) -> Result<BTreeSet<CustomerId>, DbError> {
    let rows = LIST_KNOWN.all(tx, customers, nothing, |query, customer_id| query.bind(customer_id)).await?;
    rows.iter().map(|row| row.parse("customer_id")).collect()
}

/// Holds a tombstone to the end of the transaction. False where the account is not deleted.
pub async fn hold_tombstone(tx: &mut Tx, customer_id: &CustomerId) -> Result<bool, DbError> {
    let held = tx
        .query("select customer_id from customers where customer_id = $1 and deleted_at is not null /* for no key update */")
        .bind(customer_id)
        .optional()
        .await?;
    Ok(held.is_some())
}

/// Takes everything out of the row that says who it was, and makes it a tombstone. The address gives way to our own id, which is no
/// address, so that anybody may sign up with it again. False where it is one already.
pub async fn erase(tx: &mut Tx, customer_id: &CustomerId, now: Timestamp) -> Result<bool, DbError> {
    let erased = tx
        .query(
            "update customers set email = customer_id, company_name = null, password_hash = '', deleted_at = $2, \
             updated_at = $2 where customer_id = $1 and deleted_at is null",
        )
        .bind(customer_id)
        .bind(now)
        .execute()
        .await?;
    Ok(erased == 1)
}

/// What is left of a deleted account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    pub customer_id: CustomerId,
    /// The provider's id, where the provider still keeps the customer; operators only.
    pub external_id: Option<ExternalCustomerId>,
    pub created_at: Timestamp,
    pub deleted_at: Timestamp,
}

/// The tombstone of this customer, where the account is deleted.
pub async fn find_tombstone(tx: &mut Tx, customer_id: &CustomerId) -> Result<Option<Tombstone>, DbError> {
    let row = tx
        .query(
            "select customer_id, stripe_customer_id, created_at, deleted_at from customers \
             where customer_id = $1 and deleted_at is not null",
        )
        .bind(customer_id)
        .optional()
        .await?;
    row.map(|row| {
        Ok(Tombstone {
            customer_id: row.parse("customer_id")?,
            external_id: row.get::<Option<String>>("stripe_customer_id")?.map(ExternalCustomerId::new),
            created_at: row.get("created_at")?,
            deleted_at: row.get("deleted_at")?,
        })
    })
    .transpose()
}

/// Whose link to any provider carries this id, in whatever generation, deleted or not.
pub async fn find_id_by_external_id(tx: &mut Tx, external_id: &str) -> Result<Option<CustomerId>, DbError> {
    let row = tx
        .query("select customer_id from billing_links where external_id = $1 limit 1")
        .bind(external_id)
        .optional()
        .await?;
    row.map(|row| row.parse("customer_id")).transpose()
}
