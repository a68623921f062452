//! From a refusal or a failure to an HTTP answer: the only place that knows which status goes with which.
//!
//! Answers are RFC 9457 problem details with a stable `code`. A refusal shows its sentence. A failure shows nothing of what
//! broke: that is logged here, once, under the request's id.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use counterfoil_core::Refusal;
use serde::Serialize;

use super::layers::request_id;
use crate::app::webhooks::ReceiveError;
use crate::app::{Error, Failure};
use crate::db::DbError;
use crate::providers::{ProviderError, WebhookRefusal};

/// A problem, ready to be answered.
#[derive(Clone, Debug)]
pub struct Problem {
    pub status: StatusCode,
    pub code: &'static str,
    /// One sentence that helps.
    pub detail: String,
    /// The field of the request that it is about.
    pub field: Option<&'static str>,
    /// When trying again makes sense.
    pub retry_after_seconds: Option<u32>,
}

/// The JSON form (RFC 9457).
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Names the kind of problem.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// The stable code.
    code: String,
    /// One sentence that helps.
    detail: String,
    /// The field of the request that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// The request's id, as in the log.
    request_id: String,
}

impl Problem {
    /// A problem of the request itself.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), field: None, retry_after_seconds: None }
    }

    fn retry(status: StatusCode, code: &'static str, detail: &str, seconds: u32) -> Self {
        Self { retry_after_seconds: Some(seconds), ..Self::new(status, code, detail) }
    }

    /// There is no such page or call.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is nothing at this address.")
    }

    /// There is such an address, but not for this method.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "This address does not take this method. See /api/docs for what it takes.",
        )
    }

    /// The answer took too long.
    #[must_use]
    pub fn timed_out() -> Self {
        Self::retry(StatusCode::SERVICE_UNAVAILABLE, "timed_out", "This took too long. Try again shortly.", 5)
    }

    /// Something went wrong that nobody can tell the caller more about.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Something went wrong here. It was noted; give the request id to support.",
        )
    }

    /// The status in words.
    #[must_use]
    pub fn title(&self) -> &'static str {
        self.status.canonical_reason().unwrap_or("Problem")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            kind: format!("urn:counterfoil:problem:{}", self.code),
            title: self.title().to_owned(),
            status: self.status.as_u16(),
            code: self.code.to_owned(),
            detail: self.detail.clone(),
            field: self.field.map(str::to_owned),
            request_id: request_id(),
        };
        let mut response = (self.status, Json(body)).into_response();
        // For the layer that shows people a page instead.
        response.extensions_mut().insert(self.clone());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::InvalidEmail(_)
            | Refusal::WeakPassword(_)
            | Refusal::InvalidField { .. }
            | Refusal::PlanUnknown { .. }
            | Refusal::PlanNotForSale { .. }
            | Refusal::IntervalUnavailable { .. }
            | Refusal::CurrencyUnavailable { .. }
            | Refusal::LinkInvalid
            | Refusal::KeySetRefused { .. }
            | Refusal::ReturnUrlNotAllowed { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::EmailTaken
            | Refusal::EmailAlreadyVerified
            | Refusal::AlreadySubscribed
            | Refusal::CurrencyLocked { .. }
            | Refusal::PaymentPending
            | Refusal::NoSubscription
            | Refusal::SamePlan
            | Refusal::ChangeNotPossible { .. }
            | Refusal::NothingToResume
            | Refusal::SubscriptionRunning
            | Refusal::TrialNotExtendable { .. }
            | Refusal::NoBilling
            | Refusal::NoAgreement
            | Refusal::AlreadyRecorded
            | Refusal::JobDone { .. }
            | Refusal::SigningKeyState { .. }
            | Refusal::SigningKeyPending { .. }
            | Refusal::SigningKeyTooYoung { .. }
            | Refusal::SigningKeyNotListed { .. }
            | Refusal::ActivationLimitReached { .. }
            | Refusal::SigningKeysChanged => StatusCode::CONFLICT,
            Refusal::PaymentDeclined => StatusCode::PAYMENT_REQUIRED,
            Refusal::InvalidCredentials
            | Refusal::NotSignedIn
            | Refusal::OperatorKeyMissing
            | Refusal::LicenseKeyCompromised
            | Refusal::LicenseInvalid => StatusCode::UNAUTHORIZED,
            Refusal::ScopeMissing
            | Refusal::WrongPassword
            | Refusal::EmailNotVerified
            | Refusal::LicenseNotValid { .. }
            | Refusal::LicenseRevoked => StatusCode::FORBIDDEN,
            Refusal::CustomerUnknown
            | Refusal::EventUnknown
            | Refusal::JobUnknown
            | Refusal::ApiKeyUnknown
            | Refusal::ActivationUnknown
            | Refusal::SessionUnknown
            | Refusal::StatusListUnknown
            | Refusal::SigningKeyUnknown
            | Refusal::NoKeySet
            | Refusal::NoLicense => StatusCode::NOT_FOUND,
            Refusal::CustomerDeleted => StatusCode::GONE,
            Refusal::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
        };
        let retry_after_seconds = match &refusal {
            Refusal::TooManyRequests { retry_after_seconds } => Some(*retry_after_seconds),
            _ => None,
        };
        Self { field: refusal.field(), retry_after_seconds, ..Self::new(status, refusal.code(), refusal.to_string()) }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let problem = explain(&failure);
        if problem.status.is_client_error() {
            tracing::info!(error = %failure, code = problem.code, "a request was refused");
        } else if problem.status == StatusCode::INTERNAL_SERVER_ERROR || is_for_the_operator(&failure) {
            tracing::error!(error = %failure, code = problem.code, "a request failed");
        } else {
            tracing::warn!(error = %failure, code = problem.code, "a request has to be repeated");
        }
        problem
    }
}

