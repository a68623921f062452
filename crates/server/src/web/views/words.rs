//! Small words around numbers, shared by pages and mails, so that the same amount reads the same everywhere.

/// Currencies without a minor unit: Stripe gives their amounts in whole units. Krónur and Ugandan shillings have none either, but
/// their amounts still come in hundredths, as <https://docs.stripe.com/currencies#special-cases> has it: 500 are 5 UGX.
const ZERO_DECIMAL: [&str; 15] =
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"];

/// Currencies whose unit has a thousand parts.
const THREE_DECIMAL: [&str; 5] = ["bhd", "jod", "kwd", "omr", "tnd"];

/// The most days that are drawn as one hole each.
const PUNCHES_MAX: u32 = 31;

/// An amount in the smallest unit of its currency, as people write it: `€49.00`, `¥980`, `CHF 1,250.00`.
#[must_use]
pub fn money(amount: i64, currency: &str) -> String {
    let code = currency.to_ascii_lowercase();
    let minus = if amount < 0 { "-" } else { "" };
    let units = amount.unsigned_abs();
    let number = if ZERO_DECIMAL.contains(&code.as_str()) {
        grouped(units)
    } else if THREE_DECIMAL.contains(&code.as_str()) {
        format!("{}.{:03}", grouped(units / 1000), units % 1000)
    } else {
        format!("{}.{:02}", grouped(units / 100), units % 100)
    };
    let sign = match code.as_str() {
        "eur" => "€".to_owned(),
        "usd" => "$".to_owned(),
        "gbp" => "£".to_owned(),
        "jpy" => "¥".to_owned(),
        _ => format!("{}\u{a0}", code.to_ascii_uppercase()),
    };
    format!("{minus}{sign}{number}")
}

/// Digits in groups of three: `1,250`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count with its noun: `1 day`, `9 days`.
#[must_use]
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{} {noun}s", grouped(number)) }
}

/// What is left of a trial or a period, for the end of a sentence: `9 days left`, `ends today`.
#[must_use]
pub fn days_left(days: u64) -> String {
    if days == 0 { "ends today".to_owned() } else { format!("{} left", count(days, "day")) }
}

/// A catalogue's code in words: `api_access` becomes `API access`.
#[must_use]
pub fn humanize(code: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in code.split(['_', '-', '.']).filter(|word| !word.is_empty()) {
        words.push(match word.to_ascii_lowercase().as_str() {
            "api" | "sso" | "sla" | "pdf" | "csv" | "saml" | "ldap" | "cli" | "sdk" | "gb" | "tb" => {
                word.to_ascii_uppercase()
            }
            _ => word.to_owned(),
        });
    }
    let text = words.join(" ");
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The days of a trial as holes of a punch card: `true` is a day that has passed. Long trials have none.
#[must_use]
pub fn punches(days_passed: u32, days_total: u32) -> Vec<bool> {
    if days_total > PUNCHES_MAX {
        return Vec::new();
    }
    (0..days_total).map(|day| day < days_passed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_people_write_them() {
        assert_eq!(money(4900, "eur"), "€49.00");
        assert_eq!(money(125_000, "chf"), "CHF\u{a0}1,250.00");
        assert_eq!(money(980, "JPY"), "¥980");
        assert_eq!(money(1_250_500, "kwd"), "KWD\u{a0}1,250.500");
        assert_eq!(money(500, "ugx"), "UGX\u{a0}5.00");
        assert_eq!(money(-5, "usd"), "-$0.05");
        assert_eq!(money(0, "gbp"), "£0.00", "nothing is no debt");
        assert_eq!(money(i64::MIN, "usd"), "-$92,233,720,368,547,758.08");
    }

    #[test]
    fn one_day_is_singular() {
        assert_eq!(days_left(0), "ends today");
        assert_eq!(days_left(1), "1 day left");
        assert_eq!(days_left(1200), "1,200 days left");
    }

    #[test]
    fn codes_become_words() {
        assert_eq!(humanize("api_access"), "API access");
        assert_eq!(humanize("priority-support"), "Priority support");
        assert_eq!(humanize("sso"), "SSO");
        assert_eq!(humanize("__"), "");
    }

    #[test]
    fn a_trial_is_punched_day_by_day() {
        assert_eq!(punches(1, 3), [true, false, false]);
        assert_eq!(punches(9, 3), [true, true, true]);
        assert!(punches(1, 90).is_empty() && punches(1, PUNCHES_MAX + 1).is_empty());
        assert_eq!(punches(1, PUNCHES_MAX).len(), 31);
    }
}
