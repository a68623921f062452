//! The first, the second, the third step of a fixed course goes wrong in turn, until nothing is left that could: one world for each
//! step and each thing that can become of it.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use counterfoil_core::faults::{self, PLANTED};
use counterfoil_simulator::fault::{Edge, Fault, Taken};
use counterfoil_simulator::run::{Bench, Outcome, clock};

use crate::{Arguments, SHOWN, cores, keep_as, lock, story};

/// One step alone, told aloud.
pub fn tell_one(arguments: &Arguments, fault: Fault) -> anyhow::Result<()> {
    let mut bench = Bench::new(arguments.engine.engine(), 0)?;
    bench.aloud = true;
    let outcome = bench.run_fixed(Some(fault))?;
    println!("{}", story(&outcome, 0));
    let step = step_of(&outcome.taken, fault).context("the course has no such step")?;
    println!("{fault} was {}", step.what);
    anyhow::ensure!(step.kinds.contains(&fault.kind), "this cannot become of such a step");
    anyhow::ensure!(outcome.breaches.is_empty(), "{fault} breaks {} rules", outcome.breaches.len());
    Ok(())
}

/// Each step in turn.
pub fn live_all(arguments: &Arguments) -> anyhow::Result<()> {
    let began = clock();
    let calm = Bench::new(arguments.engine.engine(), 0)?.run_fixed(None)?;
    anyhow::ensure!(calm.breaches.is_empty(), "the course fails where nothing goes wrong:\n{}", story(&calm, SHOWN));
    let faults: Vec<Fault> = list(&calm.taken).into_iter().step_by(arguments.one_of.max(1)).collect();
    let (done, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let progress = Progress::new(began, faults.len());
    each(arguments, &faults, &|fault, outcome| {
        if let Some(what) = verdict(&calm.taken, fault, &outcome) {
            let file = keep_as(arguments, &format!("step-{}", fault.to_string().replace(':', "-")), &outcome, &what)?;
            eprintln!("\n{fault} FAILED: {what} ({}); alone: --each-step {fault}", file.display());
            lock(&failed).push(fault);
        }
        progress.show(done.fetch_add(1, Ordering::Relaxed) + 1, lock(&failed).len());
        Ok(true)
    })?;
    report(&calm.taken, &faults, &lock(&failed), began.elapsed());
    anyhow::ensure!(lock(&failed).is_empty(), "{} steps failed", lock(&failed).len());
    Ok(())
}

/// Plants one mistake after the other and looks for the first step that fails because of it.
pub fn look_for(arguments: &Arguments, name: &str) -> anyhow::Result<()> {
    let wanted: Vec<_> = PLANTED.iter().filter(|bug| name == "all" || bug.name == name).collect();
    anyhow::ensure!(!wanted.is_empty(), "there is no planted mistake `{name}`: see counterfoil_core::faults::PLANTED");
    let mut found = 0;
    for bug in &wanted {
        faults::plant(Some(bug.name));
        let caught = first_failing(arguments);
        faults::plant(None);
        match caught? {
            Some(what) => {
                found += 1;
                println!("{:<32} found {what}", bug.name);
            }
            None => println!("{:<32} not found by a single step", bug.name),
        }
    }
    println!("{found} of {} found", wanted.len());
    anyhow::ensure!(name == "all" && found > 0 || found == wanted.len(), "the planted mistake was not found");
    Ok(())
}

fn first_failing(arguments: &Arguments) -> anyhow::Result<Option<String>> {
    let calm = Bench::new(arguments.engine.engine(), 0)?.run_fixed(None)?;
    if let Some((rule, what)) = calm.breaches.first() {
        return Ok(Some(format!("where nothing goes wrong, by {rule} ({what})")));
    }
    let caught = Mutex::new(None);
    // Beyond the ends nothing can be found.
    let faults: Vec<Fault> =
        list(&calm.taken).into_iter().filter(|fault| step_of(&calm.taken, *fault).is_some()).collect();
    each(arguments, &faults, &|fault, outcome| {
        if let Some((rule, what)) = outcome.breaches.first() {
            lock(&caught).get_or_insert_with(|| format!("at {fault}, by {rule} ({what})"));
        }
        Ok(lock(&caught).is_none())
    })?;
    Ok(caught.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Each step with each thing that can become of it, and for each edge one step more, which must not come.
fn list(taken: &[Taken]) -> Vec<Fault> {
    let mut counted: BTreeMap<Edge, usize> = BTreeMap::new();
    let mut faults = Vec::new();
    for step in taken {
        let number = counted.entry(step.edge).or_default();
        *number += 1;
        faults.extend(step.kinds.iter().map(|kind| Fault { edge: step.edge, number: *number, kind: *kind }));
    }
    for (edge, number) in counted {
        let kinds = taken.iter().find(|step| step.edge == edge).map(|step| step.kinds).unwrap_or_default();
        faults.extend(kinds.first().map(|kind| Fault { edge, number: number + 1, kind: *kind }));
    }
    faults
}

fn step_of(taken: &[Taken], fault: Fault) -> Option<&Taken> {
    taken.iter().filter(|step| step.edge == fault.edge).nth(fault.number.checked_sub(1)?)
}

/// What is wrong with the world in which this went wrong.
fn verdict(calm: &[Taken], fault: Fault, outcome: &Outcome) -> Option<String> {
    let (planned, met) = (step_of(calm, fault), step_of(&outcome.taken, fault));
    if planned != met {
        return Some(format!("it should have been {planned:?}, and was {met:?}"));
    }
    let (rule, what) = outcome.breaches.first()?;
    Some(format!("{}: {rule}: {what}", met.map(|step| step.what.clone()).unwrap_or_default()))
}

/// Lives through the worlds of these faults, on each processor one, until `tell` has heard enough.
fn each(
    arguments: &Arguments,
    faults: &[Fault],
    tell: &(dyn Fn(Fault, Outcome) -> anyhow::Result<bool> + Sync),
) -> anyhow::Result<()> {
    let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = |job: usize| -> anyhow::Result<()> {
        cores::keep_to(job);
        let bench = Bench::new(arguments.engine.engine(), job)?;
        while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            let outcome = bench.run_fixed(Some(*fault)).with_context(|| fault.to_string())?;
            if !tell(*fault, outcome)? {
                is_over.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..arguments.jobs()).map(|job| scope.spawn(move || work(job))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a thread that simulates does not panic"))
    })
}

struct Progress {
    began: Instant,
    all: usize,
    shown: Mutex<Instant>,
    terminal: bool,
}

impl Progress {
    fn new(began: Instant, all: usize) -> Self {
        Self { began, all, shown: Mutex::new(began), terminal: std::io::stderr().is_terminal() }
    }

    fn show(&self, done: usize, failed: usize) {
        let wait = if self.terminal { Duration::from_millis(200) } else { Duration::from_secs(15) };
        let mut shown = lock(&self.shown);
        if shown.elapsed() < wait {
            return;
        }
        *shown = clock();
        let end = if self.terminal { "\r" } else { "\n" };
        let seconds = self.began.elapsed().as_secs_f64();
        eprint!(
            "[{:>3} %] {done}/{} worlds, {failed} failed, {seconds:.0} s {end}",
            done * 100 / self.all.max(1),
            self.all
        );
        // What cannot be shown does not matter.
        let _unseen = std::io::stderr().flush();
    }
}

fn report(taken: &[Taken], faults: &[Fault], failed: &[Fault], took: Duration) {
    println!("\n{} worlds, {} failed, in {:.0} s", faults.len() + 1, failed.len(), took.as_secs_f64());
    for edge in Edge::ALL {
        let steps = taken.iter().filter(|step| step.edge == edge).count();
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for fault in faults.iter().filter(|fault| fault.edge == edge && fault.number <= steps) {
            let name = fault.to_string();
            *kinds.entry(name.rsplit(':').next().unwrap_or_default().to_owned()).or_default() += 1;
        }
        let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        println!("  {:<8} {steps:>4} steps: {}", edge.name(), kinds.join(", "));
    }
    let beyond = |fault: &&Fault| step_of(taken, **fault).is_none();
    let ends = faults.iter().filter(beyond).count();
    println!("beyond the last step of {ends} of {} sorts nothing was left to go wrong", Edge::ALL.len());
}
