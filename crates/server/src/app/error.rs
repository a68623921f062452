//! What a use case answers when it does not answer what was asked: a refusal or a failure, never mixed.

use counterfoil_core::Refusal;

use crate::db::DbError;
use crate::providers::ProviderError;

/// A no, or the world broke.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A business no; nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Something outside did not work.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// What broke, and with it whether trying again helps.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The database.
    #[error("database: {0}")]
    Database(#[from] DbError),
    /// The payment provider.
    #[error("payment provider: {0}")]
    Provider(#[from] ProviderError),
    /// Somebody else works on this customer, or took over while we slept; nothing was written.
    #[error("another worker holds this customer's lease")]
    CustomerBusy,
    /// The provider's customer is being created at this moment, or was left half made.
    #[error("the customer's counterpart at the provider is still in the making")]
    CounterpartInTheMaking,
    /// Too many password hashes wait already.
    #[error("too many password checks at once")]
    HasherBusy,
    /// As many exports as may be are under way.
    #[error("too many exports at once")]
    ExportsBusy,
    /// A stored error of the provider has to be waited out.
    #[error("the provider answers with a stored error until {until}")]
    ProviderKeyPoisoned {
        /// When the next try makes sense.
        until: counterfoil_core::Timestamp,
    },
    /// The process is shutting down.
    #[error("the service is stopping")]
    Stopping,
    /// An event names a customer of ours that is not in the book: not committed yet, or lost with an older backup.
    #[error("the event names a customer that is not in the book")]
    NotInBook,
    /// The provider knows no such customer, and has not said that the key belongs to the account that this database was used with.
    #[error(
        "the payment provider knows no such customer, and did not say whether its API key belongs to this database's account: use \
         the key of that account, and give a restricted key the permission to read it"
    )]
    OtherAccount,
    /// This process does not hold the active signing key. An operator mends it, and whatever waits is done then.
    #[error("no license can be signed: {0}")]
    SigningKey(#[from] crate::keys::KeyError),
    /// What is stored contradicts itself.
    #[error("a stored fact makes no sense: {0}")]
    Corrupt(String),
}

impl From<DbError> for Error {
    fn from(error: DbError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<ProviderError> for Error {
    fn from(error: ProviderError) -> Self {
        Self::Failed(error.into())
    }
}

impl Failure {
    /// Whether the same thing may go well later: by itself, or once an operator has put the signing key back.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Database(error) => error.is_unavailable() || error.is_conflict(),
            Self::Provider(error) => error.is_transient(),
            Self::CustomerBusy
            | Self::CounterpartInTheMaking
            | Self::HasherBusy
            | Self::ExportsBusy
            | Self::ProviderKeyPoisoned { .. }
            | Self::SigningKey(_)
            | Self::Stopping
            | Self::NotInBook => true,
            Self::OtherAccount | Self::Corrupt(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use counterfoil_core::Timestamp;

    use super::*;
    use crate::keys::KeyError;

    /// What is transient is tried again within minutes; for the rest somebody is called, and it waits for an hour.
    #[test]
    fn what_may_go_well_by_itself_is_told_from_what_needs_somebody() {
        let detail = || "as it was told".to_owned();
        let until = Timestamp::from_unix_seconds(1_790_000_000);
        for (failure, may_go_well) in [
            (Failure::from(DbError::Unavailable { detail: detail() }), true),
            (Failure::from(DbError::Conflict { detail: detail() }), true),
            (Failure::from(DbError::ForeignKey), false),
            (Failure::from(ProviderError::KeyInUse), true),
            (Failure::from(ProviderError::CustomerMissing), false),
            (Failure::CustomerBusy, true),
            (Failure::CounterpartInTheMaking, true),
            (Failure::HasherBusy, true),
            (Failure::ExportsBusy, true),
            (Failure::ProviderKeyPoisoned { until }, true),
            (Failure::from(KeyError::NoneActive), true),
            (Failure::Stopping, true),
            (Failure::NotInBook, true),
            (Failure::OtherAccount, false),
            (Failure::Corrupt(detail()), false),
        ] {
            assert_eq!(failure.is_transient(), may_go_well, "{failure}");
        }
    }
}
