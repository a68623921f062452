//! The JSON API. One file a resource; what each call takes and answers is described beside its handler, and that description
//! is the OpenAPI document.

pub mod account;
pub mod activations;
pub mod admin;
pub mod customers;
mod document;
pub mod emails;
pub mod licenses;
pub mod operations;
pub mod passwords;
pub mod plan_changes;
pub mod sessions;
pub mod subscriptions;
pub mod validation;
pub mod webhooks;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::WebState;
use super::problem::{Problem, ProblemBody};

/// The description of the API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Counterfoil",
        description = "From sign-up to a paid, signed license. Errors are `application/problem+json` (RFC 9457) with a stable `code`."
    ),
    components(schemas(ProblemBody)),
    modifiers(&SecuritySchemes)
)]
struct ApiDoc;

struct SecuritySchemes;

impl utoipa::Modify for SecuritySchemes {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
        let components = api.components.get_or_insert_default();
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "A customer's session (`cfs_…`), as signing up and logging in answer it; or an API key (`cfk_…`) of `counterfoil admin create-key`.",
        ));
        components.add_security_scheme("token", SecurityScheme::Http(token.build()));
        let cookie = ApiKeyValue::with_description(
            super::caller::COOKIE,
            "Browsers say with every request that changes something where it comes from (`Origin`). Programs that send the cookie \
             have to send `Content-Type: application/json`, also without a body.",
        );
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

fn described() -> OpenApiRouter<WebState> {
    OpenApiRouter::with_openapi(ApiDoc::openapi())
        .routes(routes!(customers::sign_up))
        .routes(routes!(customers::log_in))
        .routes(routes!(customers::log_out))
        .routes(routes!(customers::me))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::end_others))
        .routes(routes!(sessions::end))
        .routes(routes!(account::export))
        .routes(routes!(account::delete))
        .routes(routes!(passwords::forgot))
        .routes(routes!(passwords::reset))
        .routes(routes!(passwords::change))
        .routes(routes!(emails::ask))
        .routes(routes!(emails::confirm))
        .routes(routes!(emails::object))
        .routes(routes!(emails::verify))
        .routes(routes!(emails::resend_verification))
        .routes(routes!(subscriptions::checkout))
        .routes(routes!(subscriptions::current))
        .routes(routes!(plan_changes::change))
        .routes(routes!(plan_changes::cancel))
        .routes(routes!(plan_changes::resume))
        .routes(routes!(plan_changes::portal))
        .routes(routes!(licenses::current))
        .routes(routes!(licenses::file))
        .routes(routes!(licenses::list))
        .routes(routes!(licenses::refresh))
        .routes(routes!(licenses::status_list))
        .routes(routes!(activations::activate, activations::list))
        .routes(routes!(activations::release_by_product))
        .routes(routes!(activations::release))
        .routes(routes!(validation::validate))
        .routes(routes!(licenses::jwks))
        .routes(routes!(licenses::key_set))
        .routes(routes!(webhooks::stripe))
        .routes(routes!(operations::livez))
        .routes(routes!(operations::readyz))
        .routes(routes!(operations::metrics))
        .merge(admin::described())
}

/// The API document as it is served.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    document::completed(described().into_openapi())
}

/// All routes of the API.
pub fn router() -> Router<WebState> {
    let (routes, document) = described().split_for_parts();
    // The page brings its own route for the document, so it is not routed a second time.
    let document = document::completed(document);
    let docs = utoipa_swagger_ui::SwaggerUi::new("/api/docs").url("/api/openapi.json", document);
    routes
        .merge(Router::<WebState>::from(docs))
        .route("/api/{*rest}", get(nothing_here).fallback(nothing_here))
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
}

/// Health and numbers alone.
pub fn operations_router() -> Router<WebState> {
    Router::new()
        .route("/livez", get(operations::livez))
        .route("/readyz", get(operations::readyz))
        .route("/metrics", get(operations::metrics))
        .fallback(nothing_here)
}

async fn nothing_here() -> Problem {
    Problem::not_found()
}

/// An answer that programs and proxies may keep for a while.
fn cacheable(seconds: u32) -> [(header::HeaderName, String); 1] {
    [(header::CACHE_CONTROL, format!("public, max-age={seconds}"))]
}
