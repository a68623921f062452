//! The sandbox's own controls: clock, faults, the log of calls, and what only a bank or a card's holder could do.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::billing::cards::Card;
use crate::clock::DAY;
use crate::context::Cause;
use crate::error::ApiError;
use crate::faults::Faults;
use crate::lifecycle;
use crate::resources::{disputes, payment_methods};
use crate::sandbox::Inner;
use crate::store::Kind;

const ADVANCE_SECONDS_MAX: i64 = 3_653 * DAY;

type Controlled = Result<Response, Refusal>;

/// A refusal of a control call, in Stripe's form too.
pub(super) struct Refusal(ApiError);

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0.status, [(header::CONTENT_TYPE, "application/json")], self.0.body().to_string()).into_response()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_seconds: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCard {
    card: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decision {
    status: String,
}

fn answer(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::invalid(format!("Invalid JSON: {error}")))
}

/// Runs work that may wait for the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    crate::work::off_thread(work)
        .await
        .unwrap_or_else(|_| Err(ApiError::api(StatusCode::INTERNAL_SERVER_ERROR, "The sandbox has a bug here.")))
}

pub(super) async fn clock(State(inner): State<Arc<Inner>>) -> Response {
    answer(&json!({ "now": inner.now(), "offset_seconds": inner.clock_offset_seconds() }))
}

pub(super) async fn advance_clock(State(inner): State<Arc<Inner>>, body: Bytes) -> Controlled {
    let Advance { advance_seconds } = read(&body)?;
    if !(0..=ADVANCE_SECONDS_MAX).contains(&advance_seconds) {
        let message = format!("advance_seconds is between 0 and {ADVANCE_SECONDS_MAX}: the clock never goes back.");
        return Err(ApiError::invalid(message).param("advance_seconds").into());
    }
    let worker = Arc::clone(&inner);
    blocking(move || lifecycle::advance(&worker, advance_seconds)).await?;
    Ok(clock(State(inner)).await)
}

pub(super) async fn faults(State(inner): State<Arc<Inner>>) -> Response {
    let faults = inner.faults().clone();
    answer(&json!(faults))
}

pub(super) async fn set_faults(State(inner): State<Arc<Inner>>, body: Bytes) -> Controlled {
    let given: Value = read(&body)?;
    let newer: Faults = read(&body)?;
    inner.faults().merge(newer, &given);
    Ok(faults(State(inner)).await)
}

pub(super) async fn clear_faults(State(inner): State<Arc<Inner>>) -> Response {
    *inner.faults() = Faults::default();
    faults(State(inner)).await
}

pub(super) async fn calls(State(inner): State<Arc<Inner>>) -> Response {
    let report = inner.calls().report();
    answer(&report)
}

pub(super) async fn reset_calls(State(inner): State<Arc<Inner>>) -> Response {
    inner.calls().clear();
    calls(State(inner)).await
}

pub(super) async fn replace_card(
    State(inner): State<Arc<Inner>>,
    Path(customer): Path<String>,
    body: Bytes,
) -> Controlled {
    let NewCard { card } = read(&body)?;
    let Some(card) = Card::for_renewals(&card) else {
        let message = "card is one of success, declined, authentication.";
        return Err(ApiError::invalid(message).param("card").into());
    };
    let id = blocking(move || {
        inner.write(&Cause::default(), |cx| {
            cx.find(Kind::Customer, &customer)?;
            Ok(payment_methods::replace_card(cx, &customer, card))
        })
    });
    Ok(answer(&json!({ "payment_method": id.await?, "last4": card.last4 })))
}

pub(super) async fn decide_dispute(
    State(inner): State<Arc<Inner>>,
    Path(dispute): Path<String>,
    body: Bytes,
) -> Controlled {
    let Decision { status } = read(&body)?;
    if !matches!(status.as_str(), "won" | "lost") {
        return Err(ApiError::invalid("status is won or lost.").param("status").into());
    }
    let decided = blocking(move || {
        inner.write(&Cause::default(), |cx| {
            cx.find(Kind::Dispute, &dispute)?;
            disputes::decide(cx, &dispute, status == "won");
            Ok(crate::json::public(&cx.object(Kind::Dispute, &dispute)))
        })
    });
    Ok(answer(&decided.await?))
}
