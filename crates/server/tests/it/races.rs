//! Races between real processes on one database: whatever happens at once, each thing happens once.

use std::sync::Arc;

use counterfoil::db::Engine;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, Mutex};
use tokio::task::JoinSet;

use crate::processes::{Api, Customer, Plan, World, fresh_email, has_postgres, now, text, until};

const VERSIONS: &str = "select cast(count(*) as bigint) as n from licenses where customer_id = $1";
const VERSION_MAILS: &str = "select cast(count(*) as bigint) as n from outbox where customer_id = $1 and kind = 'mail'";
const CUSTOMERS: &str = "select cast(count(*) as bigint) as n from customers where email = $1";
const TRIALS: &str = "select cast(count(*) as bigint) as n from trial_ledger";
const WAITING_MAILS: &str = "select cast(count(*) as bigint) as n from outbox where state = 'pending'";
const SENT_MAILS: &str = "select cast(count(*) as bigint) as n from outbox where state = 'sent' and attempts = 1";
const EVENTS: &str = "select cast(count(*) as bigint) as n from webhook_inbox where event_type = $1";

/// Runs the same thing `count` times, all at the same moment, spread over the servers.
async fn at_once<T, W>(apis: &[Api], count: usize, act: impl Fn(Api, usize) -> W) -> Vec<T>
where
    T: Send + 'static,
    W: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(Barrier::new(count));
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let (start, acting) = (Arc::clone(&start), act(apis[number % apis.len()].clone(), number));
        tasks.spawn(async move {
            start.wait().await;
            acting.await
        });
    }
    tasks.join_all().await
}

fn apis(world: &World) -> Vec<Api> {
    (0..world.servers.len()).map(|index| world.api(index)).collect()
}

async fn fifty_checkouts(engine: Engine, servers: usize) {
    let world = World::new(engine, servers).await;
    let ada = world.api(0).sign_up().await;
    let answers = at_once(&apis(&world), 50, |api, _| {
        let ada = ada.clone();
        async move { api.try_checkout(&ada).await }
    })
    .await;

    let mut urls = Vec::new();
    for answer in answers {
        let (status, body) = answer.expect("every request is answered");
        assert_eq!(status, 200, "{body}");
        urls.push(text(&body, "checkout_url").to_owned());
    }
    urls.dedup();
    assert_eq!(urls.len(), 1, "one page to pay on for all of them: {urls:?}");
    assert_eq!(world.stripe.customers_of(&ada.id).await.len(), 1);
    let sessions = world.stripe.sessions_of(&ada.id).await;
    assert_eq!(sessions.len(), 1, "not even an expired one: {sessions:?}");
    assert_eq!((&sessions[0]["status"], &sessions[0]["url"]), (&json!("open"), &json!(urls[0])));
}

#[tokio::test]
async fn fifty_checkouts_at_once_over_two_servers_open_one_session_of_one_customer() {
    if has_postgres("fifty checkouts over two servers") {
        fifty_checkouts(Engine::Postgres, 2).await;
    }
}

#[tokio::test]
async fn fifty_checkouts_at_once_on_one_server_open_one_session_of_one_customer() {
    fifty_checkouts(Engine::Sqlite, 1).await;
}

/// Different wishes at once: whoever comes last decides, and never are two sessions payable.
#[tokio::test]
async fn checkouts_for_different_plans_at_once_leave_one_open_session() {
    let mut plan = Plan::new(Engine::Sqlite, 1);
    // Secrets are in no log however much is logged.
    plan.settings = vec![("RUST_LOG", "debug".to_owned())];
    let world = World::of(plan).await;
    let ada = world.api(0).sign_up().await;
    let answers = at_once(&apis(&world), 12, |api, number| {
        let ada = ada.clone();
        let plan = ["professional", "starter"][number % 2];
        let body = json!({
            "customer_id": ada.id, "plan": plan,
            "success_url": "http://localhost:3000/success", "cancel_url": "http://localhost:3000/cancel",
        });
        async move { api.post("/api/subscriptions/checkout", Some(&ada.token), &body).await }
    })
    .await;
    for answer in answers {
        let (status, body) = answer.expect("every request is answered");
        assert_eq!(status, 200, "{body}");
    }
    assert_eq!(world.stripe.customers_of(&ada.id).await.len(), 1);
    let sessions = world.stripe.sessions_of(&ada.id).await;
    assert_eq!(sessions.iter().filter(|session| session["status"] == "open").count(), 1, "{sessions:?}");
}

