//! The surroundings of all replicas: one clock, one Stripe, one mail server, one database, and everything that they do wrong.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use counterfoil::mail::MailError;
use counterfoil::points;
use counterfoil::simulation::{self, Progress, SentLetter, StripeAnswer, StripeCall};
use counterfoil_core::probe;
use counterfoil_stripe_sandbox::Sandbox;
use counterfoil_stripe_sandbox::simulation::Truth;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tower::ServiceExt as _;

use crate::dice::Dice;
use crate::history::{History, Mail};
use crate::swarm::Swarm;

/// When every story begins: a Friday, 15 January 2027, 10:00 UTC.
pub const BEGIN_SECONDS: i64 = 1_800_007_200;

/// Longer than any patience with Stripe.
const NEVER: Duration = Duration::from_secs(600);

pub struct World {
    pub swarm: Swarm,
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
    outage_until: AtomicI64,
    key_refused_until: AtomicI64,
    pub(crate) held: AtomicI64,
    /// Uses of the database so far.
    pub steps: AtomicU64,
    /// Whether the story is told aloud while it happens.
    aloud: bool,
}

impl World {
    pub fn new(seed: u64, swarm: Swarm, driver: Handle, aloud: bool) -> Arc<Self> {
        Arc::new(Self {
            swarm,
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

    /// A draw about what goes wrong; nothing does once the world is healed.
    pub(crate) fn strikes(&self, times: u64) -> bool {
        !self.is_healed() && self.draw(|dice| dice.of_ten_thousand(times))
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

    /// Holds the replica that runs, for longer than a lease lasts.
    async fn hold_current(&self) {
        let Some(life) = simulation::life() else { return };
        self.count("held with an answer in its hands");
        self.tell(format_args!("replica {} is held with an answer in its hands", life.replica));
        life.stop();
        let seconds = self.draw(|dice| dice.between(15, 90));
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            life.go_on();
        });
        // Here it stands until then.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    pub(crate) async fn call_stripe(self: Arc<Self>, call: StripeCall) -> Result<StripeAnswer, String> {
        let who = simulation::life().map_or(9, |life| life.replica);
        let swarm = &self.swarm;
        let way = self.draw(|dice| dice.between(1, swarm.stripe_millis)) * self.slowness().min(3);
        tokio::time::sleep(Duration::from_millis(way)).await;
        self.count("calls to Stripe");
        if self.is_outage() || self.strikes(swarm.stripe_refuses) {
            probe!("F38");
            self.count("Stripe refused the connection");
            return Err("connection refused".to_owned());
        }
        if self.strikes(swarm.stripe_times_out_before) {
            probe!("F40");
            self.count("Stripe timed out before the deed");
            tokio::time::sleep(NEVER).await;
        }
        if let Some(answer) = self.answer_instead(&call) {
            return Ok(answer);
        }
        if self.strikes(swarm.dies_at_stripe) {
            self.kill_current("died before a call to Stripe");
            std::future::pending::<()>().await;
        }
        let (sent, answered) = points_of(&call);
        sent.into_iter().for_each(points::passed);
        if call.method == "POST" && self.strikes(swarm.stripe_stores_error) {
            self.count("Stripe stored an error under the key");
            self.ask_sandbox("POST", "/_sandbox/faults", None, r#"{"store_error":{"times":1}}"#).await;
        }
        let target = self.in_small_pages(&call.target);
        let answer = self.ask_sandbox(&call.method, &target, call.idempotency_key.as_deref(), &call.body).await;
        get_on(|progress| &progress.calls);
        let path = call.target.split('?').next().unwrap_or_default();
        self.tell(format_args!("replica {who} calls Stripe: {} {path} -> {}", call.method, answer.status));
        self.history().note_look(self.elapsed().as_secs_f64(), &call.method, &call.target);
        if self.is_worst_moment(&call, &answer) {
            self.begin_outage(swarm.outage_hours);
            tokio::time::sleep(NEVER).await;
        }
        if self.strikes(swarm.dies_at_stripe) {
            self.kill_current("died after a call to Stripe");
            std::future::pending::<()>().await;
        }
        if self.strikes(swarm.stops_at_stripe) {
            self.hold_current().await;
        }
        if self.strikes(swarm.stripe_answer_lost) {
            self.count("Stripe's answer was lost");
            tokio::time::sleep(NEVER).await;
        }
        if self.strikes(swarm.stripe_slow) {
            probe!("F45");
            self.count("Stripe was slow");
            let slow = self.draw(|dice| dice.between(1_000, 19_000));
            tokio::time::sleep(Duration::from_millis(slow)).await;
        }
        answered.into_iter().for_each(points::passed);
        Ok(answer)
    }

    /// Whether somebody has rolled the key and has not told us yet: one stretch in the life of this world.
    fn is_key_refused(&self) -> bool {
        let seconds = self.swarm.key_refused_seconds;
        if seconds > 0 && self.key_refused_until.load(Ordering::SeqCst) == 0 && self.strikes(200) {
            self.tell(format_args!("Stripe refuses our key for {seconds} s"));
            let until = self.now_seconds() + i64::try_from(seconds).unwrap_or(0);
            self.key_refused_until.store(until, Ordering::SeqCst);
        }
        !self.is_healed() && self.now_seconds() < self.key_refused_until.load(Ordering::SeqCst)
    }

    pub fn was_key_refused(&self) -> bool {
        self.key_refused_until.load(Ordering::SeqCst) != 0
    }

    /// Stripe may answer with fewer than were asked for and say that there is more.
    fn in_small_pages(&self, target: &str) -> String {
        let is_short = ["/v1/subscriptions?", "/v1/customers?"].iter().any(|list| target.starts_with(list));
        if is_short && self.swarm.small_pages { target.replace("limit=100", "limit=1") } else { target.to_owned() }
    }

    /// Whether the outage that this world has begins now.
    fn is_worst_moment(&self, call: &StripeCall, answer: &StripeAnswer) -> bool {
        let made = call.method == "POST" && call.target == "/v1/customers" && answer.status == 200;
        let first = !self.is_healed() && self.outage_until.load(Ordering::SeqCst) == 0;
        made && first && self.swarm.outage_at_creation
    }

    /// An answer that Stripe gives without doing anything.
    fn answer_instead(&self, call: &StripeCall) -> Option<StripeAnswer> {
        let swarm = &self.swarm;
        if self.is_key_refused() {
            self.count("Stripe refused our key");
            let body = r#"{"error":{"type":"invalid_request_error","message":"Invalid API Key provided"}}"#;
            return Some(refusal(401, body));
        }
        if self.strikes(swarm.stripe_limits) {
            self.count("Stripe limited the rate");
            return Some(refusal(
                429,
                r#"{"error":{"type":"invalid_request_error","code":"rate_limit","message":"slow"}}"#,
            ));
        }
        if self.strikes(swarm.stripe_garbage) {
            self.count("something else answered for Stripe");
            let (status, body) =
                [(502, "<html>bad gateway</html>"), (503, ""), (200, "<html>hello</html>"), (200, "{\"id\": 7")]
                    [self.draw(|dice| dice.index(4))];
            return Some(refusal(status, body));
        }
        if call.idempotency_key.is_some() && self.strikes(swarm.stripe_key_in_use) {
            self.count("the key was in use");
            let body = r#"{"error":{"type":"idempotency_error","code":"idempotency_key_in_use","message":"busy"}}"#;
            return Some(refusal(409, body));
        }
        None
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
        if self.strikes(self.swarm.mail_refused) {
            self.count("the mail server did not take a mail");
            return Err(MailError::Unavailable("SMTP status 421".into()));
        }
        self.tell(format_args!("a mail to {}: {}", letter.recipient, letter.subject));
        points::passed("W9");
        let SentLetter { recipient, subject, body_text, message_id } = letter;
        self.history().mails.push(Mail { recipient, subject, body_text, message_id });
        self.count("mails");
        get_on(|progress| &progress.mails);
        if self.strikes(self.swarm.mail_taken_unsaid) {
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

/// The points of a call to Stripe on the ways of a checkout and of a webhook: sent, and answered.
fn points_of(call: &StripeCall) -> (Option<&'static str>, Option<&'static str>) {
    match (call.method.as_str(), call.target.split('?').next().unwrap_or_default()) {
        ("POST", "/v1/customers") => (Some("C3"), Some("C4")),
        ("POST", "/v1/checkout/sessions") => (Some("C6"), Some("C7")),
        ("GET", "/v1/subscriptions") => (Some("W5"), None),
        _ => (None, None),
    }
}

/// The task that runs has come one step further.
fn get_on(counter: impl FnOnce(&Progress) -> &AtomicU64) {
    if let Some(progress) = simulation::progress() {
        counter(&progress).fetch_add(1, Ordering::SeqCst);
    }
}

fn refusal(status: u16, body: &str) -> StripeAnswer {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    StripeAnswer { status, headers, body: body.as_bytes().to_vec() }
}
