//! Plans and licences as the cards that several pages show.

use counterfoil_core::{Interval, Plan, Price, Timestamp};

use super::wording;
use crate::app::App;
use crate::app::customers::Account;
use crate::store::licenses::License;
use crate::web::views::{LicenseCard, Limit, PlanCard, PriceTag, words};

/// The plans to choose from, in the catalogue's order. Who has paid in a currency before sees the prices in that one.
pub fn plans_for_sale(app: &App, currency: Option<&str>) -> Vec<PlanCard> {
    app.catalog.for_sale().map(|plan| plan_card(plan, currency)).collect()
}

fn plan_card(plan: &Plan, currency: Option<&str>) -> PlanCard {
    PlanCard {
        code: plan.code.to_string(),
        name: plan.name.clone(),
        description: plan.description.clone(),
        features: plan.features.iter().map(|feature| words::humanize(feature)).collect(),
        limits: plan
            .limits
            .iter()
            .map(|(name, value)| Limit { name: words::humanize(name), value: number(*value) })
            .collect(),
        prices: price_tags(plan, currency),
        trial_days: (plan.trial_days > 0).then_some(plan.trial_days),
        recommended: false,
        current: false,
    }
}

/// One tag an interval: the price that a checkout of this interval takes.
fn price_tags(plan: &Plan, currency: Option<&str>) -> Vec<PriceTag> {
    let prices: Vec<&Price> = plan.prices_in(currency).collect();
    let tag = |price: &&Price| PriceTag {
        interval: price.interval.as_str().to_owned(),
        amount: words::money(price.amount, &price.currency),
        remark: saving(&prices, price),
    };
    prices.iter().map(tag).collect()
}

/// What a year saves against twelve months.
fn saving(prices: &[&Price], price: &Price) -> Option<String> {
    match price.interval {
        Interval::Month => None,
        Interval::Year => {
            let month = prices.iter().find(|each| each.interval == Interval::Month)?;
            let saved = month.amount.saturating_mul(12).saturating_sub(price.amount);
            (saved > 0).then(|| format!("saves {}", words::money(saved, &price.currency)))
        }
    }
}

fn number(value: i64) -> String {
    u64::try_from(value).map_or_else(|_negative| value.to_string(), words::grouped)
}

/// A number that rises with each version, for display.
pub fn version(license: &License) -> u32 {
    u32::try_from(license.version).unwrap_or(u32::MAX)
}

/// The account's licence. Features and limits are read from the licence itself: the catalogue may have changed since.
pub fn license_card(app: &App, account: &Account, license: &License, now: Timestamp) -> LicenseCard {
    let (state_word, tone) = wording::license_stamp(license, &account.right, now);
    let (features, limits) = match counterfoil_license::inspect(&license.token) {
        Ok((_header, claims)) => (claims.features, claims.limits),
        Err(reason) => {
            tracing::error!(license_id = %license.license_id, %reason, "a stored license cannot be read");
            Default::default()
        }
    };
    let customer = &account.customer;
    LicenseCard {
        token: license.token.clone(),
        license_id: license.license_id.to_string(),
        version: version(license),
        plan: license.plan.to_string(),
        plan_name: app.plan_name(&license.plan),
        state_word: state_word.to_owned(),
        tone,
        holder: customer.company_name.clone().unwrap_or_else(|| customer.email.to_string()),
        customer_id: customer.customer_id.to_string(),
        features,
        limits: limits.into_iter().map(|(name, value)| Limit { name, value: value.to_string() }).collect(),
        issued_on: license.issued_at.date_in_words(),
        paid_until: license.paid_until.date_in_words(),
        is_trial: license.trial,
        works_until: license.expires_at.date_in_words(),
        refresh_after: license.refresh_after.date_in_words(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::testing;
    use crate::web::portal::testing::license;

    fn plan(prices: &[(Interval, &str, i64)]) -> Plan {
        let price = |(index, &(interval, currency, amount)): (usize, &(Interval, &str, i64))| Price {
            interval,
            currency: currency.to_owned(),
            amount,
            stripe_price: format!("price_{index}"),
        };
        Plan {
            features: vec!["api_access".to_owned()],
            limits: [("seats".to_owned(), 1200), ("projects".to_owned(), -1)].into(),
            prices: prices.iter().enumerate().map(price).collect(),
            ..testing::plan("professional", 0)
        }
    }

    #[test]
    fn a_year_says_what_it_saves() {
        let card = plan_card(&plan(&[(Interval::Month, "eur", 4900), (Interval::Year, "eur", 49_000)]), None);
        assert_eq!(card.prices[0].remark, None);
        assert_eq!(card.prices[1].amount, "€490.00");
        assert_eq!(card.prices[1].remark.as_deref(), Some("saves €98.00"));
        for other in [
            &[(Interval::Month, "usd", 4900), (Interval::Year, "eur", 100)][..],
            &[(Interval::Year, "eur", 1)],
            &[(Interval::Month, "eur", 4900), (Interval::Year, "eur", 58_800)],
            &[(Interval::Month, "eur", 4900), (Interval::Year, "eur", 60_000)],
        ] {
            assert!(price_tags(&plan(other), None).iter().all(|tag| tag.remark.is_none()));
        }
    }

    #[test]
    fn an_interval_has_one_tag_and_it_is_the_price_that_is_taken() {
        let plan = plan(&[
            (Interval::Month, "eur", 4900),
            (Interval::Month, "usd", 5900),
            (Interval::Year, "usd", 59_000),
            (Interval::Year, "eur", 49_000),
        ]);
        let amounts = |currency| price_tags(&plan, currency).into_iter().map(|tag| tag.amount).collect::<Vec<_>>();
        assert_eq!(amounts(None), ["€49.00", "€490.00"]);
        assert_eq!(amounts(Some("eur")), ["€49.00", "€490.00"]);
        assert_eq!(amounts(Some("usd")), ["$59.00", "$590.00"]);
        assert_eq!(amounts(Some("gbp")), [""; 0], "it is not sold in the customer's currency");
    }

    #[test]
    fn codes_and_numbers_are_shown_in_words() {
        let card = plan_card(&plan(&[]), None);
        assert_eq!(card.features, ["API access"]);
        let limits: Vec<_> = card.limits.iter().map(|limit| (limit.name.as_str(), limit.value.as_str())).collect();
        assert_eq!(limits, [("Projects", "-1"), ("Seats", "1,200")]);
        assert!(!format!("{card:?}").contains("price_"));
    }

    #[test]
    fn only_a_trial_has_days() {
        let days = |trial_days| plan_card(&Plan { trial_days, ..plan(&[]) }, None).trial_days;
        assert_eq!((days(0), days(1), days(14)), (None, Some(1), Some(14)));
    }

    #[test]
    fn a_card_names_the_version_of_its_license() {
        let of = |number| version(&License { version: number, ..license("professional", false) });
        assert_eq!((of(2), of(i64::from(u32::MAX) + 1)), (2, u32::MAX));
    }
}
