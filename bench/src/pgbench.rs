//! PostgreSQL's limits by its own tool: the same rows as in `work`, by `pgbench` with prepared statements.

use std::path::Path;

use anyhow::Context as _;

use crate::people::{SCATTER_FACTOR, SCATTER_PRIME};
use crate::postgres::Cluster;
use crate::process::run;
use crate::rows;
use crate::work::Texts;

/// What one pgbench transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// The inbox row.
    Insert,
    /// All rows of webhook to licence, a statement each, in one transaction.
    Transaction,
    /// The same rows in one statement.
    Statement,
}

/// Which customer this transaction is about: each client takes every so-manieth one. `$t` is the customer's tail as a number.
const NUMBER: &str = "\\set i :client_id + :n * :width\n\\set n :n + 1\n\\set t (:i * FACTOR) % PRIME\n";

const INBOX: &str = "insert into webhook_inbox (provider, account, event_id, event_type, livemode, api_version, \
    external_customer, claimed_customer, claimed_instance, customer_id, source, body, state, attempts, run_at, seen_by_fence, \
    received_at, processed_at) values ('stripe', '', 'evt_' || TAIL, 'customer.subscription.created', false, \
    '2026-05-27.dahlia', 'cus_p' || TAIL, CUSTOMER, :instance, STATE, 'webhook', (:body)::bytea, DONE)";
const PENDING: (&str, &str) = ("null", "'pending', 0, now(), null, now(), null");
const PROCESSED: (&str, &str) = ("CUSTOMER", "'processed', 1, now(), 1, now(), now()");

const OTHERS: [&str; 8] = [
    "insert into customer_leases (customer_id, fence, leased_until, holder) values (CUSTOMER, 1, 'epoch', 'run_0123456789abcdef') \
     on conflict (customer_id) do update set fence = customer_leases.fence + 1",
    "update subscriptions set stripe_subscription_id = 'sub_' || TAIL, plan = 'professional', status = 'active', \
     billing_interval = 'month', current_period_ends_at = now() + interval '30 days', paid_until = now() + interval '30 days', \
     updated_at = now() where customer_id = CUSTOMER",
    "insert into audit_log (at, actor, action, customer_id, detail) \
     values (now(), 'sync', 'subscription_changed', CUSTOMER, 'trial trialing -> professional active')",
    "insert into license_statuses (list, place, license_id, customer_id, listed, changed_at) \
     values (1000000 + :i / 65536, :i % 65536, 'lic_9' || CUSTOMER, CUSTOMER, 'valid', now())",
    "insert into licenses (license_id, customer_id, version, token, key_id, plan, status, trial, issued_at, expires_at, \
     refresh_after, paid_until, reason, facts_digest, terms_digest, caused_by, cause_detail) \
     values ('lic_9' || CUSTOMER, CUSTOMER, 2, :token, :key, 'professional', 'active', false, now(), now() + interval '37 days', \
     now() + interval '7 days', now() + interval '30 days', 'subscribed', repeat(TAIL, 4), repeat(TAIL, 4), 'look', 'evt_' || TAIL)",
    "update license_statuses set listed = 'superseded', changed_at = now() \
     where customer_id = CUSTOMER and license_id <> 'lic_9' || CUSTOMER and listed = 'valid'",
    "insert into outbox (effect_id, customer_id, kind, dedupe_key, recipient, subject, body_text, message_id, state, attempts, \
     run_at, created_at) values ('eff_9' || TAIL || TAIL, CUSTOMER, 'mail', 'license:' || CUSTOMER || ':2', 'c' || TAIL || '@bench.example', \
     'Your license', :mail, '<eff_9' || TAIL || TAIL || '@localhost>', 'pending', 0, now(), now())",
    "update billing_links set currency = 'usd', updated_at = now() \
     where customer_id = CUSTOMER and provider = 'stripe' and state = 'active'",
];

