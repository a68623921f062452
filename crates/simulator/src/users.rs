//! Users: people who sign up, click twice, abandon, pay late, change their minds, and remember what they were told.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::history::Answer;
use crate::replicas::Replicas;
use crate::world::World;

/// What is for sale.
pub(crate) const PLANS: [&str; 3] = ["starter", "professional", "enterprise"];

/// Where everybody has a mailbox, and the same in letters.
const DOMAIN: &str = "xn--bcher-kva.example";
const DOMAIN_IN_UNICODE: &str = "bücher.example";

/// How often a user who was told "later" tries the same again at once.
const TRIES: usize = 3;

/// One person with a browser.
pub struct User {
    pub number: usize,
    pub email: String,
    /// The passwords that may hold: more than one after a change whose answer never came.
    pub passwords: Vec<String>,
    /// Whether a try before the last answer was told 503: it may have been done, since a commit can lose its answer.
    pub(crate) in_doubt: bool,
    pub token: Option<String>,
    pub customer_id: Option<String>,
    /// Whether the account was certainly deleted, or may have been.
    pub deletion: Deletion,
    pub(crate) licenses: Vec<String>,
    pub(crate) urls: Vec<String>,
    /// What stood in a link that has worked.
    pub(crate) used_link: Option<String>,
    pub(crate) dice: Dice,
    pub(crate) world: Arc<World>,
    replicas: Arc<Replicas>,
}

/// The address of the user of this number.
pub fn address_of(number: usize) -> String {
    format!("user{number}.canary@mail{number}.{DOMAIN}")
}

/// The same address as people write it who have letters of their own.
pub fn unicode_of(address: &str) -> String {
    address.replace(DOMAIN, DOMAIN_IN_UNICODE)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    No,
    Perhaps,
    Yes,
}

impl User {
    pub fn new(seed: u64, number: usize, world: &Arc<World>, replicas: &Arc<Replicas>) -> Self {
        Self {
            number,
            email: address_of(number),
            passwords: vec![format!("canary password of user {number}")],
            in_doubt: false,
            token: None,
            customer_id: None,
            deletion: Deletion::No,
            licenses: Vec::new(),
            urls: Vec::new(),
            used_link: None,
            dice: Dice::new(seed, &format!("user {number}")),
            world: Arc::clone(world),
            replicas: Arc::clone(replicas),
        }
    }

    /// A whole life.
    pub async fn live(mut self) -> Self {
        for _ in 0..self.world.swarm.deeds {
            let millis = self.dice.between(1, self.world.swarm.think_seconds * 1_000);
            tokio::time::sleep(Duration::from_millis(millis)).await;
            self.do_something().await;
        }
        if self.dice.percent(50) {
            self.bank_decides().await;
        }
        if self.dice.percent(70) {
            self.use_portal().await;
        }
        self
    }

    async fn do_something(&mut self) {
        if self.deletion == Deletion::Yes {
            self.look_back().await;
        } else if self.customer_id.is_none() {
            self.sign_up().await;
        } else if self.token.is_none() {
            self.log_in().await;
        } else {
            self.use_account().await;
        }
    }

    async fn use_account(&mut self) {
        match self.dice.between(0, 109) {
            0..=1 => self.trespass().await,
            2..=24 => self.check_out().await,
            25..=41 => self.pay().await,
            42..=43 => self.turn_back().await,
            44..=46 => self.use_portal().await,
            47..=54 => {
                let wish = self.other_plan();
                drop(self.post("/api/subscriptions/change", &wish).await);
            }
            55..=59 => drop(self.post("/api/subscriptions/cancel", &Value::Null).await),
            60..=64 => drop(self.post("/api/subscriptions/resume", &Value::Null).await),
            65..=70 => self.read_license().await,
            71..=76 => self.refresh().await,
            77..=80 => drop(self.get("/api/subscriptions/current").await),
            81..=83 => drop(self.get("/api/licenses").await),
            84..=86 => drop(self.get("/api/customers/me").await),
            87..=88 => self.change_password().await,
            89 => self.reset_password().await,
            90 => drop(self.post("/api/customers/password/forgot", &json!({ "email": self.email })).await),
            91..=92 => self.sign_up_again().await,
            93 => self.log_out().await,
            94 => self.someone_in_the_office().await,
            95..=96 => self.replace_card().await,
            97 => self.delete().await,
            98..=99 => self.log_in().await,
            _ => self.try_what_is_refused().await,
        }
    }

    pub(crate) fn other_plan(&mut self) -> Value {
        let plan = PLANS[self.dice.index(PLANS.len())];
        let interval = ["month", "month", "year"][self.dice.index(3)];
        json!({ "plan": plan, "interval": interval })
    }

    async fn sign_up(&mut self) {
        let body = json!({ "email": self.email, "password": self.passwords[0], "company_name": format!("Canary {}", self.number) });
        let answer = if self.dice.percent(15) {
            // Two clicks on one button.
            let (first, second) = tokio::join!(
                self.send("POST", "/api/customers/signup", Some(&body)),
                self.send("POST", "/api/customers/signup", Some(&body)),
            );
            first.filter(Answer::is_good).or(second)
        } else {
            self.post("/api/customers/signup", &body).await
        };
        match answer {
            Some(answer) if answer.is_good() => self.keep(&answer),
            // The answer to an earlier try was lost: the account is there.
            Some(answer) if answer.status == 409 => self.log_in().await,
            _ => {}
        }
    }

