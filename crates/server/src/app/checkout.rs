//! Checkout: at most one open session a customer, and none beside a live subscription.
//!
//! Everything happens under the customer's lease. The attempt is stored before the provider hears of it, its id is the
//! idempotency key, and its bytes are frozen: after a crash the same call finds the same session.

use counterfoil_core::checkout::{
    Currency, OpenAttempt, Wish, carried_trial, carries_as_much, choose_price, refuse_if_live,
};
use counterfoil_core::facts::SessionStatus;
use counterfoil_core::return_url::ATTEMPT_TEMPLATE;
use counterfoil_core::{
    AttemptId, CustomerId, ExternalCustomerId, ExternalSessionId, IdempotencyKey, Interval, PlanCode, Refusal,
    Subscription, Timestamp, planted, probe,
};

use super::customers::find_subscription;
use super::leases::Lease;
use super::operators::Scope;
use super::revocation::refuse_if_held;
use super::sessions::Caller;
use super::settings::CheckoutAuth;
use super::{App, Error, Failure};
use crate::points;
use crate::providers::{CheckoutSession, Made, NewCheckout, PaymentProvider as _, ProviderError};
use crate::store;
use crate::store::attempts::AttemptState;
use crate::store::customers::Customer;

/// Rounds of a checkout: one looks at a customer that is known at the provider, and one opens. The others are there for a
/// customer that was deleted, or an old session that was paid, in between.
const ROUNDS_MAX: usize = 4;

/// What a caller asks for, as it was written.
#[derive(Clone, Debug)]
pub struct CheckoutRequest {
    pub customer_id: String,
    pub plan: PlanCode,
    pub interval: Option<Interval>,
    /// In which currency to pay; the plan's first, or the one that the customer has paid in before.
    pub currency: Option<String>,
    pub success_url: String,
    pub cancel_url: String,
}

/// Where the customer pays.
#[derive(Clone, Debug)]
pub struct CheckoutStarted {
    pub checkout_url: String,
}

/// Our book on a customer who wants to pay.
struct Desk {
    customer: Customer,
    /// Whether any provider may know of a subscription.
    is_known: bool,
    subscription: Subscription,
    /// The one that the provider takes, once that is settled.
    currency: Option<String>,
    open: Vec<OpenAttempt>,
}

/// What a session is to be opened with.
struct Wanted {
    wish: Wish,
    trial_ends_at: Option<Timestamp>,
}

/// What became of an earlier attempt.
pub(super) enum Settled {
    /// It is the one that is wanted, and it can still be paid.
    Reuse(String),
    /// It can no longer be paid.
    Closed,
    /// The customer went through it.
    Completed,
}

impl App {
    /// Opens a checkout, or answers the one that is open already.
    ///
    /// # Errors
    /// Refusals for who asks, what is asked and what the customer has; failures of provider and database, after which
    /// the same call may be repeated.
    pub async fn start_checkout(&self, caller: &Caller, request: CheckoutRequest) -> Result<CheckoutStarted, Error> {
        let customer_id = self.authorize_checkout(caller, &request.customer_id)?;
        points::passed("C1");
        // What can never be sold is refused before anybody waits for the customer.
        self.parse_wish(&request, None)?;
        let mut tx = self.db.begin_read().await?;
        store::customers::find(&mut tx, &customer_id).await?.ok_or(Refusal::CustomerUnknown)?;
        tx.rollback().await?;
        self.limit_provider_for(caller, &customer_id).await?;
        let lease = self.lease(&customer_id).await?;
        let result = self.checkout_under(&lease, &request).await;
        self.release(lease).await;
        result
    }

