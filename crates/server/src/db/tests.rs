//! The waist on both engines: values there and back, transactions, errors, locks, migrations and equal schemas.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use counterfoil_core::Timestamp;

use super::migrate::POSTGRES_LOCK_SQL;
use super::testing::{TestDb, empty, engines, fresh};
use super::{Db, DbError, Engine, SchemaState, Tx};

const NOON: Timestamp = Timestamp::from_unix_seconds(1_793_534_400);

async fn insert_customer(tx: &mut Tx, id: &str, email: &str) -> Result<u64, DbError> {
    tx.query(
        "insert into customers (customer_id, email, password_hash, created_at, updated_at) values ($1, $2, 'x', $3, $3)",
    )
    .bind(id)
    .bind(email)
    .bind(NOON)
    .execute()
    .await
}

async fn count_customers(db: &Db) -> i64 {
    db.query("select count(*) as n from customers").one().await.unwrap().get("n").unwrap()
}

#[tokio::test]
async fn every_kind_of_value_comes_back_as_it_went_in() {
    for engine in engines() {
        let db = empty(engine).await;
        let (time, bytes) = match engine {
            Engine::Sqlite => ("text", "blob"),
            Engine::Postgres => ("timestamptz", "bytea"),
        };
        let table = format!("create table kinds (name text, number bigint, flag boolean, moment {time}, body {bytes})");
        db.raw(&table).await.unwrap();
        let moment = NOON.plus_millis(1).plus_days(-20_000);
        let insert = "insert into kinds (name, number, flag, moment, body) values ($1, $2, $3, $4, $5)";
        let full =
            db.query(insert).bind("naïve ' \" 名").bind(i64::MIN).bind(true).bind(moment).bind(vec![0u8, 255, 1]);
        assert_eq!(full.execute().await.unwrap(), 1);
        let nulls = db.query(insert).bind(None::<String>).bind(None::<i64>).bind(None::<bool>).bind(None::<Timestamp>);
        assert_eq!(nulls.bind(None::<Vec<u8>>).execute().await.unwrap(), 1);

        let row = db.query("select * from kinds where number = $1").bind(i64::MIN).one().await.unwrap();
        assert_eq!(row.get::<String>("name").unwrap(), "naïve ' \" 名");
        assert_eq!(row.get::<Option<String>>("name").unwrap().as_deref(), Some("naïve ' \" 名"));
        assert_eq!(row.get::<i64>("number").unwrap(), i64::MIN);
        assert!(row.get::<bool>("flag").unwrap());
        assert_eq!(row.get::<Timestamp>("moment").unwrap(), moment);
        assert_eq!(row.get::<Option<Timestamp>>("moment").unwrap(), Some(moment));
        assert_eq!(row.get::<Vec<u8>>("body").unwrap(), vec![0, 255, 1]);
        assert!(matches!(row.get::<i64>("missing"), Err(DbError::Other { .. })), "no such column");

        let row = db.query("select * from kinds where number is null").one().await.unwrap();
        assert_eq!(row.get::<Option<String>>("name").unwrap(), None);
        assert_eq!(row.get::<Option<i64>>("number").unwrap(), None);
        assert_eq!(row.get::<Option<bool>>("flag").unwrap(), None);
        assert_eq!(row.get::<Option<Timestamp>>("moment").unwrap(), None);
        assert_eq!(row.get::<Option<Vec<u8>>>("body").unwrap(), None);
        assert!(row.get::<Timestamp>("moment").is_err(), "NULL needs an Option");
        assert!(row.get::<i64>("number").is_err() && row.get::<String>("name").is_err());
    }
}

