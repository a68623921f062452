//! Making a failing story shorter: fewer users, then fewer kinds of mishap, then fewer deeds, as long as the same rule is broken.

use crate::run::{Bench, Outcome};
use crate::swarm::Without;

/// The smallest world found in which this outcome's first broken rule is broken, too.
pub fn shrink(bench: &Bench, outcome: Outcome) -> anyhow::Result<(Without, Outcome)> {
    let Some(rule) = outcome.breaches.first().map(|(rule, _)| *rule) else { return Ok((Without::default(), outcome)) };
    let (mut without, mut best) = (Without::default(), outcome);
    let seed = best.seed;
    let mut candidates: Vec<Box<dyn Fn(Without) -> Without>> = Vec::new();
    for users in 1..=3 {
        candidates.push(Box::new(move |without| Without { users: without.users.or(Some(users)), ..without }));
    }
    candidates.push(Box::new(|without| Without { crashes: true, ..without }));
    candidates.push(Box::new(|without| Without { stripe_faults: true, ..without }));
    candidates.push(Box::new(|without| Without { database_faults: true, ..without }));
    candidates.push(Box::new(|without| Without { delivery_faults: true, ..without }));
    candidates.push(Box::new(|without| Without { mail_faults: true, ..without }));
    for deeds in [5, 10, 15, 20] {
        candidates.push(Box::new(move |without| Without { deeds: without.deeds.or(Some(deeds)), ..without }));
    }
    for candidate in candidates {
        let tried = candidate(without);
        if tried == without {
            continue;
        }
        let outcome = bench.run(seed, &tried)?;
        if outcome.breaches.iter().any(|(broken, _)| *broken == rule) {
            (without, best) = (tried, outcome);
        }
    }
    Ok((without, best))
}
