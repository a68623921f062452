//! What surrounds every request: an id, a log line, metrics, limits, and headers that keep browsers safe.

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use counterfoil_core::probe;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::csrf::{CsrfLayer, ProtectionError};
use tower_http::timeout::TimeoutLayer;
use tracing::Instrument as _;

use super::WebState;
use super::json::is_json;
use super::problem::Problem;

/// The longest that a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    static CURRENT_REQUEST_ID: String;
}

/// The id of the request that is being answered; empty outside of one.
#[must_use]
pub fn request_id() -> String {
    CURRENT_REQUEST_ID.try_with(Clone::clone).unwrap_or_default()
}

/// Puts all layers around the routes.
pub fn wrap(router: Router<WebState>, state: &WebState) -> Router<WebState> {
    router
        .layer(refuse_cross_site(state))
        .layer(middleware::from_fn(refuse_unmarked))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT))
        .layer(CatchPanicLayer::custom(|_panic| broken()))
        .layer(middleware::from_fn_with_state(state.clone(), problems_as_pages))
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn_with_state(SafeHeaders::of(state), safe_headers))
        .layer(middleware::from_fn_with_state(state.clone(), observe))
}

/// What broke is told by the hook (`telemetry::log_panics`); this line, within the request's span, says whose answer it was.
fn broken() -> Response {
    tracing::error!("a request panicked and was answered 500");
    Problem::internal().into_response()
}

/// Gives the request its id, and writes one log line and the metrics when it is answered. Neither path parameters nor
/// queries are logged: they may hold what is nobody's business.
async fn observe(State(state): State<WebState>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = hex::encode(state.app.entropy.bytes::<8>());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", request_id = %id, %method, route);
    let mut response = CURRENT_REQUEST_ID.scope(id.clone(), next.run(request).instrument(span.clone())).await;
    let status = response.status();
    let elapsed = started.elapsed();
    span.in_scope(|| {
        tracing::info!(status = status.as_u16(), millis = elapsed.as_secs_f64() * 1000.0, "answered");
    });
    let labels =
        [("method", method_label(&method).to_owned()), ("route", route), ("status", status.as_u16().to_string())];
    metrics::counter!("counterfoil_http_requests_total", &labels).increment(1);
    metrics::histogram!("counterfoil_http_request_seconds", &labels).record(elapsed.as_secs_f64());
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID.clone(), value);
    }
    response
}

/// A request may carry any word as its method, and every label that metrics ever saw is kept for good.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// A form on another site must not act in a customer's name. Programs, which send neither `Origin` nor `Sec-Fetch-Site`, pass.
fn refuse_cross_site(state: &WebState) -> CsrfLayer<impl Fn(ProtectionError) -> Response + Clone + use<>> {
    CsrfLayer::new()
        .add_trusted_origin(&state.app.settings.public_url)
        .expect("the configuration takes an origin only as the public URL")
        .with_rejection_response(|_error| {
            cross_site("This request came from another site. Go to the page itself and try again.")
        })
}

/// Every browser of today says where a request comes from that changes something. One that does not, and sends our cookie with it, is
/// trusted only with JSON: what no form and no script of another site can send, unless the browser has asked us before.
async fn refuse_unmarked(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let has = |name| headers.contains_key(name);
    let is_unmarked = !has(header::ORIGIN) && !has(HeaderName::from_static("sec-fetch-site"));
    let is_ours = has(header::COOKIE) && !has(header::AUTHORIZATION);
    if is_unmarked && is_ours && !request.method().is_safe() && !is_json(headers) {
        return cross_site(
            "This request came with a cookie and without a word on the site that it comes from. Programs send the header \
             `Content-Type: application/json`, also without a body, or the session's token as `Authorization: Bearer`.",
        );
    }
    next.run(request).await
}

fn cross_site(detail: &str) -> Response {
    probe!("F84");
    Problem::new(StatusCode::FORBIDDEN, "cross_site_request", detail).into_response()
}

