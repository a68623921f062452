//! Customers: sign-up, login, logout, and the customer's own record.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::licenses::LicenseBody;
use super::subscriptions::SubscriptionBody;
use crate::app::customers::{Account, SignUp};
use crate::app::subscriptions::shown;
use crate::store::customers::Customer;
use crate::store::licenses::License;
use crate::web::WebState;
use crate::web::caller::{self, Arriving, SignedIn};
use crate::web::json::JsonBody;
use crate::web::network::CameFrom;
use crate::web::problem::{Problem, ProblemBody};

/// What a visitor sends to sign up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignUpRequest {
    /// The e-mail address; it is normalized.
    #[schema(example = "test@example.com")]
    email: String,
    /// 8 to 128 characters, not one of the common ones.
    #[schema(example = "SecurePass123", min_length = 8, max_length = 128)]
    password: String,
    /// At most 200 characters.
    #[schema(example = "Test Corp", max_length = 200)]
    company_name: Option<String>,
}

/// What a customer sends to log in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogInRequest {
    email: String,
    password: String,
}

/// A customer as it sees itself.
#[derive(Serialize, ToSchema)]
pub struct CustomerBody {
    /// The identity: in every license, never changing.
    #[schema(example = "cust_0123456789abcdef0123456789abcdef")]
    customer_id: String,
    email: String,
    company_name: Option<String>,
    /// RFC 3339.
    #[schema(value_type = String, format = DateTime)]
    created_at: counterfoil_core::Timestamp,
}

impl From<&Customer> for CustomerBody {
    fn from(customer: &Customer) -> Self {
        Self {
            customer_id: customer.customer_id.to_string(),
            email: customer.email.to_string(),
            company_name: customer.company_name.clone(),
            created_at: customer.created_at,
        }
    }
}

/// The license that signing up gives.
#[derive(Serialize, ToSchema)]
pub struct NewLicenseBody {
    license_id: String,
    version: i64,
    /// The signed license.
    token: String,
    /// RFC 3339.
    #[schema(value_type = String, format = DateTime)]
    expires_at: counterfoil_core::Timestamp,
}

impl From<&License> for NewLicenseBody {
    fn from(license: &License) -> Self {
        Self {
            license_id: license.license_id.to_string(),
            version: license.version,
            token: license.token.clone(),
            expires_at: license.expires_at,
        }
    }
}

/// The answer to a sign-up.
#[derive(Serialize, ToSchema)]
pub struct SignUpBody {
    customer: CustomerBody,
    subscription: SubscriptionBody,
    /// Null where this person's trial is over already, and where the address has to be verified first (`email_verification =
    /// "required"`).
    license: Option<NewLicenseBody>,
    /// The session token, the same as in the cookie.
    token: String,
}

/// The answer to a login.
#[derive(Serialize, ToSchema)]
pub struct LogInBody {
    customer: CustomerBody,
    /// The session token, the same as in the cookie.
    token: String,
}

/// Everything a customer has.
#[derive(Serialize, ToSchema)]
pub struct MeBody {
    customer: CustomerBody,
    subscription: SubscriptionBody,
    license: Option<LicenseBody>,
    /// When the address was verified; null where it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    email_verified_at: Option<counterfoil_core::Timestamp>,
}

/// Sign up: a customer, a trial and a license at once.
#[utoipa::path(
    post, path = "/api/customers/signup", tag = "customers", request_body = SignUpRequest,
    responses(
        (status = 201, body = SignUpBody),
        (status = 409, body = ProblemBody, description = "`email_taken`"),
        (status = 422, body = ProblemBody, description = "`invalid_email`, `weak_password`, `invalid_field`, `invalid_request`"),
        (status = 429, body = ProblemBody, description = "`too_many_requests`, with Retry-After"),
    )
)]
pub async fn sign_up(
    State(state): State<WebState>,
    CameFrom(network): CameFrom,
    Arriving(arrival): Arriving,
    JsonBody(request): JsonBody<SignUpRequest>,
) -> Result<Response, Problem> {
    let wish = SignUp::parse(&request.email, request.password, request.company_name)?;
    state.app.limit_sign_up(&network, &wish.email).await?;
    let (account, session) = state.app.sign_up(wish, &arrival).await?;
    let body = SignUpBody {
        customer: (&account.customer).into(),
        subscription: shown(&state.app, &account.subscription).into(),
        license: account.license.as_ref().map(Into::into),
        token: session.token.clone(),
    };
    let cookie = caller::session_cookie(&session, state.options.https);
    Ok((StatusCode::CREATED, [(header::SET_COOKIE, cookie)], Json(body)).into_response())
}

/// Log in: a new session. The one of a cookie that comes along ends, because the new cookie takes its place.
#[utoipa::path(
    post, path = "/api/customers/login", tag = "customers", request_body = LogInRequest,
    responses(
        (status = 200, body = LogInBody),
        (status = 401, body = ProblemBody, description = "`invalid_credentials`"),
        (status = 429, body = ProblemBody, description = "`too_many_requests`, with Retry-After"),
    )
)]
pub async fn log_in(
    State(state): State<WebState>,
    CameFrom(network): CameFrom,
    Arriving(arrival): Arriving,
    JsonBody(request): JsonBody<LogInRequest>,
) -> Result<Response, Problem> {
    state.app.limit_login(&network, &request.email).await?;
    let (customer_id, session) = state.app.log_in(&request.email, &request.password, &arrival).await?;
    let account = state.app.account(&customer_id).await?;
    let body = LogInBody { customer: (&account.customer).into(), token: session.token.clone() };
    let cookie = caller::session_cookie(&session, state.options.https);
    Ok(([(header::SET_COOKIE, cookie)], Json(body)).into_response())
}

/// Log out: the session ends everywhere.
#[utoipa::path(
    post, path = "/api/customers/logout", tag = "customers", security(("token" = []), ("session" = [])),
    responses((status = 204), (status = 401, body = ProblemBody, description = "`not_signed_in`"))
)]
pub async fn log_out(
    State(state): State<WebState>,
    SignedIn(_customer_id): SignedIn,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(token) = caller::token(&headers) {
        state.app.log_out(&token).await?;
    }
    let cookie = caller::ended_cookie(state.options.https);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// The customer of the session, with subscription and license.
#[utoipa::path(
    get, path = "/api/customers/me", tag = "customers", security(("token" = []), ("session" = [])),
    responses((status = 200, body = MeBody), (status = 401, body = ProblemBody, description = "`not_signed_in`"))
)]
pub async fn me(State(state): State<WebState>, SignedIn(customer_id): SignedIn) -> Result<Json<MeBody>, Problem> {
    let account: Account = state.app.account(&customer_id).await?;
    Ok(Json(MeBody {
        customer: (&account.customer).into(),
        subscription: shown(&state.app, &account.subscription).into(),
        license: account.license.as_ref().map(Into::into),
        email_verified_at: account.customer.email_verified_at,
    }))
}
