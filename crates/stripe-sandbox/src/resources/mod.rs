//! Stripe's resources: for each the one place that renders it, and the calls that it answers.

pub(crate) mod account;
pub(crate) mod charges;
pub(crate) mod customers;
pub(crate) mod disputes;
pub(crate) mod events;
pub(crate) mod fulfilment;
pub(crate) mod invoice_payments;
pub(crate) mod invoiceitems;
pub(crate) mod invoices;
pub(crate) mod metadata;
pub(crate) mod payment_intents;
pub(crate) mod payment_methods;
pub(crate) mod payment_pages;
pub(crate) mod portal;
pub(crate) mod preview;
pub(crate) mod prices;
pub(crate) mod products;
pub(crate) mod refunds;
pub(crate) mod schedules;
pub(crate) mod session_rules;
pub(crate) mod sessions;
pub(crate) mod setup_intents;
pub(crate) mod subscription_update;
pub(crate) mod subscriptions;
pub(crate) mod webhook_endpoints;

use crate::api::Route;

pub(crate) const ROUTES: &[&[Route]] = &[
    account::ROUTES,
    charges::ROUTES,
    customers::ROUTES,
    disputes::ROUTES,
    events::ROUTES,
    invoice_payments::ROUTES,
    invoiceitems::ROUTES,
    // Before the invoices: `create_preview` would be taken for an id.
    preview::ROUTES,
    invoices::ROUTES,
    payment_intents::ROUTES,
    payment_methods::ROUTES,
    payment_pages::ROUTES,
    portal::ROUTES,
    prices::ROUTES,
    products::ROUTES,
    refunds::ROUTES,
    schedules::ROUTES,
    sessions::ROUTES,
    subscription_update::ROUTES,
    subscriptions::ROUTES,
    webhook_endpoints::ROUTES,
];
