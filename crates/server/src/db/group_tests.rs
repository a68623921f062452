//! Commits that are shared: who hears what, and when.

use std::fs::{File, TryLockError};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use counterfoil_core::Timestamp;
use tokio::task::{JoinHandle, yield_now};

use super::open::Pools;
use super::testing::{TestDb, fresh};
use super::writer::Writer;
use super::{CommitCounts, Db, DbError, Engine, Tx};

const NOON: Timestamp = Timestamp::from_unix_seconds(1_793_534_400);

const INSERT: &str = "insert into customers (customer_id, email, password_hash, created_at, updated_at) \
     values ($1, $1 || '@example.com', 'x', $2, $2)";

async fn insert(tx: &mut Tx, id: &str) -> Result<u64, DbError> {
    tx.query(INSERT).bind(id).bind(NOON).execute().await
}

/// Through a reader, so that only what was committed is seen.
async fn stored(db: &Db) -> Vec<String> {
    let rows = db.query("select customer_id from customers order by customer_id").all().await.unwrap();
    rows.iter().map(|row| row.get("customer_id").unwrap()).collect()
}

fn writer(db: &Db) -> &Writer {
    let Pools::Sqlite(pools) = &db.inner.pools else { panic!("a test of SQLite") };
    pools.writer.as_ref().unwrap()
}

/// A database in which a group grows for as long as somebody waits, however slow the machine is.
async fn patient() -> TestDb {
    let db = fresh(Engine::Sqlite).await;
    writer(&db).turn_alone().await.unwrap().session().unwrap().be_patient(Duration::from_secs(3600));
    db
}

fn since(db: &Db, before: CommitCounts) -> (u64, u64) {
    let now = db.commit_counts();
    (now.commits - before.commits, now.members - before.members)
}

/// Starts a task and returns when it stands in the queue as number `place`, counted from 1.
async fn queue<T: Send + 'static>(
    db: &Db,
    place: usize,
    work: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    let task = tokio::spawn(work);
    while writer(db).waiting() < place {
        yield_now().await;
    }
    task
}

/// A transaction that inserts one customer and commits.
fn inserting(db: &Db, id: impl Into<String>) -> impl Future<Output = Result<(), DbError>> + Send + 'static {
    let (db, id) = (db.clone(), id.into());
    async move {
        let mut tx = db.begin().await?;
        insert(&mut tx, &id).await?;
        tx.commit().await
    }
}

#[tokio::test]
async fn a_commit_is_told_after_the_one_that_contains_it_and_not_before() {
    let db = patient().await;
    let before = db.commit_counts();
    let mut first = db.begin().await.unwrap();
    insert(&mut first, "first").await.unwrap();
    let next = db.db.clone();
    let second = queue(&db, 1, async move { next.begin().await.unwrap() }).await;

    let mut told = Box::pin(first.commit());
    let mut second = {
        let at_once = poll_fn(|context| Poll::Ready(told.as_mut().poll(context))).await;
        assert!(at_once.is_pending(), "somebody waits, so the connection went on");
        second.await.unwrap()
    };
    assert_eq!(
        second.query("select 1 as one from customers where customer_id = 'first'").all().await.unwrap().len(),
        1
    );
    insert(&mut second, "second").await.unwrap();
    assert_eq!(stored(&db).await, Vec::<String>::new(), "nobody else sees what is not committed");
    let still = poll_fn(|context| Poll::Ready(told.as_mut().poll(context))).await;
    assert!(still.is_pending(), "told before the commit");
    assert_eq!(since(&db, before), (0, 0));

    second.commit().await.unwrap();
    assert_eq!(stored(&db).await, ["first", "second"]);
    told.await.unwrap();
    assert_eq!(since(&db, before), (1, 2));
}

