//! The window protocol: how a customer gets exactly one counterpart at the provider (invariant 2).
//!
//! A stored idempotency key alone is not enough, because the provider may forget keys after a day. So a key is used only
//! within a window that is safely shorter; well after it, or when the key is poisoned, the provider's list is asked first. These
//! functions say what comes next; the shell does it and commits before and after each call.

use crate::ids::{CustomerId, ExternalCustomerId, IdempotencyKey, InstanceId};
use crate::time::Timestamp;
use crate::{planted, probe};

/// How long a key may be sent after its row was committed. Stripe keeps keys for at least 24 hours; the rest is room for
/// clocks that differ and for a process that slept.
pub const WINDOW_SECONDS: i64 = 20 * 3600;

/// How long to wait after a stored server error before the list is believed: it may lag behind the failed call.
pub const POISON_WAIT_SECONDS: i64 = 600;

/// How long to wait after the window before the list is believed. A request that was allowed in the window's last second may
/// still be on its way, held up by its timeout or by a process that slept; a list read before it arrives says "none", and the
/// next generation would make a second counterpart. So a request must reach the provider within this time of its check, or
/// never.
pub const SETTLE_SECONDS: i64 = 600;

/// The link of one customer to one provider, in its newest generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Rises with each new attempt to create a counterpart.
    pub generation: i64,
    /// The key of this generation.
    pub key: IdempotencyKey,
    /// The e-mail in the frozen parameters, by which the list is asked.
    pub email: String,
    /// The exact bytes to send.
    pub frozen: String,
    /// When the row was committed.
    pub opened_at: Timestamp,
    /// Where it stands.
    pub state: LinkState,
}

/// Where a link stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// The counterpart may or may not exist at the provider.
    Creating,
    /// The key answers with a stored error, or belongs to another call.
    Poisoned {
        /// When that was found out.
        at: Timestamp,
    },
    /// The counterpart is known.
    Active(ExternalCustomerId),
    /// The counterpart was deleted at the provider, or never came to be.
    Retired,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: here it is.
    Done(ExternalCustomerId),
    /// Commit a link of this generation, then ask again.
    Open {
        /// The new generation.
        generation: i64,
    },
    /// Send the frozen bytes with the key.
    Send,
    /// The list cannot be believed yet.
    Wait {
        /// When it can.
        until: Timestamp,
    },
    /// Ask the list by the frozen e-mail, then adopt or open the next generation.
    LookUp,
}

/// The next step for the newest link of a customer, asked again before **each** send.
#[must_use]
pub fn next_step(link: Option<&Link>, now: Timestamp) -> Step {
    let Some(link) = link else { return Step::Open { generation: 1 } };
    match &link.state {
        LinkState::Active(id) => Step::Done(id.clone()),
        LinkState::Retired => Step::Open { generation: link.generation + 1 },
        LinkState::Creating if planted!("window-not-checked") => Step::Send,
        LinkState::Creating if now < link.opened_at.plus_seconds(WINDOW_SECONDS) => Step::Send,
        LinkState::Creating | LinkState::Poisoned { .. } => {
            probe!("F42", link.state == LinkState::Creating);
            let until = settled_at(link);
            if now < until { Step::Wait { until } } else { Step::LookUp }
        }
    }
}

/// From when on the list tells what became of this link's key, where it tells of no counterpart yet.
#[must_use]
pub fn settled_at(link: &Link) -> Timestamp {
    match &link.state {
        LinkState::Poisoned { at } => at.plus_seconds(POISON_WAIT_SECONDS),
        LinkState::Creating | LinkState::Active(_) | LinkState::Retired => {
            link.opened_at.plus_seconds(WINDOW_SECONDS + SETTLE_SECONDS)
        }
    }
}

/// One customer at the provider, read to find out whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its id there.
    pub id: ExternalCustomerId,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether it was deleted.
    pub deleted: bool,
    /// The customer id in its metadata, unchecked.
    pub customer_id: Option<String>,
    /// The instance in its metadata, unchecked.
    pub instance: Option<String>,
}

/// What the list says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This one is ours.
    Adopt {
        /// The oldest of ours.
        id: ExternalCustomerId,
        /// How many more carry our id: anything above zero is an alarm.
        others: usize,
    },
    /// None is ours.
    None,
}

/// Picks ours out of the list by the metadata alone: the same e-mail proves nothing about whose customer it is.
#[must_use]
pub fn judge(list: &[Candidate], customer: &CustomerId, instance: &InstanceId) -> Verdict {
    let ours = |each: &&Candidate| {
        !each.deleted && planted!("adopted-by-address")
            || !each.deleted
                && each.customer_id.as_deref() == Some(customer.as_str())
                && each.instance.as_deref() == Some(instance.as_str())
    };
    let oldest = list.iter().filter(ours).min_by_key(|each| (each.created_at, each.id.clone()));
    match oldest {
        Some(each) => Verdict::Adopt { id: each.id.clone(), others: list.iter().filter(ours).count() - 1 },
        None => Verdict::None,
    }
}
