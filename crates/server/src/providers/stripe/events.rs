//! The types of events that change something for us: which ones an endpoint is to be sent, and which ones make us look.
//!
//! Both come from one list of families. What is sent anyway, by an endpoint made by hand or with a word that Stripe adds later,
//! is taken as far as it belongs to a family.

/// Types after which a customer may be entitled to something else. A trailing dot means all that begin so.
/// `invoice.upcoming` has no invoice yet and `invoice.created` none that is final, but looking once too often is harmless.
pub(super) const FAMILIES: [&str; 9] = [
    "checkout.session.",
    "customer.subscription.",
    "subscription_schedule.",
    "customer.deleted",
    "invoice.",
    "invoice_payment.paid",
    "charge.refunded",
    "refund.",
    "charge.dispute.",
];

/// What our endpoint asks for: of each family every type of [`super::API_VERSION`] but [`NOT_ASKED_FOR`]. Stripe takes no
/// patterns.
pub(super) const ASKED_FOR: [&str; 42] = [
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.dispute.funds_reinstated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.updated",
    "charge.refunded",
    "checkout.session.async_payment_failed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.completed",
    "checkout.session.expired",
    "customer.deleted",
    "customer.subscription.created",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.pending_update_applied",
    "customer.subscription.pending_update_expired",
    "customer.subscription.resumed",
    "customer.subscription.trial_will_end",
    "customer.subscription.updated",
    "invoice.deleted",
    "invoice.finalization_failed",
    "invoice.finalized",
    "invoice.marked_uncollectible",
    "invoice.overdue",
    "invoice.overpaid",
    "invoice.paid",
    "invoice.payment_action_required",
    "invoice.payment_attempt_required",
    "invoice.payment_failed",
    "invoice.payment_succeeded",
    "invoice.updated",
    "invoice.voided",
    "invoice_payment.paid",
    "refund.created",
    "refund.failed",
    "refund.updated",
    "subscription_schedule.aborted",
    "subscription_schedule.canceled",
    "subscription_schedule.completed",
    "subscription_schedule.created",
    "subscription_schedule.released",
    "subscription_schedule.updated",
];

/// Types of our families that say nothing about what was paid. An endpoint that fails on `invoice.created` would also hold back
/// every renewal for up to three days.
#[cfg(test)]
pub(super) const NOT_ASKED_FOR: [&str; 5] =
    ["invoice.created", "invoice.sent", "invoice.upcoming", "invoice.will_be_due", "subscription_schedule.expiring"];

/// Whether events of this type can change what a customer is entitled to.
pub(super) fn is_relevant(event_type: &str) -> bool {
    FAMILIES.iter().any(|entry| match entry.ends_with('.') {
        true => event_type.starts_with(entry),
        false => event_type == *entry,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Stripe's own list for the pinned version, as far as the first words are like ours.
    const KNOWN_TO_STRIPE: &str = "charge.captured charge.dispute.closed charge.dispute.created \
        charge.dispute.funds_reinstated charge.dispute.funds_withdrawn charge.dispute.updated charge.expired charge.failed \
        charge.pending charge.refund.updated charge.refunded charge.succeeded charge.updated \
        checkout.session.async_payment_failed checkout.session.async_payment_succeeded checkout.session.completed \
        checkout.session.expired customer.created customer.deleted customer.discount.created customer.discount.deleted \
        customer.discount.updated customer.source.created customer.source.deleted customer.source.expiring \
        customer.source.updated customer.subscription.created customer.subscription.deleted customer.subscription.paused \
        customer.subscription.pending_update_applied customer.subscription.pending_update_expired \
        customer.subscription.resumed customer.subscription.trial_will_end customer.subscription.updated \
        customer.tax_id.created customer.tax_id.deleted customer.tax_id.updated customer.updated invoice.created \
        invoice.deleted invoice.finalization_failed invoice.finalized invoice.marked_uncollectible invoice.overdue \
        invoice.overpaid invoice.paid invoice.payment_action_required invoice.payment_attempt_required \
        invoice.payment_failed invoice.payment_succeeded invoice.sent invoice.upcoming invoice.updated invoice.voided \
        invoice.will_be_due invoice_payment.paid invoiceitem.created invoiceitem.deleted refund.created refund.failed \
        refund.updated subscription_schedule.aborted subscription_schedule.canceled subscription_schedule.completed \
        subscription_schedule.created subscription_schedule.expiring subscription_schedule.released \
        subscription_schedule.updated";

    #[test]
    fn an_endpoint_asks_for_what_makes_us_look_and_for_nothing_else() {
        let relevant: BTreeSet<&str> =
            KNOWN_TO_STRIPE.split_whitespace().filter(|event_type| is_relevant(event_type)).collect();
        let left_out = BTreeSet::from(NOT_ASKED_FOR);
        assert!(left_out.is_subset(&relevant), "what is left out would be relevant");
        let asked_for: Vec<&str> = relevant.difference(&left_out).copied().collect();
        assert_eq!(asked_for, ASKED_FOR);
    }

    #[test]
    fn the_log_is_asked_for_nothing_that_the_endpoint_is_not_sent() {
        for event_type in super::super::event_log::TYPES {
            assert!(ASKED_FOR.contains(&event_type), "{event_type}");
        }
    }

    #[test]
    fn every_family_is_asked_for() {
        for family in FAMILIES {
            assert!(ASKED_FOR.iter().any(|event_type| event_type.starts_with(family)), "{family}");
        }
    }
}
