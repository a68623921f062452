//! What nobody is to get through with: bad input, what is somebody else's, and what is forged. The answer is a refusal.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request};
use serde_json::json;

use crate::history::Answer;
use crate::users::{User, unicode_of};

/// More than any call takes.
const TOO_LARGE: usize = 70_000;

/// Where nobody may be sent after a payment.
const ELSEWHERE: [&str; 5] = [
    "https://shop.example.evil.example/back",
    "https://shop.example@evil.example/back",
    "//evil.example/back",
    "javascript:alert(1)",
    "http://shop.example/back",
];

/// What somebody hides in the name of a company.
const HIDDEN: [&str; 3] = ["Acme\r\nBcc: all@evil.example", "Acme \u{202e}elbaton", "Acme\u{0}"];

impl User {
    /// Tries something that is refused to everybody.
    pub(crate) async fn try_what_is_refused(&mut self) {
        match self.dice.index(11) {
            0 => self.say_too_much().await,
            1 => self.write_broken_json().await,
            2 => self.ask_for_a_gift().await,
            3 => self.be_sent_elsewhere().await,
            4 => self.hide_a_line().await,
            5 => self.follow_another_site().await,
            6 => self.forge_a_license().await,
            7 => self.use_a_link_again().await,
            8 => self.write_the_own_address_otherwise().await,
            9 => self.pretend_to_be_elsewhere().await,
            _ => self.ask_as_an_operator().await,
        }
    }

    /// Sends it, and says so where it was not refused. What the database or the provider cannot do now is refused as well.
    async fn is_refused(&self, what: &str, request: Request<Body>) {
        self.world.count("requests that have to be refused");
        if let Some(answer) = self.ask(request).await {
            self.must_be_refused(what, &answer);
        }
    }

    fn must_be_refused(&self, what: &str, answer: &Answer) {
        if !(400..500).contains(&answer.status) && answer.status != 503 {
            self.world.breach(format!("{what} of user {} was answered with {}", self.number, answer.status));
        }
    }

    fn json_of(&self, path: &str, text: String) -> Request<Body> {
        self.request("POST", path, Some(text))
    }

    async fn say_too_much(&self) {
        let body = json!({ "email": self.email, "password": "x".repeat(TOO_LARGE) }).to_string();
        self.is_refused("a body that is too large", self.json_of("/api/customers/login", body)).await;
    }

    async fn write_broken_json(&mut self) {
        let whole = json!({ "email": self.email, "password": self.passwords[0] }).to_string();
        let broken = match self.dice.index(4) {
            0 => whole[..whole.len() - 1].to_owned(),
            1 => format!("{whole}{whole}"),
            2 => "{\"a\":".repeat(9_000),
            _ => whole.replace("\"password\"", "\"email\":\"x@y.example\",\"password\""),
        };
        self.is_refused("broken JSON", self.json_of("/api/customers/login", broken)).await;
    }

    /// With a field that a call does not know.
    async fn ask_for_a_gift(&mut self) {
        let mut body = self.other_plan();
        let field = ["price", "trial_end", "stripe_customer_id", "is_admin"][self.dice.index(4)];
        body[field] = json!("0");
        let path = ["/api/subscriptions/checkout", "/api/subscriptions/change"][self.dice.index(2)];
        self.is_refused("a field that nobody knows", self.json_of(path, body.to_string())).await;
    }

    async fn be_sent_elsewhere(&mut self) {
        let mut body = self.other_plan();
        body["customer_id"] = json!(self.customer_id);
        body["success_url"] = json!(ELSEWHERE[self.dice.index(ELSEWHERE.len())]);
        body["cancel_url"] = json!("https://shop.example/back");
        let path = "/api/subscriptions/checkout";
        self.is_refused("a return to somebody else's page", self.json_of(path, body.to_string())).await;
    }

