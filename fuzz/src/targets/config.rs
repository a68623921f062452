//! The configuration, file and environment: nothing in them makes the server panic, everything that is wrong has a code and a sentence,
//! no secret is repeated, and what is accepted is safe and can be started with.
//!
//! A line `%%` ends the file; what follows are variables, `NAME=value`.

use counterfoil::cli::service;
use counterfoil::config::{CheckoutAuth, Config, ConfigError, Environment, Mode};
use counterfoil::entropy::Entropy;
use counterfoil::mail::Mailer;
use counterfoil_core::return_url::Origin;
use secrecy::ExposeSecret as _;
use toml::{Table, Value};

/// Stands in secrets, and in nothing that may be shown.
const CANARY: &str = "canary7f3e";
const SECRET_KEYS: [&str; 6] =
    ["database_url", "stripe_secret_key", "stripe_webhook_secret", "smtp_url", "license_key", "key_encryption_key"];
const SECRET_VARIABLES: [&str; 6] = [
    "DATABASE_URL",
    "STRIPE_SECRET_KEY",
    "STRIPE_WEBHOOK_SECRET",
    "SMTP_URL",
    "COUNTERFOIL_LICENSE_KEY",
    "COUNTERFOIL_KEY_ENCRYPTION_KEY",
];
const PRODUCT_BYTES_MAX: usize = 128;

pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (file, variables) = text.split_once("%%\n").unwrap_or((text, ""));
    let variables: Vec<(&str, &str)> = variables.lines().filter_map(|line| line.split_once('=')).collect();
    if names_a_file(file, &variables) {
        return;
    }
    let environment: Environment = variables.iter().copied().collect();
    match Config::parse(Some(file), &environment) {
        Ok(config) => check(&config),
        Err(error) => check_error(&error, file, &variables),
    }
}

/// A fuzzer must not read what lies around on somebody's disk, or a device without an end.
fn names_a_file(file: &str, variables: &[(&str, &str)]) -> bool {
    let table: Table = toml::from_str(file).unwrap_or_default();
    table.keys().any(|key| key.ends_with("_file")) || variables.iter().any(|(name, _)| name.ends_with("_FILE"))
}

fn check_error(error: &ConfigError, file: &str, variables: &[(&str, &str)]) {
    assert!(!error.problems.is_empty(), "an error says what is wrong");
    for problem in &error.problems {
        let is_word = problem.code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(is_word && !problem.code.is_empty(), "{problem:?} has no code");
        let is_named = !problem.setting.is_empty() || problem.code == "unknown_setting";
        assert!(is_named && problem.message.len() > 10, "{problem:?} has no sentence");
    }
    if is_only_in_secrets(file, variables) {
        assert!(!format!("{error} {error:?}").contains(CANARY), "a secret is repeated: {error}");
    }
}

/// Whether the canary stands in secrets and nowhere else.
fn is_only_in_secrets(file: &str, variables: &[(&str, &str)]) -> bool {
    let is_secret_line = |line: &str| SECRET_KEYS.iter().any(|key| line.starts_with(&format!("{key} = ")));
    let Ok(table) = toml::from_str::<Table>(file) else {
        return variables.is_empty() && file.lines().all(|line| !line.contains(CANARY) || is_secret_line(line));
    };
    let shows = |value: &Value| format!("{value:?}").contains(CANARY);
    let in_file =
        table.iter().any(|(key, value)| key.contains(CANARY) || shows(value) && !SECRET_KEYS.contains(&key.as_str()));
    let in_variables = variables
        .iter()
        .any(|(name, value)| name.contains(CANARY) || value.contains(CANARY) && !SECRET_VARIABLES.contains(name));
    !in_file && !in_variables
}

fn check(config: &Config) {
    assert!(!format!("{config:?}").contains(CANARY) || !is_secret_shown(config), "a secret is printed");
    assert!(!config.mail_from.contains(['\r', '\n']), "a sender of two lines");
    for text in [&config.product, &config.product_name] {
        assert!(text.len() <= PRODUCT_BYTES_MAX && !text.contains(char::is_control), "{text:?}");
    }
    assert!(
        Origin::parse(config.public_url.as_str()).is_ok_and(|origin| origin.as_str() == config.public_url.as_str())
    );
    assert!(
        config.status_list.life_seconds >= 2 * config.status_list.ttl_seconds && config.status_list.ttl_seconds > 0
    );
    assert!(config.catalog.trial().trial_days > 0, "a trial without a day");
    match &config.mode {
        Mode::Sandbox => assert!(config.listen.ip().is_loopback() && config.sandbox_listen.ip().is_loopback()),
        Mode::Stripe { webhook_secrets, livemode, secret_key, .. } => {
            assert!(!webhook_secrets.is_empty(), "nobody's word would be believed");
            assert!(webhook_secrets.iter().all(|secret| secret.expose_secret().len() > "whsec_".len()));
            assert_eq!(*livemode, secret_key.expose_secret()[2..].starts_with("_live_"));
            check_start(config);
        }
    }
    if config.mode.is_live() {
        assert!(config.public_url.is_https() && config.smtp.is_some(), "real money in the clear, or without mails");
        assert_eq!(config.checkout_auth, CheckoutAuth::Required);
    }
    if let Some(url) = &config.smtp {
        let made = Mailer::smtp(url, &config.mail_from);
        assert!(made.is_ok(), "accepted, and no mail can be sent: {:?}", made.err());
    }
}

/// Settings that people may see are no place for a secret, and the canary may stand there.
fn is_secret_shown(config: &Config) -> bool {
    let shown = [&config.mail_from, &config.product, &config.product_name, &config.status_list.url];
    !shown.into_iter().any(|text| text.contains(CANARY))
        && !format!("{:?}{:?}", config.data_dir, config.catalog).contains(CANARY)
        && !format!("{:?}{:?}", config.allowed_return_origins, config.public_url).contains(CANARY)
        && !format!("{:?}{:?}", config.portal_configuration, config.trial_per).contains(CANARY)
        && !matches!(&config.mode, Mode::Stripe { api_base, .. } if api_base.contains(CANARY))
}

/// What the server would do next. A test key goes to this machine here: loading the certificates for another one takes a thousand times
/// longer than reading the configuration.
fn check_start(config: &Config) {
    let mut config = config.clone();
    if let Mode::Stripe { livemode: false, api_base, .. } = &mut config.mode {
        *api_base = "http://127.0.0.1:9".to_owned();
        let refused = service::stripe(&config, None, Entropy).err();
        assert!(refused.is_none(), "accepted, and the server does not start: {refused:?}");
    }
}
