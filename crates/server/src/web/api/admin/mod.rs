//! `/api/admin/*`: what the command line does, for operators with a key. One file a noun.
//!
//! Every handler takes an [`Operator`] and says first which scope it needs. What changes something takes a reason, which the audit
//! log keeps. Answers may carry the provider's ids: operators may see them.
//!
//! The scope also stands in the description, as `x-scope`. A test takes every call from there and sees that it refuses what it has
//! to and leaves its line in the audit log.

pub mod accounts;
pub mod activations;
pub mod customers;
pub mod doctor;
pub mod events;
pub mod jobs;
pub mod keys;
pub mod licenses;
pub mod manual;
pub mod reconcile;
pub mod signing_keys;
pub mod stripe;
pub mod trials;
pub mod who;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use counterfoil_core::{ApiKeyId, CustomerId, Refusal};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::operators::{By, Scope};
use crate::app::sessions::Caller;
use crate::web::WebState;
use crate::web::caller::Who;
use crate::web::problem::Problem;

/// Why something is changed, where nothing else has to be said.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReasonRequest {
    /// Why, in a few words, for the audit log.
    #[schema(example = "asked by phone")]
    pub reason: String,
}

/// The one variable part of an address.
#[derive(Clone, Debug)]
pub struct Segment(pub String);

impl Segment {
    /// The customer that it names.
    ///
    /// # Errors
    /// [`Refusal::CustomerUnknown`]: what is no id is nobody's.
    pub fn customer(&self) -> Result<CustomerId, Refusal> {
        self.0.parse().map_err(|_| Refusal::CustomerUnknown)
    }
}

impl FromRequestParts<WebState> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, Problem> {
        let Path(text): Path<String> =
            Path::from_request_parts(parts, state).await.map_err(|_| Problem::not_found())?;
        // Nothing here is called so, and PostgreSQL would not even compare with a text that has a NUL.
        if text.contains(char::is_control) { Err(Problem::not_found()) } else { Ok(Self(text)) }
    }
}

/// Somebody with an API key of a scope that still has to be asked for.
#[derive(Clone, Debug)]
pub struct Operator {
    key_id: ApiKeyId,
    scope: Scope,
}

impl Operator {
    /// Goes on only where the key may do this.
    ///
    /// # Errors
    /// [`Refusal::ScopeMissing`].
    pub fn require(&self, needed: Scope) -> Result<(), Problem> {
        if self.scope.allows(needed) {
            return Ok(());
        }
        // Whoever tries doors with a key is to be found by its id; the line of the request has the route.
        tracing::warn!(key_id = %self.key_id, scope = self.scope.word(), needed = needed.word(), "an API key was refused");
        Err(Refusal::ScopeMissing.into())
    }

    /// The same for what changes something: who does it, and why.
    ///
    /// # Errors
    /// [`Refusal::ScopeMissing`]; [`Refusal::InvalidField`] for a reason that says nothing.
    pub fn acts(&self, needed: Scope, reason: &str) -> Result<By, Problem> {
        self.require(needed)?;
        Ok(By::key(&self.key_id, reason)?)
    }
}

impl FromRequestParts<WebState> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, Problem> {
        match Who::from_request_parts(parts, state).await?.0 {
            Caller::Backend { key_id, scope } => Ok(Self { key_id, scope }),
            Caller::Anonymous => Err(Refusal::OperatorKeyMissing.into()),
            // A customer's session opens nothing here, whoever the customer is.
            Caller::Customer(_) => Err(Refusal::ScopeMissing.into()),
        }
    }
}

/// All calls of operators, with their descriptions.
pub fn described() -> OpenApiRouter<WebState> {
    OpenApiRouter::new()
        .routes(routes!(who::who))
        .routes(routes!(doctor::doctor))
        .routes(routes!(customers::find))
        .routes(routes!(customers::show))
        .routes(routes!(customers::explain))
        .routes(routes!(customers::sync))
        .routes(routes!(customers::set_email))
        .routes(routes!(customers::verify_email))
        .routes(routes!(accounts::export))
        .routes(routes!(accounts::delete))
        .routes(routes!(accounts::end_sessions))
        .routes(routes!(activations::list))
        .routes(routes!(activations::release))
        .routes(routes!(licenses::issue))
        .routes(routes!(licenses::reissue))
        .routes(routes!(licenses::revoke))
        .routes(routes!(licenses::resend))
        .routes(routes!(manual::show))
        .routes(routes!(manual::start))
        .routes(routes!(manual::pay))
        .routes(routes!(manual::refund))
        .routes(routes!(manual::change))
        .routes(routes!(manual::cancel))
        .routes(routes!(manual::resume))
        .routes(routes!(events::list))
        .routes(routes!(events::show))
        .routes(routes!(events::replay))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::retry))
        .routes(routes!(jobs::discard))
        .routes(routes!(reconcile::compare, reconcile::fix))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::revoke))
        .routes(routes!(signing_keys::list, signing_keys::generate))
        .routes(routes!(signing_keys::rotate))
        .routes(routes!(signing_keys::retire))
        .routes(routes!(signing_keys::compromise))
        .routes(routes!(trials::extend))
        .routes(routes!(stripe::doctor))
}
