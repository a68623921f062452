//! `cargo run --profile simulation -p counterfoil-simulator -- --seeds 5000`

mod cores;
mod each_step;
mod planted;
mod totals;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use counterfoil::db::Engine;
use counterfoil_simulator::run::{Bench, Outcome, clock};
use counterfoil_simulator::shrink::shrink;
use counterfoil_simulator::swarm::Without;

use crate::totals::Totals;

/// Seeds that once failed: each run lives through them first.
const REGRESSIONS: &str = include_str!("../regressions.txt");

/// The same, from where the repository is run.
const REGRESSIONS_FILE: &str = "crates/simulator/regressions.txt";

/// So many seeds reach everything that the catalogue of faults promises of them.
const MANY: u64 = 800;

/// Lines of a failing story that are shown; the file has all of them.
const SHOWN: usize = 40;

/// Simulates the whole service: replicas that crash, a Stripe that misbehaves, users who click twice. Every mishap is drawn from
/// the seed, so that a seed tells the same story every time.
#[derive(Parser)]
#[command(name = "counterfoil-simulator", max_term_width = 110)]
struct Arguments {
    /// How many seeds, beside those that once failed.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// One seed alone, with its whole story.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// On which database. PostgreSQL needs COUNTERFOIL_TEST_POSTGRES_URL, the URL of a private server's superuser.
    #[arg(long, value_enum, default_value_t = On::Sqlite)]
    engine: On,
    /// Lives through each seed on both engines and compares what is in the tables at the end.
    #[arg(long)]
    compare: bool,
    /// How many of a hundred seeds are lived through twice, to see that the story is the same.
    #[arg(long, default_value_t = 1, value_name = "PERCENT")]
    twice: u64,
    /// Threads; each has a database and a processor of its own [default: as many as there are processors].
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Looks for planted mistakes: one by its name, or `all`. Each is looked for in up to --seeds seeds.
    #[arg(long, value_name = "NAME")]
    planted: Option<String>,
    /// Counts a planted mistake as found only where it breaks the rule that is named for it, and not where it breaks another one first.
    #[arg(long, requires = "planted")]
    by_its_rule: bool,
    /// Lets each step of a fixed course go wrong in turn, in each way that it can, until nothing is left: alone, or one such as
    /// `database:17:lose-answer`. With --planted it looks for steps that fail because of the mistake.
    #[arg(long, value_name = "STEP", num_args = 0..=1, default_missing_value = "all", conflicts_with_all = ["seed", "compare", "by_its_rule"])]
    each_step: Option<String>,
    /// With --each-step: of so many of its worlds one is lived through.
    #[arg(long, default_value_t = 1, value_name = "WORLDS", requires = "each_step")]
    one_of: usize,
    /// Where the stories of failing seeds are written.
    #[arg(long, default_value = "target/simulator", value_name = "FOLDER")]
    stories: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum On {
    Sqlite,
    Postgres,
}

impl On {
    const fn engine(self) -> Engine {
        match self {
            Self::Sqlite => Engine::Sqlite,
            Self::Postgres => Engine::Postgres,
        }
    }
}

impl Arguments {
    fn jobs(&self) -> usize {
        self.jobs.unwrap_or_else(|| cores::available().len()).max(1)
    }
}

/// What a thread tells of one seed.
enum Told {
    Lived(Box<Outcome>),
    Failed { seed: u64, what: String, file: PathBuf },
    Broken(anyhow::Error),
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match (arguments.each_step.as_deref(), &arguments.planted, arguments.seed) {
        (Some("all"), Some(name), _) => each_step::look_for(&arguments, name),
        (Some("all"), None, _) => each_step::live_all(&arguments),
        (Some(step), _, _) => each_step::tell_one(&arguments, step.parse().map_err(anyhow::Error::msg)?),
        (None, Some(name), _) => planted::look_for(&arguments, name),
        (None, None, Some(seed)) => tell_one(&arguments, seed),
        (None, None, None) => live_many(&arguments),
    }
}

fn tell_one(arguments: &Arguments, seed: u64) -> anyhow::Result<()> {
    let mut bench = Bench::new(arguments.engine.engine(), 0)?;
    bench.aloud = true;
    let outcome = bench.run(seed, &Without::default())?;
    println!("{}", story(&outcome, 0));
    anyhow::ensure!(outcome.breaches.is_empty(), "seed {seed} breaks {} rules", outcome.breaches.len());
    Ok(())
}

fn live_many(arguments: &Arguments) -> anyhow::Result<()> {
    let old: Vec<u64> = REGRESSIONS.lines().filter_map(|line| line.split('#').next()?.trim().parse().ok()).collect();
    let seeds: Vec<u64> = old.into_iter().chain(arguments.from..arguments.from + arguments.seeds).collect();
    let (began, next) = (clock(), AtomicU64::new(0));
    let (tell, told) = channel();
    let mut totals = Totals::default();
    std::thread::scope(|scope| {
        for job in 0..arguments.jobs() {
            let (tell, seeds, next) = (tell.clone(), &seeds, &next);
            scope.spawn(move || {
                if let Err(error) = work(arguments, job, seeds, next, &tell) {
                    // The listener has gone only where the program ends.
                    let _ended = tell.send(Told::Broken(error));
                }
            });
        }
        drop(tell);
        totals.listen(&told, seeds.len(), began);
    });
    totals.report(began.elapsed());
    let missing = totals.missing();
    anyhow::ensure!(
        totals.seeds < MANY || missing.is_empty(),
        "{} seeds did not reach {}, which the catalogue promises of them",
        totals.seeds,
        missing.join(", ")
    );
    anyhow::ensure!(
        totals.failures == 0,
        "{} seeds failed; their stories are in {}",
        totals.failures,
        arguments.stories.display()
    );
    Ok(())
}

fn work(arguments: &Arguments, job: usize, seeds: &[u64], next: &AtomicU64, tell: &Sender<Told>) -> anyhow::Result<()> {
    cores::keep_to(job);
    let bench = Bench::new(arguments.engine.engine(), job)?;
    let other = arguments.compare.then(|| Bench::new(Engine::Postgres, job + 1_000)).transpose()?;
    loop {
        let number = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap_or(usize::MAX);
        let Some(&seed) = seeds.get(number) else { return Ok(()) };
        let outcome = bench.run(seed, &Without::default()).with_context(|| format!("seed {seed}"))?;
        let mut differs = Vec::new();
        if arguments.twice > 0 && seed % (100 / arguments.twice.min(100)) == 0 {
            let again = bench.run(seed, &Without::default())?;
            differs.extend(first_difference(
                "the same seed told another story",
                &outcome.history.story.lines,
                &again.history.story.lines,
            ));
        }
        if let Some(other) = &other {
            let theirs = other.run(seed, &Without::default())?;
            differs.extend(first_difference("the engines end differently", &outcome.gist, &theirs.gist));
        }
        let broken = outcome.breaches.first().map(|(rule, what)| format!("{rule}: {what}"));
        if let Some(what) = broken {
            let (without, least) = shrink(&bench, outcome)?;
            let file = keep(arguments, &least, &format!("{what}\nshrunk to {without:?}"))?;
            print_failure(&least, &what, &without);
            let _ended = tell.send(Told::Failed { seed, what, file });
        } else if let Some(what) = differs.into_iter().next() {
            let file = keep(arguments, &outcome, &what)?;
            let _ended = tell.send(Told::Failed { seed, what, file });
        } else {
            let _ended = tell.send(Told::Lived(Box::new(outcome)));
        }
    }
}

fn first_difference(what: &str, left: &[String], right: &[String]) -> Option<String> {
    let line = |lines: &[String], number: usize| lines.get(number).cloned().unwrap_or_else(|| "(nothing)".to_owned());
    let number = (0..left.len().max(right.len())).find(|number| line(left, *number) != line(right, *number))?;
    Some(format!("{what}, first here:\n  {}\n  {}", line(left, number), line(right, number)))
}

fn story(outcome: &Outcome, lines: usize) -> String {
    let told = &outcome.history.story.lines;
    let shown = told[told.len().saturating_sub(lines)..].join("\n");
    let broken: Vec<String> = outcome.breaches.iter().map(|(rule, what)| format!("{rule}: {what}")).collect();
    format!(
        "seed {} at commit {} in a world of {}\n{shown}\n{} lines, digest {:016x}\n{}",
        outcome.seed,
        commit(),
        outcome.swarm,
        told.len(),
        outcome.history.story.digest,
        if broken.is_empty() { "every rule holds".to_owned() } else { broken.join("\n") },
    )
}

fn print_failure(outcome: &Outcome, what: &str, without: &Without) {
    eprintln!("\nseed {} breaks {what}\nshrunk to {without:?}\n{}", outcome.seed, story(outcome, SHOWN));
}

/// Which code the seed belongs to: with another one it tells another story.
fn commit() -> String {
    let told = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let told = told.ok().filter(|told| told.status.success());
    let name = told.map(|told| String::from_utf8_lossy(&told.stdout).trim().to_owned());
    name.unwrap_or_else(|| "(unknown)".to_owned())
}

fn keep(arguments: &Arguments, outcome: &Outcome, why: &str) -> anyhow::Result<PathBuf> {
    let file = keep_as(arguments, &format!("seed-{}", outcome.seed), outcome, why)?;
    remember(outcome.seed, why);
    Ok(file)
}

/// Writes a story down.
fn keep_as(arguments: &Arguments, name: &str, outcome: &Outcome, why: &str) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(&arguments.stories)?;
    let file = arguments.stories.join(format!("{name}.txt"));
    std::fs::write(&file, format!("{why}\n\n{}\n", story(outcome, usize::MAX)))?;
    Ok(file)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds the seed to those that every run lives through, where the sources are at hand.
fn remember(seed: u64, why: &str) {
    let Ok(known) = std::fs::read_to_string(REGRESSIONS_FILE) else { return };
    if known.lines().any(|line| line.split(' ').next() == Some(&seed.to_string())) {
        return;
    }
    let file = std::fs::OpenOptions::new().append(true).open(REGRESSIONS_FILE);
    let added = file.and_then(|mut file| writeln!(file, "{seed} # {}", why.lines().next().unwrap_or_default()));
    if let Err(error) = added {
        eprintln!("seed {seed} could not be added to {REGRESSIONS_FILE}: {error}");
    }
}
