//! Customers as operators see them: found, shown, and looked after.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use counterfoil_core::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Operator, ReasonRequest, Segment};
use crate::app::customer_files::CustomerFile;
use crate::app::explain::Explanation;
use crate::app::operators::Scope;
use crate::store::audit;
use crate::store::customers::Customer;
use crate::store::licenses::License;
use crate::web::WebState;
use crate::web::json::JsonBody;
use crate::web::problem::{Problem, ProblemBody};
use crate::web::query::PlainQuery;
use crate::web::to_its_end;

/// What to find a customer by: one of the two.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FindQuery {
    /// The e-mail address.
    #[param(example = "test@example.com")]
    email: Option<String>,
    /// The id at the payment provider.
    external_id: Option<String>,
}

/// A customer in a list.
#[derive(Serialize, ToSchema)]
pub struct FoundCustomerBody {
    customer_id: String,
    email: String,
    company_name: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When the address was verified; null where it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    email_verified_at: Option<Timestamp>,
    stripe_customer_id: Option<String>,
}

impl From<&Customer> for FoundCustomerBody {
    fn from(customer: &Customer) -> Self {
        Self {
            customer_id: customer.customer_id.to_string(),
            email: customer.email.to_string(),
            company_name: customer.company_name.clone(),
            created_at: customer.created_at,
            email_verified_at: customer.email_verified_at,
            stripe_customer_id: customer.external_id.as_ref().map(ToString::to_string),
        }
    }
}

/// Who was found: nobody, or one.
#[derive(Serialize, ToSchema)]
pub struct FoundCustomersBody {
    customers: Vec<FoundCustomerBody>,
}

/// The subscription as it is stored.
#[derive(Serialize, ToSchema)]
pub struct StoredSubscriptionBody {
    plan: String,
    status: String,
    /// Who keeps it, `stripe` or `manual` (by invoice); none while there is only our trial.
    provider: Option<&'static str>,
    /// What it is called there.
    reference: Option<String>,
    /// The same for a subscription at Stripe, and for no other.
    stripe_subscription_id: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    trial_ends_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    current_period_ends_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    paid_until: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    cancel_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// What an operator has to look at.
    needs_attention: Option<String>,
}

/// A version of the license, without the token.
#[derive(Serialize, ToSchema)]
pub struct VersionBody {
    license_id: String,
    version: i64,
    plan: String,
    #[schema(value_type = String, format = DateTime)]
    issued_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    reason: String,
    /// `sign_up`, `email_verified`, `look`, or an operator.
    caused_by: String,
    /// The event that a look finished, or the operator's reason.
    cause: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
}

impl From<&License> for VersionBody {
    fn from(license: &License) -> Self {
        Self {
            license_id: license.license_id.to_string(),
            version: license.version,
            plan: license.plan.to_string(),
            issued_at: license.issued_at,
            expires_at: license.expires_at,
            reason: license.reason.clone(),
            caused_by: license.caused_by.clone(),
            cause: license.cause_detail.clone(),
            revoked_at: license.revoked_at,
        }
    }
}

/// A line of the audit log.
#[derive(Serialize, ToSchema)]
pub struct HistoryLineBody {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    actor: String,
    action: String,
    detail: String,
    /// Why an operator did it.
    reason: Option<String>,
}

impl From<&audit::Entry> for HistoryLineBody {
    fn from(entry: &audit::Entry) -> Self {
        Self {
            at: entry.at,
            actor: entry.actor.clone(),
            action: entry.action.clone(),
            detail: entry.detail.clone(),
            reason: entry.reason.clone(),
        }
    }
}

/// Everything about one customer.
#[derive(Serialize, ToSchema)]
pub struct CustomerFileBody {
    #[serde(flatten)]
    customer: FoundCustomerBody,
    subscription: Option<StoredSubscriptionBody>,
    /// The newest first.
    licenses: Vec<VersionBody>,
    /// On how many machines the license is activated.
    machines: i64,
    /// The newest first.
    history: Vec<HistoryLineBody>,
}

impl From<&CustomerFile> for CustomerFileBody {
    fn from(file: &CustomerFile) -> Self {
        let subscription = file.subscription.as_ref().map(|subscription| {
            let record = subscription.to_record();
            let reference = record.external_id.as_ref().map(ToString::to_string);
            let is_manual = subscription.is_manual();
            StoredSubscriptionBody {
                plan: record.plan.to_string(),
                status: subscription.status_word(file.now).to_owned(),
                provider: reference.as_ref().map(|_| if is_manual { "manual" } else { "stripe" }),
                stripe_subscription_id: reference.clone().filter(|_| !is_manual),
                reference,
                trial_ends_at: record.trial_ends_at,
                current_period_ends_at: record.current_period_ends_at,
                paid_until: record.paid_until,
                cancel_at: record.cancel_at,
                ended_at: record.ended_at,
                needs_attention: record.attention,
            }
        });
        Self {
            customer: (&file.customer).into(),
            subscription,
            licenses: file.licenses.iter().map(Into::into).collect(),
            machines: file.machines,
            history: file.history.iter().map(Into::into).collect(),
        }
    }
}

/// What a look at the provider came to.
#[derive(Serialize, ToSchema)]
pub struct SyncedBody {
    customer_id: String,
    /// Whether subscription or license changed.
    changed: bool,
}

