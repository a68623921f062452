//! Why a version of a licence was issued: a stable word for programs, a sentence for the mail, and who or what made us do it.

use counterfoil_core::entitlement::Grant;

use super::operators::By;
use crate::store::standings::Newest;

/// Why a version was issued: a stable word, and a sentence for the mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Sign-up.
    TrialStarted,
    /// An operator made the trial longer, or the provider did.
    TrialExtended,
    /// The first payment, or a payment after an ended subscription.
    Subscribed,
    /// A plan was chosen, and a trial goes on: it is charged when that is over.
    PlanChosen,
    /// Another plan.
    PlanChanged,
    /// The paid period moved on.
    Renewed,
    /// A payment is overdue: the licence goes on to the same end.
    PaymentOverdue,
    /// Another state with the same period.
    StatusChanged,
    /// The signing key changed, or an operator wanted it.
    Reissued,
}

impl Reason {
    /// The stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::TrialStarted => "trial_started",
            Self::TrialExtended => "trial_extended",
            Self::Subscribed => "subscribed",
            Self::PlanChosen => "plan_chosen",
            Self::PlanChanged => "plan_changed",
            Self::Renewed => "renewed",
            Self::PaymentOverdue => "payment_overdue",
            Self::StatusChanged => "status_changed",
            Self::Reissued => "reissued",
        }
    }

    /// The sentence of the mail.
    pub(super) const fn sentence(self) -> &'static str {
        match self {
            Self::TrialStarted => "Your trial has started.",
            Self::TrialExtended => "Your trial was extended.",
            Self::Subscribed => "Your payment was received. Thank you!",
            Self::PlanChosen => {
                "You have chosen your plan, and your trial goes on. The first payment is due when it ends."
            }
            Self::PlanChanged => "Your plan has changed.",
            Self::Renewed => "The next period is paid, and your licence goes on.",
            Self::PaymentOverdue => {
                "Your last payment did not go through. Please see that your card is good: the payment is tried again, and \
                 until then the licence works to the date below."
            }
            Self::StatusChanged => "The state of your subscription has changed.",
            Self::Reissued => "Your licence was issued again.",
        }
    }

    /// Why there is a first version, where signing up gave none.
    pub(super) const fn first(grant: &Grant, is_own_trial: bool, cause: &Cause) -> Self {
        match cause {
            Cause::Operator(_) if grant.trial && is_own_trial => Self::TrialExtended,
            _ if grant.trial && is_own_trial => Self::TrialStarted,
            _ if grant.trial => Self::PlanChosen,
            _ => Self::Subscribed,
        }
    }

    /// What the newest version and the new grant differ in.
    pub(super) fn between(newest: &Newest, grant: &Grant) -> Self {
        match newest {
            // A trial whose first payment fails was never subscribed to.
            old if old.status != grant.status && grant.status == "past_due" && !is_later(old, grant) => {
                Self::PaymentOverdue
            }
            old if old.trial && !grant.trial => Self::Subscribed,
            old if old.trial && old.plan != grant.plan => Self::PlanChosen,
            old if old.plan != grant.plan => Self::PlanChanged,
            old if is_later(old, grant) => match grant.trial {
                true => Self::TrialExtended,
                false => Self::Renewed,
            },
            old if old.status != grant.status => Self::StatusChanged,
            _ => Self::Reissued,
        }
    }
}

/// Whether the grant reaches further than the version.
fn is_later(old: &Newest, grant: &Grant) -> bool {
    grant.paid_until.floor_to_second() > old.paid_until
}

/// Who or what makes us issue: kept with the version, for whoever asks later.
#[derive(Clone, Debug)]
pub enum Cause {
    /// The customer, by signing up.
    SignUp,
    /// A look at the provider.
    Look {
        /// The newest event that it finishes; none where nothing but time or a person caused the look.
        event_id: Option<String>,
    },
    /// The customer, by showing that the address is its own.
    EmailVerified,
    /// An operator.
    Operator(By),
}

impl Cause {
    /// Who or what, and which event or why.
    pub(super) fn words(&self) -> (&str, Option<&str>) {
        match self {
            Self::SignUp => ("sign_up", None),
            Self::EmailVerified => ("email_verified", None),
            Self::Look { event_id } => ("look", event_id.as_deref()),
            Self::Operator(by) => (by.actor(), Some(by.reason())),
        }
    }
}
