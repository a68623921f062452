//! The world as the application and the sandbox are given it: time, chance, the database's driver, and the fate of each step.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use counterfoil::db::DbError;
use counterfoil::mail::MailError;
use counterfoil::simulation::{self, Boxed, Fate, Progress, SentLetter, Step, StripeAnswer, StripeCall};
use counterfoil_core::{faults, probe};
use tokio::runtime::Handle;

use crate::fault::{Edge, Kind, kinds_of};
use crate::world::{BEGIN_SECONDS, World};

/// The points of a checkout and of a webhook after which something can still die, and the row of the fault catalogue that this is. After
/// `C9`, `W10` and the answer to a webhook nothing is left of the task.
pub const POINTS: [(&str, &str); 19] = [
    ("C0", "F1"),
    ("C1", "F1"),
    ("C2", "F2"),
    ("C3", "F3"),
    ("C4", "F4"),
    ("C5", "F5"),
    ("C6", "F6"),
    ("C7", "F6"),
    ("C8", "F7"),
    ("W0", "F8"),
    ("W1", "F8"),
    ("W2", "F9"),
    ("W3", "F10"),
    ("W4", "F10"),
    ("W5", "F10"),
    ("W6", "F11"),
    ("W7", "F12"),
    ("W8", "F12"),
    ("W9", "F13"),
];

/// What the application is given.
pub struct Surroundings(pub Arc<World>);

impl simulation::World for Surroundings {
    fn now_micros(&self) -> i64 {
        let skew = simulation::life().map_or(0, |life| life.skew_micros.load(Ordering::SeqCst));
        BEGIN_SECONDS * 1_000_000 + i64::try_from(self.0.elapsed().as_micros()).unwrap_or(0) + skew
    }

    fn fill(&self, bytes: &mut [u8]) {
        self.0.chance.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
    }

    fn driver(&self) -> Handle {
        self.0.driver.clone()
    }

    fn pause(&self, _step: Step) -> Duration {
        let world = &self.0;
        if world.is_healed() || world.swarm.database_millis == 0 {
            return Duration::ZERO;
        }
        let millis = world.draw(|dice| {
            let rare = dice.percent(2);
            dice.between(0, world.swarm.database_millis * if rare { 20 } else { 1 })
        });
        Duration::from_millis(millis * world.slowness())
    }

    fn fate(&self, step: Step) -> Fate {
        let (world, Some(life)) = (&self.0, simulation::life()) else { return Fate::Go };
        world.steps.fetch_add(1, Ordering::Relaxed);
        if life.is_dead() {
            return Fate::Die;
        }
        let swarm = &world.swarm;
        let here = world.step(Edge::Database, kinds_of(step), || format!("{}: {step:?}", doing()));
        let lasts = matches!(step, Step::Commit | Step::Single | Step::Write);
        if lasts && world.befalls(here, Kind::DieAfter, swarm.dies_at_database * 2) {
            world.count("died after a commit");
            world.tell(format_args!("replica {} dies (after a commit)", life.replica));
            committed();
            return Fate::DieAfter;
        }
        // Between the provider's answer and our commit there is a step or two, once in a customer's life.
        let rare = if simulation::progress().is_some_and(|progress| progress.point() == "C4") { 20 } else { 1 };
        if world.befalls(here, Kind::DieBefore, swarm.dies_at_database * rare) {
            let why = match step {
                Step::Begin | Step::Single | Step::Write => "died before a transaction",
                Step::Statement => "died inside a transaction",
                Step::Commit => "died before a commit",
            };
            world.kill_current(why);
            return Fate::Die;
        }
        if world.befalls(here, Kind::Conflict, swarm.database_conflicts) {
            probe!("F56");
            world.count("a transaction met another one");
            return Fate::Fail(DbError::Conflict { detail: "simulated".into() });
        }
        if world.befalls(here, Kind::Fail, swarm.database_unavailable) {
            probe!("F57");
            world.count("the database was not available");
            return Fate::Fail(DbError::Unavailable { detail: "simulated".into() });
        }
        if matches!(step, Step::Commit | Step::Write) && world.is_disk_full() {
            probe!("F60");
            world.count("the disk was full");
            return Fate::Fail(DbError::Full { detail: "simulated".into() });
        }
        if lasts {
            committed();
        }
        if lasts && world.befalls(here, Kind::LoseAnswer, swarm.commit_answer_lost) {
            probe!("F55");
            world.count("the answer to a commit was lost");
            return Fate::LoseAnswer;
        }
        Fate::Go
    }

    fn died(&self, at: &Progress) {
        let mut history = self.0.history();
        *history.deaths.entry(at.to_string()).or_default() += 1;
        let way = if at.doing() == "checkout" { "C" } else { "W" };
        if !at.point().is_empty() && at.point().starts_with(way) {
            *history.deaths_after.entry(at.point()).or_default() += 1;
            if let Some((_, row)) = POINTS.iter().find(|(point, _)| *point == at.point()) {
                faults::reach(faults::place_of(row));
            }
        }
    }

    fn hold(&self, change: i64) {
        self.0.held.fetch_add(change, Ordering::SeqCst);
    }

    fn held(&self) -> i64 {
        self.0.held.load(Ordering::SeqCst)
    }

    fn stripe(&self, call: StripeCall) -> Boxed<Result<StripeAnswer, String>> {
        self.0.nothing_is_held("a call to Stripe");
        Box::pin(Arc::clone(&self.0).call_stripe(call))
    }

    fn mail(&self, letter: SentLetter) -> Boxed<Result<(), MailError>> {
        self.0.nothing_is_held("the sending of a mail");
        Box::pin(Arc::clone(&self.0).take_mail(letter))
    }
}

impl counterfoil_stripe_sandbox::simulation::Surroundings for Surroundings {
    fn now_seconds(&self) -> i64 {
        self.0.now_seconds()
    }

    fn fill(&self, bytes: &mut [u8]) {
        self.0.chance.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
    }
}

/// What the task that runs is doing.
pub(crate) fn doing() -> &'static str {
    simulation::progress().map_or("nothing", |progress| progress.doing())
}

/// The task that runs has committed.
fn committed() {
    if let Some(progress) = simulation::progress() {
        progress.commit();
    }
}
