use std::collections::BTreeSet;

use counterfoil_core::email::InvalidEmail;
use counterfoil_core::password::WeakPassword;
use counterfoil_core::{Refusal, Timestamp};

/// One of each. A new variant breaks the match below, which is the reminder to add it here.
fn all() -> Vec<Refusal> {
    let known = || vec!["starter".to_owned(), "professional".to_owned()];
    vec![
        Refusal::InvalidEmail(InvalidEmail::Malformed),
        Refusal::InvalidEmail(InvalidEmail::TooLong),
        Refusal::InvalidEmail(InvalidEmail::DomainIncomplete),
        Refusal::WeakPassword(WeakPassword::TooShort),
        Refusal::WeakPassword(WeakPassword::TooLong),
        Refusal::WeakPassword(WeakPassword::Common),
        Refusal::WeakPassword(WeakPassword::SameAsEmail),
        Refusal::InvalidField { field: "company_name", reason: "use at most 200 characters" },
        Refusal::EmailTaken,
        Refusal::InvalidCredentials,
        Refusal::EmailNotVerified,
        Refusal::EmailAlreadyVerified,
        Refusal::WrongPassword,
        Refusal::LinkInvalid,
        Refusal::NotSignedIn,
        Refusal::OperatorKeyMissing,
        Refusal::ScopeMissing,
        Refusal::EventUnknown,
        Refusal::JobUnknown,
        Refusal::JobDone { state: "sent" },
        Refusal::CustomerUnknown,
        Refusal::ApiKeyUnknown,
        Refusal::PlanUnknown { asked: "gold".into(), known: known() },
        Refusal::PlanNotForSale { plan: "trial".into(), known: known() },
        Refusal::IntervalUnavailable {
            plan: "starter".into(),
            interval: "year".into(),
            known: vec!["month".to_owned()],
        },
        Refusal::CurrencyUnavailable { plan: "starter".into(), currency: "GBP".into(), known: vec!["EUR".to_owned()] },
        Refusal::CurrencyLocked { locked: "EUR".into(), wanted: "USD".into() },
        Refusal::ReturnUrlNotAllowed { field: "success_url" },
        Refusal::AlreadySubscribed,
        Refusal::PaymentPending,
        Refusal::NoSubscription,
        Refusal::SamePlan,
        Refusal::ChangeNotPossible { reason: "it is paused. Resume it first" },
        Refusal::NothingToResume,
        Refusal::SubscriptionRunning,
        Refusal::PaymentDeclined,
        Refusal::NoBilling,
        Refusal::TrialNotExtendable { reason: "a paid subscription runs" },
        Refusal::NoAgreement,
        Refusal::AlreadyRecorded,
        Refusal::NoLicense,
        Refusal::LicenseRevoked,
        Refusal::CustomerDeleted,
        Refusal::LicenseInvalid,
        Refusal::LicenseNotValid { why: "expired" },
        Refusal::ActivationLimitReached { limit: 3 },
        Refusal::ActivationUnknown,
        Refusal::SessionUnknown,
        Refusal::LicenseKeyCompromised,
        Refusal::SigningKeyUnknown,
        Refusal::SigningKeyState { state: "retired", advice: "nothing brings a key back; generate another one" },
        Refusal::SigningKeyPending { key_id: "kid-a".into() },
        Refusal::SigningKeyTooYoung { ready_at: Timestamp::from_unix_seconds(1_790_000_000) },
        Refusal::SigningKeyNotListed { key_id: "kid-a".into() },
        Refusal::SigningKeysChanged,
        Refusal::KeySetRefused { reason: "it has ended already; sign a new one".into() },
        Refusal::NoKeySet,
        Refusal::StatusListUnknown,
        Refusal::TooManyRequests { retry_after_seconds: 30 },
    ]
}

