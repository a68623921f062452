//! Customers with what they have, for the tests of pages.

use counterfoil_core::entitlement::entitlement;
use counterfoil_core::facts::Money;
use counterfoil_core::subscription::{Provided, Standing, State, Subscription};
use counterfoil_core::{Catalog, CustomerId, ExternalSubscriptionId, Interval, LicenseId, PlanCode, Timestamp};

use crate::app::customers::Account;
use crate::app::testing::plan;
use crate::store::customers::Customer;
use crate::store::licenses::License;

/// 21 September 2026, 14:13:20 UTC.
pub const NOW: Timestamp = Timestamp::from_unix_seconds(1_790_000_000);

/// What the provider has of a customer: the plan *professional* by the month, in a period that ends in thirty days.
pub fn provided(standing: Standing, paid_until: Option<Timestamp>) -> Provided {
    Provided {
        id: ExternalSubscriptionId::new("x"),
        standing,
        interval: Some(Interval::Month),
        period_ends_at: Some(NOW.plus_days(30)),
        paid_until,
        money: Money::Kept,
        trial_ended_at: None,
    }
}

pub fn subscribed(provided: Provided) -> Subscription {
    Subscription { plan: PlanCode::new("professional"), state: State::Provided(provided), attention: None }
}

/// A licence that was issued now, for thirty days and a week of grace.
pub fn license(plan: &str, trial: bool) -> License {
    License {
        license_id: LicenseId::from_random([1; 16]),
        customer_id: CustomerId::from_random([2; 16]),
        version: 2,
        token: String::new(),
        plan: PlanCode::new(plan),
        status: "active".to_owned(),
        trial,
        issued_at: NOW,
        expires_at: NOW.plus_days(37),
        refresh_after: NOW.plus_days(7),
        paid_until: NOW.plus_days(30),
        reason: "subscribed".to_owned(),
        facts_digest: String::new(),
        terms_digest: String::new(),
        caused_by: "look".to_owned(),
        cause_detail: None,
        revoked_at: None,
        revoked_because: None,
    }
}

/// A customer with this subscription and licence, and the right that follows from the former.
pub fn account(subscription: Subscription, license: Option<License>) -> Account {
    let customer = Customer {
        customer_id: CustomerId::from_random([2; 16]),
        email: "ada@example.com".parse().unwrap(),
        email_verified_at: None,
        company_name: None,
        external_id: None,
        created_at: NOW,
    };
    let catalog = Catalog::new(vec![plan("trial", 14), plan("starter", 0), plan("professional", 0)]).unwrap();
    let right = entitlement(&subscription, &catalog, NOW);
    Account { customer, subscription, right, license }
}
