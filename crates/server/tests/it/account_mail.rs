//! Mails with links while the mail server is away, by real processes: each is sent once when it is back, and the token in a link
//! is in no log, no number, no table and nothing that the provider gets.

use counterfoil::db::Engine;
use serde_json::{Value, json};

use crate::mails::{MailServer, Mood};
use crate::processes::{Api, PASSWORD, Plan, World, engines, free_port, fresh_email, text, until};

const NEW_PASSWORD: &str = "another-Horse-82-staple";
const WAITING: &str =
    "select cast(count(*) as bigint) as n from outbox where kind = 'mail' and state = 'pending' and attempts > 0";
const UNSENT: &str = "select cast(count(*) as bigint) as n from outbox where kind = 'mail' and state <> 'sent'";
const TOLD: &str = "select cast(count(*) as bigint) as n from outbox where kind = 'customer_update' and state = 'sent'";
const KEPT: &str = "select cast(count(*) as bigint) as n from outbox where body_text like '%cfl%'";

/// Signs up, and answers address and session.
async fn sign_up(world: &World, api: &Api) -> (String, String, String) {
    let (status, answer) = api.try_sign_up(&fresh_email()).await.expect("the server answers");
    assert_eq!((status, &answer["license"]), (201, &Value::Null), "{answer}");
    let (id, email) = (text(&answer["customer"], "customer_id"), text(&answer["customer"], "email"));
    let session = text(&answer, "token");
    world.keep_secret("a session token", session);
    (id.to_owned(), email.to_owned(), session.to_owned())
}

/// The token of the link to this page, in the one mail that has such a link and went to this address.
fn token(server: &MailServer, email: &str, path: &str) -> String {
    let start = format!("{path}?token=");
    let taken = server.taken();
    // The transfer may break long lines and write `=` in another way.
    let whole = taken.iter().map(|mail| mail.replace("=\n", "").replace("=3D", "="));
    let found: Vec<String> =
        whole.filter(|mail| mail.contains(&format!("To: {email}")) && mail.contains(&start)).collect();
    assert_eq!(found.len(), 1, "one mail to {email} leads to {path}: {taken:#?}");
    let (_, rest) = found[0].split_once(&start).expect("the link");
    rest.split_whitespace().next().expect("a token").to_owned()
}

/// Opens the link as a mail program does, and uses it.
async fn use_link(world: &World, api: &Api, path: &str, token: &str, body: Value) -> Option<u16> {
    world.keep_secret("the token of a link", token);
    world.http.get(format!("{}{path}?token={token}", api.url)).send().await.expect("a page");
    let call = match path {
        "/password/reset" => "/api/customers/password/reset".to_owned(),
        other => format!("/api/customers{other}"),
    };
    let answer = world.http.post(format!("{}{call}", api.url)).json(&body).send().await.expect("an answer");
    Some(answer.status().as_u16())
}

async fn story(engine: Engine) {
    let port = free_port();
    let settings = vec![
        ("SMTP_URL", format!("smtp://127.0.0.1:{port}")),
        ("COUNTERFOIL_MAIL_FROM", "Billing <billing@vendor.example>".to_owned()),
        ("COUNTERFOIL_EMAIL_VERIFICATION", "required".to_owned()),
        ("RUST_LOG", "info,counterfoil=trace".to_owned()),
    ];
    let world = World::of(Plan { settings, ..Plan::new(engine, 1) }).await;
    let api = world.api(0);
    let (_, ada, _) = sign_up(&world, &api).await;
    let (bob_id, bob, session) = sign_up(&world, &api).await;
    let wish = json!({
        "customer_id": bob_id, "plan": "professional",
        "success_url": "http://localhost:3000/success", "cancel_url": "http://localhost:3000/cancel",
    });
    assert_eq!(
        api.post("/api/subscriptions/checkout", Some(&session), &wish).await.map(|(status, _)| status),
        Some(200)
    );
    let new = fresh_email();
    let wish = json!({ "new_email": new, "current_password": PASSWORD });
    api.post("/api/customers/email", Some(&session), &wish).await;
    api.post("/api/customers/password/forgot", None, &json!({ "email": ada })).await;
    until("five mails that could not be sent", || async { (world.count(WAITING, "").await == 5).then_some(()) }).await;

    let server = MailServer::start_at(&format!("127.0.0.1:{port}"), &[Mood::Takes]).await;
    until("all mails sent", || async { (world.count(UNSENT, "").await == 0).then_some(()) }).await;
    assert_eq!(server.taken().len(), 5, "each once");
    assert_eq!(world.count(KEPT, "").await, 0, "a link that is sent is not kept");

    let verify = token(&server, &ada, "/email/verify");
    let reset = token(&server, &ada, "/password/reset");
    let confirm = token(&server, &new, "/email/confirm");
    token(&server, &bob, "/email/object");
    for (path, token, body) in [
        ("/email/verify", &verify, json!({ "token": verify })),
        ("/password/reset", &reset, json!({ "token": reset, "new_password": NEW_PASSWORD })),
        ("/email/confirm", &confirm, json!({ "token": confirm })),
    ] {
        let status = use_link(&world, &api, path, token, body).await;
        assert!(matches!(status, Some(200 | 204)), "{path}: {status:?}");
    }
    until("the provider told", || async { (world.count(TOLD, "").await == 1).then_some(()) }).await;
    until("all mails sent", || async { (world.count(UNSENT, "").await == 0).then_some(()) }).await;
    let links = server.taken().iter().filter(|mail| mail.contains("?token=")).count();
    assert_eq!(links, 5, "none was sent again");

    let metrics =
        world.http.get(format!("{}/metrics", api.url)).send().await.expect("numbers").text().await.expect("text");
    let at_provider = ["sandbox.log", "stripe.log"].map(|file| {
        String::from_utf8_lossy(&std::fs::read(world.folder.path().join(file)).expect("a log")).into_owned()
    });
    assert!(at_provider[1].contains(&new), "the provider knows the new address");
    for (place, seen) in [("the numbers", &metrics), ("a log", &at_provider[0]), ("the provider", &at_provider[1])] {
        assert!(!seen.contains("cfl_"), "the token of a link is in {place}");
    }
    // What the server's own log holds is looked at when the world ends.
}

#[tokio::test]
async fn mails_with_links_are_sent_once_when_the_mail_server_is_back_and_their_tokens_are_nowhere_else() {
    for engine in engines("mails with links") {
        story(engine).await;
    }
}