#[tokio::test]
async fn one_event_twenty_times_at_once_brings_one_version_and_one_mail() {
    if !has_postgres("one event twenty times over two servers") {
        return;
    }
    let world = World::new(Engine::Postgres, 2).await;
    // Stripe's own deliveries are lost, so that ours are the only ones.
    world.stripe.fault(json!({ "webhooks": { "drop": 1_000 } })).await;
    let ada = world.api(0).sign_up().await;
    let url = world.api(1).checkout(&ada).await;
    assert_eq!(world.stripe.pay(&url).await, 303);
    let (body, signature) =
        world.stripe.signed_events("checkout.session.completed", now()).await.pop().expect("the event happened");

    let answers = at_once(&apis(&world), 20, |api, _| {
        let (body, signature) = (body.clone(), signature.clone());
        async move { api.deliver(&body, &signature).await }
    })
    .await;
    assert_eq!(answers, vec![Some(200); 20]);
    world.paid(&ada.id).await;
    world.quiet().await;
    assert_eq!(world.count(EVENTS, "checkout.session.completed").await, 1, "stored once");
    assert_eq!(world.count(VERSIONS, &ada.id).await, 2, "the trial's license and the paid one");
    assert_eq!(world.count(VERSION_MAILS, &ada.id).await, 2, "one mail for each");

    // The same news under other names: what changed is asked, not what was told.
    for kind in ["customer.subscription.created", "invoice.paid"] {
        for (body, signature) in world.stripe.signed_events(kind, now()).await {
            let answers = at_once(&apis(&world), 4, |api, _| {
                let (body, signature) = (body.clone(), signature.clone());
                async move { api.deliver(&body, &signature).await }
            })
            .await;
            assert_eq!(answers, vec![Some(200); 4]);
        }
    }
    world.quiet().await;
    assert_eq!((world.count(VERSIONS, &ada.id).await, world.count(VERSION_MAILS, &ada.id).await), (2, 2));
}

#[tokio::test]
async fn sign_ups_of_one_address_in_several_spellings_make_one_account() {
    let engines = crate::processes::engines("sign-ups of one address at once");
    for engine in engines {
        let servers = if engine == Engine::Postgres { 2 } else { 1 };
        let world = World::new(engine, servers).await;
        let email = fresh_email();
        world.keep_secret("an address", &email);
        let spellings = [email.clone(), email.to_uppercase(), format!(" {email} "), email.replace("ada", "Ada")];
        let answers = at_once(&apis(&world), 12, |api, number| {
            let spelling = spellings[number % spellings.len()].clone();
            async move { api.try_sign_up(&spelling).await }
        })
        .await;
        let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.as_ref().expect("an answer").0).collect();
        statuses.sort_unstable();
        assert_eq!(statuses[0], 201, "one goes through: {statuses:?}");
        let is_told = |status: &u16| matches!(status, 409 | 429);
        assert!(statuses[1] == 409 && statuses[1..].iter().all(is_told), "the others are told so: {statuses:?}");
        assert_eq!(world.count(CUSTOMERS, &email).await, 1);
        assert_eq!(world.count(TRIALS, "").await, 1);
        for (_, answer) in answers.into_iter().flatten().filter(|(status, _)| *status == 409) {
            assert_eq!(answer["code"], "email_taken");
        }
    }
}

#[tokio::test]
async fn two_servers_that_start_at_once_on_an_empty_database_are_one_service() {
    if !has_postgres("two servers that start at once") {
        return;
    }
    let mut plan = Plan::new(Engine::Postgres, 2);
    plan.start = false;
    let mut world = World::of(plan).await;
    let (first, second) = world.servers.split_at_mut(1);
    tokio::join!(first[0].start(), second[0].start());
    const INSTANCES: &str = "select cast(count(*) as bigint) as n from instance";
    assert_eq!(world.count(INSTANCES, "").await, 1);

    // Each signs with a key of its own here, and each vouches for what the other has signed.
    let ada = world.api(0).sign_up().await;
    for server in 0..2 {
        let body = json!({ "token": ada.license });
        let (status, answer) = world.api(server).post("/api/licenses/validate", None, &body).await.expect("an answer");
        assert_eq!((status, &answer["valid"]), (200, &json!(true)), "{answer}");
    }
}

