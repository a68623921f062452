//! Putting ids into the catalogue of a configuration file. Only the values are replaced, byte for byte; comments and layout stay.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    plans: Vec<Plan>,
}

#[derive(Deserialize)]
struct Plan {
    #[serde(default)]
    prices: Vec<Price>,
}

#[derive(Deserialize)]
struct Price {
    stripe_price: Spanned<String>,
}

/// The text with each old id replaced by its new one, and how many were.
///
/// # Errors
/// Why the file is none that has these prices, in words.
pub(super) fn with_ids(text: &str, ids: &[(&str, &str)]) -> Result<(String, usize), String> {
    // Ids are letters, digits and `_`; anything else would have to be escaped.
    let plain = |id: &str| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if let Some((_, odd)) = ids.iter().find(|(_, new)| !plain(new)) {
        return Err(format!("`{odd}` is no id that can be written into it"));
    }
    let file: File = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let prices: Vec<Price> = file.plans.into_iter().flat_map(|plan| plan.prices).collect();
    let has = |id: &str| prices.iter().any(|price| price.stripe_price.get_ref() == id);
    if let Some((missing, _)) = ids.iter().find(|(old, new)| !has(old) && !has(new)) {
        return Err(format!(
            "it has no price `{missing}`; write your plans into it first, as in counterfoil.example.toml"
        ));
    }
    let mut replaced: Vec<(Range<usize>, &str)> = Vec::new();
    for price in &prices {
        let found = ids.iter().find(|(old, new)| price.stripe_price.get_ref() == old && old != new);
        replaced.extend(found.map(|(_, new)| (price.stripe_price.span(), *new)));
    }
    // From the end, so that what comes before stays where it is.
    replaced.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    let mut edited = text.to_owned();
    for (span, id) in &replaced {
        edited.replace_range(span.clone(), &format!("\"{id}\""));
    }
    Ok((edited, replaced.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# mine\nproduct = 'x'\n[[plans]]\ncode = \"a\" # keep\nprices = [ { stripe_price = 'old_1' }, { stripe_price = \"old_2\" } ]\n\
        [[plans]]\n  [[plans.prices]]\n  stripe_price = \"old_3\"   # yearly\n";

    #[test]
    fn only_the_ids_are_replaced() {
        let ids = [("old_1", "price_1"), ("old_2", "old_2"), ("old_3", "price_3")];
        let (text, count) = with_ids(FILE, &ids).unwrap();
        assert_eq!(count, 2);
        assert_eq!(text, FILE.replace("'old_1'", "\"price_1\"").replace("old_3", "price_3"));
        let again = [("price_1", "price_1"), ("old_2", "old_2"), ("old_3", "price_3")];
        assert_eq!(with_ids(&text, &again).unwrap(), (text, 0), "what is there already stays");
    }

    #[test]
    fn a_file_without_these_prices_is_refused() {
        assert!(with_ids(FILE, &[("other", "price_1")]).unwrap_err().contains("`other`"));
        assert!(with_ids("x = 1", &[("old_1", "price_1")]).is_err());
        assert!(with_ids("x =", &[]).is_err());
    }
}
