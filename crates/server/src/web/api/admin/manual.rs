//! Payment by invoice: what an operator sells, takes, gives back, changes and ends by hand.

use axum::Json;
use axum::extract::State;
use counterfoil_core::{Interval, PlanCode, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Operator, ReasonRequest, Segment};
use crate::app::manual::{ManualFile, Step};
use crate::app::operators::Scope;
use crate::providers::manual::{NewPayment, NewRefund, Recorded, Statement};
use crate::web::WebState;
use crate::web::api::subscriptions::SubscriptionBody;
use crate::web::json::JsonBody;
use crate::web::problem::{Problem, ProblemBody};
use crate::web::to_its_end;

/// Money that came.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManualPaymentBody {
    /// The number of the invoice or the transfer; each is taken once a customer.
    #[schema(example = "INV-2026-0017")]
    reference: String,
    /// In the smallest unit of the currency.
    #[schema(example = 49000, minimum = 1)]
    amount: i64,
    #[schema(example = "eur", pattern = "^[a-z]{3}$")]
    currency: String,
    /// How many periods it pays: 1 where nothing is said.
    #[schema(minimum = 1)]
    periods: Option<i64>,
}

impl From<ManualPaymentBody> for NewPayment {
    fn from(body: ManualPaymentBody) -> Self {
        let ManualPaymentBody { reference, amount, currency, periods } = body;
        Self { reference, amount, currency, periods: periods.unwrap_or(1) }
    }
}

/// A plan that is sold by hand.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManualStartBody {
    #[schema(example = "enterprise")]
    plan: String,
    /// `month` or `year`.
    #[schema(value_type = String, pattern = "^(month|year)$", example = "year")]
    interval: Interval,
    /// The first day; now where nothing is said.
    #[schema(value_type = Option<String>, format = DateTime)]
    starts_at: Option<Timestamp>,
    /// Left out where the invoice is not paid yet: the trial goes on until it is.
    #[serde(default, deserialize_with = "crate::web::json::object")]
    payment: Option<ManualPaymentBody>,
    /// Why, for the audit log.
    #[schema(example = "order by fax")]
    reason: String,
}

/// A payment, with the reason for recording it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManualPayBody {
    /// The number of the invoice or the transfer; each is taken once a customer.
    #[schema(example = "INV-2026-0018")]
    reference: String,
    /// In the smallest unit of the currency.
    #[schema(example = 49000, minimum = 1)]
    amount: i64,
    #[schema(example = "eur", pattern = "^[a-z]{3}$")]
    currency: String,
    /// How many periods it pays: 1 where nothing is said.
    #[schema(minimum = 1)]
    periods: Option<i64>,
    /// Why, for the audit log.
    #[schema(example = "seen on the bank statement")]
    reason: String,
}

/// Money that went back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManualRefundBody {
    /// The reference of the payment.
    #[schema(example = "INV-2026-0017")]
    payment: String,
    /// The number of the refund itself; each is taken once a customer.
    #[schema(example = "CN-2026-0003")]
    reference: String,
    /// All that is left of the payment where nothing is said.
    #[schema(minimum = 1)]
    amount: Option<i64>,
    /// Why, for the audit log.
    #[schema(example = "agreed by phone")]
    reason: String,
}

/// Another plan or interval.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManualChangeBody {
    #[schema(example = "professional")]
    plan: String,
    /// `month` or `year`; the present one where nothing is said.
    #[schema(value_type = Option<String>, pattern = "^(month|year)$")]
    interval: Option<Interval>,
    /// Whether it waits for the next period.
    at_period_end: Option<bool>,
    /// Why, for the audit log.
    #[schema(example = "new contract")]
    reason: String,
}

/// The end of an agreement.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManualCancelBody {
    /// At once, and not with the running period.
    now: Option<bool>,
    /// Why, for the audit log.
    #[schema(example = "notice by letter")]
    reason: String,
}

/// A payment in the book.
#[derive(Serialize, ToSchema)]
pub struct ManualPaidBody {
    reference: String,
    amount: i64,
    refunded: i64,
    currency: String,
    /// The time that it pays for.
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    recorded_at: Timestamp,
}

