//! The webhook inbox: what was acknowledged is here, raw, until the state it spoke of is in the book.
//!
//! A row is claimed by moving its `run_at` forward, in one statement that hands each row out once on both engines. It is
//! done only in the transaction that writes what the look at the provider showed.

use std::collections::BTreeMap;

use counterfoil_core::{CustomerId, ExternalCustomerId, Timestamp};

use super::batch::{Batch, nothing};
use super::leases::Held;
use super::{Queue, in_order};
use crate::db::{Adding, Db, DbError, IntoValue as _, Row, Tx, Value};

/// How an event came to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The provider sent it.
    Webhook,
    /// A sweep found it in the provider's own log.
    Sweep,
}

impl Source {
    const fn word(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Sweep => "sweep",
        }
    }
}

/// A notification to store.
#[derive(Clone, Debug)]
pub struct NewEvent<'a> {
    pub source: Source,
    pub provider: &'a str,
    pub account: &'a str,
    pub event_id: &'a str,
    pub event_type: &'a str,
    pub livemode: bool,
    pub api_version: Option<&'a str>,
    pub external_customer: Option<&'a ExternalCustomerId>,
    /// The payment that the event is about, where it names no customer.
    pub external_payment: Option<&'a str>,
    pub claimed_customer: Option<&'a str>,
    pub claimed_instance: Option<&'a str>,
    pub body: &'a [u8],
    /// Why nothing will be done about it; `None` where something will.
    pub ignored_because: Option<&'a str>,
}

/// A claimed row, without its body: nobody reads that to decide anything.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub id: i64,
    pub event_id: String,
    pub event_type: String,
    pub external_customer: Option<ExternalCustomerId>,
    pub external_payment: Option<String>,
    pub claimed_customer: Option<String>,
    pub claimed_instance: Option<String>,
    pub customer_id: Option<CustomerId>,
    /// How often it was claimed, this time included.
    pub attempts: i64,
    pub received_at: Timestamp,
    /// No webhook brought it.
    pub found_by_sweep: bool,
}

fn from_row(row: &Row) -> Result<Claimed, DbError> {
    Ok(Claimed {
        id: row.get("id")?,
        event_id: row.get("event_id")?,
        event_type: row.get("event_type")?,
        external_customer: row.get::<Option<String>>("external_customer")?.map(ExternalCustomerId::new),
        external_payment: row.get("external_payment")?,
        claimed_customer: row.get("claimed_customer")?,
        claimed_instance: row.get("claimed_instance")?,
        customer_id: row.parse_optional("customer_id")?,
        attempts: row.get("attempts")?,
        received_at: row.get("received_at")?,
        found_by_sweep: row.get::<String>("source")? == Source::Sweep.word(),
    })
}

const INSERT: &str = "insert into webhook_inbox (source, provider, account, event_id, event_type, livemode, api_version, external_customer, \
     external_payment, claimed_customer, claimed_instance, body, state, ignored_because, attempts, run_at, \
     received_at, processed_at) \
     values ($16, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, $14, $14, $15) \
     on conflict (provider, account, event_id) do nothing";

static INSERT_ALL: Batch = Batch::adding(
    "insert into webhook_inbox (source, provider, account, event_id, event_type, livemode, api_version, external_customer, \
     external_payment, claimed_customer, claimed_instance, body, state, ignored_because, attempts, run_at, \
     received_at, processed_at) \
     values {(@16, @1, @2, @3, @4, @5, @6, @7, @8, @9, @10, @11, @12, @13, 0, @14, @14, @15)} \
     on conflict (provider, account, event_id) do nothing returning provider, account, event_id",
);

static TAKE_IN: Adding =
    Adding { one: INSERT, many: |rows| INSERT_ALL.largest(rows), key: &["provider", "account", "event_id"] };

/// Stores a notification. False where it is there already; the row is then left as it is, whatever its state.
pub async fn insert(tx: &mut Tx, event: &NewEvent<'_>, now: Timestamp) -> Result<bool, DbError> {
    tx.query(INSERT).bind_all(values(event, now)).execute().await.map(|inserted| inserted == 1)
}

