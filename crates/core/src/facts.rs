//! What the provider knows of one customer, as fetched just now: the only input that can change a paid subscription.
//!
//! Facts are the provider-neutral reading of its objects. A webhook's payload never becomes a fact (invariant 5).

use crate::ids::{AttemptId, ExternalCustomerId, ExternalSessionId, ExternalSubscriptionId, PriceId};
use crate::time::Timestamp;

/// The provider's word for the state of a subscription: Stripe's eight, and whatever it may invent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ProviderStatus {
    /// The first payment is not made yet; the provider waits up to 23 hours.
    Incomplete,
    /// The first payment was never made. Terminal.
    IncompleteExpired,
    /// In a trial that the provider counts.
    Trialing,
    /// In good standing; its newest invoice may still be a draft.
    Active,
    /// The newest invoice is unpaid and the provider retries.
    PastDue,
    /// Retries are exhausted; invoices pile up as drafts.
    Unpaid,
    /// Stopped without being ended.
    Paused,
    /// Ended. Terminal.
    Canceled,
    /// A word that did not exist when this was written.
    Unknown(String),
}

impl ProviderStatus {
    /// Reads Stripe's word; never fails, because a new word must not lose an event.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word {
            "incomplete" => Self::Incomplete,
            "incomplete_expired" => Self::IncompleteExpired,
            "trialing" => Self::Trialing,
            "active" => Self::Active,
            "past_due" => Self::PastDue,
            "unpaid" => Self::Unpaid,
            "paused" => Self::Paused,
            "canceled" => Self::Canceled,
            other => Self::Unknown(other.to_owned()),
        }
    }
}

/// One subscription at the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionFacts {
    /// The provider's id.
    pub id: ExternalSubscriptionId,
    /// The provider's state.
    pub status: ProviderStatus,
    /// When the provider made it: of two live ones the older is kept.
    pub created_at: Timestamp,
    /// The prices of its items, in order; normally one.
    pub prices: Vec<PriceId>,
    /// The end of the running period, over all items the latest. `None` where the provider told none: a known date is then kept.
    pub period_ends_at: Option<Timestamp>,
    /// Until when money (or a trial that the provider counts) has really been given: the end of the newest **paid** period.
    /// `None` where nothing was ever paid. A renewal moves `period_ends_at` before the money arrives; this it moves after.
    pub paid_until: Option<Timestamp>,
    /// When it will end although it still runs: `cancel_at`, or the period's end where `cancel_at_period_end` is set.
    pub cancel_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The end of a trial that the provider counts.
    pub trial_ends_at: Option<Timestamp>,
}

/// Where a checkout session stands at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionStatus {
    /// It can be paid.
    Open,
    /// It was gone through; whether money came is the subscription's to say.
    Complete,
    /// It can no longer be paid.
    Expired,
}

/// A checkout session of ours as the provider sees it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFacts {
    /// Our attempt that opened it.
    pub attempt_id: AttemptId,
    /// The provider's id.
    pub id: ExternalSessionId,
    /// Where it stands.
    pub status: SessionStatus,
}

/// Everything the provider knows of one customer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The provider's customer, where we have one.
    pub customer: Option<ExternalCustomerId>,
    /// The provider says that its customer was deleted.
    pub customer_deleted: bool,
    /// All subscriptions, ended ones too.
    pub subscriptions: Vec<SubscriptionFacts>,
    /// The sessions of our attempts that were still open when we asked.
    pub sessions: Vec<SessionFacts>,
}
