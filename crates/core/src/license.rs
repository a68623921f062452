//! The terms of a licence version: what is signed, and when a new version is due.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::entitlement::Grant;
use crate::ids::{CustomerId, LicenseId};
use crate::plan::PlanCode;
use crate::time::Timestamp;

/// A licence is valid from a minute before it was signed, so that a product whose clock is a little behind takes it.
const NOT_BEFORE_LEEWAY_SECONDS: i64 = 60;

/// A product asks for a newer licence at the latest this long after the last one, so that an upgrade reaches it.
const REFRESH_DAYS_MAX: i64 = 7;

/// Everything that one version of a licence says, ready to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The id of this version.
    pub license_id: LicenseId,
    /// Our customer.
    pub customer_id: CustomerId,
    /// Rises by one with each version of the customer's licence.
    pub version: i64,
    /// The plan.
    pub plan: PlanCode,
    /// The status word of the subscription.
    pub status: &'static str,
    /// Whether it is a trial.
    pub trial: bool,
    /// What the product unlocks.
    pub features: Vec<String>,
    /// Numbers that the product enforces.
    pub limits: BTreeMap<String, i64>,
    /// When it was issued, whole seconds.
    pub issued_at: Timestamp,
    /// From when it is valid.
    pub not_before: Timestamp,
    /// When the product should ask for a newer one.
    pub refresh_after: Timestamp,
    /// The end of the paid period or trial.
    pub paid_until: Timestamp,
    /// When it ends: `exp`.
    pub expires_at: Timestamp,
}

impl Terms {
    /// The terms of the next version for this grant.
    #[must_use]
    pub fn draft(license_id: LicenseId, customer_id: CustomerId, version: i64, grant: &Grant, now: Timestamp) -> Self {
        let issued_at = now.floor_to_second();
        let paid_until = grant.paid_until.floor_to_second();
        let expires_at = grant.grace_until.floor_to_second();
        debug_assert!(expires_at >= paid_until, "grace is never negative");
        debug_assert!(issued_at < expires_at, "a license that never was valid");
        let refresh_after = issued_at.plus_days(REFRESH_DAYS_MAX).min(paid_until.max(issued_at));
        Self {
            license_id,
            customer_id,
            version,
            plan: grant.plan.clone(),
            status: grant.status,
            trial: grant.trial,
            features: grant.features.clone(),
            limits: grant.limits.clone(),
            issued_at,
            not_before: issued_at.plus_seconds(-NOT_BEFORE_LEEWAY_SECONDS),
            refresh_after,
            paid_until,
            expires_at,
        }
    }
}

/// A digest of the facts that a licence stands on: plan, state, period and key. A new version is issued by itself only when it
/// changes: not for another event, not for another day, and not because the catalogue was edited, which is an operator's
/// decision for all customers of a plan.
#[must_use]
pub fn facts_digest(grant: &Grant, key_id: &str) -> String {
    let mut fields = Fields::default();
    fields.facts(grant, key_id);
    fields.digest()
}

/// A digest of everything that a licence says: the facts, and what the catalogue makes of them. Where it is another one than
/// that of the newest version, issuing again would tell the product something new.
#[must_use]
pub fn terms_digest(grant: &Grant, key_id: &str) -> String {
    let mut fields = Fields::default();
    fields.facts(grant, key_id);
    fields.add(&grant.grace_until.as_unix_seconds().to_string());
    fields.add(&grant.features.len().to_string());
    for feature in &grant.features {
        fields.add(feature);
    }
    for (name, value) in &grant.limits {
        fields.add(name);
        fields.add(&value.to_string());
    }
    fields.digest()
}

/// Texts, each with its length, so that no two lists of them look alike.
#[derive(Default)]
struct Fields(Sha256);

impl Fields {
    fn add(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text.as_bytes());
    }

    fn facts(&mut self, grant: &Grant, key_id: &str) {
        self.add(grant.plan.as_str());
        self.add(grant.status);
        self.add(if grant.trial { "trial" } else { "paid" });
        self.add(&grant.paid_until.as_unix_seconds().to_string());
        self.add(key_id);
    }

    fn digest(self) -> String {
        hex::encode(self.0.finalize())
    }
}
