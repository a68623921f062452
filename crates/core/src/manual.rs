//! Subscriptions that are paid by invoice or bank transfer: what an agreement and its recorded payments come to at a moment.
//!
//! All of it is counted in whole months from the first day, so that no short month moves a later date, and a change between months
//! and years loses none. A period is paid for by one payment; one whose money went back is open again.

use crate::facts::{Money, PlannedPrice, ProviderStatus, SubscriptionFacts};
use crate::ids::{ExternalSubscriptionId, PriceId};
use crate::plan::{Interval, PlanCode};
use crate::time::Timestamp;

/// What every id begins with that is made for this way of paying. They are ours to form, so they tell by themselves which provider
/// keeps the thing; no id of another provider begins so.
pub const ID_PREFIX: &str = "manual_";

/// What the id of every manual price begins with.
pub const PRICE_PREFIX: &str = "manual:";

/// The longest agreement: a hundred years.
pub const MONTHS_MAX: i64 = 1200;

/// Whether a customer or a subscription of this id is kept by the manual provider.
#[must_use]
pub fn is_own(id: &str) -> bool {
    id.starts_with(ID_PREFIX)
}

/// The price of a plan that is paid by hand: it names what is sold, and what it costs is between the vendor and the customer.
#[must_use]
pub fn price_of(plan: &PlanCode, interval: Interval) -> PriceId {
    PriceId::new(format!("{PRICE_PREFIX}{plan}:{}", interval.as_str()))
}

/// What a manual price sells; `None` for a price of another provider.
#[must_use]
pub fn read_price(id: &PriceId) -> Option<(PlanCode, Interval)> {
    let (plan, interval) = id.as_str().strip_prefix(PRICE_PREFIX)?.split_once(':')?;
    Some((PlanCode::new(plan), Interval::parse(interval)?))
}

/// Terms that take over after so many months.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The plan.
    pub plan: PlanCode,
    /// How often it is paid then.
    pub interval: Interval,
    /// Counted from the first day of the agreement.
    pub from_month: i64,
}

/// What was agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Its id.
    pub id: ExternalSubscriptionId,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// The first day. Before it there is nothing.
    pub starts_at: Timestamp,
    /// The plan.
    pub plan: PlanCode,
    /// How often it is paid.
    pub interval: Interval,
    /// What takes over later.
    pub planned: Option<Planned>,
    /// The planned end.
    pub cancel_at: Option<Timestamp>,
    /// When it was ended at once.
    pub ended_at: Option<Timestamp>,
}

/// A payment, and the months that it pays for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payment {
    /// The first month that it pays, counted from the first day.
    pub from_month: i64,
    /// The end of the last one.
    pub until_month: i64,
    /// In the smallest unit of the currency.
    pub amount: i64,
    /// How much of it went back.
    pub refunded: i64,
}

impl Payment {
    /// Whether something of it is still there.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        self.refunded < self.amount
    }
}

/// An agreement with all of its payments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// What was agreed.
    pub agreement: Agreement,
    /// In any order.
    pub payments: Vec<Payment>,
}

impl Account {
    /// The instant so many months after the first day.
    #[must_use]
    pub fn month(&self, months: i64) -> Timestamp {
        self.agreement.starts_at.plus_months(months)
    }

    /// How many months are paid: to the end of the newest period whose money is still there.
    #[must_use]
    pub fn paid_months(&self) -> i64 {
        self.payments.iter().filter(|each| each.is_kept()).map(|each| each.until_month).max().unwrap_or(0)
    }

    /// Until when it is paid; none where nothing is.
    #[must_use]
    pub fn paid_until(&self) -> Option<Timestamp> {
        Some(self.paid_months()).filter(|months| *months > 0).map(|months| self.month(months))
    }

    /// When it ended, by hand or by the clock.
    #[must_use]
    pub fn ended_at(&self, now: Timestamp) -> Option<Timestamp> {
        let planned = self.agreement.cancel_at.filter(|at| *at <= now);
        [self.agreement.ended_at, planned].into_iter().flatten().min()
    }

    /// Whether the first day has come, and the agreement was not called off before it.
    #[must_use]
    pub fn has_begun(&self, now: Timestamp) -> bool {
        let starts_at = self.agreement.starts_at;
        starts_at <= now && self.ended_at(now).is_none_or(|ended| ended >= starts_at)
    }