/// Whether an operator is to look, though the caller may try again: what they alone can mend, and a provider that does not answer.
fn is_for_the_operator(failure: &Failure) -> bool {
    match failure {
        Failure::Provider(_) | Failure::OtherAccount | Failure::SigningKey(_) => true,
        Failure::Database(error) => error.is_full(),
        // A 500, which is logged as an error in any case.
        Failure::Corrupt(_) | Failure::NotInBook => true,
        Failure::ProviderKeyPoisoned { .. }
        | Failure::CustomerBusy
        | Failure::CounterpartInTheMaking
        | Failure::HasherBusy
        | Failure::ExportsBusy
        | Failure::Stopping => false,
    }
}

fn explain(failure: &Failure) -> Problem {
    const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
    match failure {
        Failure::Database(error) if error.is_unavailable() || error.is_conflict() => {
            Problem::retry(UNAVAILABLE, "database_unavailable", "The database does not answer. Try again shortly.", 5)
        }
        Failure::Database(error) if error.is_full() => Problem::retry(
            UNAVAILABLE,
            "database_full",
            "There is no room for anything new at the moment, and nothing was stored. Try again later.",
            60,
        ),
        Failure::Database(DbError::BadText { .. }) => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_request",
            "A text in this request has a character that cannot be kept, such as NUL. Send it without.",
        ),
        Failure::Database(_) | Failure::Corrupt(_) | Failure::NotInBook => Problem::internal(),
        Failure::Provider(error) => explain_provider(error),
        Failure::OtherAccount => refuses_key(),
        Failure::ProviderKeyPoisoned { until: _ } => Problem::retry(
            UNAVAILABLE,
            "payment_provider_unavailable",
            "The payment provider had a fault that has to be waited out. Nothing is lost; try again in ten minutes.",
            600,
        ),
        Failure::CustomerBusy | Failure::CounterpartInTheMaking => Problem::retry(
            UNAVAILABLE,
            "customer_busy",
            "Another request for this customer is under way. Try again in a moment.",
            2,
        ),
        Failure::HasherBusy => {
            Problem::retry(UNAVAILABLE, "busy", "Too many people are logging in right now. Try again in a moment.", 2)
        }
        Failure::ExportsBusy => Problem::retry(
            UNAVAILABLE,
            "busy",
            "Others are being handed their data right now. Try again in a moment.",
            2,
        ),
        Failure::SigningKey(_) => Problem::retry(
            UNAVAILABLE,
            "signing_key_unavailable",
            "This server cannot sign licenses at the moment: it does not hold the active signing key. The operator has to look \
             into its log.",
            60,
        ),
        Failure::Stopping => {
            Problem::retry(UNAVAILABLE, "stopping", "The service is restarting. Try again shortly.", 5)
        }
    }
}

fn refuses_key() -> Problem {
    Problem::retry(
        StatusCode::SERVICE_UNAVAILABLE,
        "payment_provider_refuses_key",
        "The payment provider refuses this service's API key. The operator has to check STRIPE_SECRET_KEY.",
        300,
    )
}

fn explain_provider(error: &ProviderError) -> Problem {
    const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
    match error {
        ProviderError::Unavailable { .. } | ProviderError::KeyInUse | ProviderError::KeyPoisoned { .. } => {
            Problem::retry(
                UNAVAILABLE,
                "payment_provider_unavailable",
                "The payment provider cannot be reached at the moment. Nothing is lost; try again shortly.",
                10,
            )
        }
        ProviderError::Unauthorized { .. } => refuses_key(),
        ProviderError::PriceMissing { .. } => Problem::new(
            StatusCode::BAD_GATEWAY,
            "price_missing_at_provider",
            "The price of this plan does not exist at the payment provider. The operator has to check the plan's \
             `stripe_price` in the configuration.",
        ),
        ProviderError::NotOffered { what } => Problem::new(
            StatusCode::CONFLICT,
            "not_offered",
            format!("This subscription is paid by invoice, and for that there is no {what}. Ask the vendor."),
        ),
        ProviderError::CustomerMissing
        | ProviderError::CurrencyLocked { .. }
        | ProviderError::KeyMismatch { .. }
        | ProviderError::Missing { .. }
        | ProviderError::CardDeclined { .. }
        | ProviderError::Rejected { .. } => Problem::new(
            StatusCode::BAD_GATEWAY,
            "payment_provider_refused",
            "The payment provider refused the request. It was noted; give the request id to support.",
        ),
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => refusal.into(),
            Error::Failed(failure) => failure.into(),
        }
    }
}

impl From<ReceiveError> for Problem {
    fn from(error: ReceiveError) -> Self {
        let refusal = match error {
            ReceiveError::Failed(error) => return error.into(),
            ReceiveError::Refused(refusal) => refusal,
        };
        match refusal {
            WebhookRefusal::SecretUnset => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "webhook_secret_unset",
                "No webhook secret is configured, so nothing can be verified. The operator has to set STRIPE_WEBHOOK_SECRET.",
            ),
            WebhookRefusal::NotAnEvent(_) => {
                Self::new(StatusCode::BAD_REQUEST, "invalid_event", "The body is well signed, but it is not an event.")
            }
            WebhookRefusal::SignatureMissing
            | WebhookRefusal::SignatureMalformed(_)
            | WebhookRefusal::SignatureMismatch
            | WebhookRefusal::SignatureTooOld { .. } => Self::new(
                StatusCode::BAD_REQUEST,
                "invalid_signature",
                "The signature is missing, malformed, too old, or not made with the configured webhook secret over these \
                 very bytes.",
            ),
        }
    }
}

#[cfg(test)]
mod tests;