/// The same as a statement of its own, which gets a connection also where all others are held.
pub async fn take_in(db: &Db, event: &NewEvent<'_>, now: Timestamp) -> Result<bool, DbError> {
    db.take_in(&TAKE_IN, values(event, now)).await
}

fn values(event: &NewEvent<'_>, now: Timestamp) -> Vec<Value> {
    let (state, processed_at) = match event.ignored_because {
        Some(_) => ("ignored", Some(now)),
        None => ("pending", None),
    };
    vec![
        event.provider.into_value(),
        event.account.into_value(),
        event.event_id.into_value(),
        event.event_type.into_value(),
        event.livemode.into_value(),
        event.api_version.into_value(),
        event.external_customer.into_value(),
        event.external_payment.into_value(),
        event.claimed_customer.into_value(),
        event.claimed_instance.into_value(),
        event.body.into_value(),
        state.into_value(),
        event.ignored_because.into_value(),
        now.into_value(),
        processed_at.into_value(),
        event.source.word().into_value(),
    ]
}

/// The newest notification that a provider sent, found by no sweep: when it came, and its type.
pub async fn find_newest(tx: &mut Tx, provider: &str) -> Result<Option<(Timestamp, String)>, DbError> {
    let row = tx
        .query(
            "select received_at, event_type from webhook_inbox where provider = $1 and source = 'webhook' \
             order by id desc limit 1",
        )
        .bind(provider)
        .optional()
        .await?;
    row.map(|row| Ok((row.get("received_at")?, row.get("event_type")?))).transpose()
}

/// Claims due rows until `hidden_until`, and notes whose they are as far as our links tell.
pub async fn claim(tx: &mut Tx, now: Timestamp, hidden_until: Timestamp, limit: i64) -> Result<Vec<Claimed>, DbError> {
    let rows = tx
        .query(
            "with due as materialized (select id from webhook_inbox where state = 'pending' and run_at <= $1 \
             order by run_at, id limit $3 /* for update skip locked */) \
             update webhook_inbox set run_at = $2, attempts = attempts + 1, customer_id = coalesce(customer_id, \
             (select l.customer_id from billing_links l where l.provider = webhook_inbox.provider \
             and l.external_id = webhook_inbox.external_customer)) where id in (select id from due) \
             returning id, event_id, event_type, external_customer, external_payment, claimed_customer, claimed_instance, \
             customer_id, attempts, received_at, source",
        )
        .bind(now)
        .bind(hidden_until)
        .bind(limit)
        .all()
        .await?;
    in_order(rows)?.iter().map(from_row).collect()
}

/// Notes whose customer an event is about, and who that is at the provider where the event does not say.
///
/// Like everything else that a worker writes about a single row: one that somebody else holds at this moment is passed over. A
/// look has it, and finishes it; or it comes back with the end of the claim. So a worker, who holds many rows in an order of its
/// own, never waits for a look that waits for it.
pub async fn assign(
    tx: &mut Tx,
    id: i64,
    customer_id: &CustomerId,
    external: Option<&ExternalCustomerId>,
) -> Result<(), DbError> {
    tx.query(
        "update webhook_inbox set customer_id = $2, external_customer = coalesce(external_customer, $3) where id in \
         (select id from webhook_inbox where id = $1 and state = 'pending' /* for update skip locked */)",
    )
    .bind(id)
    .bind(customer_id)
    .bind(external)
    .execute()
    .await?;
    Ok(())
}

/// Sets a row aside: it is not about us.
pub async fn ignore(tx: &mut Tx, id: i64, because: &str, now: Timestamp) -> Result<(), DbError> {
    tx.query(
        "update webhook_inbox set state = 'ignored', ignored_because = $2, processed_at = $3 where id in \
         (select id from webhook_inbox where id = $1 and state = 'pending' /* for update skip locked */)",
    )
    .bind(id)
    .bind(because)
    .bind(now)
    .execute()
    .await?;
    Ok(())
}