#[tokio::test]
async fn a_lone_transaction_waits_for_nobody() {
    let db = patient().await;
    let before = db.commit_counts();
    for number in 1..=3 {
        inserting(&db, format!("c{number}")).await.unwrap();
        assert_eq!(stored(&db).await.len(), number, "seen as soon as it was told");
    }
    let alone = db.query(INSERT).bind("c4").bind(NOON).execute().await;
    assert_eq!((alone, stored(&db).await.len()), (Ok(1), 4));
    assert_eq!(since(&db, before), (4, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_wait_share_commits_of_sixty_four() {
    let db = patient().await;
    let before = db.commit_counts();
    let mut first = db.begin().await.unwrap();
    insert(&mut first, "first").await.unwrap();
    let mut tasks = Vec::new();
    for number in 1..=200 {
        tasks.push(queue(&db, number, inserting(&db, format!("c{number}"))).await);
    }
    first.commit().await.unwrap();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(stored(&db).await.len(), 201);
    assert_eq!(since(&db, before), (4, 201));
}

#[tokio::test]
async fn a_group_that_is_old_takes_in_nobody() {
    let db = fresh(Engine::Sqlite).await;
    writer(&db).turn_alone().await.unwrap().session().unwrap().be_patient(Duration::ZERO);
    let before = db.commit_counts();
    let mut first = db.begin().await.unwrap();
    insert(&mut first, "first").await.unwrap();
    let second = queue(&db, 1, inserting(&db, "second")).await;
    first.commit().await.unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(since(&db, before), (2, 2));
}

#[tokio::test]
async fn single_statements_share_a_commit_and_fail_alone() {
    let db = patient().await;
    let before = db.commit_counts();
    let mut first = db.begin().await.unwrap();
    insert(&mut first, "first").await.unwrap();
    let mut tasks = Vec::new();
    for (place, id) in ["a", "first", "b", "b", "c"].into_iter().enumerate() {
        let db_of_task = db.db.clone();
        let write = async move { db_of_task.query(INSERT).bind(id).bind(NOON).execute().await };
        tasks.push(queue(&db, place + 1, write).await);
    }
    first.commit().await.unwrap();
    let mut told = Vec::new();
    for task in tasks {
        told.push(task.await.unwrap());
    }
    assert!(
        matches!(told[1], Err(DbError::UniqueViolation { .. }))
            && matches!(told[3], Err(DbError::UniqueViolation { .. }))
    );
    assert_eq!((&told[0], &told[2], &told[4]), (&Ok(1), &Ok(1), &Ok(1)));
    assert_eq!(stored(&db).await, ["a", "b", "c", "first"]);
    assert_eq!(since(&db, before), (1, 4));
}

/// A statement that waits in the queue, and asks for the number of rows that it changed.
async fn queue_write(db: &TestDb, place: usize, sql: &'static str) -> JoinHandle<Result<u64, DbError>> {
    let own = db.db.clone();
    queue(db, place, async move { own.query(sql).execute().await }).await
}

const X: &str = "update customers set company_name = company_name || 'x'";
const Y: &str = "update customers set company_name = company_name || 'y'";

/// What is alike goes to the engine as one text, several times.
#[tokio::test]
async fn statements_that_wait_are_each_done_once_and_in_their_order() {
    for waiting in [&[X][..], &[X, Y], &[X, X, X, X, X, Y, Y, X]] {
        let db = patient().await;
        let mut first = db.begin().await.unwrap();
        insert(&mut first, "first").await.unwrap();
        first.query("update customers set company_name = ''").execute().await.unwrap();
        let before = db.commit_counts();
        let mut tasks = Vec::new();
        for (place, sql) in waiting.iter().enumerate() {
            tasks.push(queue_write(&db, place + 1, sql).await);
        }
        first.commit().await.unwrap();
        for task in tasks {
            assert_eq!(task.await.unwrap(), Ok(1));
        }
        let row = db.query("select company_name as name from customers").one().await.unwrap();
        let expected: String = waiting.iter().map(|sql| if *sql == X { 'x' } else { 'y' }).collect();
        assert_eq!(row.get::<String>("name").unwrap(), expected);
        assert_eq!(since(&db, before), (1, waiting.len() as u64 + 1));
    }
}

#[tokio::test]
async fn statements_that_wait_share_commits_of_sixty_four_as_well() {
    for (count, commits) in [(63, 1), (64, 2), (65, 2)] {
        let db = patient().await;
        let before = db.commit_counts();
        let mut first = db.begin().await.unwrap();
        insert(&mut first, "first").await.unwrap();
        let mut tasks = Vec::new();
        for place in 1..=count {
            tasks.push(queue_write(&db, place, X).await);
        }
        first.commit().await.unwrap();
        for task in tasks {
            assert_eq!(task.await.unwrap(), Ok(1));
        }
        assert_eq!(since(&db, before), (commits, count as u64 + 1));
    }
}

#[tokio::test]
async fn whoever_is_alone_commits_alone_also_where_others_wait() {
    let db = patient().await;
    for id in ["first", "second"] {
        let mut alone = writer(&db).begin_alone().await.unwrap();
        alone.connection().unwrap();
        let waiting = queue(&db, 1, inserting(&db, id)).await;
        alone.commit().await.unwrap();
        waiting.await.unwrap().unwrap();
    }
    assert_eq!(stored(&db).await, ["first", "second"]);
}

#[tokio::test]
async fn statements_that_waited_for_one_who_gave_up_share_a_commit() {
    for count in 1..=3 {
        let db = patient().await;
        let before = db.commit_counts();
        let first = db.begin().await.unwrap();
        let mut tasks = Vec::new();
        for place in 1..=count {
            tasks.push(queue_write(&db, place, X).await);
        }
        first.rollback().await.unwrap();
        for task in tasks {
            assert_eq!(task.await.unwrap(), Ok(0));
        }
        assert_eq!(since(&db, before), (1, count as u64));
    }
}

/// Every way to end but a commit, between two who commit.
#[tokio::test]
async fn whoever_gives_up_takes_only_the_own_work_back() {
    for way in ["rolls back", "is dropped", "fails", "is abandoned", "is cancelled", "never takes its turn"] {
        let db = patient().await;
        let mut first = db.begin().await.unwrap();
        insert(&mut first, "first").await.unwrap();
        let own = db.db.clone();
        let giving_up = async move {
            let mut tx = own.begin().await.unwrap();
            insert(&mut tx, "lost").await.unwrap();
            match way {
                "rolls back" => tx.rollback().await.unwrap(),
                "is dropped" => drop(tx),
                "fails" => {
                    assert!(insert(&mut tx, "first").await.is_err());
                    assert_eq!(tx.commit().await, Err(DbError::Spoiled));
                }
                "is abandoned" => {
                    let count = "with recursive n (i) as (select 1 union all select i + 1 from n where i < 300000) \
                         select count(*) as total from n";
                    let mut counting = Box::pin(tx.query(count).one());
                    assert!(poll_fn(|context| Poll::Ready(counting.as_mut().poll(context))).await.is_pending());
                }
                _ => std::future::pending().await,
            }
        };
        let lost = queue(&db, 1, giving_up).await;
        if way == "never takes its turn" {
            lost.abort();
        }
        let last = queue(&db, 2, inserting(&db, "last")).await;
        let mut told = Box::pin(first.commit());
        if way == "is cancelled" {
            assert!(poll_fn(|context| Poll::Ready(told.as_mut().poll(context))).await.is_pending());
            // It has the connection, and wants to keep it.
            for _ in 0..50 {
                yield_now().await;
            }
            lost.abort();
        }
        told.await.unwrap();
        last.await.unwrap().unwrap();
        assert!(lost.await.is_ok() || way.starts_with("is c") || way.starts_with("never"), "{way}");
        assert_eq!(stored(&db).await, ["first", "last"], "{way}");
        inserting(&db, "after").await.unwrap();
    }
}

/// The others are committed although the last one of the group does not commit.
#[tokio::test]
async fn a_group_whose_last_member_gives_up_is_committed() {
    for way in ["rolls back", "is dropped", "is cancelled before it begins"] {
        let db = patient().await;
        let before = db.commit_counts();
        let mut first = db.begin().await.unwrap();
        insert(&mut first, "first").await.unwrap();
        let own = db.db.clone();
        let last = queue(&db, 1, async move {
            let mut tx = own.begin().await.unwrap();
            insert(&mut tx, "lost").await.unwrap();
            if way == "rolls back" {
                tx.rollback().await.unwrap();
            }
        })
        .await;
        if way.starts_with("is cancelled") {
            // It is told that it is its turn, and is no more when it could hear that.
            let mut told = Box::pin(first.commit());
            assert!(poll_fn(|context| Poll::Ready(told.as_mut().poll(context))).await.is_pending());
            last.abort();
            told.await.unwrap();
        } else {
            first.commit().await.unwrap();
        }
        let _ = last.await;
        assert_eq!(stored(&db).await, ["first"], "{way}");
        assert_eq!(since(&db, before), (1, 1), "{way}");
    }
}

#[tokio::test]
async fn a_commit_that_fails_is_told_to_the_whole_group_and_the_next_one_is_well() {
    let db = patient().await;
    let before = db.commit_counts();
    let mut first = db.begin().await.unwrap();
    insert(&mut first, "first").await.unwrap();
    let own = db.db.clone();
    let second = queue(&db, 1, async move {
        let mut tx = own.begin().await?;
        // As nothing in the schema does it: what refers to nobody is found out by the commit.
        tx.query("pragma defer_foreign_keys = on").execute().await?;
        let orphan = "insert into sessions (token_hash, session_id, customer_id, device, network, created_at, \
             last_seen_at, expires_at) values ('t', 's', 'nobody', 'd', 'n', $1, $1, $1)";
        tx.query(orphan).bind(NOON).execute().await?;
        tx.commit().await
    })
    .await;
    assert_eq!(first.commit().await, Err(DbError::ForeignKey));
    assert_eq!(second.await.unwrap(), Err(DbError::ForeignKey));
    assert_eq!(stored(&db).await, Vec::<String>::new());
    assert_eq!(since(&db, before), (0, 0));
    inserting(&db, "after").await.unwrap();
    assert_eq!(stored(&db).await, ["after"]);
}

/// SQLite answers a full disk with a rollback of all that is open, which the others have to hear.
#[tokio::test]
async fn a_full_disk_in_the_middle_of_a_group_is_told_to_all_of_it() {
    for alone in [true, false] {
        let db = patient().await;
        let pages = db.query("select page_count as n from pragma_page_count").one().await.unwrap();
        db.raw(&format!("pragma max_page_count = {}", pages.get::<i64>("n").unwrap() + 50)).await.unwrap();
        let mut first = db.begin().await.unwrap();
        insert(&mut first, "first").await.unwrap();
        let own = db.db.clone();
        let filling = async move {
            let big = "insert into webhook_inbox (source, provider, account, event_id, event_type, livemode, body, state, \
                 attempts, run_at, received_at) values ('webhook', 'p', '', 'e', 't', false, $2, 'pending', 0, $1, $1)";
            let body = vec![7_u8; 1 << 22];
            if alone {
                return own.query(big).bind(NOON).bind(body).execute().await.map(|_| ());
            }
            let mut tx = own.begin().await?;
            tx.query(big).bind(NOON).bind(body).execute().await?;
            tx.commit().await
        };
        let full = queue(&db, 1, filling).await;
        let last = queue(&db, 2, inserting(&db, "last")).await;
        let told = first.commit().await.unwrap_err();
        assert!(told.is_unavailable(), "{told:?}");
        assert!(matches!(full.await.unwrap(), Err(DbError::Full { .. })));
        last.await.unwrap().unwrap();
        assert_eq!(stored(&db).await, ["last"], "whoever comes after it is well");
        db.raw("pragma max_page_count = 1000000").await.unwrap();
        inserting(&db, "with space").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_first_is_served_first() {
    let db = patient().await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let first = db.begin().await.unwrap();
    let mut tasks = Vec::new();
    for number in 1..=100 {
        let (own, order) = (db.db.clone(), Arc::clone(&order));
        let work = async move {
            let mut tx = own.begin().await.unwrap();
            order.lock().unwrap().push(number);
            insert(&mut tx, &format!("c{number}")).await.unwrap();
            tx.commit().await.unwrap();
        };
        tasks.push(queue(&db, number, work).await);
    }
    first.rollback().await.unwrap();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), (1..=100).collect::<Vec<_>>());
}

/// Tasks that are cancelled in any moment, among others that are not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_cancellation_what_was_told_is_stored_and_nothing_is_half_done() {
    let db = fresh(Engine::Sqlite).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for number in 0..400_u64 {
        let (own, told) = (db.db.clone(), Arc::clone(&told));
        let task = tokio::spawn(async move {
            let id = format!("c{number}");
            let mut tx = own.begin().await?;
            insert(&mut tx, &id).await?;
            tx.query("update customers set company_name = 'whole' where customer_id = $1").bind(&id).execute().await?;
            tx.commit().await?;
            told.lock().unwrap().push(id);
            Ok::<_, DbError>(())
        });
        tasks.push(task);
        if number % 3 == 0 {
            // Ever other moments, without a clock.
            for _ in 0..number % 17 {
                yield_now().await;
            }
            tasks[usize::try_from(number / 2).unwrap()].abort();
        }
    }
    for task in tasks {
        if let Ok(done) = task.await {
            done.unwrap();
        }
    }
    let half = db.query("select count(*) as n from customers where company_name is null").one().await.unwrap();
    assert_eq!(half.get::<i64>("n").unwrap(), 0);
    let stored = stored(&db).await;
    let told = told.lock().unwrap().clone();
    assert!(told.len() > 100, "{} were told", told.len());
    assert!(told.iter().all(|id| stored.contains(id)), "told, and not stored");
}

/// A command beside a server that is never idle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_gets_its_turn_under_constant_load() {
    let db = fresh(Engine::Sqlite).await;
    let (over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..8)
        .map(|worker| {
            let (own, over, done) = (db.db.clone(), Arc::clone(&over), Arc::clone(&done));
            tokio::spawn(async move {
                for number in 0..100_000 {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    inserting(&own, format!("w{worker}n{number}")).await.unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let command = Db::open_shared(db.url()).await.unwrap();
    for turn in 0..3 {
        let before = done.load(Ordering::Relaxed);
        while done.load(Ordering::Relaxed) < before + 20 {
            yield_now().await;
        }
        inserting(&command, format!("command{turn}")).await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    for worker in load {
        worker.await.unwrap();
    }
    command.close().await;
    assert_eq!(stored(&db).await.len(), done.load(Ordering::Relaxed) + 3);
}

#[tokio::test]
async fn closing_waits_for_those_who_were_there_before() {
    let db = patient().await;
    let mut first = db.begin().await.unwrap();
    insert(&mut first, "first").await.unwrap();
    let second = queue(&db, 1, inserting(&db, "second")).await;
    let own = db.db.clone();
    let closing = queue(&db, 2, async move { own.close().await }).await;
    first.commit().await.unwrap();
    second.await.unwrap().unwrap();
    closing.await.unwrap();
    assert!(db.begin().await.unwrap_err().is_unavailable());
    let again = Db::open(db.url()).await.unwrap();
    assert_eq!(stored(&again).await, ["first", "second"]);
    again.close().await;
}

type Writing = Pin<Box<dyn Future<Output = Result<(), DbError>> + Send>>;

/// Whether a process beside the server asks for its turn.
fn is_asked(turns: &File) -> bool {
    let is_asked = matches!(turns.try_lock_shared(), Err(TryLockError::WouldBlock));
    turns.unlock().unwrap();
    is_asked
}

/// A server that is never idle looks at this before it begins again.
#[tokio::test]
async fn a_command_asks_for_its_turn_until_it_has_it() {
    let db = fresh(Engine::Sqlite).await;
    let command = Db::open_shared(db.url()).await.unwrap();
    let turns = File::open(format!("{}.turn", db.url().trim_start_matches("sqlite://"))).unwrap();
    let (in_tx, alone) = (command.clone(), command.clone());
    let statement = async move { alone.query(INSERT).bind("alone").bind(NOON).execute().await.map(drop) };
    let asked: [Writing; 2] = [Box::pin(inserting(&in_tx, "in_tx")), Box::pin(statement)];
    for asked in asked {
        let mut busy = db.begin().await.unwrap();
        busy.query("update customers set company_name = 'Acme'").execute().await.unwrap();
        let writing = tokio::spawn(asked);
        let asks = async {
            while !is_asked(&turns) {
                yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(4), asks).await.expect("it asks while it waits");
        busy.commit().await.unwrap();
        writing.await.unwrap().unwrap();
        assert!(!is_asked(&turns), "it has had its turn");
    }
    assert_eq!(stored(&db).await, ["alone", "in_tx"]);
    command.close().await;
}
