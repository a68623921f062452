//! Revocation that works offline: what the signed lists say after an upgrade, a refund, a dispute and an operator's no; and a
//! product that never asks its user for anything.

use std::sync::Arc;

use counterfoil::app::operators::By;
use counterfoil::store::license_statuses;
use counterfoil_license::{
    Client, ClientSettings, Expectations, KeySet, Pin, Refreshed, State, StatusList, Verifier, inspect,
};
use serde_json::Value;

use crate::actors::Visitor;
use crate::money_back::{decide, disputing, payments, refund};
use crate::world::{World, id_of};

async fn keys(world: &World) -> KeySet {
    KeySet::from_jwks(&world.http.get("/.well-known/jwks.json").await.body).expect("a key set")
}

/// The path of the list that a licence names.
fn path(token: &str) -> String {
    let place = inspect(token).expect("a licence").1.status_list.expect("a place in a list");
    let (_, path) = place.uri.split_once("/status-lists/").expect("a list of this server");
    format!("/status-lists/{path}")
}

/// What a product without network says of a licence, by the list as it is now.
async fn offline(world: &World, token: &str) -> State {
    let keys = keys(world).await;
    let answer = world.http.get(&path(token)).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/statuslist+jwt"), "{}", answer.body);
    let list = StatusList::open(&answer.body, &keys).expect("a list of a trusted key");
    let expect = Expectations::new(world.config.public_url.as_str(), &world.config.product);
    let verifier = Verifier::new(&keys, expect).status_list(Some(&list)).require_status_list(true);
    verifier.verify(token, world.app.now().as_unix_seconds()).state
}

/// Lists are looked at once a minute.
async fn a_minute_later(world: &World) {
    world.sandbox().advance(61).await;
    world.settled().await;
}

async fn token(visitor: &Visitor) -> String {
    visitor.current_license().await.accepted()["token"].as_str().expect("a token").to_owned()
}

async fn a_list_is_the_same_text_until_something_changes(world: &World) {
    assert_eq!(world.app.count_status_lists().await.unwrap(), 0, "nobody has a place yet");
    let mut ada = world.customer("ada@example.com").await;
    let ben = world.customer("ben@example.com").await;
    let place = |token: &str| inspect(token).unwrap().1.status_list.unwrap();
    assert_eq!(place(&ada.license).uri, place(&ben.license).uri, "many licences share a list");
    assert_ne!(place(&ada.license).idx, place(&ben.license).idx);
    assert_eq!(offline(world, &ada.license).await, State::Valid);
    assert_eq!(world.app.count_status_lists().await.unwrap(), 1);
    let (one, again) = (world.app.status_list(1).await.unwrap(), world.app.status_list(1).await.unwrap());
    assert!(Arc::ptr_eq(&one, &again), "a list is signed once a minute at most");
    let first = world.http.get("/status-lists/1.jwt").await;
    assert_eq!(first.header("cache-control"), "public, max-age=60");
    let etag = first.header("etag").to_owned();
    a_minute_later(world).await;
    let second = world.http.get("/status-lists/1.jwt").await;
    assert_eq!((second.header("etag"), &second.body), (etag.as_str(), &first.body));
    let known = world.http.request(reqwest::Method::GET, "/status-lists/1.jwt").header("if-none-match", &etag);
    let known = world.http.send(known).await;
    assert_eq!((known.status, known.body.as_str(), known.header("etag")), (304, "", etag.as_str()));
    ada.subscribe(world, "professional").await;
    a_minute_later(world).await;
    let third = world.http.get("/status-lists/1.jwt").await;
    assert_ne!(third.header("etag"), etag);
    let list = StatusList::open(&third.body, &keys(world).await).unwrap();
    assert_eq!(
        (list.entries.count(), list.ttl_seconds, list.expires_at - list.issued_at),
        (65_536, Some(3_600), 259_200)
    );
    // A day later the words are the same, and the list is signed anew long before it ends.
    world.sandbox().advance(86_400).await;
    world.settled().await;
    let fourth = world.http.get("/status-lists/1.jwt").await;
    let renewed = StatusList::open(&fourth.body, &keys(world).await).unwrap();
    assert_eq!((renewed.entries == list.entries, renewed.expires_at > list.expires_at), (true, true));
    for wrong in ["2.jwt", "0.jwt", "-1.jwt", "01.jwt", "1", "x.jwt"] {
        world.http.get(&format!("/status-lists/{wrong}")).await.refused(404, "status_list_not_found");
    }
}

