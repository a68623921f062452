//! The replicas: starting them, working in them, killing and stopping them, and reaching one of them as a client does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use counterfoil::app::App;
use counterfoil::cli::service;
use counterfoil::clock::Clock;
use counterfoil::config::Config;
use counterfoil::db::Db;
use counterfoil::mail::Mailer;
use counterfoil::simulation::{Life, Progress, own_by, progress};
use counterfoil::telemetry;
use counterfoil::web::{self, WebOptions, WebState};
use counterfoil::worker::Chore;
use tower::ServiceExt as _;

use crate::world::World;

/// Chores that find nothing to do in most rounds: they would be half of what a seed costs.
const SELDOM: [Chore; 7] = [
    Chore::Agreements,
    Chore::CompromisedKeys,
    Chore::Sessions,
    Chore::Limits,
    Chore::Links,
    Chore::OldEvents,
    Chore::PutOff,
];

/// Of so many rounds they are done in one.
const SELDOM_ROUNDS: u64 = 5;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How soon somebody who rests for long notices that the pace has changed.
const NAP: Duration = Duration::from_secs(600);

/// A process that answers.
#[derive(Clone)]
struct Running {
    life: Arc<Life>,
    app: App,
    router: Router,
}

pub struct Replicas {
    world: Arc<World>,
    db: Db,
    config: Config,
    places: Mutex<Vec<Option<Running>>>,
    /// Seconds between two rounds of a worker.
    pace: AtomicU64,
}

impl Replicas {
    pub fn new(world: &Arc<World>, db: Db, config: Config) -> Arc<Self> {
        let places = (0..world.swarm.replicas).map(|_| None).collect();
        Arc::new(Self { world: Arc::clone(world), db, config, places: Mutex::new(places), pace: AtomicU64::new(2) })
    }

