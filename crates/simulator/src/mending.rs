//! What comes after the users' lives: everything is mended, time passes, and everybody looks once more.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use counterfoil::app::App;

use crate::evidence::{self, Book, Columns, Person, Stripe};
use crate::replicas::Replicas;
use crate::users::User;
use crate::world::World;

/// How long the mended world has until everything must be in order.
const MENDED: Duration = Duration::from_secs(3 * 3_600);

/// The least that it is given: an event that was lost for ever is found by the hourly reading of the log.
const MENDED_LEAST: Duration = Duration::from_secs(90 * 60);

/// How soon after that our book must say what Stripe says.
const SOON: Duration = Duration::from_secs(10 * 60);

/// How long it waits between two looks whether it is.
const STEP: Duration = Duration::from_secs(600);

/// How often, and with which pause, somebody looks for a moment at which no lease is held.
const MOMENTS: usize = 20;
const MOMENT: Duration = Duration::from_secs(7);

/// What was seen after everything had been mended.
pub(crate) struct Mended {
    /// A little while after.
    pub(crate) soon: (Stripe, Book),
    /// At the end.
    pub(crate) people: Vec<Person>,
}

pub(crate) async fn mend(world: &Arc<World>, replicas: &Arc<Replicas>, users: Vec<User>) -> anyhow::Result<Mended> {
    world.heal();
    for life in replicas.lives() {
        life.go_on();
        if world.was_key_refused() {
            // An operator has put the new key in, and starts every server with it.
            life.kill();
        }
    }
    replicas.set_pace(30);
    tokio::time::sleep(SOON).await;
    let app = replicas.any_app().context("a mended world has a replica")?;
    let soon = (Stripe::read(world), Book::read(&app).await?);
    replicas.set_pace(240);
    tokio::time::sleep(MENDED_LEAST).await;
    let mut waited = MENDED_LEAST;
    while waited < MENDED && !is_settled(world, replicas).await {
        tokio::time::sleep(STEP).await;
        waited += STEP;
    }
    replicas.set_pace(2);
    let mut people = Vec::new();
    for user in users {
        people.push(Person::at_the_end(user).await);
    }
    // Whoever has just logged in may have caused a look.
    tokio::time::sleep(Duration::from_secs(120)).await;
    Ok(Mended { soon, people })
}

/// Whether nothing is owed any more, so that waiting longer would show nothing else.
async fn is_settled(world: &World, replicas: &Replicas) -> bool {
    let Some(app) = replicas.any_app() else { return false };
    let sql = "select (select count(*) from webhook_inbox where state = 'pending') \
               + (select count(*) from outbox where state = 'pending') as owed";
    let owed: Option<i64> = app.db.query(sql).one().await.ok().and_then(|row| row.get("owed").ok());
    owed == Some(0) && world.sandbox().undelivered() == 0
}

/// The leases that are held when nobody works on anything any more: looks are short, so that there is a moment at which none is
/// under way, and whoever died with a lease did so long ago.
pub(crate) async fn leases_at_rest(world: &World, app: &App) -> anyhow::Result<Vec<Columns>> {
    let slowest = world.swarm.skews.iter().copied().min().unwrap_or(0).min(0);
    let mut held = evidence::held(app, slowest).await?;
    for _ in 0..MOMENTS {
        if held.is_empty() {
            break;
        }
        tokio::time::sleep(MOMENT).await;
        held = evidence::held(app, slowest).await?;
    }
    Ok(held)
}
