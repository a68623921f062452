//! Leaving: what is handed out before, what ends, what is left, and what still comes about who has gone.

use counterfoil::app::deletion::Running;
use counterfoil::app::manual::Step;
use counterfoil::app::operators::By;
use counterfoil::app::tombstones::TombstoneFile;
use counterfoil::db::Row;
use counterfoil::providers::manual::NewPayment;
use counterfoil::store::trials;
use counterfoil_core::trial::TrialNotice;
use counterfoil_core::{Interval, PlanCode, Refusal};
use reqwest::Method;
use serde_json::{Value, json};

use crate::actors::Visitor;
use crate::client::{Answer, form};
use crate::counts::Counts;
use crate::logs;
use crate::world::{World, id_of};

const DELETE_TOO: &[(&str, &str)] = &[("COUNTERFOIL_ON_DELETE", "delete")];

/// The tables that hold something of a customer, and the columns that could name a person.
const PERSONAL: &str = "select email as a, coalesce(company_name, '') as b, password_hash as c from customers where customer_id = $1 \
    union all select email, frozen_params, '' from billing_links where customer_id = $1 \
    union all select success_url, cancel_url, frozen_params from checkout_attempts where customer_id = $1 \
    union all select recipient, body_text, coalesce(body_html, '') from outbox where customer_id = $1 and state = 'sent' \
    and dedupe_key not like 'goodbye:%' \
    union all select coalesce(payload, ''), '', '' from account_tokens where customer_id = $1 \
    union all select 'a notice of ' || kind, '', '' from trial_notices where customer_id = $1 \
    union all select coalesce(name, ''), fingerprint_hash, '' from license_activations where customer_id = $1";

async fn delete(visitor: &Visitor, end_subscription: bool) -> Answer {
    let body = json!({ "current_password": visitor.password, "end_subscription": end_subscription });
    visitor.http.post("/api/customers/me/delete", &body).await
}

async fn deleted(visitor: &Visitor) {
    let answer = delete(visitor, true).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
    assert!(answer.header("set-cookie").contains("Max-Age=0"), "the cookie goes, too");
}

async fn texts(world: &World, sql: &'static str, visitor: &Visitor) -> Vec<String> {
    let rows = world.app.db.query(sql).bind(&visitor.customer_id).all().await.expect("rows");
    let text = |row: &Row| ["a", "b", "c"].map(|name| row.get::<String>(name).expect("a text")).join("|");
    rows.iter().map(text).collect()
}

async fn actions(world: &World, visitor: &Visitor) -> Vec<String> {
    let sql =
        "select action as a, actor as b, coalesce(reason, '') as c from audit_log where customer_id = $1 order by id";
    texts(world, sql, visitor).await
}

/// How often this was noted.
async fn noted(world: &World, visitor: &Visitor, action: &str) -> usize {
    actions(world, visitor).await.iter().filter(|line| line.split('|').next() == Some(action)).count()
}

async fn live_at_stripe(world: &World) -> usize {
    let all = world.sandbox().list("/v1/subscriptions?status=all").await;
    all.iter().filter(|each| each["status"] != "canceled").count()
}

async fn gone_everywhere(visitor: &Visitor) {
    let mut back = visitor.clone();
    back.log_in().await.refused(401, "invalid_credentials");
    visitor.me().await.refused(401, "not_signed_in");
    visitor.refresh(&visitor.license).await.refused(410, "customer_deleted");
    let told = visitor.validate(&visitor.license).await;
    assert_eq!((&told["valid"], &told["code"]), (&json!(false), &json!("customer_deleted")), "{told}");
    visitor.checkout("professional").await.refused(404, "customer_not_found");
}

