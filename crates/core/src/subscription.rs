//! What a customer has with us: our own trial, or one subscription at the provider. A state carries exactly its data.
//!
//! [`Record`] is the flat form in which the store keeps it; [`Subscription`] is the only form in which rules see it.

use crate::facts::Money;
use crate::ids::ExternalSubscriptionId;
use crate::manual;
use crate::plan::{Interval, PlanCode};
use crate::time::Timestamp;

/// A customer's subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The plan whose features apply. It is kept where the provider's price is in no plan.
    pub plan: PlanCode,
    /// Trial or paid.
    pub state: State,
    /// What an operator has to look at.
    pub attention: Option<Attention>,
}

/// Where the right to use the product comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Our own trial, from our ledger. Whether it still runs is `ends_at` against now.
    Trial {
        /// When the trial ends.
        ends_at: Timestamp,
    },
    /// A subscription at the provider has taken over.
    Provided(Provided),
}

/// A subscription at the provider, as its facts stood when they were last fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provided {
    /// The provider's id.
    pub id: ExternalSubscriptionId,
    /// Its standing.
    pub standing: Standing,
    /// How often it is charged, where the price is in the catalogue.
    pub interval: Option<Interval>,
    /// The end of the running period.
    pub period_ends_at: Option<Timestamp>,
    /// Until when it is paid. It never moves on a promise.
    pub paid_until: Option<Timestamp>,
    /// What became of the money for the newest paid period.
    pub money: Money,
    /// The end of our trial before it, kept for the record.
    pub trial_ended_at: Option<Timestamp>,
}

/// The standing of a provided subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The first payment has not come.
    Incomplete,
    /// The first payment never came. Terminal.
    IncompleteExpired,
    /// A trial that the provider counts.
    Trialing {
        /// When it will end, where that is planned.
        cancel_at: Option<Timestamp>,
    },
    /// In good standing.
    Active {
        /// When it will end, where that is planned.
        cancel_at: Option<Timestamp>,
    },
    /// The newest invoice is unpaid.
    PastDue {
        /// When it will end, where that is planned.
        cancel_at: Option<Timestamp>,
    },
    /// Retries are exhausted.
    Unpaid,
    /// Stopped without being ended.
    Paused,
    /// Ended. Terminal.
    Canceled {
        /// When it ended.
        ended_at: Timestamp,
    },
}

impl Standing {
    /// The word that the store and the API use: the provider's own.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::IncompleteExpired => "incomplete_expired",
            Self::Trialing { .. } => "trialing",
            Self::Active { .. } => "active",
            Self::PastDue { .. } => "past_due",
            Self::Unpaid => "unpaid",
            Self::Paused => "paused",
            Self::Canceled { .. } => "canceled",
        }
    }

    /// Whether a second subscription beside it would be charged as well.
    #[must_use]
    pub const fn is_live(self) -> bool {
        match self {
            Self::Trialing { .. } | Self::Active { .. } | Self::PastDue { .. } | Self::Unpaid | Self::Paused => true,
            Self::Incomplete | Self::IncompleteExpired | Self::Canceled { .. } => false,
        }
    }

    /// Whether it never changes again.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::IncompleteExpired | Self::Canceled { .. } => true,
            Self::Incomplete
            | Self::Trialing { .. }
            | Self::Active { .. }
            | Self::PastDue { .. }
            | Self::Unpaid
            | Self::Paused => false,
        }
    }

    /// When it will end, where an end is planned.
    #[must_use]
    pub const fn cancel_at(self) -> Option<Timestamp> {
        match self {
            Self::Trialing { cancel_at } | Self::Active { cancel_at } | Self::PastDue { cancel_at } => cancel_at,
            Self::Incomplete | Self::IncompleteExpired | Self::Unpaid | Self::Paused | Self::Canceled { .. } => None,
        }
    }
}

/// Why an operator should look at a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    /// The price of the subscription is in no plan; the plan was kept.
    PriceUnmapped,
    /// Two subscriptions are live: both are charged.
    SeveralLive,
    /// The payment is disputed: the provider waits for the vendor's evidence.
    Disputed,
    /// The period's payment went back to the customer, and the subscription goes on to be charged.
    MoneyBack,
    /// The provider used a status that is not known here; the state was kept.
    StatusUnknown,
    /// The subscription is not among the customer's at the provider any more; the state was kept.
    Vanished,
}

impl Attention {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::PriceUnmapped, Self::SeveralLive, Self::Disputed, Self::MoneyBack, Self::StatusUnknown, Self::Vanished];

    /// The stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::PriceUnmapped => "price_unmapped",
            Self::SeveralLive => "several_live",
            Self::Disputed => "disputed",
            Self::MoneyBack => "money_back",
            Self::StatusUnknown => "status_unknown",
            Self::Vanished => "vanished",
        }
    }
}

/// The flat form of a subscription: one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The provider's id; empty while our own trial is all there is.
    pub external_id: Option<ExternalSubscriptionId>,
    /// The plan.
    pub plan: PlanCode,
    /// The status word.
    pub status: String,
    /// How often it is charged.
    pub interval: Option<Interval>,
    /// The end of the trial.
    pub trial_ends_at: Option<Timestamp>,
    /// The end of the running period.
    pub current_period_ends_at: Option<Timestamp>,
    /// Until when it is paid.
    pub paid_until: Option<Timestamp>,
    /// What became of the money for the newest paid period; empty while it is kept.
    pub money_back: Option<String>,
    /// The planned end.
    pub cancel_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What an operator has to look at.
    pub attention: Option<String>,
}