/// An agreement in the book.
#[derive(Serialize, ToSchema)]
pub struct AgreementBody {
    id: String,
    plan: String,
    /// `month` or `year`.
    interval: String,
    #[schema(value_type = String, format = DateTime)]
    starts_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    paid_until: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    cancel_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    payments: Vec<ManualPaidBody>,
}

/// Everything that is recorded of a customer by hand, and the subscription that it comes to.
#[derive(Serialize, ToSchema)]
pub struct ManualFileBody {
    subscription: SubscriptionBody,
    /// False where the step is written and the subscription does not show it yet; it follows by itself.
    looked: bool,
    /// The oldest first.
    agreements: Vec<AgreementBody>,
}

impl AgreementBody {
    /// An agreement as it stands now.
    #[must_use]
    pub fn new(statement: &Statement, now: Timestamp) -> Self {
        let account = &statement.account;
        let paid = |each: &Recorded| ManualPaidBody {
            reference: each.reference.clone(),
            amount: each.payment.amount,
            refunded: each.payment.refunded,
            currency: each.currency.clone(),
            from: account.month(each.payment.from_month),
            until: account.month(each.payment.until_month),
            recorded_at: each.recorded_at,
        };
        let (plan, interval) = account.terms(now);
        Self {
            id: account.agreement.id.as_str().to_owned(),
            plan: plan.to_string(),
            interval: interval.as_str().to_owned(),
            starts_at: account.agreement.starts_at,
            paid_until: account.paid_until(),
            cancel_at: account.agreement.cancel_at,
            ended_at: account.ended_at(now),
            payments: statement.payments.iter().map(paid).collect(),
        }
    }
}

fn file(told: ManualFile, now: Timestamp) -> Json<ManualFileBody> {
    let agreements = told.statements.iter().map(|each| AgreementBody::new(each, now)).collect();
    Json(ManualFileBody { subscription: told.shown.into(), looked: told.looked, agreements })
}

async fn act(
    operator: &Operator,
    state: WebState,
    customer: &Segment,
    step: Step,
    reason: &str,
) -> Result<Json<ManualFileBody>, Problem> {
    let by = operator.acts(Scope::Billing, reason)?;
    let (customer_id, now) = (customer.customer()?, state.app.now());
    let told = to_its_end(async move { state.app.keep_manually(&customer_id, &step, &by).await }).await?;
    Ok(file(told, now))
}

/// What is recorded of a customer by hand.
#[utoipa::path(
    get, path = "/api/admin/customers/{customer_id}/manual", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("read"))),
    params(("customer_id" = String, Path, description = "Our id of the customer")),
    responses(
        (status = 200, body = ManualFileBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`customer_not_found`"),
    )
)]
pub async fn show(
    operator: Operator,
    State(state): State<WebState>,
    customer: Segment,
) -> Result<Json<ManualFileBody>, Problem> {
    operator.require(Scope::Read)?;
    let told = state.app.manual_file(&customer.customer()?).await?;
    Ok(file(told, state.app.now()))
}

/// Sell a plan by invoice.
#[utoipa::path(
    post, path = "/api/admin/customers/{customer_id}/manual/start", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("billing"))),
    params(("customer_id" = String, Path, description = "Our id of the customer")), request_body = ManualStartBody,
    responses(
        (status = 200, body = ManualFileBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`customer_not_found`"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json",
         description = "`already_subscribed`, `already_recorded`, `payment_pending`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json",
         description = "`invalid_field`, `invalid_request`, `plan_unknown`, `plan_not_for_sale`"),
    )
)]
pub async fn start(
    operator: Operator,
    State(state): State<WebState>,
    customer: Segment,
    JsonBody(body): JsonBody<ManualStartBody>,
) -> Result<Json<ManualFileBody>, Problem> {
    let plan = PlanCode::new(body.plan);
    let payment = body.payment.map(NewPayment::from);
    let step = Step::Start { plan, interval: body.interval, starts_at: body.starts_at, payment };
    act(&operator, state, &customer, step, &body.reason).await
}