async fn after_an_upgrade_the_old_version_is_superseded_and_still_good(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let trial = ada.license.clone();
    ada.subscribe(world, "starter").await;
    assert_eq!(offline(world, &trial).await, State::Superseded);
    assert_eq!(offline(world, &ada.license).await, State::Valid);
}

async fn after_a_refund_nothing_is_good_until_something_is_paid_again(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let trial = ada.license.clone();
    ada.subscribe(world, "professional").await;
    let refunded = ada.license.clone();
    refund(world, &payments(world, &ada).await[0], None).await;
    world.settled().await;
    assert_eq!((offline(world, &trial).await, offline(world, &refunded).await), (State::Revoked, State::Revoked));
    let subscription = world.stored(&ada).await.stripe_subscription_id.unwrap();
    world.sandbox().delete(&format!("/v1/subscriptions/{subscription}")).await;
    world.settled().await;
    ada.subscribe(world, "starter").await;
    a_minute_later(world).await;
    assert_eq!(offline(world, &ada.license).await, State::Valid);
    assert_eq!((offline(world, &trial).await, offline(world, &refunded).await), (State::Revoked, State::Revoked));
    let judged = ada.validate(&refunded).await;
    assert_eq!((judged["valid"].as_bool(), judged["code"].as_str()), (Some(false), Some("withdrawn")));
    assert_eq!(ada.refresh(&refunded).await.accepted()["token"], ada.license.as_str(), "and leads to what is paid for");
}

async fn while_a_dispute_is_open_the_license_is_suspended(world: &World) {
    let ada = disputing(world).await;
    assert_eq!(offline(world, &ada.license).await, State::Suspended);
    decide(world, "won").await;
    a_minute_later(world).await;
    assert_eq!(
        (offline(world, &ada.license).await, offline(world, &token(&ada).await).await),
        (State::Superseded, State::Valid)
    );
}

/// As after a pause: the same licence is in force again, and no new one takes its place.
async fn what_comes_back_without_a_new_version_is_in_force_again(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let trial = ada.license.clone();
    ada.subscribe(world, "professional").await;
    let states = async || (offline(world, &trial).await, offline(world, &ada.license).await);
    for (suspends, expected) in
        [(true, (State::Suspended, State::Suspended)), (false, (State::Superseded, State::Valid))]
    {
        let (id, now) = (id_of(&ada), world.app.now());
        let mut tx = world.app.db.begin().await.unwrap();
        let changed = match suspends {
            true => license_statuses::suspend_all(&mut tx, &id, now).await,
            false => license_statuses::restore_all(&mut tx, &id, now).await,
        };
        assert_eq!(changed.unwrap(), 2);
        tx.commit().await.unwrap();
        a_minute_later(world).await;
        assert_eq!(states().await, expected);
    }
}

async fn after_a_lost_dispute_the_license_is_withdrawn(world: &World) {
    let ada = disputing(world).await;
    decide(world, "lost").await;
    assert_eq!(offline(world, &ada.license).await, State::Revoked);
}

async fn a_canceled_subscription_is_out_of_force_and_a_paid_one_comes_back(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let canceled = ada.license.clone();
    let subscription = world.stored(&ada).await.stripe_subscription_id.unwrap();
    world.sandbox().delete(&format!("/v1/subscriptions/{subscription}")).await;
    world.settled().await;
    assert_eq!(offline(world, &canceled).await, State::Suspended, "nobody took any money back");
    // The same plan to the same second would be the same licence.
    world.sandbox().advance(5).await;
    ada.subscribe(world, "professional").await;
    a_minute_later(world).await;
    assert_eq!(
        (offline(world, &canceled).await, offline(world, &ada.license).await),
        (State::Superseded, State::Valid)
    );
}

