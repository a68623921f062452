//! Taking an address for verified, at the command line.

use serde_json::{Value, json};

use crate::cli::Beside;
use crate::processes::{engines, text};

#[tokio::test]
async fn an_operator_takes_an_address_for_verified() {
    for engine in engines("customer verify-email") {
        let beside = Beside::of(engine).await;
        let ada = beside.world.api(0).sign_up().await;
        let shown = beside.run(&["customer", "show", &ada.id]).succeeded();
        assert!(shown.lines().any(|line| line.split_whitespace().eq(["verified", "no"])), "{shown}");
        beside.run(&["customer", "verify-email", &ada.id]).refused(2, &["--reason"]);
        beside.run(&["customer", "verify-email", "x@example.com", "--reason", "x"]).refused(1, &["no such customer"]);
        let told = beside.run(&["customer", "verify-email", &ada.email, "--reason", "called back", "--json"]).json();
        // This customer has had the license since the sign-up.
        assert_eq!((text(&told, "email"), &told["version"]), (ada.email.as_str(), &Value::Null));
        beside.run(&["customer", "verify-email", &ada.id, "--reason", "again"]).refused(1, &["verified already"]);
        let shown = beside.run(&["customer", "show", &ada.id, "--json"]).json();
        assert_eq!(shown["email_verified_at"], told["email_verified_at"]);
        assert_eq!(shown["licenses"].as_array().map(Vec::len), Some(1));
        let line = &shown["history"][0];
        assert_eq!(
            (&line["actor"], &line["action"], &line["reason"]),
            (&json!("operator:cli"), &json!("email_verified"), &json!("called back"))
        );
        let words = beside.run(&["customer", "explain", &ada.id]).succeeded();
        assert!(words.contains("The address was verified on"), "{words}");
    }
}
