//! What is believed of a customer's counterpart at the provider, and of the account in which it is looked for.

use std::sync::atomic::Ordering;

use counterfoil_core::facts::Facts;
use counterfoil_core::{AttemptId, ExternalCustomerId, ExternalSessionId, probe};

use super::start::{self, StartError};
use super::{App, Error, Failure};
use crate::providers::PaymentProvider;

impl App {
    /// Everything that the provider knows of this customer, under the operator's policy for open disputes.
    ///
    /// # Errors
    /// Failures of the provider; [`Failure::OtherAccount`] where it knows no such customer and may be the wrong one to ask.
    pub(super) async fn fetch_facts(
        &self,
        provider: &dyn PaymentProvider,
        external: &ExternalCustomerId,
        sessions: &[(AttemptId, ExternalSessionId)],
    ) -> Result<Facts, Error> {
        let facts = provider.fetch_facts(external, sessions).await?;
        if facts.customer_unknown {
            self.require_our_account().await?;
        }
        Ok(facts.under(self.settings.dispute_policy))
    }

    /// In another account than ours every customer would look deleted, and what ended cannot begin again. So where the provider
    /// knows no such customer, it has to have said whose key this is.
    ///
    /// # Errors
    /// [`Failure::OtherAccount`]; failures of the provider and the database.
    pub(super) async fn require_our_account(&self) -> Result<(), Error> {
        if self.signals.is_our_account.load(Ordering::Relaxed) {
            return Ok(());
        }
        probe!("F43");
        let Some(account) = self.provider.account_id().await? else { return Err(Failure::OtherAccount.into()) };
        match start::bind_account(&self.db, account).await {
            Ok(()) => {
                self.signals.is_our_account.store(true, Ordering::Relaxed);
                Ok(())
            }
            Err(StartError::Failed(error)) => Err(error),
            Err(other) => {
                tracing::error!(error = %other, "the API key was changed under a running service");
                Err(Failure::OtherAccount.into())
            }
        }
    }
}
