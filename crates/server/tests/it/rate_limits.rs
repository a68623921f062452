//! Who guesses is stopped, everywhere and after a restart; the owner of the account gets in.

use std::net::IpAddr;

use counterfoil::app::deletion::Running;
use counterfoil::app::operators::By;
use counterfoil::app::rate_limits::Network;
use counterfoil::app::sessions::Caller;
use counterfoil::app::{App, Error};
use counterfoil::db::Engine;
use counterfoil_core::{CustomerId, Refusal};
use reqwest::Method;
use serde_json::json;

use crate::client::Answer;
use crate::counts::Counts;
use crate::world::{Setup, World, id_of, tell};

const ON: &[(&str, &str)] = &[("COUNTERFOIL_RATE_LIMITS", "on")];
const BEHIND_A_PROXY: &[(&str, &str)] =
    &[("COUNTERFOIL_RATE_LIMITS", "on"), ("COUNTERFOIL_TRUSTED_PROXIES", "127.0.0.1")];
const VERIFIED: &[(&str, &str)] = &[("COUNTERFOIL_RATE_LIMITS", "on"), ("COUNTERFOIL_EMAIL_VERIFICATION", "required")];
const HOUR: i64 = 3600;

fn network(number: u32) -> Network {
    Network::of(IpAddr::from(number.to_be_bytes()))
}

/// Whether this many tries go ahead, one after another.
async fn allowed(app: &App, network: &Network, email: &str, tries: usize) -> usize {
    let mut allowed = 0;
    for _ in 0..tries {
        match app.limit_login(network, email).await {
            Ok(()) => allowed += 1,
            Err(Error::Refused(Refusal::TooManyRequests { retry_after_seconds })) => assert!(retry_after_seconds > 0),
            Err(error) => panic!("{error}"),
        }
    }
    allowed
}

/// The same service over the same database, as a replica or after a restart: nothing is remembered in memory.
fn replica(world: &World) -> App {
    App { limits: std::sync::Arc::default(), ..world.app.clone() }
}

async fn a_guesser_is_stopped_on_all_replicas_and_the_owner_is_not(world: &World) {
    let (other, counts) = (replica(world), Counts::begin());
    let guesser = network(1);
    assert_eq!(allowed(&world.app, &guesser, "ada@example.com", 6).await, 6);
    assert_eq!(allowed(&other, &guesser, "ADA@example.com", 6).await, 4, "two processes count together");
    assert_eq!(allowed(&replica(world), &guesser, "ada@example.com", 3).await, 0, "a restart forgets nothing");
    assert_eq!(allowed(&world.app, &network(2), "ada@example.com", 1).await, 1, "the owner is elsewhere");
    assert!(counts.of("rate_limited_total{limit=\"login\"}") > 0, "whoever watches sees the guesser");
    assert_eq!(counts.of("rate_limited_total{limit=\"login_account\"}"), 0);
    world.sandbox().advance(HOUR).await;
    assert_eq!(allowed(&other, &guesser, "ada@example.com", 20).await, 10, "rest helps, up to a burst");
}

async fn many_pairs_from_one_network_are_few(world: &World) {
    let mut tried = 0;
    for number in 0..10_000 {
        tried += allowed(&world.app, &network(7), &format!("victim{number}@example.com"), 1).await;
    }
    assert!((200..230).contains(&tried), "{tried} of 10,000 pairs were looked at");
    let rows = "select cast(count(*) as bigint) as n from rate_limits";
    let rows: i64 = world.app.db.query(rows).one().await.unwrap().get("n").unwrap();
    assert!(rows < 600, "whoever is refused writes nothing: {rows}");
    world.sandbox().advance(3 * HOUR).await;
    world.app.forget_full_buckets().await.unwrap();
    let rows = "select cast(count(*) as bigint) as n from rate_limits";
    assert_eq!(world.app.db.query(rows).one().await.unwrap().get::<i64>("n").unwrap(), 0, "rows do not stay");
}

