//! The search for planted mistakes: what shows that a rule can be broken, and is seen to be.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use counterfoil_core::faults::{self, PLANTED, Planted};
use counterfoil_simulator::checker::Breach;
use counterfoil_simulator::run::Bench;
use counterfoil_simulator::swarm::Without;

use crate::{Arguments, cores};

/// The seed that a rule was broken by, and how.
type Caught = (u64, Breach);

/// Plants one mistake after the other and counts the seeds until a rule is broken.
pub fn look_for(arguments: &Arguments, name: &str) -> anyhow::Result<()> {
    let wanted: Vec<_> = PLANTED.iter().filter(|bug| name == "all" || bug.name == name).collect();
    anyhow::ensure!(!wanted.is_empty(), "there is no planted mistake `{name}`: see counterfoil_core::faults::PLANTED");
    let mut needed = Vec::new();
    for bug in &wanted {
        match find(arguments, bug)? {
            Some((seed, (rule, what))) => {
                let seeds = seed - arguments.from + 1;
                needed.push(seeds);
                println!("{:<32} found after {seeds:>5} seeds by {rule}: {what}", bug.name);
            }
            None => println!("{:<32} NOT FOUND in {} seeds; {:?} should see it", bug.name, arguments.seeds, bug.rule),
        }
    }
    needed.sort_unstable();
    let median = needed.get(needed.len() / 2).copied().unwrap_or(0);
    let most = needed.last().copied().unwrap_or(0);
    println!("{} of {} found; median {median} seeds, most {most}", needed.len(), wanted.len());
    anyhow::ensure!(needed.len() == wanted.len(), "{} planted mistakes were not found", wanted.len() - needed.len());
    Ok(())
}

/// The first seed with which the mistake breaks a rule. Without the mistake it has to break none.
fn find(arguments: &Arguments, bug: &Planted) -> anyhow::Result<Option<Caught>> {
    let rule = format!("{:?}", bug.rule);
    faults::plant(Some(bug.name));
    let caught = search(arguments, arguments.by_its_rule.then_some(&rule));
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
fn search(arguments: &Arguments, rule: Option<&String>) -> anyhow::Result<Option<Caught>> {
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
            if let Some(breach) = outcome.breaches.into_iter().find(counts)
                && !caught_before(seed)
            {
                *lock(&least) = Some((seed, breach));
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

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
