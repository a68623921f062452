//! A small exhaustive check of the window protocol: two workers, every interleaving up to a depth, crashes at every point,
//! lost answers, stored server errors, and a provider that forgets keys after a day. It runs the real `next_step` and `judge`;
//! around them stands what the shell does. Two wrong protocols run as well, to show that the model would notice.

use std::collections::HashSet;

use counterfoil_core::link::{
    Candidate, Link, LinkState, POISON_WAIT_SECONDS, SETTLE_SECONDS, Step, Verdict, WINDOW_SECONDS,
};
use counterfoil_core::link::{judge, next_step};
use counterfoil_core::{CustomerId, ExternalCustomerId, IdempotencyKey, InstanceId, Timestamp};

/// The provider remembers a key at least this long after its first use.
const KEY_SECONDS: i64 = 24 * 3600;

/// What the shell guarantees: a request reaches the provider within this time of its check, or never (its deadline is far
/// shorter; the rest is a process that slept).
const CHECK_TO_SEND_SECONDS: i64 = SETTLE_SECONDS - 1;

const DEPTH: usize = 13;

type Policy = fn(Option<&Link>, Timestamp) -> Step;

/// The row of the link, as small as the model can have it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Row {
    generation: i64,
    opened_at: i64,
    poisoned_at: Option<i64>,
    external: Option<i64>,
}

/// What a worker holds in memory between two of its steps; a crash loses it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
enum Worker {
    #[default]
    Idle,
    Sending {
        generation: i64,
        checked_at: i64,
    },
    /// By the provider, or by its list.
    Answered {
        generation: i64,
        id: i64,
    },
    SawStoredError {
        generation: i64,
    },
    SawNone {
        generation: i64,
    },
}

/// What the provider stored under a key. Customers are numbered by the generation that made them.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Remembered {
    generation: i64,
    used_at: i64,
    error: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct World {
    now: i64,
    row: Option<Row>,
    keys: Vec<Remembered>,
    customers: Vec<i64>,
    workers: [Worker; 2],
}

fn ours() -> (CustomerId, InstanceId) {
    (CustomerId::from_random([1; 16]), InstanceId::from_random([2; 16]))
}

fn link(row: &Row) -> Link {
    let state = match (row.external, row.poisoned_at) {
        (Some(id), _) => LinkState::Active(ExternalCustomerId::new(id.to_string())),
        (None, Some(at)) => LinkState::Poisoned { at: Timestamp::from_unix_seconds(at) },
        (None, None) => LinkState::Creating,
    };
    Link {
        generation: row.generation,
        key: IdempotencyKey::customer(&ours().1, &ours().0, row.generation),
        email: "ada@example.com".into(),
        frozen: String::new(),
        opened_at: Timestamp::from_unix_seconds(row.opened_at),
        state,
    }
}

impl World {
    fn with(&self, index: usize, worker: Worker) -> Self {
        let mut next = self.clone();
        next.workers[index] = worker;
        next
    }

    /// Everything that worker can do next; each of these is one atomic step of the shell or of the provider.
    fn steps_of(&self, index: usize, policy: Policy) -> Vec<Self> {
        let mut next = match self.workers[index] {
            Worker::Idle => vec![self.decide(index, policy)],
            Worker::Sending { generation, checked_at } if self.now - checked_at <= CHECK_TO_SEND_SECONDS => {
                self.provider_hears(index, generation)
            }
            Worker::Sending { .. } => vec![],
            Worker::Answered { generation, id } => {
                vec![self.update(index, generation, |row| row.external = Some(id))]
            }
            Worker::SawStoredError { generation } => {
                let now = self.now;
                vec![self.update(index, generation, |row| row.poisoned_at = row.poisoned_at.or(Some(now)))]
            }
            Worker::SawNone { generation } => vec![self.open(index, Some(generation))],
        };
        // A crash, or an answer that never comes.
        next.push(self.with(index, Worker::Idle));
        next
    }

    /// Reads the row and asks the policy; the look-up is part of the step, what it found is written in another.
    fn decide(&self, index: usize, policy: Policy) -> Self {
        let link = self.row.as_ref().map(link);
        let generation = self.row.as_ref().map_or(0, |row| row.generation);
        match policy(link.as_ref(), Timestamp::from_unix_seconds(self.now)) {
            Step::Open { .. } => self.open(index, None),
            Step::Send => self.with(index, Worker::Sending { generation, checked_at: self.now }),
            Step::LookUp => match judge(&self.list(), &ours().0, &ours().1) {
                Verdict::None => self.with(index, Worker::SawNone { generation }),
                Verdict::Adopt { id, .. } => {
                    let id = id.as_str().parse().expect("the model's ids are numbers");
                    self.with(index, Worker::Answered { generation, id })
                }
            },
            Step::Done(_) | Step::Wait { .. } => self.clone(),
        }
    }

