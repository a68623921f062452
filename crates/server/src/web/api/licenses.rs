//! Licences: the current one, the history, refresh, the status lists and the public keys.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use counterfoil_core::signing_key::KEYS_CACHED_SECONDS;
use counterfoil_core::{Refusal, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::cacheable;
use crate::app::license_files::Contents;
use crate::app::status_lists::LIST_FRESH_SECONDS;
use crate::store::licenses::License;
use crate::web::caller::SignedIn;
use crate::web::etag::is_kept;
use crate::web::json::JsonBody;
use crate::web::problem::{Problem, ProblemBody};
use crate::web::query::PlainQuery;
use crate::web::{WebState, attachment};

/// One version of a license.
#[derive(Serialize, ToSchema)]
pub struct LicenseBody {
    /// This version's id: the claim `jti`.
    license_id: String,
    /// Rises by one with each version.
    version: i64,
    /// The signed license.
    token: String,
    plan: String,
    status: String,
    #[schema(value_type = String, format = DateTime)]
    issued_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// When the product should ask for a newer one.
    #[schema(value_type = String, format = DateTime)]
    refresh_after: Timestamp,
    /// Why it was issued: `trial_started`, `subscribed`, `plan_changed`, `renewed`, `payment_overdue`, `status_changed`, `reissued`.
    reason: String,
    /// When the vendor revoked it; missing while it is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
}

impl From<&License> for LicenseBody {
    fn from(license: &License) -> Self {
        Self {
            license_id: license.license_id.to_string(),
            version: license.version,
            token: license.token.clone(),
            plan: license.plan.to_string(),
            status: license.status.clone(),
            issued_at: license.issued_at,
            expires_at: license.expires_at,
            refresh_after: license.refresh_after,
            reason: license.reason.clone(),
            revoked_at: license.revoked_at,
        }
    }
}

/// Which part of the history.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// Only versions before this one: the last `version` of the page before.
    before: Option<i64>,
}

/// What to put into the file.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FileQuery {
    /// Whether it is to be the bundle.
    #[serde(default)]
    bundle: bool,
}

/// Versions, newest first.
#[derive(Serialize, ToSchema)]
pub struct LicenseListBody {
    licenses: Vec<LicenseBody>,
    /// Whether there are older ones.
    has_more: bool,
}

/// A license to refresh.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// The signed license.
    token: String,
}

/// The newest license of the session's customer.
#[utoipa::path(
    get, path = "/api/licenses/current", tag = "licenses", security(("token" = []), ("session" = [])),
    responses(
        (status = 200, body = LicenseBody),
        (status = 401, body = ProblemBody, description = "`not_signed_in`"),
        (status = 403, body = ProblemBody, description = "`license_revoked`; `email_not_verified`: it is given once the address is verified"),
        (status = 404, body = ProblemBody, description = "`no_license`"),
    )
)]
pub async fn current(
    State(state): State<WebState>,
    SignedIn(customer_id): SignedIn,
) -> Result<Json<LicenseBody>, Problem> {
    Ok(Json((&state.app.current_license(&customer_id).await?).into()))
}

/// The newest license of the session's customer as a `.lic` file, which people can save and send.
///
/// The bundle is for machines without a network: it has the status list that the license names as well, and the key set that the
/// root has signed, where one is installed.
#[utoipa::path(
    get, path = "/api/licenses/current/file", tag = "licenses", params(FileQuery), security(("token" = []), ("session" = [])),
    responses(
        (status = 200, content_type = "text/plain", description = "the file, as an attachment", body = String),
        (status = 401, body = ProblemBody, description = "`not_signed_in`"),
        (status = 403, body = ProblemBody, description = "`license_revoked`; `email_not_verified`: it is given once the address is verified"),
        (status = 404, body = ProblemBody, description = "`no_license`"),
        (status = 422, body = ProblemBody, description = "`invalid_request`"),
    )
)]
pub async fn file(
    State(state): State<WebState>,
    SignedIn(customer_id): SignedIn,
    query: Result<PlainQuery<FileQuery>, Problem>,
) -> Result<Response, Problem> {
    let PlainQuery(query) = query.map_err(|_| {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_request",
            "The only parameter is `bundle`, `true` or `false`.",
        )
    })?;
    let contents = if query.bundle { Contents::Bundle } else { Contents::License };
    Ok(attachment(state.app.license_file(&customer_id, contents).await?))
}

