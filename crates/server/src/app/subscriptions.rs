//! Subscriptions as their customers see them.

use counterfoil_core::Subscription;
use counterfoil_core::subscription::Record;

use super::App;

/// A subscription as it is shown: the record, with the status word of this moment.
#[must_use]
pub fn shown(app: &App, subscription: &Subscription) -> Record {
    let status = subscription.status_word(app.now()).to_owned();
    Record { status, ..subscription.to_record() }
}
