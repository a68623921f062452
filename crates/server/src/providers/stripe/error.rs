//! From what Stripe answered to what the application can do about it.
//!
//! Only Stripe's own error object is believed. A proxy's 404 page must not read as "this customer does not exist":
//! that would retire a link and make a second customer (invariant 2). What cannot be read has an unknown outcome.

use counterfoil_core::Timestamp;
use counterfoil_core::probe;
use serde_json::Value;

use super::json;
use crate::providers::ProviderError;

/// Stripe's sentences are short; a longer one is cut before it reaches a log or an operator's screen.
const MESSAGE_CHARS_MAX: usize = 400;

/// Stripe has no code for it.
const CURRENCY_LOCKED: &str = "You cannot combine currencies on a single customer";

/// A full answer, reduced to what decides.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Stripe's id of the request, for its support.
    pub(super) request_id: Option<String>,
    /// `Stripe-Should-Retry`, where Stripe gave advice.
    pub(super) should_retry: Option<bool>,
    /// `Idempotent-Replayed`: this is the stored answer of an earlier request with the same key.
    pub(super) replayed: bool,
    /// Stripe's time, as the answer's head tells it.
    pub(super) date: Option<Timestamp>,
    /// The body, where it was JSON.
    pub(super) body: Option<Value>,
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.status >= 500 && self.replayed
    }

    /// A limit is a 429, or in old API versions a 400 with a code.
    pub(super) fn is_rate_limited(&self) -> bool {
        self.status == 429 || (self.status == 400 && self.error_text("code") == Some("rate_limit"))
    }

    /// Somebody else is using the key at this moment.
    pub(super) fn is_key_in_use(&self) -> bool {
        self.status == 409 && self.error_text("code") == Some("idempotency_key_in_use")
    }

    fn error_text(&self, key: &str) -> Option<&str> {
        json::at(self.body.as_ref()?, &["error", key])?.as_str()
    }

    /// What the application is told. Called for answers that are not a success.
    pub(super) fn into_error(self) -> ProviderError {
        let request_id = self.request_id.clone();
        let code = self.error_text("code").map(redact);
        let said = self.error_text("message").map(redact);
        let stripes_own =
            json::at(self.body.as_ref().unwrap_or(&Value::Null), &["error"]).is_some_and(Value::is_object);
        let message = said.unwrap_or_else(|| format!("HTTP {} without a reason", self.status));
        match self.status {
            500.. if self.replayed => ProviderError::KeyPoisoned { request_id },
            401 | 403 => {
                probe!("F43");
                ProviderError::Unauthorized { message, request_id }
            }
            _ if !stripes_own || self.status >= 500 || self.is_rate_limited() => {
                ProviderError::Unavailable { reason: format!("HTTP {}: {message}", self.status), request_id }
            }
            409 if code.as_deref() == Some("lock_timeout") => {
                ProviderError::Unavailable { reason: format!("HTTP 409: {message}"), request_id }
            }
            409 => ProviderError::KeyInUse,
            _ if self.error_text("type") == Some("idempotency_error") => ProviderError::KeyMismatch { request_id },
            402 => ProviderError::CardDeclined { code, request_id },
            400 | 404 => self.missing_or_rejected(code, message, request_id),
            _ => ProviderError::Rejected { code, message, request_id },
        }
    }

    fn missing_or_rejected(&self, code: Option<String>, message: String, request_id: Option<String>) -> ProviderError {
        // The object is there, in the other mode: the key is the wrong one, and nothing may be created in its place.
        if message.contains("a similar object exists in") {
            return ProviderError::Rejected { code, message, request_id };
        }
        if message.starts_with(CURRENCY_LOCKED) {
            return ProviderError::CurrencyLocked { currency: currency_named_last(&message), request_id };
        }
        let param = self.error_text("param").unwrap_or_default();
        let missing = code.as_deref() == Some("resource_missing");
        if message.starts_with("No such customer") || (missing && param == "customer") {
            ProviderError::CustomerMissing
        } else if missing && (param.contains("price") || message.starts_with("No such price")) {
            ProviderError::PriceMissing { message, request_id }
        } else if self.status == 404 {
            ProviderError::Missing { message, request_id }
        } else {
            ProviderError::Rejected { code, message, request_id }
        }
    }
}

/// The currency at the end of a sentence: `… invoice item with currency eur.`
fn currency_named_last(message: &str) -> Option<String> {
    let word = message.rsplit("currency ").next()?.trim_end_matches('.').to_ascii_lowercase();
    (word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_lowercase())).then_some(word)
}

/// An answer that claims success and cannot be understood: the outcome is unknown.
pub(super) fn unreadable(what: &str, request_id: Option<String>) -> ProviderError {
    probe!("F37");
    ProviderError::Unavailable { reason: format!("the answer could not be read: {what}"), request_id }
}

/// Takes keys, secrets and addresses out of a text that goes into a log. Stripe's own 401 repeats the key, half masked.
pub(super) fn redact(text: &str) -> String {
    let mut clean = String::with_capacity(text.len().min(MESSAGE_CHARS_MAX));
    for (index, word) in text.split_whitespace().enumerate() {
        if index > 0 {
            clean.push(' ');
        }
        clean.push_str(&redact_word(word));
    }
    if clean.chars().count() > MESSAGE_CHARS_MAX {
        clean = clean.chars().take(MESSAGE_CHARS_MAX).collect();
        clean.push('…');
    }
    clean
}

fn redact_word(word: &str) -> String {
    const SECRETS: [&str; 5] = ["sk_", "rk_", "pk_", "ek_", "whsec_"];
    let secret_start = SECRETS.iter().filter_map(|prefix| find_token(word, prefix)).min();
    match secret_start {
        Some(start) => format!("{}[redacted]", &word[..start]),
        None if word.contains('@') => "[address]".to_owned(),
        None => word.chars().filter(|c| !c.is_control()).collect(),
    }
}

