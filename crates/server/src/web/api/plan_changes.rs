//! Changes of a running subscription by its customer: plan, planned end, and the provider's billing portal.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use counterfoil_core::{Interval, PlanCode, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::subscriptions::SubscriptionBody;
use crate::app::plan_changes::{ChangeWish, Preview, Shown};
use crate::web::WebState;
use crate::web::caller::SignedIn;
use crate::web::json::JsonBody;
use crate::web::problem::{Problem, ProblemBody};
use crate::web::to_its_end;

/// What a caller sends to change the plan.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeBody {
    /// The plan's code.
    #[schema(example = "enterprise")]
    plan: String,
    /// How often to pay; as now where nothing is said and the plan has it.
    #[schema(value_type = Option<String>, pattern = "^(month|year)$", example = "month")]
    interval: Option<Interval>,
    /// Only tell what the change would cost; nothing is changed.
    #[serde(default)]
    preview: bool,
    /// From a preview of the last hour: the amount is then the one that was told.
    #[schema(value_type = Option<String>, format = DateTime)]
    prorated_from: Option<Timestamp>,
}

/// What a change would cost now and mean later.
#[derive(Serialize, ToSchema)]
pub struct PreviewBody {
    /// The plan's code.
    plan: String,
    /// `month` or `year`.
    interval: String,
    /// What is charged at once, in the smallest unit of the currency.
    amount_due: i64,
    currency: String,
    /// When the plan changes.
    #[schema(value_type = String, format = DateTime)]
    effective_at: Timestamp,
    /// Whether that is at once.
    at_once: bool,
    /// What a full period of the new plan costs.
    next_amount: i64,
    /// Send it with the change, and exactly `amount_due` is charged.
    #[schema(value_type = String, format = DateTime)]
    prorated_from: Timestamp,
}

impl From<Preview> for PreviewBody {
    fn from(preview: Preview) -> Self {
        Self {
            plan: preview.target.plan.to_string(),
            interval: preview.target.price.interval.as_str().to_owned(),
            amount_due: preview.amount_due,
            currency: preview.currency,
            effective_at: preview.effective_at,
            at_once: preview.at_once,
            next_amount: preview.next_amount,
            prorated_from: preview.prorated_from,
        }
    }
}

/// Where a portal's visitor comes back to.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PortalBody {
    /// The account page where nothing is said.
    #[schema(example = "http://localhost:3000/account")]
    return_url: Option<String>,
}

/// Where to send the customer.
#[derive(Serialize, ToSchema)]
pub struct PortalOpenedBody {
    /// A short-lived page on which the customer manages cards and invoices.
    portal_url: String,
}

fn body(shown: Shown) -> Json<SubscriptionBody> {
    Json(shown.into())
}

/// Change the plan: more at once, with the difference charged now; less when the period ends. With `preview` only the amount.
#[utoipa::path(
    post, path = "/api/subscriptions/change", tag = "subscriptions", request_body = ChangeBody,
    security(("token" = []), ("session" = [])),
    responses(
        (status = 200, description = "The subscription; with `preview` what the change would cost",
         content((SubscriptionBody = "application/json"), (PreviewBody = "application/json"))),
        (status = 401, body = ProblemBody, description = "`not_signed_in`"),
        (status = 402, body = ProblemBody, description = "`payment_declined`: nothing was changed"),
        (status = 409, body = ProblemBody, description = "`no_subscription`, `same_plan`, `change_not_possible`, `currency_locked`"),
        (status = 422, body = ProblemBody,
         description = "`plan_unknown`, `plan_not_for_sale`, `interval_unavailable`, `invalid_field`, `invalid_request`"),
        (status = 429, body = ProblemBody, description = "`too_many_requests`, with Retry-After"),
        (status = 503, body = ProblemBody, description = "`payment_provider_unavailable`, `customer_busy`, with Retry-After"),
    )
)]
pub async fn change(
    State(state): State<WebState>,
    SignedIn(customer_id): SignedIn,
    JsonBody(asked): JsonBody<ChangeBody>,
) -> Result<Response, Problem> {
    let wish =
        ChangeWish { plan: PlanCode::new(asked.plan), interval: asked.interval, prorated_from: asked.prorated_from };
    if asked.preview {
        let preview = state.app.preview_change(&customer_id, &wish).await?;
        return Ok(Json(PreviewBody::from(preview)).into_response());
    }
    let shown = to_its_end(async move { state.app.change_plan(&customer_id, &wish).await }).await?;
    Ok(body(shown).into_response())
}

/// Plan the end for the end of the period. What is planned already stays planned.
#[utoipa::path(
    post, path = "/api/subscriptions/cancel", tag = "subscriptions", security(("token" = []), ("session" = [])),
    responses(
        (status = 200, body = SubscriptionBody),
        (status = 401, body = ProblemBody, description = "`not_signed_in`"),
        (status = 409, body = ProblemBody, description = "`no_subscription`"),
        (status = 429, body = ProblemBody, description = "`too_many_requests`, with Retry-After"),
        (status = 503, body = ProblemBody, description = "`payment_provider_unavailable`, `customer_busy`, with Retry-After"),
    )
)]
pub async fn cancel(
    State(state): State<WebState>,
    SignedIn(customer_id): SignedIn,
) -> Result<Json<SubscriptionBody>, Problem> {
    to_its_end(async move { state.app.cancel_subscription(&customer_id).await }).await.map(body)
}

/// Take a planned end back, or go on with a paused subscription.
#[utoipa::path(
    post, path = "/api/subscriptions/resume", tag = "subscriptions", security(("token" = []), ("session" = [])),
    responses(
        (status = 200, body = SubscriptionBody),
        (status = 401, body = ProblemBody, description = "`not_signed_in`"),
        (status = 402, body = ProblemBody, description = "`payment_declined`"),
        (status = 409, body = ProblemBody, description = "`no_subscription`, `nothing_to_resume`"),
        (status = 429, body = ProblemBody, description = "`too_many_requests`, with Retry-After"),
        (status = 503, body = ProblemBody, description = "`payment_provider_unavailable`, `customer_busy`, with Retry-After"),
    )
)]
pub async fn resume(
    State(state): State<WebState>,
    SignedIn(customer_id): SignedIn,
) -> Result<Json<SubscriptionBody>, Problem> {
    to_its_end(async move { state.app.resume_subscription(&customer_id).await }).await.map(body)
}

/// Open the payment provider's page for cards and invoices. Changes made there arrive by themselves.
#[utoipa::path(
    post, path = "/api/subscriptions/portal", tag = "subscriptions", request_body = PortalBody,
    security(("token" = []), ("session" = [])),
    responses(
        (status = 200, body = PortalOpenedBody),
        (status = 401, body = ProblemBody, description = "`not_signed_in`"),
        (status = 409, body = ProblemBody, description = "`no_billing`"),
        (status = 422, body = ProblemBody, description = "`return_url_not_allowed`, `invalid_request`"),
        (status = 429, body = ProblemBody, description = "`too_many_requests`, with Retry-After"),
        (status = 503, body = ProblemBody, description = "`payment_provider_unavailable`, with Retry-After"),
    )
)]
pub async fn portal(
    State(state): State<WebState>,
    SignedIn(customer_id): SignedIn,
    JsonBody(asked): JsonBody<PortalBody>,
) -> Result<Json<PortalOpenedBody>, Problem> {
    let portal_url = state.app.open_portal(&customer_id, asked.return_url.as_deref()).await?;
    Ok(Json(PortalOpenedBody { portal_url }))
}
