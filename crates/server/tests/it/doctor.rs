//! `counterfoil doctor` beside a running service: an installation that is well, and one fault after the other.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use counterfoil::db::Engine;
use serde_json::Value;

use crate::cli::{Beside, run_in};
use crate::processes::{engines, free_port, text};

/// The codes of the lines that are not well, the worst of each.
fn ailments(told: &Value, level: &str) -> Vec<String> {
    let checks = told["checks"].as_array().expect("checks").iter();
    checks.filter(|check| check["level"] == level).map(|check| text(check, "code").to_owned()).collect()
}

/// What does not work, in this environment.
#[track_caller]
fn problems(beside: &Beside, settings: &[(&'static str, String)]) -> Vec<String> {
    let mut sick = beside.settings();
    sick.push(("COUNTERFOIL_MAIL_FROM", "Billing <billing@example.com>".to_owned()));
    sick.extend(settings.iter().cloned());
    let answer = beside.run_in_environment(&sick, &["doctor", "--json"]);
    let told = answer.json();
    let found = ailments(&told, "problem");
    assert_eq!(answer.code(), Some(i32::from(!found.is_empty())), "{told}");
    for check in told["checks"].as_array().expect("checks").iter().filter(|check| check["level"] != "ok") {
        assert!(text(check, "advice").len() > 10, "what to do about {check}");
    }
    found
}

/// Somebody who answers every request with the time of another day.
fn behind_the_times() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            // Whoever hangs up has heard enough.
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(
                b"HTTP/1.1 404 Not Found\r\ndate: Sun, 01 Nov 2020 09:30:05 GMT\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            );
        }
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_that_is_well_is_told_so() {
    for engine in engines("doctor") {
        let beside = Beside::of(engine).await;
        beside.world.api(0).sign_up().await;
        beside.world.quiet().await;
        let answer = beside.run(&["doctor", "--json"]);
        let told = answer.json();
        assert_eq!((answer.code(), ailments(&told, "problem")), (Some(0), Vec::new()), "{told}");
        assert_eq!(ailments(&told, "warning"), ["webhooks_silent", "mail_off"], "{told}");
        let well = ailments(&told, "ok");
        for code in [
            "configuration",
            "data_dir",
            "database",
            "database_schema",
            "plans",
            "license_key",
            "events",
            "mails",
            "clock",
            "provider",
            "sweep_events",
            "sweep_comparison",
            "price",
            "portal",
        ] {
            assert!(well.contains(&code.to_owned()), "`{code}` is not in {well:?}");
        }
        let words = beside.run(&["doctor"]).succeeded();
        let version = match engine {
            Engine::Sqlite => "answers, sqlite 3.",
            Engine::Postgres => "answers, postgres 1",
        };
        assert!(words.contains(version), "{words}");
        assert!(
            words.contains("ok       the configuration is valid, for test mode")
                && words.ends_with("0 problems, 2 warnings.\n")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_in_the_data_are_found() {
    const FAULTS: [(&str, &str, &str); 4] = [
        ("update outbox set state = 'dead'", "update outbox set state = 'sent'", "mails_dead"),
        (
            "update outbox set state = 'pending', created_at = '2020-01-01T00:00:00.000000Z', run_at = '2099-01-01T00:00:00.000000Z'",
            "update outbox set state = 'sent'",
            "mails_late",
        ),
        ("update subscriptions set plan = 'gold'", "update subscriptions set plan = 'trial'", "plans_missing"),
        ("delete from signing_keys", "delete from signing_keys", "license_key_not_published"),
    ];
    for engine in engines("doctor") {
        let beside = Beside::of(engine).await;
        beside.world.api(0).sign_up().await;
        beside.world.quiet().await;
        for (fault, repair, code) in FAULTS {
            beside.world.db.query(fault).execute().await.expect("a fault");
            assert_eq!(problems(&beside, &[]), [code], "{fault}");
            beside.world.db.query(repair).execute().await.expect("a repair");
        }
    }
}

#[test]
fn a_wrong_setting_comes_with_advice_that_fits_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = run_in(folder.path(), &[], &["--config", "nope.toml", "doctor"]).out;
    assert!(told.contains("see that --config names the right file"), "{told}");
    let told = run_in(folder.path(), &[("COUNTERFOIL_LISTN", "x")], &["doctor"]).out;
    assert!(
        told.contains("did you mean COUNTERFOIL_LISTEN?\n") && told.contains("counterfoil.example.toml shows"),
        "{told}"
    );
}

#[test]
fn before_the_first_start_there_is_no_key_and_nobody_is_alarmed() {
    let folder = tempfile::tempdir().expect("a folder");
    run_in(folder.path(), &[], &["migrate"]).succeeded();
    let quiet = run_in(folder.path(), &[], &["doctor", "--json", "--offline"]);
    assert_eq!(quiet.err, "");
    let loud = run_in(folder.path(), &[("RUST_LOG", "trace")], &["doctor", "--json", "--offline"]);
    assert!(loud.err.contains("\"level\":\"DEBUG\""), "whoever asks for the log has it: {}", loud.err);
    let told = quiet.json();
    let warnings = ailments(&told, "warning");
    assert!(warnings.contains(&"license_key_missing".to_owned()), "{told}");
    assert_eq!(ailments(&told, "problem"), Vec::<String>::new(), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_that_has_lost_its_key_is_not_a_new_one() {
    for engine in engines("doctor") {
        let beside = Beside::of(engine).await;
        beside.world.api(0).sign_up().await;
        std::fs::remove_file(beside.world.folder.path().join("data-0/license-key.pem")).expect("the key was there");
        let told = beside.run(&["doctor", "--json", "--offline"]).json();
        assert!(!ailments(&told, "warning").contains(&"license_key_missing".to_owned()), "{told}");
        assert_eq!(ailments(&told, "problem"), ["license_key_unreadable"], "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_has_not_run_for_long_is_told() {
    for engine in engines("doctor") {
        let beside = Beside::of(engine).await;
        let old = "insert into sweeps (sweep, provider, done_until, found, due_at, fence, leased_until, holder) \
                   values ('comparison', 'stripe', '2020-01-01T00:00:00.000000Z', 0, '2099-01-01T00:00:00.000000Z', 0, \
                   '2020-01-01T00:00:00.000000Z', '') on conflict (sweep, provider) do update set done_until = excluded.done_until";
        beside.world.db.query(old).execute().await.expect("a row");
        let early = "update instance set created_at = '2019-01-01T00:00:00.000000Z'";
        beside.world.db.query(early).execute().await.expect("a row");
        let told = beside.run(&["doctor", "--json", "--offline"]).json();
        assert!(ailments(&told, "warning").contains(&"sweep_comparison_late".to_owned()), "{told}");
        let checks = told["checks"].as_array().expect("checks");
        let sweep = checks.iter().find(|check| check["code"] == "sweep_comparison_late").expect("the sweep");
        assert!(text(sweep, "message").contains("last came up to 1 January 2020, 00:00 UTC"), "{sweep}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_nobody_outside_is_asked() {
    let beside = Beside::of(Engine::Sqlite).await;
    let nowhere = free_port();
    let mut settings = beside.settings();
    settings.push(("STRIPE_API_BASE", format!("http://127.0.0.1:{nowhere}")));
    settings.push(("SMTP_URL", format!("smtp://127.0.0.1:{nowhere}")));
    settings.push(("COUNTERFOIL_MAIL_FROM", "Billing <billing@example.com>".to_owned()));
    assert_eq!(beside.run_in_environment(&settings, &["doctor", "--json"]).code(), Some(1));
    let answer = beside.run_in_environment(&settings, &["doctor", "--json", "--offline"]);
    let told = answer.json();
    assert_eq!((answer.code(), ailments(&told, "problem")), (Some(0), Vec::new()), "{told}");
    let well = ailments(&told, "ok");
    assert!(well.contains(&"offline".to_owned()) && !well.contains(&"provider".to_owned()), "{well:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_around_it_are_found() {
    let beside = Beside::of(Engine::Sqlite).await;
    let nowhere = free_port();
    let faults = [
        ("SMTP_URL", format!("smtp://127.0.0.1:{nowhere}"), vec!["mail_unavailable"]),
        ("DATABASE_URL", format!("postgres://u:hunter2@127.0.0.1:{nowhere}/x"), vec!["database_unavailable"]),
        ("STRIPE_SECRET_KEY", "sk_test_ofSomebodyElse".to_owned(), vec!["provider_refuses_key"]),
        ("STRIPE_API_BASE", format!("http://127.0.0.1:{nowhere}"), vec!["provider_unavailable"]),
        ("STRIPE_WEBHOOK_SECRET", "changeme".to_owned(), vec!["placeholder_secret"]),
        (
            "COUNTERFOIL_PUBLIC_URL",
            format!("https://127.0.0.1:{nowhere}"),
            vec!["webhook_missing", "public_url_unreachable"],
        ),
    ];
    for (setting, value, codes) in faults {
        assert_eq!(problems(&beside, &[(setting, value)]), codes, "{setting}");
    }
    let found = problems(&beside, &[("STRIPE_API_BASE", behind_the_times())]);
    assert!(found.contains(&"clock_skew".to_owned()), "{found:?}");
    let key = beside.world.folder.path().join("data-0/license-key.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("the key is there");
    assert_eq!(problems(&beside, &[]), ["license_key_readable"]);
}
