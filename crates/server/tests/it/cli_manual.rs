//! `counterfoil manual` as an operator types it, beside a running server.

use serde_json::{Value, json};

use crate::cli::Beside;
use crate::processes::{engines, text};

#[tokio::test]
async fn an_operator_sells_by_invoice_and_every_step_is_shown() {
    for engine in engines("manual") {
        let beside = Beside::of(engine).await;
        let ada = beside.world.api(0).sign_up().await;
        let act = |words: &[&str]| beside.run(&[&["manual"], words, &["--reason", "a test", "--json"]].concat()).json();
        let paid = ["--reference", "INV-1", "--amount", "490000", "--currency", "eur"];
        let started = act(&[&["start", &ada.id, "--plan", "enterprise", "--interval", "year"], &paid[..]].concat());
        assert_eq!(
            (text(&started["subscription"], "status"), text(&started["subscription"], "plan")),
            ("active", "enterprise")
        );
        let first_end = text(&started["subscription"], "paid_until").to_owned();
        let again = ["pay", &ada.email, "--reference", "INV-1", "--amount", "1", "--currency", "eur", "--reason", "x"];
        beside.run(&[&["manual"], &again[..]].concat()).refused(1, &["recorded already"]);
        let renewed = act(&["pay", &ada.email, "--reference", "INV-2", "--amount", "490000", "--currency", "eur"]);
        assert!(text(&renewed["subscription"], "paid_until") > first_end.as_str(), "{renewed}");
        let back = act(&["refund", &ada.id, "--payment", "INV-2", "--reference", "CN-1"]);
        assert_eq!(text(&back["subscription"], "paid_until"), first_end);
        assert_eq!(back["agreements"][0]["payments"][1]["refunded"], 490_000);
        let ends = act(&["cancel", &ada.id]);
        assert_eq!(ends["subscription"]["cancel_at"], json!(first_end));
        assert_eq!(act(&["resume", &ada.id])["subscription"]["cancel_at"], Value::Null);
        let planned = act(&["change", &ada.id, "--plan", "professional", "--at-period-end"]);
        assert_eq!(text(&planned["subscription"], "plan"), "enterprise", "until the period ends");
        let words = beside.run(&["manual", "show", &ada.id]).succeeded();
        for expected in [
            "enterprise (active)",
            "enterprise per year",
            "then professional per year",
            "INV-1: 490000 eur\n",
            "INV-2: 490000 eur, 490000 went back",
        ] {
            assert!(words.contains(expected), "`{expected}` is not in: {words}");
        }
        for other in ["nothing is written down", "ended on", "as soon as the other provider answers"] {
            assert!(!words.contains(other), "`{other}` is in: {words}");
        }
        let shown = beside.run(&["customer", "show", &ada.id, "--json"]).json()["subscription"].clone();
        assert_eq!((text(&shown, "provider"), &shown["stripe_subscription_id"]), ("manual", &Value::Null));
        assert_eq!(shown["reference"], back["agreements"][0]["id"]);
        let words = beside.run(&["customer", "show", &ada.id]).succeeded();
        assert!(words.contains(&format!("{} (by invoice)", text(&shown, "reference"))), "{words}");
        let words = beside.run(&["customer", "explain", &ada.id]).succeeded();
        assert!(words.contains("By invoice, manual_subscription_"), "{words}");
        let ended = act(&["cancel", &ada.id, "--now"]);
        assert_eq!(text(&ended["subscription"], "status"), "canceled");
        let words = beside.run(&["manual", "show", &ada.id]).succeeded();
        assert!(words.contains(", ended on ") && !words.contains("then professional"), "{words}");
        let bob = beside.world.api(0).sign_up().await;
        let words = beside.run(&["manual", "show", &bob.id]).succeeded();
        assert!(words.contains("nothing is written down by hand"), "{words}");
    }
}