    /// Whose checkout this caller may start. Somebody else's customer is answered like one that does not exist.
    fn authorize_checkout(&self, caller: &Caller, wanted: &str) -> Result<CustomerId, Refusal> {
        let wanted = wanted.parse::<CustomerId>().ok();
        match (self.settings.checkout_auth, caller) {
            (CheckoutAuth::CustomerId, _) => wanted.ok_or(Refusal::CustomerUnknown),
            (CheckoutAuth::Required, Caller::Anonymous) => Err(Refusal::NotSignedIn),
            (CheckoutAuth::Required, Caller::Customer(own)) => {
                probe!("F78", wanted.as_ref().is_some_and(|wanted| wanted != own));
                wanted.filter(|wanted| wanted == own || planted!("foreign-checkout")).ok_or(Refusal::CustomerUnknown)
            }
            (CheckoutAuth::Required, Caller::Backend { scope, .. }) => {
                if scope.allows(Scope::Checkout) {
                    wanted.ok_or(Refusal::CustomerUnknown)
                } else {
                    Err(Refusal::ScopeMissing)
                }
            }
        }
    }

    fn parse_wish(&self, request: &CheckoutRequest, locked: Option<&str>) -> Result<Wish, Refusal> {
        let asked = request.currency.as_deref().map(str::to_ascii_lowercase);
        let currency = Currency { asked: asked.as_deref(), locked };
        let (plan, price) = choose_price(&self.catalog, &request.plan, request.interval, currency)?;
        let urls = &self.settings.return_urls;
        let not_allowed = |field| move |_| Refusal::ReturnUrlNotAllowed { field };
        let success_url = urls.check(&request.success_url).map_err(not_allowed("success_url"))?;
        let cancel_url = urls.check(&request.cancel_url).map_err(not_allowed("cancel_url"))?;
        Ok(Wish {
            plan: plan.code.clone(),
            interval: price.interval,
            price: price.price_id(),
            success_url: success_url.as_str().to_owned(),
            cancel_url: cancel_url.as_str().to_owned(),
        })
    }

