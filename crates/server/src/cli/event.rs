//! `counterfoil event`: the inbox of events, and looking again because of one.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::operator::{Why, open_app};
use super::output::{self, table};
use super::{Common, customer, log_quietly};
use crate::app::queues::Wanted;
use crate::store::events::{EventState, StoredEvent};

/// Commands of `event`.
#[derive(Debug, Subcommand)]
pub enum EventCommand {
    /// List the events that came from the payment provider, newest first.
    List {
        /// Only those that are `pending`, `processed`, `ignored` or `dead` (given up).
        #[arg(long, value_parser = EventState::ALL.map(EventState::word), hide_possible_values = true)]
        state: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show one event: what became of it, and why.
    Show {
        /// The id at Stripe (evt_…).
        event: String,
        /// Print what was sent as well. It can hold addresses.
        #[arg(long)]
        body: bool,
    },
    /// Work an event off again. It only makes us look at its customer, so it never does harm.
    Replay {
        /// The id at Stripe (evt_…).
        event: String,
        #[command(flatten)]
        why: Why,
    },
}

/// Which rows of a queue.
#[derive(Debug, Args)]
pub struct PageArgs {
    /// Only those of this customer (cust_…, e-mail address, or cus_…).
    #[arg(long)]
    customer: Option<String>,
    /// The number of rows.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=200))]
    limit: i64,
    /// Go on after the row with this number, which the page before ended with.
    #[arg(long, value_name = "NUMBER")]
    before: Option<i64>,
}

impl PageArgs {
    /// What to ask the queue for.
    pub async fn wanted<S>(&self, app: &crate::app::App, state: Option<S>) -> anyhow::Result<Wanted<S>> {
        let customer_id = match &self.customer {
            Some(text) => Some(customer::find_id(app, text).await?),
            None => None,
        };
        Ok(Wanted { state, customer_id, before: self.before, limit: self.limit })
    }
}

/// Runs one of them; works beside a running service.
pub async fn run(common: &Common, command: EventCommand) -> anyhow::Result<ExitCode> {
    log_quietly();
    match command {
        EventCommand::List { state, page } => {
            let (_config, app) = open_app(common).await?;
            let wanted = page.wanted(&app, state.as_deref().and_then(EventState::parse)).await?;
            let listed = app.list_events(&wanted).await?;
            let rows: Vec<Value> = listed.rows.iter().map(to_json).collect();
            output::show(common.json, &json!({ "events": rows, "next": listed.next }), || {
                let mut lines: Vec<String> = listed.rows.iter().map(in_a_line).collect();
                lines.extend(rest(&listed.rows, listed.next));
                lines.join("\n")
            });
        }
        EventCommand::Show { event, body } => {
            let (_config, app) = open_app(common).await?;
            let (found, raw) = app.find_event(event.trim()).await?;
            let raw = body.then(|| String::from_utf8_lossy(&raw).into_owned());
            let mut value = to_json(&found);
            if let Some(raw) = &raw {
                value["body"] = serde_json::from_str(raw).unwrap_or_else(|_| Value::from(raw.as_str()));
            }
            output::show(common.json, &value, || match raw {
                Some(raw) => format!("{}\n\n{raw}", in_words(&found)),
                None => in_words(&found),
            });
        }
        EventCommand::Replay { event, why } => {
            let by = why.by()?;
            let (_config, app) = open_app(common).await?;
            let found = app.replay_event(event.trim(), &by).await?;
            output::show(common.json, &to_json(&found), || {
                format!("{} waits again; a running service works it off within a second", found.event_id)
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A last line for a page that is empty, or that is not the last one.
pub fn rest<T>(rows: &[T], next: Option<i64>) -> Option<String> {
    match next {
        Some(next) => Some(format!("more: --before {next}")),
        None => rows.is_empty().then(|| "none".to_owned()),
    }
}

fn in_a_line(event: &StoredEvent) -> String {
    let whose = event.customer_id.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    let why = event.last_error.as_deref().or(event.ignored_because.as_deref()).unwrap_or_default();
    let (at, state) = (event.received_at.date_time_in_words(), event.state.word());
    format!("{at}  {state:<9}  {:<32}  {}  {whose}  {why}", event.event_type, event.event_id).trim_end().to_owned()
}

fn in_words(event: &StoredEvent) -> String {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let error = event.last_error.as_ref().map(|error| match &event.failure {
        Some(kind) => format!("{error} ({kind})"),
        None => error.clone(),
    });
    table(&[
        ("event", event.event_id.clone()),
        ("type", event.event_type.clone()),
        ("state", event.state.word().to_owned()),
        ("came by", event.source.clone()),
        ("customer", or_none(event.customer_id.as_ref().map(ToString::to_string))),
        ("at Stripe", or_none(event.external_customer.clone())),
        ("ignored", or_none(event.ignored_because.clone())),
        ("tries", event.attempts.to_string()),
        ("last error", or_none(error)),
        ("received", event.received_at.date_time_in_words()),
        ("next try", or_none((event.state == EventState::Pending).then(|| event.run_at.date_time_in_words()))),
        ("done", or_none(event.processed_at.map(counterfoil_core::Timestamp::date_time_in_words))),
    ])
}

fn to_json(event: &StoredEvent) -> Value {
    json!({
        "number": event.number, "event_id": event.event_id, "type": event.event_type, "source": event.source,
        "state": event.state.word(), "ignored_because": event.ignored_because, "customer_id": event.customer_id,
        "stripe_customer_id": event.external_customer, "attempts": event.attempts, "failure": event.failure,
        "last_error": event.last_error, "received_at": event.received_at, "run_at": event.run_at,
        "processed_at": event.processed_at,
    })
}

#[cfg(test)]
mod tests {
    use counterfoil_core::{CustomerId, Timestamp};

    use super::*;

    const NOON: Timestamp = Timestamp::from_unix_seconds(1_793_534_400);

    fn event(state: EventState) -> StoredEvent {
        StoredEvent {
            number: 7,
            event_id: "evt_1".to_owned(),
            event_type: "invoice.paid".to_owned(),
            source: "webhook".to_owned(),
            state,
            ignored_because: None,
            customer_id: None,
            external_customer: None,
            attempts: 2,
            failure: None,
            last_error: None,
            received_at: NOON,
            run_at: NOON.plus_days(1),
            processed_at: None,
        }
    }

    /// What stands beside this name.
    fn told(event: &StoredEvent, name: &str) -> String {
        let words = in_words(event);
        let line = words.lines().find_map(|line| line.trim_start().strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} is not in: {words}")).trim().to_owned()
    }

    #[test]
    fn a_page_says_where_the_next_one_begins_and_an_empty_one_that_it_is_empty() {
        assert_eq!(rest(&[1], Some(7)).as_deref(), Some("more: --before 7"));
        assert_eq!(rest(&[1], None), None);
        assert_eq!(rest::<i64>(&[], None).as_deref(), Some("none"));
    }

    #[test]
    fn a_line_says_whose_an_event_is_and_why_nothing_came_of_it() {
        let (at, nobodys) = (NOON.date_time_in_words(), event(EventState::Pending));
        let kind = format!("{:<32}", "invoice.paid");
        assert_eq!(in_a_line(&nobodys), format!("{at}  pending    {kind}  evt_1  -"));
        let whose = CustomerId::from_random([1; 16]);
        let dead = StoredEvent {
            customer_id: Some(whose.clone()),
            ignored_because: Some("other_mode".to_owned()),
            last_error: Some("no answer".to_owned()),
            ..event(EventState::Dead)
        };
        assert_eq!(in_a_line(&dead), format!("{at}  dead       {kind}  evt_1  {whose}  no answer"));
        let ignored = StoredEvent { last_error: None, ..dead };
        assert!(in_a_line(&ignored).ends_with("other_mode"));
    }

    #[test]
    fn only_an_event_that_waits_has_a_next_try() {
        for state in EventState::ALL {
            let next = match state {
                EventState::Pending => NOON.plus_days(1).date_time_in_words(),
                EventState::Processed | EventState::Ignored | EventState::Dead => "-".to_owned(),
            };
            assert_eq!(told(&event(state), "next try"), next);
            assert_eq!(told(&event(state), "state"), state.word());
        }
        let failed = StoredEvent {
            last_error: Some("no answer".to_owned()),
            failure: Some("transient".to_owned()),
            ..event(EventState::Pending)
        };
        assert_eq!(
            (told(&failed, "last error").as_str(), told(&failed, "done").as_str()),
            ("no answer (transient)", "-")
        );
    }
}
