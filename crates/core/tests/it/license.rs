use counterfoil_core::entitlement::{Grant, entitlement};
use counterfoil_core::license::{Terms, facts_digest, terms_digest};
use counterfoil_core::{CustomerId, LicenseId, PlanCode, Timestamp};
use proptest::prelude::*;

use crate::support::{ACTIVE, cases, catalog, day, provided};

fn grant() -> Grant {
    entitlement(&provided("sub_1", ACTIVE), &catalog(), day(3)).expect("an active subscription gives a right")
}

fn draft(grant: &Grant, now: Timestamp) -> Terms {
    Terms::draft(LicenseId::from_random([1; 16]), CustomerId::from_random([2; 16]), 4, grant, now)
}

#[test]
fn the_terms_say_what_the_grant_says() {
    let now = day(3).plus_millis(1500);
    let terms = draft(&grant(), now);
    assert_eq!((terms.plan.as_str(), terms.status, terms.trial), ("professional", "active", false));
    assert_eq!((terms.version, &terms.features, &terms.limits), (4, &grant().features, &grant().limits));
    assert_eq!(terms.issued_at, day(3).plus_seconds(1));
    assert_eq!(terms.not_before, terms.issued_at.plus_seconds(-60));
    assert_eq!((terms.paid_until, terms.expires_at), (day(32), day(39)), "exp is the paid end and 7 days of grace");
}

#[test]
fn the_product_asks_again_after_a_week_or_when_the_paid_time_ends() {
    assert_eq!(draft(&grant(), day(3)).refresh_after, day(10));
    assert_eq!(draft(&grant(), day(25)).refresh_after, day(32));
    assert_eq!(draft(&grant(), day(30)).refresh_after, day(32));
    assert_eq!(draft(&grant(), day(35)).refresh_after, day(35), "in grace it asks at once");
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn the_dates_of_every_license_are_in_order(paid in 0i64..4_000_000_000, grace in 0i64..400, ago in 1i64..40_000_000) {
        let paid_until = Timestamp::from_micros(paid * 1_000_003);
        let grace_until = paid_until.floor_to_second().plus_days(grace);
        let now = grace_until.plus_seconds(-ago);
        let terms = draft(&Grant { paid_until, grace_until, ..grant() }, now);
        prop_assert!(terms.not_before < terms.issued_at && terms.issued_at <= terms.refresh_after);
        prop_assert!(terms.refresh_after <= terms.expires_at && terms.issued_at < terms.expires_at);
        prop_assert!(terms.refresh_after <= terms.issued_at.plus_days(7));
        prop_assert!(terms.expires_at <= grace_until, "a license outlives paid time and grace");
        for instant in [terms.issued_at, terms.not_before, terms.refresh_after, terms.paid_until, terms.expires_at] {
            prop_assert_eq!(instant, instant.floor_to_second());
        }
    }
}

fn changed(digest: fn(&Grant, &str) -> String, change: fn(&mut Grant)) -> String {
    let mut other = grant();
    change(&mut other);
    digest(&other, "key-1")
}

fn all_differ(base: &str, others: &[String]) {
    for (index, digest) in others.iter().enumerate() {
        assert_ne!(digest, base, "change {index} left no trace");
        assert!(!others[..index].contains(digest), "change {index} looks like another");
    }
}

/// Changes of the facts, as both digests see them.
fn other_facts(digest: fn(&Grant, &str) -> String) -> Vec<String> {
    vec![
        digest(&grant(), "key-2"),
        changed(digest, |grant| grant.plan = PlanCode::new("starter")),
        changed(digest, |grant| grant.status = "past_due"),
        changed(digest, |grant| grant.trial = true),
        changed(digest, |grant| grant.paid_until = day(33)),
    ]
}

/// Changes of the catalogue, which are no facts about the customer.
const EDITS: [fn(&mut Grant); 9] = [
    |grant| grant.grace_until = day(40),
    |grant| grant.features.push("extra".into()),
    |grant| grant.features.clear(),
    |grant| grant.features.reverse(),
    |grant| grant.features = vec!["professional_featureexport".into()],
    |grant| grant.features = vec!["professional_feature".into(), "export".into(), "seats".into(), "5".into()],
    |grant| grant.limits.clear(),
    |grant| grant.limits.extend([("seats".into(), 6)]),
    |grant| grant.limits.extend([("seats2".into(), 5)]),
];

#[test]
fn the_facts_change_with_plan_state_period_and_key_and_not_with_the_catalogue() {
    let base = facts_digest(&grant(), "key-1");
    assert_eq!(base.len(), 64);
    all_differ(&base, &other_facts(facts_digest));
    // Less than a second is not in a licence, so it is no other licence.
    assert_eq!(changed(facts_digest, |grant| grant.paid_until = day(32).plus_millis(999)), base);
    for edit in EDITS {
        assert_eq!(changed(facts_digest, edit), base, "an edit of the catalogue issues nothing by itself");
    }
}

#[test]
fn the_terms_change_with_everything_that_a_license_says() {
    let base = terms_digest(&grant(), "key-1");
    assert_eq!(base, terms_digest(&grant(), "key-1"));
    assert_ne!(base, facts_digest(&grant(), "key-1"));
    let edited = EDITS.map(|edit| changed(terms_digest, edit));
    all_differ(&base, &[other_facts(terms_digest), edited.to_vec()].concat());
}
