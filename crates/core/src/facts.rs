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

/// What became of the money for the newest paid period. A word of its own, because a provider that says "refunded" says more
/// than one that says nothing: only the first takes a known `paid_until` back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Money {
    /// We have it, or nothing was ever paid.
    #[default]
    Kept,
    /// A part was given back, or all of a surcharge within a period that is paid by itself. It is noted and takes nothing away.
    PartlyRefunded,
    /// The customer's bank asks for it back, and nobody has decided. It is noted and takes nothing away.
    Disputed,
    /// The same, and the operator wants nothing given until it is decided.
    Held,
    /// All of it was given back.
    Refunded,
    /// The bank took it back for good.
    DisputeLost,
}

impl Money {
    const ALL: [Self; 6] =
        [Self::Kept, Self::PartlyRefunded, Self::Disputed, Self::Held, Self::Refunded, Self::DisputeLost];

    /// The stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::PartlyRefunded => "partly_refunded",
            Self::Disputed => "disputed",
            Self::Held => "held",
            Self::Refunded => "refunded",
            Self::DisputeLost => "dispute_lost",
        }
    }

    /// The word's meaning.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|money| money.word() == word)
    }

    /// Whether the period that it paid for is not paid any more.
    #[must_use]
    pub const fn is_gone(self) -> bool {
        match self {
            Self::Refunded | Self::DisputeLost => true,
            Self::Kept | Self::PartlyRefunded | Self::Disputed | Self::Held => false,
        }
    }
}

/// What an open dispute means for the right to use the product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DisputePolicy {
    /// Nothing, until it is lost.
    #[default]
    Ignore,
    /// There is none while it is open.
    Hold,
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
    /// `None` where nothing was ever paid, or all of it went back. A renewal moves `period_ends_at` before the money arrives; this it moves after.
    pub paid_until: Option<Timestamp>,
    /// What became of the money for the newest paid period. Where it is gone, `paid_until` is the end of the period before.
    pub money: Money,
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

/// A price that a subscription goes over to by itself, as the provider has planned it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedPrice {
    /// The subscription.
    pub subscription: ExternalSubscriptionId,
    /// The price that comes.
    pub price: PriceId,
    /// When it comes.
    pub starts_at: Timestamp,
}

/// Everything the provider knows of one customer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The provider's customer, where we have one.
    pub customer: Option<ExternalCustomerId>,
    /// The only currency that the provider takes from this customer, once it has settled on one; in lower case.
    pub currency: Option<String>,
    /// The provider says that its customer was deleted.
    pub customer_deleted: bool,
    /// The provider does not even know that there was such a customer. Then it counts as deleted, as far as it is our account
    /// that was asked.
    pub customer_unknown: bool,
    /// All subscriptions, ended ones too.
    pub subscriptions: Vec<SubscriptionFacts>,
    /// The sessions of our attempts that were still open when we asked.
    pub sessions: Vec<SessionFacts>,
    /// Changes of the price that are planned, at most one a subscription.
    pub planned_prices: Vec<PlannedPrice>,
}

impl SubscriptionFacts {
    /// Whether nothing but a trial was ever given: the provider may call it active for the hour between the trial's end and its
    /// first payment.
    #[must_use]
    pub fn has_only_trial(&self) -> bool {
        !self.money.is_gone() && self.trial_ends_at.is_some() && self.paid_until <= self.trial_ends_at
    }
}

impl Facts {
    /// These facts under the operator's policy for open disputes.
    #[must_use]
    pub fn under(mut self, policy: DisputePolicy) -> Self {
        let open = |each: &&mut SubscriptionFacts| each.money == Money::Disputed;
        match policy {
            DisputePolicy::Ignore => {}
            DisputePolicy::Hold => self.subscriptions.iter_mut().filter(open).for_each(|each| each.money = Money::Held),
        }
        self
    }
}
