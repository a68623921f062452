//! A sandbox on a free port, a merchant that calls it, and an endpoint that receives and verifies its webhooks.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use counterfoil_stripe_sandbox::{API_KEY, Sandbox, SandboxConfig, SeedPrice, SeedWebhook};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::redirect::Policy;
use serde_json::Value;
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const SECRET: &str = "whsec_test";
pub const DAY: i64 = 86_400;
const PATIENCE: Duration = Duration::from_secs(20);

/// Receives webhooks; answers 500 as often as it is told to.
#[derive(Clone, Default)]
pub struct Inbox {
    events: Arc<Mutex<Vec<Value>>>,
    refusals: Arc<Mutex<u32>>,
    arrived: Arc<Notify>,
}

impl Inbox {
    pub fn refuse_next(&self, times: u32) {
        *self.refusals.lock().unwrap() = times;
    }

    pub fn events(&self) -> Vec<Value> {
        self.events.lock().unwrap().clone()
    }

    pub fn of_type(&self, kind: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["type"] == kind).collect()
    }

    /// Waits until `count` events of the type have arrived.
    pub async fn wait_for(&self, kind: &str, count: usize) -> Vec<Value> {
        let waiting = async {
            loop {
                let arrived = self.arrived.notified();
                let found = self.of_type(kind);
                if found.len() >= count {
                    return found;
                }
                let _ = tokio::time::timeout(Duration::from_millis(50), arrived).await;
            }
        };
        let types = || self.events().iter().map(|event| event["type"].to_string()).collect::<Vec<_>>();
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(found) => found,
            Err(_) => panic!("no {count} × {kind} arrived; there are {:?}", types()),
        }
    }
}

