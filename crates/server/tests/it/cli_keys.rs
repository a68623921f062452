//! `counterfoil keys` as an operator meets it: on the server, and on the machine that keeps the root.

use std::os::unix::fs::PermissionsExt as _;

use counterfoil::clock::Clock;
use counterfoil_core::Timestamp;
use serde_json::json;

use crate::cli::{Beside, error_of};
use crate::processes::{engines, text};

#[tokio::test]
async fn an_operator_rotates_keys_beside_the_running_server() {
    for engine in engines("keys") {
        let beside = Beside::of(engine).await;
        let ada = beside.world.api(0).sign_up().await;
        let first = text(&beside.run(&["keys", "list", "--json"]).json()["keys"][0], "key_id").to_owned();
        beside.run(&["keys", "rotate"]).refused(2, &["--reason"]);
        let published = beside.run(&["keys", "rotate", "--reason", "to see", "--json"]).json();
        let second = text(&published["key"], "key_id").to_owned();
        assert_eq!((&published["rotated"], text(&published["key"], "state")), (&json!(false), "pending"));
        let words = beside.run(&["keys", "list"]).succeeded();
        assert!(words.contains(&first) && words.contains("signs since") && words.contains("no root signs"), "{words}");
        beside.run(&["keys", "rotate", "--reason", "too early"]).refused(1, &["--now"]);
        beside.run(&["keys", "generate", "--reason", "too many"]).refused(1, &[&second]);
        beside.run(&["keys", "retire", &first, "--reason", "a slip"]).refused(1, &["rotate"]);
        let rotated = beside.run(&["keys", "rotate", "--now", "--reason", "to see", "--json"]).json();
        assert_eq!((&rotated["rotated"], &rotated["retired"]), (&json!(true), &json!(first)));
        let bob = beside.world.api(0).sign_up().await;
        let told = beside.run(&["license", "inspect", &bob.license, "--json"]).json();
        assert_eq!(told["header"]["kid"], second.as_str(), "the running server signs with it");
        let file = beside.world.folder.path().join(format!("data-0/license-key-{second}.pem"));
        assert_eq!(std::fs::metadata(&file).expect("its file").permissions().mode() & 0o777, 0o600);

        let given_up = beside.run(&["keys", "compromise", &second, "--reason", "stolen", "--json"]).json();
        assert_eq!((&given_up["issued"], &given_up["failed"]), (&json!(1), &json!(0)), "{given_up}");
        assert!(!file.exists());
        assert_eq!(beside.run(&["license", "verify", &bob.license]).code(), Some(1));
        beside.run(&["license", "verify", &ada.license]).succeeded();
        beside.run(&["keys", "compromise", "nobody", "--reason", "a slip"]).refused(1, &["keys list"]);
        let reasons = "select cast(count(*) as bigint) as n from audit_log where actor = $1 and reason is not null";
        // One published, one rotated, one given up, and the licence of it.
        assert_eq!(beside.world.count(reasons, "operator:cli").await, 4);
    }
}

#[tokio::test]
async fn a_root_signs_offline_and_the_server_serves_what_it_signed() {
    for engine in engines("keys root") {
        let beside = Beside::of(engine).await;
        let ada = beside.world.api(0).sign_up().await;
        let folder = beside.world.folder.path();
        let made = beside.run(&["keys", "root", "init", "--out", "root.pem", "--json"]).json();
        let root = text(&made, "root").to_owned();
        assert!(root.starts_with("cfroot1:"), "{root}");
        let private = std::fs::read_to_string(folder.join("root.pem")).expect("a file");
        assert_eq!(std::fs::metadata(folder.join("root.pem")).expect("a file").permissions().mode() & 0o777, 0o600);
        beside.run(&["keys", "root", "init", "--out", "root.pem"]).refused(1, &["never overwritten"]);
        let nowhere = beside.run(&["keys", "root", "init", "--out", "nowhere/root.pem", "--json"]);
        assert_eq!(error_of(&nowhere)["code"], "root_file");
        assert_eq!(std::fs::read_to_string(folder.join("root.pem")).expect("a file"), private);

        let listed = beside.run(&["keys", "list", "--json"]).succeeded();
        std::fs::write(folder.join("keys.json"), listed).expect("a file");
        let sign = ["keys", "root", "sign", "--root", "root.pem", "--keys", "keys.json", "--out", "keys.jwt"];
        beside.run(&sign).refused(2, &["--valid-days"]);
        // Neither a database nor a setting is there on that machine.
        let offline = beside.run_in_environment(&[], &[&sign[..], &["--valid-days", "400", "--json"]].concat());
        let signed = offline.json();
        assert_eq!(signed["root"], root.as_str());
        let (now, until): (_, Timestamp) =
            (Clock::system().now(), text(&signed, "expires_at").parse().expect("a time"));
        assert!(until > now.plus_days(399) && until < now.plus_days(401), "{signed}");
        let install = ["keys", "root", "install", "keys.jwt", "--reason", "the first set"];
        beside.run(&install).refused(1, &["--root cfroot1:"]);
        let installed = [&install[..], &["--root", &root]].concat();
        assert!(beside.run(&installed).succeeded().contains("counterfoil-keys.jwt"));
        let url = format!("{}/.well-known/counterfoil-keys.jwt", beside.world.servers[0].url);
        let served = beside.world.http.get(url).send().await.expect("an answer").text().await.expect("a text");
        std::fs::write(folder.join("served.jwt"), &served).expect("a file");
        let verify = ["license", "verify", &ada.license, "--root", &root, "--key-set", "served.jwt"];
        assert!(beside.run(&verify).succeeded().starts_with("valid"));
        assert!(beside.run(&["keys", "list"]).succeeded().contains(&root));
        assert!(beside.run(&["doctor"]).out.contains("the key set of the root lists all keys"));
        std::fs::write(folder.join("keys.json"), "{}").expect("a file");
        let nothing = [&sign[..], &["--valid-days", "400"]].concat();
        beside.run(&nothing).refused(1, &["counterfoil keys list --json"]);
        beside.run(&["keys", "rotate", "--now", "--reason", "in a hurry"]).refused(1, &["--force", "keys root sign"]);
    }
}
