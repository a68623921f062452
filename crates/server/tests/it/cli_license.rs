//! `counterfoil license issue|reissue|revoke|resend` as an operator types them, beside a running server.

use counterfoil::db::Engine;
use serde_json::{Value, json};

use crate::cli::{Beside, error_of};
use crate::processes::{engines, text};

/// The shipped plans, with one more feature in the trial.
fn edited_plans(beside: &Beside) -> String {
    let example = include_str!("../../../../counterfoil.example.toml");
    let plans = example.find("[[plans]]").map(|start| &example[start..]).expect("plans");
    let edited = plans.replacen(r#"features = ["core"]"#, r#"features = ["core", "sso"]"#, 1);
    assert_ne!(edited, plans);
    let path = beside.world.folder.path().join("edited.toml");
    std::fs::write(&path, edited).expect("a file");
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_stays_so_until_a_license_is_issued() {
    for engine in engines("license revoke") {
        let beside = Beside::of(engine).await;
        let ada = beside.world.api(0).sign_up().await;
        let license = |what: &[&str]| beside.run(&[&["license"], what].concat());
        license(&["revoke", &ada.id]).refused(2, &["--reason"]);
        license(&["revoke", "nobody@example.com", "--reason", "a leak"]).refused(1, &["no such customer"]);
        let unknown = license(&["revoke", "lic_00000000000000000000000000000000", "--reason", "a leak", "--json"]);
        unknown.refused(1, &[]);
        assert_eq!((text(&error_of(&unknown), "code"), unknown.out.as_str()), ("license_not_found", ""));
        license(&["revoke", &ada.id, "--reason", "  "]).refused(1, &["reason"]);
        let shown = license(&["inspect", &ada.license, "--json"]).json();
        let (id, reason) = (text(&shown["claims"], "jti"), "it was posted in a forum");
        let revoked = license(&["revoke", id, "--reason", reason, "--json"]);
        assert_eq!((revoked.code(), revoked.err.as_str()), (Some(0), ""));
        assert_eq!(revoked.json(), json!({ "customer_id": ada.id, "versions": 1, "changed": true }));
        let again = license(&["revoke", &ada.email, "--reason", reason]).succeeded();
        assert!(again.contains("were revoked before; nothing was changed"), "{again}");
        for refused in [["reissue", &ada.id], ["resend", &ada.id]] {
            let answer = license(&[&refused[..], &["--reason", "she asks", "--json"]].concat());
            answer.refused(1, &[]);
            assert_eq!(text(&error_of(&answer), "code"), "license_revoked", "{refused:?}");
        }
        let dry = license(&["reissue", &ada.id, "--dry-run", "--reason", "a look"]).succeeded();
        assert!(dry.contains("are revoked"), "{dry}");
        let issued = license(&["issue", &ada.id, "--reason", "it was somebody else", "--json"]).json();
        assert_eq!((&issued["version"], &issued["cause"]), (&json!(2), &json!("it was somebody else")));
        assert_eq!((&issued["revoked_at"], issued.get("token")), (&Value::Null, None), "a list shows no token");
        let words = license(&["resend", &ada.id, "--reason", "she lost the mail"]).succeeded();
        assert!(words.starts_with("sends again version 2 of"), "{words}");
        let history = beside.run(&["customer", "show", &ada.id, "--json"]).json()["history"].clone();
        let lines = history.as_array().expect("lines");
        for action in ["license_revoked", "license_issued"] {
            let line =
                lines.iter().find(|line| line["action"] == action).unwrap_or_else(|| panic!("{action}: {history}"));
            assert!(text(line, "actor").starts_with("operator:cli") && line["reason"].is_string(), "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_plan_reaches_everybody_once_and_standard_output_is_the_answer_alone() {
    for engine in engines("license reissue") {
        let beside = Beside::of(engine).await;
        let people = [beside.world.api(0).sign_up().await, beside.world.api(0).sign_up().await];
        let config = edited_plans(&beside);
        let reissue = |what: &[&str]| {
            let fixed = ["license", "reissue", "--reason", "a feature more", "--json", "--config", &config];
            let answer = beside.run(&[&fixed[..], what].concat());
            assert_eq!((answer.code(), answer.err.as_str()), (Some(0), ""), "{}", answer.out);
            answer.json()
        };
        let told = |due: usize, issued: usize, dry_run: bool| json!({ "customers": 2, "due": due, "issued": issued, "failed": 0, "dry_run": dry_run });
        assert_eq!(reissue(&["--all", "--dry-run"]), told(2, 0, true));
        assert_eq!(reissue(&[&people[0].id, "--dry-run"])["due"], true);
        assert_eq!(reissue(&[&people[0].id])["version"], 2);
        assert_eq!(reissue(&["--plan", "trial", "--no-mail", "--per-second", "1000"]), told(1, 1, false));
        assert_eq!(reissue(&["--all"]), told(0, 0, false), "everybody has it");
        for person in &people {
            let shown = beside.run(&["customer", "show", &person.id, "--json"]).json();
            assert_eq!(shown["licenses"].as_array().map(Vec::len), Some(2));
            assert_eq!(shown["licenses"][0]["reason"], "reissued");
        }
        let owed = "select cast(count(*) as bigint) as n from outbox where dedupe_key = $1";
        for (person, mails) in [(&people[0], 1), (&people[1], 0)] {
            let key = format!("license:{}:2", person.id);
            assert_eq!(beside.world.count(owed, &key).await, mails, "the other one was to have none");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reissue_says_for_whom() {
    let beside = Beside::of(Engine::Sqlite).await;
    let reissue = |what: &[&str]| beside.run(&[&["license", "reissue", "--reason", "x"], what].concat());
    reissue(&[]).refused(2, &["<CUSTOMER>"]);
    reissue(&["--all", "--plan", "trial"]).refused(2, &["cannot be used with"]);
    reissue(&["ada@example.com", "--all"]).refused(2, &["cannot be used with"]);
    reissue(&["--all", "--per-second", "0"]).refused(2, &["1..=1000"]);
    reissue(&["--plan", "gold"]).refused(1, &["there is no plan `gold`"]);
    assert_eq!(text(&error_of(&reissue(&["--plan", "gold", "--json"])), "code"), "plan_unknown");
    let nobody = reissue(&["--all"]).succeeded();
    assert!(nobody.contains("0 of 0 customers"), "{nobody}");
}