async fn many_networks_at_one_account_are_slowed_and_lock_nobody_out(world: &World) {
    let mut tried = 0;
    for number in 0..1_000 {
        tried += allowed(&world.app, &network(100 + number), "ada@example.com", 2).await;
    }
    assert_eq!(tried, 2_000);
    let before = world.app.now().as_unix_seconds();
    let under_attack = allowed(&world.app, &network(5), "ada@example.com", 10).await;
    // The account itself is given 3,000 tries an hour back, also while this test is slow.
    let given_back = 2 + (world.app.now().as_unix_seconds() - before) * 3_000 / 3_600;
    assert!(under_attack >= 3, "under attack each has three tries: {under_attack}");
    assert!(i64::try_from(under_attack).unwrap() <= 3 + given_back, "and no more: {under_attack}");
    assert_eq!(allowed(&world.app, &network(6), "ben@example.com", 10).await, 10, "other accounts notice nothing");
}

/// The networks of one IPv6 site.
fn networks_of(site: &str) -> impl Iterator<Item = Network> {
    (0..300).map(move |number| Network::of(format!("{site}:{number:x}::1").parse().unwrap()))
}

async fn the_networks_of_an_ipv6_site_are_few(world: &World) {
    let (one, other) = ("2001:db8:1", "2001:db8:2");
    let mut tried = 0;
    for (number, network) in networks_of(one).enumerate() {
        for guess in 0..5 {
            tried += allowed(&world.app, &network, &format!("victim{number}-{guess}@example.com"), 1).await;
        }
    }
    assert!((800..900).contains(&tried), "{tried} of 1,500 logins were looked at");
    let (mut accounts, mut mails) = (0, 0);
    for (number, network) in networks_of(one).enumerate() {
        let email = format!("new{number}@example.com");
        accounts += usize::from(went_ahead(world.app.limit_sign_up(&network, &email.parse().unwrap()).await));
        mails += usize::from(went_ahead(world.app.limit_mail(&network, &email).await));
    }
    assert!((120..130).contains(&accounts), "{accounts} of 300 accounts");
    assert!((200..220).contains(&mails), "{mails} of 300 mails");
    let neighbour = networks_of(other).next().unwrap();
    assert_eq!(allowed(&world.app, &neighbour, "victim0-0@example.com", 5).await, 5);
    assert!(went_ahead(world.app.limit_sign_up(&neighbour, &"zoe@example.com".parse().unwrap()).await));
    assert!(went_ahead(world.app.limit_mail(&neighbour, "new0@example.com").await));
}

async fn log_in(world: &World, forwarded: Option<&str>, password: &str) -> Answer {
    let mut request = world.http.request(Method::POST, "/api/customers/login");
    if let Some(forwarded) = forwarded {
        request = request.header("x-forwarded-for", forwarded);
    }
    world.http.send(request.json(&json!({ "email": "ada@example.com", "password": password }))).await
}

async fn an_invented_address_is_no_way_around(world: &World) {
    world.customer("ada@example.com").await;
    for number in 0..10 {
        let forwarded = format!("198.51.100.{number}");
        log_in(world, Some(&forwarded), "a guess at it").await.refused(401, "invalid_credentials");
    }
    let refused = log_in(world, Some("203.0.113.77"), "a guess at it").await;
    refused.refused(429, "too_many_requests");
    assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|seconds| (1..=121).contains(&seconds)));
    let page = world.http.request(Method::POST, "/login").header("content-type", "application/x-www-form-urlencoded");
    let page = world.http.send(page.body("email=ada%40example.com&password=x")).await;
    assert_eq!(page.status, 429, "the page counts with the API");
}

async fn behind_a_proxy_each_client_counts_for_itself(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let guess =
        async |number: u32| log_in(world, Some(&format!("6.6.6.{number}, 198.51.100.1")), "a guess at it").await;
    for number in 0..10 {
        guess(number).await.refused(401, "invalid_credentials");
    }
    guess(11).await.refused(429, "too_many_requests");
    log_in(world, Some("203.0.113.77"), &ada.password).await.accepted();
}

