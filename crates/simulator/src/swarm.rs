//! What kind of world a seed makes: every probability is drawn, so that each world is bad at something else, and some at nothing.

use std::fmt;

use crate::dice::Dice;

/// What is taken away from a world to find out what it needs to fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// At most so many users.
    pub users: Option<usize>,
    /// At most so many deeds of each user.
    pub deeds: Option<usize>,
    /// No crashes and no pauses of replicas.
    pub crashes: bool,
    /// Stripe does as it is told.
    pub stripe_faults: bool,
    /// The database does as it is told.
    pub database_faults: bool,
    /// Webhooks come at once, once and in order.
    pub delivery_faults: bool,
    /// The mail server takes every mail.
    pub mail_faults: bool,
}

/// The nature of a world. Probabilities are in ten thousand.
#[derive(Clone, Debug)]
pub struct Swarm {
    pub replicas: usize,
    /// By how many seconds the replicas' clocks are wrong.
    pub skews: Vec<i64>,
    pub users: usize,
    pub deeds: usize,
    /// The longest that a user thinks, in seconds.
    pub think_seconds: u64,
    /// The longest ordinary way to the database, in milliseconds.
    pub database_millis: u64,
    /// The longest ordinary way to Stripe, in milliseconds.
    pub stripe_millis: u64,
    pub stripe_refuses: u64,
    pub stripe_times_out_before: u64,
    pub stripe_answer_lost: u64,
    pub stripe_limits: u64,
    pub stripe_stores_error: u64,
    pub stripe_garbage: u64,
    pub stripe_slow: u64,
    pub stripe_key_in_use: u64,
    pub dies_at_stripe: u64,
    /// Seconds for which Stripe refuses our key, once it begins to; 0 for never.
    pub key_refused_seconds: u64,
    /// Held for longer than a lease, just when the answer has come.
    pub stops_at_stripe: u64,
    pub database_conflicts: u64,
    pub database_unavailable: u64,
    pub commit_answer_lost: u64,
    pub dies_at_database: u64,
    /// Seconds for which the database has no space, once it has none; 0 for never.
    pub disk_full_seconds: u64,
    /// The mean pause between two kills, in seconds; 0 for none.
    pub kill_every_seconds: u64,
    /// The mean pause between two stops, in seconds; 0 for none.
    pub stop_every_seconds: u64,
    pub delivery_lost: u64,
    pub delivery_twice: u64,
    pub delivery_late: u64,
    /// How late, at most, in seconds.
    pub late_seconds: u64,
    pub delivery_shuffled: bool,
    pub mail_refused: u64,
    pub mail_taken_unsaid: u64,
    /// Replicas differ in speed by orders of magnitude, as in priority-based testing: the slow one sees the oldest world.
    pub priorities: bool,
    /// Hours for which Stripe answers nobody, beginning in the middle; 0 for none.
    pub outage_hours: u64,
    /// Whether that begins at the worst moment: a customer was made, and the answer is lost with everything that follows.
    pub outage_at_creation: bool,
    /// Days that pass after the users' deeds, with renewals in them.
    pub days_after: u64,
    /// Of a hundred users, how many have a namesake at Stripe, who is no customer of ours.
    pub namesakes: u64,
    /// Whether lists come one item a page.
    pub small_pages: bool,
}

impl Swarm {
    /// A world in which nothing goes wrong and nobody lives yet.
    fn calm() -> Self {
        Self {
            replicas: 1,
            skews: Vec::new(),
            users: 0,
            deeds: 0,
            think_seconds: 0,
            database_millis: 0,
            stripe_millis: 0,
            kill_every_seconds: 0,
            stop_every_seconds: 0,
            late_seconds: 0,
            delivery_shuffled: false,
            priorities: false,
            outage_hours: 0,
            outage_at_creation: false,
            days_after: 0,
            namesakes: 0,
            small_pages: false,
            stops_at_stripe: 0,
            key_refused_seconds: 0,
            disk_full_seconds: 0,
            stripe_refuses: 0,
            stripe_times_out_before: 0,
            stripe_answer_lost: 0,
            stripe_limits: 0,
            stripe_stores_error: 0,
            stripe_garbage: 0,
            stripe_slow: 0,
            stripe_key_in_use: 0,
            dies_at_stripe: 0,
            database_conflicts: 0,
            database_unavailable: 0,
            commit_answer_lost: 0,
            dies_at_database: 0,
            delivery_lost: 0,
            delivery_twice: 0,
            delivery_late: 0,
            mail_refused: 0,
            mail_taken_unsaid: 0,
        }
    }

    /// The world of the fixed course: who is woken by nobody looks seldom, so that most steps are those of somebody's deed.
    pub fn fixed() -> Self {
        Self { users: 1, think_seconds: 120, stripe_millis: 10, late_seconds: 3_600, ..Self::calm() }
    }

