//! Signed events, each its own: one for each customer, as Stripe sends it after a first payment.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;

use crate::load::Requests;
use crate::people::{self, TAIL, Template};
use crate::shapes;

/// Where Stripe sends them.
pub const PATH: &str = "/api/webhooks/stripe";

/// Events for the customers from `first` on, signed as they are sent.
pub struct Events {
    template: Template,
    secret: String,
    timestamp: String,
    first: u64,
}

impl Events {
    /// `instance` is the installation whose metadata the events carry; `now` is when they are signed, in Unix seconds.
    pub fn new(secret: &str, instance: &str, now: i64, first: u64) -> Self {
        let event = json!({
            "id": format!("evt_{TAIL}"), "object": "event", "api_version": "2026-05-27.dahlia", "created": now,
            "data": { "object": shapes::subscription(now, Some(instance)) }, "livemode": false, "pending_webhooks": 1,
            "request": { "id": null, "idempotency_key": null }, "type": "customer.subscription.created",
        });
        Self {
            template: Template::new(&event.to_string()),
            secret: secret.to_owned(),
            timestamp: now.to_string(),
            first,
        }
    }

    /// The body of the event about customer `number`.
    pub fn body(&self, number: u64) -> String {
        self.template.text(&people::tail(number))
    }

    fn signature(&self, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(self.timestamp.as_bytes());
        mac.update(b".");
        mac.update(body.as_bytes());
        let mut header = format!("t={},v1=", self.timestamp);
        let _ = write!(header, "{}", hex::encode(mac.finalize().into_bytes()));
        header
    }
}

impl Requests for Events {
    fn write(&self, index: u64, out: &mut Vec<u8>) {
        let body = self.body(self.first + index);
        let signature = self.signature(&body);
        people::http_request("POST", PATH, &[("stripe-signature", &signature)], &body, out);
    }

    fn accepts(&self, _index: u64, status: u16, body: &[u8]) -> bool {
        status == 200 && body == br#"{"received":true}"#
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_signed_over_its_time_and_its_bytes() {
        let events = Events::new("whsec_test", "inst_x", 1_800_000_000, 0);
        // By `printf '1800000000.{}' | openssl dgst -sha256 -hmac whsec_test`.
        let expected = "t=1800000000,v1=482e6337ac5272392d375c6fdc4d52a7e615dc2facedab0ffe155ddfd6a56e66";
        assert_eq!(events.signature("{}"), expected);
        assert_ne!(events.body(1), events.body(2));
        let body: serde_json::Value = serde_json::from_str(&events.body(3)).unwrap();
        assert_eq!(body["data"]["object"]["metadata"]["customer_id"], people::customer_id(&people::tail(3)));
    }
}
