//! Logs and metrics. One line an event: text on a terminal, JSON otherwise.

use std::io::IsTerminal as _;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Limit, LogFormat};

/// What is logged unless `RUST_LOG` says otherwise.
const DEFAULT_FILTER: &str = "info,sqlx=warn,hyper=warn,reqwest=warn,rustls=warn";

/// Starts logging to standard error. A second call changes nothing.
pub fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let is_terminal = std::io::stderr().is_terminal();
    // An error means that a subscriber is there already, as in tests that start several servers in one process.
    let _already_started = if is_json(format, is_terminal) {
        json_lines(filter, std::io::stderr).try_init().map_err(Into::into)
    } else {
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        builder.with_ansi(is_colored(is_terminal, std::env::var_os("NO_COLOR").is_some())).try_init()
    };
}

/// Where nothing is said: text for a person at a terminal, JSON for whatever collects lines.
const fn is_json(format: LogFormat, is_terminal: bool) -> bool {
    match format {
        LogFormat::Auto => !is_terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    }
}

/// In a file colors are only signs that nobody can read.
const fn is_colored(is_terminal: bool, no_color: bool) -> bool {
    is_terminal && !no_color
}

/// How much of a panic's text is told.
const PANIC_CHARS_MAX: usize = 200;

/// From here on a panic is a line of the log as any other, in the span in which it happened. Its text may hold what somebody sent, so it
/// is told only where it is a constant of the program; the place is always told.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        let text = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(not told: it may hold data)");
        let text: String = text.chars().take(PANIC_CHARS_MAX).collect();
        tracing::error!(text, "panicked at {place}");
    }));
}

/// One JSON object a line, whatever is in what is told.
fn json_lines<W>(filter: EnvFilter, writer: W) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    builder.json().flatten_event(true).with_current_span(true).with_span_list(false).finish()
}

/// Starts collecting metrics, once a process; the handle renders them for Prometheus.
#[must_use]
pub fn start_metrics() -> PrometheusHandle {
    static HANDLE: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let handle = PrometheusBuilder::new()
                .install_recorder()
                .expect("nothing else in this process installs a metrics recorder");
            begin_at_zero();
            handle
        })
        .clone()
}

