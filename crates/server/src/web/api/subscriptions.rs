//! Subscriptions: what a customer has, and the way to a paid plan.

use axum::Json;
use axum::extract::State;
use counterfoil_core::subscription::Record;
use counterfoil_core::{Interval, PlanCode, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::checkout::CheckoutRequest;
use crate::app::plan_changes::Shown;
use crate::web::WebState;
use crate::web::caller::{SignedIn, Who};
use crate::web::json::JsonBody;
use crate::web::problem::{Problem, ProblemBody};
use crate::web::to_its_end;

/// A subscription as its customer sees it.
#[derive(Serialize, ToSchema)]
pub struct SubscriptionBody {
    /// The plan's code.
    #[schema(example = "professional")]
    plan: String,
    /// `trialing`, `trial_expired`, `active`, `past_due`, `unpaid`, `paused`, `incomplete`, `incomplete_expired`, `canceled`.
    #[schema(example = "active")]
    status: String,
    /// `month` or `year`; null for a trial.
    interval: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    trial_ends_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    current_period_ends_at: Option<Timestamp>,
    /// The planned end, where one is planned.
    #[schema(value_type = Option<String>, format = DateTime)]
    cancel_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// The plan that it goes over to by itself; absent where nothing is planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    planned_change: Option<PlannedChangeBody>,
    /// True while the money of a checkout that the customer went through is on its way; absent otherwise. A license follows once
    /// the payment is confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_pending: Option<bool>,
}

/// A change of the plan that waits for the end of the period.
#[derive(Serialize, ToSchema)]
pub struct PlannedChangeBody {
    /// The plan's code.
    #[schema(example = "starter")]
    plan: String,
    /// `month` or `year`.
    interval: String,
    /// When it begins.
    #[schema(value_type = String, format = DateTime)]
    starts_at: Timestamp,
}

impl From<Shown> for SubscriptionBody {
    fn from(shown: Shown) -> Self {
        let planned_change = shown.planned.map(|planned| PlannedChangeBody {
            plan: planned.plan.to_string(),
            interval: planned.interval.as_str().to_owned(),
            starts_at: planned.starts_at,
        });
        Self { planned_change, payment_pending: shown.is_paying.then_some(true), ..shown.record.into() }
    }
}

impl From<Record> for SubscriptionBody {
    fn from(record: Record) -> Self {
        Self {
            plan: record.plan.to_string(),
            status: record.status,
            interval: record.interval.map(|interval| interval.as_str().to_owned()),
            trial_ends_at: record.trial_ends_at,
            current_period_ends_at: record.current_period_ends_at,
            cancel_at: record.cancel_at,
            ended_at: record.ended_at,
            planned_change: None,
            payment_pending: None,
        }
    }
}

/// What a caller sends to start a checkout.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckoutBody {
    /// The customer who will pay.
    #[schema(example = "cust_0123456789abcdef0123456789abcdef")]
    customer_id: String,
    /// The plan's code.
    #[schema(example = "professional")]
    plan: String,
    /// How often to pay; the first price of the plan where nothing is said.
    #[schema(value_type = Option<String>, pattern = "^(month|year)$", example = "month")]
    interval: Option<Interval>,
    /// In which currency to pay, `eur`; the plan's first price, or the currency that the customer has paid in before.
    #[schema(example = "usd")]
    currency: Option<String>,
    /// Where the customer goes after paying. `{CHECKOUT_SESSION_ID}` and `{ATTEMPT_ID}` are filled in.
    #[schema(example = "http://localhost:3000/success")]
    success_url: String,
    /// Where the customer goes after giving up.
    #[schema(example = "http://localhost:3000/cancel")]
    cancel_url: String,
}

/// Where to send the customer.
#[derive(Serialize, ToSchema)]
pub struct CheckoutStartedBody {
    /// The page on which the customer pays.
    checkout_url: String,
}

/// Start a checkout, or answer the one that is open with the same wishes.
#[utoipa::path(
    post, path = "/api/subscriptions/checkout", tag = "subscriptions", request_body = CheckoutBody,
    security(("token" = []), ("session" = []), ()),
    responses(
        (status = 200, body = CheckoutStartedBody),
        (status = 401, body = ProblemBody, description = "`not_signed_in`"),
        (status = 404, body = ProblemBody, description = "`customer_not_found`"),
        (status = 409, body = ProblemBody, description = "`already_subscribed`, `payment_pending`, `currency_locked`"),
        (status = 422, body = ProblemBody,
         description = "`plan_unknown`, `plan_not_for_sale`, `interval_unavailable`, `currency_unavailable`, `return_url_not_allowed`, `invalid_request`"),
        (status = 429, body = ProblemBody, description = "`too_many_requests`, with Retry-After"),
        (status = 502, body = ProblemBody, description = "`price_missing_at_provider`, `payment_provider_refused`"),
        (status = 503, body = ProblemBody,
         description = "`payment_provider_unavailable`, `payment_provider_refuses_key`, `customer_busy`, with Retry-After"),
    )
)]
pub async fn checkout(
    State(state): State<WebState>,
    Who(caller): Who,
    JsonBody(body): JsonBody<CheckoutBody>,
) -> Result<Json<CheckoutStartedBody>, Problem> {
    let request = CheckoutRequest {
        customer_id: body.customer_id,
        plan: PlanCode::new(body.plan),
        interval: body.interval,
        currency: body.currency,
        success_url: body.success_url,
        cancel_url: body.cancel_url,
    };
    let started = to_its_end(async move { state.app.start_checkout(&caller, request).await }).await?;
    Ok(Json(CheckoutStartedBody { checkout_url: started.checkout_url }))
}

/// The subscription of the session's customer.
#[utoipa::path(
    get, path = "/api/subscriptions/current", tag = "subscriptions", security(("token" = []), ("session" = [])),
    responses((status = 200, body = SubscriptionBody), (status = 401, body = ProblemBody, description = "`not_signed_in`"))
)]
pub async fn current(
    State(state): State<WebState>,
    SignedIn(customer_id): SignedIn,
) -> Result<Json<SubscriptionBody>, Problem> {
    Ok(Json(state.app.shown_subscription(&customer_id).await?.into()))
}
