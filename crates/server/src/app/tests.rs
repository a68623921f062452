//! Use cases against the sandbox as provider, where an order of events or a fault has to be brought about exactly.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use counterfoil_core::return_url::ReturnUrls;
use counterfoil_core::signing_key::KeyState;
use counterfoil_core::{Catalog, CustomerId, InstanceId, Interval, Plan, PlanCode, Price, Refusal};
use counterfoil_license::SigningKey;
use counterfoil_stripe_sandbox::{API_KEY, Sandbox, SandboxConfig, SeedPrice};
use serde_json::{Value, json};

use super::checkout::CheckoutRequest;
use super::customers::SignUp;
use super::leases::Afterwards;
use super::saving::Seen;
use super::sessions::{Arrival, Caller};
use super::settings::{
    CheckoutAuth, CheckoutTrial, DisputePolicy, DuplicatePolicy, EmailVerification, OnDelete, TrialPer,
};
use super::sync::Begun;
use super::testing::plan;
use super::*;
use crate::db::testing::{TestDb, engines, fresh};
use crate::providers::Made;
use crate::providers::stripe::{Stripe, StripeConfig};
use crate::store::inbox::NewEvent;

mod limits;
mod manual;
mod queues;

struct World {
    app: App,
    stripe: String,
    _db: TestDb,
}

/// An application on a fresh database, and a sandbox of its own.
async fn world(engine: crate::db::Engine) -> World {
    let db = fresh(engine).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stripe = format!("http://{}", listener.local_addr().unwrap());
    let prices = [("price_m", "month", 4900), ("price_y", "year", 49_000)].map(|(id, interval, amount)| SeedPrice {
        price_id: id.to_owned(),
        product_name: "Professional".to_owned(),
        description: String::new(),
        interval: interval.to_owned(),
        currency: "eur".to_owned(),
        amount,
        product_key: "professional".to_owned(),
    });
    let config = SandboxConfig {
        public_url: stripe.clone(),
        api_key: API_KEY.to_owned(),
        data: None,
        prices: prices.to_vec(),
        webhook: None,
    };
    let sandbox = Sandbox::open(config).unwrap();
    tokio::spawn(async move { axum::serve(listener, sandbox.router()).await });
    let provider = Stripe::new(StripeConfig::new(stripe.clone(), API_KEY.into(), vec![], false), Box::new(|| 0.0));
    let app = App {
        manual: Arc::new(Manual::new(db.db.clone(), Clock::system(), Entropy, false)),
        db: db.db.clone(),
        clock: Clock::system(),
        entropy: Entropy,
        provider: Arc::new(provider.unwrap()),
        catalog: Arc::new(catalog()),
        keys: Keyring::new(Some(SigningKey::from_seed(&[7; 32])), std::path::Path::new("/nowhere"), None),
        hasher: hasher::Hasher::new(1),
        settings: Arc::new(Settings {
            public_url: "http://localhost:3100".to_owned(),
            product: "product".to_owned(),
            product_name: "Product".to_owned(),
            return_urls: ReturnUrls::new(Vec::new(), true),
            checkout_auth: CheckoutAuth::CustomerId,
            dispute_policy: DisputePolicy::Ignore,
            duplicate_policy: DuplicatePolicy::Flag,
            on_delete: OnDelete::Keep,
            checkout_trial: CheckoutTrial::End,
            email_verification: EmailVerification::Off,
            trial_per: TrialPer::Person,
            trial_reminders: true,
            status_list: settings::StatusListSettings {
                url: "http://localhost:3100/status-lists".to_owned(),
                ttl_seconds: 3_600,
                life_seconds: 72 * 3_600,
            },
            rate_limits: crate::config::RateLimits::all(),
            trusted_proxies: crate::config::TrustedProxies::default(),
            sandbox: true,
        }),
        instance: Arc::new(Instance {
            instance_id: InstanceId::from_random([1; 16]),
            realm: "sandbox".to_owned(),
            ledger_key: vec![1; 32],
        }),
        holder: "run_1".into(),
        signals: Arc::default(),
        read_keys: Arc::default(),
        status_lists: Arc::default(),
        limits: Arc::default(),
        exports: Arc::default(),
    };
    start::ready_keys(&app.db, &app.keys, &app.entropy, app.now()).await.unwrap();
    World { app, stripe, _db: db }
}

