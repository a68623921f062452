//! How money moves: test cards, payments, invoices, and the subscriptions they keep alive.

pub(crate) mod cards;
pub(crate) mod invoices;
pub(crate) mod lines;
pub(crate) mod payments;
pub(crate) mod prorations;
pub(crate) mod subscriptions;
