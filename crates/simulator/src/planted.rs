//! The search for planted mistakes: what shows that a rule can be broken, and is seen to be.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use counterfoil_core::faults::{self, PLANTED, Planted};
use counterfoil_simulator::checker::{Breach, RULES};
use counterfoil_simulator::run::Bench;
use counterfoil_simulator::swarm::Without;

use crate::{Arguments, cores, lock};

/// The first seed that broke a rule, and everything that it broke.
type Caught = (u64, Vec<Breach>);

/// Plants one mistake after the other and counts the seeds until a rule is broken. Where all are planted, each rule for which there are
/// mistakes has to notice one of them itself.
pub fn look_for(arguments: &Arguments, name: &str) -> anyhow::Result<()> {
    let wanted: Vec<_> = PLANTED.iter().filter(|bug| name == "all" || bug.name == name).collect();
    anyhow::ensure!(!wanted.is_empty(), "there is no planted mistake `{name}`: see counterfoil_core::faults::PLANTED");
    let (mut needed, mut noticing, mut broken) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for bug in &wanted {
        match find(arguments, bug, arguments.by_its_rule)? {
            Some((seed, breaches)) => {
                needed.push(seed - arguments.from + 1);
                noticing.extend(breaches.iter().map(|(rule, _)| *rule).filter(|rule| *rule == its_rule(bug)));
                broken.extend(breaches.iter().map(|(rule, _)| *rule));
                tell(arguments, bug, seed, &breaches);
            }
            None => {
                println!("{:<32} NOT FOUND in {} seeds; {} should see it", bug.name, arguments.seeds, its_rule(bug))
            }
        }
    }
    needed.sort_unstable();
    let median = needed.get(needed.len() / 2).copied().unwrap_or(0);
    let most = needed.last().copied().unwrap_or(0);
    println!("{} of {} found; median {median} seeds, most {most}", needed.len(), wanted.len());
    anyhow::ensure!(needed.len() == wanted.len(), "{} planted mistakes were not found", wanted.len() - needed.len());
    if name == "all" { each_rule_notices(arguments, noticing, broken) } else { Ok(()) }
}

fn its_rule(bug: &Planted) -> String {
    format!("{:?}", bug.rule)
}

/// Says which rules a seed broke, and how the one that is named for the mistake was broken, or else the first.
fn tell(arguments: &Arguments, bug: &Planted, seed: u64, breaches: &[Breach]) {
    let mut rules: Vec<&str> = breaches.iter().map(|(rule, _)| *rule).collect();
    rules.dedup();
    let its = breaches.iter().find(|(rule, _)| *rule == its_rule(bug)).or(breaches.first());
    let what = its.map(|(rule, what)| format!("{rule}: {what}")).unwrap_or_default();
    let seeds = seed - arguments.from + 1;
    println!("{:<32} found after {seeds:>5} seeds by {} ({what})", bug.name, rules.join(", "));
}

/// A rule that no mistake has broken yet, where each was broken by another one first, has the mistakes planted once more that are named
/// for it, until it notices one.
fn each_rule_notices(
    arguments: &Arguments,
    mut noticing: BTreeSet<&'static str>,
    mut broken: BTreeSet<&'static str>,
) -> anyhow::Result<()> {
    let planted: BTreeSet<String> = PLANTED.iter().map(its_rule).collect();
    for bug in &PLANTED {
        if noticing.contains(its_rule(bug).as_str()) {
            continue;
        }
        if let Some((seed, breaches)) = find(arguments, bug, true)? {
            noticing.extend(breaches.iter().map(|(rule, _)| *rule).filter(|rule| *rule == its_rule(bug)));
            broken.extend(breaches.iter().map(|(rule, _)| *rule));
            tell(arguments, bug, seed, &breaches);
        }
    }
    let blind: Vec<&String> = planted.iter().filter(|rule| !noticing.contains(rule.as_str())).collect();
    anyhow::ensure!(blind.is_empty(), "{blind:?} noticed none of the mistakes that are named for them");
    let mut unbroken: Vec<&str> = RULES.iter().map(|(rule, _)| *rule).filter(|rule| !broken.contains(rule)).collect();
    unbroken.dedup();
    println!(
        "each of {} rules noticed a mistake that is named for it; broken by tests/checker.rs alone: {}",
        planted.len(),
        unbroken.join(", ")
    );
    Ok(())
}

/// The first seed with which the mistake breaks a rule, or its own. Without the mistake it has to break none.
fn find(arguments: &Arguments, bug: &Planted, by_its_rule: bool) -> anyhow::Result<Option<Caught>> {
    let rule = its_rule(bug);
    faults::plant(Some(bug.name));
    let caught = search(arguments, by_its_rule.then_some(rule.as_str()));
    faults::plant(None);
    let caught = caught?;
    if let Some((seed, _)) = &caught {
        let honest = Bench::new(arguments.engine.engine(), 0)?.run(*seed, &Without::default())?;
        anyhow::ensure!(honest.breaches.is_empty(), "seed {seed} fails without `{}`, too", bug.name);
    }
    Ok(caught)
}

/// Seeds are handed out in their order, and a thread ends with the first that is later than one that was caught: so the least is
/// found, whichever thread is faster.
fn search(arguments: &Arguments, rule: Option<&str>) -> anyhow::Result<Option<Caught>> {
    let (next, least) = (AtomicU64::new(arguments.from), Mutex::new(None::<Caught>));
    let end = arguments.from + arguments.seeds;
    let caught_before = |seed: u64| lock(&least).as_ref().is_some_and(|(caught, _)| *caught < seed);
    let work = |job: usize| -> anyhow::Result<()> {
        cores::keep_to(job);
        let bench = Bench::new(arguments.engine.engine(), job)?;
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end || caught_before(seed) {
                return Ok(());
            }
            let outcome = bench.run(seed, &Without::default())?;
            let counts = |breach: &Breach| rule.is_none_or(|rule| rule == breach.0);
            if outcome.breaches.iter().any(counts) && !caught_before(seed) {
                *lock(&least) = Some((seed, outcome.breaches));
            }
        }
    };
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..arguments.jobs()).map(|job| scope.spawn(move || work(job))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a thread that simulates does not panic"))
    })?;
    Ok(least.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}
