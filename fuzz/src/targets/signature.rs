//! The `Stripe-Signature` header: what the server believes, a second reading of the rules believes too, and the other way round.
//!
//! The first line says which secrets are configured (`a`, `b`, both or neither) and by how many seconds the clock is ahead of
//! [`SIGNED_AT`]. Header lines follow, then an empty line and the body. Nobody guesses a signature, so the header may ask for one: `%t`
//! is the instant, `%a` and `%b` sign the first `t=` of the header with one of the secrets, `%A` is `%a` in capitals.

use counterfoil::providers::WebhookRefusal;
use counterfoil_core::Timestamp;

use super::first_line;
use super::signed::hmac;
use super::stripe::{SECRETS, secrets, with_secrets};

const SIGNED_AT: i64 = 1_800_000_000;
const AGE_SECONDS_MAX: i64 = 300;
const SIGNATURES_MAX: usize = 32;
const SIGNATURE_DIGITS: usize = 64;

pub fn run(bytes: &[u8]) {
    let (setting, rest) = first_line(bytes);
    let which = usize::from(setting.contains(&b'a')) | usize::from(setting.contains(&b'b')) << 1;
    let ahead = String::from_utf8_lossy(setting).trim_matches(|c: char| c != '-' && !c.is_ascii_digit()).parse::<i64>();
    let now = Timestamp::from_unix_seconds(SIGNED_AT.saturating_add(ahead.unwrap_or(0)));
    let (headers, body) = split_headers(rest);
    let headers: Vec<Vec<u8>> = headers.iter().map(|header| filled_in(header, body)).collect();
    let values: Vec<&[u8]> = headers.iter().map(Vec::as_slice).collect();

    let answer = with_secrets(which).verify_webhook(&values, body, now);
    let believed = matches!(&answer, Ok(_) | Err(WebhookRefusal::NotAnEvent(_)));
    let expected = is_believable(&values, body, which, now.as_unix_seconds());
    let shown = || headers.iter().map(|header| String::from_utf8_lossy(header).into_owned()).collect::<Vec<_>>();
    assert_eq!(believed, expected, "{answer:?} for {:?}", shown());
    assert_eq!(matches!(answer, Err(WebhookRefusal::SecretUnset)), which == 0, "{answer:?}");
    if believed {
        assert!(!body.is_empty() || answer.is_err(), "nothing is no event");
        let mut changed = body.to_vec();
        changed.push(b'\n');
        let answer = with_secrets(which).verify_webhook(&values, &changed, now);
        assert!(matches!(answer, Err(WebhookRefusal::SignatureMismatch)), "another body was believed: {answer:?}");
    }
}

/// The lines up to an empty one, and what follows it.
fn split_headers(bytes: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let (mut headers, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let (line, after) = first_line(rest);
        rest = after;
        if line.is_empty() {
            break;
        }
        headers.push(line);
    }
    (headers, rest)
}

fn filled_in(header: &[u8], body: &[u8]) -> Vec<u8> {
    let header = replaced(header, b"%t", SIGNED_AT.to_string().as_bytes());
    let instant = header.split(|byte| *byte == b',').find_map(|item| item.strip_prefix(b"t=")).unwrap_or_default();
    let message = [instant, b".", body].concat();
    let [first, second] = SECRETS.map(|secret| hmac(secret, &message));
    let header = replaced(&header, b"%A", first.to_uppercase().as_bytes());
    replaced(&replaced(&header, b"%a", first.as_bytes()), b"%b", second.as_bytes())
}

fn replaced(text: &[u8], mark: &[u8], by: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < text.len() {
        if text[at..].starts_with(mark) {
            out.extend_from_slice(by);
            at += mark.len();
        } else {
            out.push(text[at]);
            at += 1;
        }
    }
    out
}

/// The rules once more: one header of text; exactly one instant, in the digits that were signed; at least one and at most 32 whole `v1`
/// signatures, one of them good; not older than five minutes.
fn is_believable(headers: &[&[u8]], body: &[u8], which: usize, now: i64) -> bool {
    let [header] = headers else { return false };
    let Ok(header) = std::str::from_utf8(header) else { return false };
    let values = |wanted: &str| -> Vec<&str> {
        let items = header.split(',').filter_map(|item| item.split_once('='));
        items.filter(|(key, _)| *key == wanted).map(|(_, value)| value).collect()
    };
    let instants = values("t");
    let [instant] = instants[..] else { return false };
    let is_number = matches!(instant.len(), 1..=12) && instant.chars().all(|c| c.is_ascii_digit());
    if !is_number || instant.len() > 1 && instant.starts_with('0') {
        return false;
    }
    let age = now.saturating_sub(instant.parse().expect("twelve digits are a number"));
    let is_whole =
        |text: &&str| text.len() == SIGNATURE_DIGITS && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
    let signatures: Vec<&str> = values("v1").into_iter().filter(is_whole).collect();
    let message = [instant.as_bytes(), b".", body].concat();
    let is_good = |secret: &str| signatures.contains(&hmac(secret, &message).as_str());
    signatures.len() <= SIGNATURES_MAX && age <= AGE_SECONDS_MAX && secrets(which).any(is_good)
}
