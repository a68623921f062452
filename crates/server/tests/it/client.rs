//! HTTP as the actors speak it: requests to our server whose answers all flow past the tap.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, Url};
use serde_json::Value;

use crate::tap::Tap;

/// An HTTP client that follows nothing and trusts nobody: loopback is all that it needs, and it costs little to make.
pub fn plain_client() -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(Duration::from_secs(60))
        .build()
        .unwrap()
}

/// Pairs as a form's body or a query.
pub fn form(pairs: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://localhost").unwrap();
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

/// Our server as one reader sees it.
#[derive(Clone)]
pub struct Http {
    client: reqwest::Client,
    base: String,
    tap: Arc<Tap>,
    reader: String,
    token: Option<String>,
}

impl Http {
    pub fn new(base: &str, tap: Arc<Tap>) -> Self {
        Self { client: plain_client(), base: base.to_owned(), tap, reader: "a stranger".to_owned(), token: None }
    }

    /// The same connections in somebody else's hands.
    pub fn for_reader(&self, reader: &str) -> Self {
        Self { reader: reader.to_owned(), token: None, ..self.clone() }
    }

    /// Sends this token from now on.
    pub fn set_token(&mut self, token: Option<String>) {
        self.token = token;
    }

    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub fn tap(&self) -> &Tap {
        &self.tap
    }

    /// The tap itself, for a further server of the same story.
    pub fn tap_of_all(&self) -> Arc<Tap> {
        Arc::clone(&self.tap)
    }

    /// A request with this reader's token, to be completed and given to [`Http::send`].
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.expect("our server answers");
        let url = response.url().to_string();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = String::from_utf8_lossy(&response.bytes().await.expect("a whole body")).into_owned();
        let answer = Answer { url, status, headers, body };
        self.tap.look(&answer.place(), &self.reader, &answer.without_checkout_url());
        answer
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub async fn post_text(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.send(self.request(Method::POST, path).header(CONTENT_TYPE, content_type).body(body)).await
    }
}

/// An answer of our server.
#[derive(Clone, Debug)]
pub struct Answer {
    pub url: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    fn place(&self) -> String {
        format!("the answer {} of {}", self.status, self.url)
    }

    /// Everything that was answered but the one thing that has to name the provider's page.
    fn without_checkout_url(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            let leads_to_payment = name == "location" && value.contains("/c/pay/");
            if !leads_to_payment {
                text.push_str(&format!("{name}: {value}\n"));
            }
        }
        let mut json: Value = serde_json::from_str(&self.body).unwrap_or_default();
        match json.as_object_mut().and_then(|fields| fields.remove("checkout_url")) {
            Some(_) => text.push_str(&json.to_string()),
            None => text.push_str(&self.body),
        }
        text
    }

    /// The header's text; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{}: {error}: {}", self.place(), self.body))
    }

    /// What was asked for was done.
    #[track_caller]
    pub fn accepted(&self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {}", self.place(), self.body);
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// A page, as HTML.
    #[track_caller]
    pub fn page(&self) -> &str {
        assert_eq!(self.status, 200, "{}: {}", self.place(), self.body);
        assert!(self.header("content-type").starts_with("text/html"), "{}", self.place());
        &self.body
    }

    /// What was asked for was refused with this status and code, in the one form that problems have.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}: {}", self.place(), self.body);
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.place());
        let problem = self.json();
        assert_eq!(problem["code"], code, "{}: {problem}", self.place());
        assert_eq!(problem["type"], format!("urn:counterfoil:problem:{code}"));
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request_id"], self.header("x-request-id"), "{}", self.place());
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.len() > 20 && detail.ends_with(['.', ')']), "a sentence that helps: {detail}");
        assert_eq!(self.header("cache-control"), "no-store");
        let may_come_back = matches!(status, 429 | 503);
        assert_eq!(!self.header("retry-after").is_empty(), may_come_back, "{}: Retry-After", self.place());
        problem
    }
}