async fn a_deleted_account_is_gone_everywhere_and_leaves_nobodys_name(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let machine = json!({ "token": ada.license, "fingerprint": "4f:1c:33", "name": "ada@laptop" });
    ada.http.post("/api/licenses/activations", &machine).await.accepted();
    let elsewhere = {
        let mut again = ada.clone();
        again.log_in().await.accepted();
        again
    };
    let body = json!({ "new_email": "ada.new@example.com", "current_password": ada.password });
    assert_eq!(ada.http.post("/api/customers/email", &body).await.status, 202);
    world.settled().await;
    let (mut tx, now) = (world.app.db.begin().await.unwrap(), world.app.now());
    assert!(trials::decide_notice(&mut tx, &id_of(&ada), now, TrialNotice::OneDay, now).await.unwrap());
    tx.commit().await.unwrap();
    let before = world.stored(&ada).await;
    delete(&ada, false).await.refused(409, "subscription_running");
    assert_eq!(world.stored(&ada).await, before, "nothing was changed");
    deleted(&ada).await;
    assert_eq!(live_at_stripe(world).await, 0, "nothing is charged any more");
    gone_everywhere(&ada).await;
    elsewhere.me().await.refused(401, "not_signed_in");
    world.settled().await;
    gone_everywhere(&ada).await;
    let after = world.stored(&ada).await;
    assert_eq!((after.email.as_str(), after.status.as_str()), (ada.customer_id.as_str(), "canceled"));
    assert_eq!(after.licenses, before.licenses, "the versions stay, and none was added");
    assert_eq!(after.stripe_customer_id, before.stripe_customer_id, "invoices have to be found again");
    let said = texts(world, PERSONAL, &ada).await.join("\n");
    for name in ["ada@", "ada.new@", "Test Corp", "localhost:3000", "eyJhbGciOi", "argon2", "a notice of"] {
        assert!(!said.contains(name), "{name} is left in: {said}");
    }
    let bodies = "select cast(count(*) as bigint) as n from webhook_inbox where length(body) > 0";
    assert_eq!(
        world.app.db.query(bodies).one().await.unwrap().get::<i64>("n").unwrap(),
        0,
        "{:?}",
        world.inbox().await
    );
    let mails = world.mails().await;
    let last = mails.iter().find(|mail| mail.recipient == ada.email).expect("a last mail");
    assert!(last.subject.contains("was deleted") && !last.body_text.contains("eyJhbGciOi"), "{last:?}");
    assert_eq!(world.mails_to(&ada.email).await, 1, "and no other is left");
    assert_eq!(noted(world, &ada, "customer_deleted").await, 1);
    let mut tx = world.app.db.begin_read().await.unwrap();
    for text in [ada.customer_id.as_str(), after.stripe_customer_id.as_deref().unwrap()] {
        let file = TombstoneFile::find(&mut tx, text).await.unwrap().expect("a tombstone");
        assert!(
            file.in_words().contains("was deleted on") && file.in_words().contains(" by customer"),
            "{}",
            file.in_words()
        );
    }
    assert!(TombstoneFile::find(&mut tx, "ada@example.com").await.unwrap().is_none());
    tx.rollback().await.unwrap();
    let gone = Refusal::CustomerDeleted.to_string();
    assert_eq!(world.app.explain_customer(&id_of(&ada)).await.unwrap_err().to_string(), gone);
    assert_eq!(world.app.export_customer(&id_of(&ada)).await.unwrap_err().to_string(), gone);
}

async fn the_address_is_free_again_and_a_second_trial_is_not(world: &World) {
    let ada = world.customer("ada@example.com").await;
    world.worked_off().await;
    let ends_at = ada.subscription().await["trial_ends_at"].clone();
    deleted(&ada).await;
    assert!(world.sandbox().calls().await.is_empty(), "who never paid is no matter of Stripe's");
    let again = world.customer("ada@example.com").await;
    assert_ne!(again.customer_id, ada.customer_id);
    assert_eq!(again.subscription().await["trial_ends_at"], ends_at, "what is left of the one trial");
    deleted(&again).await;
    world.sandbox().advance(20 * 86_400).await;
    let mut late = world.visitor("ada@example.com");
    let answer = late.sign_up().await.accepted();
    assert_eq!((&answer["subscription"]["status"], &answer["license"]), (&json!("trial_expired"), &Value::Null));
}

async fn a_deletion_wants_the_password_and_happens_once(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let wrong = json!({ "current_password": "wrong wrong" });
    ada.http.post("/api/customers/me/delete", &wrong).await.refused(403, "wrong_password");
    ada.http.post("/api/customers/me/delete", &json!({})).await.refused(422, "invalid_request");
    world.http.post("/api/customers/me/delete", &wrong).await.refused(401, "not_signed_in");
    let (a, b) = tokio::join!(delete(&ada, false), delete(&ada, false));
    let mut statuses = [a.status, b.status];
    statuses.sort_unstable();
    assert_eq!(statuses[0], 204, "{} {}", a.body, b.body);
    assert!(matches!(statuses[1], 401 | 404), "{} {}", a.body, b.body);
    delete(&ada, false).await.refused(401, "not_signed_in");
    let by = By::command_line("asked by letter").unwrap();
    let twice = world.app.delete_customer_by(&id_of(&ada), &by, Running::End).await;
    assert_eq!(twice.unwrap_err().to_string(), "There is no customer with this customer_id.");
    assert_eq!(noted(world, &ada, "customer_deleted").await, 1);
}

