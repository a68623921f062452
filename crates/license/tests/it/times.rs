//! A license through its life, each boundary at and around.

use counterfoil_license::{Claims, ISSUED_AHEAD_SECONDS_MAX, State};

use crate::forge::{DAY, ISSUED, claims, key, verify_at};

fn state_at(claims: &Claims, now_unix: i64) -> State {
    verify_at(&key().sign(claims), now_unix).state
}

#[test]
fn a_license_passes_through_its_states() {
    let claims = claims();
    for (begins, before, after) in [
        (claims.nbf, State::NotYetValid, State::Valid),
        (claims.refresh_after, State::Valid, State::RefreshDue),
        (claims.paid_until, State::RefreshDue, State::InGrace),
        (claims.exp, State::InGrace, State::Expired),
    ] {
        assert_eq!(state_at(&claims, begins - 1), before, "a second before {begins}");
        assert_eq!(state_at(&claims, begins), after, "at {begins}");
        assert_eq!(state_at(&claims, begins + 1), after, "a second after {begins}");
    }
    assert_eq!(state_at(&claims, i64::MAX), State::Expired);
}

#[test]
fn only_good_states_entitle() {
    let token = key().sign(&claims());
    for (day, code, entitled, should_refresh) in [
        (-1, "not_yet_valid", false, false),
        (0, "valid", true, false),
        (25, "refresh_due", true, true),
        (31, "in_grace", true, true),
        (38, "expired", false, true),
    ] {
        let verified = verify_at(&token, ISSUED + day * DAY);
        assert_eq!(verified.state.code(), code);
        assert_eq!((verified.entitled(), verified.state.should_refresh()), (entitled, should_refresh), "{code}");
        assert_eq!(verified.has_feature("export"), entitled);
        assert_eq!(verified.plan(), entitled.then_some("professional"), "{code}");
        assert_eq!(verified.limit("seats"), entitled.then_some(5));
        assert!(!verified.has_feature("unheard-of") && verified.limit("unheard-of").is_none());
        assert_eq!(verified.claims, Some(claims()), "signed claims are shown, whatever they are worth");
    }
}

#[test]
fn a_license_from_more_than_a_day_ahead_is_no_basis() {
    let claims = claims();
    let edge = claims.iat - ISSUED_AHEAD_SECONDS_MAX;
    assert_eq!(state_at(&claims, edge - 1), State::ClockBehind);
    assert_eq!(state_at(&claims, edge), State::NotYetValid);
    assert_eq!(state_at(&claims, edge + 1), State::NotYetValid);
    assert_eq!(state_at(&claims, i64::MIN), State::ClockBehind);
}

#[test]
fn without_grace_the_paid_period_ends_the_license() {
    let claims = Claims { paid_until: ISSUED + DAY, exp: ISSUED + DAY, grace_until: ISSUED + DAY, ..claims() };
    assert_eq!(state_at(&claims, ISSUED + DAY - 1), State::Valid);
    assert_eq!(state_at(&claims, ISSUED + DAY), State::Expired);
}

#[test]
fn grace_outranks_a_due_refresh_and_still_asks_for_one() {
    let claims = Claims { refresh_after: ISSUED + 33 * DAY, ..claims() };
    assert_eq!(state_at(&claims, ISSUED + 31 * DAY), State::InGrace);
    assert!(State::InGrace.should_refresh());
}

#[test]
fn extreme_times_have_an_answer() {
    let extremes = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
    for exp in extremes {
        for other in extremes {
            let claims = Claims {
                iat: other,
                nbf: other,
                paid_until: other,
                refresh_after: other,
                exp,
                grace_until: exp,
                ..claims()
            };
            let token = key().sign(&claims);
            for now_unix in extremes {
                let state = verify_at(&token, now_unix).state;
                assert!(!state.entitled() || now_unix < exp, "entitled at {now_unix} after {exp}");
                assert!(!state.entitled() || now_unix >= other, "entitled at {now_unix} before {other}");
            }
        }
    }
}

#[test]
fn the_leap_day_the_year_2038_and_the_year_9999_are_ordinary_days() {
    for day in [1_835_395_200, i64::from(i32::MAX), 253_402_300_799] {
        let claims = Claims {
            iat: day,
            nbf: day - 60,
            exp: day + DAY,
            paid_until: day + DAY,
            refresh_after: day + DAY,
            ..claims()
        };
        assert_eq!(state_at(&claims, day), State::Valid);
        assert_eq!(state_at(&claims, day + DAY), State::Expired);
    }
}
