//! The settings of checkouts.

use counterfoil_core::Catalog;
use counterfoil_core::checkout::CheckoutTrial;

use super::error::Problems;
use super::reading::{choice, flag};
use super::settings;
use super::source::Values;
use super::{CheckoutAuth, CheckoutPage};

/// The longest trial that the provider takes along.
const CARRIED_DAYS_MAX: u32 = 730;

/// Who may start a checkout, and what it is like.
pub(super) struct Checkout {
    pub(super) auth: CheckoutAuth,
    pub(super) trial: CheckoutTrial,
    pub(super) page: CheckoutPage,
}

pub(super) fn checkout(
    values: &Values,
    is_sandbox: bool,
    catalog: Option<&Catalog>,
    problems: &mut Problems,
) -> Option<Checkout> {
    let auth = auth(values, is_sandbox, problems);
    let trial = trial(values, catalog, problems);
    let page = page(values, problems);
    Some(Checkout { auth: auth?, trial: trial?, page: page? })
}

fn auth(values: &Values, is_sandbox: bool, problems: &mut Problems) -> Option<CheckoutAuth> {
    let words = [("required", CheckoutAuth::Required), ("customer_id", CheckoutAuth::CustomerId)];
    let default = if is_sandbox { CheckoutAuth::CustomerId } else { CheckoutAuth::Required };
    choice(values, &settings::CHECKOUT_AUTH, "invalid_checkout_auth", &words, default, problems)
}

/// What becomes of a trial at a checkout. The trial of the plans has to be one that can be taken along.
fn trial(values: &Values, catalog: Option<&Catalog>, problems: &mut Problems) -> Option<CheckoutTrial> {
    let words = [("end", CheckoutTrial::End), ("carry", CheckoutTrial::Carry)];
    let (setting, code) = (&settings::CHECKOUT_TRIAL, "invalid_checkout_trial");
    let trial = choice(values, setting, code, &words, CheckoutTrial::End, problems)?;
    let is_too_long = catalog.is_some_and(|catalog| catalog.trial().trial_days > CARRIED_DAYS_MAX);
    if trial == CheckoutTrial::Carry && is_too_long {
        let message = format!(
            "`carry` works with trials of at most {CARRIED_DAYS_MAX} days: write a shorter `trial_days`, or `end`"
        );
        problems.add("trial_too_long_to_carry", values.name(setting), message);
        return None;
    }
    Some(trial)
}

/// What the pages offer and ask for.
fn page(values: &Values, problems: &mut Problems) -> Option<CheckoutPage> {
    let promotion_codes = flag(values, &settings::PROMOTION_CODES, false, problems);
    let automatic_tax = flag(values, &settings::AUTOMATIC_TAX, false, problems);
    let tax_id_collection = flag(values, &settings::TAX_ID_COLLECTION, false, problems);
    let words = [("auto", Some(false)), ("required", Some(true))];
    let (setting, code) = (&settings::BILLING_ADDRESS, "invalid_billing_address_collection");
    let billing_address_required = choice(values, setting, code, &words, None, problems);
    Some(CheckoutPage {
        promotion_codes: promotion_codes?,
        automatic_tax: automatic_tax?,
        tax_id_collection: tax_id_collection?,
        billing_address_required: billing_address_required?,
    })
}
