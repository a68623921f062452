//! The settings by name: one table that the file, the environment and the "did you mean" are all read from.

/// One setting.
#[derive(Debug)]
pub(super) struct Setting {
    /// The key in the file.
    pub(super) key: &'static str,
    /// The environment variable.
    pub(super) variable: &'static str,
    /// Whether the value may also come from a file of its own: `key_file`, `VARIABLE_FILE`.
    pub(super) secret: bool,
    /// Whether it is `true` or `false`, in the file without quotes.
    pub(super) flag: bool,
}

const fn plain(key: &'static str, variable: &'static str) -> Setting {
    Setting { key, variable, secret: false, flag: false }
}

const fn secret(key: &'static str, variable: &'static str) -> Setting {
    Setting { key, variable, secret: true, flag: false }
}

const fn flag(key: &'static str, variable: &'static str) -> Setting {
    Setting { key, variable, secret: false, flag: true }
}

pub(super) static LISTEN: Setting = plain("listen", "COUNTERFOIL_LISTEN");
pub(super) static SANDBOX_LISTEN: Setting = plain("sandbox_listen", "COUNTERFOIL_SANDBOX_LISTEN");
pub(super) static PUBLIC_URL: Setting = plain("public_url", "COUNTERFOIL_PUBLIC_URL");
pub(super) static RETURN_ORIGINS: Setting = plain("allowed_return_origins", "COUNTERFOIL_ALLOWED_RETURN_ORIGINS");
pub(super) static DATA_DIR: Setting = plain("data_dir", "COUNTERFOIL_DATA_DIR");
pub(super) static DATABASE_URL: Setting = secret("database_url", "DATABASE_URL");
pub(super) static STRIPE_SECRET_KEY: Setting = secret("stripe_secret_key", "STRIPE_SECRET_KEY");
pub(super) static STRIPE_WEBHOOK_SECRET: Setting = secret("stripe_webhook_secret", "STRIPE_WEBHOOK_SECRET");
pub(super) static STRIPE_API_BASE: Setting = plain("stripe_api_base", "STRIPE_API_BASE");
pub(super) static STRIPE_PORTAL_CONFIGURATION: Setting =
    plain("stripe_portal_configuration", "STRIPE_PORTAL_CONFIGURATION");
pub(super) static STRIPE_CALLS_PER_SECOND: Setting = plain("stripe_calls_per_second", "STRIPE_CALLS_PER_SECOND");
pub(super) static PAYMENT_ORIGINS: Setting = plain("payment_origins", "COUNTERFOIL_PAYMENT_ORIGINS");
pub(super) static SMTP_URL: Setting = secret("smtp_url", "SMTP_URL");
pub(super) static MAIL_FROM: Setting = plain("mail_from", "COUNTERFOIL_MAIL_FROM");
pub(super) static CHECKOUT_AUTH: Setting = plain("checkout_auth", "COUNTERFOIL_CHECKOUT_AUTH");
pub(super) static DISPUTE_POLICY: Setting = plain("dispute_policy", "COUNTERFOIL_DISPUTE_POLICY");
pub(super) static DUPLICATE_POLICY: Setting = plain("duplicate_policy", "COUNTERFOIL_DUPLICATE_POLICY");
pub(super) static EMAIL_VERIFICATION: Setting = plain("email_verification", "COUNTERFOIL_EMAIL_VERIFICATION");
pub(super) static ON_DELETE: Setting = plain("on_delete", "COUNTERFOIL_ON_DELETE");
pub(super) static TRIAL_PER: Setting = plain("trial_per", "COUNTERFOIL_TRIAL_PER");
pub(super) static PUBLIC_MAIL_DOMAINS: Setting = plain("public_mail_domains", "COUNTERFOIL_PUBLIC_MAIL_DOMAINS");
pub(super) static TRIAL_REMINDERS: Setting = flag("trial_reminders", "COUNTERFOIL_TRIAL_REMINDERS");
pub(super) static CHECKOUT_TRIAL: Setting = plain("checkout_trial", "COUNTERFOIL_CHECKOUT_TRIAL");
pub(super) static PROMOTION_CODES: Setting = flag("promotion_codes", "COUNTERFOIL_PROMOTION_CODES");
pub(super) static AUTOMATIC_TAX: Setting = flag("automatic_tax", "COUNTERFOIL_AUTOMATIC_TAX");
pub(super) static TAX_ID_COLLECTION: Setting = flag("tax_id_collection", "COUNTERFOIL_TAX_ID_COLLECTION");
pub(super) static BILLING_ADDRESS: Setting =
    plain("billing_address_collection", "COUNTERFOIL_BILLING_ADDRESS_COLLECTION");
