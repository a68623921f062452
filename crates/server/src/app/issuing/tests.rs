//! With which word and sentence a version is issued, and what is kept of who made us issue it.

use std::collections::BTreeMap;

use counterfoil_core::{CustomerId, PlanCode};

use super::*;
use crate::app::operators::By;

const PAID: Timestamp = Timestamp::from_unix_seconds(1_790_000_000);

/// Plan, status, whether it is a trial, and by how many days its time is longer than the shortest here.
type Says = (&'static str, &'static str, bool, i64);

fn grant((plan, status, trial, days): Says) -> Grant {
    let paid_until = PAID.plus_days(days);
    Grant {
        plan: PlanCode::new(plan),
        status,
        trial,
        features: Vec::new(),
        limits: BTreeMap::new(),
        paid_until,
        grace_until: paid_until.plus_days(7),
    }
}

fn version((plan, status, trial, days): Says) -> Newest {
    let paid_until = PAID.plus_days(days);
    let license = License {
        license_id: LicenseId::from_random([1; 16]),
        customer_id: CustomerId::from_random([2; 16]),
        version: FIRST_VERSION,
        token: String::new(),
        plan: PlanCode::new(plan),
        status: status.to_owned(),
        trial,
        issued_at: PAID.plus_days(-30),
        expires_at: paid_until.plus_days(7),
        refresh_after: paid_until,
        paid_until,
        reason: String::new(),
        facts_digest: String::new(),
        terms_digest: String::new(),
        caused_by: String::new(),
        cause_detail: None,
        revoked_at: None,
        revoked_because: None,
    };
    Newest::of(&license, None)
}

#[test]
fn a_later_version_says_what_has_changed_most() {
    let table: [(Says, Says, &str); 16] = [
        (("pro", "active", false, 0), ("pro", "active", false, 30), "renewed"),
        (("pro", "past_due", false, 0), ("pro", "active", false, 30), "renewed"),
        (("pro", "active", false, 0), ("pro", "past_due", false, 30), "renewed"),
        (("pro", "active", false, 0), ("pro", "past_due", false, 0), "payment_overdue"),
        (("starter", "active", false, 0), ("pro", "past_due", false, 0), "payment_overdue"),
        (("trial", "trialing", true, 0), ("pro", "past_due", false, 0), "payment_overdue"),
        (("pro", "past_due", false, 0), ("pro", "past_due", false, 0), "reissued"),
        (("trial", "trialing", true, 0), ("pro", "active", false, 30), "subscribed"),
        (("pro", "trialing", true, 0), ("pro", "active", false, 0), "subscribed"),
        (("trial", "trialing", true, 0), ("pro", "trialing", true, 30), "plan_chosen"),
        (("starter", "active", false, 0), ("pro", "active", false, 30), "plan_changed"),
        (("pro", "active", false, 0), ("pro", "trialing", true, 30), "trial_extended"),
        (("trial", "trialing", true, 0), ("trial", "trialing", true, 7), "trial_extended"),
        (("pro", "past_due", false, 0), ("pro", "active", false, 0), "status_changed"),
        (("pro", "active", false, 30), ("pro", "active", false, 0), "reissued"),
        (("pro", "active", false, 0), ("pro", "active", false, 0), "reissued"),
    ];
    for (old, new, word) in table {
        assert_eq!(Reason::between(&version(old), &grant(new)).word(), word, "{old:?} to {new:?}");
    }
    let mut a_moment_longer = grant(("pro", "active", false, 0));
    a_moment_longer.paid_until = PAID.plus_millis(999);
    assert_eq!(Reason::between(&version(("pro", "active", false, 0)), &a_moment_longer), Reason::Reissued);
}

#[test]
fn a_first_version_says_what_the_customer_has() {
    let operator = Cause::Operator(By::command_line("asked by phone").unwrap());
    let (trial, paid) = (grant(("pro", "trialing", true, 0)), grant(("pro", "active", false, 0)));
    for (cause, own_trial) in [
        (&Cause::SignUp, Reason::TrialStarted),
        (&Cause::EmailVerified, Reason::TrialStarted),
        (&Cause::Look { event_id: None }, Reason::TrialStarted),
        (&operator, Reason::TrialExtended),
    ] {
        assert_eq!(Reason::first(&trial, true, cause), own_trial, "{cause:?}");
        assert_eq!(Reason::first(&trial, false, cause), Reason::PlanChosen, "{cause:?}");
        assert_eq!(Reason::first(&paid, true, cause), Reason::Subscribed, "{cause:?}");
        assert_eq!(Reason::first(&paid, false, cause), Reason::Subscribed, "{cause:?}");
    }
}

#[test]
fn each_reason_has_a_word_and_a_sentence_of_its_own() {
    let all = [
        Reason::TrialStarted,
        Reason::TrialExtended,
        Reason::Subscribed,
        Reason::PlanChosen,
        Reason::PlanChanged,
        Reason::Renewed,
        Reason::PaymentOverdue,
        Reason::StatusChanged,
        Reason::Reissued,
    ];
    for (index, reason) in all.into_iter().enumerate() {
        assert!(reason.sentence().to_lowercase().contains("your "), "{reason:?}");
        for earlier in &all[..index] {
            assert!(earlier.word() != reason.word() && earlier.sentence() != reason.sentence(), "{reason:?}");
        }
    }
}

#[test]
fn what_made_us_issue_is_kept_in_words() {
    let operator = Cause::Operator(By::command_line("asked by phone").unwrap());
    assert_eq!(Cause::SignUp.words(), ("sign_up", None));
    assert_eq!(Cause::EmailVerified.words(), ("email_verified", None));
    assert_eq!(Cause::Look { event_id: None }.words(), ("look", None));
    assert_eq!(Cause::Look { event_id: Some("evt_1".to_owned()) }.words(), ("look", Some("evt_1")));
    assert_eq!(operator.words(), ("operator:cli", Some("asked by phone")));
}
