//! What is believed of a customer's counterpart at the provider, and of the account in which it is looked for.

use std::sync::atomic::Ordering;

use counterfoil_core::facts::Facts;
use counterfoil_core::link::LinkState;
use counterfoil_core::{AttemptId, CustomerId, ExternalCustomerId, ExternalSessionId, probe};

use super::start::{self, StartError};
use super::{App, Error, Failure};
use crate::providers::PaymentProvider;
use crate::store;

impl App {
    /// The customer's counterpart at this provider, where there is one. One in the making is none yet.
    ///
    /// # Errors
    /// Failures of the database.
    pub(super) async fn active_counterpart(
        &self,
        customer_id: &CustomerId,
        provider: &str,
    ) -> Result<Option<ExternalCustomerId>, Error> {
        let mut tx = self.db.begin_read().await?;
        let link = store::links::find_newest(&mut tx, customer_id, provider).await?;
        tx.rollback().await?;
        Ok(match link.map(|link| link.state) {
            Some(LinkState::Active(external)) => Some(external),
            Some(LinkState::Creating | LinkState::Poisoned { .. } | LinkState::Retired) | None => None,
        })
    }

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
