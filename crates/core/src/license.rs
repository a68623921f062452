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

/// A digest of the facts that a licence carries. A new version is issued only when it changes: not for another event, not
/// for another day.
#[must_use]
pub fn facts_digest(grant: &Grant, key_id: &str) -> String {
    let mut hash = Sha256::new();
    let mut field = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    };
    field(grant.plan.as_str());
    field(grant.status);
    field(if grant.trial { "trial" } else { "paid" });
    field(&grant.paid_until.as_unix_seconds().to_string());
    field(&grant.grace_until.as_unix_seconds().to_string());
    field(key_id);
    field(&grant.features.len().to_string());
    for feature in &grant.features {
        field(feature);
    }
    for (name, value) in &grant.limits {
        field(name);
        field(&value.to_string());
    }
    hex::encode(hash.finalize())
}