    async fn checkout_under(&self, lease: &Lease, request: &CheckoutRequest) -> Result<CheckoutStarted, Error> {
        let (mut looked, mut loaded) = (false, None);
        for _ in 0..ROUNDS_MAX {
            let desk = match loaded.take() {
                Some(desk) => desk,
                None => self.load_for_checkout(lease).await?,
            };
            let wish = self.parse_wish(request, desk.currency.as_deref())?;
            let mut completed = false;
            for attempt in &desk.open {
                let fits = attempt.wish == wish && self.carries_as_much(attempt, &desk.subscription);
                match self.settle(lease, attempt, fits).await? {
                    Settled::Reuse(checkout_url) => {
                        probe!("F47");
                        return Ok(CheckoutStarted { checkout_url });
                    }
                    Settled::Closed => {}
                    Settled::Completed => completed = true,
                }
            }
            // Our book may lag behind: a webhook may be late, a backup restored, a subscription made in the provider's dashboard.
            // Nobody is let pay beside a subscription that only a provider knows of.
            if completed || (desk.is_known && !looked) {
                loaded = Some(self.look_before_opening(lease).await?);
                looked = true;
                continue;
            }
            let Made { id: external, is_new } =
                self.ensure_external_customer(self.provider.as_ref(), &desk.customer).await?;
            // It was there before our book knew of it, and may have paid.
            if !is_new && !looked {
                loaded = Some(self.look_before_opening(lease).await?);
                looked = true;
                continue;
            }
            let trial_ends_at = carried_trial(self.settings.checkout_trial, &desk.subscription, self.now());
            let wanted = Wanted { wish, trial_ends_at };
            match self.open_attempt(lease, &external, &wanted).await {
                Ok(started) => return Ok(started),
                Err(Error::Failed(Failure::Provider(ProviderError::CurrencyLocked { currency, .. }))) => {
                    self.learn_currency(lease, &external, currency, &wanted.wish).await?;
                }
                Err(Error::Failed(Failure::Provider(ProviderError::CustomerMissing))) => {
                    self.require_our_account().await?;
                    self.retire_external_customer(lease, &external).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(Failure::CustomerBusy.into())
    }

    fn carries_as_much(&self, attempt: &OpenAttempt, subscription: &Subscription) -> bool {
        carries_as_much(attempt.trial_ends_at, self.settings.checkout_trial, subscription, self.now())
    }

    async fn load_for_checkout(&self, lease: &Lease) -> Result<Desk, Error> {
        let mut tx = self.db.begin_read().await?;
        let customer = store::customers::find(&mut tx, &lease.customer_id).await?.ok_or(Refusal::CustomerUnknown)?;
        let subscription = find_subscription(&mut tx, &lease.customer_id).await?;
        let mut open = store::attempts::list_open(&mut tx, &lease.customer_id, self.provider.name()).await?;
        open.retain(|_| !planted!("open-checkout-not-looked-at"));
        let by_hand = store::links::find_newest(&mut tx, &lease.customer_id, self.manual.name()).await?;
        refuse_if_held(&mut tx, &lease.customer_id).await?;
        let currency = store::links::find_currency(&mut tx, &lease.customer_id, self.provider.name()).await?;
        tx.rollback().await?;
        refuse_if_live(&subscription)?;
        let is_known = customer.external_id.is_some() || by_hand.is_some();
        Ok(Desk { customer, is_known, subscription, currency, open })
    }

    /// Finds out what an earlier attempt is now, and closes it unless it fits what is wanted.
    pub(super) async fn settle(&self, lease: &Lease, attempt: &OpenAttempt, fits: bool) -> Result<Settled, Error> {
        probe!("F6", attempt.session.is_none());
        let session = match self.find_session(attempt).await {
            Ok(session) => session,
            Err(error) if error.means_no_session() => {
                if matches!(error, ProviderError::Missing { .. } | ProviderError::CustomerMissing) {
                    self.require_our_account().await?;
                }
                self.end_attempt(lease, &attempt.id, AttemptState::Failed).await?;
                return Ok(Settled::Closed);
            }
            Err(error) => return Err(error.into()),
        };
        self.save_session(lease, &attempt.id, &session).await?;
        let session = match (session.status, &session.url) {
            (SessionStatus::Open, Some(url)) if fits => return Ok(Settled::Reuse(url.clone())),
            (SessionStatus::Open, _) => self.expire_session(attempt, &session.id).await?,
            (SessionStatus::Complete | SessionStatus::Expired, _) => session,
        };
        match session.status {
            SessionStatus::Complete => Ok(Settled::Completed),
            SessionStatus::Expired => {
                self.end_attempt(lease, &attempt.id, AttemptState::Expired).await?;
                Ok(Settled::Closed)
            }
            // Neither payable by us nor closed: opening another beside it could charge twice.
            SessionStatus::Open => Err(Failure::CustomerBusy.into()),
        }
    }

    /// Closes a session. A stored error of the provider's would keep it open for a day, and closing twice does no harm: so
    /// another key is tried then.
    async fn expire_session(
        &self,
        attempt: &OpenAttempt,
        session: &ExternalSessionId,
    ) -> Result<CheckoutSession, ProviderError> {
        let key = IdempotencyKey::expire_session(&self.instance.instance_id, &attempt.id);
        match self.provider.expire_checkout(&key, session).await {
            Err(ProviderError::KeyPoisoned { .. }) => {
                let anew = AttemptId::from_random(self.entropy.bytes());
                let key = IdempotencyKey::expire_session(&self.instance.instance_id, &anew);
                self.provider.expire_checkout(&key, session).await
            }
            result => result,
        }
    }

    /// The attempt's session as it stands now. Where we never heard its id, the same call with the same bytes tells it.
    async fn find_session(&self, attempt: &OpenAttempt) -> Result<CheckoutSession, ProviderError> {
        let id: ExternalSessionId = match &attempt.session {
            Some(id) => id.clone(),
            None => {
                let key = IdempotencyKey::session(&self.instance.instance_id, &attempt.id);
                self.provider.create_checkout(&key, &attempt.frozen).await?.id
            }
        };
        self.provider.retrieve_checkout(&id).await
    }

    /// What the provider knows now decides whether another checkout makes sense.
    async fn look_before_opening(&self, lease: &Lease) -> Result<Desk, Error> {
        self.sync_and_keep(lease).await?;
        let desk = self.load_for_checkout(lease).await?;
        if desk.open.is_empty() { Ok(desk) } else { Err(Refusal::PaymentPending.into()) }
    }

    async fn open_attempt(
        &self,
        lease: &Lease,
        external: &ExternalCustomerId,
        Wanted { wish, trial_ends_at }: &Wanted,
    ) -> Result<CheckoutStarted, Error> {
        let (customer_id, trial_ends_at) = (&lease.customer_id, *trial_ends_at);
        let id = AttemptId::from_random(self.entropy.bytes());
        let frozen = self.provider.freeze_checkout(&NewCheckout {
            instance: &self.instance.instance_id,
            customer_id,
            external_customer: external,
            attempt_id: &id,
            plan: &wish.plan,
            price: &wish.price,
            success_url: &with_attempt(&wish.success_url, &id),
            cancel_url: &with_attempt(&wish.cancel_url, &id),
            trial_ends_at,
        });
        // The wish is stored as it was asked for, so that the same wish finds it again.
        let attempt = OpenAttempt { id, wish: wish.clone(), frozen, trial_ends_at, session: None };
        let now = self.now();
        let mut tx = self.db.begin().await?;
        lease.keep(&mut tx, now).await?;
        store::attempts::insert(&mut tx, customer_id, self.provider.name(), &attempt, now).await?;
        tx.commit().await?;
        match self.find_session(&attempt).await {
            Ok(session) => {
                self.save_session(lease, &attempt.id, &session).await?;
                let checkout_url = session.url.ok_or(Failure::CustomerBusy)?;
                Ok(CheckoutStarted { checkout_url })
            }
            Err(error) => {
                if error.means_no_session() {
                    self.end_attempt(lease, &attempt.id, AttemptState::Failed).await?;
                }
                Err(error.into())
            }
        }
    }

    async fn save_session(
        &self,
        lease: &Lease,
        attempt_id: &AttemptId,
        session: &CheckoutSession,
    ) -> Result<(), Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        lease.keep(&mut tx, now).await?;
        let (url, expires_at) = (session.url.as_deref(), session.expires_at);
        points::next("C8");
        store::attempts::set_session(&mut tx, &lease.customer_id, attempt_id, &session.id, url, expires_at, now)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    async fn end_attempt(&self, lease: &Lease, attempt_id: &AttemptId, state: AttemptState) -> Result<(), Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        lease.keep(&mut tx, now).await?;
        store::attempts::end(&mut tx, &lease.customer_id, attempt_id, state, now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The provider holds the customer to a currency that our book did not know. The next round chooses a price in it, or refuses
    /// with both named.
    async fn learn_currency(
        &self,
        lease: &Lease,
        external: &ExternalCustomerId,
        locked: Option<String>,
        wish: &Wish,
    ) -> Result<(), Error> {
        let wanted = self.catalog.find_price(&wish.price).map(|(_, price)| price.currency.clone()).unwrap_or_default();
        let Some(locked) = locked.filter(|locked| *locked != wanted) else {
            let locked = "another currency".to_owned();
            return Err(Refusal::CurrencyLocked { locked, wanted: wanted.to_uppercase() }.into());
        };
        let now = self.now();
        let mut tx = self.db.begin().await?;
        lease.keep(&mut tx, now).await?;
        let (id, provider) = (&lease.customer_id, self.provider.name());
        store::links::set_currencies(&mut tx, &[(id, provider, external, locked.as_str())], now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The counterpart was deleted at the provider: the link is retired, and the next round opens a new generation.
    async fn retire_external_customer(&self, lease: &Lease, external: &ExternalCustomerId) -> Result<(), Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        lease.keep(&mut tx, now).await?;
        self.retire_link(&mut tx, &lease.customer_id, external, now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// State and plan of one of the customer's attempts, for the page that the provider sends people back to.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn attempt_state(
        &self,
        customer_id: &CustomerId,
        attempt_id: &AttemptId,
    ) -> Result<Option<(AttemptState, PlanCode)>, Error> {
        let mut tx = self.db.begin_read().await?;
        let state = store::attempts::find_state(&mut tx, customer_id, attempt_id).await?;
        tx.rollback().await?;
        Ok(state)
    }
}

/// Callers may have the attempt's id in their return URLs; our own pages do. It is ours, so it may stand in an address bar.
fn with_attempt(url: &str, id: &AttemptId) -> String {
    url.replace(ATTEMPT_TEMPLATE, id.as_str())
}
