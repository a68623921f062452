//! Comparing the book with a list of the provider's: which customers call for a closer look.
//!
//! A list shows a subscription without its invoices. So it never changes anything by itself; it only says where a look would
//! find something. Saying so once too often costs a look, and saying it once too seldom costs a customer the licence.

use crate::facts::{ProviderStatus, SubscriptionFacts};
use crate::plan::Catalog;
use crate::reduce::standing;
use crate::subscription::{Attention, Provided, Standing, State, Subscription};
use crate::time::Timestamp;

/// Whether what a list shows of one subscription does not go with what the book holds of its customer.
#[must_use]
pub fn calls_for_look(book: &Subscription, listed: &SubscriptionFacts, catalog: &Catalog, now: Timestamp) -> bool {
    match &book.state {
        State::Trial { .. } => may_govern(&listed.status),
        State::Provided(known) if known.id == listed.id => differs(book, known, listed, catalog, now),
        // The end of another one says nothing about ours. One that lives beside it may be paid for twice.
        State::Provided(_) => is_running(&listed.status),
    }
}

fn differs(
    book: &Subscription,
    known: &Provided,
    listed: &SubscriptionFacts,
    catalog: &Catalog,
    now: Timestamp,
) -> bool {
    // What is over stays over, whatever is said of it.
    if known.standing.is_terminal() {
        return false;
    }
    let Some(standing) = standing(listed, now) else {
        return book.attention != Some(Attention::StatusUnknown);
    };
    let moved = listed.period_ends_at.is_some() && listed.period_ends_at != known.period_ends_at;
    standing != known.standing || moved || is_unpaid(known) || !fits_plan(book, listed, catalog)
}

/// In good standing, and yet not paid to the end of its period: the payment may be what we have not heard of.
fn is_unpaid(known: &Provided) -> bool {
    let in_good_standing = matches!(known.standing, Standing::Active { .. } | Standing::Trialing { .. });
    in_good_standing && !known.money.is_gone() && known.paid_until < known.period_ends_at
}

fn fits_plan(book: &Subscription, listed: &SubscriptionFacts, catalog: &Catalog) -> bool {
    match listed.prices.iter().find_map(|price| catalog.find_price(price)) {
        Some((plan, _)) => plan.code == book.plan,
        None => book.attention == Some(Attention::PriceUnmapped),
    }
}

/// What was never paid takes nothing over from the trial.
const fn may_govern(status: &ProviderStatus) -> bool {
    match status {
        ProviderStatus::Incomplete | ProviderStatus::IncompleteExpired => false,
        ProviderStatus::Trialing
        | ProviderStatus::Active
        | ProviderStatus::PastDue
        | ProviderStatus::Unpaid
        | ProviderStatus::Paused
        | ProviderStatus::Canceled
        | ProviderStatus::Unknown(_) => true,
    }
}

const fn is_running(status: &ProviderStatus) -> bool {
    match status {
        ProviderStatus::Incomplete | ProviderStatus::IncompleteExpired | ProviderStatus::Canceled => false,
        ProviderStatus::Trialing
        | ProviderStatus::Active
        | ProviderStatus::PastDue
        | ProviderStatus::Unpaid
        | ProviderStatus::Paused
        | ProviderStatus::Unknown(_) => true,
    }
}