async fn mails_accounts_and_passwords_are_limited_too(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let forgot = json!({ "email": "ada@example.com" });
    for _ in 0..5 {
        assert_eq!(world.http.post("/api/customers/password/forgot", &forgot).await.status, 202);
    }
    world.http.post("/api/customers/password/forgot", &forgot).await.refused(429, "too_many_requests");
    let wrong = json!({ "current_password": "a guess at it" });
    for _ in 0..10 {
        ada.http.post("/api/customers/me/delete", &wrong).await.refused(403, "wrong_password");
    }
    ada.http.post("/api/customers/me/delete", &wrong).await.refused(429, "too_many_requests");
    let change = json!({ "current_password": "a guess at it", "new_password": "something else 5" });
    ada.http.post("/api/customers/password", &change).await.refused(429, "too_many_requests");
    let mut refused = None;
    for number in 0..31 {
        let body = json!({ "email": format!("new{number}@example.com"), "password": "a fine password 3" });
        let answer = world.http.post("/api/customers/signup", &body).await;
        refused = refused.or((answer.status == 429).then_some(number));
    }
    assert_eq!(refused, Some(29), "thirty accounts at once from one network, ada's among them");
}

async fn a_busy_customer_is_counted_in_the_shared_store(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let before = world.app.now();
    for _ in 0..150 {
        ada.refresh(&ada.license).await.accepted();
    }
    let sql = "select full_at from rate_limits where bucket like 'license:%'";
    let rows = world.app.db.query(sql).all().await.unwrap();
    assert_eq!(rows.len(), 1);
    // A tenth of the thousand was taken at once, and ten of them come back in a second.
    let full_at = rows[0].get::<i64>("full_at").unwrap();
    assert!((before.as_micros()..=world.app.now().as_micros()).contains(&(full_at - 10_000_000)), "{full_at} {before}");
    // What other replicas have taken is gone here as well.
    let far = world.app.now().plus_days(1).as_micros();
    let sql = "update rate_limits set full_at = $1 where bucket like 'license:%'";
    world.app.db.query(sql).bind(far).execute().await.unwrap();
    let mut went_ahead = 0;
    while went_ahead < 100 && ada.refresh(&ada.license).await.status != 429 {
        went_ahead += 1;
    }
    // What is left of the block, and one a second, from the first on, that every customer has for itself.
    let seconds = world.app.now().seconds_since(before) + 1;
    assert!((49..=50 + seconds).contains(&went_ahead), "{went_ahead} in {seconds} s");
}

async fn without_the_database_nobody_is_let_in(world: &World) {
    world.allow_unsettled();
    world.app.db.query("drop table rate_limits").execute().await.unwrap();
    let error = world.app.limit_login(&network(1), "ada@example.com").await.unwrap_err();
    assert!(matches!(error, Error::Failed(_)), "{error}");
    assert!(log_in(world, None, "a guess at it").await.status >= 500);
    let new = json!({ "email": "ada@example.com", "password": "a fine password 3" });
    assert!(world.http.post("/api/customers/signup", &new).await.status >= 500);
    let forgot = json!({ "email": "ada@example.com" });
    assert!(world.http.post("/api/customers/password/forgot", &forgot).await.status >= 500);
    // What the provider sends is signed, and would only come again: it is not counted.
    for _ in 0..5 {
        world.deliver(&world.event("customer.updated", json!({ "object": "customer" }))).await.accepted();
    }
}

async fn events_of_the_provider_are_not_limited(world: &World) {
    for _ in 0..700 {
        let event = world.event("customer.updated", json!({ "object": "customer" }));
        let body = event.to_string();
        let signature = world.sign(&body, world.app.now().as_unix_seconds());
        world.deliver_signed(body, Some(&signature)).await.accepted();
    }
    let sql = "select cast(count(*) as bigint) as n from rate_limits";
    assert_eq!(world.app.db.query(sql).one().await.unwrap().get::<i64>("n").unwrap(), 0);
}

/// How many mails there are or were, whatever became of their texts.
async fn all_mails(world: &World) -> i64 {
    let sql = "select cast(count(*) as bigint) as n from outbox where kind = 'mail'";
    world.app.db.query(sql).one().await.unwrap().get("n").unwrap()
}

