use counterfoil_core::Timestamp;
use proptest::prelude::*;

use crate::support::cases;

fn at(text: &str) -> Timestamp {
    text.parse().expect("the test's time is valid")
}

#[test]
fn texts_of_many_shapes_name_the_same_instant() {
    let instant = Timestamp::from_unix_seconds(1_793_534_400);
    for text in ["2026-11-01T12:00:00Z", "2026-11-01T12:00:00.000000Z", "2026-11-01T13:00:00+01:00"] {
        assert_eq!(at(text), instant, "{text}");
    }
    assert_eq!(instant.to_string(), "2026-11-01T12:00:00.000000Z");
    assert_eq!(serde_json::to_string(&instant).unwrap(), "\"2026-11-01T12:00:00Z\"");
    assert_eq!(serde_json::from_str::<Timestamp>("\"2026-11-01T12:00:00Z\"").unwrap(), instant);
}

#[test]
fn texts_that_are_no_instant_are_refused_with_an_example() {
    for text in
        ["", "now", "2026-11-01", "2026-11-01T12:00:00", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "1793534400"]
    {
        let error = text.parse::<Timestamp>().unwrap_err();
        assert_eq!(error.to_string(), format!("`{text}` is not an RFC 3339 time such as 2026-11-01T12:00:00Z"));
    }
}

#[test]
fn months_keep_the_day_where_the_month_has_it_and_else_take_its_last() {
    let table = [
        ("2026-01-31T10:00:00Z", 1, "2026-02-28T10:00:00Z"),
        ("2028-01-31T10:00:00Z", 1, "2028-02-29T10:00:00Z"),
        ("2026-01-31T10:00:00Z", 2, "2026-03-31T10:00:00Z"),
        ("2026-08-31T10:00:00Z", 1, "2026-09-30T10:00:00Z"),
        ("2028-02-29T10:00:00Z", 12, "2029-02-28T10:00:00Z"),
        ("2028-02-29T10:00:00Z", 48, "2032-02-29T10:00:00Z"),
        ("2026-12-15T23:59:59.999999Z", 1, "2027-01-15T23:59:59.999999Z"),
        ("2026-03-31T10:00:00Z", -1, "2026-02-28T10:00:00Z"),
        ("2026-11-01T00:00:00Z", 0, "2026-11-01T00:00:00Z"),
        ("2026-11-01T00:00:00Z", i64::MAX, "9999-12-30T22:00:00Z"),
        ("2026-11-01T00:00:00Z", i64::MIN, "0000-01-01T00:00:00Z"),
    ];
    for (from, months, expected) in table {
        assert_eq!(at(from).plus_months(months), at(expected), "{from} and {months} months");
    }
}

#[test]
fn the_extremes_of_i64_are_clamped_and_still_print_and_parse() {
    let first = at("0000-01-01T00:00:00Z");
    let last = at("9999-12-30T22:00:00Z");
    for (instant, clamped) in [
        (Timestamp::from_micros(i64::MIN), first),
        (Timestamp::from_micros(i64::MAX), last),
        (Timestamp::from_unix_seconds(i64::MIN), first),
        (Timestamp::from_unix_seconds(i64::MAX), last),
        (last.plus_days(i64::MAX), last),
        (last.plus_seconds(1), last),
        (last.plus_millis(1), last),
        (first.plus_days(i64::MIN), first),
        (first.plus_seconds(-1), first),
        (first.plus_millis(i64::MIN), first),
    ] {
        assert_eq!(instant, clamped);
        assert_eq!(at(&instant.to_string()), instant);
        assert_eq!(serde_json::from_str::<Timestamp>(&serde_json::to_string(&instant).unwrap()).unwrap(), instant);
        assert!(!instant.date_time_in_words().is_empty());
        assert_eq!(instant.floor_to_second(), instant);
    }
    assert_eq!(last.seconds_since(first), 253_402_207_200 + 62_167_219_200);
}

#[test]
fn leap_days_and_the_year_2038_are_days_like_others() {
    assert_eq!(at("2028-02-28T12:00:00Z").plus_days(1), at("2028-02-29T12:00:00Z"));
    assert_eq!(at("2028-02-29T12:00:00Z").plus_days(365), at("2029-02-28T12:00:00Z"));
    assert_eq!(at("2027-02-28T12:00:00Z").plus_days(1), at("2027-03-01T12:00:00Z"));
    assert_eq!(at("2028-02-29T09:30:00Z").date_time_in_words(), "29 February 2028, 09:30 UTC");
    assert_eq!(Timestamp::from_unix_seconds(1 << 31).to_string(), "2038-01-19T03:14:08.000000Z");
    assert_eq!(at("2026-11-01T23:59:59.999999Z").date_in_words(), "1 November 2026");
}

#[test]
fn fractions_round_down_before_and_after_the_epoch() {
    for (micros, seconds) in [(0, 0), (1, 0), (999_999, 0), (1_000_000, 1), (-1, -1), (-1_000_000, -1)] {
        let instant = Timestamp::from_micros(micros);
        assert_eq!(instant.as_unix_seconds(), seconds, "{micros}");
        assert_eq!(instant.floor_to_second(), Timestamp::from_unix_seconds(seconds));
    }
    assert_eq!(serde_json::to_string(&Timestamp::from_micros(-1)).unwrap(), "\"1969-12-31T23:59:59Z\"");
    assert_eq!(Timestamp::from_micros(1).seconds_since(Timestamp::from_micros(2)), -1);
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn the_stored_text_comes_back_as_the_same_instant(micros in any::<i64>()) {
        let instant = Timestamp::from_micros(micros);
        let text = instant.to_string();
        prop_assert_eq!(text.len(), "2026-11-01T12:00:00.000000Z".len());
        prop_assert_eq!(at(&text), instant);
    }

    #[test]
    fn texts_sort_as_the_instants_do(left in any::<i64>(), right in any::<i64>(), near in -3i64..3) {
        let left = Timestamp::from_micros(left);
        for right in [Timestamp::from_micros(right), Timestamp::from_micros(left.as_micros().saturating_add(near))] {
            prop_assert_eq!(left.cmp(&right), left.to_string().cmp(&right.to_string()));
        }
    }

    #[test]
    fn flooring_loses_less_than_a_second(micros in any::<i64>()) {
        let instant = Timestamp::from_micros(micros);
        let lost = instant.as_micros() - instant.floor_to_second().as_micros();
        prop_assert!((0..1_000_000).contains(&lost));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,40}") {
        let _ = text.parse::<Timestamp>();
    }
}

#[test]
fn the_time_of_an_http_header_is_read() {
    let read = Timestamp::from_http_date("Sun, 01 Nov 2026 09:30:05 GMT");
    assert_eq!(read, "2026-11-01T09:30:05Z".parse().ok());
    for other in ["", "yesterday", "2026-11-01T09:30:05Z"] {
        assert_eq!(Timestamp::from_http_date(other), None, "{other}");
    }
}
