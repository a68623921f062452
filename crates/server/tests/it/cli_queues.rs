//! The queues and the comparison as an operator meets them at the command line.

use serde_json::json;

use crate::cli::Beside;
use crate::processes::{engines, text};

#[tokio::test]
async fn an_operator_sees_the_queues_and_compares_both_sides() {
    for engine in engines("event, job, reconcile") {
        let beside = Beside::of(engine).await;
        let ada = beside.world.api(0).sign_up().await;
        let url = beside.world.api(0).checkout(&ada).await;
        beside.world.stripe.pay(&url).await;
        beside.world.paid(&ada.id).await;
        beside.world.at_rest().await;
        let listed = beside.run(&["event", "list", "--customer", &ada.id, "--state", "processed", "--json"]).json();
        let event = text(&listed["events"][0], "event_id").to_owned();
        let words = beside.run(&["event", "show", &event]).succeeded();
        assert!(words.contains(&ada.id) && !words.contains("livemode"), "{words}");
        assert!(beside.run(&["event", "show", &event, "--body"]).succeeded().contains("livemode"));
        let raw = beside.run(&["event", "show", &event, "--body", "--json"]).json();
        assert_eq!(text(&raw["body"], "id"), event);
        beside.run(&["event", "replay", &event]).refused(2, &["--reason"]);
        let replayed = beside.run(&["event", "replay", &event, "--reason", "to see", "--json"]).json();
        assert_eq!(replayed["state"], "pending");
        beside.world.at_rest().await;
        beside.run(&["event", "show", "evt_none"]).refused(1, &["no event"]);
        let jobs = beside.run(&["job", "list", "--limit", "1", "--json"]).json();
        let (job, next) = (text(&jobs["jobs"][0], "job_id").to_owned(), jobs["next"].to_string());
        assert_ne!(jobs["jobs"], beside.run(&["job", "list", "--before", &next, "--json"]).json()["jobs"]);
        beside.run(&["job", "retry", &job, "--reason", "to see"]).refused(1, &["is over"]);
        beside.run(&["job", "discard", "eff_none", "--reason", "to see"]).refused(1, &["no job"]);
        beside.run(&["event", "list", "--state", "lost"]).refused(2, &["pending", "dead"]);

        let same = beside.run(&["reconcile"]).succeeded();
        assert!(same.contains("say the same"), "{same}");
        beside.run(&["reconcile", "--fix"]).refused(2, &["--reason"]);
        let behind =
            "update subscriptions set status = 'past_due' where customer_id = $1 returning cast(1 as bigint) as n";
        assert_eq!(beside.world.count(behind, &ada.id).await, 1);
        let differs = beside.run(&["reconcile"]);
        differs.refused(1, &[]);
        assert!(differs.out.contains("past_due") && differs.out.contains("--fix"), "{}", differs.out);
        let fixed = beside.run(&["reconcile", "--fix", "--reason", "to see", "--json"]).json();
        assert_eq!((&fixed["fixed"], &fixed["left"]), (&json!(1), &json!(0)));
        let same = beside.run(&["reconcile", "--json"]).json();
        assert_eq!(same["differences"], json!([]));
        assert!(same["looked_at"].as_u64().is_some_and(|count| count > 0), "{same}");
    }
}
