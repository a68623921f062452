//! One call to Stripe: the headers, the bounded answer, the retries.
//!
//! A mutating call cannot be written without an [`IdempotencyKey`], and every try of a call sends the same bytes
//! under the same key; so whatever became of an earlier try, at most one thing is made (invariant 2). Nothing that is
//! sent or answered is logged: only method, path, status, Stripe's request id, the number of the try and the time it
//! took.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use counterfoil_core::{IdempotencyKey, Timestamp, probe};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response};
use serde_json::Value;
use tokio::time::Instant;

use super::config::{ApiBase, Jitter, Limits, StripeConfig, StripeConfigError, authorization};
use super::error::{Answer, redact, unreadable};
use super::form::Form;
use super::gate::{Gate, Side};
use super::retry::{self, Outcome, Verdict};
use crate::providers::ProviderError;

/// The version whose shapes we ask for. Reading stays tolerant of older ones, because events keep the version of
/// their making.
pub const API_VERSION: &str = "2026-05-27.dahlia";

const USER_AGENT: &str = concat!("Counterfoil/", env!("CARGO_PKG_VERSION"));
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const STRIPE_VERSION: HeaderName = HeaderName::from_static("stripe-version");

/// Idle connections are kept shorter than load balancers keep them, so that a reused one is rarely already closed.
const POOL_IDLE: Duration = Duration::from_secs(55);

/// The longest request id that is kept.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// A successful answer.
#[derive(Debug)]
pub(super) struct Success {
    pub(super) body: Value,
    pub(super) request_id: Option<String>,
    /// The stored answer of an earlier call with this key: it may be hours old.
    pub(super) replayed: bool,
    /// Stripe's time.
    pub(super) date: Option<Timestamp>,
}

/// The HTTP client. Its clones share connections and places.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    base: ApiBase,
    limits: Limits,
    gate: Arc<Gate>,
    side: Side,
    jitter: Arc<Jitter>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// What is sent, the same at each try.
struct Call<'a> {
    method: Method,
    path: &'a str,
    query: &'a str,
    key: Option<HeaderValue>,
    body: Option<&'a str>,
}

