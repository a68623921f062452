//! Test cards: what each of Stripe's test numbers and tokens does when it is charged.

use crate::error::ApiError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behavior {
    Pays,
    /// Refused already when it is attached to a customer.
    DeclinesAtOnce,
    /// Can be attached, and is declined at every charge.
    DeclinesCharges,
    LacksFunds,
    Expired,
    NeedsAuthentication,
    Disputed,
    Inquired,
    /// At a checkout the money is under way for a while, and comes. Later charges succeed at once.
    PaysLater,
    /// At a checkout the money is under way for a while, and does not come. Later charges are declined.
    FailsLater,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Card {
    pub brand: &'static str,
    pub last4: &'static str,
    pub behavior: Behavior,
}

const CARDS: &[(&str, &str, Card)] = &[
    ("visa", "4242424242424242", card("visa", "4242", Behavior::Pays)),
    ("mastercard", "5555555555554444", card("mastercard", "4444", Behavior::Pays)),
    ("amex", "378282246310005", card("amex", "0005", Behavior::Pays)),
    ("chargeDeclined", "4000000000000002", card("visa", "0002", Behavior::DeclinesAtOnce)),
    ("chargeCustomerFail", "4000000000000341", card("visa", "0341", Behavior::DeclinesCharges)),
    ("chargeDeclinedInsufficientFunds", "4000000000009995", card("visa", "9995", Behavior::LacksFunds)),
    ("chargeDeclinedExpiredCard", "4000000000000069", card("visa", "0069", Behavior::Expired)),
    ("authenticationRequired", "4000002500003155", card("visa", "3155", Behavior::NeedsAuthentication)),
    ("threeDSecure2Required", "4000000000003220", card("visa", "3220", Behavior::NeedsAuthentication)),
    ("createDispute", "4000000000000259", card("visa", "0259", Behavior::Disputed)),
    ("createDisputeInquiry", "4000000000001976", card("visa", "1976", Behavior::Inquired)),
    // Stripe has no such cards: its bank debits behave so, which this sandbox does not have.
    ("sandboxPaysLater", "4000000000013003", card("visa", "3003", Behavior::PaysLater)),
    ("sandboxFailsLater", "4000000000013004", card("visa", "3004", Behavior::FailsLater)),
];

const fn card(brand: &'static str, last4: &'static str, behavior: Behavior) -> Card {
    Card { brand, last4, behavior }
}

impl Card {
    /// `pm_card_visa`, `tok_visa`, `tok_visa_chargeDeclined` …
    pub(crate) fn named(name: &str) -> Option<Self> {
        let name = name.strip_prefix("pm_card_").or_else(|| name.strip_prefix("tok_"))?;
        let name = name.strip_prefix("visa_").unwrap_or(name);
        CARDS.iter().find(|(known, _, _)| *known == name).map(|(_, _, card)| *card)
    }

    pub(crate) fn numbered(number: &str) -> Option<Self> {
        let digits: String = number.chars().filter(char::is_ascii_digit).collect();
        CARDS.iter().find(|(_, known, _)| *known == digits).map(|(_, _, card)| *card)
    }

    /// The choice on the hosted checkout page.
    pub(crate) fn at_checkout(choice: &str) -> Option<Self> {
        match choice {
            "success" => Self::named("tok_visa"),
            "declined" => Self::named("tok_chargeDeclined"),
            "authentication" => Self::named("tok_authenticationRequired"),
            "later" => Self::named("tok_sandboxPaysLater"),
            "never" => Self::named("tok_sandboxFailsLater"),
            "disputed" => Self::named("tok_createDispute"),
            _ => None,
        }
    }

    /// A card for later renewals; the declined one can be saved and fails when it is charged.
    pub(crate) fn for_renewals(choice: &str) -> Option<Self> {
        match choice {
            "declined" => Self::named("tok_chargeCustomerFail"),
            other => Self::at_checkout(other),
        }
    }
}

impl Behavior {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pays => "pays",
            Self::DeclinesAtOnce => "declines_at_once",
            Self::DeclinesCharges => "declines_charges",
            Self::LacksFunds => "lacks_funds",
            Self::Expired => "expired",
            Self::NeedsAuthentication => "needs_authentication",
            Self::Disputed => "disputed",
            Self::Inquired => "inquired",
            Self::PaysLater => "pays_later",
            Self::FailsLater => "fails_later",
        }
    }

    pub(crate) fn from_name(name: &str) -> Self {
        CARDS.iter().map(|(_, _, card)| card.behavior).find(|known| known.name() == name).unwrap_or(Self::Pays)
    }

    /// Whether the money of a checkout is under way for a while.
    pub(crate) fn is_late(self) -> bool {
        matches!(self, Self::PaysLater | Self::FailsLater)
    }

    /// Why a charge of this card is declined, if it is.
    pub(crate) fn decline(self) -> Option<ApiError> {
        let (message, code, decline_code) = match self {
            Self::Pays | Self::NeedsAuthentication | Self::Disputed | Self::Inquired | Self::PaysLater => return None,
            Self::DeclinesAtOnce | Self::DeclinesCharges | Self::FailsLater => {
                ("Your card was declined.", "card_declined", "generic_decline")
            }
            Self::LacksFunds => ("Your card has insufficient funds.", "card_declined", "insufficient_funds"),
            Self::Expired => ("Your card has expired.", "expired_card", "expired_card"),
        };
        Some(
            ApiError::card(message, code)
                .with("decline_code", decline_code)
                .with("advice_code", "try_again_later")
                .with("network_decline_code", "01")
                .with("param", ""),
        )
    }
}