#[tokio::test]
async fn two_workers_on_one_outbox_send_each_mail_once() {
    if !has_postgres("two workers on one outbox") {
        return;
    }
    let sink = MailSink::start().await;
    let mut plan = Plan::new(Engine::Postgres, 2);
    plan.start = false;
    plan.settings = vec![
        ("SMTP_URL", format!("smtp://{}", sink.address)),
        ("COUNTERFOIL_MAIL_FROM", "Billing <billing@counterfoil.test>".to_owned()),
    ];
    let mut world = World::of(plan).await;
    world.servers[0].start_with(&["--roles", "web"]).await;
    let mut customers: Vec<Customer> = Vec::new();
    for _ in 0..10 {
        customers.push(world.api(0).sign_up().await);
    }
    assert_eq!(world.count(WAITING_MAILS, "").await, 10, "without a worker, nothing is sent");

    world.servers[0].kill();
    let (first, second) = world.servers.split_at_mut(1);
    let workers = ["--roles", "worker"];
    tokio::join!(first[0].start_with(&workers), second[0].start_with(&workers));
    let (status, problem) = world.api(0).get("/api/plans", None).await;
    assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "who only works serves nobody but the operator");
    assert_eq!(world.api(0).get("/livez", None).await.0, 200);
    until("ten mails sent at the first try", || async { (world.count(SENT_MAILS, "").await == 10).then_some(()) })
        .await;
    let mails = sink.mails.lock().await;
    let mut ids: Vec<&str> = mails.iter().map(|mail| mail.message_id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((mails.len(), ids.len()), (10, 10), "each went out once");
    for customer in &customers {
        let own = mails.iter().filter(|mail| mail.recipient == customer.email).collect::<Vec<_>>();
        assert_eq!(own.len(), 1);
        assert!(own[0].lines.contains(&customer.license[..40]), "the license is in the mail");
    }
}

/// A mail server that takes everything.
pub(crate) struct MailSink {
    address: std::net::SocketAddr,
    mails: Arc<Mutex<Vec<Taken>>>,
}

struct Taken {
    message_id: String,
    recipient: String,
    /// Soft line breaks undone.
    lines: String,
}

impl MailSink {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mails = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&mails);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take_mails(stream, Arc::clone(&taken)));
            }
        });
        Self { address, mails }
    }
}

async fn take_mails(stream: TcpStream, taken: Arc<Mutex<Vec<Taken>>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 sink\r\n").await?;
    let (mut line, mut recipient) = (String::new(), String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let answer: &[u8] = match line.get(..4).map(str::to_ascii_uppercase).as_deref() {
            Some("RCPT") => {
                recipient = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                b"250 ok\r\n"
            }
            Some("DATA") => {
                stream.write_all(b"354 go on\r\n").await?;
                let mail = read_mail(&mut stream, &recipient).await?;
                taken.lock().await.push(mail);
                b"250 taken\r\n"
            }
            Some("QUIT") => return stream.write_all(b"221 bye\r\n").await,
            _ => b"250 ok\r\n",
        };
        stream.write_all(answer).await?;
    }
}

async fn read_mail(stream: &mut BufReader<TcpStream>, recipient: &str) -> std::io::Result<Taken> {
    let mut mail = Taken { message_id: String::new(), recipient: recipient.to_owned(), lines: String::new() };
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 || line == ".\r\n" {
            return Ok(mail);
        }
        if let Some(id) = line.strip_prefix("Message-ID:") {
            mail.message_id = id.trim().to_owned();
        }
        let line = line.trim_end_matches(['\r', '\n']);
        match line.strip_suffix('=') {
            Some(part) => mail.lines.push_str(part),
            None => {
                mail.lines.push_str(line);
                mail.lines.push('\n');
            }
        }
    }
}
