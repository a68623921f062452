//! The limits of the databases: the rows of a webhook, and of all that follows from it, written by nobody but a loop.
//!
//! The loop writes each row once, as it stands in the end. The server cannot do that, since an event has to be safe before anything
//! is looked up; so no server reaches this, and how near it comes is what is measured.

use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, params};

use crate::people;
use crate::rows;
use crate::stats::rate;

/// What is written for an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// The inbox row only.
    Inbox,
    /// Everything from the inbox row to the licence and its mail.
    All,
}

/// The texts of an event that are long. They are the same for all events; only ids differ.
#[derive(Clone, Debug)]
pub struct Texts {
    pub body: String,
    pub token: String,
    pub key_id: String,
    pub instance: String,
}

pub const INBOX: &str = "insert into webhook_inbox (provider, account, event_id, event_type, livemode, api_version, \
    external_customer, claimed_customer, claimed_instance, customer_id, source, body, state, attempts, run_at, seen_by_fence, \
    received_at, processed_at) values ('stripe', '', ?1, 'customer.subscription.created', false, '2026-05-27.dahlia', ?2, ?3, \
    ?4, ?5, 'webhook', ?6, ?7, ?8, ?9, ?8, ?9, ?10)";
const LEASE: &str = "insert into customer_leases (customer_id, fence, leased_until, holder) \
    values (?1, 1, '1970-01-01T00:00:00.000000Z', 'run_0123456789abcdef') \
    on conflict (customer_id) do update set fence = customer_leases.fence + 1";
const SUBSCRIPTION: &str = "update subscriptions set stripe_subscription_id = ?2, plan = 'professional', status = 'active', \
    billing_interval = 'month', current_period_ends_at = ?3, paid_until = ?3, updated_at = ?4 where customer_id = ?1";
const AUDIT: &str = "insert into audit_log (at, actor, action, customer_id, detail) \
    values (?1, 'sync', 'subscription_changed', ?2, 'trial trialing -> professional active')";
const PLACE: &str = "insert into license_statuses (list, place, license_id, customer_id, listed, changed_at) \
    values (?1, ?2, ?3, ?4, 'valid', ?5)";
const LICENSE: &str = "insert into licenses (license_id, customer_id, version, token, key_id, plan, status, trial, issued_at, \
    expires_at, refresh_after, paid_until, reason, facts_digest, terms_digest, caused_by, cause_detail) \
    values (?1, ?2, 2, ?3, ?4, 'professional', 'active', false, ?5, ?6, ?6, ?6, 'subscribed', ?7, ?7, 'look', ?8)";
const SUPERSEDED: &str = "update license_statuses set listed = 'superseded', changed_at = ?3 \
    where customer_id = ?1 and license_id <> ?2 and listed = 'valid'";
const MAIL: &str = "insert into outbox (effect_id, customer_id, kind, dedupe_key, recipient, subject, body_text, message_id, state, \
    attempts, run_at, created_at) values (?1, ?2, 'mail', ?3, ?4, 'Your license', ?5, ?6, 'pending', 0, ?7, ?7)";
const CURRENCY: &str = "update billing_links set currency = 'usd', updated_at = ?2 \
    where customer_id = ?1 and provider = 'stripe' and state = 'active'";

/// A time in the text form that the server stores. Which one does not matter to anybody here.
const NOW: &str = "2027-01-15T08:00:00.123456Z";
const LATER: &str = "2027-02-14T08:00:00.000000Z";

/// Writes rows for the customers from 0 up to `customers`, so many events in each transaction, until the time is over or all are done.
/// Answers events a second.
///
/// # Errors
/// Of SQLite's.
pub fn loop_over(
    path: &std::path::Path,
    texts: &Texts,
    what: Rows,
    per_transaction: u64,
    customers: u64,
    time: Duration,
) -> anyhow::Result<f64> {
    let mut connection = Connection::open(path)?;
    // The server's own settings of its writing connection.
    connection.execute_batch(
        "pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on; pragma cache_size = -8192",
    )?;
    connection.set_prepared_statement_cache_capacity(32);
    let (began, mut done) = (Instant::now(), 0);
    while done < customers && began.elapsed() < time {
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let end = customers.min(done + per_transaction);
        for number in done..end {
            match what {
                Rows::Inbox => write_inbox(&transaction, texts, &people::tail(number), "pending")?,
                Rows::All => write_all(&transaction, texts, number)?,
            }
        }
        transaction.commit()?;
        done = end;
    }
    Ok(rate(done, began.elapsed().as_secs_f64()))
}

fn write_inbox(transaction: &Transaction<'_>, texts: &Texts, tail: &str, state: &str) -> anyhow::Result<()> {
    let (customer, processed) = (people::customer_id(tail), state == "processed");
    transaction.prepare_cached(INBOX)?.execute(params![
        format!("evt_{tail}"),
        people::paying(tail),
        customer,
        texts.instance,
        processed.then_some(&customer),
        texts.body.as_bytes(),
        state,
        i64::from(processed),
        NOW,
        processed.then_some(NOW),
    ])?;
    Ok(())
}

fn write_all(transaction: &Transaction<'_>, texts: &Texts, number: u64) -> anyhow::Result<()> {
    let tail = people::tail(number);
    let (customer, license) = (people::customer_id(&tail), format!("lic_9{}{}", &tail[1..], tail));
    write_inbox(transaction, texts, &tail, "processed")?;
    let cached = |sql| transaction.prepare_cached(sql);
    cached(LEASE)?.execute([&customer])?;
    cached(SUBSCRIPTION)?.execute(params![customer, format!("sub_{tail}"), LATER, NOW])?;
    cached(AUDIT)?.execute(params![NOW, customer])?;
    let (list, place) = (1_000_000 + i64::try_from(number / 65_536)?, i64::try_from(number % 65_536)?);
    cached(PLACE)?.execute(params![list, place, license, customer, NOW])?;
    let digest = format!("{tail}{tail}{tail}{tail}");
    let event = format!("evt_{tail}");
    cached(LICENSE)?.execute(params![license, customer, texts.token, texts.key_id, NOW, LATER, digest, event])?;
    cached(SUPERSEDED)?.execute(params![customer, license, NOW])?;
    let (effect, key) = (format!("eff_9{}{}", &tail[1..], tail), format!("license:{customer}:2"));
    let (mail, message) = (rows::mail_text(&customer, &texts.token), format!("<{effect}@localhost>"));
    cached(MAIL)?.execute(params![effect, customer, key, people::email(&tail), mail, message, NOW])?;
    cached(CURRENCY)?.execute(params![customer, NOW])?;
    Ok(())
}
