//! From texts to types: each setting by itself, then what must fit together.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use counterfoil_core::facts::DisputePolicy;
use counterfoil_core::return_url::Origin;
use counterfoil_core::{Catalog, Plan};
use secrecy::SecretString;
use serde::Deserialize;

use super::error::Problems;
use super::settings::{self, Setting};
use super::source::Values;
use super::{
    CheckoutAuth, Config, DEFAULT_CATALOG, DuplicatePolicy, LogFormat, OnDelete, PublicUrl, accounts, checkout, keys,
    licenses, limits, mode, trials,
};

const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 3100);
const SANDBOX_LISTEN_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 3101);
const DATA_DIR_DEFAULT: &str = "./data";
const DATABASE_FILE: &str = "counterfoil.db";
const MAIL_FROM_DEFAULT: &str = "Counterfoil <no-reply@localhost>";
const PRODUCT_DEFAULT: &str = "counterfoil-product";
/// What the sandbox sells where nobody has said: its pages should read like a shop, not like a setting.
const SANDBOX_PRODUCT_NAME: &str = "Acme Studio";
const PRODUCT_BYTES_MAX: usize = 128;

/// Each setting is checked even where an earlier one failed; `None` only with a problem noted.
pub(super) fn check(mut values: Values, problems: &mut Problems) -> Option<Config> {
    let plans = values.plans.take();
    let listen = address(&values, &settings::LISTEN, LISTEN_DEFAULT, problems);
    let sandbox_listen = address(&values, &settings::SANDBOX_LISTEN, SANDBOX_LISTEN_DEFAULT, problems);
    let public_url = public_url(&values, listen, problems);
    let (allowed_return_origins, payment_origins) = origins_of_others(&values, problems);
    let data_dir = PathBuf::from(text(&values, &settings::DATA_DIR).unwrap_or_else(|| DATA_DIR_DEFAULT.to_owned()));
    let database_url = database_url(&values, &data_dir, problems);
    let (mode, portal_configuration) = (mode::mode(&values, problems), mode::portal_configuration(&values, problems));
    let stripe_calls_per_second = mode::calls_per_second(&values, problems);
    let smtp = mode::smtp(&values, problems);
    let mail_from = mail_from(&values, smtp.is_some(), problems);
    let checkout_auth = checkout_auth(&values, problems);
    let (dispute_policy, duplicate_policy) = (dispute_policy(&values, problems), duplicate_policy(&values, problems));
    let email_verification = accounts::email_verification(&values, problems);
    let on_delete = on_delete(&values, problems);
    let trial_per = trials::trial_per(&values, problems);
    let trial_reminders = flag(&values, &settings::TRIAL_REMINDERS, true, problems);
    let product = one_line(&values, &settings::PRODUCT, "licences name it as their audience", problems);
    let product = product.map(|text| text.unwrap_or_else(|| PRODUCT_DEFAULT.to_owned()));
    let product_name = one_line(&values, &settings::PRODUCT_NAME, "pages and mails call it that", problems);
    let catalog = catalog(plans, problems);
    let checkout_trial = checkout::trial(&values, catalog.as_ref(), problems);
    let checkout_page = checkout::page(&values, problems);
    let license_key = text(&values, &settings::LICENSE_KEY).map(SecretString::from);
    let status_list = licenses::status_list(&values, public_url.as_ref().map(PublicUrl::as_str), problems);
    let key_encryption_key = keys::encryption_key(&values, problems);
    let (connections, trusted_proxies) = limits::of_clients(&values, problems);
    let log_format = log_format(&values, problems);

    let mode = mode?;
    let sandbox = mode.is_sandbox();
    let rate_limits = limits::rate_limits(&values, sandbox, problems);
    let checkout_auth = checkout_auth.unwrap_or(default_checkout_auth(sandbox));
    let config = Config {
        listen: listen?,
        sandbox_listen: sandbox_listen?,
        public_url: public_url?,
        allowed_return_origins,
        payment_origins,
        data_dir,
        database_url: database_url?,
        mode,
        portal_configuration: portal_configuration?,
        stripe_calls_per_second: stripe_calls_per_second?,
        smtp,
        mail_from: mail_from?,
        checkout_auth,
        dispute_policy: dispute_policy?,
        duplicate_policy: duplicate_policy?,
        on_delete: on_delete?,
        checkout_trial: checkout_trial?,
        checkout: checkout_page?,
        email_verification: email_verification?,
        trial_per: trial_per?,
        trial_reminders: trial_reminders?,
        product_name: product_name?.unwrap_or_else(|| default_product_name(sandbox, product.as_deref())),
        product: product?,
        catalog: catalog?,
        license_key,
        status_list: status_list?,
        key_encryption_key: key_encryption_key?,
        rate_limits: rate_limits?,
        connections: connections?,
        trusted_proxies: trusted_proxies?,
        log_format: log_format?,
    };
    mode::check_together(&config, &values, problems);
    Some(config)
}

