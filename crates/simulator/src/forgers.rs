//! Webhooks that are none of Stripe's, none of today, or none of ours.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::replicas::Replicas;
use crate::run::{OLD_SECRET, WEBHOOK_SECRETS};
use crate::trouble::webhook;
use crate::world::World;

/// By every clock of the replicas more than the 300 seconds for which a signature holds.
const STALE: Duration = Duration::from_secs(900);

/// What Stripe signs while its secret is being rolled: with the old one, with the new one, or with both.
pub(crate) fn signature(world: &World, body: &str) -> String {
    let [old, new] = WEBHOOK_SECRETS.map(|secret| world.sandbox().sign_with(secret, body));
    match world.draw(|dice| dice.index(3)) {
        0 => old,
        1 => new,
        _ => format!("{old},{}", new.split_once(',').map_or("", |(_, scheme)| scheme)),
    }
}

/// Sends events that Stripe has never signed.
pub async fn forge(world: Arc<World>, replicas: Arc<Replicas>) {
    for number in 0..5 {
        let pause = world.draw(|dice| dice.between(5, 60));
        tokio::time::sleep(Duration::from_secs(pause)).await;
        let event = format!("evt_forged{number:018}");
        let body = format!(r#"{{"id":"{event}","object":"event","type":"invoice.paid","data":{{"object":{{}}}}}}"#);
        let good = world.sandbox().sign_with(WEBHOOK_SECRETS[0], &body);
        let signature = match number {
            0 => good.replace("v1=", "v0="),
            1 => good.replace("v1=", "v1=00"),
            2 => world.sandbox().sign_with(WEBHOOK_SECRETS[0], "other bytes"),
            // It was Stripe's until it was rolled for good.
            3 => world.sandbox().sign_with(OLD_SECRET, &body),
            _ => String::new(),
        };
        if let Some((status, _, _)) = replicas.request(webhook(&body, &signature)).await {
            world.tell(format_args!("a forged webhook -> {status}"));
            world.count("forged webhooks");
            world.history().forged.push((event, status));
        }
    }
}

/// Sends a true event once more, with the signature that it had.
pub async fn replay(world: Arc<World>, replicas: Arc<Replicas>) {
    loop {
        tokio::time::sleep(STALE).await;
        let overheard = world.history().overheard.clone();
        let Some((event, body, signature)) = overheard else { continue };
        // It was overheard in this stretch, perhaps at its end.
        tokio::time::sleep(STALE).await;
        if let Some((status, _, _)) = replicas.request(webhook(&body, &signature)).await {
            world.tell(format_args!("the webhook {event} is replayed -> {status}"));
            world.count("replayed webhooks");
            world.history().replayed.push((event, status));
            return;
        }
    }
}

/// Sends well-signed events about one of our customers that are of another mode, account or installation.
pub async fn mistake(world: Arc<World>, replicas: Arc<Replicas>) {
    for number in 0..3 {
        let pause = world.draw(|dice| dice.between(5, 120));
        tokio::time::sleep(Duration::from_secs(pause)).await;
        let Some(about) = world.history().ids.values().next().cloned() else { continue };
        let (event, body) = foreign(number, &about);
        let signature = world.sandbox().sign_with(WEBHOOK_SECRETS[0], &body);
        if let Some((status, _, _)) = replicas.request(webhook(&body, &signature)).await {
            world.tell(format_args!("a foreign webhook -> {status}"));
            world.count("foreign webhooks");
            let mut history = world.history();
            if (200..300).contains(&status) {
                history.acknowledged.push(event.clone());
            }
            history.foreign.push(event);
        }
    }
}

fn foreign(number: usize, about: &str) -> (String, String) {
    let event = format!("evt_foreign{number:017}");
    let instance = if number == 2 { "another-instance" } else { "" };
    let mut body = json!({
        "id": event, "object": "event", "type": "customer.subscription.updated", "livemode": false,
        "data": { "object": {
            "object": "subscription", "id": "sub_ofsomebodyelse", "customer": "cus_ofsomebodyelse1", "status": "active",
            "metadata": { "customer_id": about, "instance": instance },
        } },
    });
    match number {
        0 => body["livemode"] = json!(true),
        1 => body["account"] = json!("acct_ofsomebodyelse"),
        _ => {}
    }
    if instance.is_empty() {
        body["data"]["object"]["metadata"]["instance"] = Value::Null;
    }
    (event, body.to_string())
}