/// Record money that came: the agreement is paid for its next periods.
#[utoipa::path(
    post, path = "/api/admin/customers/{customer_id}/manual/pay", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("billing"))),
    params(("customer_id" = String, Path, description = "Our id of the customer")), request_body = ManualPayBody,
    responses(
        (status = 200, body = ManualFileBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`customer_not_found`"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json",
         description = "`no_agreement`, `already_recorded`, `change_not_possible`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`, `invalid_request`"),
    )
)]
pub async fn pay(
    operator: Operator,
    State(state): State<WebState>,
    customer: Segment,
    JsonBody(body): JsonBody<ManualPayBody>,
) -> Result<Json<ManualFileBody>, Problem> {
    let ManualPayBody { reference, amount, currency, periods, reason } = body;
    let payment = NewPayment { reference, amount, currency, periods: periods.unwrap_or(1) };
    act(&operator, state, &customer, Step::Pay(payment), &reason).await
}

/// Record money that went back. A payment that went back whole pays for nothing any more.
#[utoipa::path(
    post, path = "/api/admin/customers/{customer_id}/manual/refund", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("billing"))),
    params(("customer_id" = String, Path, description = "Our id of the customer")), request_body = ManualRefundBody,
    responses(
        (status = 200, body = ManualFileBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`customer_not_found`"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json",
         description = "`no_agreement`, `already_recorded`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`, `invalid_request`"),
    )
)]
pub async fn refund(
    operator: Operator,
    State(state): State<WebState>,
    customer: Segment,
    JsonBody(body): JsonBody<ManualRefundBody>,
) -> Result<Json<ManualFileBody>, Problem> {
    let ManualRefundBody { payment, reference, amount, reason } = body;
    act(&operator, state, &customer, Step::Refund(NewRefund { payment, reference, amount }), &reason).await
}

/// Another plan or interval, at once or with the next period.
#[utoipa::path(
    post, path = "/api/admin/customers/{customer_id}/manual/change", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("billing"))),
    params(("customer_id" = String, Path, description = "Our id of the customer")), request_body = ManualChangeBody,
    responses(
        (status = 200, body = ManualFileBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`customer_not_found`"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "`no_agreement`, `same_plan`, `change_not_possible`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json",
         description = "`invalid_field`, `invalid_request`, `plan_unknown`, `plan_not_for_sale`"),
    )
)]
pub async fn change(
    operator: Operator,
    State(state): State<WebState>,
    customer: Segment,
    JsonBody(body): JsonBody<ManualChangeBody>,
) -> Result<Json<ManualFileBody>, Problem> {
    let (plan, at_period_end) = (PlanCode::new(body.plan), body.at_period_end.unwrap_or(false));
    let step = Step::Change { plan, interval: body.interval, at_period_end };
    act(&operator, state, &customer, step, &body.reason).await
}

/// End the agreement with its period, or at once.
#[utoipa::path(
    post, path = "/api/admin/customers/{customer_id}/manual/cancel", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("billing"))),
    params(("customer_id" = String, Path, description = "Our id of the customer")), request_body = ManualCancelBody,
    responses(
        (status = 200, body = ManualFileBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`customer_not_found`"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "`no_agreement`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`, `invalid_request`"),
    )
)]
pub async fn cancel(
    operator: Operator,
    State(state): State<WebState>,
    customer: Segment,
    JsonBody(body): JsonBody<ManualCancelBody>,
) -> Result<Json<ManualFileBody>, Problem> {
    let step = Step::Cancel { now: body.now.unwrap_or(false) };
    act(&operator, state, &customer, step, &body.reason).await
}

/// Take a planned end back.
#[utoipa::path(
    post, path = "/api/admin/customers/{customer_id}/manual/resume", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("billing"))),
    params(("customer_id" = String, Path, description = "Our id of the customer")), request_body = ReasonRequest,
    responses(
        (status = 200, body = ManualFileBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`customer_not_found`"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "`no_agreement`, `nothing_to_resume`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`, `invalid_request`"),
    )
)]
pub async fn resume(
    operator: Operator,
    State(state): State<WebState>,
    customer: Segment,
    JsonBody(body): JsonBody<ReasonRequest>,
) -> Result<Json<ManualFileBody>, Problem> {
    act(&operator, state, &customer, Step::Resume, &body.reason).await
}
