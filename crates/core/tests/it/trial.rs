use counterfoil_core::subscription::Standing;
use counterfoil_core::trial::{
    Entry, Extension, Start, TrialNotice, TrialPer, extend, ledger_names, note_address, start,
};
use counterfoil_core::{EmailAddress, Refusal, Timestamp};

use crate::support::{ACTIVE, catalog, day, provided, trial_until};

#[test]
fn the_first_trial_runs_for_the_days_of_the_plan() {
    let now = day(1).plus_millis(1700);
    let first = start(None, catalog().trial(), now);
    let entry = Entry { started_at: now, ends_at: day(15).plus_seconds(1) };
    assert_eq!(first, Start::First(entry));
    assert_eq!(first.entry(), entry);
}

#[test]
fn a_second_trial_is_the_first_one_running_or_over() {
    let entry = Entry { started_at: day(1), ends_at: day(15) };
    for now in [day(1), day(14), day(15), day(400)] {
        let again = start(Some(entry), catalog().trial(), now);
        assert_eq!(again, Start::Earlier(entry));
        assert_eq!(again.entry(), entry);
    }
}

#[test]
fn a_company_shares_a_trial_and_strangers_at_one_mail_provider_do_not() {
    let company = TrialPer::CompanyDomain { public_domains: vec!["mail.example".to_owned()] };
    let table: [(&str, &TrialPer, &[&str]); 8] = [
        ("Ada+x@acme.example", &TrialPer::Person, &["ada@acme.example"]),
        ("ada@acme.example", &company, &["@acme.example", "ada@acme.example"]),
        ("BOB@ACME.example", &company, &["@acme.example", "bob@acme.example"]),
        ("ada@lab.acme.example", &company, &["@lab.acme.example", "ada@lab.acme.example"]),
        ("ada@gmail.com", &company, &["ada@gmail.com"]),
        ("a.da@googlemail.com", &company, &["ada@gmail.com"]),
        ("ada@web.de", &company, &["ada@web.de"]),
        ("ada@mail.example", &company, &["ada@mail.example"]),
    ];
    for (email, per, names) in table {
        let email: EmailAddress = email.parse().unwrap();
        assert_eq!(ledger_names(&email, per), names, "{}", email.as_str());
    }
}

#[test]
fn of_all_there_is_to_say_about_an_end_one_thing_is_true_at_a_time() {
    let end = day(15);
    let due = |now: Timestamp| TrialNotice::ALL.into_iter().filter(|each| each.is_due(end, now)).collect::<Vec<_>>();
    let second = |at: Timestamp, seconds| at.plus_seconds(seconds);
    let table: [(Timestamp, &[TrialNotice]); 9] = [
        (day(1), &[]),
        (second(day(12), -1), &[]),
        (day(12), &[TrialNotice::ThreeDays]),
        (second(day(14), -1), &[TrialNotice::ThreeDays]),
        (day(14), &[TrialNotice::OneDay]),
        (second(day(15), -1), &[TrialNotice::OneDay]),
        (day(15), &[TrialNotice::Ended]),
        (second(day(22), -1), &[TrialNotice::Ended]),
        (day(22), &[]),
    ];
    for (now, expected) in table {
        assert_eq!(due(now), expected, "{now}");
    }
}

#[test]
fn who_is_given_a_trial_is_not_told_at_once_how_little_is_left() {
    let said = |given: Timestamp| TrialNotice::ALL.map(|each| each.is_said_by_giving(day(15), given));
    assert_eq!(said(day(1)), [false, false, false]);
    assert_eq!(said(day(12).plus_seconds(-1)), [false, false, false]);
    assert_eq!(said(day(12)), [true, false, false]);
    assert_eq!(said(day(14)), [true, true, false]);
    assert_eq!(said(day(15).plus_seconds(-1)), [true, true, false]);
    assert_eq!(said(day(15)), [true, true, true], "it was over before it was given");
    for notice in TrialNotice::ALL {
        assert!(TrialNotice::ALL.iter().filter(|each| each.word() == notice.word()).count() == 1);
    }
}

#[test]
fn an_extension_counts_from_the_end_or_from_now() {
    let now = day(10);
    let of = |until: i64, by| extend(&trial_until(until), by, now);
    let field = |result: Result<Timestamp, Refusal>| result.unwrap_err().field();
    assert_eq!(of(15, Extension::Days(7)), Ok(day(22)));
    assert_eq!(of(15, Extension::Days(1)), Ok(day(16)));
    assert_eq!(of(5, Extension::Days(7)), Ok(day(17)), "revived from now");
    assert_eq!(of(10, Extension::Days(365)), Ok(day(375)), "the farthest end");
    assert_eq!(of(5, Extension::Until(day(11))), Ok(day(11)));
    assert_eq!(of(15, Extension::Until(day(375))), Ok(day(375)));
    assert_eq!(of(15, Extension::Until(day(20).plus_millis(700))), Ok(day(20)), "whole seconds");
    for days in [i64::MIN, -1, 0, 366, i64::MAX] {
        assert_eq!(field(of(15, Extension::Days(days))), Some("days"), "{days}");
    }
    assert_eq!(field(of(15, Extension::Days(361))), Some("days"), "from an end that is still ahead");
    for until in [day(1), day(10), day(15), day(375).plus_seconds(1)] {
        assert_eq!(field(of(15, Extension::Until(until))), Some("until"), "{until}");
    }
    assert_eq!(field(of(5, Extension::Until(day(10)))), Some("until"), "now is no later than now");
    for days in [0, 366] {
        let refused = of(15, Extension::Days(days)).unwrap_err();
        assert_eq!(
            refused,
            Refusal::InvalidField { field: "days", reason: "give 1 to 365 days" },
            "it says what may be given"
        );
    }
}

#[test]
fn what_was_paid_for_is_not_made_a_trial_again() {
    let standings = [
        ACTIVE,
        Standing::Trialing { cancel_at: None },
        Standing::PastDue { cancel_at: None },
        Standing::Unpaid,
        Standing::Paused,
        Standing::Incomplete,
        Standing::IncompleteExpired,
        Standing::Canceled { ended_at: day(3) },
    ];
    for standing in standings {
        for by in [Extension::Days(7), Extension::Until(day(30))] {
            let refused = extend(&provided("x", standing), by, day(10)).unwrap_err();
            assert_eq!(refused.code(), "trial_not_extendable", "{standing:?}");
            let told = refused.to_string();
            assert_eq!(told.contains("subscription runs"), standing.is_live(), "{standing:?}: {told}");
        }
    }
}

#[test]
fn a_new_address_carries_the_trial_of_the_old_one() {
    let (old, new) = (Entry { started_at: day(1), ends_at: day(15) }, Entry { started_at: day(3), ends_at: day(17) });
    assert_eq!(note_address(Some(old), None), Some(old));
    for (under_old, under_new) in [(Some(old), Some(new)), (None, Some(new)), (None, None)] {
        assert_eq!(note_address(under_old, under_new), None, "what the ledger knows is not written over");
    }
}
