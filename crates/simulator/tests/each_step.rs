//! One step goes wrong at a time: with the mistakes that are made on purpose some step has to fail, and without them none.

use counterfoil::db::Engine;
use counterfoil_core::faults;
use counterfoil_simulator::fault::{Edge, Fault, Kind, Taken};
use counterfoil_simulator::run::Bench;

/// The numbers of the steps that do this.
fn numbers(taken: &[Taken], edge: Edge, what: &str) -> Vec<usize> {
    let mine = taken.iter().filter(|step| step.edge == edge).enumerate();
    mine.filter(|(_, step)| step.what.contains(what)).map(|(place, _)| place + 1).collect()
}

/// The mistakes are switched on for the whole process, so one test tells all.
#[test]
fn each_step_may_go_wrong_and_with_a_planted_mistake_one_fails() {
    let bench = Bench::new(Engine::Sqlite, 0).expect("a bench");
    let calm = bench.run_fixed(None).expect("a world");
    assert_eq!(calm.breaches, []);
    let customer = numbers(&calm.taken, Edge::Stripe, "POST /v1/customers");
    let mails = numbers(&calm.taken, Edge::Mail, "");
    let commits = numbers(&calm.taken, Edge::Database, "checkout: Commit");
    let webhooks = numbers(&calm.taken, Edge::Webhook, "");
    assert!(!commits.is_empty() && !webhooks.is_empty(), "{:?}", calm.taken);

    let made = Fault { edge: Edge::Stripe, number: customer[0], kind: Kind::DieAfter };
    let dead = Fault { edge: Edge::Database, number: commits[0], kind: Kind::DieAfter };
    let refused = Fault { edge: Edge::Mail, number: mails[0], kind: Kind::Fail };
    for fault in [made, dead, refused] {
        let outcome = bench.run_fixed(Some(fault)).expect("a world");
        assert_eq!(outcome.breaches, [], "{fault}");
        let place = calm.taken.iter().zip(&outcome.taken).take_while(|(left, right)| left == right).count();
        assert!(place > 0 && outcome.history.story.digest != calm.history.story.digest, "{fault} changes the story");
    }
    let beyond = Fault { edge: Edge::Webhook, number: webhooks.len() + 1, kind: Kind::Lose };
    let outcome = bench.run_fixed(Some(beyond)).expect("a world");
    assert_eq!(outcome.taken, calm.taken, "after the last step nothing is left to go wrong");

    for (name, fault, rule) in [("customer-key-per-try", made, "S1"), ("mail-marked-before-sending", refused, "S6")] {
        assert!(faults::plant(Some(name)));
        let outcome = bench.run_fixed(Some(fault)).expect("a world");
        faults::plant(None);
        assert!(outcome.breaches.iter().any(|(broken, _)| *broken == rule), "{name}: {:?}", outcome.breaches);
    }
}
