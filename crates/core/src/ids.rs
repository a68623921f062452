//! Identifiers. Ours are parsed and generated here; the provider's are opaque texts in types of their own, so that one can
//! never be handed over where the other is meant (invariant 1).

use std::fmt;
use std::str::FromStr;

/// A text that is not an identifier of the expected kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id of this kind is `{prefix}` and 32 lowercase hexadecimal digits")]
pub struct InvalidId {
    /// The prefix that the text should have had, with its underscore.
    pub prefix: &'static str,
}

const HEX_DIGITS: usize = 32;

fn is_canonical(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|digits| {
        digits.len() == HEX_DIGITS && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

macro_rules! own_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// What every id of this kind begins with.
            pub const PREFIX: &'static str = $prefix;

            /// A new id from 16 random bytes, marked as a version 4 UUID.
            #[must_use]
            pub fn from_random(bytes: [u8; 16]) -> Self {
                let uuid = uuid::Builder::from_random_bytes(bytes).into_uuid();
                Self(format!("{}{}", $prefix, uuid.simple()))
            }

            /// The id as it is stored, printed and sent.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                if is_canonical(text, $prefix) { Ok(Self(text.to_owned())) } else { Err(InvalidId { prefix: $prefix }) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

own_id!(
    /// Our customer: the only identity, in every licence, API and provider object; it never changes.
    CustomerId,
    "cust_"
);
own_id!(
    /// One issued version of a licence.
    LicenseId,
    "lic_"
);
own_id!(
    /// One attempt of a customer to check out; also the idempotency key of its session at the provider.
    AttemptId,
    "att_"
);
own_id!(
    /// One installation, so that several can share one provider account.
    InstanceId,
    "inst_"
);
own_id!(
    /// One thing we owe the world: a row of the outbox.
    EffectId,
    "eff_"
);
own_id!(
    /// One API key of a vendor's backend or an operator (the public half of it).
    ApiKeyId,
    "key_"
);
own_id!(
    /// One machine on which a customer has activated its licence.
    ActivationId,
    "act_"
);
own_id!(
    /// One session, as its owner is told of it. It is not the token and nothing of it.
    SessionId,
    "ses_"
);

macro_rules! external_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as the provider sent it. Prefixes are not guaranteed and are not checked.
            #[must_use]
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The id as the provider knows it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

external_id!(
    /// The provider's id of a customer (`cus_…` at Stripe). A reference: operators may see it, end users never do.
    ExternalCustomerId
);
external_id!(
    /// The provider's id of a subscription (`sub_…` at Stripe).
    ExternalSubscriptionId
);
external_id!(
    /// The provider's id of a checkout session (`cs_…` at Stripe).
    ExternalSessionId
);
external_id!(
    /// The provider's id of a price, as written in the plan catalogue.
    PriceId
);

/// The key under which the provider remembers what a mutating call did. It names the thing done, never the moment, so a retry
/// of the same thing carries the same key and another thing never does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The creation of a customer's counterpart at the provider, in one generation of the link.
    #[must_use]
    pub fn customer(instance: &InstanceId, customer: &CustomerId, generation: i64) -> Self {
        Self(format!("cf:{instance}:{customer}:cus:g{generation}"))
    }

    /// The same at a further provider: a key is stored once, whoever is sent it.
    #[must_use]
    pub fn customer_at(provider: &str, instance: &InstanceId, customer: &CustomerId, generation: i64) -> Self {
        Self(format!("cf:{instance}:{customer}:cus:{provider}:g{generation}"))
    }

    /// The opening of the checkout session of one attempt.
    #[must_use]
    pub fn session(instance: &InstanceId, attempt: &AttemptId) -> Self {
        Self(format!("cf:{instance}:{attempt}:open"))
    }

    /// The closing of the checkout session of one attempt.
    #[must_use]
    pub fn expire_session(instance: &InstanceId, attempt: &AttemptId) -> Self {
        Self(format!("cf:{instance}:{attempt}:expire"))
    }

    /// One try to tell the provider a customer's address and name. Doing it again does no harm, but being answered from memory
    /// would: it must be done after another value was set in between. So each try has a name of its own.
    #[must_use]
    pub fn customer_update(instance: &InstanceId, effect: &EffectId, attempt: i64, round: usize) -> Self {
        Self(format!("cf:{instance}:{effect}:update:{attempt}.{round}"))
    }

    /// One step of a change of the subscription, decided under one hold of the customer's lease. The fencing number is part of
    /// the name, because what was done before, taken back and done again is another thing and must not be answered from memory.
    #[must_use]
    pub fn subscription_change(instance: &InstanceId, customer: &CustomerId, what: &str, fence: i64) -> Self {
        Self(format!("cf:{instance}:{customer}:{what}:f{fence}"))
    }

    /// One call that sets an account up: named by what it says, and by how often that was made and taken away again.
    #[must_use]
    pub fn setup(instance: &InstanceId, digest: &str, generation: u32) -> Self {
        Self(format!("cf:{instance}:setup:{digest}:g{generation}"))
    }

    /// Takes a key back from where it was stored.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The key as it is sent: at most 255 characters, the provider's limit.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
