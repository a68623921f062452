//! Ending all sessions of a customer, at the command line.

use serde_json::json;

use crate::cli::Beside;
use crate::processes::engines;

#[tokio::test]
async fn an_operator_ends_all_sessions_of_a_customer() {
    for engine in engines("customer end-sessions") {
        let beside = Beside::of(engine).await;
        let ada = beside.world.api(0).sign_up().await;
        beside.run(&["customer", "end-sessions", &ada.id]).refused(2, &["--reason"]);
        beside.run(&["customer", "end-sessions", "x@example.com", "--reason", "x"]).refused(1, &["no such customer"]);
        let told =
            beside.run(&["customer", "end-sessions", &ada.email, "--reason", "a stolen laptop", "--json"]).json();
        assert_eq!(told, json!({ "customer_id": ada.id, "ended": 1 }));
        let words = beside.run(&["customer", "end-sessions", &ada.id, "--reason", "again"]).succeeded();
        assert!(words.contains("was logged in nowhere"), "{words}");
        let bob = beside.world.api(0).sign_up().await;
        let words = beside.run(&["customer", "end-sessions", &bob.id, "--reason", "he asked"]).succeeded();
        assert_eq!(words, format!("the one session of {} has ended\n", bob.id));
        let line = &beside.run(&["customer", "show", &ada.id, "--json"]).json()["history"][0];
        assert_eq!((&line["action"], &line["reason"]), (&json!("sessions_ended"), &json!("again")));
    }
}