/// Find a customer by its address or by its id at the payment provider.
#[utoipa::path(
    get, path = "/api/admin/customers", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("read"))), params(FindQuery),
    responses(
        (status = 200, body = FoundCustomersBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_request`"),
    )
)]
pub async fn find(
    operator: Operator,
    State(state): State<WebState>,
    query: Result<PlainQuery<FindQuery>, Problem>,
) -> Result<Json<FoundCustomersBody>, Problem> {
    operator.require(Scope::Read)?;
    let wanted = match query {
        Ok(PlainQuery(
            FindQuery { email: Some(text), external_id: None } | FindQuery { email: None, external_id: Some(text) },
        )) => text,
        Ok(_) | Err(_) => {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_request",
                "Say who is wanted with one of the parameters `email` and `external_id`.",
            ));
        }
    };
    let found = state.app.find_customer(&wanted).await?;
    Ok(Json(FoundCustomersBody { customers: found.iter().map(Into::into).collect() }))
}

/// Everything about one customer: subscription, licenses and history.
#[utoipa::path(
    get, path = "/api/admin/customers/{customer_id}", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("read"))), params(("customer_id" = String, Path)),
    responses(
        (status = 200, body = CustomerFileBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`customer_not_found`"),
        (status = 410, body = ProblemBody, content_type = "application/problem+json", description = "`customer_deleted`"),
    )
)]
pub async fn show(
    operator: Operator,
    State(state): State<WebState>,
    customer: Segment,
) -> Result<Json<CustomerFileBody>, Problem> {
    operator.require(Scope::Read)?;
    Ok(Json((&state.app.customer_file(&customer.customer()?).await?).into()))
}

/// Why this customer has a license, or has none: in sentences with dates.
#[utoipa::path(
    get, path = "/api/admin/customers/{customer_id}/explain", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("read"))), params(("customer_id" = String, Path)),
    responses(
        (status = 200, body = Explanation),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`customer_not_found`"),
        (status = 410, body = ProblemBody, content_type = "application/problem+json", description = "`customer_deleted`"),
    )
)]
pub async fn explain(
    operator: Operator,
    State(state): State<WebState>,
    customer: Segment,
) -> Result<Json<Explanation>, Problem> {
    operator.require(Scope::Read)?;
    Ok(Json(state.app.explain_customer(&customer.customer()?).await?))
}

/// Look at the payment provider for a customer now, as a webhook would make us do.
#[utoipa::path(
    post, path = "/api/admin/customers/{customer_id}/sync", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("support"))), params(("customer_id" = String, Path)), request_body = ReasonRequest,
    responses(
        (status = 200, body = SyncedBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`customer_not_found`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`"),
    )
)]
pub async fn sync(
    operator: Operator,
    State(state): State<WebState>,
    customer: Segment,
    JsonBody(request): JsonBody<ReasonRequest>,
) -> Result<Json<SyncedBody>, Problem> {
    let by = operator.acts(Scope::Support, &request.reason)?;
    let customer_id = customer.customer()?;
    let id = customer_id.to_string();
    let changed = to_its_end(async move { state.app.sync_by(&customer_id, &by).await }).await?;
    Ok(Json(SyncedBody { customer_id: id, changed }))
}

/// The address that a customer is to have.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetEmailRequest {
    #[schema(example = "new@example.com")]
    new_email: String,
    /// Why, in a few words, for the audit log.
    #[schema(example = "asked by phone")]
    reason: String,
}

/// The address that a customer has now.
#[derive(Serialize, ToSchema)]
pub struct EmailSetBody {
    customer_id: String,
    email: String,
}

/// Give a customer another address at once, because you know that it is theirs. Both addresses are told by mail.
#[utoipa::path(
    post, path = "/api/admin/customers/{customer_id}/email", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("support"))), params(("customer_id" = String, Path)), request_body = SetEmailRequest,
    responses(
        (status = 200, body = EmailSetBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`customer_not_found`"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "`email_taken`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_email`, `invalid_field`"),
    )
)]
pub async fn set_email(
    operator: Operator,
    State(state): State<WebState>,
    customer: Segment,
    JsonBody(request): JsonBody<SetEmailRequest>,
) -> Result<Json<EmailSetBody>, Problem> {
    let by = operator.acts(Scope::Support, &request.reason)?;
    let customer_id = customer.customer()?;
    let (id, new_email) = (customer_id.to_string(), request.new_email);
    let email = to_its_end(async move { state.app.set_email_by(&customer_id, &new_email, &by).await }).await?;
    Ok(Json(EmailSetBody { customer_id: id, email: email.to_string() }))
}

/// What taking an address for verified came to.
#[derive(Serialize, ToSchema)]
pub struct EmailVerifiedBody {
    customer_id: String,
    email: String,
    #[schema(value_type = String, format = DateTime)]
    email_verified_at: Timestamp,
    /// The version of the license that waited for it; null where none did.
    version: Option<i64>,
}

/// Take a customer's address for verified, because you know that it is theirs. A license that waits for it goes out by mail.
#[utoipa::path(
    post, path = "/api/admin/customers/{customer_id}/verify-email", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("support"))), params(("customer_id" = String, Path)), request_body = ReasonRequest,
    responses(
        (status = 200, body = EmailVerifiedBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`customer_not_found`"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "`email_already_verified`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json",
         description = "`customer_busy`, with Retry-After"),
    )
)]
pub async fn verify_email(
    operator: Operator,
    State(state): State<WebState>,
    customer: Segment,
    JsonBody(request): JsonBody<ReasonRequest>,
) -> Result<Json<EmailVerifiedBody>, Problem> {
    let by = operator.acts(Scope::Support, &request.reason)?;
    let customer_id = customer.customer()?;
    let id = customer_id.to_string();
    let verified = to_its_end(async move { state.app.verify_email_by(&customer_id, &by).await }).await?;
    Ok(Json(EmailVerifiedBody {
        customer_id: id,
        email: verified.email.to_string(),
        email_verified_at: verified.at,
        version: verified.license.map(|license| license.version),
    }))
}
