//! The settings of trials.

use counterfoil_core::trial::TrialPer;

use super::error::Problems;
use super::settings;
use super::source::Values;

/// Who shares one trial, with the domains that are no company's.
pub(super) fn trial_per(values: &Values, problems: &mut Problems) -> Option<TrialPer> {
    let public_domains = public_domains(values, problems);
    let word = values.get(&settings::TRIAL_PER).map_or("person", |given| given.text.as_str());
    match (word, public_domains?) {
        ("person", None) => Some(TrialPer::Person),
        ("person", Some(_)) => {
            let message = "has a meaning only with trial_per = \"company_domain\": set that, or remove this";
            problems.add("setting_without_effect", values.name(&settings::PUBLIC_MAIL_DOMAINS), message);
            None
        }
        ("company_domain", domains) => Some(TrialPer::CompanyDomain { public_domains: domains.unwrap_or_default() }),
        (other, _) => {
            let message = format!("`{other}` is unknown: write `person` or `company_domain`");
            problems.add("invalid_trial_per", values.name(&settings::TRIAL_PER), message);
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