/// What must stay at zero is there from the start: an alarm on a counter that does not exist never rings.
fn begin_at_zero() {
    for (name, what) in [
        ("counterfoil_duplicate_external_customers_total", "Second customers found at the provider for one of ours."),
        ("counterfoil_duplicates_canceled_total", "Second subscriptions that were canceled at the provider."),
        ("counterfoil_events_missed_total", "Events that the sweep found and no webhook had brought."),
        (
            "counterfoil_event_log_gaps_total",
            "Sweeps whose last run lies further back than the provider's log of events.",
        ),
        ("counterfoil_webhooks_refused_total", "Webhook requests that were not believed."),
        ("counterfoil_mails_dead_total", "Mails that were given up."),
        ("counterfoil_effects_dead_total", "What was owed beside mails and was given up."),
        ("counterfoil_paid_after_deletion_total", "Subscriptions that run although their account is deleted."),
        ("counterfoil_connections_refused_total", "Connections over the limit of one address."),
        ("counterfoil_logins_refused_total", "Logins with a wrong address or password."),
        ("counterfoil_signups_total", "Customers who signed up."),
        ("counterfoil_syncs_total", "Looks at the provider."),
    ] {
        metrics::describe_counter!(name, what);
        metrics::counter!(name).increment(0);
    }
    metrics::describe_counter!("counterfoil_attention_total", "Customers who came to need an operator, by reason.");
    for why in counterfoil_core::subscription::Attention::ALL {
        metrics::counter!("counterfoil_attention_total", "why" => why.word()).increment(0);
    }
    metrics::describe_counter!("counterfoil_rate_limited_total", "Who was told to wait, by limit.");
    for limit in Limit::ALL {
        metrics::counter!("counterfoil_rate_limited_total", "limit" => limit.word()).increment(0);
    }
    metrics::describe_counter!("counterfoil_connections_ended_total", "Connections that were too slow, by what for.");
    for waited_for in ["head", "body", "reader"] {
        metrics::counter!("counterfoil_connections_ended_total", "waited_for" => waited_for).increment(0);
    }
    let repairs = "Customers whom a sweep repaired because no webhook had brought the change, by sweep.";
    metrics::describe_counter!("counterfoil_sweep_repairs_total", repairs);
    for sweep in ["open", "events", "comparison"] {
        metrics::counter!("counterfoil_sweep_repairs_total", "sweep" => sweep).increment(0);
    }
    let failures = "Events that could not be worked off at a try, by whether that goes away by itself.";
    metrics::describe_counter!("counterfoil_inbox_failures_total", failures);
    for failure in ["transient", "permanent"] {
        metrics::counter!("counterfoil_inbox_failures_total", "failure" => failure).increment(0);
    }
    metrics::describe_gauge!("counterfoil_inbox_rows", "Events that wait or were given up.");
    metrics::describe_gauge!("counterfoil_outbox_rows", "Jobs of the outbox that wait or were given up.");
    metrics::describe_gauge!("counterfoil_inbox_oldest_seconds", "How long the oldest waiting event has waited.");
    metrics::describe_gauge!("counterfoil_outbox_oldest_seconds", "How long the oldest waiting job has waited.");
    let unmatched = "Events of ours that have waited for a day for a customer that is not in the book.";
    metrics::describe_gauge!("counterfoil_inbox_unmatched_rows", unmatched);
    metrics::describe_gauge!("counterfoil_sweep_age_seconds", "How far back a sweep's last whole run lies.");
    metrics::describe_counter!("counterfoil_http_requests_total", "Requests answered, by route, method and status.");
    metrics::describe_histogram!("counterfoil_http_request_seconds", "How long answers took.");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_counter_that_operators_are_told_to_watch_is_there_from_the_start() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, begin_at_zero);
        let rendered = recorder.handle().render();
        let words = include_str!("../../../docs/operations.md").split(|c: char| c != '_' && !c.is_ascii_lowercase());
        let told: BTreeSet<&str> = words.filter(|word| word.starts_with("counterfoil_")).collect();
        let counters: Vec<&str> = told.into_iter().filter(|word| word.ends_with("_total")).collect();
        assert!(counters.len() >= 10, "{counters:?}");
        for name in counters {
            assert!(rendered.lines().any(|line| line.starts_with(name) && line.ends_with(" 0")), "{name} is missing");
        }
    }

    #[test]
    fn a_terminal_gets_text_and_whatever_collects_lines_gets_json_unless_told_otherwise() {
        for (format, is_terminal, expected) in [
            (LogFormat::Auto, true, false),
            (LogFormat::Auto, false, true),
            (LogFormat::Text, false, false),
            (LogFormat::Json, true, true),
        ] {
            assert_eq!(is_json(format, is_terminal), expected, "{format:?} {is_terminal}");
        }
    }

    #[test]
    fn colors_are_for_a_terminal_that_has_not_asked_for_none() {
        assert!(is_colored(true, false));
        assert!(!is_colored(true, true) && !is_colored(false, false) && !is_colored(false, true));
    }

    #[test]
    fn a_line_of_the_log_is_one_json_object_whatever_is_in_it() {
        let (kept, hostile) = (Kept::default(), "a\r\n{\"level\":\"ERROR\"}\u{1b}[31mred\u{2028}\0%s${x}");
        let writer = kept.clone();
        let lines = json_lines(EnvFilter::new("info"), move || writer.clone());
        tracing::subscriber::with_default(lines, || {
            let _inside = tracing::info_span!("request", route = hostile).entered();
            tracing::warn!(error = %hostile, "told: {hostile}");
        });
        let bytes = kept.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!((text.matches('\n').count(), text.ends_with('\n')), (1, true), "{text}");
        assert!(!text.trim_end().contains(char::is_control), "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["error"], &line["level"]), (&hostile.into(), &"WARN".into()), "{text}");
        assert_eq!(line["span"]["route"], hostile);
    }
}
