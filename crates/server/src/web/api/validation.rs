//! `POST /api/licenses/validate`: what a license is worth, as an answer.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use counterfoil_core::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::validation::Question;
use crate::web::WebState;
use crate::web::json::JsonBody;
use crate::web::problem::{Problem, ProblemBody};

const FEATURES_MAX: usize = 100;
const TEXT_BYTES_MAX: usize = 128;

/// A license, and what the product wants to know.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidationRequest {
    /// The signed license.
    token: String,
    /// The product that asks: with another one than the license's, the answer is `wrong_product`.
    product: Option<String>,
    /// What the product is about to unlock: where one of them is not in the license, the answer is `feature_missing`.
    #[serde(default)]
    features: Vec<String>,
    /// Answer for this moment instead of now: what is known now, judged by that clock.
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
    /// Sign the answer as well.
    #[serde(default)]
    signed: bool,
    /// What a signed answer repeats, so that no older one can be played to the product. Only with `signed`.
    nonce: Option<String>,
}

/// What a license is worth. `valid` decides, `code` explains, and neither follows from the other: `in_grace` and `superseded` are valid.
#[derive(Serialize, ToSchema)]
pub struct ValidationBody {
    /// Whether the product may be used with it.
    valid: bool,
    /// Why, or why not: a stable code; docs/licenses.md has them all.
    code: String,
    /// Whether there is a newer version to fetch.
    superseded: bool,
    /// The moment that the answer is about.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    license_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<String>,
    /// What the product unlocks; empty unless valid.
    features: Vec<String>,
    /// The numbers that the product enforces; empty unless valid.
    limits: std::collections::BTreeMap<String, i64>,
    /// What was asked for and is not in the license.
    missing_features: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// The answer as a JWT (`typ: license-validation+jwt`); only where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed: Option<String>,
}

/// What a license is worth. A bad license is an answer, not an error.
#[utoipa::path(
    post, path = "/api/licenses/validate", tag = "licenses", request_body = ValidationRequest,
    responses(
        (status = 200, body = ValidationBody),
        (status = 422, body = ProblemBody, description = "`invalid_request`: a text that is too long, too many features, a nonce without `signed`"),
        (status = 429, body = ProblemBody, description = "`too_many_requests`"),
    )
)]
pub async fn validate(
    State(state): State<WebState>,
    JsonBody(request): JsonBody<ValidationRequest>,
) -> Result<Json<ValidationBody>, Problem> {
    check(&request)?;
    let ValidationRequest { token, product, features, at, signed, nonce } = request;
    let found = state.app.validate_license(&Question { token, product, features, at }).await?;
    let signed = match signed {
        true => Some(state.app.sign_validation(&found, nonce).await?),
        false => None,
    };
    let claims = found.claims.as_ref();
    let rights = claims.filter(|_| found.valid);
    Ok(Json(ValidationBody {
        valid: found.valid,
        code: found.code.to_owned(),
        superseded: found.superseded,
        at: found.at,
        customer_id: claims.map(|claims| claims.customer_id.clone()),
        license_id: claims.map(|claims| claims.jti.clone()),
        plan: claims.map(|claims| claims.plan.clone()),
        features: rights.map(|claims| claims.features.clone()).unwrap_or_default(),
        limits: rights.map(|claims| claims.limits.clone()).unwrap_or_default(),
        expires_at: claims.map(|claims| Timestamp::from_unix_seconds(claims.exp)),
        missing_features: found.missing_features,
        signed,
    }))
}

fn check(request: &ValidationRequest) -> Result<(), Problem> {
    let refuse =
        |detail: &str| Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", detail.to_owned()));
    if request.features.len() > FEATURES_MAX {
        return refuse("At most 100 features are looked for at once.");
    }
    let texts = request.features.iter().chain(&request.product).chain(&request.nonce);
    if texts.into_iter().any(|text| text.len() > TEXT_BYTES_MAX) {
        return refuse("A product, a feature and a nonce have at most 128 bytes.");
    }
    if request.nonce.is_some() && !request.signed {
        return refuse("A nonce has a meaning only in a signed answer: send `\"signed\": true` as well.");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_question_may_hold_is_bounded_and_a_nonce_wants_a_signature() {
        let of = |features: Vec<String>, nonce: Option<&str>, signed| ValidationRequest {
            token: String::new(),
            product: None,
            features,
            at: None,
            signed,
            nonce: nonce.map(str::to_owned),
        };
        let is_fine = |request: ValidationRequest| check(&request).is_ok();
        assert!(is_fine(of(vec!["x".repeat(TEXT_BYTES_MAX); FEATURES_MAX], Some("n"), true)));
        assert!(!is_fine(of(vec!["x".to_owned(); FEATURES_MAX + 1], None, false)));
        assert!(!is_fine(of(vec!["x".repeat(TEXT_BYTES_MAX + 1)], None, false)));
        assert!(!is_fine(of(Vec::new(), Some("n"), false)));
    }
}
