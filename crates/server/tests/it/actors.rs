//! Who acts in a test: a visitor of our service, and the sandbox in the provider's role.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Http, form, plain_client};
use crate::world::World;

pub const SUCCESS_URL: &str = "http://localhost:3000/success";
pub const CANCEL_URL: &str = "http://localhost:3000/cancel";

/// Somebody with an address and a password; after signing up a customer.
#[derive(Clone)]
pub struct Visitor {
    pub http: Http,
    pub email: String,
    pub password: String,
    /// Empty until signed up.
    pub customer_id: String,
    /// The newest licence that this visitor has been handed.
    pub license: String,
}

impl Visitor {
    pub fn new(http: &Http, email: &str, password: &str) -> Self {
        http.tap().guard_secret(password);
        Self {
            http: http.for_reader(email),
            email: email.to_owned(),
            password: password.to_owned(),
            customer_id: String::new(),
            license: String::new(),
        }
    }

    pub async fn sign_up(&mut self) -> Answer {
        let body = json!({ "email": self.email, "password": self.password, "company_name": "Test Corp" });
        // The answer shows the token, which its owner may see; it becomes known by it, so it is read before it is guarded.
        let answer = self.http.post("/api/customers/signup", &body).await;
        self.keep(&answer);
        answer
    }

    pub async fn log_in(&mut self) -> Answer {
        let body = json!({ "email": self.email, "password": self.password });
        let answer = self.http.post("/api/customers/login", &body).await;
        self.keep(&answer);
        answer
    }

    fn keep(&mut self, answer: &Answer) {
        if !(200..300).contains(&answer.status) {
            return;
        }
        let told = answer.json();
        let token = told["token"].as_str().expect("a session token").to_owned();
        self.http.tap().guard_token(&token, &self.email);
        self.http.set_token(Some(token));
        self.customer_id = told["customer"]["customer_id"].as_str().expect("a customer id").to_owned();
        if let Some(license) = told["license"]["token"].as_str() {
            self.license = license.to_owned();
        }
    }

    pub async fn log_out(&self) -> Answer {
        self.http.post("/api/customers/logout", &Value::Null).await
    }

    /// What to send to check out this plan.
    pub fn wish(&self, plan: &str) -> Value {
        json!({
            "customer_id": self.customer_id, "plan": plan, "success_url": SUCCESS_URL, "cancel_url": CANCEL_URL,
        })
    }

    pub async fn checkout(&self, plan: &str) -> Answer {
        self.checkout_with(&self.wish(plan)).await
    }

    pub async fn checkout_with(&self, wish: &Value) -> Answer {
        self.http.post("/api/subscriptions/checkout", wish).await
    }

    /// A checkout that is accepted; answers where to pay.
    pub async fn checkout_url(&self, plan: &str) -> String {
        let answer = self.checkout(plan).await.accepted();
        answer["checkout_url"].as_str().expect("a checkout_url").to_owned()
    }

    /// Checks out and pays. The webhooks are on their way then.
    pub async fn buy(&self, world: &World, plan: &str) {
        let url = self.checkout_url(plan).await;
        world.sandbox().pay(&url, "success").await;
    }

    /// Checks out, pays, and waits until the webhooks have done their work.
    pub async fn subscribe(&mut self, world: &World, plan: &str) {
        self.buy(world, plan).await;
        world.settled().await;
        let license = self.current_license().await.accepted();
        assert_eq!(license["plan"], plan, "{license}");
        self.license = license["token"].as_str().expect("a licence").to_owned();
    }

    pub async fn me(&self) -> Answer {
        self.http.get("/api/customers/me").await
    }

    /// The subscription as its customer sees it.
    pub async fn subscription(&self) -> Value {
        self.http.get("/api/subscriptions/current").await.accepted()
    }

    pub async fn current_license(&self) -> Answer {
        self.http.get("/api/licenses/current").await
    }

    /// All versions, newest first.
    pub async fn licenses(&self) -> Vec<Value> {
        let answer = self.http.get("/api/licenses").await.accepted();
        answer["licenses"].as_array().expect("a list").clone()
    }

    pub async fn validate(&self, token: &str) -> Value {
        self.http.post("/api/licenses/validate", &json!({ "token": token })).await.accepted()
    }

    pub async fn refresh(&self, token: &str) -> Answer {
        self.http.post("/api/licenses/refresh", &json!({ "token": token })).await
    }
}

/// The sandbox: Stripe's API as its owner sees it, and what moves it.
#[derive(Clone)]
pub struct Sandbox {
    client: reqwest::Client,
    base: String,
}

impl Sandbox {
    pub fn at(base: &str) -> Self {
        Self { client: plain_client(), base: base.to_owned() }
    }

    async fn call(&self, method: Method, path: &str, body: Option<(&str, String)>) -> Value {
        let (status, answer) = self.try_call(method, path, None, body).await;
        assert!((200..300).contains(&status), "the sandbox refuses {path}: {answer}");
        answer
    }

