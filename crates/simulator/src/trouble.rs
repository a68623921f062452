//! What happens by itself: webhooks on their way, and replicas that are killed or held.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use counterfoil_core::probe;
use counterfoil_stripe_sandbox::simulation::Due;
use serde_json::Value;

use crate::fault::{Edge, KINDS_OF_WEBHOOK, Kind};
use crate::forgers::signature;
use crate::replicas::Replicas;
use crate::users::address_of;
use crate::world::World;

/// What another product of the same account, or somebody in the vendor's office, wrote on a customer with the address of one of ours.
const NAMESAKES: [&str; 3] = [
    "",
    "&metadata[plan]=gold",
    "&metadata[customer_id]=cust_00000000000000000000000000000001&metadata[instance]=another-instance",
];

/// Webhooks that are sent in one round at most.
const ROUND: usize = 40;

/// Makes customers at Stripe who have the address of one of our users and are nobody of ours.
pub async fn introduce_namesakes(world: &World) {
    for number in 0..world.swarm.users {
        if !world.draw(|dice| dice.percent(world.swarm.namesakes)) {
            continue;
        }
        let what = NAMESAKES[world.draw(|dice| dice.index(NAMESAKES.len()))];
        let body = format!("email={}{what}", address_of(number).replace('@', "%40"));
        let answer = world.ask_sandbox("POST", "/v1/customers", None, &body).await;
        world.tell(format_args!("somebody else at Stripe has the address of user {number} -> {}", answer.status));
        world.count("namesakes");
    }
}

/// Delivers what Stripe wants to tell us, as badly as the world wants it.
pub async fn deliver(world: Arc<World>, replicas: Arc<Replicas>) {
    let mut late: BTreeMap<String, i64> = BTreeMap::new();
    loop {
        world.sandbox().catch_up();
        world.note_versions();
        let mut due = world.sandbox().due(ROUND);
        if world.swarm.delivery_shuffled && !world.is_healed() {
            probe!("F21", due.len() > 1);
            world.draw(|dice| dice.shuffle(&mut due));
        }
        for event in due {
            send(&world, &replicas, &mut late, &event).await;
        }
        replicas.rest_beats(1).await;
    }
}

async fn send(world: &Arc<World>, replicas: &Replicas, late: &mut BTreeMap<String, i64>, event: &Due) {
    let healed = world.is_healed();
    if !healed && event.attempts == 0 {
        let swarm = &world.swarm;
        if let Some(until) = late.get(&event.delivery) {
            if world.now_seconds() < *until {
                return;
            }
        } else {
            // One draw for each webhook decides what becomes of it.
            late.insert(event.delivery.clone(), 0);
            let here = world.step(Edge::Webhook, KINDS_OF_WEBHOOK, || event.kind.clone());
            if world.befalls(here, Kind::Lose, swarm.delivery_lost) {
                world.count("webhooks lost for ever");
                world.tell(format_args!("the webhook {} is lost", event.kind));
                world.history().unheard.extend(counterpart_of(&event.body));
                return world.sandbox().lose(&event.delivery);
            }
            if world.befalls(here, Kind::Late, swarm.delivery_late) {
                world.count("webhooks late");
                let least = if here.is(Kind::Late) { swarm.late_seconds } else { 1 };
                let seconds = world.draw(|dice| dice.between(least, swarm.late_seconds));
                late.insert(event.delivery.clone(), world.now_seconds() + i64::try_from(seconds).unwrap_or(0));
                return;
            }
            if world.befalls(here, Kind::Twice, swarm.delivery_twice) {
                world.count("webhooks sent twice");
                let (first, _second) = tokio::join!(post(world, replicas, event), post(world, replicas, event));
                return world.sandbox().note(&event.delivery, first);
            }
        }
    }
    let taken = post(world, replicas, event).await;
    world.sandbox().note(&event.delivery, taken);
}

/// Stripe's customer whom an event is about.
fn counterpart_of(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let object = &body["data"]["object"];
    let id = if object["object"] == "customer" { &object["id"] } else { &object["customer"] };
    id.as_str().map(str::to_owned)
}

async fn post(world: &Arc<World>, replicas: &Replicas, event: &Due) -> bool {
    let signature = signature(world, &event.body);
    world.count("webhooks");
    world.history().sent.entry(event.event.clone()).or_insert(world.elapsed().as_secs_f64());
    let answer = replicas.request(webhook(&event.body, &signature)).await;
    let status = answer.as_ref().map_or(0, |(status, _, _)| *status);
    world.tell(format_args!("the webhook {} -> {status}", event.kind));
    let taken = (200..300).contains(&status);
    world.history().overheard.get_or_insert_with(|| (event.event.clone(), event.body.clone(), signature));
    if taken {
        world.history().acknowledged.push(event.event.clone());
    }
    taken
}

pub(crate) fn webhook(body: &str, signature: &str) -> Request<Body> {
    Request::builder()
        .method("POST")
        .uri("/api/webhooks/stripe")
        .header("host", "billing.example")
        .header("content-type", "application/json; charset=utf-8")
        .header("stripe-signature", signature)
        .body(Body::from(body.to_owned()))
        .expect("our requests are well formed")
}

/// Kills replicas now and then.
pub async fn kill(world: Arc<World>, replicas: Arc<Replicas>) {
    if world.swarm.kill_every_seconds == 0 {
        return;
    }
    while !world.is_healed() {
        pause(&world, world.swarm.kill_every_seconds * replicas.slow_down()).await;
        let lives = replicas.lives();
        if world.is_healed() || lives.is_empty() {
            continue;
        }
        let life = &lives[world.draw(|dice| dice.index(lives.len()))];
        probe!("F16", lives.len() == 1);
        world.count("killed");
        world.tell(format_args!("replica {} is killed", life.replica));
        life.kill();
    }
}

/// Holds replicas for longer than a lease, and lets them go on.
pub async fn stop(world: Arc<World>, replicas: Arc<Replicas>) {
    if world.swarm.stop_every_seconds == 0 {
        return;
    }
    while !world.is_healed() {
        pause(&world, world.swarm.stop_every_seconds * replicas.slow_down()).await;
        let lives = replicas.lives();
        if world.is_healed() || lives.is_empty() {
            continue;
        }
        let life = &lives[world.draw(|dice| dice.index(lives.len()))];
        world.count("held for longer than a lease");
        world.tell(format_args!("replica {} is held", life.replica));
        life.stop();
        let seconds = world.draw(|dice| dice.between(5, 90));
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        life.go_on();
        world.tell(format_args!("replica {} goes on", life.replica));
    }
}

async fn pause(world: &World, mean_seconds: u64) {
    let millis = world.draw(|dice| dice.between(1, mean_seconds * 2_000));
    tokio::time::sleep(Duration::from_millis(millis)).await;
}
