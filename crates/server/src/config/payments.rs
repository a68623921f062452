//! The settings of payments: at which provider, and what its news means.

use counterfoil_core::facts::DisputePolicy;

use super::error::Problems;
use super::mode;
use super::reading::{choice, is_placeholder};
use super::settings;
use super::source::Values;
use super::{DuplicatePolicy, Mode};

const CALLS_PER_SECOND_MAX: u32 = 10_000;

/// Where payments happen, and what follows from them.
pub(super) struct Payments {
    pub(super) mode: Mode,
    pub(super) portal_configuration: Option<String>,
    pub(super) stripe_calls_per_second: Option<u32>,
    pub(super) dispute_policy: DisputePolicy,
    pub(super) duplicate_policy: DuplicatePolicy,
}

pub(super) fn payments(values: &Values, problems: &mut Problems) -> Option<Payments> {
    let mode = mode::mode(values, problems);
    let portal_configuration = portal_configuration(values, problems);
    let stripe_calls_per_second = calls_per_second(values, problems);
    let dispute_policy = dispute_policy(values, problems);
    let duplicate_policy = duplicate_policy(values, problems);
    Some(Payments {
        mode: mode?,
        portal_configuration: portal_configuration?,
        stripe_calls_per_second: stripe_calls_per_second?,
        dispute_policy: dispute_policy?,
        duplicate_policy: duplicate_policy?,
    })
}

/// The id as Stripe gave it. Whether there is such a configuration is asked by `stripe doctor`.
fn portal_configuration(values: &Values, problems: &mut Problems) -> Option<Option<String>> {
    let Some(given) = values.get(&settings::STRIPE_PORTAL_CONFIGURATION) else { return Some(None) };
    if given.text.starts_with("bpc_") && !is_placeholder(&given.text[4..]) {
        return Some(Some(given.text.clone()));
    }
    let message = format!(
        "`{}` is no configuration of the billing portal: put in the id (bpc_…) that `counterfoil stripe setup` prints, or \
         remove this setting",
        given.text
    );
    problems.add("invalid_portal_configuration", &given.name, message);
    None
}

/// A number to write as text in the file too, like every other setting. More than Stripe ever grants is a slip of the keyboard.
fn calls_per_second(values: &Values, problems: &mut Problems) -> Option<Option<u32>> {
    let Some(given) = values.get(&settings::STRIPE_CALLS_PER_SECOND) else { return Some(None) };
    match given.text.parse::<u32>() {
        Ok(calls) if (1..=CALLS_PER_SECOND_MAX).contains(&calls) => Some(Some(calls)),
        Ok(_) | Err(_) => {
            let message = format!("`{}` is no pace: write a number from 1 to {CALLS_PER_SECOND_MAX}", given.text);
            problems.add("invalid_calls_per_second", &given.name, message);
            None
        }
    }
}

fn dispute_policy(values: &Values, problems: &mut Problems) -> Option<DisputePolicy> {
    let words = [("ignore", DisputePolicy::Ignore), ("hold", DisputePolicy::Hold)];
    choice(values, &settings::DISPUTE_POLICY, "invalid_dispute_policy", &words, DisputePolicy::default(), problems)
}

fn duplicate_policy(values: &Values, problems: &mut Problems) -> Option<DuplicatePolicy> {
    let words = [
        ("flag", DuplicatePolicy::Flag),
        ("cancel", DuplicatePolicy::Cancel),
        ("cancel_and_refund", DuplicatePolicy::CancelAndRefund),
    ];
    choice(values, &settings::DUPLICATE_POLICY, "invalid_duplicate_policy", &words, DuplicatePolicy::Flag, problems)
}