fn default_product_name(sandbox: bool, product: Option<&str>) -> String {
    if sandbox { SANDBOX_PRODUCT_NAME } else { product.unwrap_or_default() }.to_owned()
}

const fn default_checkout_auth(sandbox: bool) -> CheckoutAuth {
    if sandbox { CheckoutAuth::CustomerId } else { CheckoutAuth::Required }
}

fn text(values: &Values, setting: &Setting) -> Option<String> {
    values.get(setting).map(|given| given.text.clone())
}

fn address(values: &Values, setting: &Setting, default: SocketAddr, problems: &mut Problems) -> Option<SocketAddr> {
    let Some(given) = values.get(setting) else { return Some(default) };
    let spelled_out = match given.text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => given.text.clone(),
    };
    match spelled_out.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            let message = format!("`{}` is no address: write IP and port, such as {default}", given.text);
            problems.add("invalid_address", &given.name, message);
            None
        }
    }
}

/// Without a setting of its own it follows the port that we listen on.
fn public_url(values: &Values, listen: Option<SocketAddr>, problems: &mut Problems) -> Option<PublicUrl> {
    let port = listen.map(|address| address.port()).filter(|&port| port != 0).unwrap_or(LISTEN_DEFAULT.port());
    let text = text(values, &settings::PUBLIC_URL).unwrap_or_else(|| format!("http://localhost:{port}"));
    match Origin::parse(&text) {
        Ok(origin) => Some(PublicUrl(origin)),
        Err(error) => {
            problems.add("invalid_public_url", values.name(&settings::PUBLIC_URL), error.to_string());
            None
        }
    }
}

/// Where customers may be sent back to, and where the provider shows its pages.
fn origins_of_others(values: &Values, problems: &mut Problems) -> (Vec<Origin>, Vec<Origin>) {
    let back = origins(values, &settings::RETURN_ORIGINS, problems);
    (back, origins(values, &settings::PAYMENT_ORIGINS, problems))
}

fn origins(values: &Values, setting: &Setting, problems: &mut Problems) -> Vec<Origin> {
    let Some(given) = values.get(setting) else { return Vec::new() };
    let mut origins = Vec::new();
    for text in given.text.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        match Origin::parse(text) {
            Ok(origin) => origins.push(origin),
            Err(error) => problems.add("invalid_origin", &given.name, error.to_string()),
        }
    }
    origins
}

fn database_url(values: &Values, data_dir: &Path, problems: &mut Problems) -> Option<SecretString> {
    let Some(given) = values.get(&settings::DATABASE_URL) else {
        return Some(sqlite_url(&data_dir.join(DATABASE_FILE)).into());
    };
    let scheme = given.text.split_once(':').map(|(scheme, _)| scheme);
    match scheme {
        Some("sqlite" | "postgres" | "postgresql") => Some(given.text.clone().into()),
        _ => {
            let message = "must begin with sqlite:// or postgres://, such as postgres://user:password@host/database";
            problems.add("invalid_database_url", &given.name, message);
            None
        }
    }
}

/// A path as URL: what would end it or be decoded is escaped.
fn sqlite_url(path: &Path) -> String {
    let path = path.to_string_lossy().replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    format!("sqlite://{path}")
}

fn mail_from(values: &Values, has_smtp: bool, problems: &mut Problems) -> Option<String> {
    match values.get(&settings::MAIL_FROM) {
        Some(given) if is_sender(&given.text) => Some(given.text.clone()),
        Some(given) => {
            let message = format!("`{}` is no sender: write `Name <address@example.com>`", given.text);
            problems.add("invalid_mail_from", &given.name, message);
            None
        }
        None if has_smtp => {
            let message = "is missing: mails through SMTP_URL need a sender such as `Billing <billing@example.com>`";
            problems.add("mail_from_missing", settings::MAIL_FROM.variable, message);
            None
        }
        None => Some(MAIL_FROM_DEFAULT.to_owned()),
    }
}

