//! The way to Stripe, and everything that goes wrong on it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use counterfoil::points;
use counterfoil::simulation::{self, StripeAnswer, StripeCall};
use counterfoil_core::probe;

use crate::fault::{Edge, Here, Kind, kinds_of_call};
use crate::surroundings::doing;
use crate::world::{NEVER, World, get_on};

impl World {
    /// Holds the replica that runs, for longer than a lease lasts.
    async fn hold_current(&self) {
        let Some(life) = simulation::life() else { return };
        self.count("held with an answer in its hands");
        self.tell(format_args!("replica {} is held with an answer in its hands", life.replica));
        life.stop();
        let seconds = self.draw(|dice| dice.between(15, 90));
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            life.go_on();
        });
        // Here it stands until then.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    pub(crate) async fn call_stripe(self: Arc<Self>, call: StripeCall) -> Result<StripeAnswer, String> {
        let who = simulation::life().map_or(9, |life| life.replica);
        let swarm = &self.swarm;
        let way = self.draw(|dice| dice.between(1, swarm.stripe_millis)) * self.slowness().min(3);
        tokio::time::sleep(Duration::from_millis(way)).await;
        self.count("calls to Stripe");
        let path = call.target.split('?').next().unwrap_or_default();
        // What has a key is a POST; that of a DELETE only names the deed.
        let is_kept = call.method == "POST" && call.idempotency_key.is_some();
        let what = || format!("{}: {} {}", doing(), call.method, without_ids(path));
        let here = self.step(Edge::Stripe, kinds_of_call(is_kept), what);
        if self.is_outage() || self.befalls(here, Kind::Fail, swarm.stripe_refuses) {
            probe!("F38");
            self.count("Stripe refused the connection");
            return Err("connection refused".to_owned());
        }
        if self.strikes(swarm.stripe_times_out_before) {
            probe!("F40");
            self.count("Stripe timed out before the deed");
            tokio::time::sleep(NEVER).await;
        }
        if let Some(answer) = self.answer_instead(here, &call) {
            return Ok(answer);
        }
        if self.befalls(here, Kind::DieBefore, swarm.dies_at_stripe) {
            self.kill_current("died before a call to Stripe");
            std::future::pending::<()>().await;
        }
        let (sent, answered) = points_of(&call);
        sent.into_iter().for_each(points::passed);
        if call.method == "POST" && self.befalls(here, Kind::Store500, swarm.stripe_stores_error) {
            self.count("Stripe stored an error under the key");
            self.ask_sandbox("POST", "/_sandbox/faults", None, r#"{"store_error":{"times":1}}"#).await;
        }
        let target = self.in_small_pages(&call.target);
        let answer = self.ask_sandbox(&call.method, &target, call.idempotency_key.as_deref(), &call.body).await;
        get_on(|progress| &progress.calls);
        self.tell(format_args!("replica {who} calls Stripe: {} {path} -> {}", call.method, answer.status));
        self.history().note_look(self.elapsed().as_secs_f64(), &call.method, &call.target);
        if self.is_worst_moment(&call, &answer) {
            self.begin_outage(swarm.outage_hours);
            tokio::time::sleep(NEVER).await;
        }
        if self.befalls(here, Kind::DieAfter, swarm.dies_at_stripe) {
            self.kill_current("died after a call to Stripe");
            std::future::pending::<()>().await;
        }
        if self.strikes(swarm.stops_at_stripe) {
            self.hold_current().await;
        }
        if self.befalls(here, Kind::LoseAnswer, swarm.stripe_answer_lost) {
            self.count("Stripe's answer was lost");
            tokio::time::sleep(NEVER).await;
        }
        if self.strikes(swarm.stripe_slow) {
            probe!("F45");
            self.count("Stripe was slow");
            let slow = self.draw(|dice| dice.between(1_000, 19_000));
            tokio::time::sleep(Duration::from_millis(slow)).await;
        }
        answered.into_iter().for_each(points::passed);
        Ok(answer)
    }

    /// Stripe may answer with fewer than were asked for and say that there is more.
    fn in_small_pages(&self, target: &str) -> String {
        let is_short = ["/v1/subscriptions?", "/v1/customers?"].iter().any(|list| target.starts_with(list));
        if is_short && self.swarm.small_pages { target.replace("limit=100", "limit=1") } else { target.to_owned() }
    }

    /// Whether the outage that this world has begins now.
    fn is_worst_moment(&self, call: &StripeCall, answer: &StripeAnswer) -> bool {
        let made = call.method == "POST" && call.target == "/v1/customers" && answer.status == 200;
        let first = !self.is_healed() && self.outage_until.load(Ordering::SeqCst) == 0;
        made && first && self.swarm.outage_at_creation
    }

    /// An answer that Stripe gives without doing anything.
    fn answer_instead(&self, here: Here, call: &StripeCall) -> Option<StripeAnswer> {
        let swarm = &self.swarm;
        if self.is_key_refused() {
            self.count("Stripe refused our key");
            let body = r#"{"error":{"type":"invalid_request_error","message":"Invalid API Key provided"}}"#;
            return Some(refusal(401, body));
        }
        if here.is(Kind::Answer500) {
            self.count("Stripe broke");
            return Some(refusal(500, r#"{"error":{"type":"api_error","message":"An unknown error occurred"}}"#));
        }
        if self.befalls(here, Kind::Limit, swarm.stripe_limits) {
            self.count("Stripe limited the rate");
            return Some(refusal(
                429,
                r#"{"error":{"type":"invalid_request_error","code":"rate_limit","message":"slow"}}"#,
            ));
        }
        if self.befalls(here, Kind::Garbage, swarm.stripe_garbage) {
            self.count("something else answered for Stripe");
            let (status, body) =
                [(502, "<html>bad gateway</html>"), (503, ""), (200, "<html>hello</html>"), (200, "{\"id\": 7")]
                    [self.draw(|dice| dice.index(4))];
            return Some(refusal(status, body));
        }
        if call.idempotency_key.is_some() && self.befalls(here, Kind::KeyInUse, swarm.stripe_key_in_use) {
            self.count("the key was in use");
            let body = r#"{"error":{"type":"idempotency_error","code":"idempotency_key_in_use","message":"busy"}}"#;
            return Some(refusal(409, body));
        }
        None
    }
}

/// The points of a call to Stripe on the ways of a checkout and of a webhook: sent, and answered.
fn points_of(call: &StripeCall) -> (Option<&'static str>, Option<&'static str>) {
    match (call.method.as_str(), call.target.split('?').next().unwrap_or_default()) {
        ("POST", "/v1/customers") => (Some("C3"), Some("C4")),
        ("POST", "/v1/checkout/sessions") => (Some("C6"), Some("C7")),
        ("GET", "/v1/subscriptions") => (Some("W5"), None),
        _ => (None, None),
    }
}

fn refusal(status: u16, body: &str) -> StripeAnswer {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    StripeAnswer { status, headers, body: body.as_bytes().to_vec() }
}

/// A path in which Stripe's ids are left out.
fn without_ids(path: &str) -> String {
    path.split('/')
        .map(|part| if part.contains('_') && part.len() > 20 { "…" } else { part })
        .collect::<Vec<_>>()
        .join("/")
}
