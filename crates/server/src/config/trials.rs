//! The settings of trials.

use counterfoil_core::trial::TrialPer;

use super::error::Problems;
use super::reading::{choice, flag};
use super::settings;
use super::source::Values;

/// Who has a trial, and what is said of its end.
pub(super) struct Trials {
    pub(super) per: TrialPer,
    pub(super) reminders: bool,
}

pub(super) fn trials(values: &Values, problems: &mut Problems) -> Option<Trials> {
    let per = trial_per(values, problems);
    let reminders = flag(values, &settings::TRIAL_REMINDERS, true, problems);
    Some(Trials { per: per?, reminders: reminders? })
}

/// Who shares one trial, with the domains that are no company's.
fn trial_per(values: &Values, problems: &mut Problems) -> Option<TrialPer> {
    let words = [("person", false), ("company_domain", true)];
    let is_per_company = choice(values, &settings::TRIAL_PER, "invalid_trial_per", &words, false, problems);
    let public_domains = public_domains(values, problems);
    match (is_per_company?, public_domains?) {
        (true, domains) => Some(TrialPer::CompanyDomain { public_domains: domains.unwrap_or_default() }),
        (false, None) => Some(TrialPer::Person),
        (false, Some(_)) => {
            let message = "has a meaning only with trial_per = \"company_domain\": set that, or remove this";
            problems.add("setting_without_effect", values.name(&settings::PUBLIC_MAIL_DOMAINS), message);
            None
        }
    }
}

fn public_domains(values: &Values, problems: &mut Problems) -> Option<Option<Vec<String>>> {
    let Some(given) = values.get(&settings::PUBLIC_MAIL_DOMAINS) else { return Some(None) };
    let mut domains = Vec::new();
    for text in given.text.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        // An address with it is parsed as every address is, so both are compared in the same form.
        match format!("x@{text}").parse::<counterfoil_core::EmailAddress>() {
            Ok(address) => domains.push(address.domain().to_owned()),
            Err(_) => {
                let message = format!("`{text}` is no mail domain: write mail.example.com");
                problems.add("invalid_mail_domain", &given.name, message);
                return None;
            }
        }
    }
    Some(Some(domains))
}