/// A row that no version of this program can have written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored subscription makes no sense: {0}")]
pub struct CorruptRecord(pub String);

impl Subscription {
    /// A fresh trial.
    #[must_use]
    pub const fn trial(plan: PlanCode, ends_at: Timestamp) -> Self {
        Self { plan, state: State::Trial { ends_at }, attention: None }
    }

    /// The status word at this moment. Only a trial that is over differs from what is stored: nobody has to write it down for
    /// it to be over.
    #[must_use]
    pub fn status_word(&self, now: Timestamp) -> &'static str {
        match &self.state {
            State::Trial { ends_at } if now >= *ends_at => "trial_expired",
            State::Trial { .. } => "trialing",
            State::Provided(provided) => provided.standing.word(),
        }
    }

    /// What became of the money for the newest paid period; kept where none was ever paid.
    #[must_use]
    pub const fn money(&self) -> Money {
        match &self.state {
            State::Trial { .. } => Money::Kept,
            State::Provided(provided) => provided.money,
        }
    }

    /// Whether buying another one would charge the customer twice.
    #[must_use]
    pub fn is_live_at_provider(&self) -> bool {
        match &self.state {
            State::Trial { .. } => false,
            State::Provided(provided) => provided.standing.is_live(),
        }
    }

    /// Whether what governs is paid by invoice, so that there are no cards to manage.
    #[must_use]
    pub fn is_manual(&self) -> bool {
        match &self.state {
            State::Trial { .. } => false,
            State::Provided(provided) => manual::is_own(provided.id.as_str()),
        }
    }

    /// The row to store.
    #[must_use]
    pub fn to_record(&self) -> Record {
        let attention = self.attention.map(|attention| attention.word().to_owned());
        match &self.state {
            State::Trial { ends_at } => Record {
                external_id: None,
                plan: self.plan.clone(),
                status: "trialing".to_owned(),
                interval: None,
                trial_ends_at: Some(*ends_at),
                current_period_ends_at: Some(*ends_at),
                paid_until: None,
                money_back: None,
                cancel_at: None,
                ended_at: None,
                attention,
            },
            State::Provided(provided) => Record {
                external_id: Some(provided.id.clone()),
                plan: self.plan.clone(),
                status: provided.standing.word().to_owned(),
                interval: provided.interval,
                trial_ends_at: provided.trial_ended_at,
                current_period_ends_at: provided.period_ends_at,
                paid_until: provided.paid_until,
                money_back: (provided.money != Money::Kept).then(|| provided.money.word().to_owned()),
                cancel_at: provided.standing.cancel_at(),
                ended_at: match provided.standing {
                    Standing::Canceled { ended_at } => Some(ended_at),
                    Standing::Incomplete
                    | Standing::IncompleteExpired
                    | Standing::Trialing { .. }
                    | Standing::Active { .. }
                    | Standing::PastDue { .. }
                    | Standing::Unpaid
                    | Standing::Paused => None,
                },
                attention,
            },
        }
    }

    /// The subscription of a row.
    ///
    /// # Errors
    /// [`CorruptRecord`] where the columns contradict each other.
    pub fn from_record(record: Record) -> Result<Self, CorruptRecord> {
        let corrupt = |what: &str| CorruptRecord(format!("{what} (status `{}`)", record.status));
        let attention = match record.attention.as_deref() {
            None => None,
            Some(word) => Some(
                Attention::ALL
                    .into_iter()
                    .find(|attention| attention.word() == word)
                    .ok_or_else(|| corrupt("unknown attention"))?,
            ),
        };
        let Some(id) = record.external_id.clone() else {
            if record.status != "trialing" {
                return Err(corrupt("no provider id outside of the trial"));
            }
            let ends_at = record.trial_ends_at.ok_or_else(|| corrupt("a trial without an end"))?;
            return Ok(Self { plan: record.plan, state: State::Trial { ends_at }, attention });
        };
        let cancel_at = record.cancel_at;
        let standing = match record.status.as_str() {
            "incomplete" => Standing::Incomplete,
            "incomplete_expired" => Standing::IncompleteExpired,
            "trialing" => Standing::Trialing { cancel_at },
            "active" => Standing::Active { cancel_at },
            "past_due" => Standing::PastDue { cancel_at },
            "unpaid" => Standing::Unpaid,
            "paused" => Standing::Paused,
            "canceled" => {
                Standing::Canceled { ended_at: record.ended_at.ok_or_else(|| corrupt("canceled without a date"))? }
            }
            _ => return Err(corrupt("unknown status")),
        };
        let money = match record.money_back.as_deref() {
            None => Money::Kept,
            Some(word) => Money::parse(word).ok_or_else(|| corrupt("an unknown word about money"))?,
        };
        let provided = Provided {
            id,
            standing,
            interval: record.interval,
            period_ends_at: record.current_period_ends_at,
            paid_until: record.paid_until,
            money,
            trial_ended_at: record.trial_ends_at,
        };
        Ok(Self { plan: record.plan, state: State::Provided(provided), attention })
    }
}