/// A problem that came up around the handlers is JSON for a program, and a page at the address of a page.
async fn problems_as_pages(State(state): State<WebState>, request: Request, next: Next) -> Response {
    let program = {
        let path = request.uri().path();
        path.starts_with("/api/")
            || path.starts_with("/.well-known/")
            || path.starts_with("/status-lists/")
            || matches!(path, "/livez" | "/readyz" | "/metrics")
    };
    let response = next.run(request).await;
    let problem = match response.extensions().get::<Problem>() {
        Some(problem) => problem.clone(),
        // The only 503 that nobody has described is the time-out's.
        None if response.status() == StatusCode::SERVICE_UNAVAILABLE
            && !response.headers().contains_key(header::CONTENT_TYPE) =>
        {
            Problem::timed_out()
        }
        None => return response,
    };
    if program { problem.into_response() } else { super::portal::problem_page(&state.app, problem) }
}

/// What is the same in every answer, put together once.
#[derive(Clone)]
struct SafeHeaders {
    policy: HeaderValue,
    docs_policy: HeaderValue,
    https: bool,
}

impl SafeHeaders {
    fn of(state: &WebState) -> Self {
        let policy = |is_docs| {
            HeaderValue::try_from(content_security_policy(state, is_docs)).expect("origins are visible ASCII")
        };
        Self { policy: policy(false), docs_policy: policy(true), https: state.options.https }
    }
}

async fn safe_headers(State(safe): State<SafeHeaders>, request: Request, next: Next) -> Response {
    let is_docs = request.uri().path().starts_with("/api/docs");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, if is_docs { safe.docs_policy } else { safe.policy });
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Not `no-referrer`: with it Chromium sends our own forms with `Origin: null`, which no check can tell from a foreign one.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if safe.https {
        headers
            .insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000; includeSubDomains"));
    }
    response
}

/// A form of ours may be answered by a redirect to the provider's payment page, which browsers hold against `form-action`.
fn content_security_policy(state: &WebState, is_docs: bool) -> String {
    let targets: String = state.options.form_targets.iter().map(|origin| format!(" {origin}")).collect();
    // The API page is a third party's script that styles elements directly; it shows no customer's data.
    let styles = if is_docs { "; style-src 'self' 'unsafe-inline'; img-src 'self' data:" } else { "" };
    format!(
        "default-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; \
         form-action 'self'{targets}{styles}"
    )
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt as _;

    use super::*;

    #[test]
    fn an_invented_method_makes_no_metric_of_its_own() {
        use Method as M;
        for method in [M::GET, M::HEAD, M::POST, M::PUT, M::PATCH, M::DELETE, M::OPTIONS] {
            assert_eq!(method_label(&method), method.as_str());
        }
        assert_eq!(method_label(&Method::from_bytes(b"X-1").unwrap()), "other");
        assert_eq!(method_label(&Method::TRACE), "other");
    }

    #[tokio::test]
    async fn with_our_cookie_and_no_word_on_where_it_comes_from_only_json_passes() {
        const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
        const COOKIE: (&str, &str) = ("cookie", "cf_session=cfs_1");
        let routes = Router::new().route("/", axum::routing::any(|| async { "done" }));
        let routes = routes.layer(middleware::from_fn(refuse_unmarked));
        let is_refused = async |method: &str, headers: &[(&'static str, &'static str)]| {
            let mut request = axum::http::Request::builder().method(method).uri("/");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let answer = routes.clone().oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
            answer.status() == StatusCode::FORBIDDEN
        };
        assert!(is_refused("POST", &[FORM, COOKIE]).await);
        for kind in ["multipart/form-data; boundary=x", "Text/Plain ;charset=utf-8", "text/ping", ""] {
            assert!(is_refused("POST", &[("content-type", kind), COOKIE]).await, "{kind}");
        }
        for kind in ["application/json", "Application/JSON; charset=utf-8"] {
            assert!(!is_refused("POST", &[("content-type", kind), COOKIE]).await, "no form can send {kind:?}");
        }
        for mark in [("origin", "http://localhost:3100"), ("sec-fetch-site", "same-origin")] {
            assert!(!is_refused("POST", &[FORM, COOKIE, mark]).await, "{mark:?}");
        }
        assert!(!is_refused("POST", &[FORM]).await, "it acts in nobody's name");
        assert!(!is_refused("POST", &[FORM, COOKIE, ("authorization", "Bearer cfs_1")]).await, "it is a program");
        assert!(!is_refused("GET", &[FORM, COOKIE]).await, "looking changes nothing");
    }
}
