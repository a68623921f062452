//! A few worlds, the same world twice, and one with a mistake in it.

use counterfoil::db::Engine;
use counterfoil_core::faults;
use counterfoil_simulator::run::Bench;
use counterfoil_simulator::swarm::Without;

/// The mistake is switched on for the whole process, so one test tells all.
#[test]
fn seeds_hold_are_repeatable_and_a_planted_mistake_is_found() {
    let bench = Bench::new(Engine::Sqlite, 0).expect("a bench");
    let small = Without { users: Some(2), deeds: Some(8), ..Without::default() };
    let (mut digests, mut written) = (Vec::new(), 0);
    for seed in 1..=4 {
        let outcome = bench.run(seed, &small).expect("a world");
        assert_eq!(outcome.breaches, [], "seed {seed}");
        assert!(outcome.history.counts["requests"] > 5, "seed {seed} is a world in which something happens");
        digests.push(outcome.history.story.digest);
        written += outcome.history.seen.len();
    }
    assert!(written > 0, "every state of the book of subscriptions is seen");
    let again = bench.run(2, &small).expect("a world");
    assert_eq!(again.history.story.digest, digests[1], "seed 2 tells the same story again");
    assert_ne!(digests[0], digests[1], "another seed tells another story");

    assert!(faults::plant(Some("license-mail-forgotten")));
    let found = (1..=20).any(|seed| !bench.run(seed, &small).expect("a world").breaches.is_empty());
    faults::plant(None);
    assert!(found, "a licence that nobody is mailed is seen within 20 seeds");
}
