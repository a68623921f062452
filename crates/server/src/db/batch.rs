//! The same statement for many, in one call to the driver.
//!
//! A call wakes the connection's thread and is woken by it, which costs more than an insert does. So statements that wait and are
//! alike go there as one text, with the placeholders of each copy counted on.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Either, Executor as _, SqliteConnection};

use super::error::DbError;
use super::group::Session;
use super::query;
use super::writer::{Queue, Write};

/// How many copies a text has. Few sizes, because the connection keeps each text prepared.
const SIZES: [usize; 4] = [64, 16, 4, 1];

/// The texts that were put together.
#[derive(Default)]
pub(super) struct Texts(HashMap<(&'static str, usize), Arc<str>>);

impl Texts {
    fn copies(&mut self, sql: &'static str, values: usize, count: usize) -> Arc<str> {
        let text = self.0.entry((sql, count)).or_insert_with(|| {
            let copies: Vec<String> = (0..count).map(|copy| moved(sql, copy * values)).collect();
            copies.join(";").into()
        });
        Arc::clone(text)
    }
}

/// The statement with each `$n` as `$(n + by)`.
fn moved(sql: &str, by: usize) -> String {
    let mut parts = sql.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (number, rest) = part.split_at(part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len()));
        text.push('$');
        match number.parse::<usize>() {
            Ok(number) => text.push_str(&(number + by).to_string()),
            Err(_) => text.push_str(number),
        }
        text.push_str(rest);
    }
    text
}

/// Copies of one statement, of which some may be done already.
struct Batch {
    sql: &'static str,
    /// Values of one copy.
    each: usize,
    count: usize,
    done: usize,
    /// Of all copies. A clone shares the values.
    arguments: SqliteArguments,
}

impl Batch {
    /// Executes what is left, until one fails: how many rows those before it changed, and its error. The one that failed counts as
    /// done.
    async fn execute(&mut self, connection: &mut SqliteConnection, texts: &mut Texts) -> (Vec<u64>, Option<DbError>) {
        let mut changed = Vec::with_capacity(self.count - self.done);
        let error = self.run(connection, texts, &mut changed).await.err();
        self.done += changed.len() + usize::from(error.is_some());
        (changed, error)
    }

    async fn run(
        &self,
        connection: &mut SqliteConnection,
        texts: &mut Texts,
        changed: &mut Vec<u64>,
    ) -> Result<(), DbError> {
        let arguments = self.arguments.clone();
        let statement = match (self.done, self.count) {
            (0, 1) => sqlx::query_with(self.sql, arguments),
            (0, count) => {
                let text = texts.copies(self.sql, self.each, count);
                // tidy: allow(sql) because it is a text of the program, several times
                sqlx::query_with(sqlx::AssertSqlSafe(text), arguments)
            }
            // After an error: one by one, and nobody keeps that prepared.
            (done, _) => {
                let text = moved(self.sql, done * self.each);
                // tidy: allow(sql) because it is a text of the program
                sqlx::query_with(sqlx::AssertSqlSafe(text), arguments).persistent(false)
            }
        };
        let mut results = connection.fetch_many(statement);
        while let Some(result) = results.try_next().await? {
            if let Either::Left(result) = result {
                changed.push(result.rows_affected());
            }
        }
        Ok(())
    }
}

impl Session {
    /// Executes statements for those who wait for them. Each is a whole by itself, so none needs a savepoint.
    pub(super) async fn write_all(&mut self, queue: &Queue, mut writes: Vec<Write>) {
        writes.retain(|write| !write.done.is_closed());
        if writes.len() == 1 && self.is_free() && queue.nobody_waits() {
            for Write { sql, values, done } in writes {
                // Who does not wait any more does not hear it.
                let _ = done.send(self.write_alone(queue, sql, values).await);
            }
            return;
        }
        while let Some(first) = writes.first() {
            let (sql, each) = (first.sql, first.values.len());
            let alike = writes.iter().take_while(|write| write.sql == sql && write.values.len() == each).count();
            let size = SIZES.into_iter().find(|size| *size <= alike).unwrap_or(1);
            let now = writes.drain(..size).collect();
            self.write_alike(queue, sql, each, now).await;
        }
    }

    async fn write_alike(&mut self, queue: &Queue, sql: &'static str, each: usize, writes: Vec<Write>) {
        let count = writes.len();
        let (values, waiting): (Vec<_>, Vec<_>) = writes.into_iter().map(|write| (write.values, write.done)).unzip();
        let arguments = query::sqlite_arguments(values.into_iter().flatten());
        let mut batch = Batch { sql, each, count, done: 0, arguments };
        let mut waiting = waiting.into_iter();
        while batch.done < count {
            let (changed, error) = match self.enter_group(queue).await {
                Ok((connection, texts)) => batch.execute(connection, texts).await,
                Err(error) => {
                    // They have all waited for the same file.
                    for done in waiting {
                        let _ = done.send(Err(error.clone()));
                    }
                    return;
                }
            };
            for (changed, done) in changed.into_iter().zip(&mut waiting) {
                self.add(changed, done);
            }
            if let Some(error) = error {
                // Who does not wait any more does not hear it.
                let _ = waiting.next().map(|done| done.send(Err(error)));
                self.notice_rollback();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::open::Pools;
    use crate::db::{Engine, testing};

    #[test]
    fn each_copy_counts_its_placeholders_on() {
        let mut texts = Texts::default();
        let text = texts.copies("insert into t values ($2, $1, $10)", 10, 2);
        assert_eq!(&*text, "insert into t values ($2, $1, $10);insert into t values ($12, $11, $20)");
        assert_eq!(moved("select '$', $1", 3), "select '$', $4");
    }

    /// A call for each would cost more than what they do.
    #[tokio::test]
    async fn statements_that_wait_and_are_alike_go_as_one_text() {
        const SQL: &str = "update customers set company_name = $1";
        let db = testing::fresh(Engine::Sqlite).await;
        let Pools::Sqlite(pools) = &db.inner.pools else { panic!("a test of SQLite") };
        let writer = pools.writer.as_ref().unwrap();
        let first = db.begin().await.unwrap();
        let mut tasks = Vec::new();
        for place in 1..=5 {
            let own = db.db.clone();
            tasks.push(tokio::spawn(async move { own.query(SQL).bind("Acme").execute().await }));
            while writer.waiting() < place {
                tokio::task::yield_now().await;
            }
        }
        first.commit().await.unwrap();
        for task in tasks {
            assert_eq!(task.await.unwrap(), Ok(0));
        }
        let mut lease = writer.begin().await.unwrap();
        let queue = Arc::clone(&lease.queue);
        let (_connection, texts) = lease.session().unwrap().enter_group(&queue).await.unwrap();
        // The last one is a text of its own already.
        assert_eq!(texts.0.keys().collect::<Vec<_>>(), [&(SQL, 4)]);
    }
}