    /// Keeps every replica running: one that has died is started again after a while.
    pub fn supervise(self: &Arc<Self>) {
        for number in 0..self.world.swarm.replicas {
            let replicas = Arc::clone(self);
            tokio::spawn(async move {
                loop {
                    replicas.live_once(number).await;
                    let pause = replicas.world.draw(|dice| dice.between(200, 20_000));
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
            });
        }
    }

    /// One life of a replica, to its end.
    async fn live_once(self: &Arc<Self>, number: usize) {
        let skew = self.world.swarm.skews.get(number).copied().unwrap_or(0);
        let life = Life::new(number, skew * 1_000_000);
        let (replicas, own) = (Arc::clone(self), Arc::clone(&life));
        tokio::spawn(own_by(&life, Progress::of("start"), async move { replicas.run(number, own).await }));
        while !life.is_dead() {
            self.rest(Duration::from_millis(self.beat_millis() / 2)).await;
        }
        self.set(number, None);
    }

    async fn start(&self) -> anyhow::Result<App> {
        let app = service::assemble(&self.config, self.db.clone(), Clock::system(), None).await?;
        app.hasten_hopeless().await?;
        Ok(app)
    }

    async fn run(self: Arc<Self>, number: usize, life: Arc<Life>) {
        let app = loop {
            match self.start().await {
                Ok(app) => break app,
                Err(error) => {
                    self.world.count("a start failed");
                    self.world.tell(format_args!("replica {number} does not start: {error:#}"));
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        };
        self.world.count("starts");
        self.world.tell(format_args!("replica {number} has started"));
        let options =
            WebOptions { https: false, form_targets: Vec::new(), mail_from: "Acme <billing@acme.example>".to_owned() };
        let state = WebState { app: app.clone(), metrics: telemetry::start_metrics(), options: Arc::new(options) };
        self.set(number, Some(Running { life: Arc::clone(&life), app: app.clone(), router: web::router(state) }));
        let sweeping = (Arc::clone(&self), app.clone());
        tokio::spawn(own_by(&life, Progress::of("sweep"), async move { sweeping.0.sweep(sweeping.1).await }));
        self.work(app).await;
    }

    /// The rounds of the workers, as often as the pace says.
    async fn work(&self, app: App) {
        loop {
            // What a round cannot do comes back; what it says of that is in the rows.
            turn_to("inbox");
            let inbox = app.work_inbox().await;
            turn_to("effects");
            let effects = app.work_effects().await;
            turn_to("outbox");
            let mails = app.work_outbox(&Mailer::Simulated).await;
            turn_to("nothing");
            let done = inbox.unwrap_or(0) + effects.unwrap_or(0) + mails.unwrap_or(0);
            if done == 0 {
                tokio::select! {
                    biased;
                    () = app.signals.inbox.notified() => {}
                    () = app.signals.outbox.notified() => {}
                    () = app.signals.effects.notified() => {}
                    () = self.pause(1_000) => {}
                }
            }
        }
    }

    async fn sweep(&self, app: App) {
        let mut round = 0_u64;
        loop {
            self.pause(60_000).await;
            round += 1;
            let chores = Chore::EACH_ROUND.into_iter().chain(Chore::BY_APPOINTMENT);
            for chore in chores.filter(|chore| round % SELDOM_ROUNDS == 1 || !SELDOM.contains(chore)) {
                if let Err(error) = chore.run(&app).await {
                    self.world.tell(format_args!("the round of {} failed: {error}", chore.name()));
                }
            }
        }
    }

    /// A pause of the pace, spread, and at least `least` milliseconds long.
    async fn pause(&self, least: u64) {
        let millis = (self.pace.load(Ordering::SeqCst) * 1_000).max(least);
        let millis = self.world.draw(|dice| dice.between(millis / 2, millis * 3 / 2));
        self.rest(Duration::from_millis(millis)).await;
    }

    /// Sleeps for so long, or until a while after the pace has changed. All at once would wake in an order that no seed decides.
    async fn rest(&self, duration: Duration) {
        let pace = self.pace.load(Ordering::SeqCst);
        let mut left = duration;
        while !left.is_zero() && self.pace.load(Ordering::SeqCst) == pace {
            let nap = left.min(NAP);
            tokio::time::sleep(nap).await;
            left -= nap;
        }
    }

    /// Sleeps for so many beats of what surrounds the replicas.
    pub async fn rest_beats(&self, beats: u64) {
        self.rest(Duration::from_millis(self.beat_millis() * beats)).await;
    }

    pub fn set_pace(&self, seconds: u64) {
        self.pace.store(seconds, Ordering::SeqCst);
    }

    /// How many times as long as usual everything takes that is rare.
    pub fn slow_down(&self) -> u64 {
        (self.beat_millis() / 1_000).max(1)
    }

    /// Milliseconds between two rounds of what surrounds the replicas.
    fn beat_millis(&self) -> u64 {
        self.pace.load(Ordering::SeqCst) * 500
    }

    fn set(&self, number: usize, running: Option<Running>) {
        if let Some(place) = self.places.lock().unwrap_or_else(PoisonError::into_inner).get_mut(number) {
            *place = running;
        }
    }

    fn alive(&self) -> Vec<Running> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.iter().flatten().filter(|running| !running.life.is_dead()).cloned().collect()
    }

    pub fn lives(&self) -> Vec<Arc<Life>> {
        self.alive().into_iter().map(|running| running.life).collect()
    }

    /// The use cases of one that lives, for looking at the tables.
    pub fn any_app(&self) -> Option<App> {
        self.alive().into_iter().next().map(|running| running.app)
    }

    /// Sends a request to one of those that live. `None` where no answer came: whether it was carried out is unknown then.
    pub async fn request(&self, request: Request<Body>) -> Option<(u16, String, String)> {
        let alive = self.alive();
        if alive.is_empty() {
            tokio::time::sleep(Duration::from_millis(500)).await;
            return None;
        }
        let chosen = alive[self.world.draw(|dice| dice.index(alive.len()))].clone();
        let (tell, told) = tokio::sync::oneshot::channel();
        let router = chosen.router.clone();
        let progress = Progress::of(name_of(request.uri().path()));
        match progress.doing() {
            "checkout" => progress.pass("C0"),
            "webhook" => progress.pass("W0"),
            _ => {}
        }
        tokio::spawn(own_by(&chosen.life, progress, async move {
            let answer = router.oneshot(request).await.expect("a router never fails");
            let (parts, body) = answer.into_parts();
            let body = to_bytes(body, usize::MAX).await.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            let headers = format!("{:?}", parts.headers);
            // Nobody listens where the client has gone.
            let _gone = tell.send((parts.status.as_u16(), headers, body.unwrap_or_default()));
        }));
        tokio::time::timeout(PATIENCE, told).await.ok()?.ok()
    }
}

/// Says what the running task does from now on.
fn turn_to(what: &'static str) {
    if let Some(progress) = progress() {
        progress.turn_to(what);
    }
}

/// What a request is for, as the list of deaths calls it.
fn name_of(path: &str) -> &'static str {
    match path {
        "/api/webhooks/stripe" => "webhook",
        "/api/subscriptions/checkout" => "checkout",
        "/api/customers/signup" => "sign-up",
        _ => "another request",
    }
}
