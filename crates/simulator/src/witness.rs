//! Somebody who stands beside the book of subscriptions and writes down every state that is committed to it, also one that is put
//! right in the same second.
//!
//! Triggers, which only the simulator's databases have: they are part of the transaction, so that what is undone was never seen, and
//! they take no time and no chance from the story.

use counterfoil::db::{Db, DbError, Engine, Row};
use counterfoil_core::Timestamp;

use crate::history::Seen;

const ON_SQLITE: [&str; 3] = [
    "create table seen_subscriptions (id integer primary key, customer_id text not null, stripe_subscription_id text, \
     status text not null, plan text not null, ends boolean not null, period_ends_at text)",
    "create trigger seen_first after insert on subscriptions begin insert into seen_subscriptions \
     (customer_id, stripe_subscription_id, status, plan, ends, period_ends_at) values (new.customer_id, \
     new.stripe_subscription_id, new.status, new.plan, new.cancel_at is not null, new.current_period_ends_at); end",
    "create trigger seen_next after update on subscriptions begin insert into seen_subscriptions \
     (customer_id, stripe_subscription_id, status, plan, ends, period_ends_at) values (new.customer_id, \
     new.stripe_subscription_id, new.status, new.plan, new.cancel_at is not null, new.current_period_ends_at); end",
];

const ON_POSTGRES: [&str; 3] = [
    "create table seen_subscriptions (id bigint generated always as identity primary key, customer_id text not null, \
     stripe_subscription_id text, status text not null, plan text not null, ends boolean not null, period_ends_at timestamptz)",
    "create function note_subscription() returns trigger language plpgsql as $$ begin insert into seen_subscriptions \
     (customer_id, stripe_subscription_id, status, plan, ends, period_ends_at) values (new.customer_id, \
     new.stripe_subscription_id, new.status, new.plan, new.cancel_at is not null, new.current_period_ends_at); \
     return null; end $$",
    "create trigger seen after insert or update on subscriptions for each row execute function note_subscription()",
];

/// From now on every state is written down.
pub async fn begin(db: &Db) -> Result<(), DbError> {
    let statements = match db.engine() {
        Engine::Sqlite => ON_SQLITE,
        Engine::Postgres => ON_POSTGRES,
    };
    for statement in statements {
        db.query(statement).execute().await?;
    }
    Ok(())
}

/// Every state that was committed, in that order.
pub async fn told(db: &Db) -> Result<Vec<Seen>, DbError> {
    let sql = "select customer_id, stripe_subscription_id, status, plan, ends, period_ends_at from seen_subscriptions \
               order by id";
    db.query(sql).all().await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Seen, DbError> {
    Ok(Seen {
        customer_id: row.get("customer_id")?,
        subscription: row.get("stripe_subscription_id")?,
        status: row.get("status")?,
        plan: row.get("plan")?,
        ends: row.get("ends")?,
        period_ends_at: row.get::<Option<Timestamp>>("period_ends_at")?.map(Timestamp::as_unix_seconds),
    })
}