impl Script {
    fn text(self) -> String {
        let number = NUMBER.replace("FACTOR", &SCATTER_FACTOR.to_string()).replace("PRIME", &SCATTER_PRIME.to_string());
        let inbox = |(customer, done): (&str, &str)| INBOX.replace("STATE", customer).replace("DONE", done);
        let work = match self {
            Self::Insert => inbox(PENDING) + ";\n",
            Self::Transaction => format!("begin;\n{};\n{};\ncommit;\n", inbox(PROCESSED), OTHERS.join(";\n")),
            Self::Statement => {
                let parts = std::iter::once(inbox(PROCESSED)).chain(OTHERS.map(str::to_owned));
                let parts: Vec<String> = parts.enumerate().map(|(at, part)| format!("part{at} as ({part})")).collect();
                format!("with {} select 1;\n", parts.join(", "))
            }
        };
        let tail = "lpad((:t)::text, 16, '0')";
        number + &work.replace("CUSTOMER", "('cust_' || TAIL || TAIL)").replace("TAIL", tail)
    }
}

/// When pgbench stops.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    Seconds(u64),
    /// After so many transactions of all clients together: no more than there are customers.
    Transactions(u64),
}

/// Transactions a second.
///
/// # Errors
/// With what pgbench said; also where one transaction failed.
pub fn transactions_per_second(
    cluster: &Cluster,
    database: &str,
    folder: &Path,
    texts: &Texts,
    script: Script,
    clients: u64,
    until: Until,
) -> anyhow::Result<f64> {
    let file = folder.join("pgbench.sql");
    std::fs::write(&file, script.text())?;
    let mut pgbench = cluster.program("pgbench");
    pgbench.args(["--no-vacuum", "--protocol=prepared", "--jobs=2", "--username=postgres", "--host=127.0.0.1"]);
    pgbench.arg(format!("--port={}", cluster.port)).arg(format!("--client={clients}"));
    match until {
        Until::Seconds(seconds) => pgbench.arg(format!("--time={seconds}")),
        Until::Transactions(count) => pgbench.arg(format!("--transactions={}", count / clients)),
    };
    let mail = rows::mail_text("cust_00000000000000000000000000000000", &texts.token);
    let width = clients.to_string();
    let values = [
        ("n", "0"),
        ("width", &width),
        ("body", &texts.body),
        ("token", &texts.token),
        ("key", &texts.key_id),
        ("mail", &mail),
        ("instance", &texts.instance),
    ];
    for (name, value) in values {
        pgbench.arg("--define").arg(format!("{name}={value}"));
    }
    let said = run(pgbench.arg("--file").arg(&file).arg(database))?;
    read_tps(&said).with_context(|| format!("pgbench says nothing of its speed: {said}"))
}

/// The line `tps = 1234.5 (without initial connection time)`; nothing where transactions failed.
fn read_tps(said: &str) -> Option<f64> {
    let failed = said.lines().find_map(|line| line.strip_prefix("number of failed transactions: "));
    if failed.is_some_and(|count| !count.starts_with("0 ")) {
        return None;
    }
    said.lines().find_map(|line| line.strip_prefix("tps = ")).and_then(|rest| rest.split(' ').next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_has_no_place_left_to_fill_in() {
        for script in [Script::Insert, Script::Transaction, Script::Statement] {
            let text = script.text();
            for word in ["CUSTOMER", "TAIL", "STATE", "DONE", "FACTOR", "PRIME"] {
                assert!(!text.contains(word), "{word} in {text}");
            }
        }
    }

    #[test]
    fn a_run_with_failures_has_no_speed() {
        let good = "number of failed transactions: 0 (0.000%)\ntps = 1234.500000 (without initial connection time)\n";
        assert_eq!(read_tps(good), Some(1234.5));
        assert_eq!(read_tps(&good.replace(": 0 (", ": 3 (")), None);
        assert_eq!(read_tps("something else"), None);
    }
}
