//! What was measured, run by run, and the medians of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::stats::median;

/// What one run of a workload came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    pub per_second: f64,
    /// Milliseconds until the answer, or until the licence where that is what was waited for.
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    /// CPU time of the server process for one request, in microseconds.
    pub cpu_micros: f64,
    /// The most memory that the server held, in MiB.
    pub peak_mib: f64,
}

/// What a series of runs is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    pub workload: String,
    pub engine: &'static str,
    pub connections: usize,
}

impl Series {
    pub fn new(workload: impl Into<String>, engine: &'static str, connections: usize) -> Self {
        Self { workload: workload.into(), engine, connections }
    }
}

/// Everything that was measured. Only what was checked gets in here.
#[derive(Debug, Default)]
pub struct Book {
    samples: BTreeMap<Series, Vec<Sample>>,
    /// Single numbers: limits of the machine, sizes, counts.
    numbers: BTreeMap<String, Vec<f64>>,
    /// Runs that were not counted, and why.
    pub discarded: Vec<String>,
    pub loads: Vec<f64>,
}

impl Book {
    /// Notes a run, or why it does not count.
    pub fn note(&mut self, series: Series, run: anyhow::Result<Sample>) {
        match run {
            Ok(sample) => {
                eprintln!(
                    "  {:<28} {:<8} {:>3}  {:>9.0}/s  p50 {:>8.2} ms  p99 {:>8.2} ms  {:>7.1} µs CPU",
                    series.workload,
                    series.engine,
                    series.connections,
                    sample.per_second,
                    sample.p50,
                    sample.p99,
                    sample.cpu_micros
                );
                self.samples.entry(series).or_default().push(sample);
            }
            Err(error) => {
                let told = format!("{} {} {}: {error:#}", series.workload, series.engine, series.connections);
                eprintln!("  not counted: {told}");
                self.discarded.push(told);
            }
        }
    }

    /// Notes a number.
    pub fn number(&mut self, name: &str, value: anyhow::Result<f64>) {
        match value {
            Ok(value) => {
                eprintln!("  {name:<58} {value:>12.1}");
                self.numbers.entry(name.to_owned()).or_default().push(value);
            }
            Err(error) => {
                eprintln!("  not counted: {name}: {error:#}");
                self.discarded.push(format!("{name}: {error:#}"));
            }
        }
    }

    /// The medians of a series, field by field; `None` where nothing was counted.
    pub fn find(&self, workload: &str, engine: &'static str, connections: usize) -> Option<Sample> {
        self.samples.get(&Series::new(workload, engine, connections)).and_then(|samples| medians(samples))
    }

    pub fn find_number(&self, name: &str) -> Option<f64> {
        self.numbers.get(name).and_then(|values| median(values))
    }

    pub fn series(&self) -> impl Iterator<Item = (&Series, Sample, usize)> {
        self.samples.iter().filter_map(|(series, samples)| Some((series, medians(samples)?, samples.len())))
    }

    pub fn numbers(&self) -> impl Iterator<Item = (&str, f64, usize)> {
        self.numbers.iter().filter_map(|(name, values)| Some((name.as_str(), median(values)?, values.len())))
    }

    /// All of it, for machines: every run, not only the medians.
    pub fn to_json(&self) -> Value {
        let runs = |samples: &Vec<Sample>| samples.iter().map(sample_json).collect::<Vec<_>>();
        let series = |(series, samples): (&Series, &Vec<Sample>)| {
            json!({
                "workload": series.workload, "engine": series.engine, "connections": series.connections,
                "median": medians(samples).map(|median| sample_json(&median)), "runs": runs(samples),
            })
        };
        json!({
            "workloads": self.samples.iter().map(series).collect::<Vec<_>>(),
            "numbers": self.numbers.iter().map(|(name, values)| json!({
                "name": name, "median": median(values), "runs": values,
            })).collect::<Vec<_>>(),
            "discarded": self.discarded,
            "load_average": self.loads,
        })
    }
}

fn medians(samples: &[Sample]) -> Option<Sample> {
    let of = |field: fn(&Sample) -> f64| median(&samples.iter().map(field).collect::<Vec<_>>());
    Some(Sample {
        per_second: of(|sample| sample.per_second)?,
        p50: of(|sample| sample.p50)?,
        p95: of(|sample| sample.p95)?,
        p99: of(|sample| sample.p99)?,
        cpu_micros: of(|sample| sample.cpu_micros)?,
        peak_mib: of(|sample| sample.peak_mib)?,
    })
}

fn sample_json(sample: &Sample) -> Value {
    json!({
        "per_second": sample.per_second, "p50_ms": sample.p50, "p95_ms": sample.p95, "p99_ms": sample.p99,
        "server_cpu_us": sample.cpu_micros, "server_peak_mib": sample.peak_mib,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(per_second: f64) -> Sample {
        Sample { per_second, ..Sample::default() }
    }

    #[test]
    fn a_run_that_failed_its_check_is_told_and_not_counted() {
        let mut book = Book::default();
        let series = || Series::new("webhook", "sqlite", 16);
        for run in [Ok(of(100.0)), Err(anyhow::anyhow!("3 rows are missing")), Ok(of(300.0)), Ok(of(120.0))] {
            book.note(series(), run);
        }
        assert_eq!(book.find("webhook", "sqlite", 16).map(|sample| sample.per_second), Some(120.0));
        assert_eq!(book.discarded, ["webhook sqlite 16: 3 rows are missing"]);
        assert!(book.find("webhook", "postgres", 16).is_none());
        let json = book.to_json();
        assert_eq!(json["workloads"][0]["runs"].as_array().unwrap().len(), 3);
    }
}
