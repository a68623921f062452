//! The mistakes: each stands once in the code, in one line, where somebody could make it by taste, haste or a wrong idea.

use Rule::{L1, L2, S1, S2, S3, S4, S5, S6, S7, S8, S9, S10};

/// What a checker of whole histories demands. The letters are those of `docs/reliability/catalogue.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// At most one customer at the provider for each of ours.
    S1,
    /// At most one live subscription for each of ours.
    S2,
    /// No license is signed beyond what was paid for or tried, and the grace.
    S3,
    /// What we write follows the order of what was true; an end stays.
    S4,
    /// What was answered with success is in the database after every crash.
    S5,
    /// One version for one set of facts, and at least one mail about it.
    S6,
    /// Nobody is shown anything of somebody else.
    S7,
    /// No id of the provider and no secret reaches an end user.
    S8,
    /// What was not well signed has no effect.
    S9,
    /// One trial for each person.
    S10,
    /// Once all is well again, whoever has paid has a license and its mail, soon.
    L1,
    /// Whoever is not entitled gets no new license.
    L2,
    /// Once all is well again, nothing waits and nothing is held.
    L3,
}

/// A mistake that can be switched on.
#[derive(Clone, Copy, Debug)]
pub struct Planted {
    /// Its name in the code.
    pub name: &'static str,
    /// What is wrong.
    pub what: &'static str,
    /// The rule that it breaks first.
    pub rule: Rule,
}

const fn bug(name: &'static str, rule: Rule, what: &'static str) -> Planted {
    Planted { name, what, rule }
}

/// All of them.
pub const PLANTED: [Planted; 25] = [
    bug("customer-key-per-try", S1, "each try to create the provider's customer has an idempotency key of its own"),
    bug("window-not-checked", S1, "a key is sent again although the provider may have forgotten it"),
    bug("look-up-failure-is-none", S1, "a search for our customer that failed is read as one that found nobody"),
    bug("failed-read-is-deleted", S1, "the provider's customer counts as deleted where it could not be read"),
    bug("adopted-by-address", S1, "any customer of the provider with the same address is taken for ours"),
    bug("open-checkout-not-looked-at", S2, "a checkout is opened beside those that can still be paid"),
    bug("live-not-refused", S2, "whoever has a live subscription may check out again"),
    bug("paying-forgotten", S2, "a checkout whose money is on its way counts as settled"),
    bug("exp-without-bound", S3, "a license ends a month after the grace of what was paid"),
    bug("period-for-paid", S3, "the running period counts as paid before its invoice is"),
    bug("fence-unchecked", S4, "who has lost the lease writes all the same"),
    bug("acknowledged-before-the-commit", S5, "an event is acknowledged while its row is still being written"),
    bug("version-per-event", S6, "every event issues a version, whatever the facts"),
    bug("license-mail-forgotten", S6, "a new version is not mailed"),
    bug("mail-marked-before-sending", S6, "a mail is marked as sent and then handed over"),
    bug("foreign-checkout", S7, "a session opens the checkout of any customer"),
    bug("provider-id-in-license", S8, "a license names the provider's subscription"),
    bug("v0-believed", S9, "a header without any v1 passes as one of an older scheme"),
    bug("trial-ledger-not-asked", S10, "the ledger of trials knows accounts and not persons"),
    bug("finishes-what-it-has-not-seen", L1, "events that came in during a look are finished by it"),
    bug("processed-before-the-license", L1, "events are finished in a transaction before the one that issues"),
    bug("failed-look-drops-events", L1, "events are set aside where the provider did not answer the look"),
    bug("sweep-passes-open-checkouts-over", L1, "the sweep looks at no open checkout"),
    bug("canceled-goes-on", L2, "a canceled subscription still gives what was paid"),
    bug("lease-never-ends", L1, "a lease is held for an hour after its holder has died"),
];
