use counterfoil_core::Timestamp;
use serde_json::json;

use super::super::signature::sign;
use super::{WEBHOOK_SECRET, offline};
use crate::providers::{PaymentProvider, WebhookRefusal};

const NOW: i64 = 1_800_000_000;
const OTHER_SECRET: &str = "whsec_Other";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Accepted,
    Missing,
    Malformed,
    Mismatch,
    TooOld,
    Unset,
    NotAnEvent,
}

fn body() -> Vec<u8> {
    json!({"id": "evt_1", "object": "event", "type": "invoice.paid", "data": {"object": {}}}).to_string().into_bytes()
}

fn verdict(secrets: &[&str], headers: &[&[u8]], body: &[u8]) -> Verdict {
    match offline(secrets).verify_webhook(headers, body, Timestamp::from_unix_seconds(NOW)) {
        Ok(_) => Verdict::Accepted,
        Err(WebhookRefusal::SignatureMissing) => Verdict::Missing,
        Err(WebhookRefusal::SignatureMalformed(_)) => Verdict::Malformed,
        Err(WebhookRefusal::SignatureMismatch) => Verdict::Mismatch,
        Err(WebhookRefusal::SignatureTooOld { tolerance_seconds }) => {
            assert_eq!(tolerance_seconds, 300);
            Verdict::TooOld
        }
        Err(WebhookRefusal::SecretUnset) => Verdict::Unset,
        Err(WebhookRefusal::NotAnEvent(_)) => Verdict::NotAnEvent,
    }
}

fn good(t: i64) -> String {
    sign(WEBHOOK_SECRET, &t.to_string(), &body())
}

#[test]
fn the_known_value_of_the_algorithm() {
    // Computed with Python's `hmac.new(b"whsec_test", b"1800000000.{}", "sha256")`.
    assert_eq!(sign("whsec_test", "1800000000", b"{}"), KNOWN);
}

const KNOWN: &str = "482e6337ac5272392d375c6fdc4d52a7e615dc2facedab0ffe155ddfd6a56e66";

#[test]
fn headers_in_a_table() {
    let sig = good(NOW);
    let other = sign(OTHER_SECRET, &NOW.to_string(), &body());
    let at = |t: i64| format!("t={t},v1={}", good(t));
    let signed_as = |t: &str| format!("t={t},v1={}", sign(WEBHOOK_SECRET, t, &body()));
    let table = [
        (format!("t={NOW},v1={sig}"), Verdict::Accepted, "plain"),
        (format!("v1={sig},t={NOW}"), Verdict::Accepted, "the order is free"),
        (format!("t={NOW},v1={other},v1={sig}"), Verdict::Accepted, "the second of two"),
        (format!("t={NOW},v1={sig},v1={other}"), Verdict::Accepted, "the first of two"),
        (format!("t={NOW},v1={sig},v0={other}"), Verdict::Accepted, "v0 beside it is ignored"),
        (format!("t={NOW},v2=abc,scheme=x,v1={sig}"), Verdict::Accepted, "unknown keys"),
        (format!("t={NOW},junk,v1={sig}"), Verdict::Accepted, "an item without ="),
        (format!("t={NOW},v1={sig},"), Verdict::Accepted, "a trailing comma"),
        (format!("t={NOW},v1=zz,v1=,v1={sig}"), Verdict::Accepted, "bad hex beside a good one"),
        (format!("t={NOW}, v1={sig}"), Verdict::Malformed, "a space before the key"),
        (format!("t={NOW},v1={}", sig.to_uppercase()), Verdict::Mismatch, "uppercase hex"),
        (format!("t={NOW},v0={sig}"), Verdict::Malformed, "only v0"),
        (format!("t={NOW}"), Verdict::Malformed, "no signature"),
        (format!("v1={sig}"), Verdict::Malformed, "no timestamp"),
        (String::new(), Verdict::Missing, "empty"),
        ("  ".to_owned(), Verdict::Missing, "blank"),
        (format!("t={NOW},v1={}", &sig[..62]), Verdict::Mismatch, "truncated"),
        (format!("t={NOW},v1={sig}00"), Verdict::Mismatch, "too long"),
        (format!("t={NOW},v1={other}"), Verdict::Mismatch, "another secret"),
        (format!("t={},v1={sig}", NOW + 1), Verdict::Mismatch, "another time than was signed"),
        (format!("t={NOW},t={NOW},v1={sig}"), Verdict::Malformed, "the time twice, the same"),
        (format!("t={},t={NOW},v1={sig}", NOW - 9), Verdict::Malformed, "the time twice, two"),
        (signed_as("1800000000abc"), Verdict::Malformed, "a number with something behind it"),
        (signed_as("+1800000000"), Verdict::Malformed, "a sign"),
        (signed_as("-1"), Verdict::Malformed, "a negative time"),
        (signed_as(" 1800000000"), Verdict::Malformed, "a space in the time"),
        (signed_as("01800000000"), Verdict::Malformed, "a leading zero"),
        (signed_as("1800000000.0"), Verdict::Malformed, "a fraction"),
        (signed_as(""), Verdict::Malformed, "no digits"),
        (signed_as("99999999999999999999"), Verdict::Malformed, "more than a number holds"),
        (signed_as("0"), Verdict::TooOld, "the epoch"),
        (at(NOW - 300), Verdict::Accepted, "300 seconds old"),
        (at(NOW - 301), Verdict::TooOld, "301 seconds old"),
        (at(NOW + 600), Verdict::Accepted, "from the future"),
        (
            format!("t={NOW},v1={sig}{}", format!(",v1={other}").repeat(31)),
            Verdict::Accepted,
            "as many as there may be",
        ),
        (format!("t={NOW},v1={sig}{}", format!(",v1={other}").repeat(32)), Verdict::Malformed, "too many"),
    ];
    for (header, expected, why) in table {
        assert_eq!(verdict(&[WEBHOOK_SECRET], &[header.as_bytes()], &body()), expected, "{why}: {header}");
    }
}

