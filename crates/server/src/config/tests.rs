//! What a configuration means, and each refusal with its code.

use secrecy::ExposeSecret as _;

use super::*;

const TEST_KEY: &str = "sk_test_51Habcdef0123456789";
const LIVE_KEY: &str = "sk_live_51Habcdef0123456789";
const WEBHOOK_SECRET: &str = "whsec_4b4b4b4b0123456789";

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().copied().collect()
}

fn from_env(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::parse(None, &environment(variables))
}

fn from_file(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Some(text), &Environment::default())
}

/// The one problem of a configuration, as `(code, whole text)`.
#[track_caller]
fn refused(result: Result<Config, ConfigError>) -> (&'static str, String) {
    let error = result.expect_err("the configuration is refused");
    assert_eq!(error.problems.len(), 1, "{error}");
    (error.problems[0].code, error.to_string())
}

fn stripe(more: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut variables = vec![("STRIPE_SECRET_KEY", TEST_KEY), ("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET)];
    variables.extend(more);
    from_env(&variables)
}

fn live(more: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut variables = vec![
        ("STRIPE_SECRET_KEY", LIVE_KEY),
        ("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET),
        ("COUNTERFOIL_PUBLIC_URL", "https://billing.example.com"),
        ("SMTP_URL", "smtp://user:p%40ss@mail.example.com:587"),
        ("COUNTERFOIL_MAIL_FROM", "Billing <billing@example.com>"),
    ];
    variables.extend(more);
    from_env(&variables)
}

#[test]
fn nothing_set_is_the_sandbox_on_loopback() {
    let config = from_env(&[]).unwrap();
    assert!(config.mode.is_sandbox() && !config.mode.is_live());
    assert_eq!(config.listen.to_string(), "127.0.0.1:3100");
    assert_eq!(config.sandbox_listen.to_string(), "127.0.0.1:3101");
    assert_eq!(config.public_url.as_str(), "http://localhost:3100");
    assert!(!config.public_url.is_https());
    assert!(config.allowed_return_origins.is_empty());
    assert_eq!(config.data_dir, Path::new("./data"));
    assert_eq!(config.database_url.expose_secret(), "sqlite://./data/counterfoil.db");
    assert_eq!(config.checkout_auth, CheckoutAuth::CustomerId);
    assert_eq!(config.product, "counterfoil-product");
    assert_eq!(config.product_name, "Acme Studio");
    assert_eq!(config.log_format, LogFormat::Auto);
    assert!(config.smtp.is_none() && config.license_key.is_none());
}

#[test]
fn the_shipped_catalogue_has_the_four_plans() {
    let catalog = from_env(&[]).unwrap().catalog;
    let codes: Vec<&str> = catalog.plans().iter().map(|plan| plan.code.as_str()).collect();
    assert_eq!(codes, ["trial", "starter", "professional", "enterprise"]);
    assert_eq!((catalog.trial().code.as_str(), catalog.trial().trial_days), ("trial", 14));
    assert_eq!(catalog.for_sale().count(), 3);
    for (price, interval) in [("price_pro_monthly", "month"), ("price_pro_yearly", "year")] {
        let (plan, price) = catalog.find_price(&counterfoil_core::PriceId::new(price)).unwrap();
        assert_eq!((plan.code.as_str(), price.interval.as_str()), ("professional", interval));
    }
    for plan in catalog.for_sale() {
        assert!(plan.grace_days > 0 && plan.prices.iter().all(|price| price.currency == "usd" && price.amount > 0));
        assert!(plan.features.len() > catalog.trial().features.len(), "a paid plan has more than the trial");
    }
}

#[test]
fn the_environment_lies_on_top_of_the_file() {
    let file = r#"
        listen = "127.0.0.1:4000"
        product = "from-the-file"
        allowed_return_origins = ["https://shop.example.com", "http://localhost:3000/"]
        log_format = "json"
    "#;
    let config = Config::parse(Some(file), &environment(&[("COUNTERFOIL_PRODUCT", "from-the-environment")])).unwrap();
    assert_eq!(config.product, "from-the-environment");
    assert_eq!(config.listen.port(), 4000);
    assert_eq!(config.public_url.as_str(), "http://localhost:4000", "it follows the port");
    let origins: Vec<&str> = config.allowed_return_origins.iter().map(Origin::as_str).collect();
    assert_eq!(origins, ["https://shop.example.com", "http://localhost:3000"]);
    assert_eq!(config.log_format, LogFormat::Json);
    let listed = from_env(&[("COUNTERFOIL_ALLOWED_RETURN_ORIGINS", "https://a.example, https://b.example")]).unwrap();
    assert_eq!(listed.allowed_return_origins.len(), 2);
}

#[test]
fn a_blank_variable_is_as_good_as_none() {
    assert!(from_env(&[("STRIPE_SECRET_KEY", ""), ("DATABASE_URL", "  ")]).unwrap().mode.is_sandbox());
    let config = from_env(&[("COUNTERFOIL_LISTEN", "localhost:3200")]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:3200");
}

#[test]
fn the_data_folder_moves_the_database_with_it() {
    let config = from_env(&[("COUNTERFOIL_DATA_DIR", "/srv/50% off?")]).unwrap();
    assert_eq!(config.database_url.expose_secret(), "sqlite:///srv/50%25 off%3F/counterfoil.db");
}

#[test]
fn a_test_key_with_its_webhook_secrets_is_stripe_in_test_mode() {
    let two = format!("{WEBHOOK_SECRET}, whsec_another0123456789");
    let config = stripe(&[("STRIPE_WEBHOOK_SECRET", &two), ("COUNTERFOIL_LISTEN", "0.0.0.0:3100")]).unwrap();
    assert!(!config.mode.is_sandbox() && !config.mode.is_live());
    let Mode::Stripe { secret_key, webhook_secrets, livemode, api_base } = config.mode else { unreachable!() };
    assert_eq!(secret_key.expose_secret(), TEST_KEY);
    assert_eq!(webhook_secrets.len(), 2);
    assert_eq!(webhook_secrets[1].expose_secret(), "whsec_another0123456789");
    assert!(!livemode);
    assert_eq!(api_base, "https://api.stripe.com");
    assert_eq!(config.checkout_auth, CheckoutAuth::Required);
}

#[test]
fn the_standalone_sandbox_is_a_test_mode_on_loopback() {
    let config =
        stripe(&[("STRIPE_SECRET_KEY", "sk_test_sandbox"), ("STRIPE_API_BASE", "http://127.0.0.1:3101/")]).unwrap();
    let Mode::Stripe { api_base, .. } = config.mode else { panic!("a key means Stripe") };
    assert_eq!(api_base, "http://127.0.0.1:3101");
    for base in ["http://localhost:3101", "http://[::1]:3101", "https://stripe.test.example.com/prefix"] {
        stripe(&[("STRIPE_API_BASE", base)]).unwrap();
    }
}

#[test]
fn a_complete_live_configuration_is_accepted() {
    let config = live(&[]).unwrap();
    assert!(config.mode.is_live() && config.public_url.is_https());
    assert_eq!(config.mail_from, "Billing <billing@example.com>");
    let smtp = config.smtp.expect("a mail server");
    assert_eq!(smtp.expose_secret(), "smtp://user:p%40ss@mail.example.com:587");
    assert!(live(&[("STRIPE_SECRET_KEY", "rk_live_51Habcdef0123456789")]).unwrap().mode.is_live());
}

#[test]
fn a_missing_or_empty_webhook_secret_is_refused() {
    let (code, text) = refused(from_env(&[("STRIPE_SECRET_KEY", TEST_KEY)]));
    assert_eq!(code, "webhook_secret_missing");
    assert!(text.contains("STRIPE_WEBHOOK_SECRET") && text.contains("/api/webhooks/stripe"), "{text}");
    for secret in ["", "   ", "whsec_4b4b4b4b0123456789,"] {
        assert_eq!(refused(stripe(&[("STRIPE_WEBHOOK_SECRET", secret)])).0, "webhook_secret_missing");
    }
    for secret in [TEST_KEY, "whsec_4b4b\t4b4b", "whsec_4b4b\u{a0}4b4b"] {
        assert_eq!(refused(stripe(&[("STRIPE_WEBHOOK_SECRET", secret)])).0, "invalid_webhook_secret", "{secret:?}");
    }
}

#[test]
fn a_portal_configuration_is_an_id() {
    let config = stripe(&[("STRIPE_PORTAL_CONFIGURATION", "bpc_1MrnZsLkdIwHu7ix")]).unwrap();
    assert_eq!(config.portal_configuration.as_deref(), Some("bpc_1MrnZsLkdIwHu7ix"));
    for text in ["bpc_", "bpc_...", "pc_1", "https://billing.stripe.com/p/login/x"] {
        assert_eq!(
            refused(stripe(&[("STRIPE_PORTAL_CONFIGURATION", text)])).0,
            "invalid_portal_configuration",
            "{text}"
        );
    }
}

#[test]
fn the_pace_of_calls_is_a_number() {
    assert_eq!(from_env(&[]).unwrap().stripe_calls_per_second, None);
    for (text, calls) in [("1", 1), ("25", 25), ("10000", 10_000)] {
        let config = stripe(&[("STRIPE_CALLS_PER_SECOND", text)]).unwrap();
        assert_eq!(config.stripe_calls_per_second, Some(calls));
    }
    assert_eq!(from_file("stripe_calls_per_second = \"12\"").unwrap().stripe_calls_per_second, Some(12));
}

#[test]
fn placeholders_are_refused() {
    for key in
        ["sk_test_...", "sk_test_xxx", "sk_live_xxxxxxxx", "changeme", "sk_test_your_key_here", "sk_test_", "<key>"]
    {
        assert_eq!(refused(stripe(&[("STRIPE_SECRET_KEY", key)])).0, "placeholder_secret", "{key}");
    }
    for secret in ["whsec_xxx", "whsec_...", "changeme", "whsec_", "whsec_<secret>", "whsec_CHANGEME"] {
        assert_eq!(refused(stripe(&[("STRIPE_WEBHOOK_SECRET", secret)])).0, "placeholder_secret", "{secret}");
    }
    let smtp = refused(live(&[("SMTP_URL", "smtp://user:changeme@mail.example.com")]));
    assert_eq!(smtp.0, "placeholder_secret");
}

#[test]
fn keys_of_another_kind_are_refused_and_not_repeated() {
    for key in [
        "pk_test_51Habcdef",
        "sk_51Habcdef",
        "whsec_51Habcdef",
        "51Habcdef",
        "sk_test_51Habcdef\u{e9}",
        "sk_test_51H\tabcdef",
    ] {
        let (code, text) = refused(stripe(&[("STRIPE_SECRET_KEY", key)]));
        assert_eq!(code, "invalid_stripe_key");
        assert!(!text.contains("51Habcdef"), "{text}");
    }
}

#[test]
fn live_mode_refuses_what_it_cannot_do_without() {
    assert_eq!(refused(live(&[("COUNTERFOIL_PUBLIC_URL", "http://billing.example.com")])).0, "live_needs_https");
    assert_eq!(refused(live(&[("SMTP_URL", "")])).0, "live_needs_smtp");
    assert_eq!(refused(live(&[("COUNTERFOIL_CHECKOUT_AUTH", "customer_id")])).0, "live_needs_checkout_auth");
    assert_eq!(refused(live(&[("STRIPE_API_BASE", "http://127.0.0.1:3101")])).0, "live_needs_stripe_api");
    assert_eq!(refused(live(&[("STRIPE_API_BASE", "https://api.stripe.com.evil.example")])).0, "live_needs_stripe_api");
    assert!(live(&[("STRIPE_API_BASE", "https://api.stripe.com/")]).is_ok());
    assert!(stripe(&[("COUNTERFOIL_CHECKOUT_AUTH", "customer_id")]).is_ok(), "test mode may");
}

#[test]
fn all_problems_are_told_at_once() {
    let error =
        from_env(&[("STRIPE_SECRET_KEY", LIVE_KEY), ("COUNTERFOIL_LISTEM", "x"), ("STRIPE_API_BASE", "ftp://x")]);
    let error = error.unwrap_err();
    for code in ["unknown_setting", "webhook_secret_missing", "invalid_api_base", "live_needs_https", "live_needs_smtp"]
    {
        assert!(error.has(code), "{code} is not in {error}");
    }
    assert!(!error.to_string().contains(LIVE_KEY));
    let wrong = [
        ("STRIPE_SECRET_KEY", "pk_test_51Habcdef"),
        ("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET),
        ("COUNTERFOIL_LISTEN", "x"),
        ("COUNTERFOIL_CHECKOUT_AUTH", "x"),
        ("COUNTERFOIL_RATE_LIMITS", "x"),
        ("COUNTERFOIL_STATUS_LIST_TTL_MINUTES", "x"),
    ];
    let error = from_env(&wrong).unwrap_err();
    let codes: Vec<&str> = error.problems.iter().map(|problem| problem.code).collect();
    let expected =
        ["invalid_address", "invalid_stripe_key", "invalid_checkout_auth", "invalid_number", "invalid_rate_limit"];
    assert_eq!(codes, expected, "{error}");
}

#[test]
fn the_words_of_a_setting_are_told_to_whoever_wrote_another() {
    for (variable, told) in [
        ("COUNTERFOIL_ON_DELETE", "`x` is unknown: write `keep` or `delete`"),
        ("COUNTERFOIL_DUPLICATE_POLICY", "`x` is unknown: write `flag`, `cancel` or `cancel_and_refund`"),
    ] {
        let (_, text) = refused(from_env(&[(variable, "x")]));
        assert!(text.contains(told), "{text}");
    }
}

#[test]
fn the_sandbox_listens_on_loopback_only() {
    let (code, text) = refused(from_env(&[("COUNTERFOIL_LISTEN", "0.0.0.0:3100")]));
    assert_eq!(code, "sandbox_needs_loopback");
    assert!(text.contains("127.0.0.1:3100"));
    assert_eq!(refused(from_env(&[("COUNTERFOIL_SANDBOX_LISTEN", "[::]:3101")])).0, "sandbox_needs_loopback");
    assert!(from_env(&[("COUNTERFOIL_LISTEN", "[::1]:3100")]).is_ok());
    assert_eq!(refused(from_env(&[("COUNTERFOIL_SANDBOX_LISTEN", "127.0.0.1:3100")])).0, "address_used_twice");
}

#[test]
fn an_unencrypted_stripe_address_is_refused() {
    for base in ["http://stripe.example.com", "http://10.0.0.5:3101", "http://127.0.0.1.evil.example"] {
        assert_eq!(refused(stripe(&[("STRIPE_API_BASE", base)])).0, "api_base_needs_https", "{base}");
    }
    for base in ["api.stripe.com", "https://user@api.stripe.com", "https://api.stripe.com?x=1", "ftp://api.stripe.com"]
    {
        assert_eq!(refused(stripe(&[("STRIPE_API_BASE", base)])).0, "invalid_api_base", "{base}");
    }
}

#[test]
fn unknown_settings_come_with_a_suggestion() {
    let (code, text) = refused(from_env(&[("COUNTERFOIL_LISTEM", "127.0.0.1:1")]));
    assert_eq!(code, "unknown_setting");
    assert!(text.contains("did you mean COUNTERFOIL_LISTEN?"), "{text}");
    let (code, text) = refused(from_file("datadir = \"x\""));
    assert_eq!(code, "unknown_setting");
    assert!(text.contains("did you mean data_dir?"), "{text}");
    let (_, text) = refused(from_file("STRIPE_SECRET_KEY = \"sk_test_abc\""));
    assert!(text.contains("stripe_secret_key") && !text.contains("sk_test_abc"), "{text}");
    let (_, text) = refused(from_file("[[plans]]\ncode = \"a\"\nname = \"A\"\ntrail_days = 3"));
    assert!(text.contains("did you mean trial_days?"), "{text}");
    let prices = "[[plans]]\ncode = \"a\"\nname = \"A\"\n[[plans.prices]]\nintervall = \"month\"";
    assert!(refused(from_file(prices)).1.contains("did you mean interval?"));
    assert!(from_env(&[("COUNTERFOIL_TEST_POSTGRES_URL", "postgres://x"), ("STRIPE_CLI_THING", "x")]).is_ok());
}

#[test]
fn each_value_is_checked() {
    for (variable, value, code) in [
        ("COUNTERFOIL_LISTEN", "3100", "invalid_address"),
        ("COUNTERFOIL_SANDBOX_LISTEN", "127.0.0.1:99999", "invalid_address"),
        ("COUNTERFOIL_PUBLIC_URL", "https://example.com/billing", "invalid_public_url"),
        ("COUNTERFOIL_PUBLIC_URL", "example.com", "invalid_public_url"),
        ("COUNTERFOIL_ALLOWED_RETURN_ORIGINS", "https://ok.example,https://x.example/path", "invalid_origin"),
        ("COUNTERFOIL_PAYMENT_ORIGINS", "https://pay.example.com/checkout", "invalid_origin"),
        ("DATABASE_URL", "mysql://root:hunter2@db/billing", "invalid_database_url"),
        ("SMTP_URL", "mail.example.com:587", "invalid_smtp_url"),
        ("SMTP_URL", "smtp:mail.example.com", "invalid_smtp_url"),
        ("SMTP_URL", "https://mail.example.com", "invalid_smtp_url"),
        ("SMTP_URL", "smtp://mail.example.com?tls=perhaps", "invalid_smtp_url"),
        ("SMTP_URL", "smtp://user:%ff@mail.example.com", "invalid_smtp_url"),
        ("COUNTERFOIL_MAIL_FROM", "nobody", "invalid_mail_from"),
        ("COUNTERFOIL_MAIL_FROM", "@", "invalid_mail_from"),
        ("COUNTERFOIL_MAIL_FROM", "Billing billing@example.com", "invalid_mail_from"),
        ("COUNTERFOIL_CHECKOUT_AUTH", "none", "invalid_checkout_auth"),
        ("COUNTERFOIL_DISPUTE_POLICY", "maybe", "invalid_dispute_policy"),
        ("COUNTERFOIL_DUPLICATE_POLICY", "refund", "invalid_duplicate_policy"),
        ("COUNTERFOIL_EMAIL_VERIFICATION", "on", "invalid_email_verification"),
        ("COUNTERFOIL_ON_DELETE", "forget", "invalid_on_delete"),
        ("COUNTERFOIL_LOG_FORMAT", "xml", "invalid_log_format"),
        ("STRIPE_CALLS_PER_SECOND", "0", "invalid_calls_per_second"),
        ("STRIPE_CALLS_PER_SECOND", "-5", "invalid_calls_per_second"),
        ("STRIPE_CALLS_PER_SECOND", "2.5", "invalid_calls_per_second"),
        ("STRIPE_CALLS_PER_SECOND", "10001", "invalid_calls_per_second"),
    ] {
        let error = from_env(&[(variable, value)]).unwrap_err();
        assert!(error.has(code), "{variable}={value}: {error}");
        assert!(
            error.problems.iter().all(|problem| problem.code == "mail_from_missing" || problem.setting == variable)
        );
        assert!(!error.to_string().contains("hunter2"));
    }
    assert_eq!(refused(from_env(&[("SMTP_URL", "smtp://localhost:25")])).0, "mail_from_missing");
}

#[test]
fn wrong_types_and_broken_files_are_told_without_their_content() {
    assert_eq!(refused(from_file("listen = 3100")).0, "wrong_type");
    assert_eq!(refused(from_file("plans = 3")).0, "wrong_type");
    let (code, text) = refused(from_file("listen = \"127.0.0.1:1\"\nstripe_secret_key = sk_live_hunter2"));
    assert_eq!(code, "file_syntax");
    assert!(text.contains("line 2") && !text.contains("hunter2"), "{text}");
    for plans in [
        "[[plans]]\ncode = \"a\"",
        "[[plans]]\ncode = \"a\"\nname = \"A\"",
        "[[plans]]\ncode = \"a\"\nname = \"A\"\ntrial_days = -1",
        "[[plans]]\ncode = \"A b\"\nname = \"A\"\ntrial_days = 1",
        "plans = []",
    ] {
        assert_eq!(refused(from_file(plans)).0, "catalog_invalid", "{plans}");
    }
}

#[test]
fn plans_of_the_file_replace_the_shipped_ones() {
    let config = from_file(
        "[[plans]]\ncode = \"try\"\nname = \"Try\"\ntrial_days = 30\n\
         [[plans]]\ncode = \"pro\"\nname = \"Pro\"\nlimits = { seats = 3 }\n\
         [[plans.prices]]\ninterval = \"year\"\ncurrency = \"eur\"\namount = 100\nstripe_price = \"price_1\"",
    );
    let catalog = config.unwrap().catalog;
    assert_eq!((catalog.plans().len(), catalog.trial().trial_days), (2, 30));
}

#[test]
fn a_secret_comes_from_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, format!("{TEST_KEY}\r\n")).unwrap();
    let key_file = path.to_str().unwrap();
    let with = |name: &'static str, value: &str| {
        let variables = [(name, value), ("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET)];
        Config::parse(None, &environment(&variables))
    };
    let Mode::Stripe { secret_key, .. } = with("STRIPE_SECRET_KEY_FILE", key_file).unwrap().mode else { panic!() };
    assert_eq!(secret_key.expose_secret(), TEST_KEY);

    let toml = format!("stripe_secret_key_file = {key_file:?}\nstripe_webhook_secret = [\"{WEBHOOK_SECRET}\"]");
    assert!(!from_file(&toml).unwrap().mode.is_sandbox());

    let twice = stripe(&[("STRIPE_SECRET_KEY_FILE", key_file)]);
    assert_eq!(refused(twice).0, "set_twice");
    assert_eq!(refused(with("STRIPE_SECRET_KEY_FILE", "/nowhere/key")).0, "secret_file_unreadable");
    std::fs::write(&path, "\n").unwrap();
    assert_eq!(refused(with("STRIPE_SECRET_KEY_FILE", key_file)).0, "empty_value", "never the sandbox by accident");

    std::fs::write(&path, "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n").unwrap();
    let pem = with("COUNTERFOIL_LICENSE_KEY_FILE", key_file).unwrap().license_key.unwrap();
    assert!(pem.expose_secret().ends_with("END PRIVATE KEY-----"));
}

#[test]
fn keys_are_kept_in_the_database_only_with_a_key_to_encrypt_them() {
    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let store = |word| ("COUNTERFOIL_LICENSE_KEY_STORE", word);
    let key = |text| ("COUNTERFOIL_KEY_ENCRYPTION_KEY", text);
    assert_eq!(refused(from_env(&[store("database")])).0, "key_encryption_key_missing");
    assert_eq!(refused(from_env(&[store("vault")])).0, "invalid_license_key_store");
    for wrong in ["secret", &KEY[4..]] {
        assert_eq!(refused(from_env(&[store("database"), key(wrong)])).0, "invalid_key_encryption_key");
    }
    let kept = from_env(&[store("database"), key(KEY)]).unwrap().key_encryption_key.unwrap();
    assert_eq!(kept.expose_secret(), KEY);
    assert!(from_env(&[store("file"), key(KEY)]).unwrap().key_encryption_key.is_none(), "files are not encrypted");
}

#[test]
fn a_file_that_was_asked_for_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.toml");
    let (code, text) = refused(Config::load(Some(&path), &Environment::default()));
    assert_eq!(code, "file_unreadable");
    assert!(text.contains("other.toml"));
    std::fs::write(&path, "product = \"acme\"").unwrap();
    assert_eq!(Config::load(Some(&path), &Environment::default()).unwrap().product, "acme");
}

#[test]
fn secrets_are_not_printed() {
    let config = live(&[("DATABASE_URL", "postgres://billing:hunter2@db/billing")]).unwrap();
    let printed = format!("{config:?}");
    for secret in [LIVE_KEY, WEBHOOK_SECRET, "hunter2", "p%40ss"] {
        assert!(!printed.contains(secret), "{printed}");
    }
    assert!(!format!("{:?}", environment(&[("STRIPE_SECRET_KEY", LIVE_KEY)])).contains(LIVE_KEY));
}

#[test]
fn the_example_file_shows_every_setting_and_is_valid() {
    let example = include_str!("../../../../counterfoil.example.toml");
    let config = from_file(example).unwrap();
    assert!(config.mode.is_sandbox(), "as shipped it starts the sandbox");
    assert_eq!(config.catalog, from_env(&[]).unwrap().catalog, "its plans are the shipped ones");
    for setting in settings::ALL {
        assert!(example.contains(&format!("{} = ", setting.key)), "{} is not shown", setting.key);
        assert!(example.contains(setting.variable), "{} is not shown", setting.variable);
    }
    // What is commented out is valid, too: a user takes the mark away and it works.
    let settings_only = example.split("[[plans]]").next().unwrap_or_default();
    let uncommented: String = settings_only
        .lines()
        .map(|line| {
            line.strip_prefix("#").filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase())).unwrap_or(line)
        })
        .fold(String::new(), |text, line| text + line + "\n");
    let error = from_file(&uncommented).unwrap_err();
    assert!(!error.has("unknown_setting") && !error.has("file_syntax") && !error.has("wrong_type"), "{error}");
    assert!(error.has("placeholder_secret"), "the secrets of the example cannot be used as they are");
}

#[test]
fn an_address_is_verified_where_the_operator_wants_it() {
    assert_eq!(from_env(&[]).unwrap().email_verification, EmailVerification::Off);
    let config = from_file("email_verification = \"required\"").unwrap();
    assert_eq!(config.email_verification, EmailVerification::Required);
}

#[test]
fn trials_are_shared_by_persons_or_companies() {
    use counterfoil_core::trial::TrialPer;
    let config = from_env(&[]).unwrap();
    assert_eq!((config.trial_per, config.trial_reminders), (TrialPer::Person, true));
    let file = "trial_per = \"company_domain\"\npublic_mail_domains = [\"Mail.example\", \"post.example\"]\ntrial_reminders = false";
    let config = from_file(file).unwrap();
    let public_domains = vec!["mail.example".to_owned(), "post.example".to_owned()];
    assert_eq!((config.trial_per, config.trial_reminders), (TrialPer::CompanyDomain { public_domains }, false));
    let table = [
        ("trial_per = \"company\"", "invalid_trial_per"),
        ("public_mail_domains = [\"mail.example\"]", "setting_without_effect"),
        ("trial_per = \"company_domain\"\npublic_mail_domains = [\"@x\"]", "invalid_mail_domain"),
        ("trial_reminders = \"yes\"", "invalid_flag"),
        ("trial_reminders = 1", "wrong_type"),
        ("product = true", "wrong_type"),
    ];
    for (file, code) in table {
        assert_eq!(refused(from_file(file)).0, code, "{file}");
    }
}

#[test]
fn checkouts_offer_what_the_vendor_chose() {
    use counterfoil_core::checkout::CheckoutTrial;
    let config = from_env(&[]).unwrap();
    assert_eq!(config.checkout_trial, CheckoutTrial::End);
    let nothing = CheckoutPage {
        promotion_codes: false,
        automatic_tax: false,
        tax_id_collection: false,
        billing_address_required: None,
    };
    assert_eq!(config.checkout, nothing);
    let file = "checkout_trial = \"carry\"\npromotion_codes = true\nautomatic_tax = true\ntax_id_collection = true\n\
                billing_address_collection = \"required\"";
    let config = from_file(file).unwrap();
    assert_eq!(config.checkout_trial, CheckoutTrial::Carry);
    let all = CheckoutPage {
        promotion_codes: true,
        automatic_tax: true,
        tax_id_collection: true,
        billing_address_required: Some(true),
    };
    assert_eq!(config.checkout, all);
    let longest = "checkout_trial = \"carry\"\n[[plans]]\ncode = \"trial\"\nname = \"Trial\"\ntrial_days = 730";
    assert_eq!(from_file(longest).unwrap().checkout_trial, CheckoutTrial::Carry);
    let auto = from_file("billing_address_collection = \"auto\"").unwrap().checkout;
    assert_eq!(auto, CheckoutPage { billing_address_required: Some(false), ..nothing });
    let table = [
        ("checkout_trial = \"keep\"", "invalid_checkout_trial"),
        ("billing_address_collection = \"never\"", "invalid_billing_address_collection"),
        ("promotion_codes = \"SAVE10\"", "invalid_flag"),
        (
            "checkout_trial = \"carry\"\n[[plans]]\ncode = \"trial\"\nname = \"Trial\"\ntrial_days = 731",
            "trial_too_long_to_carry",
        ),
    ];
    for (file, code) in table {
        assert_eq!(refused(from_file(file)).0, code, "{file}");
    }
}

#[test]
fn status_lists_lie_where_the_vendor_wants_them() {
    let at =
        |url: &str, ttl_seconds, life_seconds| StatusListSettings { url: url.to_owned(), ttl_seconds, life_seconds };
    let config = from_env(&[("COUNTERFOIL_PUBLIC_URL", "https://billing.example.com")]).unwrap();
    assert_eq!(config.status_list, at("https://billing.example.com/status-lists", 3_600, 72 * 3_600));
    let file = "status_list_url = \"https://static.example.com/acme/\"\nstatus_list_ttl_minutes = \"5\"\n\
                status_list_life_hours = \"24\"";
    assert_eq!(from_file(file).unwrap().status_list, at("https://static.example.com/acme", 300, 24 * 3_600));
    for local in ["http://localhost:3100/lists", "http://127.0.0.1:3100", "http://[::1]:3100"] {
        assert_eq!(from_file(&format!("status_list_url = \"{local}\"")).unwrap().status_list.url, local);
    }
    let table = [
        ("status_list_url = \"static.example.com\"", "invalid_status_list_url"),
        ("status_list_url = \"http://static.example.com\"", "invalid_status_list_url"),
        ("status_list_url = \"ftp://localhost/lists\"", "invalid_status_list_url"),
        ("status_list_url = \"https://static.example.com/?x=1\"", "invalid_status_list_url"),
        ("status_list_url = \"https://static.example.com/#lists\"", "invalid_status_list_url"),
        ("status_list_url = \"https://ada@static.example.com/\"", "invalid_status_list_url"),
        ("status_list_url = \"https://:secret@static.example.com/\"", "invalid_status_list_url"),
        ("status_list_ttl_minutes = \"0\"", "invalid_number"),
        ("status_list_ttl_minutes = \"an hour\"", "invalid_number"),
    ];
    for (file, code) in table {
        assert_eq!(refused(from_file(file)).0, code, "{file}");
    }
}

#[test]
fn a_status_list_outlives_two_askings_of_it() {
    let lists = |ttl_minutes: i64, life_hours: i64| {
        let file = format!("status_list_ttl_minutes = \"{ttl_minutes}\"\nstatus_list_life_hours = \"{life_hours}\"");
        from_file(&file).map(|config| (config.status_list.ttl_seconds, config.status_list.life_seconds))
    };
    for (ttl_minutes, life_hours) in [(60, 2), (1_440, 48), (1, 8_784)] {
        assert_eq!(lists(ttl_minutes, life_hours).unwrap(), (ttl_minutes * 60, life_hours * 3_600));
    }
    for (ttl_minutes, life_hours, code) in [
        (60, 1, "invalid_status_list_life"),
        (61, 2, "invalid_status_list_life"),
        (90, 2, "invalid_status_list_life"),
        (1_441, 96, "invalid_number"),
        (60, 8_785, "invalid_number"),
    ] {
        assert!(lists(ttl_minutes, life_hours).unwrap_err().has(code), "{ttl_minutes} {life_hours}");
    }
}

#[test]
fn limits_are_lifted_in_the_sandbox_and_changed_by_name() {
    let sandbox = from_env(&[]).unwrap().rate_limits;
    assert!(Limit::ALL.iter().all(|&limit| sandbox.of(limit).is_some() == (limit == Limit::License)));
    let limits = from_file("rate_limits = \"on, login=20/60, license=off\"").unwrap().rate_limits;
    assert_eq!(limits.of(Limit::Login), Some(Rate { burst: 20, per_hour: 60 }));
    assert!(limits.of(Limit::License).is_none() && limits.of(Limit::Password).is_some());
    let connections = from_env(&[("COUNTERFOIL_CONNECTIONS_PER_ADDRESS", "7")]).unwrap().connections;
    assert_eq!(connections, Connections { per_address: 7, ..Connections::default() });
    for (file, code) in [
        ("rate_limits = \"logins=1/1\"", "invalid_rate_limit"),
        ("rate_limits = \"login=0/1\"", "invalid_rate_limit"),
        ("trusted_proxies = \"proxy.example.com\"", "invalid_trusted_proxies"),
        ("connections = \"0\"", "invalid_connections"),
        ("connections_per_address = \"many\"", "invalid_connections"),
        ("connections_per_address = \"1000001\"", "invalid_connections"),
    ] {
        assert_eq!(refused(from_file(file)).0, code, "{file}");
    }
}

#[test]
fn a_product_is_one_line_of_bounded_length() {
    let named = |product: &str| from_env(&[("COUNTERFOIL_PRODUCT", product)]);
    assert_eq!(named(&"x".repeat(128)).unwrap().product.len(), 128);
    for product in ["x".repeat(129), "acme\tstudio".to_owned()] {
        let (code, text) = refused(named(&product));
        assert!(code == "invalid_product" && text.contains("one line of at most 128 bytes"), "{text}");
    }
}

/// A browser lets a form of ours lead there and nowhere else.
#[test]
fn the_providers_pages_are_stripes_and_those_of_the_accounts_own_domains() {
    let own = ("COUNTERFOIL_PAYMENT_ORIGINS", "https://pay.acme.example, https://bills.acme.example:8443");
    let [checkout, billing] = ["https://checkout.stripe.com", "https://billing.stripe.com"];
    let [pay, bills] = ["https://pay.acme.example", "https://bills.acme.example:8443"];
    let double = ("STRIPE_API_BASE", "http://127.0.0.1:12111");
    for (config, pages) in [
        (from_env(&[own]), &[][..]),
        (live(&[]), &[checkout, billing]),
        (live(&[own]), &[checkout, billing, pay, bills]),
        (stripe(&[double]), &[checkout, billing, "http://127.0.0.1:12111"]),
    ] {
        assert_eq!(config.unwrap().payment_pages(), pages);
    }
}