#[tokio::test]
async fn expressions_read_alike_on_both_engines() {
    for engine in engines() {
        let db = fresh(engine).await;
        let row = db
            .query(
                "select 1 as one, count(*) as n, cast(sum(id) as bigint) as total, exists (select 1 from customers) as some, \
                 max(created_at) as newest from customers",
            )
            .one()
            .await
            .unwrap();
        assert_eq!(row.get::<i64>("one").unwrap(), 1);
        assert_eq!(row.get::<i64>("n").unwrap(), 0);
        assert_eq!(row.get::<Option<i64>>("total").unwrap(), None);
        assert!(!row.get::<bool>("some").unwrap());
        assert_eq!(row.get::<Option<Timestamp>>("newest").unwrap(), None);
    }
}

#[tokio::test]
async fn times_compare_in_the_database_as_they_do_here() {
    for engine in engines() {
        let db = fresh(engine).await;
        let mut tx = db.begin().await.unwrap();
        insert_customer(&mut tx, "a", "a@example.com").await.unwrap();
        let before = NOON.plus_millis(-1);
        let find = "select customer_id from customers where created_at > $1 and created_at <= $2";
        assert!(tx.query(find).bind(before).bind(NOON).optional().await.unwrap().is_some());
        assert!(tx.query(find).bind(NOON).bind(NOON.plus_days(1)).optional().await.unwrap().is_none());
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn commit_keeps_and_rollback_and_drop_undo() {
    for engine in engines() {
        let db = fresh(engine).await;
        let mut tx = db.begin().await.unwrap();
        assert_eq!(insert_customer(&mut tx, "a", "a@example.com").await.unwrap(), 1);
        tx.commit().await.unwrap();
        let mut tx = db.begin().await.unwrap();
        insert_customer(&mut tx, "b", "b@example.com").await.unwrap();
        tx.rollback().await.unwrap();
        let mut tx = db.begin().await.unwrap();
        insert_customer(&mut tx, "c", "c@example.com").await.unwrap();
        drop(tx);
        assert_eq!(count_customers(&db).await, 1);
    }
}

#[tokio::test]
async fn a_transaction_that_sqlite_ended_by_itself_leaves_no_dead_connection_behind() {
    let db = fresh(Engine::Sqlite).await;
    let mut tx = db.begin().await.unwrap();
    // As a full disk does it: the transaction is gone, and sqlx has not heard of it.
    tx.query("rollback").execute().await.unwrap();
    assert!(tx.commit().await.is_err(), "there was nothing left to commit");

    let mut tx = db.begin().await.unwrap();
    insert_customer(&mut tx, "cust_after", "after@example.com").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(count_customers(&db).await, 1);
}

#[tokio::test]
async fn returning_hands_out_rows_and_rows_affected_counts() {
    for engine in engines() {
        let db = fresh(engine).await;
        let mut tx = db.begin().await.unwrap();
        insert_customer(&mut tx, "a", "a@example.com").await.unwrap();
        insert_customer(&mut tx, "b", "b@example.com").await.unwrap();
        tx.commit().await.unwrap();
        let rename = "update customers set company_name = $1 where company_name is null returning customer_id";
        assert_eq!(db.query(rename).bind("Test Corp").all().await.unwrap().len(), 2);
        let found = db.query("update customers set updated_at = $1 where company_name = 'Test Corp'").bind(NOON);
        assert_eq!(found.execute().await.unwrap(), 2);
        assert_eq!(db.query("delete from customers where customer_id = 'z'").execute().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_unique_violation_names_its_columns_alike_and_spoils_the_transaction() {
    for engine in engines() {
        let db = fresh(engine).await;
        let mut tx = db.begin().await.unwrap();
        insert_customer(&mut tx, "a", "same@example.com").await.unwrap();
        let error = insert_customer(&mut tx, "b", "same@example.com").await.unwrap_err();
        assert!(error.is_unique("customers.email"), "{engine:?}: {error:?}");
        assert!(!error.is_unique("customers.customer_id"));
        assert!(!format!("{error:?} {error}").contains("same@example.com"), "no value leaks");
        assert_eq!(insert_customer(&mut tx, "c", "c@example.com").await, Err(DbError::Spoiled));
        assert_eq!(tx.commit().await, Err(DbError::Spoiled));
        assert_eq!(count_customers(&db).await, 0, "{engine:?}");
    }
}

/// SQLite keeps it; a caller of PostgreSQL has to send another text.
#[tokio::test]
async fn a_text_with_a_nul_is_told_apart_from_a_mistake_of_ours() {
    for engine in engines().into_iter().filter(|engine| *engine == Engine::Postgres) {
        let db = fresh(engine).await;
        let asked = db.query("select customer_id from customers where email = $1").bind("a\0b").optional().await;
        let told = asked.err();
        assert!(matches!(told, Some(DbError::BadText { .. })), "{told:?}");
    }
}

#[tokio::test]
async fn one_current_billing_link_a_customer_and_provider() {
    for engine in engines() {
        let db = fresh(engine).await;
        let mut tx = db.begin().await.unwrap();
        insert_customer(&mut tx, "a", "a@example.com").await.unwrap();
        tx.commit().await.unwrap();
        let insert = "insert into billing_links (customer_id, provider, generation, state, idempotency_key, email, \
             frozen_params, opened_at, livemode, created_at, updated_at) \
             values ('a', 'stripe', $1, $2, $3, 'a@example.com', '{}', $4, $5, $4, $4)";
        let link = |generation: i64, state: &'static str, key: &'static str| {
            db.query(insert).bind(generation).bind(state).bind(key).bind(NOON).bind(false)
        };
        link(1, "retired", "k1").execute().await.unwrap();
        link(2, "creating", "k2").execute().await.unwrap();
        let second = link(3, "active", "k3").execute().await.unwrap_err();
        assert!(second.is_unique("billing_links.customer_id,provider"), "{engine:?}: {second:?}");
        let again = link(2, "retired", "k4").execute().await.unwrap_err();
        assert!(again.is_unique("billing_links.customer_id,provider,generation"), "{engine:?}: {again:?}");
        let key = link(5, "retired", "k2").execute().await.unwrap_err();
        assert!(key.is_unique("billing_links.idempotency_key"), "{engine:?}: {key:?}");
        assert!(matches!(link(6, "dreaming", "k6").execute().await, Err(DbError::Other { .. })), "the check on state");
    }
}

#[tokio::test]
async fn foreign_keys_hold_and_cascade() {
    for engine in engines() {
        let db = fresh(engine).await;
        let insert = "insert into sessions (token_hash, session_id, customer_id, device, network, created_at, \
             last_seen_at, expires_at) values ('t', 's', $1, 'd', 'n', $2, $2, $2)";
        let orphan = db.query(insert).bind("nobody").bind(NOON).execute().await;
        assert_eq!(orphan, Err(DbError::ForeignKey), "{engine:?}");
        let mut tx = db.begin().await.unwrap();
        insert_customer(&mut tx, "a", "a@example.com").await.unwrap();
        tx.commit().await.unwrap();
        db.query(insert).bind("a").bind(NOON).execute().await.unwrap();
        db.query("delete from customers where customer_id = 'a'").execute().await.unwrap();
        assert!(db.query("select token_hash from sessions").optional().await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_tasks_never_see_a_busy_database() {
    for engine in engines() {
        let db = fresh(engine).await;
        let tasks: Vec<_> = (0..50)
            .map(|number| {
                let db = db.db.clone();
                tokio::spawn(async move {
                    let mut tx = db.begin().await?;
                    let n: i64 = tx.query("select count(*) as n from customers").one().await?.get("n")?;
                    insert_customer(&mut tx, &format!("c{number}"), &format!("c{number}@example.com")).await?;
                    tx.commit().await?;
                    count_customers(&db).await;
                    Ok::<_, DbError>(n)
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(count_customers(&db).await, 50);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_task_leaves_no_transaction_behind() {
    for engine in engines() {
        let db = fresh(engine).await;
        // Cancelled after ever more steps of the scheduler: in the acquire, in `begin`, in a statement, in the commit.
        for step in 0..60u64 {
            let running = db.db.clone();
            let task = tokio::spawn(async move {
                let mut tx = running.begin().await?;
                insert_customer(&mut tx, &format!("c{step}"), &format!("c{step}@example.com")).await?;
                tx.query("update customers set company_name = 'half' where customer_id = $1")
                    .bind(format!("c{step}"))
                    .execute()
                    .await?;
                tx.query("update customers set company_name = 'whole' where customer_id = $1")
                    .bind(format!("c{step}"))
                    .execute()
                    .await?;
                tx.commit().await
            });
            tokio::time::sleep(Duration::from_micros(step * 40)).await;
            task.abort();
            let _ = task.await;
            let half =
                db.query("select count(*) as n from customers where company_name is null or company_name = 'half'");
            assert_eq!(half.one().await.unwrap().get::<i64>("n").unwrap(), 0, "{engine:?}, step {step}");
        }
        let mut tx = db.begin().await.unwrap();
        insert_customer(&mut tx, "last", "last@example.com").await.unwrap();
        tx.commit().await.unwrap();
        let last = db.query("select id from customers where customer_id = 'last'");
        assert!(
            last.optional().await.unwrap().is_some(),
            "{engine:?}: the write was not swallowed by a stray transaction"
        );
    }
}

#[tokio::test]
async fn a_statement_that_was_abandoned_spoils_the_transaction() {
    for engine in engines() {
        let db = fresh(engine).await;
        let mut tx = db.begin().await.unwrap();
        insert_customer(&mut tx, "a", "a@example.com").await.unwrap();
        {
            // Long enough to be under way after one poll, on a fast machine, too.
            let count = "with recursive n (i) as (select 1 union all select i + 1 from n where i < 300000) \
                 select count(*) as total from n";
            let mut counting = Box::pin(tx.query(count).one());
            let first_poll = std::future::poll_fn(|context| std::task::Poll::Ready(counting.as_mut().poll(context)));
            assert!(first_poll.await.is_pending(), "the statement is on its way");
        }
        assert_eq!(tx.commit().await, Err(DbError::Spoiled));
        assert_eq!(count_customers(&db).await, 0, "{engine:?}");
    }
}

#[tokio::test]
async fn a_second_server_process_on_the_same_file_is_refused_but_commands_work() {
    let db = fresh(Engine::Sqlite).await;
    let second = Db::open(db.url()).await.unwrap_err();
    assert!(matches!(&second, DbError::Locked { path } if path.ends_with("counterfoil.db")), "{second:?}");
    assert!(second.to_string().contains("stop it first"));

    let command = Db::open_shared(db.url()).await.unwrap();
    let mut tx = command.begin().await.unwrap();
    insert_customer(&mut tx, "a", "a@example.com").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(count_customers(&db).await, 1);
    command.close().await;

    db.close().await;
    let restarted = Db::open(db.url()).await.unwrap();
    assert_eq!(count_customers(&restarted).await, 1);
    restarted.close().await;
}

#[tokio::test]
async fn a_read_only_handle_reads_beside_the_server_and_writes_nothing() {
    for engine in engines() {
        let db = fresh(engine).await;
        let mut tx = db.begin().await.unwrap();
        insert_customer(&mut tx, "a", "a@example.com").await.unwrap();
        tx.commit().await.unwrap();

        let reader = Db::open_read_only(db.url()).await.unwrap();
        assert_eq!(count_customers(&reader).await, 1);
        assert!(matches!(reader.schema_state().await.unwrap(), SchemaState::Current { .. }));
        assert_eq!(reader.query("delete from customers").execute().await, Err(DbError::ReadOnly));
        let hidden = "with gone as (select 1) delete from customers returning id";
        assert_eq!(reader.query(hidden).all().await.unwrap_err(), DbError::ReadOnly);
        let mut tx = reader.begin().await.unwrap();
        assert!(tx.query("select id from customers").optional().await.unwrap().is_some());
        assert!(tx.query("delete from customers").execute().await.is_err(), "{engine:?}: refused by the engine itself");
        drop(tx);
        assert_eq!(count_customers(&db).await, 1);
        reader.close().await;
    }
}

#[tokio::test]
async fn a_url_that_cannot_be_opened_says_why_without_the_password() {
    let missing = Db::open_read_only("sqlite:///nowhere/at/all.db").await.unwrap_err();
    assert!(missing.is_unavailable() && missing.to_string().contains("/nowhere/at/all.db"), "{missing}");
    for url in [
        "mysql://root:hunter2@db/billing",
        "sqlite::memory:",
        "sqlite://x.db?mode=memory",
        "sqlite://",
        "postgres://u:hunter2@[::1/x",
    ] {
        let error = Db::open(url).await.unwrap_err();
        assert!(matches!(error, DbError::BadUrl { .. }), "{url}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
    let refused = Db::open("postgres://billing:hunter2@127.0.0.1:1/billing").await.unwrap_err();
    assert!(refused.is_unavailable() && refused.to_string().contains("127.0.0.1:1"), "{refused}");
    assert!(!format!("{refused} {refused:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_server_that_ends_our_connections_is_unavailable_and_then_well_again() {
    for engine in engines() {
        if engine == Engine::Sqlite {
            continue;
        }
        let db = fresh(engine).await;
        let mut tx = db.begin().await.unwrap();
        tx.query("select 1 as one").one().await.unwrap();
        let other = Db::open(db.url()).await.unwrap();
        let ended = "select pg_terminate_backend(pid) as done from pg_stat_activity \
             where datname = current_database() and pid <> pg_backend_pid()";
        other.query(ended).all().await.unwrap();
        // The signal is on its way when the call returns, so a few statements may still go through.
        let error = loop {
            match tx.query("select 1 as one").one().await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        };
        assert!(error.is_unavailable(), "{error:?}");
        drop(tx);
        db.ping().await.unwrap();
        other.close().await;
    }
}

#[tokio::test]
async fn migrating_is_idempotent_and_reports() {
    for engine in engines() {
        let db = empty(engine).await;
        let SchemaState::Pending { versions } = db.schema_state().await.unwrap() else {
            panic!("nothing is applied yet")
        };
        assert!(matches!(db.require_current_schema().await, Err(DbError::SchemaMismatch { .. })));
        let first = db.migrate().await.unwrap();
        assert_eq!(first.applied, versions);
        let second = db.migrate().await.unwrap();
        assert_eq!((second.applied, second.version), (vec![], first.version));
        assert_eq!(db.schema_state().await.unwrap(), SchemaState::Current { version: first.version });
        db.require_current_schema().await.unwrap();
    }
}

#[tokio::test]
async fn two_processes_that_migrate_at_once_both_succeed() {
    for engine in engines() {
        let db = empty(engine).await;
        let other = Db::open_shared(db.url()).await.unwrap();
        let (one, two) = tokio::join!(db.migrate(), other.migrate());
        assert_eq!(one.unwrap().applied.len() + two.unwrap().applied.len(), 1, "{engine:?}");
        other.close().await;
    }
}

/// Whoever looks at what is applied before the other is through would apply it once more.
#[tokio::test]
async fn a_migration_waits_for_the_one_that_is_under_way() {
    for engine in engines().into_iter().filter(|engine| *engine == Engine::Postgres) {
        let db = empty(engine).await;
        let mut first = db.begin_migration().await.unwrap();
        first.query(POSTGRES_LOCK_SQL).execute().await.unwrap();
        let other = db.db.clone();
        let second = tokio::spawn(async move { other.migrate().await });
        let waiting = "select 1 as one from pg_locks l join pg_database d on d.oid = l.database \
             where d.datname = current_database() and l.locktype = 'advisory' and not l.granted";
        while db.query(waiting).optional().await.unwrap().is_none() {
            assert!(!second.is_finished(), "it did not wait");
        }
        first.rollback().await.unwrap();
        assert_eq!(second.await.unwrap().unwrap().applied.len(), 1);
    }
}

#[tokio::test]
async fn a_database_of_a_newer_release_is_refused() {
    for engine in engines() {
        let db = fresh(engine).await;
        db.raw(
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
             select 9001, 'from the future', success, checksum, 1 from _sqlx_migrations where version = 1",
        )
        .await
        .unwrap();
        // What was begun for the first time is over when somebody tries again.
        for _ in 0..2 {
            let error = db.migrate().await.unwrap_err();
            assert!(matches!(error, DbError::NewerSchema { database: 9001, binary } if binary < 9001), "{error:?}");
            assert!(error.to_string().contains("9001"));
        }
        assert!(matches!(db.schema_state().await.unwrap(), SchemaState::Newer { database: 9001, .. }));
        assert!(db.require_current_schema().await.is_err());
    }
}

#[tokio::test]
async fn an_edited_migration_is_refused() {
    for engine in engines() {
        let db = fresh(engine).await;
        let edit = match engine {
            Engine::Sqlite => "update _sqlx_migrations set checksum = x'00'",
            Engine::Postgres => "update _sqlx_migrations set checksum = '\\x00'",
        };
        db.raw(edit).await.unwrap();
        assert!(matches!(db.migrate().await, Err(DbError::SchemaMismatch { .. })), "{engine:?}");
    }
}

/// Table → column → (kind, nullable), and table → its unique sets with the condition left out.
type Schema = (BTreeMap<String, BTreeMap<String, (String, bool)>>, BTreeSet<(String, String)>);

async fn sqlite_schema(db: &TestDb) -> Schema {
    let mut columns: BTreeMap<String, BTreeMap<String, (String, bool)>> = BTreeMap::new();
    let sql = "select m.name as table_name, c.name as column_name, lower(c.type) as kind, \
         c.\"notnull\" = 0 and not (c.pk > 0 and lower(c.type) = 'integer') as nullable \
         from sqlite_master m, pragma_table_info(m.name) c where m.type = 'table' and m.name not like '\\_sqlx%' escape '\\'";
    for row in db.query(sql).all().await.unwrap() {
        let table: String = row.get("table_name").unwrap();
        let entry = (row.get("kind").unwrap(), row.get("nullable").unwrap());
        columns.entry(table).or_default().insert(row.get("column_name").unwrap(), entry);
    }
    let sql = "select m.name as table_name, (select group_concat(name) from (select i.name from \
         pragma_index_info(l.name) i order by i.seqno)) as columns, l.partial as partial \
         from sqlite_master m, pragma_index_list(m.name) l where m.type = 'table' and l.\"unique\" = 1 \
         and m.name not like '\\_sqlx%' escape '\\'";
    let mut unique = BTreeSet::new();
    for row in db.query(sql).all().await.unwrap() {
        let suffix = if row.get::<i64>("partial").unwrap() == 1 { " partial" } else { "" };
        unique.insert((row.get("table_name").unwrap(), row.get::<String>("columns").unwrap() + suffix));
    }
    // `integer primary key` is the row's own number and has no index.
    for (table, table_columns) in &columns {
        if table_columns.contains_key("id") {
            unique.insert((table.clone(), "id".to_owned()));
        }
    }
    (columns, unique)
}

async fn postgres_schema(db: &TestDb) -> Schema {
    let mut columns: BTreeMap<String, BTreeMap<String, (String, bool)>> = BTreeMap::new();
    let sql = "select table_name::text, column_name::text, data_type::text as kind, is_nullable = 'YES' as nullable \
         from information_schema.columns where table_schema = 'public' and table_name not like '\\_sqlx%'";
    for row in db.query(sql).all().await.unwrap() {
        let table: String = row.get("table_name").unwrap();
        let entry = (row.get("kind").unwrap(), row.get("nullable").unwrap());
        columns.entry(table).or_default().insert(row.get("column_name").unwrap(), entry);
    }
    let sql = "select t.relname::text as table_name, (select string_agg(a.attname::text, ',' order by k.n) from \
         unnest(x.indkey::int2[]) with ordinality k(attnum, n) join pg_attribute a on a.attrelid = t.oid \
         and a.attnum = k.attnum) as columns, x.indpred is not null as partial from pg_index x \
         join pg_class t on t.oid = x.indrelid join pg_namespace s on s.oid = t.relnamespace \
         where s.nspname = 'public' and x.indisunique and t.relname not like '\\_sqlx%'";
    let mut unique = BTreeSet::new();
    for row in db.query(sql).all().await.unwrap() {
        let suffix = if row.get("partial").unwrap() { " partial" } else { "" };
        unique.insert((row.get("table_name").unwrap(), row.get::<String>("columns").unwrap() + suffix));
    }
    (columns, unique)
}

/// PostgreSQL's word for a column, as SQLite would write it.
fn as_sqlite_kind(kind: &str, column: &str) -> String {
    match (kind, column) {
        ("bigint", "id") => "integer",
        ("timestamp with time zone", _) => "text",
        ("bytea", _) => "blob",
        (same, _) => same,
    }
    .to_owned()
}

#[tokio::test]
async fn both_engines_have_the_same_schema() {
    let (sqlite_columns, sqlite_unique) = sqlite_schema(&fresh(Engine::Sqlite).await).await;
    assert_eq!(sqlite_columns.len(), 27, "a new table? then count it here: {:?}", sqlite_columns.keys());
    assert!(sqlite_unique.contains(&("licenses".to_owned(), "customer_id,version".to_owned())));
    assert!(sqlite_unique.contains(&("billing_links".to_owned(), "customer_id,provider partial".to_owned())));
    assert!(!sqlite_columns["customers"]["email"].1 && sqlite_columns["customers"]["stripe_customer_id"].1);
    if !engines().contains(&Engine::Postgres) {
        return;
    }
    let (mut postgres_columns, postgres_unique) = postgres_schema(&fresh(Engine::Postgres).await).await;
    for (column, (kind, _)) in postgres_columns.values_mut().flatten() {
        *kind = as_sqlite_kind(kind, column);
    }
    assert_eq!(sqlite_columns, postgres_columns);
    assert_eq!(sqlite_unique, postgres_unique);
}

#[cfg(unix)]
#[tokio::test]
async fn the_database_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;

    let db = fresh(Engine::Sqlite).await;
    let path = db.url().trim_start_matches("sqlite://").to_owned();
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}

/// A standby and a database that is set to read only look the same from here: questions are answered, writes are not taken.
#[tokio::test]
async fn a_database_that_takes_no_writes_is_refused_at_start_and_told_by_the_probe() {
    for engine in engines() {
        if engine == Engine::Sqlite {
            continue;
        }
        let db = fresh(engine).await;
        // Nothing has connected through this one yet, so what it sees is what comes next.
        let running = Db::open(db.url()).await.unwrap();
        let set = "do $$ begin execute format('alter database %I set default_transaction_read_only = on', \
                   current_database()); end $$";
        db.raw(set).await.unwrap();
        let told = Db::open(db.url()).await.unwrap_err();
        assert!(told.is_unavailable() && told.to_string().contains("takes no writes"), "{told}");
        assert!(running.ping().await.unwrap_err().is_unavailable(), "readiness ends");
        Db::open_read_only(db.url()).await.unwrap().ping().await.unwrap();
        running.close().await;
    }
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_as_it_is() {
    for name in ["cut in half", "cut within its header", "another file", "flipped bits in the first page"] {
        let db = fresh(Engine::Sqlite).await;
        db.close().await;
        let path = db.url().strip_prefix("sqlite://").unwrap().to_owned();
        let mut bytes = std::fs::read(&path).unwrap();
        match name {
            "cut in half" => bytes.truncate(bytes.len() / 2),
            "cut within its header" => bytes.truncate(60),
            "another file" => bytes[..16].copy_from_slice(b"-- a text file\n\n"),
            _ => bytes[100..400].iter_mut().for_each(|byte| *byte ^= 0x5a),
        }
        std::fs::write(&path, &bytes).unwrap();
        let started = async {
            let db = Db::open(db.url()).await?;
            let migrated = db.migrate().await;
            db.close().await;
            migrated
        };
        assert!(started.await.is_err(), "{name}: it started");
        assert!(std::fs::read(&path).unwrap() == bytes, "{name}: the file was changed");
    }
}

#[tokio::test]
async fn open_transactions_are_counted_until_they_are_over() {
    for engine in engines() {
        let db = fresh(engine).await;
        assert_eq!(db.open_transactions(), 0);
        let (first, second) = (db.begin().await.unwrap(), db.begin_read().await.unwrap());
        assert_eq!(db.open_transactions(), 2);
        drop(second);
        first.commit().await.unwrap();
        assert_eq!(db.open_transactions(), 0);
    }
}

/// Whoever loses the file and starts all the same would have a new installation, and every customer would be a stranger.
#[tokio::test]
async fn nobody_begins_anew_in_a_file_that_has_lost_its_database() {
    let db = fresh(Engine::Sqlite).await;
    db.close().await;
    let path = db.url().strip_prefix("sqlite://").unwrap().to_owned();
    for is_there in [true, false] {
        std::fs::remove_file(&path).unwrap();
        if is_there {
            std::fs::write(&path, "").unwrap();
        }
        let again = Db::open(db.url()).await.unwrap();
        let told = again.migrate().await.unwrap_err().to_string();
        assert!(told.contains("it is empty now") && told.contains(".lock"), "{told}");
        again.close().await;
    }
    std::fs::remove_file(format!("{path}.lock")).unwrap();
    let anew = Db::open(db.url()).await.unwrap();
    anew.migrate().await.unwrap();
    anew.close().await;
}

#[tokio::test]
async fn that_a_file_is_in_use_is_noted_beside_it_once() {
    let db = fresh(Engine::Sqlite).await;
    db.migrate().await.unwrap();
    let note = std::fs::read_to_string(format!("{}.lock", db.url().trim_start_matches("sqlite://"))).unwrap();
    assert_eq!(note.lines().count(), 1, "{note}");
}

/// What a pooler in transaction mode forgets must not be needed: statements that were prepared before.
#[tokio::test]
async fn no_prepared_statement_outlives_its_transaction_where_the_url_says_so() {
    for engine in engines().into_iter().filter(|engine| *engine == Engine::Postgres) {
        let direct = fresh(engine).await;
        assert!(kept_statements(&direct).await > 0, "what is counted can be there");

        let mark = if direct.url().contains('?') { '&' } else { '?' };
        let pooled = Db::open(&format!("{}{mark}statement-cache-capacity=0", direct.url())).await.unwrap();
        assert_eq!(kept_statements(&pooled).await, 0);
        let mut tx = pooled.begin().await.unwrap();
        assert_eq!(insert_customer(&mut tx, "cust_1", "ada@example.com").await.unwrap(), 1);
        assert_eq!(insert_customer(&mut tx, "cust_2", "bob@example.com").await.unwrap(), 1);
        tx.commit().await.unwrap();
        assert_eq!(count_customers(&pooled).await, 2);
        assert_eq!(pooled.query("update customers set updated_at = $1").bind(NOON).execute().await.unwrap(), 2);
        assert_eq!(
            pooled.query("delete from customers where customer_id = $1").bind("cust_1").execute().await.unwrap(),
            1
        );
        pooled.ping().await.unwrap();
        assert_eq!(kept_statements(&pooled).await, 0);
        assert_eq!(pooled.migrate().await.unwrap().applied, Vec::<i64>::new());
        pooled.close().await;
    }
}

/// How many the session of one transaction holds, after two statements in it.
async fn kept_statements(db: &Db) -> i64 {
    let mut tx = db.begin().await.unwrap();
    tx.query("select count(*) as n from customers").one().await.unwrap();
    let row = tx.query("select count(*) as n from pg_prepared_statements").one().await.unwrap();
    tx.rollback().await.unwrap();
    row.get("n").unwrap()
}
