//! The surroundings of all replicas: one clock, one Stripe, one mail server, one database, and everything that they do wrong.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use counterfoil::mail::MailError;
use counterfoil::points;
use counterfoil::simulation::{self, Progress, SentLetter, StripeAnswer};
use counterfoil_stripe_sandbox::Sandbox;
use counterfoil_stripe_sandbox::simulation::Truth;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tower::ServiceExt as _;

use crate::dice::Dice;
use crate::fault::{Course, Edge, Here, KINDS_OF_MAIL, Kind, Taken};
use crate::history::{History, Mail};
use crate::swarm::Swarm;

/// When every story begins: a Friday, 15 January 2027, 10:00 UTC.
pub const BEGIN_SECONDS: i64 = 1_800_007_200;

/// Longer than any patience with Stripe.
pub(crate) const NEVER: Duration = Duration::from_secs(600);

pub struct World {
    pub swarm: Swarm,
    pub(crate) course: Course,
    /// The steps of a fixed course, each where it was taken.
    pub(crate) taken: Mutex<Vec<Taken>>,
    pub history: Mutex<History>,
    /// Chance as the application sees it.
    pub(crate) chance: Mutex<Dice>,
    /// What goes wrong on the ways.
    faults: Mutex<Dice>,
    sandbox: OnceLock<Sandbox>,
    /// The sandbox's way in, which is made once and cloned cheaply.
    way_in: OnceLock<Router>,
    pub(crate) driver: Handle,
    begun: OnceLock<Instant>,
    healed: AtomicBool,
    pub(crate) outage_until: AtomicI64,
    key_refused_until: AtomicI64,
    disk_full_until: AtomicI64,
    pub(crate) held: AtomicI64,
    /// Uses of the database so far.
    pub steps: AtomicU64,
    /// Whether the story is told aloud while it happens.
    aloud: bool,
}

impl World {
    pub fn new(seed: u64, swarm: Swarm, course: Course, driver: Handle, aloud: bool) -> Arc<Self> {
        Arc::new(Self {
            swarm,
            course,
            taken: Mutex::default(),
            history: Mutex::default(),
            chance: Mutex::new(Dice::new(seed, "chance")),
            faults: Mutex::new(Dice::new(seed, "faults")),
            sandbox: OnceLock::new(),
            way_in: OnceLock::new(),
            driver,
            begun: OnceLock::new(),
            healed: AtomicBool::new(false),
            outage_until: AtomicI64::new(0),
            key_refused_until: AtomicI64::new(0),
            disk_full_until: AtomicI64::new(0),
            held: AtomicI64::new(0),
            steps: AtomicU64::new(0),
            aloud,
        })
    }

    /// Starts the clock; within the simulated runtime.
    pub fn begin(&self, sandbox: Sandbox) {
        self.begun.get_or_init(Instant::now);
        self.sandbox.get_or_init(|| sandbox);
    }

