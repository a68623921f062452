//! The sandbox's only source of time: the machine's clock plus an offset that `POST /_sandbox/clock` moves forward.
//!
//! Everything else receives `now` as a Unix second, so a month passes in a test as fast as in a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

pub(crate) const HOUR: i64 = 3_600;
pub(crate) const DAY: i64 = 24 * HOUR;

#[derive(Clone, Default)]
pub(crate) struct Clock {
    offset_seconds: Arc<AtomicI64>,
}

impl Clock {
    pub(crate) fn starting_at(offset_seconds: i64) -> Self {
        Self { offset_seconds: Arc::new(AtomicI64::new(offset_seconds)) }
    }

    pub(crate) fn now(&self) -> i64 {
        machine_now() + self.offset()
    }

    pub(crate) fn offset(&self) -> i64 {
        self.offset_seconds.load(Ordering::SeqCst)
    }

    pub(crate) fn set_offset(&self, offset_seconds: i64) {
        self.offset_seconds.store(offset_seconds, Ordering::SeqCst);
    }

    pub(crate) fn shared_offset(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.offset_seconds)
    }
}

/// As HTTP writes a time: `Mon, 23 Nov 2026 18:37:36 GMT`. Empty where it cannot be written.
pub(crate) fn http_date(unix_seconds: i64) -> String {
    let at = jiff::Timestamp::from_second(unix_seconds).ok();
    let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
    at.and_then(|at| printer.timestamp_to_rfc9110_string(&at).ok()).unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "the edge where the machine's clock enters; everyone else is told")]
fn machine_now() -> i64 {
    #[cfg(feature = "simulation")]
    if let Some(now) = crate::simulation::now_seconds() {
        return now;
    }
    jiff::Timestamp::now().as_second()
}

/// The end of the period that contains or follows `after`, counted from `anchor` so that the 31st of January renews on
/// the 28th of February and on the 31st of March.
pub(crate) fn next_period_end(anchor: i64, interval: &str, count: i64, after: i64) -> i64 {
    let count = count.clamp(1, 120);
    let fixed_seconds = match interval {
        "day" => Some(DAY),
        "week" => Some(7 * DAY),
        _ => None,
    };
    if let Some(seconds) = fixed_seconds {
        let step = seconds * count;
        return anchor + ((after - anchor).div_euclid(step) + 1) * step;
    }
    let months_each = if interval == "year" { 12 * count } else { count };
    // A month has at most 31 days, so starting from this estimate never skips a period.
    let mut periods = ((after - anchor) / (31 * DAY * months_each)).max(1);
    loop {
        let end = add_months(anchor, periods * months_each);
        if end > after {
            return end;
        }
        periods += 1;
    }
}

fn add_months(unix_seconds: i64, months: i64) -> i64 {
    jiff::Timestamp::from_second(unix_seconds)
        .and_then(|timestamp| {
            timestamp.to_zoned(jiff::tz::TimeZone::UTC).checked_add(jiff::Span::new().try_months(months)?)
        })
        .map_or(i64::MAX, |zoned| zoned.timestamp().as_second())
}

/// A date as people read it on the hosted pages, for example `3 March 2027`.
pub(crate) fn human_date(unix_seconds: i64) -> String {
    jiff::Timestamp::from_second(unix_seconds).map_or_else(
        |_| unix_seconds.to_string(),
        |timestamp| timestamp.to_zoned(jiff::tz::TimeZone::UTC).strftime("%-d %B %Y").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().expect("a timestamp").as_second()
    }

    #[test]
    fn a_month_from_the_31st_is_clamped_and_recovers() {
        let anchor = at("2027-01-31T10:00:00Z");
        let february = next_period_end(anchor, "month", 1, anchor);
        assert_eq!(february, at("2027-02-28T10:00:00Z"));
        assert_eq!(next_period_end(anchor, "month", 1, february), at("2027-03-31T10:00:00Z"));
    }

    #[test]
    fn years_weeks_and_days_advance() {
        let anchor = at("2028-02-29T00:00:00Z");
        assert_eq!(next_period_end(anchor, "year", 1, anchor), at("2029-02-28T00:00:00Z"));
        assert_eq!(next_period_end(anchor, "week", 2, anchor), anchor + 14 * DAY);
        assert_eq!(next_period_end(anchor, "day", 1, anchor + 5 * DAY), anchor + 6 * DAY);
    }
}