/// The place of each variant, so that the list above is complete.
const fn place(refusal: &Refusal) -> usize {
    match refusal {
        Refusal::InvalidEmail(_) => 0,
        Refusal::WeakPassword(_) => 1,
        Refusal::InvalidField { .. } => 2,
        Refusal::EmailTaken => 3,
        Refusal::InvalidCredentials => 4,
        Refusal::NotSignedIn => 5,
        Refusal::ScopeMissing => 6,
        Refusal::CustomerUnknown => 7,
        Refusal::PlanUnknown { .. } => 8,
        Refusal::PlanNotForSale { .. } => 9,
        Refusal::IntervalUnavailable { .. } => 10,
        Refusal::ReturnUrlNotAllowed { .. } => 11,
        Refusal::AlreadySubscribed => 12,
        Refusal::PaymentPending => 13,
        Refusal::NoLicense => 14,
        Refusal::LicenseInvalid => 15,
        Refusal::TooManyRequests { .. } => 16,
        Refusal::NoSubscription => 17,
        Refusal::SamePlan => 18,
        Refusal::ChangeNotPossible { .. } => 19,
        Refusal::NothingToResume => 20,
        Refusal::PaymentDeclined => 21,
        Refusal::NoBilling => 22,
        Refusal::OperatorKeyMissing => 23,
        Refusal::ApiKeyUnknown => 24,
        Refusal::WrongPassword => 25,
        Refusal::LinkInvalid => 26,
        Refusal::TrialNotExtendable { .. } => 27,
        Refusal::NoAgreement => 28,
        Refusal::AlreadyRecorded => 29,
        Refusal::LicenseRevoked => 30,
        Refusal::CurrencyUnavailable { .. } => 31,
        Refusal::CurrencyLocked { .. } => 32,
        Refusal::EventUnknown => 33,
        Refusal::JobUnknown => 34,
        Refusal::JobDone { .. } => 35,
        Refusal::EmailNotVerified => 36,
        Refusal::EmailAlreadyVerified => 37,
        Refusal::LicenseKeyCompromised => 38,
        Refusal::SigningKeyUnknown => 39,
        Refusal::SigningKeyState { .. } => 40,
        Refusal::SigningKeyPending { .. } => 41,
        Refusal::SigningKeyTooYoung { .. } => 42,
        Refusal::SigningKeyNotListed { .. } => 43,
        Refusal::SigningKeysChanged => 44,
        Refusal::KeySetRefused { .. } => 45,
        Refusal::NoKeySet => 46,
        Refusal::StatusListUnknown => 47,
        Refusal::SubscriptionRunning => 48,
        Refusal::CustomerDeleted => 49,
        Refusal::LicenseNotValid { .. } => 50,
        Refusal::ActivationLimitReached { .. } => 51,
        Refusal::ActivationUnknown => 52,
        Refusal::SessionUnknown => 53,
    }
}

const VARIANTS: usize = 54;

#[test]
fn codes_are_unique_plain_words() {
    let places: BTreeSet<usize> = all().iter().map(place).collect();
    assert_eq!(places, (0..VARIANTS).collect(), "the list of the test has a gap");
    let codes: BTreeSet<&str> = all().iter().map(Refusal::code).collect();
    assert_eq!(codes.len(), VARIANTS);
    for code in codes {
        assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code}");
    }
}

#[test]
fn codes_fields_and_sentences_are_the_public_contract() {
    let line = |each: &Refusal| format!("{:<22} {:<13} {each}", each.code(), each.field().unwrap_or("-"));
    let table: Vec<String> = all().iter().map(line).collect();
    insta::assert_snapshot!(table.join("\n"));
}

#[test]
fn every_sentence_stands_alone_and_names_no_provider() {
    for refusal in all() {
        let text = refusal.to_string();
        assert!(text.starts_with(|first: char| first.is_uppercase() || first == '`') && text.ends_with('.'), "{text}");
        assert!(!text.contains("..") && !text.contains("Stripe") && !text.contains("cus_"), "{text}");
    }
}