async fn receive(State(inbox): State<Inbox>, headers: HeaderMap, body: Bytes) -> StatusCode {
    assert_eq!(headers["content-type"], "application/json; charset=utf-8");
    verify(headers["stripe-signature"].to_str().unwrap(), &body);
    {
        let mut refusals = inbox.refusals.lock().unwrap();
        if *refusals > 0 {
            *refusals -= 1;
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
    }
    inbox.events.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
    inbox.arrived.notify_waiters();
    StatusCode::OK
}

fn verify(header: &str, body: &[u8]) {
    let (timestamp, signature) = header.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{timestamp}.").as_bytes());
    mac.update(body);
    mac.verify_slice(&hex::decode(signature).unwrap()).expect("the signature is valid");
}

pub struct World {
    pub base: String,
    pub inbox: Inbox,
    inbox_url: String,
    http: reqwest::Client,
    shutdown: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    data: Option<PathBuf>,
}

pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    pub fn refused(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()["error"].clone()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with_data(None).await
    }

    pub async fn with_data(data: Option<PathBuf>) -> Self {
        let inbox = Inbox::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inbox_url = format!("http://{}/hooks", listener.local_addr().unwrap());
        let router = Router::new().route("/hooks", post(receive)).with_state(inbox.clone());
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(serve(listener, router, shutdown.clone()));
        let mut world =
            Self { base: String::new(), inbox, inbox_url, http: client(), shutdown, tasks: vec![served], data };
        world.start().await;
        world
    }

    async fn start(&mut self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.base = format!("http://{}", listener.local_addr().unwrap());
        let sandbox = Sandbox::open(SandboxConfig {
            public_url: self.base.clone(),
            api_key: API_KEY.into(),
            data: self.data.clone(),
            prices: vec![
                price("price_pro_monthly", "Professional", "month", 4_900),
                price("price_pro_yearly", "Professional", "year", 49_000),
                price("price_starter_monthly", "Starter", "month", 900),
            ],
            webhook: Some(SeedWebhook { url: self.inbox_url.clone(), secret: SECRET.into() }),
        })
        .expect("the sandbox opens");
        self.tasks.push(tokio::spawn(serve(listener, sandbox.router(), self.shutdown.clone())));
        let shutdown = self.shutdown.clone();
        self.tasks.push(tokio::spawn(async move { sandbox.run_deliveries(shutdown).await }));
    }

    /// Ends everything and begins again with the same file; the inbox moves too.
    pub async fn restart(mut self) -> Self {
        self.shutdown.cancel();
        for task in self.tasks.drain(..) {
            let _ = task.await;
        }
        Self::with_data(self.data.take()).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.http.get(format!("{}{path}", self.base)).bearer_auth(API_KEY)).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(self.http.delete(format!("{}{path}", self.base)).bearer_auth(API_KEY)).await
    }

    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Reply {
        self.send(self.request(path, form)).await
    }

    pub async fn post_with_key(&self, path: &str, form: &[(&str, &str)], key: &str) -> Reply {
        self.send(self.request(path, form).header("idempotency-key", key)).await
    }

    pub fn request(&self, path: &str, form: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.base);
        let body = reqwest::Url::parse_with_params("http://x/", form).unwrap().query().unwrap_or_default().to_owned();
        self.http.post(url).bearer_auth(API_KEY).header("content-type", "application/x-www-form-urlencoded").body(body)
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        let answer = request.send().await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Reply { status, headers, text: answer.text().await.expect("a whole answer") }
    }

    /// A control call; the body is JSON.
    pub async fn control(&self, path: &str, body: Value) -> Value {
        let request = self.http.post(format!("{}/_sandbox{path}", self.base)).body(body.to_string());
        self.send(request).await.ok()
    }

    pub async fn pass(&self, seconds: i64) {
        self.control("/clock", serde_json::json!({ "advance_seconds": seconds })).await;
    }

    pub async fn customer(&self) -> String {
        id(&self.post("/v1/customers", &[("email", "ada@example.com")]).await.ok())
    }

    pub async fn session(&self, customer: &str) -> Value {
        self.session_with(customer, &[]).await
    }

    pub async fn session_with(&self, customer: &str, more: &[(&str, &str)]) -> Value {
        let mut form = vec![
            ("mode", "subscription"),
            ("customer", customer),
            ("line_items[0][price]", "price_pro_monthly"),
            ("line_items[0][quantity]", "1"),
            ("success_url", "http://localhost:3000/success?s={CHECKOUT_SESSION_ID}"),
            ("cancel_url", "http://localhost:3000/cancel"),
            ("client_reference_id", "cust_1"),
            ("subscription_data[metadata][customer_id]", "cust_1"),
        ];
        form.extend_from_slice(more);
        self.post("/v1/checkout/sessions", &form).await.ok()
    }

    /// Posts the form of the hosted page.
    pub async fn pay(&self, session: &Value, card: &str) -> Reply {
        self.post(&format!("/c/pay/{}", id(session)), &[("card", card)]).await
    }

    /// A customer with a running monthly subscription: their ids.
    pub async fn subscriber(&self) -> (String, String) {
        let customer = self.customer().await;
        let session = self.session(&customer).await;
        assert_eq!(self.pay(&session, "success").await.status, 303);
        let session = self.get(&format!("/v1/checkout/sessions/{}", id(&session))).await.ok();
        (customer, session["subscription"].as_str().unwrap().to_owned())
    }

    pub async fn subscription(&self, id: &str) -> Value {
        self.get(&format!("/v1/subscriptions/{id}?expand[]=latest_invoice")).await.ok()
    }
}

async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await.unwrap();
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // No idle connections, so that a server can drain when a test restarts it.
    reqwest::Client::builder().redirect(Policy::none()).no_proxy().pool_max_idle_per_host(0).build().unwrap()
}

fn price(id: &str, product: &str, interval: &str, amount: i64) -> SeedPrice {
    SeedPrice {
        price_id: id.into(),
        product_name: product.into(),
        description: format!("The {product} plan"),
        interval: interval.into(),
        currency: "usd".into(),
        amount,
        product_key: product.to_lowercase(),
    }
}

pub fn id(value: &Value) -> String {
    value["id"].as_str().unwrap_or_else(|| panic!("no id in {value}")).to_owned()
}