/// Read as it will be when a mail is written: what fails there would be found out by the first customer.
fn is_sender(text: &str) -> bool {
    text.parse::<lettre::message::Mailbox>().is_ok() && !text.contains(char::is_control)
}

fn checkout_auth(values: &Values, problems: &mut Problems) -> Option<CheckoutAuth> {
    let given = values.get(&settings::CHECKOUT_AUTH)?;
    match given.text.as_str() {
        "required" => Some(CheckoutAuth::Required),
        "customer_id" => Some(CheckoutAuth::CustomerId),
        other => {
            let message = format!("`{other}` is unknown: write `required` or `customer_id`");
            problems.add("invalid_checkout_auth", &given.name, message);
            None
        }
    }
}

fn dispute_policy(values: &Values, problems: &mut Problems) -> Option<DisputePolicy> {
    let Some(given) = values.get(&settings::DISPUTE_POLICY) else { return Some(DisputePolicy::default()) };
    match given.text.as_str() {
        "ignore" => Some(DisputePolicy::Ignore),
        "hold" => Some(DisputePolicy::Hold),
        other => {
            let message = format!("`{other}` is unknown: write `ignore` or `hold`");
            problems.add("invalid_dispute_policy", &given.name, message);
            None
        }
    }
}

fn duplicate_policy(values: &Values, problems: &mut Problems) -> Option<DuplicatePolicy> {
    let Some(given) = values.get(&settings::DUPLICATE_POLICY) else { return Some(DuplicatePolicy::Flag) };
    match given.text.as_str() {
        "flag" => Some(DuplicatePolicy::Flag),
        "cancel" => Some(DuplicatePolicy::Cancel),
        "cancel_and_refund" => Some(DuplicatePolicy::CancelAndRefund),
        other => {
            let message = format!("`{other}` is unknown: write `flag`, `cancel` or `cancel_and_refund`");
            problems.add("invalid_duplicate_policy", &given.name, message);
            None
        }
    }
}

fn on_delete(values: &Values, problems: &mut Problems) -> Option<OnDelete> {
    let Some(given) = values.get(&settings::ON_DELETE) else { return Some(OnDelete::Keep) };
    match given.text.as_str() {
        "keep" => Some(OnDelete::Keep),
        "delete" => Some(OnDelete::Delete),
        other => {
            let message = format!("`{other}` is unknown: write `keep` or `delete`");
            problems.add("invalid_on_delete", &given.name, message);
            None
        }
    }
}

pub(super) fn flag(values: &Values, setting: &Setting, default: bool, problems: &mut Problems) -> Option<bool> {
    let Some(given) = values.get(setting) else { return Some(default) };
    match given.text.as_str() {
        "true" => Some(true),
        "false" => Some(false),
        other => {
            let message = format!("`{other}` is neither: write true or false");
            problems.add("invalid_flag", &given.name, message);
            None
        }
    }
}

/// A text that stands in one line, where it was given.
fn one_line(values: &Values, setting: &Setting, used: &str, problems: &mut Problems) -> Option<Option<String>> {
    let Some(text) = text(values, setting) else { return Some(None) };
    if text.len() <= PRODUCT_BYTES_MAX && !text.contains(char::is_control) {
        return Some(Some(text));
    }
    let message = format!("must be one line of at most {PRODUCT_BYTES_MAX} bytes: {used}");
    problems.add("invalid_product", values.name(setting), message);
    None
}

fn log_format(values: &Values, problems: &mut Problems) -> Option<LogFormat> {
    let Some(given) = values.get(&settings::LOG_FORMAT) else { return Some(LogFormat::Auto) };
    match given.text.as_str() {
        "auto" => Some(LogFormat::Auto),
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        other => {
            let message = format!("`{other}` is unknown: write `auto`, `text` or `json`");
            problems.add("invalid_log_format", &given.name, message);
            None
        }
    }
}

fn catalog(plans: Option<Vec<Plan>>, problems: &mut Problems) -> Option<Catalog> {
    #[derive(Deserialize)]
    struct Shipped {
        plans: Vec<Plan>,
    }

    let plans = match plans {
        Some(plans) => plans,
        None => toml::from_str::<Shipped>(DEFAULT_CATALOG).expect("the shipped catalogue is valid").plans,
    };
    match Catalog::new(plans) {
        Ok(catalog) => Some(catalog),
        Err(error) => {
            problems.add("catalog_invalid", "[[plans]]", error.0);
            None
        }
    }
}
