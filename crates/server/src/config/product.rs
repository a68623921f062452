//! What is sold: the product and its plans.

use counterfoil_core::{Catalog, Plan};
use serde::Deserialize;

use super::DEFAULT_CATALOG;
use super::error::Problems;
use super::reading::text;
use super::settings::{self, Setting};
use super::source::Values;

const PRODUCT_DEFAULT: &str = "counterfoil-product";
/// What the sandbox sells where nobody has said: its pages should read like a shop, not like a setting.
const SANDBOX_PRODUCT_NAME: &str = "Acme Studio";
const PRODUCT_BYTES_MAX: usize = 128;

/// The product as programs and as people call it.
pub(super) struct Product {
    pub(super) product: String,
    pub(super) name: String,
}

pub(super) fn product(values: &Values, is_sandbox: bool, problems: &mut Problems) -> Option<Product> {
    let product = one_line(values, &settings::PRODUCT, "licenses name it as their audience", problems);
    let name = one_line(values, &settings::PRODUCT_NAME, "pages and mails call it that", problems);
    let product = product?.unwrap_or_else(|| PRODUCT_DEFAULT.to_owned());
    let name = name?.unwrap_or_else(|| if is_sandbox { SANDBOX_PRODUCT_NAME.to_owned() } else { product.clone() });
    Some(Product { product, name })
}

/// A text that stands in one line, where it was given.
fn one_line(values: &Values, setting: &Setting, used: &str, problems: &mut Problems) -> Option<Option<String>> {
    let Some(text) = text(values, setting) else { return Some(None) };
    if text.len() <= PRODUCT_BYTES_MAX && !text.contains(char::is_control) {
        return Some(Some(text));
    }
    let message = format!("must be one line of at most {PRODUCT_BYTES_MAX} bytes: {used}");
    problems.add("invalid_product", values.name(setting), message);
    None
}

/// The plans of the file, or the shipped ones.
pub(super) fn catalog(plans: Option<Vec<Plan>>, problems: &mut Problems) -> Option<Catalog> {
    #[derive(Deserialize)]
    struct Shipped {
        plans: Vec<Plan>,
    }

    let plans = match plans {
        Some(plans) => plans,
        None => toml::from_str::<Shipped>(DEFAULT_CATALOG).expect("the shipped catalogue is valid").plans,
    };
    match Catalog::new(plans) {
        Ok(catalog) => Some(catalog),
        Err(error) => {
            problems.add("catalog_invalid", "[[plans]]", error.0);
            None
        }
    }
}
