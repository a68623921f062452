//! From texts to types: each subject by itself, then what must fit together.

use super::error::Problems;
use super::reading::choice;
use super::source::Values;
use super::{Config, LogFormat, settings};
use super::{accounts, checkout, licenses, limits, mail, mode, network, payments, product, storage, trials};

/// Each setting is checked even where an earlier one failed; `None` only with a problem noted.
pub(super) fn check(mut values: Values, problems: &mut Problems) -> Option<Config> {
    let plans = values.plans.take();
    let is_sandbox = mode::is_sandbox(&values);
    let network = network::network(&values, problems);
    let public_url = network.as_ref().map(|network| network.public_url.as_str());
    let storage = storage::storage(&values, problems);
    let payments = payments::payments(&values, problems);
    let mail = mail::mail(&values, problems);
    let accounts = accounts::accounts(&values, problems);
    let trials = trials::trials(&values, problems);
    let product = product::product(&values, is_sandbox, problems);
    let catalog = product::catalog(plans, problems);
    let checkout = checkout::checkout(&values, is_sandbox, catalog.as_ref(), problems);
    let licenses = licenses::licenses(&values, public_url, problems);
    let rate_limits = limits::rate_limits(&values, is_sandbox, problems);
    let log_format = log_format(&values, problems);

    let (network, storage, payments, mail) = (network?, storage?, payments?, mail?);
    let (accounts, trials, product, checkout, licenses) = (accounts?, trials?, product?, checkout?, licenses?);
    let config = Config {
        listen: network.listen,
        sandbox_listen: network.sandbox_listen,
        public_url: network.public_url,
        allowed_return_origins: network.allowed_return_origins,
        payment_origins: network.payment_origins,
        data_dir: storage.data_dir,
        database_url: storage.database_url,
        mode: payments.mode,
        portal_configuration: payments.portal_configuration,
        stripe_calls_per_second: payments.stripe_calls_per_second,
        smtp: mail.smtp,
        mail_from: mail.from,
        checkout_auth: checkout.auth,
        dispute_policy: payments.dispute_policy,
        duplicate_policy: payments.duplicate_policy,
        on_delete: accounts.on_delete,
        checkout_trial: checkout.trial,
        checkout: checkout.page,
        email_verification: accounts.email_verification,
        trial_per: trials.per,
        trial_reminders: trials.reminders,
        product: product.product,
        product_name: product.name,
        catalog: catalog?,
        license_key: licenses.license_key,
        status_list: licenses.status_list,
        key_encryption_key: licenses.key_encryption_key,
        rate_limits: rate_limits?,
        connections: network.connections,
        trusted_proxies: network.trusted_proxies,
        log_format: log_format?,
    };
    mode::check_together(&config, &values, problems);
    Some(config)
}

fn log_format(values: &Values, problems: &mut Problems) -> Option<LogFormat> {
    let words = [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
    choice(values, &settings::LOG_FORMAT, "invalid_log_format", &words, LogFormat::Auto, problems)
}
