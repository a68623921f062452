//! The settings of checkouts.

use counterfoil_core::Catalog;
use counterfoil_core::checkout::CheckoutTrial;

use super::CheckoutPage;
use super::check::flag;
use super::error::Problems;
use super::settings;
use super::source::Values;

/// The longest trial that the provider takes along.
const CARRIED_DAYS_MAX: u32 = 730;

/// What becomes of a trial at a checkout. The trial of the plans has to be one that can be taken along.
pub(super) fn trial(values: &Values, catalog: Option<&Catalog>, problems: &mut Problems) -> Option<CheckoutTrial> {
    let Some(given) = values.get(&settings::CHECKOUT_TRIAL) else { return Some(CheckoutTrial::End) };
    match given.text.as_str() {
        "end" => Some(CheckoutTrial::End),
        "carry" if catalog.is_some_and(|catalog| catalog.trial().trial_days > CARRIED_DAYS_MAX) => {
            let message = format!(
                "`carry` works with trials of at most {CARRIED_DAYS_MAX} days: write a shorter `trial_days`, or `end`"
            );
            problems.add("trial_too_long_to_carry", &given.name, message);
            None
        }
        "carry" => Some(CheckoutTrial::Carry),
        other => {
            let message = format!("`{other}` is unknown: write `end` or `carry`");
            problems.add("invalid_checkout_trial", &given.name, message);
            None
        }
    }
}

/// What the pages offer and ask for.
pub(super) fn page(values: &Values, problems: &mut Problems) -> Option<CheckoutPage> {
    let promotion_codes = flag(values, &settings::PROMOTION_CODES, false, problems);
    let automatic_tax = flag(values, &settings::AUTOMATIC_TAX, false, problems);
    let tax_id_collection = flag(values, &settings::TAX_ID_COLLECTION, false, problems);
    let billing_address_required = billing_address(values, problems);
    Some(CheckoutPage {
        promotion_codes: promotion_codes?,
        automatic_tax: automatic_tax?,
        tax_id_collection: tax_id_collection?,
        billing_address_required: billing_address_required?,
    })
}

fn billing_address(values: &Values, problems: &mut Problems) -> Option<Option<bool>> {
    let Some(given) = values.get(&settings::BILLING_ADDRESS) else { return Some(None) };
    match given.text.as_str() {
        "auto" => Some(Some(false)),
        "required" => Some(Some(true)),
        other => {
            let message = format!("`{other}` is unknown: write `auto` or `required`");
            problems.add("invalid_billing_address_collection", &given.name, message);
            None
        }
    }
}