impl Client {
    pub(super) fn new(config: &StripeConfig, jitter: Jitter) -> Result<Self, StripeConfigError> {
        let base = ApiBase::parse(&config.api_base, config.livemode)?;
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization(&config.secret_key, config.livemode)?);
        headers.insert(STRIPE_VERSION, HeaderValue::from_static(API_VERSION));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let limits = config.limits.clone();
        let http = build_http(&base, headers, &limits)?;
        let gate = Arc::new(Gate::new(limits.in_flight_max, limits.calls_per_second, limits.queue_timeout));
        Ok(Self { http, base, limits, gate, side: Side::Workers, jitter: Arc::new(jitter) })
    }

    /// The same for those who answer requests.
    pub(super) fn for_requests(&self) -> Self {
        Self { side: Side::Requests, ..self.clone() }
    }

    /// Whether nobody can be reached at this address by the Stripe that we call: an address of this machine, and a Stripe that
    /// is elsewhere.
    pub(super) fn cannot_call_back(&self, url: &str) -> bool {
        !self.base.is_loopback() && ApiBase::parse(url, false).is_ok_and(|target| target.is_loopback())
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Reads. There is no key: repeating a look-up needs none.
    pub(super) async fn get(&self, path: &str, query: &Form) -> Result<Success, ProviderError> {
        self.call(&Call { method: Method::GET, path, query: query.as_str(), key: None, body: None }).await
    }

    /// Changes something, with exactly these bytes under exactly this key.
    pub(super) async fn post(&self, path: &str, key: &IdempotencyKey, body: &str) -> Result<Success, ProviderError> {
        let key = HeaderValue::from_str(key.as_str()).map_err(|_| ProviderError::Rejected {
            code: None,
            message: "the idempotency key has characters that a header cannot carry".to_owned(),
            request_id: None,
        })?;
        self.call(&Call { method: Method::POST, path, query: "", key: Some(key), body: Some(body) }).await
    }

    /// Asks with a POST that changes nothing about anybody's money, so that doing it twice needs no key: a preview, or a page
    /// to be opened. The answer has to be that of now, and never a stored one.
    pub(super) async fn compute(&self, path: &str, body: &str) -> Result<Success, ProviderError> {
        self.call(&Call { method: Method::POST, path, query: "", key: None, body: Some(body) }).await
    }

    /// Ends what is at this path. Doing it twice is doing it once; the key only names the deed in the provider's log.
    pub(super) async fn delete(&self, path: &str, key: &IdempotencyKey) -> Result<Success, ProviderError> {
        let key = HeaderValue::from_str(key.as_str()).ok();
        self.call(&Call { method: Method::DELETE, path, query: "", key, body: None }).await
    }

    /// Tries until an answer is final, the tries are used up or the time is over.
    #[tracing::instrument(name = "stripe_call", level = "debug", skip_all, fields(method = %call.method, path = call.path))]
    async fn call(&self, call: &Call<'_>) -> Result<Success, ProviderError> {
        let deadline = Instant::now() + self.limits.call_timeout;
        let mut tries_done = 0;
        loop {
            tries_done += 1;
            let outcome = self.attempt(call, deadline.saturating_duration_since(Instant::now()), tries_done).await;
            let chance = (self.jitter)();
            let pause = retry::pause(tries_done, self.limits.backoff_base, self.limits.backoff_max, chance);
            let in_time = Instant::now() + pause < deadline;
            if retry::judge(&outcome) == Verdict::Stop || tries_done >= self.limits.attempts_max || !in_time {
                return conclude(outcome);
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(&self, call: &Call<'_>, remaining: Duration, number: u32) -> Outcome {
        let Some(_permit) = self.gate.enter(self.side, remaining).await else {
            probe!("F45");
            return Outcome::Refused("too many calls are under way".to_owned());
        };
        let started = Instant::now();
        let outcome = self.exchange(call, self.limits.attempt_timeout.min(remaining)).await;
        let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &outcome {
            Outcome::Answered(answer) => {
                tracing::debug!(
                    attempt = number,
                    status = answer.status,
                    request_id = answer.request_id,
                    elapsed_ms,
                    "Stripe answered"
                );
            }
            Outcome::Lost(reason) | Outcome::Refused(reason) => {
                tracing::debug!(attempt = number, reason, elapsed_ms, "Stripe did not answer");
            }
        }
        outcome
    }

    async fn exchange(&self, call: &Call<'_>, timeout: Duration) -> Outcome {
        #[cfg(feature = "simulation")]
        if let Some(world) = crate::simulation::world() {
            return simulated(world.stripe(simulated_call(call)), timeout, self.limits.answer_bytes_max).await;
        }
        let mut request =
            self.http.request(call.method.clone(), self.base.join(call.path, call.query)).timeout(timeout);
        if let Some(key) = &call.key {
            request = request.header(IDEMPOTENCY_KEY, key.clone());
        }
        match call.body {
            // A POST without a body still has to say that it has none.
            Some("") => request = request.header(CONTENT_LENGTH, HeaderValue::from_static("0")),
            Some(body) => request = request.body(body.to_owned()),
            None => {}
        }
        match request.send().await {
            Ok(response) => read_answer(response, self.limits.answer_bytes_max).await,
            Err(error) if error.is_builder() => Outcome::Refused(describe(error)),
            Err(error) => {
                probe!("F38", error.is_connect());
                Outcome::Lost(describe(error))
            }
        }
    }
}

#[cfg(feature = "simulation")]
fn simulated_call(call: &Call<'_>) -> crate::simulation::StripeCall {
    let query = if call.query.is_empty() { String::new() } else { format!("?{}", call.query) };
    crate::simulation::StripeCall {
        method: call.method.to_string(),
        target: format!("{}{query}", call.path),
        idempotency_key: call.key.as_ref().and_then(|key| key.to_str().ok()).map(str::to_owned),
        body: call.body.unwrap_or_default().to_owned(),
    }
}

#[cfg(feature = "simulation")]
async fn simulated(
    answering: crate::simulation::Boxed<Result<crate::simulation::StripeAnswer, String>>,
    timeout: Duration,
    bytes_max: usize,
) -> Outcome {
    let answer = match tokio::time::timeout(timeout, answering).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(reason)) => return Outcome::Lost(reason),
        Err(_elapsed) => return Outcome::Lost("timed out".to_owned()),
    };
    let mut response = axum::http::Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    match response.body(answer.body) {
        Ok(response) => read_answer(Response::from(response), bytes_max).await,
        Err(error) => Outcome::Lost(error.to_string()),
    }
}

fn build_http(base: &ApiBase, headers: HeaderMap, limits: &Limits) -> Result<reqwest::Client, StripeConfigError> {
    let fail = |reason: String| StripeConfigError::Client(reason);
    let mut builder = reqwest::Client::builder()
        .default_headers(headers)
        .user_agent(USER_AGENT)
        // A redirect could carry the key to another host, and would make a POST a GET.
        .redirect(reqwest::redirect::Policy::none())
        // All retries are counted here, none hidden below.
        .retry(reqwest::retry::never())
        .connect_timeout(limits.connect_timeout)
        .pool_idle_timeout(POOL_IDLE);
    if base.is_loopback() {
        builder = builder.no_proxy();
    }
    if base.is_https() {
        // Installing fails where one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        builder = builder.https_only(true);
    } else {
        // Without TLS no certificates are needed, and a machine that has none can still run the sandbox.
        builder = builder.tls_backend_preconfigured(trusting_nobody().map_err(|error| fail(error.to_string()))?);
    }
    builder.build().map_err(|error| fail(describe(error)))
}

fn trusting_nobody() -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

/// Reads the body to its end or to the limit. A body that breaks off is a lost answer, whatever the status said.
async fn read_answer(mut response: Response, bytes_max: usize) -> Outcome {
    let mut answer = Answer {
        status: response.status().as_u16(),
        request_id: header(&response, "request-id").filter(|id| id.len() <= REQUEST_ID_BYTES_MAX).map(redact),
        should_retry: match header(&response, "stripe-should-retry") {
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(_) | None => None,
        },
        replayed: header(&response, "idempotent-replayed") == Some("true"),
        date: header(&response, "date").and_then(Timestamp::from_http_date),
        body: None,
    };
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > bytes_max => {
                return Outcome::Refused(format!("the answer is longer than {bytes_max} bytes"));
            }
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) => {
                probe!("F40");
                return Outcome::Lost(describe(error));
            }
        }
    }
    answer.body = serde_json::from_slice(&bytes).ok();
    Outcome::Answered(answer)
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

fn conclude(outcome: Outcome) -> Result<Success, ProviderError> {
    match outcome {
        Outcome::Answered(answer) if answer.is_success() => {
            let Answer { request_id, replayed, date, body, .. } = answer;
            match body {
                Some(body @ Value::Object(_)) => Ok(Success { body, request_id, replayed, date }),
                Some(_) | None => Err(unreadable("it is not a JSON object", request_id)),
            }
        }
        Outcome::Answered(answer) => Err(answer.into_error()),
        Outcome::Lost(reason) | Outcome::Refused(reason) => {
            Err(ProviderError::Unavailable { reason, request_id: None })
        }
    }
}

/// The error and what caused it, without the address: its query may hold an e-mail.
fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = if error.is_timeout() { "timed out".to_owned() } else { error.to_string() };
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    redact(&text)
}
