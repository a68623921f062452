//! Values on their way out of a row, decoded by column name when they are asked for.

use counterfoil_core::Timestamp;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgRow, PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Postgres, Row as _, Type, TypeInfo as _, ValueRef as _};

use super::error::DbError;
use super::value::{POSTGRES_EPOCH_MICROS, PgTime};

/// One row of a result.
pub struct Row {
    inner: RowInner,
}

enum RowInner {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(super) fn sqlite(row: SqliteRow) -> Self {
        Self { inner: RowInner::Sqlite(row) }
    }

    pub(super) fn postgres(row: PgRow) -> Self {
        Self { inner: RowInner::Postgres(row) }
    }

    /// The value of the column called `name`.
    ///
    /// # Errors
    /// [`DbError::Other`] where there is no such column, or its value is of another type, or NULL without an `Option`.
    pub fn get<T: FromColumn>(&self, name: &str) -> Result<T, DbError> {
        let value = match &self.inner {
            RowInner::Sqlite(row) => T::from_sqlite(row, name),
            RowInner::Postgres(row) => T::from_postgres(row, name),
        };
        Ok(value?)
    }

    /// The value of the column called `name`, read from its text by `parse`.
    ///
    /// # Errors
    /// As [`Row::get`], and [`DbError::Other`] where the text does not parse: it was not written by this release.
    pub fn parse<T: std::str::FromStr>(&self, name: &str) -> Result<T, DbError> {
        read(&self.get::<String>(name)?, name)
    }

    /// As [`Row::parse`], where NULL stands for nothing.
    ///
    /// # Errors
    /// As [`Row::parse`].
    pub fn parse_optional<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, DbError> {
        self.get::<Option<String>>(name)?.map(|text| read(&text, name)).transpose()
    }
}

fn read<T: std::str::FromStr>(text: &str, name: &str) -> Result<T, DbError> {
    text.parse().map_err(|_| DbError::other(format!("the column {name} holds a value that this release cannot read")))
}

impl std::fmt::Debug for Row {
    /// Without values: a row may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Row")
    }
}

/// What can be read from a column.
pub trait FromColumn: Sized {
    /// From SQLite.
    ///
    /// # Errors
    /// Where the column is missing or of another type.
    fn from_sqlite(row: &SqliteRow, name: &str) -> Result<Self, sqlx::Error>;
    /// From PostgreSQL.
    ///
    /// # Errors
    /// Where the column is missing or of another type.
    fn from_postgres(row: &PgRow, name: &str) -> Result<Self, sqlx::Error>;
}

/// SQLite would read NULL as 0 or as an empty text, so a value that must be there is read as an `Option` first.
fn required<T>(value: Option<T>, name: &str) -> Result<T, sqlx::Error> {
    value.ok_or_else(|| sqlx::Error::ColumnDecode { index: name.to_owned(), source: "unexpected NULL".into() })
}

macro_rules! required_from_column {
    ($($type:ty),+ $(,)?) => {$(
        impl FromColumn for $type {
            fn from_sqlite(row: &SqliteRow, name: &str) -> Result<Self, sqlx::Error> {
                required(Option::<Self>::from_sqlite(row, name)?, name)
            }

            fn from_postgres(row: &PgRow, name: &str) -> Result<Self, sqlx::Error> {
                required(Option::<Self>::from_postgres(row, name)?, name)
            }
        }
    )+};
}

required_from_column!(String, i64, bool, Vec<u8>, Timestamp);

macro_rules! optional_from_column {
    ($($type:ty),+ $(,)?) => {$(
        impl FromColumn for Option<$type> {
            fn from_sqlite(row: &SqliteRow, name: &str) -> Result<Self, sqlx::Error> {
                row.try_get(name)
            }

            fn from_postgres(row: &PgRow, name: &str) -> Result<Self, sqlx::Error> {
                row.try_get(name)
            }
        }
    )+};
}

optional_from_column!(String, bool, Vec<u8>);

impl FromColumn for Option<i64> {
    fn from_sqlite(row: &SqliteRow, name: &str) -> Result<Self, sqlx::Error> {
        row.try_get(name)
    }

    fn from_postgres(row: &PgRow, name: &str) -> Result<Self, sqlx::Error> {
        Ok(row.try_get::<Option<PgInteger>, _>(name)?.map(|number| number.0))
    }
}

impl FromColumn for Option<Timestamp> {
    fn from_sqlite(row: &SqliteRow, name: &str) -> Result<Self, sqlx::Error> {
        let text: Option<String> = row.try_get(name)?;
        text.map(|text| text.parse())
            .transpose()
            .map_err(|error| sqlx::Error::ColumnDecode { index: name.to_owned(), source: Box::new(error) })
    }

    fn from_postgres(row: &PgRow, name: &str) -> Result<Self, sqlx::Error> {
        Ok(row.try_get::<Option<PgTime>, _>(name)?.map(|time| time.0))
    }
}

impl Decode<'_, Postgres> for PgTime {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        match value.format() {
            PgValueFormat::Binary => {
                let micros: i64 = Decode::<Postgres>::decode(value)?;
                // Saturating, as PostgreSQL's `infinity` is the largest number of all.
                Ok(Self(Timestamp::from_micros(micros.saturating_add(POSTGRES_EPOCH_MICROS))))
            }
            PgValueFormat::Text => Err("times are read in the binary form, which every prepared statement uses".into()),
        }
    }
}

/// Any of PostgreSQL's integers: a literal such as `select 1` is an `int4` there, and SQLite has one integer only.
struct PgInteger(i64);

impl Type<Postgres> for PgInteger {
    fn type_info() -> PgTypeInfo {
        <i64 as Type<Postgres>>::type_info()
    }

    fn compatible(info: &PgTypeInfo) -> bool {
        matches!(info.name(), "INT8" | "INT4" | "INT2")
    }
}

impl Decode<'_, Postgres> for PgInteger {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        let name = value.type_info().name().to_owned();
        Ok(Self(match name.as_str() {
            "INT4" => i64::from(<i32 as Decode<Postgres>>::decode(value)?),
            "INT2" => i64::from(<i16 as Decode<Postgres>>::decode(value)?),
            _ => <i64 as Decode<Postgres>>::decode(value)?,
        }))
    }
}
