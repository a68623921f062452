//! The logs of all stories, looked through line by line while they are written. What no log may hold stands in `tests/leaks.json`,
//! which the suites in other languages read as well.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use regex::Regex;
use serde_json::Value;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// What a server logs unless it is told otherwise.
const FILTER: &str = "info,sqlx=warn,hyper=warn,reqwest=warn,rustls=warn";

/// A shape of what must not be in a log.
struct Shape {
    what: String,
    pattern: Regex,
    samples: Vec<String>,
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|each| each.as_str().map(str::to_owned)).collect()
}

fn table() -> &'static Value {
    static TABLE: OnceLock<Value> = OnceLock::new();
    TABLE.get_or_init(|| serde_json::from_str(include_str!("../../../../tests/leaks.json")).expect("the table is JSON"))
}

fn shapes() -> &'static [Shape] {
    static SHAPES: OnceLock<Vec<Shape>> = OnceLock::new();
    SHAPES.get_or_init(|| {
        let read = |shape: &Value| Shape {
            what: shape["what"].as_str().expect("a name").to_owned(),
            pattern: Regex::new(shape["pattern"].as_str().expect("a pattern")).expect("a regular expression"),
            samples: texts(&shape["samples"]),
        };
        table()["shapes"].as_array().expect("shapes").iter().map(read).collect()
    })
}

/// What a text holds that no log may hold, with the line that it stands in.
pub fn leaks(text: &str) -> Vec<String> {
    let found = |line: &str| {
        let shape = shapes().iter().find(|shape| shape.pattern.is_match(line))?;
        Some(format!("{} is in the log: {}", shape.what, line.trim_end()))
    };
    text.lines().filter_map(found).collect()
}

/// What is told of who comes in and who does not.
const ENTRIES: [&str; 3] = ["an API key was refused", "a login was refused", "a customer logged in"];

/// Keeps what was found, and the lines about who comes in and those that call an operator; all others are gone.
#[derive(Clone, Default)]
struct Search(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    lines: usize,
    leaks: Vec<String>,
    entries: Vec<String>,
}

impl Write for Search {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        let found = leaks(&line);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.lines += 1;
        kept.leaks.extend(found);
        if line.contains(r#""level":"ERROR""#) || ENTRIES.iter().any(|entry| line.contains(entry)) {
            kept.entries.push(line.into_owned());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Search {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn subscriber(search: &Search, filter: &str) -> impl tracing::Subscriber + Send + Sync + use<> {
    tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_writer(search.clone()).json().finish()
}

fn search() -> &'static Search {
    static SEARCH: OnceLock<Search> = OnceLock::new();
    SEARCH.get_or_init(|| {
        let search = Search::default();
        tracing::subscriber::set_global_default(subscriber(&search, FILTER)).expect("nothing else logs in these tests");
        search
    })
}

/// From here on every line that this process logs is looked through.
pub fn watch() {
    search();
}

/// # Panics
/// Where any story of this process has logged what no log may hold.
pub fn assert_clean() {
    let kept = search().0.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(kept.leaks.is_empty(), "{:#?}", kept.leaks);
}

/// How many lines say this of this key, customer or job: one of [`ENTRIES`], or something that calls an operator.
pub fn told(entry: &str, id: &str) -> usize {
    let kept = search().0.lock().unwrap_or_else(PoisonError::into_inner);
    kept.entries.iter().filter(|line| line.contains(entry) && line.contains(id)).count()
}

#[test]
fn each_shape_finds_its_samples_and_none_finds_what_is_harmless() {
    assert!(shapes().len() >= 11);
    for shape in shapes() {
        assert!(!shape.samples.is_empty(), "{} has no sample", shape.what);
        for sample in &shape.samples {
            assert!(leaks(sample).len() == 1 && shape.pattern.is_match(sample), "{}: {sample}", shape.what);
        }
    }
    for line in texts(&table()["harmless"]) {
        assert_eq!(leaks(&line), Vec::<String>::new());
    }
}

#[test]
fn a_line_that_somebody_plants_is_found_in_any_field_and_any_span() {
    let search = Search::default();
    tracing::subscriber::with_default(subscriber(&search, "info"), || {
        tracing::info!(status = 200, "answered");
        let found = || search.0.lock().unwrap().leaks.len();
        let lines = search.0.lock().unwrap().lines;
        assert_eq!((lines, found()), (1, 0));
        tracing::info!(token = "cfs_Zm9vYmFyYmF6cXV4", "answered");
        assert_eq!(found(), 1);
        let span = tracing::info_span!("request", query = "token=cfl_Zm9vYmFyYmF6cXV4");
        span.in_scope(|| tracing::warn!("in a span"));
        assert_eq!(found(), 2);
        let error = anyhow::anyhow!("no such address: ada@mail.example.com").context("the mail was refused");
        tracing::error!(error = format!("{error:#}"), "a mail");
        tracing::error!(?error, "a mail");
        assert_eq!(found(), 4);
        tracing::debug!(email = "ada@mail.example.com", "not told by a server as it is set up");
        assert_eq!(found(), 4);
    });
}