    async fn hide_a_line(&mut self) {
        let name = HIDDEN[self.dice.index(HIDDEN.len())];
        let email = format!("hidden.{}", self.email);
        let body = json!({ "email": email, "password": self.passwords[0], "company_name": name });
        self.is_refused("a hidden line", self.json_of("/api/customers/signup", body.to_string())).await;
    }

    /// A page of somebody else's sends a form in their name: the browser adds the cookie.
    async fn follow_another_site(&mut self) {
        let Some(token) = self.token.clone() else { return };
        let path = ["/api/subscriptions/cancel", "/api/customers/logout", "/logout"][self.dice.index(3)];
        let mut request = Request::builder().method("POST").uri(path).header("host", "billing.example");
        request = request.header("cookie", format!("cf_session={token}"));
        request = match self.dice.index(3) {
            0 => request.header("origin", "https://evil.example"),
            1 => request.header("sec-fetch-site", "cross-site"),
            // An old browser, which says nothing.
            _ => request,
        };
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(Body::from("a=b"));
        self.is_refused("another site's form", request.expect("our requests are well formed")).await;
    }

    /// Changes something in a licence, which is somebody's work of a minute.
    async fn forge_a_license(&mut self) {
        let Some(token) = self.licenses.last().cloned() else { return };
        let parts: Vec<&str> = token.split('.').collect();
        let [header, claims, signature] = parts[..] else { return };
        let forged = match self.dice.index(3) {
            // {"alg":"none"}
            0 => format!("eyJhbGciOiJub25lIn0.{claims}."),
            1 => format!("{header}.{claims}.{}", signature.chars().rev().collect::<String>()),
            _ => format!("{header}.{}.{signature}", claims.chars().rev().collect::<String>()),
        };
        let body = json!({ "token": forged });
        self.is_refused("a forged licence", self.json_of("/api/licenses/refresh", body.to_string())).await;
        let told = self.ask(self.json_of("/api/licenses/validate", body.to_string())).await;
        let is_believed = told.is_some_and(|told| told.json()["valid"] == true);
        if is_believed {
            self.world.breach(format!("a forged licence of user {} was called valid", self.number));
        }
    }

    /// A link that has worked, once more.
    async fn use_a_link_again(&mut self) {
        let Some(token) = self.used_link.clone() else { return };
        let body = json!({ "token": token, "new_password": "canary password of nobody" });
        self.is_refused("a used link", self.json_of("/api/customers/password/reset", body.to_string())).await;
    }

    /// The own address as people write it, for which there is an account.
    async fn write_the_own_address_otherwise(&mut self) {
        let body = json!({ "email": unicode_of(&self.email), "password": "another password of mine" });
        self.is_refused("a second account", self.json_of("/api/customers/signup", body.to_string())).await;
    }

    async fn ask_as_an_operator(&mut self) {
        let path = ["/api/admin/customers", "/api/admin/events", "/api/admin/keys"][self.dice.index(3)];
        if let Some(answer) = self.get(path).await {
            self.must_be_refused("an operator's call", &answer);
        }
    }

    /// Says of a log-in that it comes from another network, as only a proxy may.
    async fn pretend_to_be_elsewhere(&mut self) {
        let own = self.token.take();
        let body = json!({ "email": self.email, "password": self.password() });
        let mut request = self.json_of("/api/customers/login", body.to_string());
        request.headers_mut().insert("x-forwarded-for", HeaderValue::from_static("198.51.100.7"));
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([203, 0, 113, 9], 4_711))));
        let Some(answer) = self.ask(request).await.filter(Answer::is_good) else {
            self.token = own;
            return;
        };
        self.keep(&answer);
        let told = self.get("/api/customers/sessions").await.filter(Answer::is_good);
        if let Some(told) = told
            && (told.body.contains("198.51.100") || !told.body.contains("203.0.113"))
        {
            self.world
                .breach(format!("a session of user {} is said to have begun elsewhere: {}", self.number, told.body));
        }
    }
}
