//! The doctor's look at the sweeps: how far each has come, and whether it is overdue.

use counterfoil_core::Timestamp;

use super::comparison::EVERY_SECONDS as COMPARISON_EVERY_SECONDS;
use super::doctor::unreadable;
use super::sweep_runs::AHEAD_SECONDS_MAX;
use super::sweeps::EVENTS_EVERY_SECONDS;
use crate::checks::Check;
use crate::db::{Db, DbError};
use crate::store;
use crate::store::sweeps::Sweep;

/// A sweep that has not come to its end for so many of its periods is overdue.
const SWEEP_PERIODS_MAX: i64 = 2;

/// How far each sweep that keeps its place has come, and whether it is overdue.
pub async fn check_sweeps(db: &Db, now: Timestamp) -> Vec<Check> {
    let read = async {
        let mut tx = db.begin_read().await?;
        let done = store::sweeps::list_done(&mut tx).await?;
        let beginning = store::instance::find_beginning(&mut tx).await?;
        tx.rollback().await?;
        Ok::<_, DbError>((done, beginning.unwrap_or(now)))
    };
    let (done, beginning) = match read.await {
        Ok(read) => read,
        Err(error) => return vec![unreadable("sweeps", &error)],
    };
    let of = |sweep: Sweep| done.iter().find(|(name, _)| name == sweep.word()).map_or(beginning, |(_, until)| *until);
    let events = Swept {
        what: "the provider's log of events",
        code: "sweep_events",
        late: "sweep_events_late",
        ahead: "sweep_events_ahead",
    };
    let comparison = Swept {
        what: "all subscriptions (`reconcile`)",
        code: "sweep_comparison",
        late: "sweep_comparison_late",
        ahead: "sweep_comparison_ahead",
    };
    vec![
        check_sweep(&events, (EVENTS_EVERY_SECONDS, of(Sweep::Events)), beginning, now),
        check_sweep(&comparison, (COMPARISON_EVERY_SECONDS, of(Sweep::Comparison)), beginning, now),
    ]
}

/// What a sweep looks at, and its codes.
struct Swept {
    what: &'static str,
    code: &'static str,
    late: &'static str,
    ahead: &'static str,
}

fn check_sweep(sweep: &Swept, (every, until): (i64, Timestamp), beginning: Timestamp, now: Timestamp) -> Check {
    let (what, age) = (sweep.what, now.seconds_since(until));
    if age < -AHEAD_SECONDS_MAX {
        let (at, ahead) = (until.date_time_in_words(), duration(-age));
        return Check::warning(
            sweep.ahead,
            format!(
                "the sweep of {what} stands at {at}, {ahead} in the future: a clock was ahead, or this one is behind"
            ),
            "Set the clocks of all machines, and let NTP keep them. A process with the worker then sets the sweep back by itself.",
        );
    }
    let told = if until <= beginning {
        format!("the sweep of {what} has not run yet; it runs {}", every_so_often(every))
    } else {
        let (at, ago) = (until.date_time_in_words(), duration(age));
        format!("the sweep of {what} last came up to {at}, {ago} ago; it runs {}", every_so_often(every))
    };
    if age <= SWEEP_PERIODS_MAX * every {
        return Check::ok(sweep.code, told);
    }
    let advice =
        "See that a process with the worker runs, and look into its log for why the sweep does not get through.";
    Check::warning(sweep.late, format!("{told}, so it is overdue"), advice)
}

const fn every_so_often(seconds: i64) -> &'static str {
    if seconds <= 3600 { "every hour" } else { "every day" }
}

fn duration(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{} seconds", seconds.max(0)),
        120..7200 => format!("{} minutes", seconds / 60),
        7200..172_800 => format!("{} hours", seconds / 3600),
        172_800.. => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_790_000_000);

    #[test]
    fn a_sweep_is_overdue_after_two_of_its_periods_and_does_not_stand_in_the_future() {
        let events =
            Swept { what: "events", code: "sweep_events", late: "sweep_events_late", ahead: "sweep_events_ahead" };
        let check = |beginning: i64, age: i64| {
            let (beginning, until) = (NOW.plus_seconds(-beginning), NOW.plus_seconds(-age));
            check_sweep(&events, (3600, until), beginning, NOW)
        };
        for (beginning, age, code, told) in [
            (90_000, 60, "sweep_events", "60 seconds ago; it runs every hour"),
            (90_000, 7200, "sweep_events", "2 hours ago"),
            (90_000, 7201, "sweep_events_late", "so it is overdue"),
            (90_000, -1800, "sweep_events", "0 seconds ago"),
            (90_000, -1801, "sweep_events_ahead", "30 minutes in the future"),
            (-90_000, -90_000, "sweep_events_ahead", "25 hours in the future"),
            (5400, 5400, "sweep_events", "has not run yet"),
            (90_000, 90_000, "sweep_events_late", "has not run yet; it runs every hour, so it is overdue"),
        ] {
            let check = check(beginning, age);
            assert_eq!(check.code, code, "{age}");
            assert!(check.message.contains(told), "{}", check.message);
        }
    }
}