/// All versions ever issued to the session's customer, newest first.
#[utoipa::path(
    get, path = "/api/licenses", tag = "licenses", params(HistoryQuery), security(("token" = []), ("session" = [])),
    responses(
        (status = 200, body = LicenseListBody),
        (status = 401, body = ProblemBody, description = "`not_signed_in`"),
    )
)]
pub async fn list(
    State(state): State<WebState>,
    SignedIn(customer_id): SignedIn,
    query: Result<PlainQuery<HistoryQuery>, Problem>,
) -> Result<Json<LicenseListBody>, Problem> {
    let PlainQuery(query) = query.map_err(|_| {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_request",
            "The only parameter is `before`, a whole number.",
        )
    })?;
    let before = query.before.unwrap_or(i64::MAX);
    let licenses = state.app.license_history(&customer_id, before).await?;
    let has_more = licenses.last().is_some_and(|last| last.version > 1);
    Ok(Json(LicenseListBody { licenses: licenses.iter().map(Into::into).collect(), has_more }))
}

/// The newest license of the customer to whom this one was issued: the old license is the credential, even an expired one.
///
/// The answer's `ETag` names the version. Who sends it along as `If-None-Match` is answered 304 for as long as there is no newer
/// one. The body's `refresh_after` says when to ask again.
#[utoipa::path(
    post, path = "/api/licenses/refresh", tag = "licenses", request_body = TokenRequest,
    responses(
        (status = 200, body = LicenseBody),
        (status = 304, description = "there is no newer license than the one of `If-None-Match`"),
        (status = 401, body = ProblemBody, description = "`license_invalid`, `key_compromised`"),
        (status = 403, body = ProblemBody, description = "`license_revoked`: no other one is issued for it; the customer has to contact the vendor"),
        (status = 404, body = ProblemBody, description = "`no_license`: neither a trial nor a paid period runs"),
        (status = 410, body = ProblemBody, description = "`customer_deleted`: the account is gone, and its licenses with it"),
        (status = 429, body = ProblemBody, description = "`too_many_requests`: more than a thousand at once, or ten a second, for one customer"),
    )
)]
pub async fn refresh(
    State(state): State<WebState>,
    headers: HeaderMap,
    JsonBody(request): JsonBody<TokenRequest>,
) -> Result<Response, Problem> {
    let license = state.app.refresh_license(&request.token).await?;
    let etag = format!("\"{}\"", license.license_id);
    if is_kept(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    Ok(([(header::ETAG, etag)], Json(LicenseBody::from(&license))).into_response())
}

/// A list that says which licenses were revoked, suspended or superseded: a signed JWT after draft-ietf-oauth-status-list.
#[utoipa::path(
    get, path = "/status-lists/{file}", tag = "licenses",
    params(("file" = String, Path, description = "`1.jwt`, `2.jwt` …: the name that a license's `status_list.uri` ends with")),
    responses(
        (status = 200, content_type = "application/statuslist+jwt", description = "the list", body = String),
        (status = 304, description = "it still says what the one of `If-None-Match` says"),
        (status = 404, body = ProblemBody, description = "`status_list_not_found`"),
    )
)]
pub async fn status_list(
    State(state): State<WebState>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let number = file.strip_suffix(".jwt").and_then(|number| number.parse::<i64>().ok());
    let number = number.filter(|number| format!("{number}.jwt") == file).ok_or(Refusal::StatusListUnknown)?;
    let list = state.app.status_list(number).await?;
    let known = (cacheable(LIST_FRESH_SECONDS), [(header::ETAG, list.etag.clone())]);
    if is_kept(&headers, &list.etag) {
        return Ok((StatusCode::NOT_MODIFIED, known).into_response());
    }
    let kind = [(header::CONTENT_TYPE, "application/statuslist+jwt")];
    Ok((known, kind, list.token.clone()).into_response())
}

/// The public keys that verify licenses (RFC 7517).
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "licenses",
    responses((status = 200, description = "a JWK set", body = Object))
)]
pub async fn jwks(State(state): State<WebState>) -> Result<Response, Problem> {
    let keys = state.app.key_set().await?;
    Ok((cacheable(KEYS_CACHED_SECONDS), Json(keys.to_jwks())).into_response())
}

/// The public keys as the offline root has signed them, for products that pin the root.
#[utoipa::path(
    get, path = "/.well-known/counterfoil-keys.jwt", tag = "licenses",
    responses(
        (status = 200, description = "a JWT of the type `keyset+jwt`", body = String, content_type = "application/jwt"),
        (status = 304, description = "the `ETag` that was sent is still that of the set"),
        (status = 404, body = ProblemBody, description = "`no_key_set`: no root signs the keys here"),
    )
)]
pub async fn key_set(State(state): State<WebState>, headers: HeaderMap) -> Result<Response, Problem> {
    let served = state.app.served_key_set().await?;
    let is_known = is_kept(&headers, &served.etag);
    let kept = (cacheable(KEYS_CACHED_SECONDS), [(header::ETAG, served.etag)]);
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, kept).into_response());
    }
    Ok((kept, [(header::CONTENT_TYPE, "application/jwt")], served.token).into_response())
}
