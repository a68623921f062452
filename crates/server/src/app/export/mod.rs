//! The export: everything that we hold of a customer, as one document in a documented shape.
//!
//! Nothing in it opens anything: no hash, no token of a session, no text of a mail with a link. The customer's own export has no id
//! of a provider's (invariant 1) and names operators as the vendor; the one for operators has both. It reads for long, so there are
//! few at once: the database's readers are there for licences first.

mod document;

use counterfoil_core::manual::ID_PREFIX;
use counterfoil_core::{CustomerId, Refusal, Timestamp};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::customers::find_subscription;
use super::{App, Error, Failure};
use crate::providers::manual::Statement;
use crate::store;
use crate::store::activations::Activation;
use crate::store::audit;
use crate::store::customers::Customer;
use crate::store::exports;
use crate::store::licenses::License;

pub use document::{
    ActivationPart, BillingPart, CheckoutPart, CustomerPart, Export, FORMAT, HistoryPart, InvoicePart, LicensePart,
    MailPart, OperatorExport, PaymentPart, ProviderPart, SessionPart, SubscriptionPart, TrialPart, VERSION,
};

/// The longest list in the document: far more than any customer has.
const ROWS_MAX: i64 = 10_000;

/// Exports of a process at once. SQLite has four readers.
const AT_ONCE_MAX: usize = 2;

/// What ids of a provider begin with, before the underscore.
const PREFIXES: [&str; 18] = [
    "cus", "sub", "si", "cs", "pi", "pm", "seti", "in", "price", "prod", "evt", "ch", "py", "re", "dp", "ii", "il",
    "req",
];

/// The shortest random part of such an id.
const RANDOM_CHARS_MIN: usize = 8;

/// The places for exports.
#[derive(Debug)]
pub struct Places(Semaphore);

impl Default for Places {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE_MAX))
    }
}

impl Places {
    /// A place, until it is dropped.
    ///
    /// # Errors
    /// [`Failure::ExportsBusy`] where all are taken.
    pub fn take(&self) -> Result<SemaphorePermit<'_>, Failure> {
        self.0.try_acquire().map_err(|_| Failure::ExportsBusy)
    }
}

impl App {
    /// Everything that we hold of a customer, for the customer.
    ///
    /// # Errors
    /// [`Refusal::CustomerUnknown`]; [`Refusal::CustomerDeleted`], after which nothing of the person is left to hand out;
    /// [`Refusal::TooManyRequests`]; failures.
    pub async fn export_customer(&self, customer_id: &CustomerId) -> Result<Export, Error> {
        self.limit_export(customer_id).await?;
        let OperatorExport { mut export, provider: _ } = self.export_for_operators(customer_id).await?;
        for line in &mut export.history {
            line.actor = public_actor(&line.actor).to_owned();
            line.detail = without_ids(&line.detail);
            line.reason = line.reason.as_deref().map(without_ids);
        }
        Ok(export)
    }

    /// The same for operators, who may see more and are not counted.
    ///
    /// # Errors
    /// As [`App::export_customer`], and [`Failure::ExportsBusy`].
    pub async fn export_for_operators(&self, customer_id: &CustomerId) -> Result<OperatorExport, Error> {
        let _place = self.exports.take()?;
        // The manual provider's book is an outside world: it is asked before the transaction, not in it.
        self.find_customer_or_tombstone(customer_id).await?.ok_or(Refusal::CustomerDeleted)?;
        let invoices = self.manual_file(customer_id).await?.statements;
        let now = self.now();
        let mut tx = self.db.begin_read().await?;
        let customer = store::customers::find(&mut tx, customer_id).await?.ok_or(Refusal::CustomerUnknown)?;
        let subscription = find_subscription(&mut tx, customer_id).await?;
        let planned = store::planned_changes::find(&mut tx, customer_id).await?;
        let trials = exports::list_trials(&mut tx, customer_id, ROWS_MAX).await?;
        let licenses = store::licenses::list(&mut tx, customer_id, i64::MAX, ROWS_MAX).await?;
        let activations = store::activations::list(&mut tx, customer_id, ROWS_MAX).await?;
        let checkouts = exports::list_attempts(&mut tx, customer_id, ROWS_MAX).await?;
        let links = exports::list_links(&mut tx, customer_id, ROWS_MAX).await?;
        let mails = exports::list_mails(&mut tx, customer_id, ROWS_MAX).await?;
        let sessions = exports::list_sessions(&mut tx, customer_id, ROWS_MAX).await?;
        let history = audit::list(&mut tx, customer_id, ROWS_MAX).await?;
        tx.rollback().await?;
        let (record, status) = (subscription.to_record(), subscription.status_word(now).to_owned());
        let provider = ProviderPart {
            stripe_customer_id: customer.external_id.as_ref().map(ToString::to_string),
            stripe_subscription_id: record.external_id.as_ref().map(ToString::to_string),
            external_ids: links.iter().filter_map(|link| link.external_id.as_ref()).map(ToString::to_string).collect(),
        };
        let planned_plan = planned.map(|planned| planned.plan.to_string());
        let export = Export {
            format: FORMAT,
            version: VERSION,
            exported_at: now,
            customer: customer.into(),
            subscription: SubscriptionPart { status, planned_plan, ..subscription_part(record) },
            trials: trials.into_iter().map(Into::into).collect(),
            licenses: licenses.into_iter().map(Into::into).collect(),
            activations: activations.into_iter().map(Into::into).collect(),
            checkouts: checkouts.into_iter().map(Into::into).collect(),
            billing: links.into_iter().map(Into::into).collect(),
            invoices: invoices.into_iter().map(|statement| invoice_part(statement, now)).collect(),
            mails: mails.into_iter().map(Into::into).collect(),
            sessions: sessions.into_iter().map(Into::into).collect(),
            history: history.into_iter().map(Into::into).collect(),
        };
        Ok(OperatorExport { export, provider })
    }
}

