//! Users at the checkout: they pay, late or twice or never, and come back to the vendor's page or to ours.

use std::time::Duration;

use counterfoil_stripe_sandbox::simulation::Truth;
use serde_json::{Value, json};

use crate::history::Answer;
use crate::run::ISSUER;
use crate::users::User;

const THEIR_PAGE: &str = "https://shop.example/back";

impl User {
    fn wish(&mut self, customer_id: Option<&str>) -> Value {
        let mut wish = self.other_plan();
        wish["customer_id"] = json!(customer_id);
        let (success, cancel) = if self.dice.percent(50) {
            // The page that looks by itself.
            let ours = format!("{ISSUER}/checkout/return?attempt={{ATTEMPT_ID}}");
            (ours.clone(), format!("{ours}&canceled=1"))
        } else {
            (THEIR_PAGE.to_owned(), THEIR_PAGE.to_owned())
        };
        (wish["success_url"], wish["cancel_url"]) = (json!(success), json!(cancel));
        wish
    }

    /// Tries the checkout of somebody whose id stood in a ticket.
    pub(crate) async fn trespass(&mut self) {
        let known = self.world.history().ids.clone();
        let others: Vec<&String> = known.iter().filter(|(user, _)| **user != self.number).map(|(_, id)| id).collect();
        if others.is_empty() {
            return;
        }
        let id = others[self.dice.index(others.len())].clone();
        let wish = self.wish(Some(&id));
        if let Some(answer) = self.post("/api/subscriptions/checkout", &wish).await {
            self.world.history().trespasses.push((self.number, id, answer.status));
        }
    }

    pub(crate) async fn check_out(&mut self) {
        let own = self.customer_id.clone();
        let wish = self.wish(own.as_deref());
        let path = "/api/subscriptions/checkout";
        let (first, second) = if self.dice.percent(30) {
            tokio::join!(self.send("POST", path, Some(&wish)), self.send("POST", path, Some(&wish)))
        } else {
            (self.post(path, &wish).await, None)
        };
        for answer in [first, second].into_iter().flatten().filter(Answer::is_good) {
            let url = answer.json()["checkout_url"].as_str().unwrap_or_default().to_owned();
            let path = url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
            self.urls.push(path);
        }
    }

    /// Pays on one of the pages that were ever opened: mostly the newest, at times one from an old tab.
    pub(crate) async fn pay(&mut self) {
        let Some(newest) = self.urls.len().checked_sub(1) else { return };
        let which = if self.dice.percent(25) { self.dice.index(newest + 1) } else { newest };
        let mut card = ["success", "success", "success", "declined", "later", "never"][self.dice.index(6)];
        if card == "success" && self.dice.percent(8) {
            // The card's holder knows nothing of it.
            card = "disputed";
        }
        let answer = self.world.ask_sandbox("POST", &self.urls[which].clone(), None, &format!("card={card}")).await;
        self.world.tell(format_args!("user {} pays with the card `{card}` -> {}", self.number, answer.status));
        self.world.count("payments tried");
        if card == "disputed" && answer.status == 303 {
            self.world.count("payments disputed");
            let paid = self.world.sandbox().truth(Truth::Sessions).into_iter();
            let mut paid =
                paid.filter(|session| session["id"].as_str().is_some_and(|id| self.urls[which].contains(id)));
            let invoice = paid.find_map(|session| session["invoice"].as_str().map(str::to_owned));
            self.world.history().contested.extend(invoice);
        }
        let back = answer.headers.iter().find(|(name, _)| name == "location").map(|(_, value)| value.clone());
        self.come_back(back).await;
    }

    /// Mostly at once, at times long afterwards, and some close the window.
    async fn come_back(&mut self, back: Option<String>) {
        let ours = back.and_then(|address| address.strip_prefix(ISSUER).map(str::to_owned));
        let Some(path) = ours.filter(|_| self.dice.percent(90)) else { return };
        let most = if self.dice.percent(20) { 120_000 } else { 3_000 };
        let millis = self.dice.between(100, most);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        self.get(&path).await;
        self.world.count("returns to our page");
    }

    /// Gives up on the newest payment page: the link there leads back.
    pub(crate) async fn turn_back(&mut self) {
        let Some(newest) = self.urls.last().cloned() else { return };
        let sessions = self.world.sandbox().truth(Truth::Sessions);
        let is_it = |session: &&Value| session["id"].as_str().is_some_and(|id| newest.contains(id));
        let back = sessions.iter().find(is_it).and_then(|session| session["cancel_url"].as_str().map(str::to_owned));
        self.come_back(back).await;
    }
}