async fn sign_up_from(world: &World, network: &str, email: &str) -> Answer {
    let request = world.http.request(Method::POST, "/api/customers/signup").header("x-forwarded-for", network);
    world.http.send(request.json(&json!({ "email": email, "password": "a fine password 3" }))).await
}

async fn nobody_is_sent_mails_by_many_networks_and_in_many_spellings(world: &World) {
    let mut refused = 0;
    for number in 0..20 {
        let email = format!("a.d{}a+{number}@gmail.com", if number % 2 == 0 { "." } else { "" });
        let answer = sign_up_from(world, &format!("198.51.100.{number}"), &email).await;
        assert!(matches!(answer.status, 201 | 429), "{}", answer.body);
        refused += usize::from(answer.status == 429);
    }
    assert_eq!((refused, all_mails(world).await), (15, 5));
    // The answer does not say whether there is an account: neither before the limit nor beyond it.
    sign_up_from(world, "203.0.113.1", "a.d.a+0@gmail.com").await.refused(429, "too_many_requests");
    // A change of address is no way around.
    let mut eve = world.visitor("eve@example.com");
    eve.sign_up().await.accepted();
    let wish = json!({ "new_email": "ada@gmail.com", "current_password": eve.password });
    eve.http.post("/api/customers/email", &wish).await.refused(429, "too_many_requests");
    let wish = json!({ "new_email": "zoe@gmail.com", "current_password": eve.password });
    assert_eq!(eve.http.post("/api/customers/email", &wish).await.status, 202, "others notice nothing");
    // And the owner of one of the accounts logs in, and gets a new password.
    let owner = world.http.request(Method::POST, "/api/customers/login").header("x-forwarded-for", "203.0.113.2");
    let owner = owner.json(&json!({ "email": "a.d.a+0@gmail.com", "password": "a fine password 3" }));
    world.http.send(owner).await.accepted();
    let before = all_mails(world).await;
    let forgot = world.http.request(Method::POST, "/api/customers/password/forgot");
    let forgot = forgot.header("x-forwarded-for", "203.0.113.2").json(&json!({ "email": "a.d.a+0@gmail.com" }));
    assert_eq!(world.http.send(forgot).await.status, 202);
    world.until("the mail is written", async || all_mails(world).await == before + 1).await;
}

async fn signing_a_stranger_up_and_going_again_sends_few_mails(world: &World) {
    let mut refused = 0;
    for number in 0..30 {
        let mut account = world.visitor("victim@example.com");
        let network = format!("198.51.100.{number}");
        let answer = sign_up_from(world, &network, "victim@example.com").await;
        if answer.status == 429 {
            refused += 1;
            continue;
        }
        // A mail that still waits when its account goes is not sent.
        world.worked_off().await;
        account.password = "a fine password 3".to_owned();
        account.log_in().await.accepted();
        let gone = json!({ "current_password": account.password });
        assert_eq!(account.http.post("/api/customers/me/delete", &gone).await.status, 204);
    }
    assert_eq!((refused, all_mails(world).await), (27, 5), "three accounts, and two of them said goodbye");
    // Who has been here for long is told, whatever strangers have used up.
    let mut owner = world.visitor("victim@example.com");
    owner.password = "a fine password 3".to_owned();
    world.sandbox().advance(HOUR).await;
    sign_up_from(world, "203.0.113.1", "victim@example.com").await.accepted();
    world.sandbox().advance(25 * HOUR).await;
    for number in 0..6 {
        sign_up_from(world, &format!("203.0.113.{number}"), "victim@example.com").await;
    }
    owner.log_in().await.accepted();
    let before = all_mails(world).await;
    let gone = json!({ "current_password": owner.password });
    assert_eq!(owner.http.post("/api/customers/me/delete", &gone).await.status, 204);
    assert_eq!(all_mails(world).await, before + 1);
}