    fn list(&self) -> Vec<Candidate> {
        let candidate = |id: &i64| Candidate {
            id: ExternalCustomerId::new(id.to_string()),
            created_at: Timestamp::from_unix_seconds(*id),
            deleted: false,
            customer_id: Some(ours().0.to_string()),
            instance: Some(ours().1.to_string()),
        };
        self.customers.iter().map(candidate).collect()
    }

    /// Commits the next generation, by compare-and-set on the one that was seen.
    fn open(&self, index: usize, seen: Option<i64>) -> Self {
        let mut next = self.with(index, Worker::Idle);
        let current = self.row.as_ref().filter(|row| row.external.is_none()).map(|row| row.generation);
        if current == seen {
            let generation = seen.unwrap_or(0) + 1;
            next.row = Some(Row { generation, opened_at: self.now, poisoned_at: None, external: None });
        }
        next
    }

    /// Changes the row where its generation is still this one and no id is known.
    fn update(&self, index: usize, generation: i64, change: impl FnMut(&mut Row)) -> Self {
        let mut next = self.with(index, Worker::Idle);
        next.row.iter_mut().filter(|row| row.generation == generation && row.external.is_none()).for_each(change);
        next
    }

    /// The provider executes a new key (well, or with a stored error before or after its work) and replays a known one.
    fn provider_hears(&self, index: usize, generation: i64) -> Vec<Self> {
        let alive = |key: &&Remembered| key.generation == generation && self.now < key.used_at + KEY_SECONDS;
        if let Some(key) = self.keys.iter().find(alive) {
            let error = Worker::SawStoredError { generation };
            let heard = if key.error { error } else { Worker::Answered { generation, id: generation } };
            return vec![self.with(index, heard)];
        }
        let execute = |creates: bool, error: bool| {
            let heard = if error { Worker::Idle } else { Worker::Answered { generation, id: generation } };
            let mut next = self.with(index, heard);
            next.keys.retain(|key| key.generation != generation);
            next.keys.push(Remembered { generation, used_at: self.now, error });
            if creates {
                next.customers.push(generation);
            }
            next
        };
        vec![execute(true, false), execute(true, true), execute(false, true)]
    }

    /// Time jumps to any instant at which something changes.
    fn later(&self) -> Vec<Self> {
        let mut instants = Vec::new();
        if let Some(row) = &self.row {
            let end = row.opened_at + WINDOW_SECONDS;
            instants.extend([end - 1, end, end + SETTLE_SECONDS]);
            instants.extend(row.poisoned_at.map(|at| at + POISON_WAIT_SECONDS));
        }
        instants.extend(self.keys.iter().map(|key| key.used_at + KEY_SECONDS));
        instants.into_iter().filter(|&at| at > self.now).map(|now| Self { now, ..self.clone() }).collect()
    }

    /// What one healthy worker makes of this world when all others died.
    fn finish(&self) -> Self {
        let mut world = Self { workers: [Worker::Idle, Worker::Idle], ..self.clone() };
        for _ in 0..20 {
            let steps = world.steps_of(0, next_step);
            let waits = steps[0] == world;
            world =
                if waits { world.later().into_iter().min_by_key(|w| w.now).unwrap_or(world) } else { steps[0].clone() };
        }
        world
    }
}

/// Visits every world within the depth; answers the first with two customers.
fn explore(policy: Policy, mut visit: impl FnMut(&World)) -> Option<World> {
    let mut seen = HashSet::from([World::default()]);
    let mut frontier = vec![World::default()];
    for _ in 0..DEPTH {
        let mut next = Vec::new();
        for world in &frontier {
            for mut after in (0..2).flat_map(|index| world.steps_of(index, policy)).chain(world.later()) {
                after.workers.sort(); // The workers are alike, so half of the worlds are mirror images.
                if after.customers.len() > 1 {
                    return Some(after);
                }
                if seen.insert(after.clone()) {
                    visit(&after);
                    next.push(after);
                }
            }
        }
        frontier = next;
    }
    None
}

#[test]
fn no_interleaving_makes_two_customers_and_every_world_can_still_get_its_one() {
    let mut worlds = 0;
    let double = explore(next_step, |world| {
        worlds += 1;
        let end = world.finish();
        assert!(end.customers.len() == 1, "stuck or doubled: {world:#?} ends as {end:#?}");
        assert_eq!(end.row.and_then(|row| row.external), Some(end.customers[0]));
    });
    assert_eq!(double, None);
    assert!(worlds > 10_000, "the model shrank to {worlds} worlds");
}

#[test]
fn the_model_catches_a_key_that_is_trusted_for_ever() {
    let key_alone: Policy = |link, now| match next_step(link, now) {
        Step::LookUp | Step::Wait { .. } => Step::Send,
        other => other,
    };
    assert!(explore(key_alone, |_| {}).is_some());
}

#[test]
fn the_model_catches_a_look_up_while_the_last_request_may_still_be_under_way() {
    let too_early: Policy = |link, now| match (link, next_step(link, now)) {
        (Some(Link { state: LinkState::Creating, .. }), Step::Wait { .. }) => Step::LookUp,
        (_, other) => other,
    };
    assert!(explore(too_early, |_| {}).is_some());
}