/// Where a token with this prefix begins in a word: not in the middle of another one, such as `task_`.
fn find_token(word: &str, prefix: &str) -> Option<usize> {
    word.match_indices(prefix)
        .map(|(start, _)| start)
        .find(|start| !word[..*start].ends_with(|c: char| c.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u16, body: Option<Value>) -> Answer {
        Answer { status, request_id: Some("req_1".to_owned()), should_retry: None, replayed: false, date: None, body }
    }

    fn error(status: u16, error: Value) -> String {
        let error = answer(status, Some(json!({ "error": error }))).into_error();
        format!("{error:?}").split([' ', '(']).next().unwrap().to_owned()
    }

    #[test]
    fn each_refusal_has_its_kind() {
        let missing = |param: &str, message: &str| json!({"type": "invalid_request_error", "code": "resource_missing", "param": param, "message": message});
        let table = [
            (400, missing("customer", "No such customer: 'cus_1'"), "CustomerMissing"),
            (404, missing("id", "No such customer: 'cus_1'"), "CustomerMissing"),
            (400, missing("customer", "Customer cus_1 has been deleted"), "CustomerMissing"),
            (404, json!({"type": "invalid_request_error", "message": "No such customer: cus_1"}), "CustomerMissing"),
            (400, missing("line_items[0][price]", "No such price: 'price_x'"), "PriceMissing"),
            (400, missing("items[0][price]", "No such plan: 'price_x'"), "PriceMissing"),
            (404, missing("id", "No such price: 'price_x'"), "PriceMissing"),
            (404, missing("session", "No such checkout.session: cs_1"), "Missing"),
            (404, json!({"type": "invalid_request_error", "message": "Unrecognized request URL"}), "Missing"),
            (400, missing("", "This customer has no default payment method"), "Rejected"),
            (
                400,
                missing(
                    "customer",
                    "No such customer: 'cus_1'; a similar object exists in live mode, but a test mode key was used to make this request.",
                ),
                "Rejected",
            ),
            (
                400,
                json!({"type": "invalid_request_error", "code": "url_invalid", "message": "Not a valid URL"}),
                "Rejected",
            ),
            (
                400,
                json!({"type": "invalid_request_error", "message": "You cannot combine currencies on a single customer. This customer has an active subscription, subscription schedule, discount, quote, or invoice item with currency eur."}),
                "CurrencyLocked",
            ),
            (402, json!({"type": "card_error", "code": "card_declined", "message": "declined"}), "CardDeclined"),
            (400, json!({"type": "idempotency_error", "message": "Keys for idempotent requests…"}), "KeyMismatch"),
            (409, json!({"type": "idempotency_error", "code": "idempotency_key_in_use", "message": "…"}), "KeyInUse"),
            (409, json!({"type": "invalid_request_error", "code": "lock_timeout", "message": "…"}), "Unavailable"),
            (400, json!({"type": "invalid_request_error", "code": "rate_limit", "message": "…"}), "Unavailable"),
            (429, json!({"type": "invalid_request_error", "message": "…"}), "Unavailable"),
            (500, json!({"type": "api_error", "message": "…"}), "Unavailable"),
            (401, json!({"type": "invalid_request_error", "message": "Invalid API Key provided"}), "Unauthorized"),
            (403, json!({"type": "invalid_request_error", "message": "…"}), "Unauthorized"),
        ];
        for (status, body, kind) in table {
            assert_eq!(error(status, body.clone()), kind, "{status} {body}");
        }
    }

    #[test]
    fn the_currency_of_a_customer_is_read_where_it_is_named() {
        let table = [
            ("… or invoice item with currency eur.", Some("eur")),
            ("… with currency USD", Some("usd")),
            ("You cannot combine currencies on a single customer.", None),
            ("… in a currency that is not theirs.", None),
            ("… with currency euros.", None),
            ("… with currency 978.", None),
        ];
        for (message, currency) in table {
            assert_eq!(currency_named_last(message).as_deref(), currency, "{message}");
        }
    }

    #[test]
    fn an_answer_that_is_not_stripes_has_an_unknown_outcome() {
        for status in [301, 400, 404, 409, 502] {
            for body in [None, Some(json!([])), Some(json!({"error": "not found"}))] {
                assert!(matches!(answer(status, body).into_error(), ProviderError::Unavailable { .. }), "{status}");
            }
        }
        assert!(matches!(answer(403, None).into_error(), ProviderError::Unauthorized { .. }));
    }

    #[test]
    fn a_replayed_server_error_poisons_the_key() {
        let mut replayed = answer(500, Some(json!({"error": {"type": "api_error"}})));
        replayed.replayed = true;
        assert!(matches!(replayed.into_error(), ProviderError::KeyPoisoned { request_id: Some(id) } if id == "req_1"));
    }

    #[test]
    fn keys_secrets_and_addresses_are_taken_out_of_messages() {
        let table = [
            ("Invalid API Key provided: sk_test_***cdef", "Invalid API Key provided: [redacted]"),
            ("key 'rk_live_abc' and (whsec_x/y)", "key '[redacted] and ([redacted]"),
            ("Invalid email address: ada@example.com", "Invalid email address: [address]"),
            ("the task_id\nis\tfine", "the task_id is fine"),
        ];
        for (message, clean) in table {
            assert_eq!(redact(message), clean);
        }
        assert_eq!(redact(&"x".repeat(1000)).chars().count(), MESSAGE_CHARS_MAX + 1);
        let longest = "x".repeat(MESSAGE_CHARS_MAX);
        assert_eq!(redact(&longest), longest);
    }
}