async fn what_an_operator_revokes_stays_withdrawn_when_another_is_issued(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let leaked = ada.license.clone();
    let by = By::command_line("posted in a forum").unwrap();
    world.app.revoke_licenses(&id_of(&ada), &by).await.unwrap();
    assert_eq!(offline(world, &leaked).await, State::Revoked);
    let issued = world.app.issue_by(&id_of(&ada), &by).await.unwrap();
    a_minute_later(world).await;
    assert_eq!((offline(world, &leaked).await, offline(world, &issued.token).await), (State::Revoked, State::Valid));
}

/// The client that vendors embed, in a product that was installed with the trial.
struct Product {
    client: Option<Client>,
    _folder: tempfile::TempDir,
}

impl Product {
    async fn install(world: &World, license: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = ClientSettings {
            issuer: world.config.public_url.as_str().to_owned(),
            audience: world.config.product.clone(),
            pin: Pin::Keys { jwks: world.http.get("/.well-known/jwks.json").await.body },
            folder: folder.path().to_owned(),
            require_status_list: false,
        };
        let mut client = Client::open(settings);
        let installed = client.install(license, world.app.now().as_unix_seconds()).unwrap();
        assert_eq!(installed.state, State::Valid);
        Self { client: Some(client), _folder: folder }
    }

    /// What the product's own thread does: the client waits for its answers, so it gets a thread here as well.
    async fn refresh(&mut self, world: &World) -> (Refreshed, State) {
        let (mut client, now) = (self.client.take().unwrap(), world.app.now().as_unix_seconds());
        let (client, refreshed) = tokio::task::spawn_blocking(move || {
            let refreshed = client.refresh_if_due(now);
            (client, refreshed)
        })
        .await
        .unwrap();
        let state = client.current(now).state;
        self.client = Some(client);
        (refreshed.expect("the server answers"), state)
    }

    fn has_feature(&self, world: &World, feature: &str) -> bool {
        self.client.as_ref().unwrap().current(world.app.now().as_unix_seconds()).has_feature(feature)
    }
}

async fn a_product_takes_up_an_upgrade_by_itself_and_stops_after_a_refund(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let mut product = Product::install(world, &ada.license).await;
    assert_eq!(product.refresh(world).await, (Refreshed::UpToDate, State::Valid));
    assert_eq!(product.refresh(world).await.0, Refreshed::NotDue);
    assert!(!product.has_feature(world, "api_access"));
    ada.subscribe(world, "professional").await;
    // The list that it has is good for an hour, and a little more so that not all ask at once.
    world.sandbox().advance(2 * 3_600).await;
    world.settled().await;
    assert_eq!(product.refresh(world).await, (Refreshed::NewLicense, State::Valid));
    assert!(product.has_feature(world, "api_access"));
    refund(world, &payments(world, &ada).await[0], None).await;
    world.settled().await;
    world.sandbox().advance(2 * 3_600).await;
    world.settled().await;
    let (refreshed, state) = product.refresh(world).await;
    assert_eq!(state, State::Revoked);
    assert_eq!(refreshed, Refreshed::UpToDate, "it asks for a licence once a day");
    assert!(!product.has_feature(world, "core"));
    world.sandbox().advance(24 * 3_600).await;
    world.settled().await;
    assert_eq!(product.refresh(world).await, (Refreshed::Refused("no_license".to_owned()), State::Revoked));
    let judged: Value = ada.validate(&ada.license).await;
    assert_eq!(judged["code"], "refunded");
}

both_engines!(
    a_list_is_the_same_text_until_something_changes,
    after_an_upgrade_the_old_version_is_superseded_and_still_good,
    after_a_refund_nothing_is_good_until_something_is_paid_again,
    a_canceled_subscription_is_out_of_force_and_a_paid_one_comes_back,
    what_an_operator_revokes_stays_withdrawn_when_another_is_issued,
    a_product_takes_up_an_upgrade_by_itself_and_stops_after_a_refund,
);

both_engines!(
    Setup::configured(crate::money_back::HOLD);
    while_a_dispute_is_open_the_license_is_suspended,
    what_comes_back_without_a_new_version_is_in_force_again,
    after_a_lost_dispute_the_license_is_withdrawn,
);
