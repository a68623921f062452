//! The fixed course: one customer does what customers do, one deed after the other, and tries again what was not answered.

use std::time::Duration;

use serde_json::{Value, json};

use crate::history::Answer;
use crate::run::ISSUER;
use crate::users::User;

/// How often somebody tries who wants it done, and how long they wait in between: twenty minutes, because a key under which Stripe has
/// stored an error of its own is waited out for ten.
const TRIES: usize = 240;
const AGAIN: Duration = Duration::from_secs(5);

/// As long as webhooks, looks and mails take.
const MEANWHILE: Duration = Duration::from_secs(15);

/// By then a sweep has run.
const SWEPT: Duration = Duration::from_secs(100);

impl User {
    pub(crate) async fn live_as_most_do(mut self) -> Self {
        self.open_account().await;
        self.buy("professional").await;
        tokio::time::sleep(MEANWHILE).await;
        self.insist("GET", "/api/licenses/current", &Value::Null, Answer::is_good).await;
        self.insist("POST", "/api/customers/logout", &Value::Null, |answer| answer.is_good() || answer.status == 401)
            .await;
        self.come_in().await;
        let wish = json!({ "plan": "enterprise", "interval": "month" });
        self.insist("POST", "/api/subscriptions/change", &wish, is_done).await;
        tokio::time::sleep(MEANWHILE).await;
        self.insist("POST", "/api/subscriptions/cancel", &Value::Null, is_done).await;
        tokio::time::sleep(SWEPT).await;
        self
    }

    /// Tries until it is done.
    async fn insist(&self, method: &str, path: &str, body: &Value, is_done: fn(&Answer) -> bool) -> Option<Answer> {
        for _ in 0..TRIES {
            if let Some(answer) = self.send(method, path, Some(body)).await.filter(is_done) {
                return Some(answer);
            }
            tokio::time::sleep(AGAIN).await;
        }
        self.world
            .breach(format!("one thing went wrong, and user {} could not {method} {path} for minutes", self.number));
        None
    }

    async fn open_account(&mut self) {
        let body = json!({ "email": self.email, "password": self.passwords[0], "company_name": format!("Canary {}", self.number) });
        let path = "/api/customers/signup";
        match self.insist("POST", path, &body, |answer| answer.is_good() || answer.status == 409).await {
            Some(answer) if answer.is_good() => self.keep(&answer),
            // The answer to an earlier try was lost: the account is there.
            _ => self.come_in().await,
        }
    }

    async fn come_in(&mut self) {
        self.token = None;
        let body = json!({ "email": self.email, "password": self.passwords[0] });
        if let Some(answer) = self.insist("POST", "/api/customers/login", &body, Answer::is_good).await {
            self.keep(&answer);
        }
    }

    /// Goes to the payment page, pays, and comes back.
    async fn buy(&mut self, plan: &str) {
        let back = format!("{ISSUER}/checkout/return?attempt={{ATTEMPT_ID}}");
        let wish = json!({
            "plan": plan, "interval": "month", "customer_id": self.customer_id, "success_url": back, "cancel_url": back,
        });
        let Some(answer) = self.insist("POST", "/api/subscriptions/checkout", &wish, Answer::is_good).await else {
            return;
        };
        let url = answer.json()["checkout_url"].as_str().unwrap_or_default().to_owned();
        let page = url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
        let paid = self.world.ask_sandbox("POST", &page, None, "card=success").await;
        self.world.tell(format_args!("user {} pays -> {}", self.number, paid.status));
        let back = paid.headers.iter().find(|(name, _)| name == "location").map(|(_, value)| value.clone());
        if let Some(path) = back.and_then(|address| address.strip_prefix(ISSUER).map(str::to_owned)) {
            self.insist("GET", &path, &Value::Null, Answer::is_good).await;
        }
    }
}

/// Whether it is done, or was by an earlier try of which nobody heard.
fn is_done(answer: &Answer) -> bool {
    answer.is_good() || answer.json()["code"] == "same_plan"
}