async fn a_payment_that_was_just_made_keeps_the_account(world: &World) {
    world.sandbox().drop_webhooks().await;
    let ada = world.customer("ada@example.com").await;
    let url = ada.checkout_url("professional").await;
    world.sandbox().pay(&url, "success").await;
    delete(&ada, true).await.refused(409, "subscription_running");
    assert_eq!(ada.subscription().await["status"], "active", "what was paid is given");
    assert_eq!(live_at_stripe(world).await, 1);
    deleted(&ada).await;
    assert_eq!(live_at_stripe(world).await, 0);
    world.allow_unsettled();
}

async fn open_payment_pages_are_closed_first(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let url = ada.checkout_url("professional").await;
    deleted(&ada).await;
    assert!(world.sandbox().open_sessions().await.is_empty());
    assert_eq!(world.sandbox().try_pay(&url, "success").await.0, 410);
    assert_eq!(world.sandbox().customers().await.len(), 1, "the customer at Stripe stays");
    world.settled().await;
}

async fn while_stripe_does_not_answer_nothing_is_deleted_and_the_same_request_goes_on_later(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    world.sandbox().faults(json!({ "calls": { "fail": 100_000, "status": 503 } })).await;
    delete(&ada, true).await.refused(503, "payment_provider_unavailable");
    world.sandbox().clear_faults().await;
    ada.me().await.accepted();
    // As after a crash between the end at Stripe and our transaction: there is nothing to end any more.
    let at_stripe = world.stored(&ada).await.stripe_subscription_id.expect("a subscription");
    world.sandbox().delete(&format!("/v1/subscriptions/{at_stripe}")).await;
    assert_eq!(delete(&ada, false).await.status, 204);
    gone_everywhere(&ada).await;
    world.settled().await;
}

async fn what_is_paid_by_invoice_ends_too_and_its_book_is_exported(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let by = By::command_line("the invoice was paid").unwrap();
    let payment = NewPayment { reference: "INV-17".to_owned(), amount: 49_000, currency: "eur".to_owned(), periods: 1 };
    let sale = Step::Start {
        plan: PlanCode::new("enterprise"),
        interval: Interval::Year,
        starts_at: None,
        payment: Some(payment),
    };
    world.app.keep_manually(&id_of(&ada), &sale, &by).await.unwrap();
    let export = ada.http.get("/api/customers/me/export").await.accepted();
    assert_eq!(export["invoices"][0]["payments"][0]["reference"], "INV-17", "{export}");
    let history = export["history"].as_array().expect("a list");
    assert!(history.iter().any(|line| line["action"] == "manual_started" && line["actor"] == "vendor"), "{export}");
    delete(&ada, false).await.refused(409, "subscription_running");
    deleted(&ada).await;
    assert_eq!(world.stored(&ada).await.status, "canceled");
    assert_eq!(world.app.sweep_manual().await.unwrap(), 1, "the sweep has nothing to complain of");
    world.settled().await;
}

