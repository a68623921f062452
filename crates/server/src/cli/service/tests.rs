//! What of the configuration reaches the parts, and what a stop says.

use std::path::Path;

use super::*;

fn configured(settings: &[(&str, &str)], data_dir: &Path) -> Config {
    let data_dir = ("COUNTERFOIL_DATA_DIR", data_dir.to_str().unwrap());
    Config::parse(None, &settings.iter().copied().chain([data_dir]).collect()).unwrap()
}

#[test]
fn connections_are_as_many_as_are_configured_and_can_be_open() {
    let settings = [
        ("COUNTERFOIL_CONNECTIONS", "7"),
        ("COUNTERFOIL_CONNECTIONS_PER_ADDRESS", "3"),
        ("COUNTERFOIL_TRUSTED_PROXIES", "10.0.0.0/8"),
    ];
    let few = limits(&configured(&settings, Path::new("data")));
    assert_eq!((few.connections, few.connections_of_one), (7, 3));
    assert!(few.proxies.contains("10.1.2.3".parse().unwrap()));
    let many = limits(&configured(&[("COUNTERFOIL_CONNECTIONS", "1000000")], Path::new("data")));
    assert!(many.connections < open_files::raise_limit(), "files are left for the database");
}

#[test]
fn checkout_pages_offer_and_ask_for_what_is_configured() {
    let shown = |settings: &[(&str, &str)]| checkout_options(&configured(settings, Path::new("data")).checkout);
    assert_eq!(shown(&[]), CheckoutOptions::default());
    let switches = [
        ("COUNTERFOIL_PROMOTION_CODES", CheckoutOptions { promotion_codes: true, ..CheckoutOptions::default() }),
        ("COUNTERFOIL_AUTOMATIC_TAX", CheckoutOptions { automatic_tax: true, ..CheckoutOptions::default() }),
        ("COUNTERFOIL_TAX_ID_COLLECTION", CheckoutOptions { tax_id_collection: true, ..CheckoutOptions::default() }),
    ];
    for (setting, expected) in switches {
        assert_eq!(shown(&[(setting, "true")]), expected);
    }
    for (word, expected) in [("auto", BillingAddress::Auto), ("required", BillingAddress::Required)] {
        let told = shown(&[("COUNTERFOIL_BILLING_ADDRESS_COLLECTION", word)]);
        assert_eq!(told.billing_address, Some(expected));
    }
}

/// A new secret beside a sandbox that keeps the old one would let every webhook be refused.
#[test]
fn the_secret_of_the_sandbox_is_made_only_where_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let config = configured(&[], folder.path());
    assert_eq!(read_sandbox_secret(&config).unwrap(), None);
    let path = folder.path().join(SANDBOX_SECRET_FILE);
    std::fs::write(&path, "whsec_x\n").unwrap();
    assert_eq!(read_sandbox_secret(&config).unwrap().as_deref(), Some("whsec_x"));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let refused = read_sandbox_secret(&config).unwrap_err().to_string();
    assert!(refused.contains(SANDBOX_SECRET_FILE) && refused.contains("cannot be read"), "{refused}");
}

/// The command says with it that something was cut short.
#[tokio::test]
async fn a_stop_says_whether_all_ended_in_time() {
    for held in ["nothing", "a request", "the sandbox", "the database"] {
        let folder = tempfile::tempdir().unwrap();
        let anywhere = [("COUNTERFOIL_LISTEN", "127.0.0.1:0"), ("COUNTERFOIL_SANDBOX_LISTEN", "127.0.0.1:0")];
        let service = Service::start(&configured(&anywhere, folder.path()), Roles::ALL, true).await.unwrap();
        let (soon, mut open) = (Duration::from_millis(200), None);
        match held {
            "a request" => drop(service.tasks.spawn(std::future::pending::<()>())),
            "the sandbox" => drop(service.sandbox_tasks.spawn(std::future::pending::<()>())),
            "the database" => open = Some(service.app.db.begin().await.unwrap()),
            _ => {
                assert!(service.stop().await, "nothing was held");
                continue;
            }
        }
        assert!(!service.stop_within(soon, soon).await, "{held}");
        drop(open);
    }
}

#[test]
fn a_round_that_is_cut_short_still_ends_within_the_stop() {
    assert!(worker::FINISH_MAX < DRAIN_MAX);
}