fn catalog() -> Catalog {
    let price = |interval, stripe_price: &str, amount| Price {
        interval,
        currency: "eur".to_owned(),
        amount,
        stripe_price: stripe_price.to_owned(),
    };
    let prices = vec![price(Interval::Month, "price_m", 4900), price(Interval::Year, "price_y", 49_000)];
    Catalog::new(vec![plan("trial", 14), Plan { prices, ..plan("professional", 0) }]).unwrap()
}

impl World {
    async fn customer(&self) -> CustomerId {
        self.customer_called("ada@example.com").await
    }

    async fn customer_called(&self, email: &str) -> CustomerId {
        let wish = SignUp::parse(email, "SecurePass123".to_owned(), None).unwrap();
        self.app.sign_up(wish, &Arrival::unknown()).await.unwrap().0.customer.customer_id
    }

    async fn checkout(&self, customer_id: &CustomerId, interval: Interval) -> Result<String, Error> {
        let request = CheckoutRequest {
            customer_id: customer_id.to_string(),
            plan: PlanCode::new("professional"),
            interval: Some(interval),
            currency: None,
            success_url: "http://localhost:3000/success".to_owned(),
            cancel_url: "http://localhost:3000/cancel".to_owned(),
        };
        Ok(self.app.start_checkout(&Caller::Anonymous, request).await?.checkout_url)
    }

    async fn external_id(&self, customer_id: &CustomerId) -> String {
        let account = self.app.account(customer_id).await.unwrap();
        account.customer.external_id.unwrap().as_str().to_owned()
    }