    async fn try_call(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<(&str, String)>,
    ) -> (u16, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        request = request.bearer_auth(counterfoil_stripe_sandbox::API_KEY);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if let Some((content_type, body)) = body {
            request = request.header("content-type", content_type).body(body);
        }
        let response = request.send().await.expect("the sandbox answers");
        let status = response.status().as_u16();
        (status, response.json().await.expect("the sandbox answers JSON"))
    }

    pub async fn get(&self, path: &str) -> Value {
        self.call(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, pairs: &[(&str, &str)]) -> Value {
        self.call(Method::POST, path, Some(("application/x-www-form-urlencoded", form(pairs)))).await
    }

    /// A call under an idempotency key.
    pub async fn post_with_key(&self, path: &str, key: &str, pairs: &[(&str, &str)]) -> Value {
        let body = Some(("application/x-www-form-urlencoded", form(pairs)));
        let (status, answer) = self.try_call(Method::POST, path, Some(key), body).await;
        assert!((200..300).contains(&status), "the sandbox refuses {path}: {answer}");
        answer
    }

    pub async fn delete(&self, path: &str) -> Value {
        self.call(Method::DELETE, path, None).await
    }

    /// The first hundred objects of a list, newest first.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let page = self.get(&format!("{path}{separator}limit=100")).await;
        assert_eq!(page["has_more"], false, "a test looks at one page of {path}");
        page["data"].as_array().expect("a list").clone()
    }

    pub async fn customers(&self) -> Vec<Value> {
        self.list("/v1/customers").await
    }

    pub async fn open_sessions(&self) -> Vec<Value> {
        self.list("/v1/checkout/sessions?status=open").await
    }

    /// The newest event of this type.
    pub async fn newest_event(&self, kind: &str) -> Value {
        let page = self.get(&format!("/v1/events?type={kind}&limit=1")).await;
        let event = page["data"][0].clone();
        assert!(event.is_object(), "there was no {kind}");
        event
    }

    async fn control(&self, method: Method, path: &str, body: &Value) -> Value {
        self.call(method, path, Some(("application/json", body.to_string()))).await
    }

    /// Switches faults on; those that are on and not named stay.
    pub async fn faults(&self, faults: Value) {
        self.control(Method::POST, "/_sandbox/faults", &faults).await;
    }

    pub async fn clear_faults(&self) {
        self.control(Method::DELETE, "/_sandbox/faults", &Value::Null).await;
    }

    /// From now on no webhook arrives.
    pub async fn drop_webhooks(&self) {
        self.faults(json!({ "webhooks": { "drop": 1_000_000 } })).await;
    }

    /// Lets the clock that the sandbox and our server share run forward.
    pub async fn advance(&self, seconds: i64) {
        self.control(Method::POST, "/_sandbox/clock", &json!({ "advance_seconds": seconds })).await;
    }

    /// The sandbox's time.
    pub async fn now(&self) -> i64 {
        self.get("/_sandbox/clock").await["now"].as_i64().expect("a time")
    }

    /// Gives the customer another card for what is charged later.
    pub async fn replace_card(&self, customer: &str, card: &str) {
        let path = format!("/_sandbox/customers/{customer}/card");
        self.control(Method::POST, &path, &json!({ "card": card })).await;
    }

    /// The bank's decision: `won` or `lost`.
    pub async fn decide_dispute(&self, dispute: &str, status: &str) {
        let path = format!("/_sandbox/disputes/{dispute}/decide");
        self.control(Method::POST, &path, &json!({ "status": status })).await;
    }

    /// Calls since the last reset, by `METHOD path`.
    pub async fn calls(&self) -> BTreeMap<String, u64> {
        let report = self.get("/_sandbox/calls").await;
        serde_json::from_value(report["counts"].clone()).expect("counts")
    }

    pub async fn reset_calls(&self) {
        self.control(Method::POST, "/_sandbox/calls/reset", &Value::Null).await;
    }

    /// Pays on the hosted page; answers where the browser is sent.
    pub async fn pay(&self, url: &str, card: &str) -> String {
        let (status, location) = self.try_pay(url, card).await;
        assert_eq!(status, 303, "the payment page takes the card");
        location
    }

    /// Tries to pay; answers the page's status, and where the browser is sent.
    pub async fn try_pay(&self, url: &str, card: &str) -> (u16, String) {
        let request = self.client.post(url).header("content-type", "application/x-www-form-urlencoded");
        let response = request.body(form(&[("card", card)])).send().await.expect("the payment page answers");
        let location = response.headers().get("location").and_then(|value| value.to_str().ok()).unwrap_or_default();
        (response.status().as_u16(), location.to_owned())
    }

    /// Waits until every webhook was taken or given up.
    pub async fn delivered(&self) {
        for _ in 0..600 {
            let waiting = self.get("/v1/events?delivery_success=false&limit=1").await;
            if waiting["data"].as_array().is_some_and(Vec::is_empty) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("webhooks are still under way");
    }
}