/// A goodbye that somebody is owed is said on the first day as well, whatever strangers have used up.
async fn whose_address_is_verified_and_whom_an_operator_deletes_is_told_so(world: &World) {
    for name in ["verified", "deleted by an operator"] {
        let email = format!("{}@example.com", name.replace(' ', "."));
        let signed_up = sign_up_from(world, "203.0.113.1", &email).await.accepted();
        let customer_id: CustomerId = signed_up["customer"]["customer_id"].as_str().unwrap().parse().unwrap();
        for _ in 0..6 {
            sign_up_from(world, "203.0.113.1", &email).await;
        }
        world.worked_off().await;
        let before = all_mails(world).await;
        if name == "verified" {
            let verified = "update customers set email_verified_at = $2 where customer_id = $1";
            world.app.db.query(verified).bind(&customer_id).bind(world.app.now()).execute().await.unwrap();
            let deleted = world.app.delete_own_account(&customer_id, "a fine password 3", Running::Refuse).await;
            deleted.unwrap();
        } else {
            let by = By::command_line("a wish by telephone").unwrap();
            world.app.delete_customer_by(&customer_id, &by, Running::Refuse).await.unwrap();
        }
        assert_eq!(all_mails(world).await, before + 1, "{name}");
    }
}

async fn links_that_are_asked_for_again_are_limited_by_address_and_network(world: &World) {
    let ada = world.customer("ada@example.com").await;
    for _ in 0..5 {
        let answer = ada.http.post("/api/customers/email/verify/resend", &serde_json::Value::Null).await;
        assert!(matches!(answer.status, 202 | 429), "{}", answer.body);
    }
    let sql = "select cast(count(*) as bigint) as n from rate_limits where bucket like 'mail_address:%' or bucket like 'mail_network:%'";
    assert_eq!(world.app.db.query(sql).one().await.unwrap().get::<i64>("n").unwrap(), 2, "one of each");
    let answer = ada.http.post("/api/customers/email/verify/resend", &serde_json::Value::Null).await;
    answer.refused(429, "too_many_requests");
}

/// Whether an attempt went ahead, or was told to wait.
fn went_ahead<T>(result: Result<T, Error>) -> bool {
    match result {
        Ok(_) => true,
        Err(Error::Refused(Refusal::TooManyRequests { retry_after_seconds })) => {
            assert!(retry_after_seconds > 0);
            false
        }
        Err(error) => panic!("{error}"),
    }
}

async fn a_customer_takes_few_exports_along(world: &World) {
    let (ada, ben) = (world.customer("ada@example.com").await, world.customer("ben@example.com").await);
    for _ in 0..10 {
        ada.http.get("/api/customers/me/export").await.accepted();
    }
    ada.http.get("/api/customers/me/export").await.refused(429, "too_many_requests");
    let page = ada.http.send(ada.http.request(Method::GET, "/account/export")).await;
    assert_eq!(page.status, 429, "the page counts with the API");
    ben.http.get("/api/customers/me/export").await.accepted();
    world.app.export_for_operators(&id_of(&ada)).await.expect("operators are not counted");
}

async fn calls_to_the_provider_are_few_for_each_customer_on_all_replicas(world: &World) {
    let (mut ada, mut ben) = (world.customer("ada@example.com").await, world.customer("ben@example.com").await);
    ada.subscribe(world, "starter").await;
    ben.subscribe(world, "starter").await;
    let (id, other) = (id_of(&ada), replica(world));
    let mut opened = 0;
    for _ in 0..40 {
        for app in [&world.app, &other] {
            opened += usize::from(went_ahead(app.open_portal(&id, None).await));
        }
    }
    // A checkout was the first of the sixty, and one comes back in half a minute.
    assert!((59..=62).contains(&opened), "{opened} of 80 calls went ahead");
    world.settled().await;
    world.sandbox().reset_calls().await;
    let preview = json!({ "plan": "professional", "preview": true });
    for (path, body) in [
        ("portal", json!({})),
        ("change", preview.clone()),
        ("change", json!({ "plan": "professional" })),
        ("cancel", json!(null)),
        ("resume", json!(null)),
        ("checkout", ada.wish("starter")),
    ] {
        let refused = ada.http.post(&format!("/api/subscriptions/{path}"), &body).await;
        assert!(
            refused.header("retry-after").parse::<u32>().is_ok_and(|seconds| (1..=31).contains(&seconds)),
            "{path}"
        );
        refused.refused(429, "too_many_requests");
    }
    let page = ada.http.send(ada.http.request(Method::GET, "/account/change?plan=professional")).await;
    assert_eq!(page.status, 429, "the page counts with the API");
    let calls = world.sandbox().calls().await;
    assert!(!calls.keys().any(|call| call.starts_with("POST")), "the provider notices nothing: {calls:?}");
    ben.http.post("/api/subscriptions/portal", &json!({})).await.accepted();
    ben.http.post("/api/subscriptions/change", &preview).await.accepted();
}