impl From<Customer> for CustomerPart {
    fn from(customer: Customer) -> Self {
        Self {
            customer_id: customer.customer_id.to_string(),
            email: customer.email.to_string(),
            company_name: customer.company_name,
            created_at: customer.created_at,
        }
    }
}

fn subscription_part(record: counterfoil_core::subscription::Record) -> SubscriptionPart {
    SubscriptionPart {
        plan: record.plan.to_string(),
        status: record.status,
        interval: record.interval.map(|interval| interval.as_str().to_owned()),
        trial_ends_at: record.trial_ends_at,
        current_period_ends_at: record.current_period_ends_at,
        paid_until: record.paid_until,
        cancel_at: record.cancel_at,
        ended_at: record.ended_at,
        money_back: record.money_back,
        planned_plan: None,
    }
}

impl From<exports::TrialRow> for TrialPart {
    fn from(row: exports::TrialRow) -> Self {
        Self { plan: row.plan, started_at: row.started_at, ends_at: row.ends_at }
    }
}

impl From<License> for LicensePart {
    fn from(license: License) -> Self {
        Self {
            license_id: license.license_id.to_string(),
            version: license.version,
            token: license.token,
            plan: license.plan.to_string(),
            status: license.status,
            trial: license.trial,
            issued_at: license.issued_at,
            expires_at: license.expires_at,
            paid_until: license.paid_until,
            reason: license.reason,
            revoked_at: license.revoked_at,
        }
    }
}

impl From<Activation> for ActivationPart {
    fn from(each: Activation) -> Self {
        Self { activation_id: each.activation_id.to_string(), name: each.name, activated_at: each.activated_at }
    }
}

impl From<exports::AttemptRow> for CheckoutPart {
    fn from(row: exports::AttemptRow) -> Self {
        Self {
            attempt_id: row.attempt_id,
            plan: row.plan,
            interval: row.interval,
            state: row.state,
            success_url: row.success_url,
            cancel_url: row.cancel_url,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl From<exports::LinkRow> for BillingPart {
    fn from(link: exports::LinkRow) -> Self {
        let exports::LinkRow { provider, state, email, currency, external_id: _, created_at } = link;
        Self { provider, state, email, currency, created_at }
    }
}

fn invoice_part(statement: Statement, now: Timestamp) -> InvoicePart {
    let ended_at = statement.account.ended_at(now);
    let agreement = statement.account.agreement;
    let payments = statement.payments.into_iter().map(|each| PaymentPart {
        reference: each.reference,
        amount: each.payment.amount,
        refunded: each.payment.refunded,
        currency: each.currency,
        recorded_at: each.recorded_at,
    });
    InvoicePart {
        plan: agreement.plan.to_string(),
        interval: agreement.interval.as_str().to_owned(),
        starts_at: agreement.starts_at,
        ended_at,
        payments: payments.collect(),
    }
}

impl From<exports::MailRow> for MailPart {
    fn from(row: exports::MailRow) -> Self {
        Self {
            recipient: row.recipient,
            subject: row.subject,
            state: row.state,
            created_at: row.created_at,
            sent_at: row.sent_at,
            text: row.body_text,
        }
    }
}

impl From<exports::SessionRow> for SessionPart {
    fn from(row: exports::SessionRow) -> Self {
        let exports::SessionRow { device, network, created_at, last_seen_at, expires_at } = row;
        Self { device, network, created_at, last_seen_at, expires_at }
    }
}

impl From<audit::Entry> for HistoryPart {
    fn from(entry: audit::Entry) -> Self {
        let audit::Entry { at, actor, action, detail, reason } = entry;
        Self { at, actor, action, detail, reason }
    }
}

/// Who it was, as far as that is the customer's business.
fn public_actor(actor: &str) -> &'static str {
    match actor {
        "customer" => "customer",
        operator if operator.starts_with("operator:") => "vendor",
        _ => "system",
    }
}

/// The text without ids of a provider's, which an operator may have written or pasted.
fn without_ids(text: &str) -> String {
    let in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let mut clean = String::with_capacity(text.len());
    let mut left = text;
    while let Some(start) = left.find(in_word) {
        let (before, from) = left.split_at(start);
        let (word, rest) = from.split_at(from.find(|c| !in_word(c)).unwrap_or(from.len()));
        clean.push_str(before);
        clean.push_str(if is_id(word) { "(id)" } else { word });
        left = rest;
    }
    clean.push_str(left);
    clean
}

fn is_id(word: &str) -> bool {
    let Some((prefix, random)) = word.split_once('_') else { return false };
    // English words such as `in_progress` have neither a digit nor a capital.
    let is_random = random.len() >= RANDOM_CHARS_MIN && random.chars().any(|c| c.is_ascii_digit() || c.is_uppercase());
    (PREFIXES.contains(&prefix) && is_random) || word.starts_with(ID_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_provider_go_and_words_stay() {
        for (text, clean) in [
            ("", ""),
            ("starter active -> professional active", "starter active -> professional active"),
            ("sub_1Pabcdefgh, twice: cus_ABCDEFGH12.", "(id), twice: (id)."),
            ("cs_test_a1B2c3D4e5 is in_progress", "(id) is in_progress"),
            (
                "INV-2026-0017 of cust_0f1e2d3c4b5a69788796a5b4c3d2e1f0",
                "INV-2026-0017 of cust_0f1e2d3c4b5a69788796a5b4c3d2e1f0",
            ),
            ("für evt_made0000000000000001 und manual_subscription_0f1e", "für (id) und (id)"),
        ] {
            assert_eq!(without_ids(text), clean);
        }
    }
}