    /// The same mailbox in other letters: never a second account.
    async fn sign_up_again(&mut self) {
        let body = json!({ "email": self.email.to_uppercase(), "password": "another password of mine" });
        drop(self.post("/api/customers/signup", &body).await);
    }

    pub async fn log_in(&mut self) {
        let password = self.password();
        let answer = self.post("/api/customers/login", &json!({ "email": self.email, "password": password })).await;
        if let Some(answer) = answer.filter(Answer::is_good) {
            self.passwords = vec![password];
            self.keep(&answer);
        }
    }

    pub(crate) fn keep(&mut self, answer: &Answer) {
        let told = answer.json();
        self.token = told["token"].as_str().map(str::to_owned);
        self.customer_id = told["customer"]["customer_id"].as_str().map(str::to_owned);
        self.licenses.extend(told["license"]["token"].as_str().map(str::to_owned));
        if let Some(id) = &self.customer_id {
            self.world.history().ids.insert(self.number, id.clone());
        }
    }

    async fn log_out(&mut self) {
        if self.post("/api/customers/logout", &Value::Null).await.is_some_and(|answer| answer.is_good()) {
            self.token = None;
        }
    }

    async fn read_license(&mut self) {
        let answer = self.get("/api/licenses/current").await.filter(Answer::is_good);
        self.licenses.extend(answer.and_then(|answer| answer.json()["token"].as_str().map(str::to_owned)));
    }

    async fn refresh(&mut self) {
        let Some(token) = self.licenses.last().cloned() else { return };
        let answer = self.send("POST", "/api/licenses/refresh", Some(&json!({ "token": token }))).await;
        let newer =
            answer.filter(Answer::is_good).and_then(|answer| answer.json()["token"].as_str().map(str::to_owned));
        self.licenses.extend(newer);
    }

    async fn delete(&mut self) {
        let body = json!({ "current_password": self.password(), "end_subscription": true });
        match self.post("/api/customers/me/delete", &body).await {
            Some(answer) if answer.is_good() => self.deletion = Deletion::Yes,
            Some(answer) if answer.status < 500 && !self.in_doubt => {}
            _ => self.deletion = Deletion::Perhaps,
        }
    }

    /// Somebody who has left tries the old licence and the old payment page.
    async fn look_back(&mut self) {
        match self.dice.between(0, 9) {
            0..=3 => self.refresh().await,
            4..=6 => self.pay().await,
            _ => {
                // Somebody who comes back is welcome, and has had a trial.
                self.token = None;
                self.passwords.truncate(1);
                let body = json!({ "email": self.email, "password": self.passwords[0] });
                let answer = self.post("/api/customers/signup", &body).await;
                match answer {
                    Some(answer) if answer.is_good() => {
                        self.deletion = Deletion::No;
                        self.keep(&answer);
                    }
                    Some(answer) if answer.status < 500 && answer.status != 409 => {}
                    // The answer was lost, or that to an earlier try was: the new account may be there.
                    _ => self.deletion = Deletion::Perhaps,
                }
            }
        }
    }

    pub async fn get(&self, path: &str) -> Option<Answer> {
        self.send("GET", path, None).await
    }

    pub async fn post(&mut self, path: &str, body: &Value) -> Option<Answer> {
        self.in_doubt = false;
        for _ in 0..TRIES {
            let answer = self.send("POST", path, Some(body)).await;
            if answer.as_ref().is_none_or(|answer| answer.status != 503) {
                return answer;
            }
            self.in_doubt = true;
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        self.send("POST", path, Some(body)).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Answer> {
        let json = body.filter(|body| !body.is_null()).map(Value::to_string);
        self.ask(self.request(method, path, json)).await
    }

    /// A request in this session, where there is one.
    pub(crate) fn request(&self, method: &str, path: &str, body: Option<String>) -> Request<Body> {
        let mut request = Request::builder().method(method).uri(path).header("host", "billing.example");
        if let Some(token) = &self.token {
            request = match path.starts_with("/api/") {
                true => request.header("authorization", format!("Bearer {token}")),
                false => request.header("cookie", format!("cf_session={token}")),
            };
        }
        let body = match body {
            None => Body::empty(),
            Some(json) => {
                request = request.header("content-type", "application/json");
                Body::from(json)
            }
        };
        request.body(body).expect("our requests are well formed")
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Option<Answer> {
        self.world.count("requests");
        let (number, call) = (self.number, format!("{} {}", request.method(), request.uri()));
        let told = self.replicas.request(request).await;
        let Some((status, headers, body)) = told else {
            self.world.tell(format_args!("user {number}: {call} -> no answer"));
            self.world.count("requests without an answer");
            return None;
        };
        self.world.tell(format_args!("user {number}: {call} -> {status} {}", code_of(&body)));
        let answer = Answer { at: self.world.elapsed().as_secs_f64(), user: number, call, status, headers, body };
        self.world.history().answers.push(answer.clone());
        Some(answer)
    }
}

/// The stable code of a problem, for the story.
fn code_of(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    body["code"].as_str().unwrap_or_default().to_owned()
}