    pub fn sandbox(&self) -> &Sandbox {
        self.sandbox.get().expect("a world that has begun has a Stripe")
    }

    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn elapsed(&self) -> Duration {
        self.begun.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// True time, in Unix seconds.
    pub fn now_seconds(&self) -> i64 {
        BEGIN_SECONDS + i64::try_from(self.elapsed().as_secs()).unwrap_or(0)
    }

    pub fn tell(&self, line: std::fmt::Arguments<'_>) {
        let at = self.elapsed().as_secs_f64();
        if self.aloud {
            println!("{at:>12.3}  {line}");
        }
        self.history().story.tell(at, line);
    }

    pub fn count(&self, what: &'static str) {
        self.history().count(what);
    }

    pub fn breach(&self, what: String) {
        self.tell(format_args!("BREACH {what}"));
        self.history().breaches.push(what);
    }

    /// Seconds between two looks of a worker for what others have left: seldom where users are slow, as nothing happens in between.
    pub fn ordinary_pace(&self) -> u64 {
        (self.swarm.think_seconds / 6).clamp(1, 20)
    }

    /// From now on nothing goes wrong.
    pub fn heal(&self) {
        self.tell(format_args!("everything is mended"));
        self.healed.store(true, Ordering::SeqCst);
        self.outage_until.store(0, Ordering::SeqCst);
    }

    pub fn is_healed(&self) -> bool {
        self.healed.load(Ordering::SeqCst)
    }

    /// Stripe answers nobody for so long.
    pub fn begin_outage(&self, hours: u64) {
        self.tell(format_args!("Stripe is away for {hours} hours"));
        self.outage_until.store(self.now_seconds() + i64::try_from(hours * 3600).unwrap_or(0), Ordering::SeqCst);
    }

    pub fn is_outage(&self) -> bool {
        self.now_seconds() < self.outage_until.load(Ordering::SeqCst)
    }

    /// Whether the disk below the database is full: one stretch in the life of this world.
    pub(crate) fn is_disk_full(&self) -> bool {
        self.is_in_stretch(&self.disk_full_until, self.swarm.disk_full_seconds, 100, "the disk is full")
    }

    /// Whether somebody has rolled the key and has not told us yet: one stretch in the life of this world.
    pub(crate) fn is_key_refused(&self) -> bool {
        self.is_in_stretch(&self.key_refused_until, self.swarm.key_refused_seconds, 200, "Stripe refuses our key")
    }

    /// Something that goes wrong once for so many seconds, 0 for never. It begins by chance, so many times of ten thousand.
    fn is_in_stretch(&self, until: &AtomicI64, seconds: u64, times: u64, what: &str) -> bool {
        if seconds > 0 && until.load(Ordering::SeqCst) == 0 && self.strikes(times) {
            self.tell(format_args!("{what} for {seconds} s"));
            until.store(self.now_seconds() + i64::try_from(seconds).unwrap_or(0), Ordering::SeqCst);
        }
        !self.is_healed() && self.now_seconds() < until.load(Ordering::SeqCst)
    }

    /// A draw about what goes wrong; nothing does once the world is healed.
    pub(crate) fn strikes(&self, times: u64) -> bool {
        !self.is_healed() && self.draw(|dice| dice.of_ten_thousand(times))
    }

    /// A step of a replica's. Where the course is fixed it has a number, and what goes wrong with it stands there.
    pub(crate) fn step(&self, edge: Edge, kinds: &'static [Kind], what: impl FnOnce() -> String) -> Here {
        let Course::Fixed(fault) = self.course else { return Here(None) };
        if self.is_healed() {
            return Here(None);
        }
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.push(Taken { edge, what: what(), kinds });
        let number = taken.iter().filter(|step| step.edge == edge).count();
        drop(taken);
        let Some(fault) = fault.filter(|fault| (fault.edge, fault.number) == (edge, number)) else { return Here(None) };
        self.tell(format_args!("here it is: {fault}"));
        Here(Some(fault.kind))
    }

    /// Whether this becomes of a step: where it is what goes wrong in a fixed course, or where chance will have it.
    pub(crate) fn befalls(&self, here: Here, kind: Kind, times: u64) -> bool {
        here.is(kind) || self.strikes(times)
    }

    pub fn draw<T>(&self, draw: impl FnOnce(&mut Dice) -> T) -> T {
        draw(&mut self.faults.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How much longer everything takes the replica that runs.
    pub(crate) fn slowness(&self) -> u64 {
        match simulation::life() {
            Some(life) if self.swarm.priorities && !self.is_healed() => 10_u64.pow(life.replica.min(3) as u32),
            _ => 1,
        }
    }

    pub(crate) fn kill_current(&self, why: &'static str) {
        if let Some(life) = simulation::life() {
            self.count(why);
            self.tell(format_args!("replica {} dies ({why})", life.replica));
            life.kill();
        }
    }

    pub fn was_key_refused(&self) -> bool {
        self.key_refused_until.load(Ordering::SeqCst) != 0
    }

    /// One request to the sandbox, which always answers.
    pub async fn ask_sandbox(&self, method: &str, target: &str, key: Option<&str>, body: &str) -> StripeAnswer {
        let kind =
            if target.starts_with("/_sandbox") { "application/json" } else { "application/x-www-form-urlencoded" };
        let mut request = Request::builder().method(method).uri(target).header("content-type", kind);
        request = request.header("authorization", format!("Bearer {}", counterfoil_stripe_sandbox::API_KEY));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = request.body(Body::from(body.to_owned())).expect("our calls are well formed");
        let way_in = self.way_in.get_or_init(|| self.sandbox().router()).clone();
        let answer = way_in.oneshot(request).await.expect("a router never fails");
        let (parts, body) = answer.into_parts();
        let headers = parts
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect();
        let body = to_bytes(body, usize::MAX).await.expect("the sandbox's answers are whole").to_vec();
        if method != "GET" {
            self.note_versions();
        }
        StripeAnswer { status: parts.status.as_u16(), headers, body }
    }

    /// Something may have changed at Stripe.
    pub(crate) fn note_versions(&self) {
        let subscriptions = self.sandbox().truth(Truth::Subscriptions);
        self.history().note_versions(self.elapsed().as_secs_f64(), &subscriptions);
    }

    pub(crate) async fn take_mail(self: Arc<Self>, letter: SentLetter) -> Result<(), MailError> {
        points::passed("W8");
        tokio::time::sleep(Duration::from_millis(self.draw(|dice| dice.between(1, 2_000)))).await;
        let here = self.step(Edge::Mail, KINDS_OF_MAIL, || letter.subject.clone());
        if here.is(Kind::DieBefore) {
            self.kill_current("died before a mail was taken");
            std::future::pending::<()>().await;
        }
        if self.befalls(here, Kind::Fail, self.swarm.mail_refused) {
            self.count("the mail server did not take a mail");
            return Err(MailError::Unavailable("SMTP status 421".into()));
        }
        self.tell(format_args!("a mail to {}: {}", letter.recipient, letter.subject));
        points::passed("W9");
        let SentLetter { recipient, subject, body_text, message_id } = letter;
        self.history().mails.push(Mail { recipient, subject, body_text, message_id });
        self.count("mails");
        get_on(|progress| &progress.mails);
        if here.is(Kind::DieAfter) {
            self.kill_current("died after a mail was taken");
            std::future::pending::<()>().await;
        }
        if self.befalls(here, Kind::LoseAnswer, self.swarm.mail_taken_unsaid) {
            self.count("the mail server took a mail and did not say so");
            tokio::time::sleep(NEVER).await;
        }
        Ok(())
    }

    pub(crate) fn nothing_is_held(&self, doing: &str) {
        if self.held.load(Ordering::SeqCst) != 0 {
            self.breach(format!("invariant 7: a transaction is open across {doing}"));
        }
    }
}

/// The task that runs has come one step further.
pub(crate) fn get_on(counter: impl FnOnce(&Progress) -> &AtomicU64) {
    if let Some(progress) = simulation::progress() {
        counter(&progress).fetch_add(1, Ordering::SeqCst);
    }
}
