//! How a call to a provider ends that does not end well: each way is a value, because each leads to something else.

/// Why a webhook request was not accepted. Nothing of it is stored as an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookRefusal {
    #[error("the signature header is missing")]
    SignatureMissing,
    #[error("the signature header is malformed: {0}")]
    SignatureMalformed(&'static str),
    #[error("no signature matches any configured secret")]
    SignatureMismatch,
    #[error("the signature is older than {tolerance_seconds} seconds")]
    SignatureTooOld { tolerance_seconds: i64 },
    #[error("no webhook secret is configured")]
    SecretUnset,
    /// Well signed, but not an event.
    #[error("the body is not an event: {0}")]
    NotAnEvent(String),
}

/// Where a failed call leaves us. `request_id` is the provider's, for its support.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// Time-out, broken connection, 429, 5xx, unreadable answer: the outcome is unknown, the same key may be sent again.
    #[error("the payment provider is unavailable: {reason}{}", with_ids(None, .request_id.as_deref()))]
    Unavailable { reason: String, request_id: Option<String> },
    /// Another call with this key is under way.
    #[error("a call with the same idempotency key is under way")]
    KeyInUse,
    /// The provider stored a server error under this key and will replay it for as long as it remembers.
    #[error("the provider replays a stored error for this idempotency key{}", with_ids(None, .request_id.as_deref()))]
    KeyPoisoned { request_id: Option<String> },
    /// The key was used with other parameters.
    #[error("the idempotency key was used with other parameters{}", with_ids(None, .request_id.as_deref()))]
    KeyMismatch { request_id: Option<String> },
    /// The key of the account is refused (401) or may not do this (403).
    #[error("the payment provider refuses the API key: {message}{}", with_ids(None, .request_id.as_deref()))]
    Unauthorized { message: String, request_id: Option<String> },
    /// The customer does not exist there, or was deleted.
    #[error("the customer does not exist at the payment provider")]
    CustomerMissing,
    /// The price in the catalogue does not exist there.
    #[error("the price does not exist at the payment provider: {message}{}", with_ids(None, .request_id.as_deref()))]
    PriceMissing { message: String, request_id: Option<String> },
    /// The customer has paid in another currency before, and the provider takes no second one. It may say which.
    #[error("the customer is held to another currency at the payment provider{}", with_ids(.currency.as_deref(), .request_id.as_deref()))]
    CurrencyLocked { currency: Option<String>, request_id: Option<String> },
    /// The object asked for does not exist there.
    #[error("the payment provider knows no such object: {message}{}", with_ids(None, .request_id.as_deref()))]
    Missing { message: String, request_id: Option<String> },
    /// The card was refused, or there is none. What depended on the payment was not done.
    #[error("the payment was declined{}", with_ids(.code.as_deref(), .request_id.as_deref()))]
    CardDeclined { code: Option<String>, request_id: Option<String> },
    /// The provider has no such thing at all.
    #[error("this way of paying has no {what}")]
    NotOffered { what: &'static str },
    /// Any other refusal: repeating it as it is will not help.
    #[error("the payment provider refused: {message}{}", with_ids(.code.as_deref(), .request_id.as_deref()))]
    Rejected { code: Option<String>, message: String, request_id: Option<String> },
}

/// The provider's own names for what happened, where it gave any: for logs, and for its support.
fn with_ids(code: Option<&str>, request_id: Option<&str>) -> String {
    match (code, request_id) {
        (None, None) => String::new(),
        (Some(code), None) => format!(" (code {code})"),
        (None, Some(request)) => format!(" (request {request})"),
        (Some(code), Some(request)) => format!(" (code {code}, request {request})"),
    }
}

impl ProviderError {
    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::KeyInUse => true,
            Self::KeyPoisoned { .. }
            | Self::KeyMismatch { .. }
            | Self::Unauthorized { .. }
            | Self::CustomerMissing
            | Self::PriceMissing { .. }
            | Self::CurrencyLocked { .. }
            | Self::Missing { .. }
            | Self::CardDeclined { .. }
            | Self::NotOffered { .. }
            | Self::Rejected { .. } => false,
        }
    }

    /// Whether the provider has said for certain, or for as long as it remembers the key, that what was to be opened is not there.
    #[must_use]
    pub fn means_no_session(&self) -> bool {
        !self.is_transient() && !matches!(self, Self::Unauthorized { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where each failure leaves us: whether the same call may succeed later, and whether what was to be opened is not there.
    #[test]
    fn each_failure_says_whether_to_wait_and_what_is_known() {
        let request = || Some("req_1".to_owned());
        let (message, code) = ("why".to_owned(), Some("a_code".to_owned()));
        let table = [
            (ProviderError::Unavailable { reason: message.clone(), request_id: request() }, true, false),
            (ProviderError::KeyInUse, true, false),
            (ProviderError::KeyPoisoned { request_id: request() }, false, true),
            (ProviderError::KeyMismatch { request_id: request() }, false, true),
            (ProviderError::Unauthorized { message: message.clone(), request_id: request() }, false, false),
            (ProviderError::CustomerMissing, false, true),
            (ProviderError::PriceMissing { message: message.clone(), request_id: request() }, false, true),
            (ProviderError::CurrencyLocked { currency: Some("eur".to_owned()), request_id: request() }, false, true),
            (ProviderError::Missing { message: message.clone(), request_id: request() }, false, true),
            (ProviderError::CardDeclined { code: code.clone(), request_id: request() }, false, true),
            (ProviderError::NotOffered { what: "log of events" }, false, true),
            (ProviderError::Rejected { code, message, request_id: request() }, false, true),
        ];
        for (error, transient, no_session) in table {
            assert_eq!((error.is_transient(), error.means_no_session()), (transient, no_session), "{error:?}");
        }
    }

    #[test]
    fn the_providers_own_names_for_what_happened_are_told_where_it_gave_any() {
        let refused = |code: Option<&str>, request: Option<&str>| {
            let (code, request_id) = (code.map(str::to_owned), request.map(str::to_owned));
            ProviderError::Rejected { code, message: "no".to_owned(), request_id }.to_string()
        };
        let table = [
            (None, None, "the payment provider refused: no"),
            (Some("url_invalid"), None, "the payment provider refused: no (code url_invalid)"),
            (None, Some("req_1"), "the payment provider refused: no (request req_1)"),
            (Some("url_invalid"), Some("req_1"), "the payment provider refused: no (code url_invalid, request req_1)"),
        ];
        for (code, request, told) in table {
            assert_eq!(refused(code, request), told);
        }
    }
}
