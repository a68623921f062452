//! What happens at Stripe itself, past our service: in the customer's portal there, and in the vendor's office.

use std::time::Duration;

use counterfoil_stripe_sandbox::simulation::Truth;
use serde_json::{Value, json};

use crate::users::{PLANS, User};

impl User {
    /// Their customer at Stripe, if there is one.
    fn counterpart(&self) -> Option<String> {
        let id = self.customer_id.as_deref()?;
        let truth = self.world.sandbox().truth(Truth::Customers);
        let mine = truth.iter().find(|value| value["metadata"]["customer_id"] == id && value["_deleted"] != true)?;
        mine["id"].as_str().map(str::to_owned)
    }

    /// Somebody in the vendor's office does something about this customer.
    pub(crate) async fn someone_in_the_office(&mut self) {
        match self.dice.index(5) {
            0 => self.delete_counterpart().await,
            1 => self.bank_decides().await,
            _ => self.money_back().await,
        }
    }

    /// They tidy up at Stripe: its customer is deleted, and every subscription with it.
    async fn delete_counterpart(&mut self) {
        let Some(customer) = self.counterpart() else { return };
        let answer = self.world.ask_sandbox("DELETE", &format!("/v1/customers/{customer}"), None, "").await;
        self.world
            .tell(format_args!("the vendor deletes user {}'s customer at Stripe -> {}", self.number, answer.status));
        self.world.count("customers deleted at Stripe");
    }

    /// The newest object of a list at Stripe.
    async fn newest(&self, list: &str) -> Option<Value> {
        let answer = self.world.ask_sandbox("GET", &format!("{list}&limit=1"), None, "").await;
        let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        told["data"].get(0).cloned()
    }

    async fn newest_charge(&self) -> Option<Value> {
        let customer = self.counterpart()?;
        self.newest(&format!("/v1/charges?customer={customer}")).await
    }

    /// The money of a charge goes back, or may.
    async fn contest(&self, charge: &Value) {
        let intent = charge["payment_intent"].as_str().unwrap_or_default();
        let list = format!("/v1/invoice_payments?payment[type]=payment_intent&payment[payment_intent]={intent}");
        let invoice = self.newest(&list).await.and_then(|paid| paid["invoice"].as_str().map(str::to_owned));
        self.world.history().contested.extend(invoice);
    }

    /// The bank says whose the money is that was disputed.
    pub(crate) async fn bank_decides(&mut self) {
        let Some(charge) = self.newest_charge().await else { return };
        let id = charge["id"].as_str().unwrap_or_default();
        let Some(dispute) = self.newest(&format!("/v1/disputes?charge={id}")).await else { return };
        let dispute = dispute["id"].as_str().unwrap_or_default();
        self.contest(&charge).await;
        let status = ["won", "lost"][self.dice.index(2)];
        let path = format!("/_sandbox/disputes/{dispute}/decide");
        let answer = self.world.ask_sandbox("POST", &path, None, &json!({ "status": status }).to_string()).await;
        self.world.tell(format_args!("the dispute of user {} is {status} -> {}", self.number, answer.status));
        self.world.count("disputes decided");
    }

    /// They give money back.
    async fn money_back(&mut self) {
        let Some(charge) = self.newest_charge().await else { return };
        let body = format!("charge={}", charge["id"].as_str().unwrap_or_default());
        let answer = self.world.ask_sandbox("POST", "/v1/refunds", None, &body).await;
        self.world.tell(format_args!("the vendor gives user {} money back -> {}", self.number, answer.status));
        self.world.count("refunds");
        if answer.status == 200 {
            self.contest(&charge).await;
        }
    }

    /// The card that pays renewals becomes one that does not, or the other way round.
    pub(crate) async fn replace_card(&mut self) {
        let Some(customer) = self.counterpart() else { return };
        let card = ["success", "declined"][self.dice.index(2)];
        let path = format!("/_sandbox/customers/{customer}/card");
        let answer = self.world.ask_sandbox("POST", &path, None, &json!({ "card": card }).to_string()).await;
        self.world.tell(format_args!("user {} has the card `{card}` now -> {}", self.number, answer.status));
    }

    /// Changes their mind in Stripe's portal, several times in a row: each click is an event, and the next one may come while we
    /// still look at what the one before has done.
    pub(crate) async fn use_portal(&mut self) {
        let Some(customer) = self.counterpart() else { return };
        let clicks = self.dice.between(1, 5);
        for _ in 0..clicks {
            let truth = self.world.sandbox().truth(Truth::Subscriptions);
            let is_mine = |value: &&Value| value["customer"] == customer.as_str() && value["status"] == "active";
            let Some(subscription) = truth.iter().find(is_mine) else { return };
            let id = subscription["id"].as_str().unwrap_or_default();
            let (method, body) = self.click(subscription);
            let answer = self.world.ask_sandbox(method, &format!("/v1/subscriptions/{id}"), None, &body).await;
            self.world.tell(format_args!("user {} in the portal: {method} {body} -> {}", self.number, answer.status));
            self.world.count("clicks in Stripe's portal");
            // As long as a look takes, or one whose answer is slow.
            let most = if self.dice.percent(30) { 15_000 } else { 2 * self.world.swarm.stripe_millis };
            let millis = self.dice.between(10, most);
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
    }

    fn click(&mut self, subscription: &Value) -> (&'static str, String) {
        match self.dice.between(0, 19) {
            0..=1 => ("DELETE", String::new()),
            2..=5 => ("POST", format!("cancel_at_period_end={}", self.dice.percent(50))),
            _ => {
                let item = subscription["items"]["data"][0]["id"].as_str().unwrap_or_default();
                let price = format!("price_{}_monthly", PLANS[self.dice.index(PLANS.len())]);
                ("POST", format!("items[0][id]={item}&items[0][price]={price}&proration_behavior=none"))
            }
        }
    }
}