async fn late_events_are_finished_at_once_and_a_late_payment_is_told(world: &World) {
    let counts = Counts::begin();
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    deleted(&ada).await;
    world.settled().await;
    let at_stripe = world.stored(&ada).await.stripe_customer_id.expect("it is kept");
    let object = json!({ "id": "sub_Late00000001", "object": "subscription", "customer": at_stripe });
    world.deliver(&world.event("customer.subscription.updated", object)).await.accepted();
    let claimed = json!({ "object": "checkout.session", "customer": null, "client_reference_id": ada.customer_id,
        "metadata": { "customer_id": ada.customer_id, "instance": world.app.instance.instance_id.as_str() } });
    world.deliver(&world.event("checkout.session.completed", claimed)).await.accepted();
    world.worked_off().await;
    let done = world.inbox().await;
    let finished = |kind: &str| done.iter().any(|line| *line == format!("{kind} ignored customer_deleted"));
    assert!(finished("customer.subscription.updated") && finished("checkout.session.completed"), "{done:#?}");
    assert_eq!(noted(world, &ada, "paid_after_deletion").await, 0, "nothing runs");
    let counted = || (counts.of("customers_deleted_total"), counts.of("paid_after_deletion_total"));
    assert_eq!(counted(), (1, 0));
    // Somebody sells again in Stripe's dashboard.
    world.sandbox().replace_card(&at_stripe, "success").await;
    let pairs = [("customer", at_stripe.as_str()), ("items[0][price]", "price_pro_monthly")];
    let sold = world.sandbox().post("/v1/subscriptions", &pairs).await;
    assert_eq!(sold["status"], "active", "{sold}");
    world.settled().await;
    assert_eq!(noted(world, &ada, "paid_after_deletion").await, 1, "{:?}", world.inbox().await);
    world.app.compare_subscriptions().await.unwrap();
    world.sandbox().advance(25 * 3600).await;
    world.app.compare_subscriptions().await.unwrap();
    world.settled().await;
    assert_eq!(noted(world, &ada, "paid_after_deletion").await, 1, "told once");
    assert_eq!(counted(), (1, 1));
    assert_eq!(logs::told("a subscription runs at the provider although its account is deleted", &ada.customer_id), 1);
    assert_eq!(noted(world, &ada, "sweep_repaired").await, 0);
    assert_eq!(world.stored(&ada).await.licenses, 2, "nothing is issued to who is gone");
    let page = world.app.reconcile(None, None).await.unwrap();
    assert!(page.differences.is_empty(), "{:?}", page.differences);
}

async fn a_deletion_amid_webhooks_ends_without_a_license(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let at_stripe = world.stored(&ada).await.stripe_customer_id.expect("a counterpart");
    let looks = async {
        for number in 0..12 {
            let object =
                json!({ "id": format!("sub_Storm{number:08}"), "object": "subscription", "customer": at_stripe });
            world.deliver(&world.event("customer.subscription.updated", object)).await.accepted();
        }
    };
    let (answer, ()) = tokio::join!(delete(&ada, true), looks);
    assert_eq!(answer.status, 204, "{}", answer.body);
    world.settled().await;
    gone_everywhere(&ada).await;
    let valid = "select cast(count(*) as bigint) as n from licenses where revoked_at is null";
    assert_eq!(world.app.db.query(valid).one().await.unwrap().get::<i64>("n").unwrap(), 0);
}

