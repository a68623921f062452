//! The claims of a license, and the rules that hold between them.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::encoding;
use crate::token::Reason;

/// Every claim that a license must carry, in the order in which they stand in the token.
const NAMES: [&str; 17] = [
    "iss",
    "sub",
    "customer_id",
    "aud",
    "iat",
    "nbf",
    "exp",
    "jti",
    "ver",
    "plan",
    "status",
    "trial",
    "features",
    "limits",
    "paid_until",
    "grace_until",
    "refresh_after",
];

/// What a license says. Times are Unix seconds.
///
/// Claims that this version does not know are tolerated when reading, and not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The public URL of the server that issued the license.
    pub iss: String,
    /// The customer; always equal to `customer_id`.
    pub sub: String,
    /// The customer's permanent id.
    pub customer_id: String,
    /// The product that the license is for.
    pub aud: String,
    /// When the license was issued.
    pub iat: i64,
    /// From when it is valid: slightly before `iat`, because customers' clocks differ from ours.
    pub nbf: i64,
    /// When it ends for good: the end of the paid period or trial, plus grace.
    pub exp: i64,
    /// The id of this license.
    pub jti: String,
    /// The customer's license version: it rises by one with each issue, the highest is the current one.
    pub ver: i64,
    /// The plan's code.
    pub plan: String,
    /// The subscription's status at issue, for display. The times decide, not this word.
    pub status: String,
    /// Whether this is a trial.
    pub trial: bool,
    /// The features that the plan includes.
    pub features: Vec<String>,
    /// The plan's limits by name, for example `seats`.
    pub limits: BTreeMap<String, i64>,
    /// The end of the paid period or trial. From here to `exp` the license is in grace.
    pub paid_until: i64,
    /// The end of grace; equal to `exp`.
    pub grace_until: i64,
    /// From when the product should ask for a newer license.
    pub refresh_after: i64,
    /// Where the license's revocation can be looked up; licenses of servers that keep no status list have none.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub status_list: Option<StatusReference>,
}

/// A license's place in a status list, with the members of `status.status_list` of draft-ietf-oauth-status-list.
///
/// It is a claim of its own because the claim `status` is a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReference {
    /// The license's entry, counted from 0.
    pub idx: u64,
    /// The list: its `sub`, and where it can be fetched.
    pub uri: String,
}

/// A member that may be left out, yet is no `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<StatusReference>, D::Error> {
    // By way of the object, because a list of values in the right order would do for the derived reader.
    let members = serde_json::Map::<String, serde_json::Value>::deserialize(deserializer)?;
    serde_json::from_value(members.into()).map(Some).map_err(D::Error::custom)
}

impl Claims {
    /// Reads the payload of a token. No rule between claims is checked here; see [`Claims::check`].
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, Reason> {
        let members = encoding::object_members(payload).ok_or(Reason::Malformed)?;
        if let Some(name) = NAMES.into_iter().find(|name| !members.contains(*name)) {
            return Err(Reason::MissingClaim(name));
        }
        serde_json::from_slice(payload).map_err(|_| Reason::Malformed)
    }

    /// The rules that hold whatever the time and whoever asks.
    pub(crate) fn check(&self) -> Result<(), Reason> {
        if self.sub != self.customer_id {
            return Err(Reason::InvalidClaim("sub"));
        }
        if self.exp <= self.iat {
            return Err(Reason::InvalidClaim("exp"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> serde_json::Value {
        serde_json::json!({
            "iss": "i", "sub": "c", "customer_id": "c", "aud": "a", "iat": 1, "nbf": 0, "exp": 9, "jti": "l", "ver": 1,
            "plan": "p", "status": "active", "trial": false, "features": ["f"], "limits": {"seats": 5},
            "paid_until": 8, "grace_until": 9, "refresh_after": 7,
        })
    }

    fn parse(value: &serde_json::Value) -> Result<Claims, Reason> {
        Claims::parse(value.to_string().as_bytes())
    }

    #[test]
    fn claims_stand_in_the_token_in_the_declared_order() {
        let text = serde_json::to_string(&parse(&sample()).unwrap()).unwrap();
        let positions: Vec<_> = NAMES.iter().map(|name| text.find(&format!("\"{name}\":")).unwrap()).collect();
        assert!(positions.is_sorted(), "{text}");
        assert_eq!(encoding::object_members(text.as_bytes()).unwrap().len(), NAMES.len());
    }

    #[test]
    fn each_claim_is_required_and_a_null_is_no_value() {
        for name in NAMES {
            let mut value = sample();
            value.as_object_mut().unwrap().remove(name);
            assert_eq!(parse(&value), Err(Reason::MissingClaim(name)));
            value[name] = serde_json::Value::Null;
            assert_eq!(parse(&value), Err(Reason::Malformed), "{name}");
        }
    }

    #[test]
    fn unknown_claims_are_tolerated_and_kept_out() {
        let mut value = sample();
        value["vendor"] = serde_json::json!({"x": [1]});
        assert_eq!(parse(&value), parse(&sample()));
    }

    #[test]
    fn the_place_in_a_status_list_may_be_left_out_and_nothing_else() {
        assert_eq!(parse(&sample()).unwrap().status_list, None);
        assert!(!serde_json::to_string(&parse(&sample()).unwrap()).unwrap().contains("status_list"));
        let mut value = sample();
        value["status_list"] = serde_json::json!({"idx": 7, "uri": "u", "x": 1});
        let claims = parse(&value).unwrap();
        assert_eq!(claims.status_list, Some(StatusReference { idx: 7, uri: "u".to_owned() }));
        assert_eq!(parse(&serde_json::to_value(&claims).unwrap()), Ok(claims));
        for wrong in
            ["null", "7", "{}", r#"[7,"u"]"#, r#"{"idx":7}"#, r#"{"idx":-1,"uri":"u"}"#, r#"{"idx":"7","uri":"u"}"#]
        {
            value["status_list"] = serde_json::from_str(wrong).unwrap();
            assert_eq!(parse(&value), Err(Reason::Malformed), "{wrong}");
        }
    }

    #[test]
    fn times_are_whole_seconds_that_fit() {
        for exp in ["9.5", "9.0", "\"9\"", "9223372036854775808", "-9223372036854775809", "1e99", "[9]", "true"] {
            let text = sample().to_string().replace("\"exp\":9", &format!("\"exp\":{exp}"));
            assert_eq!(Claims::parse(text.as_bytes()), Err(Reason::Malformed), "{exp}");
        }
    }

    #[test]
    fn a_claim_or_limit_named_twice_is_refused() {
        let text = sample().to_string();
        for (once, twice) in [
            ("\"exp\":9", "\"exp\":9,\"exp\":99"),
            ("\"seats\":5", "\"seats\":5,\"seats\":500"),
            ("\"ver\":1", "\"ver\":1,\"x\":1,\"x\":2"),
        ] {
            assert!(text.contains(once));
            assert_eq!(Claims::parse(text.replace(once, twice).as_bytes()), Err(Reason::Malformed), "{twice}");
        }
    }
}