pub(super) static PRODUCT: Setting = plain("product", "COUNTERFOIL_PRODUCT");
pub(super) static PRODUCT_NAME: Setting = plain("product_name", "COUNTERFOIL_PRODUCT_NAME");
pub(super) static LICENSE_KEY: Setting = secret("license_key", "COUNTERFOIL_LICENSE_KEY");
pub(super) static STATUS_LIST_URL: Setting = plain("status_list_url", "COUNTERFOIL_STATUS_LIST_URL");
pub(super) static STATUS_LIST_TTL: Setting = plain("status_list_ttl_minutes", "COUNTERFOIL_STATUS_LIST_TTL_MINUTES");
pub(super) static STATUS_LIST_LIFE: Setting = plain("status_list_life_hours", "COUNTERFOIL_STATUS_LIST_LIFE_HOURS");
pub(super) static LICENSE_KEY_STORE: Setting = plain("license_key_store", "COUNTERFOIL_LICENSE_KEY_STORE");
pub(super) static KEY_ENCRYPTION_KEY: Setting = secret("key_encryption_key", "COUNTERFOIL_KEY_ENCRYPTION_KEY");
pub(super) static RATE_LIMITS: Setting = plain("rate_limits", "COUNTERFOIL_RATE_LIMITS");
pub(super) static CONNECTIONS: Setting = plain("connections", "COUNTERFOIL_CONNECTIONS");
pub(super) static CONNECTIONS_PER_ADDRESS: Setting =
    plain("connections_per_address", "COUNTERFOIL_CONNECTIONS_PER_ADDRESS");
pub(super) static TRUSTED_PROXIES: Setting = plain("trusted_proxies", "COUNTERFOIL_TRUSTED_PROXIES");
pub(super) static LOG_FORMAT: Setting = plain("log_format", "COUNTERFOIL_LOG_FORMAT");

pub(super) static ALL: [&Setting; 40] = [
    &LISTEN,
    &SANDBOX_LISTEN,
    &PUBLIC_URL,
    &RETURN_ORIGINS,
    &PAYMENT_ORIGINS,
    &DATA_DIR,
    &DATABASE_URL,
    &STRIPE_SECRET_KEY,
    &STRIPE_WEBHOOK_SECRET,
    &STRIPE_API_BASE,
    &STRIPE_PORTAL_CONFIGURATION,
    &STRIPE_CALLS_PER_SECOND,
    &SMTP_URL,
    &MAIL_FROM,
    &CHECKOUT_AUTH,
    &DISPUTE_POLICY,
    &DUPLICATE_POLICY,
    &EMAIL_VERIFICATION,
    &ON_DELETE,
    &TRIAL_PER,
    &PUBLIC_MAIL_DOMAINS,
    &TRIAL_REMINDERS,
    &CHECKOUT_TRIAL,
    &PROMOTION_CODES,
    &AUTOMATIC_TAX,
    &TAX_ID_COLLECTION,
    &BILLING_ADDRESS,
    &PRODUCT,
    &PRODUCT_NAME,
    &LICENSE_KEY,
    &STATUS_LIST_URL,
    &STATUS_LIST_TTL,
    &STATUS_LIST_LIFE,
    &LICENSE_KEY_STORE,
    &KEY_ENCRYPTION_KEY,
    &RATE_LIMITS,
    &CONNECTIONS,
    &CONNECTIONS_PER_ADDRESS,
    &TRUSTED_PROXIES,
    &LOG_FORMAT,
];

/// The table of plans, which the environment cannot set.
pub(super) const PLANS: &str = "plans";
pub(super) const PLAN_KEYS: [&str; 8] =
    ["code", "name", "description", "features", "limits", "trial_days", "grace_days", "prices"];
pub(super) const PRICE_KEYS: [&str; 4] = ["interval", "currency", "amount", "stripe_price"];

/// What variables of ours begin with; an unknown one is a slip of the keyboard.
pub(super) const PREFIX: &str = "COUNTERFOIL_";

/// Variables of the test suite, which a server started by it inherits.
pub(super) const TEST_PREFIX: &str = "COUNTERFOIL_TEST_";

impl Setting {
    /// `stripe_secret_key_file`, where the setting is a secret.
    pub(super) fn file_key(&self) -> Option<String> {
        self.secret.then(|| format!("{}_file", self.key))
    }

    /// `STRIPE_SECRET_KEY_FILE`, where the setting is a secret.
    pub(super) fn file_variable(&self) -> Option<String> {
        self.secret.then(|| format!("{}_FILE", self.variable))
    }
}

/// The candidate that was probably meant: at most every third character differs.
pub(super) fn closest<'c>(text: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let folded = text.to_lowercase();
    let length = folded.chars().count();
    // What differs in length alone by more is not worth a table, which would be large for a long text.
    let is_near = |candidate: &&str| candidate.chars().count().abs_diff(length) <= differing_max(candidate);
    let near = candidates.into_iter().filter(is_near);
    let distances = near.map(|candidate| (distance(&folded, &candidate.to_lowercase()), candidate));
    let (distance, candidate) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= differing_max(candidate)).then_some(candidate)
}

fn differing_max(candidate: &str) -> usize {
    (candidate.len() / 3).max(1)
}

/// Levenshtein's distance, by one row of his table.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, &b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_single_edits() {
        for (left, right, expected) in [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("listem", "listen", 1)] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
            assert_eq!(distance(right, left), expected, "{right} {left}");
        }
    }

    #[test]
    fn a_suggestion_is_close_or_missing() {
        assert_eq!(closest("listenn", ["listen", "data_dir"]), Some("listen"));
        assert_eq!(closest("LISTEN", ["listen", "data_dir"]), Some("listen"));
        assert_eq!(closest("colour_of_the_sky", ["listen", "data_dir"]), None);
        assert_eq!(closest(&"listen".repeat(100_000), ["listen", "data_dir"]), None);
    }
}
