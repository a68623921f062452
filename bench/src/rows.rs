//! The rows of customers who have signed up and are known at Stripe, as the server would have written them one by one.
//!
//! Runs need many customers before they begin, and signing each of them up would take argon2 minutes. The licences are real: signed by
//! the key that the server is given.

use std::collections::BTreeMap;

use counterfoil_core::entitlement::Grant;
use counterfoil_core::license::{Terms, facts_digest, terms_digest};
use counterfoil_core::{CustomerId, LicenseId, PlanCode, Timestamp};
use counterfoil_license::{Claims, SigningKey, StatusReference};

use crate::crypto;
use crate::people;
pub use crate::tables::TABLES;

/// The issuer in all licences: the server's public address, whatever port it listens on.
pub const PUBLIC_URL: &str = "http://localhost:3100";
pub const PRODUCT: &str = "counterfoil-product";

/// The password of every seeded customer. One hash serves them all: it protects nobody.
pub const PASSWORD: &str = "correct horse bench staple";

const TRIAL_DAYS: i64 = 14;

/// Places that are given away in one status list of 65,536: the server calls a list full at about three in five.
const PLACES_USED: u64 = 36_000;

/// A prime that scatters them.
const PLACE_FACTOR: u64 = 40_503;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Null,
    Number(i64),
    Flag(bool),
    Text(String),
    Time(Timestamp),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Cell {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<Timestamp> for Cell {
    fn from(time: Timestamp) -> Self {
        Self::Time(time)
    }
}

/// What Stripe knows of the seeded customers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtStripe {
    /// Never heard of them: their first checkout makes them known.
    Unknown,
    /// Knows them, without a subscription.
    Idle,
    /// Has a paid subscription of which the database has not heard yet.
    Paying,
}

/// Makes rows. The same number gives the same customer.
pub struct Maker<'a> {
    key: &'a SigningKey,
    instance: String,
    now: Timestamp,
    at_stripe: AtStripe,
    password_hash: String,
    grant: Grant,
}

impl<'a> Maker<'a> {
    pub fn new(key: &'a SigningKey, instance: &str, now: Timestamp, at_stripe: AtStripe) -> Self {
        let ends_at = now.plus_days(TRIAL_DAYS);
        // The trial of the plans that the server has without a configuration.
        let grant = Grant {
            plan: PlanCode::new("trial"),
            status: "trialing",
            trial: true,
            features: vec!["core".to_owned()],
            limits: BTreeMap::from([("projects".to_owned(), 3), ("seats".to_owned(), 3)]),
            paid_until: ends_at,
            grace_until: ends_at,
        };
        Self { key, instance: instance.to_owned(), now, at_stripe, password_hash: crypto::hash(PASSWORD), grant }
    }

    /// The token of the customer's first licence.
    pub fn token(&self, number: u64) -> String {
        self.key.sign(&self.claims(number))
    }

    fn terms(&self, number: u64) -> Terms {
        let tail = people::tail(number);
        let id = |text: String| text.parse::<LicenseId>().expect("an id made of digits");
        let license_id = id(format!("lic_{tail}{tail}"));
        let customer_id: CustomerId = people::customer_id(&tail).parse().expect("an id made of digits");
        Terms::draft(license_id, customer_id, 1, &self.grant, self.now)
    }

    fn claims(&self, number: u64) -> Claims {
        let terms = self.terms(number);
        let (list, place) = place(number);
        Claims {
            iss: PUBLIC_URL.to_owned(),
            sub: terms.customer_id.to_string(),
            customer_id: terms.customer_id.to_string(),
            aud: PRODUCT.to_owned(),
            iat: terms.issued_at.as_unix_seconds(),
            nbf: terms.not_before.as_unix_seconds(),
            exp: terms.expires_at.as_unix_seconds(),
            jti: terms.license_id.to_string(),
            ver: terms.version,
            plan: terms.plan.to_string(),
            status: terms.status.to_owned(),
            trial: terms.trial,
            features: terms.features,
            limits: terms.limits,
            paid_until: terms.paid_until.as_unix_seconds(),
            grace_until: terms.expires_at.as_unix_seconds(),
            refresh_after: terms.refresh_after.as_unix_seconds(),
            status_list: Some(StatusReference {
                idx: place.unsigned_abs(),
                uri: format!("{PUBLIC_URL}/status-lists/{list}.jwt"),
            }),
        }
    }

