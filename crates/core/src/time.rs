//! The one notion of an instant: microseconds since the Unix epoch, UTC.
//!
//! PostgreSQL keeps microseconds, Stripe keeps seconds and SQLite keeps text. One integer type that every boundary
//! converts to and from leaves no room for a value that compares differently after a round trip.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const MICROS_PER_SECOND: i64 = 1_000_000;

/// The last instant, 9999-12-30T22:00:00Z: a four-digit year, so that the fixed-width text form always sorts as the instant
/// does, and the last second that jiff represents in every offset. Later ones are clamped to it.
const LAST_SECOND: i64 = 253_402_207_200;

/// The first instant of year 0, for the same reason.
const FIRST_SECOND: i64 = -62_167_219_200;

/// An instant in UTC with microsecond resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The text is not an RFC 3339 instant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an RFC 3339 time such as 2026-11-01T12:00:00Z")]
pub struct InvalidTimestamp(String);

impl Timestamp {
    /// From microseconds since the Unix epoch; values outside the years 0 to 9999 are clamped.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        let first = FIRST_SECOND * MICROS_PER_SECOND;
        let last = LAST_SECOND * MICROS_PER_SECOND;
        Self(if micros < first {
            first
        } else if micros > last {
            last
        } else {
            micros
        })
    }

    /// From seconds since the Unix epoch, the unit of Stripe and of JWT; clamped to the years 0 to 9999.
    #[must_use]
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self::from_micros(seconds.saturating_mul(MICROS_PER_SECOND))
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn as_unix_seconds(self) -> i64 {
        self.0.div_euclid(MICROS_PER_SECOND)
    }

    /// This instant moved by `seconds`, which may be negative.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self::from_micros(self.0.saturating_add(seconds.saturating_mul(MICROS_PER_SECOND)))
    }

    /// This instant moved by milliseconds, which may be negative.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self::from_micros(self.0.saturating_add(millis.saturating_mul(1000)))
    }

    /// This instant moved by days of exactly 24 hours.
    #[must_use]
    pub const fn plus_days(self, days: i64) -> Self {
        self.plus_seconds(days.saturating_mul(86_400))
    }

    /// This instant moved by calendar months in UTC. A day that the month does not have becomes its last: 31 January and one month
    /// is 28 or 29 February.
    #[must_use]
    pub fn plus_months(self, months: i64) -> Self {
        let moved = jiff::Span::new().try_months(months).and_then(|span| self.civil().checked_add(span));
        let zoned = moved.and_then(|civil| civil.to_zoned(jiff::tz::TimeZone::UTC));
        let beyond = if months < 0 { FIRST_SECOND } else { LAST_SECOND };
        zoned.map_or(Self::from_unix_seconds(beyond), |zoned| Self::from_micros(zoned.timestamp().as_microsecond()))
    }

    /// The same instant without its fraction of a second, as JWT and Stripe see it.
    #[must_use]
    pub const fn floor_to_second(self) -> Self {
        Self::from_unix_seconds(self.as_unix_seconds())
    }

    /// Whole seconds from `earlier` to this instant; negative where this instant comes first.
    #[must_use]
    pub const fn seconds_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0).div_euclid(MICROS_PER_SECOND)
    }

    /// The day in words that everybody reads the same way: `1 November 2026`.
    #[must_use]
    pub fn date_in_words(self) -> String {
        self.civil().strftime("%-d %B %Y").to_string()
    }

    /// The time of an HTTP header: `Mon, 23 Nov 2026 18:37:36 GMT`.
    #[must_use]
    pub fn from_http_date(text: &str) -> Option<Self> {
        let read = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Some(Self::from_micros(read.as_microsecond()))
    }

    /// Day and time in words, UTC: `1 November 2026, 09:30 UTC`.
    #[must_use]
    pub fn date_time_in_words(self) -> String {
        self.civil().strftime("%-d %B %Y, %H:%M UTC").to_string()
    }

    fn civil(self) -> jiff::civil::DateTime {
        jiff::Timestamp::from_microsecond(self.0)
            .expect("a Timestamp is clamped to years that jiff represents")
            .to_zoned(jiff::tz::TimeZone::UTC)
            .datetime()
    }
}

/// Fixed width and always `Z`, so that texts sort as the instants do: `2026-11-01T12:00:00.000000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.civil().strftime("%Y-%m-%dT%H:%M:%S.%6fZ"))
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let instant: jiff::Timestamp = text.parse().map_err(|_| InvalidTimestamp(text.to_owned()))?;
        Ok(Self::from_micros(instant.as_microsecond()))
    }
}

impl Serialize for Timestamp {
    /// API answers carry whole seconds (`2026-11-01T12:00:00Z`): nobody buys a licence by the microsecond.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.civil().strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