#[test]
fn the_bytes_are_what_is_signed() {
    let header = format!("t={NOW},v1={}", good(NOW));
    let mut longer = body();
    longer.push(b'\n');
    assert_eq!(verdict(&[WEBHOOK_SECRET], &[header.as_bytes()], &longer), Verdict::Mismatch);
    let reordered = br#"{"object":"event","id":"evt_1"}"#;
    assert_eq!(verdict(&[WEBHOOK_SECRET], &[header.as_bytes()], reordered), Verdict::Mismatch);

    let empty = format!("t={NOW},v1={}", sign(WEBHOOK_SECRET, &NOW.to_string(), b""));
    assert_eq!(verdict(&[WEBHOOK_SECRET], &[empty.as_bytes()], b""), Verdict::NotAnEvent);
}

#[test]
fn any_live_secret_suffices_and_none_believes_nothing() {
    let header = format!("t={NOW},v1={}", good(NOW));
    let header = header.as_bytes();
    assert_eq!(verdict(&[OTHER_SECRET, WEBHOOK_SECRET], &[header], &body()), Verdict::Accepted);
    assert_eq!(verdict(&[WEBHOOK_SECRET, OTHER_SECRET], &[header], &body()), Verdict::Accepted);
    assert_eq!(verdict(&[OTHER_SECRET], &[header], &body()), Verdict::Mismatch);
    assert_eq!(verdict(&["secret"], &[header], &body()), Verdict::Mismatch, "the prefix is part of the secret");
    assert_eq!(verdict(&[], &[header], &body()), Verdict::Unset);
}

#[test]
fn one_header_and_only_text() {
    let header = format!("t={NOW},v1={}", good(NOW));
    let header = header.as_bytes();
    assert_eq!(verdict(&[WEBHOOK_SECRET], &[], &body()), Verdict::Missing);
    assert_eq!(verdict(&[WEBHOOK_SECRET], &[header, header], &body()), Verdict::Malformed);
    assert_eq!(verdict(&[WEBHOOK_SECRET], &[b"t=\xff,v1="], &body()), Verdict::Malformed);
}