    async fn stripe(&self, method: reqwest::Method, path: &str, form: &str) -> Value {
        let request =
            reqwest::Client::builder().no_proxy().build().unwrap().request(method, self.stripe.clone() + path);
        let request = request.bearer_auth(API_KEY).header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(form.to_owned()).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {answer:?}");
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    async fn fault(&self, fault: Value) {
        let url = format!("{}/_sandbox/faults", self.stripe);
        let request = reqwest::Client::builder().no_proxy().build().unwrap().post(url);
        let request = request.header("content-type", "application/json").body(fault.to_string());
        assert!(request.send().await.unwrap().status().is_success());
    }

    /// Three customers in their order, each with an event that waits.
    async fn three_with_events(&self) -> Vec<CustomerId> {
        let mut three = Vec::new();
        for name in ["ada", "bob", "eve"] {
            three.push(self.customer_called(&format!("{name}@example.com")).await);
        }
        three.sort();
        for (number, customer_id) in three.iter().enumerate() {
            self.event_called(&format!("evt_{number}"), customer_id, 0).await;
        }
        let assign = "update webhook_inbox set customer_id = claimed_customer";
        self.app.db.query(assign).execute().await.unwrap();
        three
    }

    /// Looks at these customers, and writes together what was seen.
    async fn look_together(&self, customers: &[CustomerId], meanwhile: &'static str) -> Vec<Result<bool, Error>> {
        let begun = self.app.begin_looks(customers).await.unwrap();
        let mut looked = Vec::new();
        for (customer_id, begun) in begun {
            let Begun::Ready(lease, before) = begun else { panic!("{customer_id} is free") };
            let sight = self.app.look(&before).await.unwrap();
            looked.push((lease, before, sight));
        }
        self.app.db.query(meanwhile).bind(&customers[1]).execute().await.unwrap();
        let seen: Vec<Seen<'_>> = looked.iter().map(|(lease, before, sight)| Seen { lease, before, sight }).collect();
        let saved = self.app.save_looks(&seen, Afterwards::GiveBack).await;
        saved.into_iter().map(|saved| saved.map(|saved| saved.changed)).collect()
    }

    async fn processed(&self) -> Vec<String> {
        let sql = "select event_id from webhook_inbox where state = 'processed' order by event_id";
        let rows = self.app.db.query(sql).all().await.unwrap();
        rows.iter().map(|row| row.get("event_id").unwrap()).collect()
    }

    /// An event about this customer, as if it had come in `age_days` ago.
    async fn event(&self, customer_id: &CustomerId, age_days: i64) {
        self.event_called("evt_1", customer_id, age_days).await;
    }

    async fn event_called(&self, event_id: &str, customer_id: &CustomerId, age_days: i64) {
        let event = NewEvent {
            source: crate::store::inbox::Source::Webhook,
            provider: self.app.provider.name(),
            account: "",
            event_id,
            event_type: "invoice.paid",
            livemode: false,
            api_version: None,
            external_customer: None,
            external_payment: None,
            claimed_customer: Some(customer_id.as_str()),
            claimed_instance: Some(self.app.instance.instance_id.as_str()),
            body: b"{}",
            ignored_because: None,
        };
        let mut tx = self.app.db.begin().await.unwrap();
        assert!(crate::store::inbox::insert(&mut tx, &event, self.app.now().plus_days(-age_days)).await.unwrap());
        tx.commit().await.unwrap();
    }

    /// The same service with another setting.
    fn with(&self, change: impl FnOnce(&mut Settings)) -> App {
        let mut settings = (*self.app.settings).clone();
        change(&mut settings);
        App { settings: Arc::new(settings), ..self.app.clone() }
    }

    async fn event_row(&self) -> (String, i64) {
        let row = self.app.db.query("select state, attempts from webhook_inbox").one().await.unwrap();
        (row.get("state").unwrap(), row.get("attempts").unwrap())
    }
}

#[tokio::test]
async fn a_lease_that_was_given_back_is_free_by_every_clock() {
    for engine in engines() {
        let world = world(engine).await;
        let customer_id = world.customer().await;
        let ahead = App { clock: Clock::with_offset(Arc::new(AtomicI64::new(300))), ..world.app.clone() };
        let lease = ahead.try_lease(&customer_id).await.unwrap().unwrap();
        assert!(world.app.try_lease(&customer_id).await.unwrap().is_none(), "it is held");
        ahead.release(lease).await;
        assert!(world.app.try_lease(&customer_id).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn of_looks_that_are_written_together_the_one_whose_lease_was_lost_is_left_out() {
    for engine in engines() {
        let world = world(engine).await;
        let three = world.three_with_events().await;
        let taken_over = "update customer_leases set fence = fence + 1 where customer_id = $1";
        let saved = world.look_together(&three, taken_over).await;
        assert!(matches!(saved[..], [Ok(false), Err(Error::Failed(Failure::CustomerBusy)), Ok(false)]), "{saved:?}");
        assert_eq!(world.processed().await, ["evt_0", "evt_2"]);
        assert!(world.app.try_lease(&three[0]).await.unwrap().is_some(), "given back");
        assert!(world.app.try_lease(&three[1]).await.unwrap().is_none(), "somebody else has it");
    }
}

#[tokio::test]
async fn of_looks_that_are_written_together_one_that_fails_loses_nothing_of_the_others() {
    for engine in engines() {
        let world = world(engine).await;
        let three = world.three_with_events().await;
        let spoiled = "delete from subscriptions where customer_id = $1";
        let saved = world.look_together(&three, spoiled).await;
        assert!(matches!(saved[..], [Ok(false), Err(_), Ok(false)]), "{saved:?}");
        assert_eq!(world.processed().await, ["evt_0", "evt_2"]);
    }
}

#[tokio::test]
async fn waiting_for_somebody_elses_look_is_no_try() {
    for engine in engines() {
        let world = world(engine).await;
        let customer_id = world.customer().await;
        let lease = world.app.try_lease(&customer_id).await.unwrap().unwrap();
        world.event(&customer_id, 0).await;
        let mut claims = 0;
        while claims < 3 {
            claims += world.app.work_inbox().await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(world.event_row().await, ("pending".to_owned(), 0));
        world.app.release(lease).await;
        while world.event_row().await.0 == "pending" {
            world.app.work_inbox().await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(world.event_row().await, ("processed".to_owned(), 1));
    }
}

#[tokio::test]
async fn an_event_that_waited_for_days_is_not_given_up_at_its_first_try() {
    for engine in engines() {
        let world = world(engine).await;
        let customer_id = world.customer().await;
        world.checkout(&customer_id, Interval::Month).await.unwrap();
        world.event(&customer_id, 30).await;
        world.fault(json!({ "calls": { "fail": 1000, "status": 401 } })).await;
        assert_eq!(world.app.work_inbox().await.unwrap(), 1);
        assert_eq!(world.event_row().await, ("pending".to_owned(), 1));
        let tries = "update webhook_inbox set attempts = 20, run_at = received_at where attempts = 1";
        world.app.db.query(tries).execute().await.unwrap();
        assert_eq!(world.app.work_inbox().await.unwrap(), 1);
        assert_eq!(world.event_row().await.0, "dead");
    }
}

#[tokio::test]
async fn nobody_pays_beside_a_subscription_that_only_the_provider_knows_of() {
    for engine in engines() {
        let world = world(engine).await;
        let customer_id = world.customer().await;
        world.checkout(&customer_id, Interval::Month).await.unwrap();
        let external = world.external_id(&customer_id).await;
        let post = reqwest::Method::POST;
        let card = world
            .stripe(post.clone(), "/v1/payment_methods/pm_card_visa/attach", &format!("customer={external}"))
            .await;
        let card = format!("invoice_settings[default_payment_method]={}", card["id"].as_str().unwrap());
        world.stripe(post.clone(), &format!("/v1/customers/{external}"), &card).await;
        let form = format!("customer={external}&items[0][price]=price_m");
        let made = world.stripe(post, "/v1/subscriptions", &form).await;
        assert_eq!(made["status"], "active");
        // Another wish than the open session's, so that a new one would have to be opened.
        let refused = world.checkout(&customer_id, Interval::Year).await;
        assert!(matches!(refused, Err(Error::Refused(Refusal::AlreadySubscribed))), "{refused:?}");
    }
}

/// A plan is offered and charged in that currency from then on.
#[tokio::test]
async fn the_currency_that_a_look_has_seen_is_kept() {
    for engine in engines() {
        let world = world(engine).await;
        let customer_id = world.customer().await;
        world.checkout(&customer_id, Interval::Month).await.unwrap();
        let external = world.external_id(&customer_id).await;
        let post = async |path: &str, form: &str| world.stripe(reqwest::Method::POST, path, form).await;
        let looked = async || {
            world.app.sync_customer(&customer_id).await.unwrap();
            let mut tx = world.app.db.begin_read().await.unwrap();
            crate::store::links::find_currency(&mut tx, &customer_id, world.app.provider.name()).await.unwrap()
        };
        assert_eq!(looked().await, None, "nothing is settled yet");
        post("/v1/invoiceitems", &format!("customer={external}&amount=1000&currency=eur")).await;
        let including = format!("customer={external}&pending_invoice_items_behavior=include");
        let invoice = post("/v1/invoices", &including).await["id"].as_str().unwrap().to_owned();
        post(&format!("/v1/invoices/{invoice}/finalize"), "").await;
        assert_eq!(looked().await.as_deref(), Some("eur"));
    }
}

#[tokio::test]
async fn the_open_page_of_a_customer_that_was_deleted_is_not_answered_again() {
    for engine in engines() {
        let world = world(engine).await;
        let customer_id = world.customer().await;
        let first = world.checkout(&customer_id, Interval::Month).await.unwrap();
        let external = world.external_id(&customer_id).await;
        world.stripe(reqwest::Method::DELETE, &format!("/v1/customers/{external}"), "").await;
        world.app.sync_customer(&customer_id).await.unwrap();
        let second = world.checkout(&customer_id, Interval::Month).await.unwrap();
        assert_ne!(first, second);
        assert_ne!(world.external_id(&customer_id).await, external);
    }
}

#[tokio::test]
async fn a_stored_error_does_not_keep_a_page_open_for_a_day() {
    for engine in engines() {
        let world = world(engine).await;
        let customer_id = world.customer().await;
        let first = world.checkout(&customer_id, Interval::Month).await.unwrap();
        world
            .fault(json!({ "store_error": { "times": 1, "path": "/v1/checkout/sessions/*", "method": "POST" } }))
            .await;
        let failed = world.checkout(&customer_id, Interval::Year).await;
        assert!(matches!(failed, Err(Error::Failed(Failure::Provider(_)))), "{failed:?}");
        let second = world.checkout(&customer_id, Interval::Year).await.unwrap();
        assert_ne!(first, second);
    }
}

#[tokio::test]
async fn the_account_of_the_sandbox_is_not_examined() {
    for engine in engines() {
        let world = world(engine).await;
        let codes = |report: crate::checks::Report| report.checks.iter().map(|check| check.code).collect::<Vec<_>>();
        let of_account = codes(world.app.examine_provider().await.unwrap());
        assert!(of_account.len() > 1, "{of_account:?}");
        let told = codes(world.app.examine(false).await);
        assert!(told.contains(&"provider"), "{told:?}");
        let more: Vec<&str> =
            told.into_iter().filter(|code| *code != "provider" && of_account.contains(code)).collect();
        assert!(more.is_empty(), "{more:?}");
    }
}

#[tokio::test]
async fn a_key_that_is_given_at_a_start_signs_from_then_on_and_alone() {
    for engine in engines() {
        let world = world(engine).await;
        let keys = Keyring::new(Some(SigningKey::from_seed(&[8; 32])), std::path::Path::new("/nowhere"), None);
        // The second start finds what the first has done.
        for _start in 0..2 {
            start::ready_keys(&world.app.db, &keys, &world.app.entropy, world.app.now()).await.unwrap();
        }
        let mut tx = world.app.db.begin_read().await.unwrap();
        let mut known = crate::store::signing_keys::list_all(&mut tx).await.unwrap();
        known.sort_by_key(|key| key.state == KeyState::Active);
        let told: Vec<(&str, KeyState)> = known.iter().map(|key| (key.key_id.as_str(), key.state)).collect();
        let (old, new) = (SigningKey::from_seed(&[7; 32]), SigningKey::from_seed(&[8; 32]));
        assert_eq!(told, [(old.key_id(), KeyState::Retired), (new.key_id(), KeyState::Active)]);
    }
}

#[tokio::test]
async fn whatever_a_look_comes_to_its_customer_is_free_for_the_next_one() {
    for engine in engines() {
        let world = world(engine).await;
        let customer_id = world.customer().await;
        world.checkout(&customer_id, Interval::Month).await.unwrap();
        let cancels = world.with(|settings| settings.duplicate_policy = DuplicatePolicy::Cancel);
        for (app, is_away) in [(&world.app, true), (&world.app, false), (&cancels, true), (&cancels, false)] {
            let fail = if is_away { 1_000 } else { 0 };
            world.fault(json!({ "calls": { "fail": fail, "status": 503 } })).await;
            assert_eq!(app.sync_customer(&customer_id).await.is_err(), is_away);
            let lease = app.try_lease(&customer_id).await.unwrap().expect("it is free");
            app.release(lease).await;
        }
    }
}

#[tokio::test]
async fn a_payment_page_that_was_never_heard_of_is_given_up_after_a_day() {
    for engine in engines() {
        let world = world(engine).await;
        let customer_id = world.customer().await;
        world.checkout(&customer_id, Interval::Month).await.unwrap();
        let lost = "update checkout_attempts set state = 'opening', external_id = null, created_at = $1";
        for (hours, state) in [(25, "opening"), (27, "failed")] {
            let created_at = world.app.now().plus_seconds(-hours * 3_600);
            world.app.db.query(lost).bind(created_at).execute().await.unwrap();
            world.app.sync_customer(&customer_id).await.unwrap();
            let row = world.app.db.query("select state from checkout_attempts").one().await.unwrap();
            assert_eq!(row.get::<String>("state").unwrap(), state, "after {hours} hours");
        }
    }
}

#[tokio::test]
async fn a_counterpart_that_came_to_be_after_it_was_given_up_is_linked_again() {
    for engine in engines() {
        let world = world(engine).await;
        let customer_id = world.customer().await;
        let customer = world.app.account(&customer_id).await.unwrap().customer;
        let ensure = async || world.app.ensure_external_customer(world.app.provider.as_ref(), &customer).await.unwrap();
        let made = ensure().await;
        assert!(made.is_new && ensure().await == Made { is_new: false, ..made.clone() });
        for given_up in [
            "update billing_links set state = 'retired', external_id = null",
            "update customers set stripe_customer_id = null",
        ] {
            world.app.db.query(given_up).execute().await.unwrap();
        }
        assert!(world.app.adopt_external_customer(&customer_id, &made.id).await.unwrap());
        assert_eq!(world.external_id(&customer_id).await, made.id.as_str());
        assert_eq!(ensure().await, Made { is_new: false, ..made.clone() });
        assert!(!world.app.adopt_external_customer(&customer_id, &made.id).await.unwrap(), "it is linked");
    }
}

#[tokio::test]
async fn the_account_is_examined_where_there_is_one_and_it_answers() {
    let world = world(crate::db::Engine::Sqlite).await;
    let codes = |report: crate::checks::Report| report.checks.iter().map(|check| check.code).collect::<Vec<_>>();
    let not_the_sandbox = world.with(|settings| settings.sandbox = false);
    let well = codes(not_the_sandbox.examine(false).await);
    world.fault(json!({ "calls": { "fail": 1_000, "status": 503 } })).await;
    let away = codes(not_the_sandbox.examine(false).await);
    let end = |codes: &[&str], provider| codes.len() - codes.iter().position(|code| *code == provider).unwrap();
    assert!(end(&well, "provider") > 2, "{well:?}");
    assert_eq!(end(&away, "provider_unavailable"), 1, "{away:?}");
}

#[tokio::test]
async fn a_status_list_is_looked_at_once_a_minute_by_whatever_the_clock_says() {
    for engine in engines() {
        let mut world = world(engine).await;
        let offset = Arc::new(AtomicI64::new(0));
        world.app.clock = Clock::with_offset(Arc::clone(&offset));
        world.customer().await;
        let etag = async || world.app.status_list(1).await.unwrap().etag.clone();
        let mark = async |listed: &str| {
            let sql = format!("update license_statuses set listed = '{listed}'");
            assert_eq!(world.app.db.query(sql.leak()).execute().await.unwrap(), 1);
        };
        let valid = etag().await;
        mark("suspended").await;
        assert_eq!(etag().await, valid, "a moment later");
        offset.store(-3_600, Ordering::Relaxed);
        let suspended = etag().await;
        assert_ne!(suspended, valid, "by a clock that was set back");
        mark("invalid").await;
        assert_eq!(etag().await, suspended, "a moment later");
        offset.store(-3_600 + i64::from(status_lists::LIST_FRESH_SECONDS), Ordering::Relaxed);
        assert_ne!(etag().await, suspended, "a minute later");
    }
}
