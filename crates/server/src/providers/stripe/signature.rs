//! The `Stripe-Signature` header: `t=<unix seconds>,v1=<hex>[,v1=<hex>…]`, an HMAC-SHA256 over `"{t}." + raw body`.
//!
//! Every `v1` is tried with every secret, because Stripe signs with each secret that is alive while one is rolled.
//! Where the official SDKs read the same header differently (a repeated `t`, a number with something behind it), it
//! is refused: what two readers understand differently is nobody's signature.

use counterfoil_core::Timestamp;
use counterfoil_core::{planted, probe};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use crate::providers::WebhookRefusal;

/// How old a signature may be. Stripe signs each delivery anew, so a retry after days is young again. There is no bound on
/// the other side, as in the official SDKs: a sender whose clock runs ahead has still signed.
pub(super) const TOLERANCE_SECONDS: i64 = 300;

const MAC_BYTES: usize = 32;

/// More signatures than secrets can be alive are nobody's honest header.
const SIGNATURES_MAX: usize = 32;

/// Digits of the timestamp: the year 9999 needs twelve.
const TIMESTAMP_DIGITS_MAX: usize = 12;

/// Believes the body or says why not.
pub(super) fn verify(
    secrets: &[SecretString],
    signatures: &[&[u8]],
    body: &[u8],
    now: Timestamp,
) -> Result<(), WebhookRefusal> {
    if secrets.is_empty() {
        probe!("F28");
        return Err(WebhookRefusal::SecretUnset);
    }
    let header = match parse(signatures) {
        Err(WebhookRefusal::SignatureMalformed(_)) if planted!("v0-believed") => return Ok(()),
        Err(refusal) => {
            probe!("F24");
            return Err(refusal);
        }
        Ok(header) => header,
    };
    let mut matches = Choice::from(0);
    for secret in secrets {
        let expected = mac(secret, header.timestamp_text, body);
        for candidate in &header.candidates {
            matches |= expected.ct_eq(candidate);
        }
    }
    if !bool::from(matches) {
        probe!("F24");
        return Err(WebhookRefusal::SignatureMismatch);
    }
    probe!("F27", secrets.len() > 1);
    probe!("F63", now.as_unix_seconds() < header.timestamp);
    if now.as_unix_seconds().saturating_sub(header.timestamp) > TOLERANCE_SECONDS {
        probe!("F25");
        return Err(WebhookRefusal::SignatureTooOld { tolerance_seconds: TOLERANCE_SECONDS });
    }
    Ok(())
}

struct Header<'a> {
    timestamp: i64,
    /// Exactly as it was signed.
    timestamp_text: &'a str,
    candidates: Vec<[u8; MAC_BYTES]>,
}

fn parse<'a>(signatures: &[&'a [u8]]) -> Result<Header<'a>, WebhookRefusal> {
    let malformed = WebhookRefusal::SignatureMalformed;
    let header = match signatures {
        [] => return Err(WebhookRefusal::SignatureMissing),
        [only] => std::str::from_utf8(only).map_err(|_| malformed("it is not text"))?,
        _ => return Err(malformed("there are several headers")),
    };
    if header.trim().is_empty() {
        return Err(WebhookRefusal::SignatureMissing);
    }
    let mut timestamp_text = None;
    let mut candidates = Vec::new();
    let mut has_v1 = false;
    // What has no `=` and keys that we do not know are for later schemes and are passed over; so is ` v1` with its space.
    for (key, value) in header.split(',').filter_map(|item| item.split_once('=')) {
        match key {
            "t" if timestamp_text.is_some() => return Err(malformed("there are several timestamps")),
            "t" => timestamp_text = Some(value),
            "v1" => {
                has_v1 = true;
                candidates.extend(decode(value));
            }
            _ => {}
        }
    }
    let timestamp_text = timestamp_text.ok_or(malformed("there is no timestamp"))?;
    let timestamp = seconds(timestamp_text).ok_or(malformed("the timestamp is not a number"))?;
    if !has_v1 {
        return Err(malformed("there is no v1 signature"));
    }
    if candidates.len() > SIGNATURES_MAX {
        return Err(malformed("there are too many signatures"));
    }
    Ok(Header { timestamp, timestamp_text, candidates })
}

/// Digits and nothing else; a leading zero would be signed as one text and read as another.
fn seconds(text: &str) -> Option<i64> {
    let digits =
        !text.is_empty() && text.len() <= TIMESTAMP_DIGITS_MAX && text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    (digits && canonical).then(|| text.parse().ok()).flatten()
}

/// Lowercase hex of the right length; anything else is no candidate, which beside a good one does no harm.
fn decode(text: &str) -> Option<[u8; MAC_BYTES]> {
    let lowercase = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut bytes = [0; MAC_BYTES];
    (lowercase && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

fn mac(secret: &SecretString, timestamp: &str, body: &[u8]) -> [u8; MAC_BYTES] {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).expect("HMAC takes keys of any length");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().into()
}

/// Signs as Stripe does, for tests.
#[cfg(test)]
pub(super) fn sign(secret: &str, timestamp: &str, body: &[u8]) -> String {
    hex::encode(mac(&SecretString::from(secret), timestamp, body))
}