// `coalesce`, so that no engine takes the rows of a provider, which are all, or those that nobody has claimed for the short way to
// these few.
static ASSIGN_ALL: Batch = Batch::about(
    "update webhook_inbox set customer_id = (select l.customer_id from billing_links l \
     where l.provider = $1 and l.external_id = webhook_inbox.external_customer) \
     where external_customer in ({@1}) and state = 'pending' and coalesce(provider, '') = $1 \
     and coalesce(customer_id, '') = ''",
);

/// Notes that all waiting events about these counterparts are those of the customers to whom our links tie them, also the events
/// that nobody has claimed yet: one look finishes them all.
pub async fn assign_all(tx: &mut Tx, provider: &str, externals: &[ExternalCustomerId]) -> Result<(), DbError> {
    ASSIGN_ALL.execute(tx, externals, |query| query.bind(provider), |query, external| query.bind(external)).await?;
    Ok(())
}

static MARK_SEEN: Batch = Batch::about(
    "update webhook_inbox set seen_by_fence = case customer_id [when @1 then cast(@2 as bigint)] end \
     where customer_id in ({@1}) and state in ('pending', 'dead')",
);

/// Marks the customers' waiting rows as seen by the holders of these fencing numbers, **before** they look at the provider. Those
/// that were given up are among them: a look that succeeds is all that they ever asked for.
pub async fn mark_seen(tx: &mut Tx, held: &[Held<'_>]) -> Result<u64, DbError> {
    MARK_SEEN.execute(tx, held, nothing, |query, (customer_id, fence)| query.bind(*customer_id).bind(*fence)).await
}

/// The events of one customer that a look finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    pub count: u64,
    /// The newest of them: what brought the change that the look found.
    pub newest_event_id: String,
    newest: i64,
}

static FINISH_SEEN: Batch = Batch::about(
    "update webhook_inbox set state = 'processed', processed_at = $1, last_error = null, failure = null \
     where customer_id in ({@1}) and seen_by_fence = case customer_id [when @1 then cast(@2 as bigint)] end \
     and state in ('pending', 'dead') returning customer_id, id, event_id",
);

