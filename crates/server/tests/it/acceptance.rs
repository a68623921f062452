//! The acceptance run, step by step: sign-up, checkout, the row in the table, payment, licence and mail.

use std::time::Instant;

use counterfoil_core::Timestamp;
use counterfoil_license::{Claims, Expectations, KeySet, State, verify};
use serde_json::{Value, json};

use crate::world::World;

const GRACE_DAYS: i64 = 7;

async fn claims_by_published_keys(world: &World, token: &str) -> Claims {
    let keys = KeySet::from_jwks(&world.http.get("/.well-known/jwks.json").await.body).expect("a key set");
    let expect = Expectations::new(world.config.public_url.as_str(), &world.config.product);
    let verified = verify(token, &keys, &expect, world.app.now().as_unix_seconds());
    assert_eq!(verified.state, State::Valid);
    verified.claims.expect("a valid licence has claims")
}

fn time(value: &Value) -> Timestamp {
    value.as_str().expect("a time").parse().expect("RFC 3339")
}

async fn scenario_49_from_sign_up_to_a_paid_license(world: &World) {
    // 1. Sign-up.
    let mut test = world.visitor("test@example.com");
    test.password = "SecurePass123".to_owned();
    test.http.tap().guard_secret(&test.password);
    let answer = test.sign_up().await;
    assert_eq!(answer.status, 201);
    let told = answer.json();
    let id = told["customer"]["customer_id"].as_str().unwrap();
    let hex = id.strip_prefix("cust_").expect("our prefix");
    assert!(hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{id}");
    assert_eq!(told["customer"]["stripe_customer_id"], Value::Null);
    assert_eq!((&told["subscription"]["plan"], &told["subscription"]["status"]), (&json!("trial"), &json!("trialing")));
    let trial = claims_by_published_keys(world, &test.license).await;
    assert_eq!((trial.customer_id.as_str(), trial.sub.as_str(), trial.plan.as_str()), (id, id, "trial"));
    assert_eq!((trial.features, trial.trial, trial.ver), (vec!["core".to_owned()], true, 1));
    assert_eq!(trial.exp, time(&told["subscription"]["trial_ends_at"]).as_unix_seconds());
    assert!(world.sandbox().calls().await.is_empty(), "sign-up calls no provider");

    // 2. Checkout.
    let answer = test.checkout("professional").await.accepted();
    assert_eq!(answer.as_object().map(serde_json::Map::len), Some(1), "{answer}");
    let checkout_url = answer["checkout_url"].as_str().unwrap();

    // 3. The table shows the counterpart, and the counterpart shows us.
    let sql = "SELECT customer_id, email, stripe_customer_id FROM customers WHERE customer_id = $1";
    let row = world.app.db.query(sql).bind(id).one().await.unwrap();
    assert_eq!(row.get::<String>("email").unwrap(), "test@example.com");
    let external: String = row.get("stripe_customer_id").unwrap();
    assert!(external.starts_with("cus_"), "{external}");
    let customer = world.sandbox().get(&format!("/v1/customers/{external}")).await;
    assert_eq!(customer["metadata"]["customer_id"], id);
    assert_eq!(world.stored(&test).await.licenses, 1, "nothing is paid yet");

    // 4. Payment, webhooks, licence, mail.
    let back = world.sandbox().pay(checkout_url, "success").await;
    assert_eq!(back, "http://localhost:3000/success");
    let paid_at = Instant::now();
    world.until("the paid licence is there", async || world.stored(&test).await.licenses == 2).await;
    println!("the licence came {:?} after the payment", paid_at.elapsed());
    world.settled().await;
    let stored = world.stored(&test).await;
    assert_eq!((stored.plan.as_str(), stored.status.as_str()), ("professional", "active"));
    assert!(stored.stripe_subscription_id.as_deref().is_some_and(|id| id.starts_with("sub_")));
    let period_end = stored.current_period_ends_at.expect("a period");
    assert!(period_end > world.app.now().plus_days(27));
    let license = test.current_license().await.accepted();
    assert_eq!(
        (&license["version"], &license["plan"], &license["reason"]),
        (&json!(2), &json!("professional"), &json!("subscribed"))
    );
    let token = license["token"].as_str().unwrap();
    let paid = claims_by_published_keys(world, token).await;
    assert_eq!(paid.features, ["core", "exports", "api_access", "priority_support"]);
    assert_eq!((paid.plan.as_str(), paid.status.as_str(), paid.trial, paid.ver), ("professional", "active", false, 2));
    assert_eq!(paid.paid_until, period_end.as_unix_seconds());
    assert_eq!(paid.exp, period_end.plus_days(GRACE_DAYS).as_unix_seconds());
    assert_eq!(paid.grace_until, paid.exp);
    let mails = world.mails().await;
    assert_eq!(mails.len(), 2, "a welcome and one licence");
    assert!(mails[0].body_text.contains(token), "the newest mail carries the licence");
    assert_eq!((mails[0].recipient.as_str(), mails[0].state.as_str()), ("test@example.com", "sent"));
    assert_eq!(world.sandbox().customers().await.len(), 1);
}

both_engines!(scenario_49_from_sign_up_to_a_paid_license);