    pub fn draw(seed: u64, without: &Without) -> Self {
        let dice = &mut Dice::new(seed, "swarm");
        // Each fault is absent in about half of all worlds, rare or frequent in the others.
        let mut odds = |most: u64| if dice.percent(50) { 0 } else { dice.between(1, most) };
        let mut swarm = Self {
            stripe_refuses: odds(800),
            stripe_times_out_before: odds(300),
            stripe_answer_lost: odds(1_000),
            stripe_limits: odds(1_000),
            stripe_stores_error: odds(400),
            stripe_garbage: odds(400),
            stripe_slow: odds(500),
            stripe_key_in_use: odds(400),
            dies_at_stripe: odds(250),
            database_conflicts: odds(40),
            database_unavailable: odds(40),
            commit_answer_lost: odds(60),
            dies_at_database: odds(12),
            delivery_lost: odds(1_500),
            delivery_twice: odds(3_000),
            delivery_late: odds(3_000),
            mail_refused: odds(3_000),
            mail_taken_unsaid: odds(1_500),
            ..Self::calm()
        };
        swarm.draw_rest(dice);
        swarm.take_away(without);
        swarm
    }

    fn draw_rest(&mut self, dice: &mut Dice) {
        self.replicas = usize::try_from(dice.between(1, 4)).unwrap_or(1);
        let skewed = dice.percent(40);
        self.skews = (0..self.replicas)
            .map(|_| if skewed { i64::try_from(dice.between(0, 480)).unwrap_or(0) - 240 } else { 0 })
            .collect();
        self.users = usize::try_from(dice.between(2, 6)).unwrap_or(2);
        self.deeds = usize::try_from(dice.between(10, 30)).unwrap_or(10);
        self.think_seconds = [1, 5, 30, 120][dice.index(4)];
        self.database_millis = [0, 3, 20, 200][dice.index(4)];
        self.stripe_millis = [10, 100, 1_000, 3_000][dice.index(4)];
        self.kill_every_seconds = [0, 20, 60, 300][dice.index(4)];
        self.stop_every_seconds = [0, 0, 60, 200][dice.index(4)];
        self.late_seconds = [5, 60, 3_600, 259_000][dice.index(4)];
        self.delivery_shuffled = dice.percent(50);
        self.priorities = dice.percent(25);
        self.outage_hours = if dice.percent(8) { dice.between(18, 30) } else { 0 };
        self.outage_at_creation = self.outage_hours > 0 && dice.percent(70);
        self.days_after = if dice.percent(25) { dice.between(1, 70) } else { 0 };
        self.namesakes = [0, 0, 50, 100][dice.index(4)];
        self.key_refused_seconds = if dice.percent(10) { dice.between(5, 600) } else { 0 };
        self.stops_at_stripe = [0, 0, 50, 300][dice.index(4)];
        if dice.percent(8) {
            // An endpoint that was never entered, or was switched off.
            self.delivery_lost = 10_000;
        }
        self.small_pages = dice.percent(30);
        self.disk_full_seconds = if dice.percent(10) { dice.between(2, 120) } else { 0 };
    }

    fn take_away(&mut self, without: &Without) {
        self.users = without.users.map_or(self.users, |most| self.users.min(most));
        self.deeds = without.deeds.map_or(self.deeds, |most| self.deeds.min(most));
        if without.crashes {
            (self.kill_every_seconds, self.stop_every_seconds) = (0, 0);
            (self.dies_at_database, self.dies_at_stripe, self.stops_at_stripe) = (0, 0, 0);
        }
        if without.stripe_faults {
            (self.stripe_refuses, self.stripe_times_out_before, self.stripe_answer_lost) = (0, 0, 0);
            (self.stripe_limits, self.stripe_stores_error, self.stripe_garbage) = (0, 0, 0);
            (self.stripe_slow, self.stripe_key_in_use, self.outage_hours) = (0, 0, 0);
            self.key_refused_seconds = 0;
        }
        if without.database_faults {
            (self.database_conflicts, self.database_unavailable, self.commit_answer_lost) = (0, 0, 0);
            self.disk_full_seconds = 0;
        }
        if without.delivery_faults {
            (self.delivery_lost, self.delivery_twice, self.delivery_late) = (0, 0, 0);
            self.delivery_shuffled = false;
        }
        if without.mail_faults {
            (self.mail_refused, self.mail_taken_unsaid) = (0, 0);
        }
    }
}

impl fmt::Display for Swarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { replicas, skews, users, deeds, .. } = self;
        writeln!(f, "{replicas} replicas (clocks off by {skews:?} s), {users} users with up to {deeds} deeds each")?;
        write!(f, "{self:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_nature_and_what_is_taken_away_is_gone() {
        let whole = Swarm::draw(11, &Without::default());
        assert_eq!(format!("{whole:?}"), format!("{:?}", Swarm::draw(11, &Without::default())));
        let calm = Without {
            users: Some(1),
            deeds: Some(3),
            crashes: true,
            stripe_faults: true,
            database_faults: true,
            delivery_faults: true,
            mail_faults: true,
        };
        for seed in 0..200 {
            let swarm = Swarm::draw(seed, &calm);
            assert!(swarm.users == 1 && swarm.deeds == 3 && swarm.kill_every_seconds == 0, "{swarm}");
            assert_eq!(swarm.stripe_refuses + swarm.delivery_lost + swarm.mail_refused + swarm.dies_at_database, 0);
        }
    }

    #[test]
    fn worlds_differ() {
        let natures: std::collections::BTreeSet<usize> =
            (0..50).map(|seed| Swarm::draw(seed, &Without::default()).replicas).collect();
        assert_eq!(natures.len(), 4);
    }
}
