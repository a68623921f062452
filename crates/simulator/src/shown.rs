//! What people were shown: the licences in it, what belongs to whom, what must never be there.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::evidence::{Evidence, Person};

/// The claims of a token; whether its signature is good is not asked here.
pub fn claims(token: &str) -> Option<Value> {
    part(token, 1)
}

/// What stands before the claims: by which key it was signed.
pub fn header(token: &str) -> Option<Value> {
    part(token, 0)
}

fn part(token: &str, number: usize) -> Option<Value> {
    serde_json::from_slice(&decode_base64url(token.split('.').nth(number)?)?).ok()
}

fn decode_base64url(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

/// Every licence that was ever signed, whoever has seen it.
pub fn tokens(evidence: &Evidence) -> BTreeSet<String> {
    let stored = evidence.book.licenses.iter().map(|row| row["token"].clone());
    let shown = evidence.history.answers.iter().flat_map(|answer| words(&answer.body));
    let mailed = evidence.history.mails.iter().flat_map(|mail| words(&mail.body_text));
    stored.chain(shown.chain(mailed).filter(|word| word.starts_with("eyJ") && word.matches('.').count() == 2)).collect()
}

fn words(text: &str) -> impl Iterator<Item = String> {
    let parts = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')));
    parts
        .map(|word| word.trim_matches('.'))
        .filter(|word| word.len() > 20)
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .into_iter()
}

/// Whether something of this person stands in a text. The company's name is a canary, too.
pub fn is_shown(text: &str, person: &Person) -> bool {
    text.contains(&person.email)
        || text.contains(&format!("Canary {}", person.number))
        || text.contains(&format!("of user {}", person.number))
        || person.customer_id.as_ref().is_some_and(|id| text.contains(id.as_str()))
}

/// The beginnings of Stripe's ids and of secrets.
const FOREIGN: [&str; 21] = [
    "cus_", "sub_", "si_", "cs_", "pi_", "pm_", "seti_", "in_", "price_", "prod_", "evt_", "acct_", "whsec_", "sk_",
    "rk_", "pk_", "bps_", "bpc_", "ch_", "re_", "dp_",
];

/// The first id of the provider's, or secret of its, in a text.
///
/// What we drew or signed ourselves is passed over: chance writes `-dp_` into a signature as soon as anything else. The claims
/// of a licence are to be given by themselves.
pub fn foreign_word(text: &str) -> Option<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')))
        .map(|word| word.trim_matches(['.', '-']))
        .filter(|word| !is_drawn_or_signed(word))
        .flat_map(|word| word.split(['.', '-']))
        .find(|word| is_foreign(word))
}

/// A signed licence, or one of our own secrets: `cfs_…` and its like.
fn is_drawn_or_signed(word: &str) -> bool {
    let is_signed = word.starts_with("eyJ") && word.matches('.').count() == 2;
    is_signed || (word.starts_with("cf") && word.as_bytes().get(3) == Some(&b'_'))
}

/// Whether a word is an id of the provider's, or a secret.
fn is_foreign(word: &str) -> bool {
    FOREIGN.iter().any(|start| {
        word.strip_prefix(start).is_some_and(|rest| {
            let rest = rest.strip_prefix("test_").or(rest.strip_prefix("live_")).unwrap_or(rest);
            // `in_progress` is a word; an id has digits or capital letters.
            let is_id = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
            rest.len() >= 8 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) && rest.bytes().any(is_id)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_the_provider_is_seen_wherever_it_stands() {
        for text in
            ["{\"id\":\"cus_Xpb6ah2dqHCGgE\"}", "see sub_1Q2w3E4r5T6y.", "a-cs_test_a1B2c3D4e5", "whsec_A1b2C3d4e5"]
        {
            assert!(foreign_word(text).is_some(), "{text}");
        }
    }

    #[test]
    fn what_chance_writes_into_our_own_tokens_is_none() {
        for text in
            ["eyJhbGciOi.eyJzdWIi.x-dp_aaIpI5vnM6uchJCViqPeCM4hn", "cfs_x-dp_aaIpI5vnM6uchJCViqPeCM4hn", "in_progress"]
        {
            assert_eq!(foreign_word(text), None);
        }
    }
}