async fn who_asks_for_a_customer_uses_up_nothing_of_the_customers_own(world: &World) {
    let ada = id_of(&world.customer("ada@example.com").await);
    let ben = id_of(&world.customer("ben@example.com").await);
    for caller in [Caller::Anonymous, Caller::Customer(ben)] {
        for _ in 0..70 {
            let _counted = went_ahead(world.app.limit_provider_for(&caller, &ada).await);
        }
        assert!(!went_ahead(world.app.limit_provider_for(&caller, &ada).await));
    }
    assert!(went_ahead(world.app.limit_provider_for(&Caller::Customer(ada.clone()), &ada).await));
}

async fn who_comes_back_from_paying_too_often_is_shown_what_is_known(world: &World) {
    let ada = world.customer("ada@example.com").await;
    ada.checkout_url("starter").await;
    let sql = "select attempt_id from checkout_attempts";
    let attempt: String = world.app.db.query(sql).one().await.unwrap().get("attempt_id").unwrap();
    let path = format!("/checkout/return?attempt={attempt}");
    for _ in 0..62 {
        assert_eq!(ada.http.send(ada.http.request(Method::GET, &path)).await.status, 200);
    }
    world.sandbox().reset_calls().await;
    let page = ada.http.send(ada.http.request(Method::GET, &path)).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let calls = world.sandbox().calls().await;
    assert!(!calls.keys().any(|call| call.contains("checkout")), "the provider is not asked any more: {calls:?}");
}

both_engines!(
    Setup::configured(super::ON);
    a_customer_takes_few_exports_along,
    calls_to_the_provider_are_few_for_each_customer_on_all_replicas,
    who_asks_for_a_customer_uses_up_nothing_of_the_customers_own,
    who_comes_back_from_paying_too_often_is_shown_what_is_known,
    a_guesser_is_stopped_on_all_replicas_and_the_owner_is_not,
    many_networks_at_one_account_are_slowed_and_lock_nobody_out,
    the_networks_of_an_ipv6_site_are_few,
    an_invented_address_is_no_way_around,
    mails_accounts_and_passwords_are_limited_too,
    a_busy_customer_is_counted_in_the_shared_store,
    without_the_database_nobody_is_let_in,
    events_of_the_provider_are_not_limited,
);
both_engines!(
    Setup::configured(super::BEHIND_A_PROXY);
    nobody_is_sent_mails_by_many_networks_and_in_many_spellings,
    signing_a_stranger_up_and_going_again_sends_few_mails,
    whose_address_is_verified_and_whom_an_operator_deletes_is_told_so,
);
both_engines!(
    Setup::configured(super::VERIFIED);
    links_that_are_asked_for_again_are_limited_by_address_and_network,
);

#[tokio::test]
async fn many_pairs_from_one_network_are_few_on_sqlite() {
    tell(Engine::Sqlite, Setup::configured(ON), many_pairs_from_one_network_are_few).await;
}

#[tokio::test]
async fn many_pairs_from_one_network_are_few_on_postgres() {
    tell(Engine::Postgres, Setup::configured(ON), many_pairs_from_one_network_are_few).await;
}

#[tokio::test]
async fn behind_a_proxy_each_client_counts_for_itself_on_sqlite() {
    tell(Engine::Sqlite, Setup::configured(BEHIND_A_PROXY), behind_a_proxy_each_client_counts_for_itself).await;
}