    /// The customer's rows, one for each of [`TABLES`]; empty where there is none.
    pub fn rows(&self, number: u64) -> [Vec<Cell>; TABLES.len()] {
        let (tail, now, terms) = (people::tail(number), self.now, self.terms(number));
        let (customer, token) = (people::customer_id(&tail), self.token(number));
        let external = match self.at_stripe {
            AtStripe::Unknown => None,
            AtStripe::Idle => Some(people::idle(&tail)),
            AtStripe::Paying => Some(people::paying(&tail)),
        };
        let email = people::email(&tail);
        let projection = external.clone().map_or(Cell::Null, Cell::Text);
        let customers = vec![
            customer.as_str().into(),
            email.as_str().into(),
            self.password_hash.as_str().into(),
            projection,
            now.into(),
            now.into(),
        ];
        let trial_ends_at = self.grant.paid_until;
        let subscriptions = vec![
            customer.as_str().into(),
            "trial".into(),
            "trialing".into(),
            trial_ends_at.into(),
            now.into(),
            now.into(),
        ];
        let links = external.map_or_else(Vec::new, |external| self.link(&customer, &email, external));
        let (list, place) = place(number);
        let license_id = terms.license_id.to_string();
        let statuses =
            vec![list.into(), place.into(), license_id.into(), customer.as_str().into(), "valid".into(), now.into()];
        let ledger = vec![
            crypto::digest(&email).into(),
            customer.as_str().into(),
            "trial".into(),
            now.into(),
            trial_ends_at.into(),
        ];
        let outbox = self.mail(&tail, &customer, &email, &token);
        let sessions = vec![
            crypto::digest(&token).into(),
            format!("ses_{tail}").into(),
            customer.as_str().into(),
            "Firefox on Linux".into(),
            "203.0.113.x".into(),
            now.into(),
            now.into(),
            now.plus_days(30).into(),
        ];
        let audit = vec![now.into(), "customer".into(), "signed_up".into(), customer.as_str().into(), "".into()];
        let licenses = self.license(&terms, token);
        [customers, subscriptions, links, licenses, statuses, ledger, outbox, sessions, audit]
    }

    fn link(&self, customer: &str, email: &str, external: String) -> Vec<Cell> {
        let (instance, now) = (&self.instance, self.now);
        let frozen = format!(
            "email={email}&metadata%5Bcustomer_id%5D={customer}&metadata%5Bapp%5D=counterfoil&metadata%5Binstance%5D={instance}"
        );
        vec![
            customer.into(),
            "stripe".into(),
            1.into(),
            "active".into(),
            format!("cf:{instance}:{customer}:cus:g1").into(),
            email.into(),
            frozen.into(),
            now.into(),
            external.into(),
            false.into(),
            now.into(),
            now.into(),
        ]
    }

    fn license(&self, terms: &Terms, token: String) -> Vec<Cell> {
        let key_id = self.key.key_id();
        vec![
            terms.license_id.to_string().into(),
            terms.customer_id.to_string().into(),
            terms.version.into(),
            token.into(),
            key_id.into(),
            terms.plan.to_string().into(),
            terms.status.into(),
            terms.trial.into(),
            terms.issued_at.into(),
            terms.expires_at.into(),
            terms.refresh_after.into(),
            terms.paid_until.into(),
            "trial_started".into(),
            facts_digest(&self.grant, key_id).into(),
            terms_digest(&self.grant, key_id).into(),
            "sign_up".into(),
        ]
    }

    fn mail(&self, tail: &str, customer: &str, email: &str, token: &str) -> Vec<Cell> {
        let now = self.now;
        vec![
            format!("eff_{tail}{tail}").into(),
            customer.into(),
            "mail".into(),
            format!("license:{customer}:1").into(),
            email.into(),
            "Your trial has started".into(),
            mail_text(customer, token).into(),
            format!("<eff_{tail}{tail}@localhost>").into(),
            "sent".into(),
            1.into(),
            now.into(),
            now.into(),
            now.into(),
        ]
    }
}

/// As long as the mail that carries a licence.
pub fn mail_text(customer: &str, token: &str) -> String {
    format!(
        "Hello,\n\nthe trial has started. It lasts two weeks, and no card is needed.\n\nYour customer id is {customer}. Please have it at \
         hand when you write to us.\n\nThis is your license. Paste it where the product asks for it:\n\n{token}\n\nIt works until the end \
         of the trial. Manage your subscription, choose a plan and find the newest license at {PUBLIC_URL}/account\n\n"
    )
}

/// The list and the place in it of a customer's first licence.
fn place(number: u64) -> (i64, i64) {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    (signed(number / PLACES_USED + 1), signed((number % PLACES_USED) * PLACE_FACTOR % 65_536))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use counterfoil_license::{Expectations, KeySet, Verifier};

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    #[test]
    fn no_two_licenses_have_one_place() {
        let places: BTreeSet<(i64, i64)> = (0..100_000).map(place).collect();
        assert_eq!(places.len(), 100_000);
        assert!(places.iter().all(|(list, place)| *list >= 1 && (0..65_536).contains(place)));
    }

    #[test]
    fn rows_fit_their_tables_and_the_license_verifies() {
        let key = SigningKey::from_seed(&[7; 32]);
        for (at_stripe, linked) in [(AtStripe::Unknown, false), (AtStripe::Idle, true), (AtStripe::Paying, true)] {
            let maker = Maker::new(&key, "inst_x", NOW, at_stripe);
            for (table, row) in TABLES.iter().zip(maker.rows(5)) {
                let expected = if table.name == "billing_links" && !linked { 0 } else { table.columns.len() };
                assert_eq!(row.len(), expected, "{}", table.name);
            }
            let keys = KeySet::new(vec![key.public()]).unwrap();
            let verifier = Verifier::new(&keys, Expectations::new(PUBLIC_URL, PRODUCT));
            assert!(verifier.verify(&maker.token(5), NOW.as_unix_seconds() + 1).entitled());
        }
    }
}