    /// The months that a payment for so many periods pays, from the first open one on. `None` beyond [`MONTHS_MAX`].
    #[must_use]
    pub fn next_months(&self, periods: i64) -> Option<(i64, i64)> {
        let from = self.paid_months();
        let mut until = from;
        for _ in 0..periods {
            until += self.interval_at(until).months();
            if until > MONTHS_MAX {
                return None;
            }
        }
        (until > from).then_some((from, until))
    }

    /// The month with which the running period ends: the last paid one, or, where none is paid, that of the period by the calendar.
    #[must_use]
    pub fn running_months(&self, now: Timestamp) -> i64 {
        let mut until = self.paid_months();
        while until < MONTHS_MAX && (until == 0 || self.month(until) <= now) {
            until += self.interval_at(until).months();
        }
        until
    }

    /// Plan and interval at this moment.
    #[must_use]
    pub fn terms(&self, now: Timestamp) -> (&PlanCode, Interval) {
        match &self.agreement.planned {
            Some(planned) if self.month(planned.from_month) <= now => (&planned.plan, planned.interval),
            Some(_) | None => (&self.agreement.plan, self.agreement.interval),
        }
    }

    /// The interval of a period that begins with this month.
    fn interval_at(&self, month: i64) -> Interval {
        match &self.agreement.planned {
            Some(planned) if planned.from_month <= month => planned.interval,
            Some(_) | None => self.agreement.interval,
        }
    }

    /// What became of the money for the newest period that was ever paid.
    fn money(&self) -> Money {
        let newest_kept = self.payments.iter().filter(|each| each.is_kept()).max_by_key(|each| each.until_month);
        let gone = self.payments.iter().filter(|each| !each.is_kept()).map(|each| each.until_month).max();
        match (newest_kept, gone) {
            (None, None) => Money::Kept,
            (Some(kept), gone) if gone.is_none_or(|gone| gone <= kept.until_month) => {
                if kept.refunded > 0 {
                    Money::PartlyRefunded
                } else {
                    Money::Kept
                }
            }
            (Some(_) | None, _) => Money::Refunded,
        }
    }

    fn status(&self, now: Timestamp) -> ProviderStatus {
        if self.ended_at(now).is_some() {
            ProviderStatus::Canceled
        } else if self.payments.is_empty() {
            ProviderStatus::Incomplete
        } else if self.paid_until().is_some_and(|until| now < until) {
            ProviderStatus::Active
        } else {
            ProviderStatus::PastDue
        }
    }

    /// The subscription as it stands now, and what is planned for it; none before its first day.
    #[must_use]
    pub fn facts(&self, now: Timestamp) -> Option<(SubscriptionFacts, Option<PlannedPrice>)> {
        if !self.has_begun(now) {
            return None;
        }
        let ended_at = self.ended_at(now);
        let at = ended_at.unwrap_or(now);
        let (plan, interval) = self.terms(at);
        let id = &self.agreement.id;
        let planned = self
            .agreement
            .planned
            .as_ref()
            .filter(|planned| {
                ended_at.is_none() && self.agreement.cancel_at.is_none() && now < self.month(planned.from_month)
            })
            .map(|planned| PlannedPrice {
                subscription: id.clone(),
                price: price_of(&planned.plan, planned.interval),
                starts_at: self.month(planned.from_month),
            });
        let subscription = SubscriptionFacts {
            id: id.clone(),
            status: self.status(now),
            created_at: self.agreement.created_at,
            prices: vec![price_of(plan, interval)],
            period_ends_at: Some(self.month(self.running_months(at))),
            paid_until: self.paid_until(),
            money: self.money(),
            cancel_at: self.agreement.cancel_at.filter(|_| ended_at.is_none()),
            ended_at,
            trial_ends_at: None,
        };
        Some((subscription, planned))
    }

    /// The next moment after `now` at which the facts change without anybody doing anything.
    #[must_use]
    pub fn next_turn(&self, now: Timestamp) -> Option<Timestamp> {
        if self.ended_at(now).is_some() {
            return None;
        }
        let planned = self.agreement.planned.as_ref().map(|planned| self.month(planned.from_month));
        let period = Some(self.month(self.running_months(now)));
        [Some(self.agreement.starts_at), self.agreement.cancel_at, planned, self.paid_until(), period]
            .into_iter()
            .flatten()
            .filter(|at| *at > now)
            .min()
    }
}
