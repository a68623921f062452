//! `/checkout/return`: back from the payment page. Waiting never claims success early; only a licence that exists does.

use askama::Template;

use super::Frame;

/// The payment is not confirmed yet.
#[derive(Clone, Debug, Template)]
#[template(path = "checkout_waiting.html")]
pub struct CheckoutWaitingView {
    /// What is around the page.
    pub frame: Frame,
    /// The plan that was chosen.
    pub plan_name: String,
    /// This page again, the next try counted in: `/checkout/return?attempt=att_…&try=2`.
    pub next_url: String,
    /// False while the page looks again by itself (every two seconds); true after some tries, when it stops and offers
    /// *Check again* and what to do.
    pub slow: bool,
}

/// The checkout ended without payment.
#[derive(Clone, Debug, Template)]
#[template(path = "checkout_failed.html")]
pub struct CheckoutFailedView {
    /// What is around the page.
    pub frame: Frame,
    /// How it ended.
    pub outcome: NotPaid,
    /// The plan that was chosen.
    pub plan_name: String,
}

/// How a checkout ended without payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPaid {
    /// The customer went back.
    Canceled,
    /// The payment page was open for too long, or a newer one replaced it.
    Expired,
    /// The payment was refused.
    Failed,
}

impl NotPaid {
    /// The page's heading.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Canceled => "You left before paying",
            Self::Expired => "This payment page has closed",
            Self::Failed => "The payment did not go through",
        }
    }

    /// What it means.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Canceled => {
                "Nothing was charged, and your present plan stays as it is. You can choose again at any time."
            }
            Self::Expired => {
                "It was open for too long, or you started a newer one. Nothing was charged on it. Choose your plan again to open a fresh one."
            }
            Self::Failed => {
                "Your bank or card refused the payment, so your plan has not changed. Try again, with another card if you have one."
            }
        }
    }

    /// The stamp on the ticket.
    #[must_use]
    pub const fn stamp(self) -> &'static str {
        match self {
            Self::Canceled => "Not paid",
            Self::Expired => "Expired",
            Self::Failed => "Declined",
        }
    }
}
