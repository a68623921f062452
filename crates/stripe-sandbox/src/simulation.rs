//! A sandbox in a simulated world: its time and its ids come from there, and it sends nothing by itself. Only with the feature
//! `simulation`, which no release has.

use std::cell::RefCell;
use std::sync::Arc;

use serde_json::Value;

use crate::context::Cause;
use crate::sandbox::Sandbox;
use crate::store::Kind;
use crate::{lifecycle, webhooks};

/// What a simulated world gives to the sandbox.
pub trait Surroundings: Send + Sync {
    /// Unix seconds.
    fn now_seconds(&self) -> i64;
    /// Random bytes.
    fn fill(&self, bytes: &mut [u8]);
}

thread_local! {
    // tidy: allow(global) because a simulated world belongs to one thread, and no release has it
    static WORLD: RefCell<Option<Arc<dyn Surroundings>>> = const { RefCell::new(None) };
}

/// Puts this thread into a world, or back into the real one.
pub fn enter(world: Option<Arc<dyn Surroundings>>) {
    WORLD.with(|current| *current.borrow_mut() = world);
}

pub(crate) fn is_entered() -> bool {
    WORLD.with(|current| current.borrow().is_some())
}

pub(crate) fn now_seconds() -> Option<i64> {
    WORLD.with(|current| current.borrow().as_ref().map(|world| world.now_seconds()))
}

pub(crate) fn text(length: usize) -> Option<String> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    WORLD.with(|current| {
        let world = current.borrow().clone()?;
        let mut bytes = vec![0; length];
        world.fill(&mut bytes);
        Some(bytes.iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect())
    })
}

/// A webhook that is due.
#[derive(Clone, Debug)]
pub struct Due {
    /// Which delivery.
    pub delivery: String,
    /// The type of its event.
    pub kind: String,
    /// The id of its event.
    pub event: String,
    /// The bytes to be sent.
    pub body: String,
    /// The tries before this one.
    pub attempts: i64,
}

impl Sandbox {
    /// Lets everything happen that is due by now.
    pub fn catch_up(&self) {
        lifecycle::catch_up_now(self.inner());
    }

    /// The webhooks that are due, oldest first.
    #[must_use]
    pub fn due(&self, limit: usize) -> Vec<Due> {
        webhooks::due_now(self.inner(), limit)
    }

    /// The value of `Stripe-Signature` for these bytes, made now with this secret.
    #[must_use]
    pub fn sign_with(&self, secret: &str, body: &str) -> String {
        webhooks::signature(secret, self.inner().now(), body.as_bytes())
    }

    /// Notes whether a webhook was taken; one that was not is due again later, for three days.
    pub fn note(&self, delivery: &str, taken: bool) {
        let noted = self.inner().write(&Cause::default(), |cx| {
            webhooks::record(cx, delivery, taken);
            Ok(())
        });
        debug_assert!(noted.is_ok(), "memory takes everything");
    }

    /// Forgets a webhook for good, as a network can.
    pub fn lose(&self, delivery: &str) {
        let lost = self.inner().write(&Cause::default(), |cx| {
            cx.store.remove(Kind::Delivery, delivery);
            Ok(())
        });
        debug_assert!(lost.is_ok(), "memory takes everything");
    }

    /// How many webhooks are still to be delivered.
    #[must_use]
    pub fn undelivered(&self) -> usize {
        self.inner().read(|store| store.oldest_first(Kind::Delivery).count())
    }

    /// All objects of a kind, oldest first, as they are kept.
    #[must_use]
    pub fn truth(&self, of: Truth) -> Vec<Value> {
        let kind = match of {
            Truth::Customers => Kind::Customer,
            Truth::Sessions => Kind::Session,
            Truth::Subscriptions => Kind::Subscription,
            Truth::Invoices => Kind::Invoice,
        };
        self.inner().read(|store| store.oldest_first(kind).map(|(_, value)| value.clone()).collect())
    }
}

/// What a checker may look at.
#[derive(Clone, Copy, Debug)]
pub enum Truth {
    /// Customers, those that were deleted too.
    Customers,
    /// Checkout sessions.
    Sessions,
    /// Subscriptions in every state.
    Subscriptions,
    /// Invoices in every state.
    Invoices,
}
