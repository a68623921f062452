//! Mails: owed with the change that caused them, sent once, later where the mail server wants it so.

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, PoisonError};

use counterfoil::app::App;
use counterfoil::clock::Clock;
use counterfoil::mail::{Letter, Mailer};
use counterfoil::store;
use counterfoil::store::outbox::Mail;
use secrecy::SecretString;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::counts::Counts;
use crate::logs;
use crate::world::World;

/// How the mail server takes one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mood {
    /// It asks to come back.
    Busy,
    /// It hangs up before it has said whether it took the mail.
    HangsUp,
    /// It refuses the recipient for good.
    Refuses,
    Takes,
}

/// A mail server of the test.
pub(crate) struct MailServer {
    url: SecretString,
    taken: Arc<Mutex<Vec<String>>>,
}

impl MailServer {
    /// One mood for each connection, the last for all that follow.
    async fn start(moods: &'static [Mood]) -> Self {
        Self::start_at("127.0.0.1:0", moods).await
    }

    /// The same at a certain address.
    pub(crate) async fn start_at(address: &str, moods: &'static [Mood]) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap()).into();
        let taken: Arc<Mutex<Vec<String>>> = Arc::default();
        let server = Self { url, taken: Arc::clone(&taken) };
        tokio::spawn(async move {
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let mood = moods[number.min(moods.len() - 1)];
                // A conversation that breaks off is part of the test.
                let _ = converse(stream, mood, &taken).await;
            }
        });
        server
    }

    pub(crate) fn taken(&self) -> Vec<String> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn mailer(&self) -> Mailer {
        Mailer::smtp(&self.url, "Billing <billing@example.com>").expect("a mailer")
    }
}

async fn converse(stream: TcpStream, mood: Mood, taken: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    if matches!(mood, Mood::Busy) {
        return writer.write_all(b"421 come back later\r\n").await;
    }
    writer.write_all(b"220 test ready\r\n").await?;
    while let Some(line) = lines.next_line().await? {
        let answer: &[u8] = match line.split(' ').next().unwrap_or_default() {
            "EHLO" => b"250-test\r\n250 8BITMIME\r\n",
            "RCPT" if matches!(mood, Mood::Refuses) => b"550 no such person\r\n",
            "DATA" => {
                writer.write_all(b"354 go on\r\n").await?;
                let mut mail = String::new();
                while let Some(line) = lines.next_line().await?.filter(|line| line != ".") {
                    mail.push_str(&line);
                    mail.push('\n');
                }
                if matches!(mood, Mood::HangsUp) {
                    return Ok(());
                }
                taken.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
                b"250 taken\r\n"
            }
            "QUIT" => return writer.write_all(b"221 bye\r\n").await,
            _ => b"250 fine\r\n",
        };
        writer.write_all(answer).await?;
    }
    Ok(())
}

/// State, tries and last error of the one mail.
async fn the_mail(world: &World) -> (String, i64, Option<String>) {
    let row = world.app.db.query("select state, attempts, last_error from outbox").one().await.unwrap();
    (row.get("state").unwrap(), row.get("attempts").unwrap(), row.get("last_error").unwrap())
}

async fn scenario_81_a_mail_that_was_not_taken_is_sent_later_once(world: &World) {
    let server = MailServer::start(&[Mood::Busy, Mood::HangsUp, Mood::Takes]).await;
    let mailer = server.mailer();
    let ada = world.customer("ada@example.com").await;
    ada.current_license().await.accepted();
    for tries in 1..=2 {
        assert_eq!(world.app.work_outbox(&mailer).await.unwrap(), 1);
        let (state, attempts, error) = the_mail(world).await;
        assert_eq!((state.as_str(), attempts), ("pending", tries));
        assert!(error.is_some_and(|error| !error.contains("ada@")), "an error without the address");
        assert_eq!(world.app.work_outbox(&mailer).await.unwrap(), 0, "not before its time");
        world.sandbox().advance(3600).await;
    }
    world.sandbox().advance(3600).await;
    assert_eq!(world.app.work_outbox(&mailer).await.unwrap(), 1);
    assert_eq!(the_mail(world).await, ("sent".to_owned(), 3, None));
    world.sandbox().advance(7200).await;
    assert_eq!(world.app.work_outbox(&mailer).await.unwrap(), 0);
    let taken = server.taken();
    assert_eq!(taken.len(), 1);
    let effect_id = world.mails().await[0].effect_id.to_string();
    for part in
        ["To: ada@example.com", "From: \"Billing\"", "Subject: Your ", &format!("Message-ID: <{effect_id}@127.0.0.1>")]
    {
        assert!(
            taken[0].contains(part) || taken[0].contains(&part.replace('"', "")),
            "{part} is missing in {}",
            taken[0]
        );
    }
    // The transfer may break a long line; the licence is whole once that is undone.
    let unfolded = taken[0].replace("=\n", "").replace('\n', "");
    assert!(unfolded.contains(&ada.license), "the mail carries the licence");
    let tap = world.http.tap();
    tap.look("the mail on the wire", "a mail server", &taken[0].replace(&effect_id, ""));
}

