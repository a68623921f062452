//! The body of a webhook that is signed well: whatever has an identity is kept, and what is read of it is what stands there.

use counterfoil::providers::{Notice, PaymentProvider, WebhookRefusal};
use counterfoil_core::Timestamp;

use super::json_text::{self, Node};
use super::signed::hmac;
use super::stripe::{SECRETS, with_secrets};

const NOW: i64 = 1_800_000_000;
const TEXT_BYTES_MAX: usize = 255;

pub fn run(body: &[u8]) {
    let signature = hmac(SECRETS[0], &[NOW.to_string().as_bytes(), b".", body].concat());
    let header = format!("t={NOW},v1={signature}");
    let stripe: &dyn PaymentProvider = with_secrets(1);
    let read = || stripe.verify_webhook(&[header.as_bytes()], body, Timestamp::from_unix_seconds(NOW));

    let answer = read();
    let event = json_text::read(body);
    match &answer {
        Ok(notice) => check(notice, event.as_ref().expect("what was read is JSON")),
        Err(WebhookRefusal::NotAnEvent(why)) => {
            assert!(!why.is_empty() && why.len() < 512, "a sentence says why: {why}");
            let lost = event.filter(|event| has_identity(event) && !event.has_endless_number());
            assert!(lost.is_none(), "an event is lost: {why}");
        }
        Err(other) => panic!("it was signed well: {other}"),
    }
    assert_eq!(answer, read(), "the same bytes are the same event");
}

/// A text that can be stored.
fn text<'a>(node: &'a Node, path: &[&str]) -> Option<&'a str> {
    let text = node.at(path)?.text()?;
    (!text.is_empty() && text.len() <= TEXT_BYTES_MAX && !text.contains('\0')).then_some(text)
}

fn has_identity(event: &Node) -> bool {
    let is_event = matches!(text(event, &["object"]), None | Some("event" | "v2.core.event"));
    is_event && text(event, &["id"]).is_some() && text(event, &["type"]).is_some()
}

fn check(notice: &Notice, event: &Node) {
    assert!(has_identity(event), "{notice:?}");
    assert_eq!(Some(notice.event_id.as_str()), text(event, &["id"]));
    assert_eq!(Some(notice.event_type.as_str()), text(event, &["type"]));
    assert_eq!(notice.livemode, event.get("livemode") == Some(&Node::Flag(true)));
    assert_eq!(notice.account.as_deref(), text(event, &["account"]));
    assert_eq!(notice.api_version.as_deref(), text(event, &["api_version"]));
    assert!(notice.created_at.is_none() || event.at(&["created"]).is_some(), "an instant has a source");

    let is_thin = text(event, &["object"]) == Some("v2.core.event");
    let object = event.at(&["data", "object"]).filter(|_| !is_thin);
    let external = notice.external_customer.as_ref().map(|id| id.as_str());
    let payment = notice.payment.as_ref().map(|payment| payment.as_str());
    let claims = [external, payment, notice.customer_id.as_deref(), notice.instance.as_deref()];
    for claim in claims.into_iter().flatten() {
        assert!(!claim.is_empty() && !claim.contains('\0') && claim.len() <= 2 * TEXT_BYTES_MAX, "{claim:?}");
        assert!(object.is_some(), "a claim has a source: {claim}");
    }
    assert_eq!(external, object.and_then(customer_of), "whom it is about");
    if is_thin {
        assert!(!notice.relevant, "a thin event changes nothing");
    }
    let words = ["checkout.session.", "customer.", "subscription_schedule.", "invoice", "charge.", "refund."];
    let can_matter = words.iter().any(|word| notice.event_type.starts_with(word));
    assert!(can_matter || !notice.relevant, "{} is no event of ours", notice.event_type);
}

/// The customer that an object names: by its id or as an object, and a customer is its own.
fn customer_of(object: &Node) -> Option<&str> {
    let name = if text(object, &["object"]) == Some("customer") { "id" } else { "customer" };
    match object.at(&[name])? {
        Node::Text(_) => text(object, &[name]),
        _ => text(object, &[name, "id"]),
    }
}
