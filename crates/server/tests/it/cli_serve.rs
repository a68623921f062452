//! What `counterfoil serve` says when it is ready, and what its log tells of the start.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::cli::run_in;
use crate::processes::{command, free_port};

/// Where the service and its sandbox are.
struct Ports {
    service: u16,
    sandbox: u16,
}

/// Starts it, reads what it says up to a line with this, and stops it. Answers that, and its log.
fn serve(folder: &Path, ports: &Ports, arguments: &[&str], last: &str) -> (String, String) {
    let mut child = command(folder)
        .env("COUNTERFOIL_LISTEN", format!("127.0.0.1:{}", ports.service))
        .env("COUNTERFOIL_SANDBOX_LISTEN", format!("127.0.0.1:{}", ports.sandbox))
        .arg("serve")
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut told = String::new();
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    while !told.contains(last) {
        let line = lines.next().expect("it says more").expect("UTF-8");
        told.push_str(&line);
        told.push('\n');
    }
    let asked = Command::new("kill").arg(child.id().to_string()).status().expect("kill runs");
    let ended = child.wait_with_output().expect("it ends");
    let log = String::from_utf8(ended.stderr).expect("UTF-8");
    assert!(asked.success() && ended.status.success(), "{told}{log}");
    (told, log)
}

#[test]
fn a_service_that_is_ready_says_where_everything_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let ports = Ports { service: free_port(), sandbox: free_port() };
    let (url, sandbox) = (format!("http://localhost:{}", ports.service), format!("http://127.0.0.1:{}", ports.sandbox));

    let (told, log) = serve(folder.path(), &ports, &[], "Stop with Ctrl-C.");
    for line in [
        format!("Counterfoil {} is ready.", env!("CARGO_PKG_VERSION")),
        format!("  Pages      {url}"),
        format!("  API        {url}/api/docs"),
        format!("  Mailbox    {url}/sandbox/mailbox"),
        format!("  Stripe     {sandbox} (built-in sandbox: no account, no real money)"),
    ] {
        assert!(told.lines().any(|found| found == line), "`{line}` is not in: {told}");
    }
    assert!(told.contains("  Database   SQLite file ") && told.contains("counterfoil.db"), "{told}");
    let migrated = "schema was brought up to date";
    assert!(log.contains(migrated), "{log}");
    assert!(!log.contains("SMTP_URL"), "the sandbox has a mailbox: {log}");

    let (told, log) = serve(folder.path(), &ports, &["--json", "--roles", "worker"], "ready");
    let ready: Value = serde_json::from_str(&told).expect("one line of JSON");
    assert!(ready["database"].as_str().is_some_and(|place| place.starts_with("SQLite file ")), "{told}");
    let expected = json!({
        "event": "ready", "version": env!("CARGO_PKG_VERSION"), "address": format!("127.0.0.1:{}", ports.service),
        "public_url": url, "sandbox": sandbox, "database": ready["database"],
    });
    assert_eq!(ready, expected);
    assert!(!log.contains(migrated), "there was nothing to migrate: {log}");

    // Without the key it would take money and give nothing for it.
    std::fs::remove_file(folder.path().join("data/license-key.pem")).expect("the key was there");
    let (listen, beside) = (format!("127.0.0.1:{}", ports.service), format!("127.0.0.1:{}", ports.sandbox));
    let addresses = [("COUNTERFOIL_LISTEN", listen.as_str()), ("COUNTERFOIL_SANDBOX_LISTEN", &beside)];
    run_in(folder.path(), &addresses, &["serve", "--json"]).refused(1, &["license_key_unusable"]);
}