async fn scenario_81_two_hours_without_a_mail_server_and_then_one_mail(world: &World) {
    let (down, up) = (MailServer::start(&[Mood::Busy]).await, MailServer::start(&[Mood::Takes]).await);
    let ada = world.customer("ada@example.com").await;
    for _ in 0..24 {
        world.app.work_outbox(&down.mailer()).await.unwrap();
        world.sandbox().advance(300).await;
    }
    ada.current_license().await.accepted();
    assert_eq!((the_mail(world).await.0, down.taken().len()), ("pending".to_owned(), 0));
    for _ in 0..4 {
        world.app.work_outbox(&up.mailer()).await.unwrap();
        world.sandbox().advance(600).await;
    }
    assert_eq!((the_mail(world).await.0, up.taken().len()), ("sent".to_owned(), 1));
}

async fn a_mail_that_is_refused_for_good_is_set_aside_for_an_operator(world: &World) {
    world.allow_unsettled();
    let server = MailServer::start(&[Mood::Refuses]).await;
    let (ada, counts) = (world.customer("ada@example.com").await, Counts::begin());
    assert_eq!(world.app.work_outbox(&server.mailer()).await.unwrap(), 1);
    let (state, attempts, error) = the_mail(world).await;
    assert_eq!((state.as_str(), attempts), ("dead", 1));
    assert_eq!((counts.of("mails_dead_total"), counts.of("mails_sent_total")), (1, 0));
    assert!(error.is_some_and(|error| error.contains("550")));
    // The licence does not depend on the mail.
    ada.current_license().await.accepted();
}

async fn a_mail_server_that_is_away_for_days_is_given_up(world: &World) {
    world.allow_unsettled();
    let server = MailServer::start(&[Mood::Busy]).await;
    world.customer("ada@example.com").await;
    let (counts, mut tries) = (Counts::begin(), 0);
    while the_mail(world).await.0 == "pending" {
        tries += world.app.work_outbox(&server.mailer()).await.unwrap();
        world.sandbox().advance(2 * 3600).await;
    }
    assert!((20..=40).contains(&tries), "three days of trying took {tries} tries");
    assert_eq!((the_mail(world).await.0.as_str(), counts.of("mails_dead_total")), ("dead", 1));
    let given_up = world.mails().await[0].effect_id.to_string();
    assert_eq!(logs::told("a mail was given up; an operator has to look", &given_up), 1);
}

async fn two_workers_send_each_mail_once(world: &World) {
    let server = MailServer::start(&[Mood::Takes]).await;
    for number in 0..6 {
        world.customer(&format!("ada{number}@example.com")).await;
    }
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (app, mailer) = (world.app.clone(), server.mailer());
        workers.spawn(async move { while app.work_outbox(&mailer).await.unwrap() > 0 {} });
    }
    workers.join_all().await;
    assert_eq!(server.taken().len(), 6);
    assert_eq!(world.pending().await, 0);
}

/// A worker dies with one mail claimed and another one handed over: five minutes later both are sent by somebody else, the second
/// one for the second time, under the Message-ID that lets a mailbox see that it is the same.
async fn a_worker_that_dies_before_or_after_sending_loses_no_mail(world: &World) {
    let server = MailServer::start(&[Mood::Takes]).await;
    world.customer("ada@example.com").await;
    world.customer("ben@example.com").await;
    let (now, mut tx) = (world.app.now(), world.app.db.begin().await.unwrap());
    let claimed = store::outbox::claim(&mut tx, now, now.plus_seconds(300), 8).await.unwrap();
    tx.commit().await.unwrap();
    let sent = claimed.iter().find(|mail| mail.recipient == "ben@example.com").expect("a mail to Ben");
    let letter = Letter {
        recipient: &sent.recipient,
        subject: &sent.subject,
        body_text: &sent.body_text,
        message_id: &sent.message_id,
    };
    server.mailer().send(&letter).await.unwrap();
    assert_eq!(world.app.work_outbox(&server.mailer()).await.unwrap(), 0, "the dead worker may still be alive");
    let later = App { clock: Clock::with_offset(Arc::new(AtomicI64::new(301))), ..world.app.clone() };
    assert_eq!(later.work_outbox(&server.mailer()).await.unwrap(), 2);
    let taken = server.taken();
    assert_eq!(taken.len(), 3, "{taken:#?}");
    let count = |mail: &Mail| taken.iter().filter(|text| text.contains(&mail.message_id)).count();
    assert_eq!(claimed.iter().map(count).max(), Some(2), "the same Message-ID");
    assert!(claimed.iter().all(|mail| count(mail) > 0), "none is lost");
    assert_eq!(world.pending().await, 0);
}

both_engines!(
    Setup::no_worker();
    a_worker_that_dies_before_or_after_sending_loses_no_mail,
    scenario_81_a_mail_that_was_not_taken_is_sent_later_once,
    scenario_81_two_hours_without_a_mail_server_and_then_one_mail,
    a_mail_that_is_refused_for_good_is_set_aside_for_an_operator,
    a_mail_server_that_is_away_for_days_is_given_up,
    two_workers_send_each_mail_once,
);