async fn the_export_holds_what_we_hold_and_opens_nothing(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    world.http.get("/api/customers/me/export").await.refused(401, "not_signed_in");
    // The tap looks for ids of the provider's, passwords and sessions in this answer.
    let own = ada.http.get("/api/customers/me/export").await.accepted();
    assert_eq!((&own["format"], &own["version"]), (&json!("counterfoil-customer-export"), &json!(1)));
    assert_eq!((&own["customer"]["email"], &own["customer"]["company_name"]), (&json!(ada.email), &json!("Test Corp")));
    assert_eq!(
        (&own["subscription"]["plan"], &own["subscription"]["status"]),
        (&json!("professional"), &json!("active"))
    );
    assert_eq!(own["licenses"][0]["token"], ada.license);
    assert_eq!(
        (own["licenses"].as_array().map(Vec::len), &own["checkouts"][0]["state"]),
        (Some(2), &json!("completed"))
    );
    assert_eq!((&own["billing"][0]["provider"], &own["billing"][0]["email"]), (&json!("stripe"), &json!(ada.email)));
    assert_eq!((own["mails"].as_array().map(Vec::len), own["sessions"].as_array().map(Vec::len)), (Some(2), Some(1)));
    assert!(own["mails"][0]["text"].as_str().is_some_and(|text| text.contains(&ada.license)), "{own}");
    assert_eq!(own["trials"][0]["plan"], "trial");
    assert!(own["history"].as_array().is_some_and(|lines| lines.iter().any(|line| line["action"] == "signed_up")));
    let text = own.to_string();
    for secret in ["argon2", "cfs_", "_hash", "cus_", "sub_", "evt_"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let at_stripe = world.stored(&ada).await;
    let theirs = json!(world.app.export_for_operators(&id_of(&ada)).await.unwrap());
    assert_eq!(theirs["customer"], own["customer"]);
    assert_eq!(theirs["provider"]["stripe_customer_id"], json!(at_stripe.stripe_customer_id));
    assert_eq!(theirs["provider"]["stripe_subscription_id"], json!(at_stripe.stripe_subscription_id));
    let page = ada.http.get("/account/export").await;
    assert_eq!(page.header("content-disposition"), "attachment; filename=\"account.json\"");
    assert_eq!(page.json()["customer"]["customer_id"], ada.customer_id);
    // A mail that waits with a link that opens the account, and one whose text was taken out once it had been sent.
    let marked = "update outbox set forget_when_sent = true where dedupe_key = $1 and body_text <> ''";
    let emptied = "update outbox set body_text = '' where dedupe_key = $1 and not forget_when_sent";
    for (sql, version) in [(marked, 2), (emptied, 1)] {
        let key = format!("license:{}:{version}", ada.customer_id);
        assert_eq!(world.app.db.query(sql).bind(&key).execute().await.unwrap(), 1);
    }
    let own = ada.http.get("/api/customers/me/export").await.accepted();
    let texts: Vec<&Value> = own["mails"].as_array().expect("mails").iter().map(|mail| &mail["text"]).collect();
    assert_eq!(texts, [&Value::Null, &Value::Null]);
}

async fn send(visitor: &Visitor, pairs: &[(&str, &str)]) -> Answer {
    let request = visitor.http.request(Method::POST, "/account/delete");
    let request =
        request.header("content-type", "application/x-www-form-urlencoded").header("sec-fetch-site", "same-origin");
    visitor.http.send(request.body(form(pairs))).await
}

async fn the_page_explains_asks_and_says_goodbye(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let settings = ada.http.get("/account/settings").await;
    assert!(settings.page().contains("/account/delete") && settings.page().contains("/account/export"));
    let question = ada.http.get("/account/delete").await;
    assert!(question.page().contains("cannot be taken back") && question.page().contains("end_subscription"));
    let wrong = send(&ada, &[("current_password", "wrong wrong"), ("end_subscription", "yes")]).await;
    assert_eq!(wrong.status, 403);
    assert!(wrong.body.contains("current_password-error"), "{}", wrong.body);
    let running = send(&ada, &[("current_password", &ada.password)]).await;
    assert_eq!(running.status, 409);
    assert!(running.body.contains("Tick the box"), "{}", running.body);
    let gone = send(&ada, &[("current_password", &ada.password), ("end_subscription", "yes")]).await;
    assert!(gone.page().contains("Your account is deleted"));
    gone_everywhere(&ada).await;
    let bob = world.customer("bob@example.com").await;
    let wrong = send(&bob, &[("current_password", "wrong wrong")]).await;
    assert!(wrong.status == 403 && !wrong.body.contains("end_subscription"), "there is none to end: {}", wrong.body);
    world.settled().await;
}

async fn the_customer_at_stripe_goes_too_where_that_is_wanted(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let at_stripe = world.stored(&ada).await.stripe_customer_id.expect("a counterpart");
    deleted(&ada).await;
    world.settled().await;
    world.until("Stripe has deleted it", async || world.stored(&ada).await.stripe_customer_id.is_none()).await;
    assert_eq!(world.sandbox().get(&format!("/v1/customers/{at_stripe}")).await["deleted"], true);
    world.settled().await;
    gone_everywhere(&ada).await;
    assert_eq!(noted(world, &ada, "paid_after_deletion").await, 0);
}

both_engines!(
    a_deleted_account_is_gone_everywhere_and_leaves_nobodys_name,
    the_address_is_free_again_and_a_second_trial_is_not,
    a_deletion_wants_the_password_and_happens_once,
    a_payment_that_was_just_made_keeps_the_account,
    open_payment_pages_are_closed_first,
    while_stripe_does_not_answer_nothing_is_deleted_and_the_same_request_goes_on_later,
    what_is_paid_by_invoice_ends_too_and_its_book_is_exported,
    late_events_are_finished_at_once_and_a_late_payment_is_told,
    a_deletion_amid_webhooks_ends_without_a_license,
    the_export_holds_what_we_hold_and_opens_nothing,
    the_page_explains_asks_and_says_goodbye,
);
both_engines!(Setup::configured(super::DELETE_TOO); the_customer_at_stripe_goes_too_where_that_is_wanted);
