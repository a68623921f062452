//! SQLite files from outside of the server: filled before a run, counted after it, and written by the bare loop.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OpenFlags, ToSql};

use crate::rows::{Cell, Maker, TABLES};

/// Customers in one transaction of the filling.
const CHUNK: u64 = 10_000;

/// A database file.
pub struct File {
    pub path: PathBuf,
    /// Open as long as the run: every other connection that closes would leave its page cache to be read again.
    looking: Connection,
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Self::Number(number) => ToSqlOutput::Owned(Value::Integer(*number)),
            Self::Flag(flag) => ToSqlOutput::Owned(Value::Integer(i64::from(*flag))),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Time(time) => ToSqlOutput::Owned(Value::Text(time.to_string())),
        })
    }
}

impl File {
    /// Opens a file that the server has made.
    ///
    /// # Errors
    /// Where it is no database.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let looking = Connection::open_with_flags(path, flags).with_context(|| path.display().to_string())?;
        looking.busy_timeout(std::time::Duration::from_secs(10))?;
        Ok(Self { path: path.to_owned(), looking })
    }

    pub fn url(&self) -> String {
        format!("sqlite://{}", self.path.display())
    }

    pub fn number(&self, sql: &str) -> anyhow::Result<i64> {
        Ok(self.looking.query_row(sql, [], |row| row.get(0))?)
    }

    pub fn text(&self, sql: &str) -> anyhow::Result<String> {
        Ok(self.looking.query_row(sql, [], |row| row.get(0))?)
    }

    pub fn numbers(&self, sql: &str) -> anyhow::Result<Vec<i64>> {
        let mut statement = self.looking.prepare(sql)?;
        let numbers = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(numbers)
    }

    /// Writes the rows of these customers, as fast as it goes, and folds the log into the file.
    pub fn fill(&self, maker: &Maker<'_>, numbers: std::ops::Range<u64>) -> anyhow::Result<()> {
        let mut connection = Connection::open(&self.path)?;
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        connection.execute_batch("pragma synchronous = off; pragma cache_size = -524288; pragma foreign_keys = off")?;
        let inserts = TABLES.map(|table| insert_statement(table.name, table.columns));
        let mut first = numbers.start;
        while first < numbers.end {
            let transaction = connection.transaction()?;
            for number in first..numbers.end.min(first + CHUNK) {
                for (insert, row) in inserts.iter().zip(maker.rows(number)).filter(|(_, row)| !row.is_empty()) {
                    transaction.prepare_cached(insert)?.execute(rusqlite::params_from_iter(row))?;
                }
            }
            transaction.commit()?;
            first += CHUNK;
        }
        connection.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))?;
        Ok(())
    }

    /// The size of the file, once the log is folded in.
    pub fn bytes(&self) -> anyhow::Result<u64> {
        self.looking.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))?;
        Ok(std::fs::metadata(&self.path)?.len())
    }
}

fn insert_statement(table: &str, columns: &[&str]) -> String {
    let places: Vec<String> = (1..=columns.len()).map(|place| format!("?{place}")).collect();
    format!("insert into {table} ({}) values ({})", columns.join(", "), places.join(", "))
}
