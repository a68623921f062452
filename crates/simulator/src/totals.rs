//! What a run adds up to.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use counterfoil_core::faults::{self, ROWS};
use counterfoil_simulator::run::{Outcome, clock};
use counterfoil_simulator::surroundings::POINTS;

use crate::Told;

/// The page that says which row is proved by what.
const CATALOGUE: &str = include_str!("../../../docs/reliability/catalogue.md");

/// Rows whose proof is a run of the simulator, among others.
fn promised() -> impl Iterator<Item = &'static str> {
    let rows = CATALOGUE.lines().filter(|line| line.starts_with("| F") && line.contains("`simulator`"));
    rows.filter_map(|row| row.split('|').nth(1).map(str::trim))
}

#[derive(Default)]
pub struct Totals {
    pub seeds: u64,
    pub failures: u64,
    steps: u64,
    counts: BTreeMap<&'static str, u64>,
    deaths: BTreeMap<String, u64>,
    deaths_after: BTreeMap<&'static str, u64>,
    hours: f64,
}

impl Totals {
    pub fn listen(&mut self, told: &Receiver<Told>, all: usize, began: Instant) {
        let terminal = std::io::stderr().is_terminal();
        let mut shown = began;
        for told in told {
            match told {
                Told::Lived(outcome) => self.add(&outcome),
                Told::Failed { seed, what, file } => {
                    self.failures += 1;
                    let first = what.lines().next().unwrap_or_default();
                    eprintln!("seed {seed} FAILED: {first} ({})", file.display());
                }
                Told::Broken(error) => {
                    self.failures += 1;
                    eprintln!("a thread ended: {error:#}");
                }
            }
            let done = self.seeds + self.failures;
            let wait = if terminal { Duration::from_millis(200) } else { Duration::from_secs(15) };
            if shown.elapsed() >= wait {
                shown = clock();
                let end = if terminal { "\r" } else { "\n" };
                let share = usize::try_from(done).unwrap_or(all) * 30 / all.max(1);
                let bar: String = (0..30).map(|place| if place < share { '#' } else { '.' }).collect();
                eprint!(
                    "[{bar}] {done}/{all} seeds, {} failed, {:.0} s {end}",
                    self.failures,
                    began.elapsed().as_secs_f64()
                );
                // What cannot be shown does not matter.
                let _unseen = std::io::stderr().flush();
            }
        }
    }

    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.steps += outcome.steps;
        for (what, count) in &outcome.history.counts {
            *self.counts.entry(what).or_default() += count;
        }
        for (place, count) in &outcome.history.deaths {
            *self.deaths.entry(place.clone()).or_default() += count;
        }
        for (point, count) in &outcome.history.deaths_after {
            *self.deaths_after.entry(point).or_default() += count;
        }
        let last =
            outcome.history.story.lines.last().and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        self.hours += last.unwrap_or(0.0) / 3_600.0;
    }

    /// Requests, webhooks and calls to Stripe: what the goal counts as operations.
    fn operations(&self) -> u64 {
        ["requests", "webhooks", "calls to Stripe", "mails"].iter().filter_map(|what| self.counts.get(what)).sum()
    }

    pub fn report(&self, took: Duration) {
        let seconds = took.as_secs_f64().max(0.001);
        println!(
            "\n{} seeds held, {} failed, in {seconds:.0} s: {:.0} seeds an hour",
            self.seeds,
            self.failures,
            self.seeds as f64 / seconds * 3_600.0
        );
        println!(
            "{} operations ({:.0} a seed), {} database steps, {:.0} simulated hours",
            self.operations(),
            self.operations() as f64 / self.seeds.max(1) as f64,
            self.steps,
            self.hours
        );
        for (what, count) in &self.counts {
            println!("  {count:>10}  {what}");
        }
        self.report_deaths();
        let reached = faults::reached();
        let met: Vec<String> = ROWS
            .iter()
            .zip(reached)
            .filter(|(_, times)| *times > 0)
            .map(|(row, times)| format!("{} {times}", row.0))
            .collect();
        println!(
            "rows of the fault catalogue that were reached: {} of {}\n  {}",
            met.len(),
            ROWS.len(),
            met.join(", ")
        );
    }
}

impl Totals {
    /// Points after which nothing died, and rows of the catalogue that name the simulator as their proof and were not met.
    pub fn missing(&self) -> Vec<&'static str> {
        let survived = |point: &&str| self.deaths_after.get(*point).is_none_or(|deaths| *deaths == 0);
        let points = POINTS.iter().map(|(point, _)| *point).filter(survived);
        let reached = faults::reached();
        let met = |row: &str| ROWS.iter().zip(&reached).any(|(known, times)| known.0 == row && *times > 0);
        points.chain(promised().filter(|row| !met(row))).collect()
    }

    /// Where tasks died on their way: after how many commits, calls and mails.
    fn report_deaths(&self) {
        let after = |(point, _): &(&str, _)| format!("{point} {}", self.deaths_after.get(point).copied().unwrap_or(0));
        println!(
            "deaths after each point, before the next: {}",
            POINTS.iter().map(after).collect::<Vec<_>>().join(", ")
        );
        println!("places at which a task died: {}", self.deaths.len());
        for what in
            ["sign-up", "checkout", "webhook", "inbox", "outbox", "effects", "sweep", "start", "another request"]
        {
            let of_this: Vec<(&str, u64)> = self
                .deaths
                .iter()
                .filter_map(|(place, count)| Some((place.strip_prefix(what)?.trim_start_matches(", "), *count)))
                .collect();
            let deaths: u64 = of_this.iter().map(|(_, count)| count).sum();
            let most = of_this.iter().max_by_key(|(place, count)| (*count, std::cmp::Reverse(*place)));
            if let Some((place, count)) = most {
                println!("  {what}: {deaths} at {} places, most after {place} ({count})", of_this.len());
            }
        }
    }
}
