//! Values on their way into a statement. A NULL keeps its type, because PostgreSQL wants to know it.

use counterfoil_core::{
    ActivationId, ApiKeyId, AttemptId, CustomerId, EffectId, ExternalCustomerId, ExternalSessionId,
    ExternalSubscriptionId, IdempotencyKey, InstanceId, Interval, LicenseId, PlanCode, PriceId, Timestamp,
};
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::{Postgres, Type};

/// A value of one of the types that both engines keep alike.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `text`.
    Text(Option<String>),
    /// `bigint`, on SQLite `integer`.
    Int(Option<i64>),
    /// `boolean`, on SQLite 0 and 1.
    Bool(Option<bool>),
    /// `timestamptz`, on SQLite fixed-width text that sorts as the time does.
    Time(Option<Timestamp>),
    /// `bytea`, on SQLite `blob`.
    Bytes(Option<Vec<u8>>),
}

/// What can be bound to a placeholder.
pub trait IntoValue {
    /// The value.
    fn into_value(self) -> Value;
    /// NULL of this type.
    fn null() -> Value;
}

impl<T: IntoValue> IntoValue for Option<T> {
    fn into_value(self) -> Value {
        self.map_or_else(T::null, T::into_value)
    }

    fn null() -> Value {
        T::null()
    }
}

macro_rules! into_value {
    ($variant:ident: $($type:ty => |$value:ident| $convert:expr),+ $(,)?) => {$(
        impl IntoValue for $type {
            fn into_value(self) -> Value {
                let $value = self;
                Value::$variant(Some($convert))
            }

            fn null() -> Value {
                Value::$variant(None)
            }
        }
    )+};
}

into_value!(Text:
    String => |text| text,
    &String => |text| text.clone(),
    &str => |text| text.to_owned(),
    Interval => |interval| interval.as_str().to_owned(),
);
into_value!(Int:
    i64 => |number| number,
    i32 => |number| i64::from(number),
    u32 => |number| i64::from(number),
);
into_value!(Bool: bool => |flag| flag);
into_value!(Time: Timestamp => |time| time, &Timestamp => |time| *time);
into_value!(Bytes:
    Vec<u8> => |bytes| bytes,
    &Vec<u8> => |bytes| bytes.clone(),
    &[u8] => |bytes| bytes.to_vec(),
    &[u8; 32] => |bytes| bytes.to_vec(),
);

macro_rules! ids_into_value {
    ($($type:ty),+ $(,)?) => {$(
        into_value!(Text: $type => |id| id.as_str().to_owned(), &$type => |id| id.as_str().to_owned());
    )+};
}

ids_into_value!(
    ActivationId,
    ApiKeyId,
    AttemptId,
    CustomerId,
    EffectId,
    ExternalCustomerId,
    ExternalSessionId,
    ExternalSubscriptionId,
    IdempotencyKey,
    InstanceId,
    LicenseId,
    PlanCode,
    PriceId,
);

/// PostgreSQL counts microseconds from 2000-01-01T00:00:00Z.
pub(super) const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A time as `timestamptz` in PostgreSQL's binary form, so that no second time library is needed for it.
pub(super) struct PgTime(pub(super) Timestamp);

impl Type<Postgres> for PgTime {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("timestamptz")
    }
}

impl Encode<'_, Postgres> for PgTime {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let micros = self.0.as_micros() - POSTGRES_EPOCH_MICROS;
        Encode::<Postgres>::encode_by_ref(&micros, buffer)
    }
}