/// Finishes the rows that were seen before the looks, in the transaction that writes what these showed. A row that came in
/// between carries another mark, or none, and stays.
pub async fn finish_seen(
    tx: &mut Tx,
    held: &[Held<'_>],
    now: Timestamp,
) -> Result<BTreeMap<CustomerId, Finished>, DbError> {
    let mut finished = BTreeMap::<CustomerId, Finished>::new();
    let rows = FINISH_SEEN
        .all(tx, held, |query| query.bind(now), |query, (customer_id, fence)| query.bind(*customer_id).bind(*fence))
        .await?;
    for row in rows {
        let (id, event_id): (i64, String) = (row.get("id")?, row.get("event_id")?);
        let one = Finished { count: 0, newest_event_id: event_id.clone(), newest: id };
        let all = finished.entry(row.parse("customer_id")?).or_insert(one);
        all.count += 1;
        if id > all.newest {
            (all.newest, all.newest_event_id) = (id, event_id);
        }
    }
    Ok(finished)
}

/// Puts a row back for later, because of this error.
pub async fn postpone(
    tx: &mut Tx,
    id: i64,
    run_at: Timestamp,
    failure: &'static str,
    error: &str,
) -> Result<(), DbError> {
    tx.query(
        "update webhook_inbox set run_at = $2, failure = $3, last_error = $4 where id in \
         (select id from webhook_inbox where id = $1 and state = 'pending' /* for update skip locked */)",
    )
    .bind(id)
    .bind(run_at)
    .bind(failure)
    .bind(error)
    .execute()
    .await?;
    Ok(())
}

static PUT_BACK: Batch = Batch::about(
    "update webhook_inbox set run_at = $1, attempts = attempts - 1 where id in \
     (select id from webhook_inbox where id in ({@1}) and state = 'pending' /* for update skip locked */)",
);

/// Puts rows back that nobody has tried to work off: the claim does not count as a try.
pub async fn put_back(tx: &mut Tx, ids: &[i64], run_at: Timestamp) -> Result<(), DbError> {
    PUT_BACK.execute(tx, ids, |query| query.bind(run_at), |query, id| query.bind(*id)).await?;
    Ok(())
}

/// Customers of the provider's that waiting events of this customer name, and that no link has.
pub async fn list_unlinked(
    tx: &mut Tx,
    customer_id: &CustomerId,
    provider: &str,
) -> Result<Vec<ExternalCustomerId>, DbError> {
    let rows = tx
        .query(
            "select distinct external_customer from webhook_inbox where customer_id = $1 and state = 'pending' \
             and provider = $2 and external_customer is not null and external_customer not in \
             (select external_id from billing_links where customer_id = $1 and external_id is not null) \
             order by external_customer",
        )
        .bind(customer_id)
        .bind(provider)
        .all()
        .await?;
    rows.iter().map(|row| Ok(ExternalCustomerId::new(row.get::<String>("external_customer")?))).collect()
}

/// Makes due now what waits for somebody to change something, and for longer than until `claimed_until`: a claim moves `run_at`
/// too, but never that far, and rows that somebody works on are left to it.
pub async fn hasten_hopeless(tx: &mut Tx, now: Timestamp, claimed_until: Timestamp) -> Result<u64, DbError> {
    tx.query(
        "update webhook_inbox set run_at = $1 where id in (select id from webhook_inbox \
         where state = 'pending' and failure = 'permanent' and run_at > $2 /* for update skip locked */)",
    )
    .bind(now)
    .bind(claimed_until)
    .execute()
    .await
}

/// Puts the newest of the rows that were given up back into the queue, as if each had been tried so often. Why they were given up
/// stays with them until they are tried.
pub async fn revive(tx: &mut Tx, attempts: i64, limit: i64, now: Timestamp) -> Result<u64, DbError> {
    tx.query(
        "update webhook_inbox set state = 'pending', attempts = $2, run_at = $1, processed_at = null where id in \
         (select id from webhook_inbox where state = 'dead' order by id desc limit $3 /* for update skip locked */)",
    )
    .bind(now)
    .bind(attempts)
    .bind(limit)
    .execute()
    .await
}

/// Gives a row up: an operator has to look.
pub async fn bury(tx: &mut Tx, id: i64, failure: &'static str, error: &str, now: Timestamp) -> Result<(), DbError> {
    tx.query(
        "update webhook_inbox set state = 'dead', failure = $4, last_error = $2, processed_at = $3 where id in \
         (select id from webhook_inbox where id = $1 and state = 'pending' /* for update skip locked */)",
    )
    .bind(id)
    .bind(error)
    .bind(now)
    .bind(failure)
    .execute()
    .await?;
    Ok(())
}

/// How much waits and how much was given up. Only those rows are read, and of a long queue only the beginning.
pub async fn measure(tx: &mut Tx, unmatched_before: Timestamp) -> Result<Queue, DbError> {
    let row = tx
        .query(
            "select (select cast(count(*) as bigint) from \
             (select 1 as one from webhook_inbox where state = 'pending' limit $2) as waiting) as pending, \
             (select cast(count(*) as bigint) from \
             (select 1 as one from webhook_inbox where state = 'dead' limit $2) as buried) as dead, \
             (select cast(count(*) as bigint) from (select 1 as one from webhook_inbox \
             where state = 'pending' and received_at < $1 and customer_id is null limit $2) as strange) as unmatched, \
             (select min(received_at) from webhook_inbox where state = 'pending') as oldest",
        )
        .bind(unmatched_before)
        .bind(super::COUNT_MAX)
        .one()
        .await?;
    Ok(Queue {
        pending: row.get("pending")?,
        dead: row.get("dead")?,
        unmatched: row.get("unmatched")?,
        oldest: row.get("oldest")?,
    })
}

/// When the provider was last heard.
pub async fn newest_received(tx: &mut Tx) -> Result<Option<Timestamp>, DbError> {
    tx.query("select max(received_at) as at from webhook_inbox where source = 'webhook'").one().await?.get("at")
}
